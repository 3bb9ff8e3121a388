//! What is true of every plan, whatever was asked for and wherever: the order of the lockdown, the place of every mount,
//! a row for every limit.

use sandbox::plan::step::{Attr, SLOTS, Source};
use sandbox::plan::{Step, filter, words};
use sandbox::spec::{Limit, Network};
use sandbox::{Error, Host, Plan, Spec};
use std::collections::BTreeSet;
use std::ffi::CStr;

/// RLIMIT_NOFILE, which each C library's constants give another type.
const NOFILE: u32 = 7;

/// Plans, and checks what came out. A refusal is a sentence with a documented exit code.
pub(crate) fn check(spec: &Spec, host: &Host) {
    match sandbox::plan(spec, host) {
        Ok(plan) => {
            check_lockdown(&plan).unwrap_or_else(|what| panic!("{what}"));
            check_room(&plan, host);
            check_ledger(spec, &plan);
            check_isolation(spec, host, &plan);
            check_words(&plan);
        }
        Err(error) => check_refusal(&error),
    }
}

fn check_refusal(error: &Error) {
    assert!(matches!(error.exit_code(), 2 | 125), "{error}");
    let text = error.to_string();
    assert!(!text.is_empty() && !text.ends_with(": "), "'{text}' is no sentence");
    assert!(error.hint_text().is_none_or(|hint| !hint.is_empty()));
}

/// Where a payload step stands in the one legal order (DESIGN §5); `None` for a step of the room.
fn rank(step: &Step) -> Option<u8> {
    Some(match step {
        Step::Stdio => 0,
        Step::Session => 1,
        Step::Defaults => 2,
        Step::Affinity(_) => 3,
        Step::ChangeDir(_) => 4,
        Step::DropCapabilities => 5,
        Step::NoNewPrivileges => 6,
        Step::Landlock { .. } => 7,
        Step::Listener(_) => 8,
        Step::CloseOnExec => 9,
        // With few descriptors left, whatever opens one behind it would fail.
        Step::Rlimit { resource, .. } => {
            if *resource == NOFILE {
                11
            } else {
                10
            }
        }
        Step::Ready => 12,
        Step::Filter(_) => 13,
        Step::Exec { .. } => 14,
        Step::BecomeId { .. }
        | Step::DieWithParent
        | Step::CgroupNamespace
        | Step::Scratch { .. }
        | Step::ScratchDir { .. }
        | Step::Root
        | Step::Dir { .. }
        | Step::Link { .. }
        | Step::File { .. }
        | Step::Bind { .. }
        | Step::Show { .. }
        | Step::NetNamespace
        | Step::EnterNetNamespace
        | Step::Tmpfs { .. }
        | Step::Overlay { .. }
        | Step::Proc { .. }
        | Step::LoopbackUp
        | Step::Hostname(_)
        | Step::SealRoot
        | Step::Pivot
        | Step::Open { .. }
        | Step::OpenInside { .. }
        | Step::WatchProc
        | Step::OpenUserNamespace
        | Step::Hand(_)
        | Step::Await
        | Step::NotDumpable
        | Step::Fault { .. } => return None,
    })
}

/// The payload's steps: each in its place, those that shut something exactly once. The error says what is not so.
pub(crate) fn check_lockdown(plan: &Plan) -> Result<(), String> {
    let ensure = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    let mut ranks = Vec::new();
    for step in &plan.payload {
        ranks.push(rank(step).ok_or_else(|| format!("a payload that must {}", words::describe(step)))?);
    }
    ensure(ranks.is_sorted(), format!("the lockdown is out of order: {ranks:?}"))?;
    let count = |wanted: u8| ranks.iter().filter(|&&rank| rank == wanted).count();
    for needed in [0, 1, 2, 4, 5, 6, 9, 12, 13, 14] {
        ensure(count(needed) == 1, format!("step {needed} in {ranks:?}"))?;
    }
    ensure(count(3) <= 1, format!("two affinities in {ranks:?}"))?;
    let landlock = usize::from(plan.isolation.landlock_abi.is_some());
    ensure(count(7) == landlock, "Landlock is claimed and missing, or the reverse".to_owned())?;
    ensure(
        count(8) == usize::from(plan.setting.notify),
        "the listener is claimed and missing, or the reverse".to_owned(),
    )?;
    let mut resources = BTreeSet::new();
    for step in &plan.payload {
        if let Step::Rlimit { resource, soft, hard } = step {
            ensure(soft <= hard && resources.insert(resource), words::describe(step))?;
        }
    }
    let none = plan.room.iter().all(|step| rank(step).is_none());
    ensure(none, "a lockdown step in the room, before the payload exists".to_owned())
}

/// The index of the only step like this.
fn only(plan: &Plan, what: &str, like: fn(&Step) -> bool) -> usize {
    let found: Vec<usize> =
        plan.room.iter().enumerate().filter(|(_, step)| like(step)).map(|(index, _)| index).collect();
    assert_eq!(found.len(), 1, "{what}: {found:?}");
    found[0]
}

fn assert_within(path: &CStr) {
    let text = path.to_bytes();
    assert!(!text.starts_with(b"/"), "{path:?} is not beneath the new root");
    assert!(text.split(|&byte| byte == b'/').all(|part| part != b".."), "{path:?} goes up");
}

/// The room's steps: what is made stands before what it is made in is sealed; nothing is writable that nobody asked for.
fn check_room(plan: &Plan, host: &Host) {
    let scratch = only(plan, "scratch", |step| matches!(step, Step::Scratch { .. }));
    let root = only(plan, "root", |step| matches!(step, Step::Root));
    let seal = only(plan, "seal", |step| matches!(step, Step::SealRoot));
    let pivot = only(plan, "pivot", |step| matches!(step, Step::Pivot));
    let hand = only(plan, "hand", |step| matches!(step, Step::Hand(_)));
    let proc = only(plan, "proc", |step| matches!(step, Step::Proc { .. }));
    let close = only(plan, "not dumpable", |step| matches!(step, Step::NotDumpable));
    let cgroup = only(plan, "cgroup namespace", |step| matches!(step, Step::CgroupNamespace));
    assert!(
        cgroup < root
            && root < scratch
            && scratch < proc
            && proc < seal
            && seal < pivot
            && pivot < hand
            && hand < close
    );
    assert_eq!(close, plan.room.len() - 1, "init is closed last, or descriptors could not be handed out");
    let as_root = host.uid == 0;
    assert_eq!(as_root, matches!(plan.room.first(), Some(Step::BecomeId { .. })), "root does not stay root");
    if as_root {
        assert!(matches!(plan.room.get(1), Some(Step::DieWithParent)), "the change of id took it away");
    }
    let mut filled: BTreeSet<u8> = (0..4).chain(plan.host_trees.iter().map(|tree| tree.slot.0)).collect();
    assert_eq!(filled.len(), 4 + plan.host_trees.len(), "two host trees share a slot");
    for (index, step) in plan.room.iter().enumerate() {
        let made = match step {
            Step::Dir { path, .. } | Step::Link { path, .. } | Step::File { path, .. } => Some(path),
            Step::Bind { target, .. }
            | Step::Tmpfs { target, .. }
            | Step::Overlay { target, .. }
            | Step::Proc { target } => Some(target),
            _ => None,
        };
        if let Some(path) = made {
            assert!(root < index && index < seal, "{} behind the seal", words::describe(step));
            assert_within(path);
        }
        match step {
            Step::Scratch { .. } => drop(filled.insert(4)),
            Step::Root => drop(filled.insert(5)),
            Step::WatchProc => drop(filled.insert(7)),
            Step::OpenUserNamespace => drop(filled.insert(8)),
            Step::Overlay { .. } => drop(filled.insert(6)),
            Step::Open { slot, .. } | Step::OpenInside { slot, .. } => drop(filled.insert(slot.0)),
            Step::Hand(slots) => {
                assert!(
                    slots.iter().all(|slot| filled.contains(&slot.0)),
                    "{} before it is filled",
                    words::describe(step)
                );
            }
            Step::Bind { source, target, attr, .. } => check_bind(plan, host, source, target, *attr),
            _ => {}
        }
        if let Step::Bind { source: Source::Tree(slot), .. } | Step::Overlay { source: Source::Tree(slot), .. } = step {
            assert!(plan.host_trees.iter().any(|tree| tree.slot == *slot), "slot {} is of no tree", slot.0);
        }
    }
    assert!(filled.iter().all(|&slot| usize::from(slot) < SLOTS));
}

fn check_bind(plan: &Plan, host: &Host, source: &Source, target: &CStr, attr: Attr) {
    let inside = std::path::Path::new("/").join(std::ffi::OsStr::from_bytes(target.to_bytes()));
    let asked = |writable: bool| plan.shown.iter().any(|shown| shown.inside == inside && (!writable || shown.writable));
    match source {
        // A place in the scratch tmpfs.
        Source::Path(path) if !path.to_bytes().starts_with(b"/") => assert!(!attr.devices),
        Source::Path(path) if path.to_bytes().starts_with(b"/dev/") && attr.devices => {
            assert!(!attr.exec, "a device that can be executed");
        }
        Source::Path(path) => {
            let of_system = host.system.iter().any(|entry| entry.path.as_os_str().as_bytes() == path.to_bytes());
            assert!(attr.read_only || asked(true), "{path:?} is writable and nobody asked");
            assert!(!attr.devices && (of_system || asked(false)), "{path:?} is shown and nobody asked");
            assert!(host.uid != 0 || of_system, "{path:?} is shown by its path to a run started as root");
        }
        Source::Tree(_) => {
            assert!(!attr.devices && asked(!attr.read_only), "a tree is shown at {inside:?} and nobody asked");
        }
    }
}

use std::os::unix::ffi::OsStrExt;

/// One row per limit, in order; what was asked for has a mechanism, or the row says that it has none.
fn check_ledger(spec: &Spec, plan: &Plan) {
    let rows: Vec<Limit> = plan.enforcements.iter().map(|row| row.limit).collect();
    assert_eq!(rows, Limit::ALL, "a limit without a row, or with two");
    let decided = spec.decided_limits();
    for row in &plan.enforcements {
        let asked = match row.limit {
            Limit::Memory => decided.memory.value().map(|bytes| bytes.get()),
            Limit::CpuTime => decided.cpu_time.value().map(|time| time.nanos()),
            Limit::WallTime => decided.wall_time.value().map(|time| time.nanos()),
            Limit::IdleTime => decided.idle_time.value().map(|time| time.nanos()),
            Limit::Processes => decided.processes.value(),
            Limit::Output => decided.output.value().map(|bytes| bytes.get()),
            Limit::FileSize => decided.file_size.value().map(|bytes| bytes.get()),
            Limit::Disk => decided.disk.value().map(|bytes| bytes.get()),
            Limit::Inodes => decided.inodes.value(),
            Limit::OpenFiles => decided.open_files.value(),
            Limit::Stack => decided.stack.value().map(|bytes| bytes.get()),
            // Values that the row has in another unit, or not at all.
            Limit::Core | Limit::Cpus | Limit::CpuSet => continue,
        };
        let Some(asked) = asked else { continue };
        let value =
            row.value.unwrap_or_else(|| panic!("{}: {asked} was asked for and the row has no value", row.limit));
        let told = row.note.is_some() || row.clamped_by.is_some();
        assert!(value <= asked || told, "{}: {value} instead of {asked}, and nothing says why", row.limit);
        assert!(row.mechanism.is_some() || row.note.is_some(), "{}: no mechanism, and nothing says why", row.limit);
        assert!(!row.kernel || row.mechanism.is_some(), "{}: by the kernel, by nothing", row.limit);
    }
    assert!(plan.watchdog_ns.is_none_or(|watchdog| plan.watch.wall_ns.is_some_and(|wall| watchdog >= wall)));
}

/// The namespaces, ids and filters that every run has.
fn check_isolation(spec: &Spec, host: &Host, plan: &Plan) {
    let always = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let network = plan.isolation.network == "none";
    assert_eq!(plan.namespaces, always as u64);
    // Init makes it beside its mounts, and enters it before it lets go of the host's.
    let place = |wanted: fn(&Step) -> bool| plan.room.iter().position(wanted);
    let (begun, entered) =
        (place(|step| matches!(step, Step::NetNamespace)), place(|step| matches!(step, Step::EnterNetNamespace)));
    assert_eq!((begun.is_some(), entered.is_some()), (network, network));
    assert!(begun <= entered && entered < Some(plan.room.len()));
    assert!(entered.is_none() || entered < place(|step| matches!(step, Step::NotDumpable)));
    assert_eq!(plan.isolation.namespaces.contains(&"net".to_owned()), network);
    assert!(plan.id_map.outer_uid != 0 && plan.id_map.inner_uid != 0, "uid 0 on one side");
    assert!(host.uid != 0 || plan.id_map.outer_gid != 0, "gid 0 outside");
    assert_eq!(plan.id_map.deny_setgroups, host.uid != 0);
    assert!(network || plan.isolation.network == "blocked" || plan.setting.network == Network::Host);
    let policy = sandbox::spec::Policy::builtin(&plan.isolation.policy).expect("only built-in ones are asked for");
    let filters = filter::compile(&policy, plan.setting).unwrap_or_else(|e| panic!("{e}"));
    assert!(plan.payload.contains(&Step::Filter(filters.main)), "another filter than the policy's");
    assert!(!spec.command().is_empty());
}

/// Every step can be said, on one line.
fn check_words(plan: &Plan) {
    for step in plan.room.iter().chain(&plan.payload) {
        let words = words::describe_with(step, &plan.host_trees);
        assert!(!words.is_empty() && words.starts_with(|first: char| first.is_ascii_lowercase()), "'{words}'");
    }
}

/// A spec that is written as a job is the same spec when it is read again.
#[allow(dead_code, reason = "the fuzz target of the order does not ask")]
pub(crate) fn check_round_trip(spec: &Spec) {
    if spec.validate().is_err() {
        return;
    }
    let limits = spec.decided_limits();
    let exact = |time: sandbox::Cap<sandbox::Millis>| time.value().is_none_or(|time| time.get() < 1 << 43);
    if ![limits.cpu_time, limits.wall_time, limits.idle_time].into_iter().all(exact) {
        // Seconds with a fraction, in a number of 53 bits: 278 years.
        return;
    }
    let job = serde_json::to_string(spec).expect("a spec is a job");
    let again: Spec = serde_json::from_str(&job).unwrap_or_else(|e| panic!("{e}: {job}"));
    assert!(again == *spec, "read again it is {}: {job}", serde_json::to_string(&again).expect("a job"));
}
