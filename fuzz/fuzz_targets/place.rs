//! What /proc and the environment say of the place we run in: whatever it says, there is a kind, a cause and a sentence.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::host::{Place, Stage, Traces, diagnose};

const STAGES: [Stage; 15] = [
    Stage::Clone,
    Stage::PidNamespace,
    Stage::Namespace,
    Stage::Net,
    Stage::IdMap,
    Stage::Identity,
    Stage::Mount,
    Stage::Overlay,
    Stage::Proc,
    Stage::Cgroup,
    Stage::Landlock,
    Stage::Seccomp,
    Stage::Listener,
    Stage::IdMappedMount,
    Stage::PerfClock,
];

fuzz_target!(|texts: (u16, i8, [&str; 8])| {
    let (bits, number, [container, version, cgroup, mountinfo, status, uid_map, label, program]) = texts;
    let bit = |at: u32| bits >> at & 1 == 1;
    let some = |at: u32| bit(at).then_some(i64::from(number));
    let traces = Traces {
        dockerenv: bit(0),
        containerenv: bit(1),
        kubernetes: bit(2),
        github_actions: bit(3),
        container: container.to_owned(),
        version: version.to_owned(),
        cgroup: cgroup.to_owned(),
        mountinfo: mountinfo.to_owned(),
        root_differs: bit(4).then_some(bit(5)),
        schroot: bit(6),
        status: status.to_owned(),
        uid_map: uid_map.to_owned(),
        label: label.to_owned(),
        systemd: bit(7),
        apparmor_restrict: some(8),
        userns_clone: some(9),
        max_user_namespaces: some(10),
        perf_event_paranoid: some(11),
        selinux_enforce: some(12),
        dumpable: bit(13),
        uid: u32::from(number.unsigned_abs()),
        program: program.into(),
    };
    let place = Place::told_by(&traces);
    assert!(!place.words().is_empty());
    for stage in STAGES {
        for errno in [0, libc::EPERM, libc::EACCES, libc::ENOSPC, libc::ENOSYS, libc::EINVAL, i32::from(number)] {
            let diagnosis = diagnose(stage, errno, &place);
            assert!(diagnosis.sentence().starts_with("cannot ") && !diagnosis.cause.is_empty());
            assert!(diagnosis.fix.is_none_or(|fix| !fix.is_empty()));
        }
    }
});
