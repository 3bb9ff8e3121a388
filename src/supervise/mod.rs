//! Outside: start, watch, measure, kill, clean, report.

mod attention;
mod cgroup;
mod cloner;
mod collect;
mod copy;
mod disk;
mod exec_failure;
mod finish;
mod meter;
mod pump;
mod refusals;
mod spawner;
mod start;
mod streams;
mod trees;
mod verdict;
mod watch;

#[cfg(feature = "cli")]
pub(crate) use crate::sys::inherited::duplicate as duplicate_inherited;
pub use attention::CancelHandle;
#[cfg(feature = "cli")]
pub(crate) use spawner::{SPAWNER, enter_spawner};

use crate::error::Error;

use crate::host::{CgroupFacts, Fact, Host, Place, Stage, diagnose, explain_refusal};
use crate::plan::step::{Slot, Step};
use crate::plan::{self, Plan, words};
use crate::report::Report;
use crate::spec::{Overflow, Policy, Spec};
use crate::sys::process;
use attention::{Attention, Signals};
use cloner::Cloner;
use meter::Meter;
use refusals::Refusals;
use start::{Failed, Started};
use std::path::Path;
use std::sync::Arc;
use streams::Streams;
use watch::Watched;

/// How often a start may be planned anew with what the last one taught.
const MOST_LESSONS: usize = 4;

/// Runs sandboxes. Cheap to share: `Send + Sync`, callable from many threads at once; holds no global state and installs no
/// signal handler.
#[derive(Debug)]
pub struct Runner {
    cloner: Cloner,
    signals: Option<Arc<Signals>>,
}

/// A run that goes on. Dropping it kills everything inside and cleans up.
pub struct Running(State);

enum State {
    /// Over before it began.
    Ended(Box<Report>),
    Live(Box<Run>),
}

/// A live run.
struct Run {
    // Dropped in this order: the meter's and the handed descriptors before init and the cgroup.
    meter: Option<Meter>,
    refusals: Refusals,
    streams: Streams,
    started: Started,
    attention: Attention,
    watched: Watched,
    plan: Plan,
    policy: Policy,
    overflow: Overflow,
    /// The wish for the end came twice: nobody waits for slow readers any more.
    impatient: bool,
    /// We ended the run.
    cut_short: bool,
    /// A process inside would not die.
    abandoned: bool,
    setup_ns: u64,
    spec: Spec,
    kernel: String,
}

impl Runner {
    /// Starts the spawner: a small process of the `sandbox` binary, from which every sandbox is cloned, so that a start
    /// costs the same from a large or threaded program. The binary is this program itself if it is called `sandbox`, else
    /// the one beside it, else the first in `PATH`.
    ///
    /// # Errors
    /// No `sandbox` binary of this version is found, or it cannot be started.
    pub fn new() -> Result<Runner, Error> {
        Self::with_binary(&spawner::find_binary()?)
    }

    /// The same with this `sandbox` binary.
    ///
    /// # Errors
    /// It is not of this version, or cannot be started.
    pub fn with_binary(binary: &Path) -> Result<Runner, Error> {
        let spawner = spawner::Spawner::start(binary)?;
        Ok(Runner { cloner: Cloner::Spawner(Arc::new(spawner)), signals: None })
    }

    /// For a process that is itself small and single-threaded, and whose signals are ours to heed: the command line.
    #[cfg(feature = "cli")]
    pub(crate) fn direct() -> Result<Runner, Error> {
        let signals = Signals::take().map_err(|error| {
            // An outer sandbox of ours refuses signalfd as it refuses namespaces: say the one that matters.
            let place = Place::read();
            if place.inside_a_sandbox() { explain_refusal(Stage::Clone, libc::EPERM, &place) } else { error }
        })?;
        Ok(Runner { cloner: Cloner::Direct, signals: Some(Arc::new(signals)) })
    }

    /// For a program that is itself small and single-threaded, whatever it is called: it clones every sandbox by itself.
    ///
    /// # Errors
    /// The process has more than one thread: a lock that another one holds would stay held in the clone.
    pub fn single_threaded() -> Result<Runner, Error> {
        let cannot = || Error::sandbox("cannot run sandboxes from this process itself");
        let tasks = std::fs::read_dir("/proc/self/task").map_err(|e| cannot().because(e))?.count();
        if tasks != 1 {
            return Err(cannot()
                .because(format!("it has {tasks} threads"))
                .hint("use Runner::new, which starts a process for it"));
        }
        Ok(Runner { cloner: Cloner::Direct, signals: None })
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// As [`Runner::launch`].
    pub fn run(&self, spec: &Spec) -> Result<Report, Error> {
        self.launch(spec).map(Running::wait)
    }

    /// Starts a run; it has its limits and was told to exec when this returns.
    ///
    /// # Errors
    /// A usage error in `spec`, isolation that this machine cannot give, or a limit named in `spec` that nothing here can
    /// enforce. A command that cannot be executed is no error: the report says `exec-failed`.
    pub fn launch(&self, spec: &Spec) -> Result<Running, Error> {
        let begun = process::monotonic_ns();
        spec.validate()?;
        let mut host = Host::probe_for(spec)?;
        // Our own signals mean that this is the command line.
        if self.signals.is_some() && cgroup::move_to_leaf(&host.cgroup)? {
            host.cgroup = CgroupFacts::probe(&spec.cgroup)?;
        }
        let attention = Attention::new(self.signals.clone())?;
        let mut lessons = 0;
        loop {
            let plan = plan::plan(spec, &host)?;
            match self.try_plan(spec, &host, plan, &attention, begun)? {
                Ok(state) => return Ok(Running(state)),
                Err((plan, failed)) if lessons == MOST_LESSONS || !learn(&plan, &failed, &mut host) => {
                    return Err(explain(&plan, failed));
                }
                Err(_) => lessons += 1,
            }
        }
    }

    /// Starts a plan that [`crate::plan()`] made for this `spec` and `host`; a refused step is an error, not a lesson.
    ///
    /// # Errors
    /// As [`Runner::launch`].
    pub fn launch_plan(&self, spec: &Spec, host: &Host, plan: Plan) -> Result<Running, Error> {
        let attention = Attention::new(self.signals.clone())?;
        match self.try_plan(spec, host, plan, &attention, process::monotonic_ns())? {
            Ok(state) => Ok(Running(state)),
            Err((plan, failed)) => Err(explain(&plan, failed)),
        }
    }

    /// One start. The plan comes back with what refused it.
    fn try_plan(
        &self,
        spec: &Spec,
        host: &Host,
        plan: Plan,
        attention: &Attention,
        begun: u64,
    ) -> Result<Result<State, (Plan, Failed)>, Error> {
        let (inside, streams) = streams::open(spec, plan.watch.output_bytes, plan.isolation.landlock_abi.is_some())?;
        Ok(match start::start(&plan, inside, &self.cloner, attention) {
            Ok(started) => Ok(live(spec, host, plan, started, streams, attention.clone(), begun)?),
            Err(Failed::Cancelled(signal)) => {
                Ok(State::Ended(Box::new(finish::cancelled_early(spec, host, plan, signal))))
            }
            Err(failed) => Err((plan, failed)),
        })
    }
}

fn live(
    spec: &Spec,
    host: &Host,
    plan: Plan,
    mut started: Started,
    streams: Streams,
    attention: Attention,
    begun: u64,
) -> Result<State, Error> {
    let scratch = started.handed.get(Slot::SCRATCH).and_then(|fd| fd.try_clone_to_owned().ok());
    let procfs = started.handed.take(Slot::WATCH);
    let meter = procfs.map(|procfs| Meter::new(procfs, scratch, plan.watch.poll_memory_bytes, plan.watch.cpus));
    // Without it nothing would hold the limits that were promised by it.
    let meter = meter.transpose().map_err(|e| Error::sandbox("cannot look at the processes inside").because(e))?;
    let refusals = Refusals::new(started.listener.take());
    let setup_ns = started.at_ns.saturating_sub(begun);
    Ok(State::Live(Box::new(Run {
        meter,
        refusals,
        streams,
        started,
        attention,
        watched: Watched::default(),
        plan,
        policy: spec.policy.clone(),
        overflow: spec.overflow,
        impatient: false,
        cut_short: false,
        abandoned: false,
        setup_ns,
        spec: spec.clone(),
        kernel: host.kernel.clone(),
    })))
}

impl Running {
    /// Waits for the end.
    pub fn wait(self) -> Report {
        match self.0 {
            State::Ended(report) => *report,
            State::Live(mut run) => {
                run.watch();
                run.finish()
            }
        }
    }

    /// Ends the run from elsewhere while [`Running::wait`] waits.
    pub fn cancel_handle(&self) -> CancelHandle {
        match &self.0 {
            State::Ended(_) => CancelHandle::of_nothing(),
            State::Live(run) => run.attention.handle(),
        }
    }
}

/// Takes a failed launch as a fact about this machine, where another plan can do without.
fn learn(plan: &Plan, failed: &Failed, host: &mut Host) -> bool {
    let Failed::Step { payload, step, detail, errno } = failed else { return false };
    let steps = if *payload { &plan.payload } else { &plan.room };
    let refused = |why: &str| Fact::Refused { errno: *errno, why: why.to_owned() };
    match steps.get(*step) {
        // The path itself is missing or unreadable: no way of showing it would help.
        Some(Step::Overlay { .. }) if *detail == 0 && *errno != libc::EINVAL => false,
        Some(Step::Overlay { .. }) if host.overlay.works() => {
            host.overlay =
                refused("this directory's file system or the mounts in it cannot be the lower layer of an overlay");
            true
        }
        Some(Step::Listener(_)) if host.seccomp_notify.works() => {
            host.seccomp_notify = refused("an outer sandbox already listens to refused system calls");
            true
        }
        _ => false,
    }
}

/// A failed start in words, with what helps in this place.
fn explain(plan: &Plan, failed: Failed) -> Error {
    match failed {
        Failed::Other(error) => error,
        Failed::Clone(errno) => explain_refusal(Stage::Clone, errno, &Place::read()),
        Failed::IdMap(errno) => explain_refusal(Stage::IdMap, errno, &Place::read()),
        // `launch` has made a report of it.
        Failed::Cancelled(_) => Error::sandbox("cannot start: cancelled"),
        Failed::Step { payload, step, detail, errno } => {
            let steps = if payload { &plan.payload } else { &plan.room };
            match steps.get(step) {
                Some(step) => explain_step(plan, step, detail, errno),
                None => {
                    Error::sandbox("cannot make the sandbox: init named a step that is not in the plan").errno(errno)
                }
            }
        }
    }
}

/// A step that failed, by its name, with the cause and what helps in this place where the machine refuses it.
fn explain_step(plan: &Plan, step: &Step, detail: u16, errno: i32) -> Error {
    let cannot = Error::sandbox(format!("cannot {}", words::describe_with(step, &plan.host_trees))).errno(errno);
    let stage = match step {
        Step::Fault { step, .. } => return explain_step(plan, step, detail, errno),
        Step::CgroupNamespace => Stage::Namespace,
        Step::BecomeId { .. } => Stage::Identity,
        Step::Scratch { .. } | Step::Root | Step::Tmpfs { .. } | Step::SealRoot | Step::Pivot => Stage::Mount,
        Step::Overlay { .. } if detail > 0 => Stage::Overlay,
        Step::Proc { .. } | Step::WatchProc => Stage::Proc,
        Step::Landlock { .. } => Stage::Landlock,
        Step::Listener(_) => Stage::Listener,
        Step::Filter(_) => Stage::Seccomp,
        Step::NetNamespace | Step::EnterNetNamespace | Step::LoopbackUp => Stage::Net,
        // Not the machine, but a path or a value of this run.
        Step::Overlay { .. }
        | Step::Show { .. }
        | Step::Bind { .. }
        | Step::DieWithParent
        | Step::ScratchDir { .. }
        | Step::Dir { .. }
        | Step::Link { .. }
        | Step::File { .. }
        | Step::Hostname(_)
        | Step::Open { .. }
        | Step::OpenInside { .. }
        | Step::OpenUserNamespace
        | Step::Hand(_)
        | Step::Await
        | Step::NotDumpable
        | Step::Stdio
        | Step::Session
        | Step::Defaults
        | Step::Affinity(_)
        | Step::ChangeDir(_)
        | Step::DropCapabilities
        | Step::NoNewPrivileges
        | Step::CloseOnExec
        | Step::Rlimit { .. }
        | Step::Ready
        | Step::Exec { .. } => {
            return match hint(step, detail, errno) {
                Some(hint) => cannot.hint(hint),
                None => cannot,
            };
        }
    };
    let diagnosis = diagnose(stage, errno, &Place::read());
    let cannot = cannot.because(diagnosis.cause);
    match diagnosis.fix {
        Some(fix) => cannot.hint(fix),
        None => cannot,
    }
}

/// What can be done about a step that failed for a path or a value of this run.
fn hint(step: &Step, detail: u16, errno: i32) -> Option<&'static str> {
    /// From here on it is the mount point, not the source.
    const MOUNT_POINT: u16 = 10;
    match (step, errno) {
        (Step::Bind { .. } | Step::Tmpfs { .. }, libc::EROFS | libc::EACCES) if detail >= MOUNT_POINT => Some(
            "its place inside lies in a read-only directory where it does not exist: choose a place under /box or /tmp",
        ),
        (Step::Bind { .. } | Step::Tmpfs { .. }, libc::ELOOP) if detail >= MOUNT_POINT => {
            Some("its place inside leads through a symbolic link: name the real directory")
        }
        (Step::Bind { .. } | Step::Overlay { .. }, libc::ENOENT) => {
            Some("check the path: there is nothing there on the host")
        }
        (Step::Bind { .. } | Step::Overlay { .. }, libc::EACCES) => {
            Some("you may not enter a directory on that path: check its permissions")
        }
        (Step::ChangeDir(_), libc::ENOENT) => {
            Some("--workdir names a directory inside: show one there with --ro, --rw or --tmpfs")
        }
        (Step::Affinity(_), libc::EINVAL) => Some("none of these CPUs may be used here: see `nproc` and --cpu-set"),
        _ => None,
    }
}
