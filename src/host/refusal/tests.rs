//! Every pair of stage and errno that hosts are known for, in the place where it is met; and the form of all the
//! others.

use super::*;
use crate::host::place::Traces;
use crate::host::place::tests::{docker, plain};

fn place(change: impl FnOnce(&mut Traces)) -> Place {
    let mut traces = plain();
    change(&mut traces);
    Place::told_by(&traces)
}

fn filtered(traces: &mut Traces) {
    traces.status = "NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n".to_owned();
}

#[track_caller]
fn assert_found(stage: Stage, errno: i32, place: &Place, cause: &str, fix: &str) {
    let found = diagnose(stage, errno, place);
    assert!(found.cause.contains(cause), "'{cause}' is not in: {}", found.cause);
    let told = found.fix.unwrap_or_default();
    assert!(told.contains(fix), "'{fix}' is not in: {told}");
}

fn every_place() -> Vec<Place> {
    let cgroup = |text: &'static str| move |t: &mut Traces| t.cgroup = text.to_owned();
    vec![
        place(|_| ()),
        place(|t| t.uid = 0),
        place(docker),
        place(|t| {
            docker(t);
            filtered(t);
            t.uid = 0;
        }),
        place(|t| {
            docker(t);
            t.github_actions = true;
        }),
        place(|t| t.kubernetes = true),
        place(|t| t.containerenv = true),
        place(|t| t.container = "lxc".into()),
        place(|t| t.container = "systemd-nspawn".into()),
        place(|t| t.schroot = true),
        place(|t| t.github_actions = true),
        place(|t| t.version = "Linux version 6.6.87.2-microsoft-standard-WSL2".into()),
        place(cgroup("0::/user.slice/user-1000.slice/session-3.scope\n")),
        place(cgroup("0::/system.slice/judge.service\n")),
        place(cgroup("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n")),
        place(|t| t.apparmor_restrict = Some(1)),
        place(|t| t.selinux_enforce = Some(1)),
        place(|t| *t = Traces { uid: 1000, program: "/opt/it's here/sandbox".into(), ..Traces::default() }),
    ]
}

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

#[test]
fn every_refusal_is_one_sentence_with_its_errno_and_a_needed_one_has_a_fix() {
    for place in every_place() {
        for stage in STAGES {
            for errno in 0..=133 {
                let found = diagnose(stage, errno, &place);
                let sentence = found.sentence();
                assert!(sentence.starts_with("cannot ") && !sentence.contains('\n'), "{sentence}");
                assert!(errno == 0 || sentence.ends_with(&format!(" ({})", errno_name(errno))), "{sentence}");
                assert!(found.fix.is_some() || !stage.needed() || errno == libc::ENOMEM, "{sentence}: no fix");
                let error = explain_refusal(stage, errno, &place);
                assert_eq!(error.to_string(), sentence);
                assert_eq!(error.exit_code(), 125);
                assert_eq!(error.hint_text(), found.fix.as_deref());
            }
        }
    }
}

#[test]
fn docker_and_its_kin_are_told_how_the_container_is_started() {
    let in_docker = place(|t| {
        docker(t);
        filtered(t);
    });
    for errno in [libc::EPERM, libc::ENOSYS] {
        assert_found(
            Stage::Clone,
            errno,
            &in_docker,
            "Docker's default",
            "docker run --security-opt seccomp=unconfined",
        );
        assert_found(Stage::Clone, errno, &in_docker, "", "compose: security_opt");
    }
    assert_found(Stage::Proc, libc::EPERM, &in_docker, "synthetic", "systempaths=unconfined");
    assert_found(Stage::Cgroup, libc::EROFS, &in_docker, "read-only", "writable-cgroups=true");
    assert_found(Stage::Cgroup, libc::EROFS, &in_docker, "read-only", "chown 1000");
    assert_found(Stage::IdMappedMount, libc::EPERM, &in_docker, "CAP_SYS_ADMIN", "--user 1000:1000");
    let confined = place(|t| {
        docker(t);
        t.label = "docker-default (enforce)".into();
    });
    assert_found(Stage::Mount, libc::EACCES, &confined, "docker-default", "apparmor=unconfined");
    let job = place(|t| {
        docker(t);
        filtered(t);
        t.github_actions = true;
    });
    assert_found(Stage::Clone, libc::EPERM, &job, "Docker", "container: {options: --security-opt");
    let pod = place(|t| {
        t.kubernetes = true;
        filtered(t);
    });
    assert_found(Stage::Clone, libc::EPERM, &pod, "RuntimeDefault", "hostUsers: false");
    assert_found(Stage::Proc, libc::EPERM, &pod, "synthetic", "procMount: Unmasked");
    let podman = place(|t| t.containerenv = true);
    assert_found(Stage::Proc, libc::EPERM, &podman, "synthetic", "podman run --security-opt unmask=ALL");
    let lxc = place(|t| t.container = "lxc".into());
    assert_found(Stage::Clone, libc::EPERM, &lxc, "container", "security.nesting true");
}

#[test]
fn ubuntus_rule_is_met_with_a_profile_for_this_program() {
    let ubuntu = place(|t| t.apparmor_restrict = Some(1));
    for (stage, errno) in [
        (Stage::Clone, libc::EPERM),
        (Stage::Clone, libc::EACCES),
        (Stage::IdMap, libc::EPERM),
        (Stage::IdMap, libc::EACCES),
        (Stage::Mount, libc::EPERM),
        (Stage::Mount, libc::EACCES),
    ] {
        assert_found(stage, errno, &ubuntu, "AppArmor", "profile sandbox \"/usr/bin/sandbox\" flags=(unconfined)");
    }
    let odd = place(|t| {
        t.apparmor_restrict = Some(1);
        t.program = "/home/o'neil/[x]/sandbox".into();
    });
    assert_found(
        Stage::Mount,
        libc::EPERM,
        &odd,
        "AppArmor",
        r#"profile sandbox "/home/o'\''neil/\[x\]/sandbox" flags"#,
    );
    // Root is not what the rule is about.
    let root = place(|t| {
        t.apparmor_restrict = Some(1);
        t.uid = 0;
    });
    assert!(!diagnose(Stage::Mount, libc::EPERM, &root).cause.contains("AppArmor"));
}

#[test]
fn sysctls_limits_and_places_that_refuse_namespaces_are_named() {
    let debian = place(|t| t.userns_clone = Some(0));
    assert_found(Stage::Clone, libc::EPERM, &debian, "unprivileged_userns_clone is 0", "sysctl");
    let none = place(|t| t.max_user_namespaces = Some(0));
    assert_found(Stage::Clone, libc::ENOSPC, &none, "max_user_namespaces is 0", "user.max_user_namespaces=15000");
    let some = place(|t| t.max_user_namespaces = Some(100));
    assert_found(Stage::Clone, libc::ENOSPC, &some, "is 100", "sysctl -a");
    assert_found(Stage::Net, libc::ENOSPC, &some, "too many", "sysctl -a");
    let chroot = place(|t| t.schroot = true);
    assert_found(Stage::Clone, libc::EPERM, &chroot, "inside a chroot", "outside");
    assert_found(Stage::Clone, libc::EPERM, &place(|_| ()), "most likely a chroot", "outside");
    let nested = place(|t| t.status = "NoNewPrivs:\t1\nSeccomp:\t2\n".to_owned());
    let cause = "already inside a sandbox that refuses user namespaces";
    assert_found(Stage::Clone, libc::EPERM, &nested, cause, "outside");
    let unit = place(|t| {
        t.cgroup = "0::/system.slice/judge.service\n".into();
        t.status = "NoNewPrivs:\t1\nSeccomp:\t2\n".to_owned();
    });
    assert_found(Stage::Clone, libc::EPERM, &unit, "judge.service", "RestrictNamespaces=no");
    let selinux = place(|t| t.selinux_enforce = Some(1));
    assert_found(Stage::Clone, libc::EACCES, &selinux, "SELinux", "semodule");
    let unmapped = place(|t| t.uid_map.clear());
    assert_found(Stage::Clone, libc::EPERM, &unmapped, "not mapped", "unshare");
    let blind = place(|t| t.status.clear());
    assert_found(Stage::Clone, libc::EPERM, &blind, "/proc", "mount -t proc");
}

#[test]
fn ids_that_cannot_be_mapped_have_their_reason() {
    let hidden = place(|t| t.dumpable = false);
    assert_found(Stage::IdMap, libc::EACCES, &hidden, "not readable", "chmod a+r /usr/bin/sandbox");
    let lone_root = place(|t| {
        t.uid = 0;
        t.uid_map = "0 1000 1\n".into();
    });
    assert_found(Stage::IdMap, libc::EPERM, &lone_root, "no second id", "outside");
    let root = place(|t| {
        docker(t);
        t.uid = 0;
    });
    assert_found(Stage::IdMap, libc::EPERM, &root, "CAP_SETUID", "--cap-add SETUID");
}

#[test]
fn cgroups_are_had_in_the_way_of_the_place() {
    let mut facts = CgroupFacts { why_weak: Some("no cgroup is delegated".to_owned()), ..CgroupFacts::default() };
    let found = |facts: &CgroupFacts, change: &dyn Fn(&mut Traces)| {
        let found = diagnose_weak_limits(facts, &place(|t| change(t))).expect("the facts say why limits are weak");
        found.fix.unwrap_or_default()
    };
    let weak = |change: &dyn Fn(&mut Traces)| found(&facts, change);
    let session = |t: &mut Traces| {
        t.cgroup = "0::/user.slice/user-1000.slice/session-3.scope\n".into();
        t.systemd = true;
    };
    assert!(
        weak(&session).contains("systemd-run --user --scope --quiet --collect -p Delegate=yes -- /usr/bin/sandbox")
    );
    let service = |t: &mut Traces| {
        t.cgroup = "0::/system.slice/judge@1.service\n".into();
        t.systemd = true;
    };
    let fix = weak(&service);
    assert!(fix.contains("[Service]\\nDelegate=yes") && fix.contains("/etc/systemd/system/judge@1.service.d"), "{fix}");
    let runner = |t: &mut Traces| {
        t.github_actions = true;
        t.systemd = true;
    };
    assert!(weak(&runner).contains("loginctl enable-linger"));
    let wsl = |t: &mut Traces| t.version = "Linux version 6.6.87.2-microsoft-standard-WSL2".into();
    assert!(weak(&wsl).contains("wsl.conf"));
    assert!(weak(&|_| ()).contains("sudo /usr/bin/sandbox"));
    assert!(weak(&|t| t.kubernetes = true).contains("cgroup_writable"));
    assert!(weak(&|t| t.containerenv = true).contains("unmask=ALL"));
    assert!(diagnose_weak_limits(&CgroupFacts::default(), &place(|_| ())).is_none());
    // What the probe found to type is better than a general remedy, but not than the place's own.
    facts.fix = Some("mkdir there".to_owned());
    assert_eq!(found(&facts, &|_| ()), "mkdir there");
    assert!(found(&facts, &docker).contains("writable-cgroups=true"));
}

#[test]
fn what_only_weakens_says_what_is_used_instead() {
    let here = place(|t| t.perf_event_paranoid = Some(4));
    assert_found(Stage::Overlay, libc::EIO, &here, "copied", "");
    assert_found(Stage::Overlay, libc::ENODEV, &here, "overlay", "modprobe overlay");
    assert_found(Stage::Landlock, libc::EOPNOTSUPP, &here, "Landlock", "lsm=");
    assert_found(Stage::Listener, libc::EBUSY, &here, "listens already", "outside");
    assert_found(Stage::PerfClock, libc::EACCES, &here, "perf_event_paranoid is 4", "perf_event_paranoid=2");
    assert_found(Stage::Seccomp, libc::EINVAL, &here, "without it", "CONFIG_SECCOMP_FILTER");
    assert_found(Stage::Clone, libc::EINVAL, &here, "without", "CONFIG_USER_NS");
    assert_found(Stage::Clone, libc::EAGAIN, &here, "no process is left", "ulimit -u");
}
