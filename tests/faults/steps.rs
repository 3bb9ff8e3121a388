//! Every step of every stock plan, refused by the kernel: told by its name and its errno, before the command ran, and
//! nothing stays: no process, descriptor, mount, cgroup or file.

use crate::stock::{self, Stock};
use crate::support::{Place, Test, test};
use nix::errno::Errno;
use sandbox::plan::{Step, words};
use sandbox::{Host, Plan, Runner, Spec, Status};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[test!(a_copied_directory_changes_nothing_of_the_caller)];

/// What a refusing kernel answers, one after the other.
const ANSWERS: [Errno; 8] = [
    Errno::EPERM,
    Errno::ENOMEM,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::EACCES,
    Errno::ENOSYS,
    Errno::EMFILE,
    Errno::EIO,
];

/// What a run could leave behind in this process and around it. Mounts and orphans are looked for behind every trial.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    descriptors: BTreeSet<String>,
    children: bool,
    cgroups: Vec<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Traces {
    fn look(plan: &Plan, place: &Place) -> Traces {
        let descriptors = fs::read_dir("/proc/self/fd").expect("procfs").flatten();
        // The listing's own descriptor is the lowest free one, each time.
        let descriptors = descriptors.map(|entry| {
            let points_to = fs::read_link(entry.path()).unwrap_or_default();
            format!("{} {}", entry.file_name().display(), points_to.display())
        });
        Traces {
            descriptors: descriptors.collect(),
            children: nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) != Err(Errno::ECHILD),
            cgroups: cgroups(plan),
            files: files(&place.dir).into_iter().collect(),
        }
    }
}

/// Directories of this process's runs where the plan makes one.
fn cgroups(plan: &Plan) -> Vec<PathBuf> {
    let own = format!("run-{}-", std::process::id());
    let parents = plan.cgroup.v2.iter().chain(&plan.cgroup.v1).map(|dir| dir.parent.as_path());
    let entries = parents.filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| has_prefix(path, &own)).collect()
}

fn has_prefix(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// The message of a run with a fault, and whether it is the command's own failure.
fn fail(runner: &Runner, spec: &Spec, host: &Host, plan: Plan) -> (String, Status) {
    match runner.launch_plan(spec, host, plan) {
        Err(error) => {
            assert_eq!(error.exit_code(), 125, "{error}");
            (error.to_string(), Status::SandboxFailed)
        }
        Ok(running) => {
            let report = running.wait();
            assert_eq!(report.teardown, "complete");
            (report.message, report.status)
        }
    }
}

pub(crate) fn every_step_refused(stock: &Stock, place: &Place) {
    stock::prepare(place);
    let Some((spec, host, plan)) = stock.plan(place) else { return };
    let runner = Runner::single_threaded().unwrap_or_else(|e| panic!("{e}"));
    let before = Traces::look(&plan, place);
    let mut answers = ANSWERS.into_iter().cycle();
    for payload in [false, true] {
        for index in 0..if payload { plan.payload.len() } else { plan.room.len() } {
            let errno = answers.next().expect("a cycle");
            let mut faulty = plan.clone();
            let steps = if payload { &mut faulty.payload } else { &mut faulty.room };
            let step = steps[index].clone();
            let words = words::describe_with(&step, &plan.host_trees);
            steps[index] = Step::Fault { step: Box::new(step.clone()), errno: errno as i32 };
            let (message, status) = fail(&runner, &spec, &host, faulty);
            let name = format!("({errno:?})");
            if let Step::Exec { .. } = step {
                assert_eq!(status, Status::ExecFailed, "{message}");
                assert!(message.starts_with("cannot execute sh") && message.ends_with(&name), "{message}");
            } else {
                assert_eq!(status, Status::SandboxFailed, "{message}");
                assert!(message.starts_with(&format!("cannot {words}: ")), "'{message}' does not name: {words}");
                assert!(message.ends_with(&name), "'{message}' does not name {errno:?}");
            }
            assert_eq!(stock::witness(place), "", "the command ran although this failed: {words}");
            assert_eq!(Traces::look(&plan, place), before, "left behind by: {words}");
        }
    }
    // And that the witness is one.
    let report = runner.launch_plan(&spec, &host, plan).unwrap_or_else(|e| panic!("{e}")).wait();
    assert_eq!(report.status, Status::Ok, "{}", report.message);
    assert!(stock::witness(place).starts_with("ran\n"), "the command leaves no trace of itself");
}

/// The copy is made under another id where the caller is root, which must not show in the caller.
fn a_copied_directory_changes_nothing_of_the_caller(place: &Place) {
    use nix::sys::prctl;
    stock::prepare(place);
    let copied = stock::STOCK.iter().find(|stock| stock.name == "directory_copied").expect("in the list");
    let (spec, host, plan) = copied.plan(place).expect("no network is needed");
    let look = || {
        let status = fs::read_to_string("/proc/self/status").expect("procfs");
        let ids: Vec<_> = status.lines().filter(|line| line.starts_with(['U', 'G', 'C'])).map(str::to_owned).collect();
        (ids, prctl::get_dumpable(), prctl::get_pdeathsig())
    };
    let before = look();
    let runner = Runner::single_threaded().unwrap_or_else(|e| panic!("{e}"));
    let report = runner.launch_plan(&spec, &host, plan).unwrap_or_else(|e| panic!("{e}")).wait();
    assert_eq!(report.status, Status::Ok, "{}", report.message);
    assert_eq!(look(), before);
}
