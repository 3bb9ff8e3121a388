//! From a stage and an errno to the cause and what mends it here. Pure: the same words serve `check` and a start that
//! failed.

use super::CgroupFacts;
use super::place::{Place, PlaceKind};
use super::remedy;
use crate::error::{Error, errno_name, errno_text};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// clone(2) into the user namespace, alone or with the others.
    Clone,
    /// A PID namespace in it.
    PidNamespace,
    /// An IPC, UTS or cgroup namespace in it.
    Namespace,
    /// An empty network namespace in it, or its loopback interface.
    Net,
    /// Writing the id maps.
    IdMap,
    /// Becoming the mapped id (a caller who is root).
    Identity,
    /// A mount, or anything else with the root file system.
    Mount,
    /// An overlay.
    Overlay,
    /// A fresh /proc.
    Proc,
    /// Making, setting or entering a cgroup.
    Cgroup,
    /// Landlock.
    Landlock,
    /// A seccomp filter.
    Seccomp,
    /// A seccomp filter that tells us what it refuses.
    Listener,
    /// An id-mapped mount (a caller who is root).
    IdMappedMount,
    /// The tree clock of perf_event_open(2).
    PerfClock,
}

impl Stage {
    /// Without this nothing runs. The rest has something weaker to fall back to, or is needed by some runs only.
    pub fn needed(self) -> bool {
        match self {
            Stage::Clone
            | Stage::PidNamespace
            | Stage::Namespace
            | Stage::Net
            | Stage::IdMap
            | Stage::Identity
            | Stage::Mount
            | Stage::Seccomp => true,
            Stage::Overlay
            | Stage::Proc
            | Stage::Cgroup
            | Stage::Landlock
            | Stage::Listener
            | Stage::IdMappedMount
            | Stage::PerfClock => false,
        }
    }

    /// A noun for it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Clone => "user namespaces",
            Stage::PidNamespace => "PID namespaces",
            Stage::Namespace => "IPC, UTS and cgroup namespaces",
            Stage::Net => "network namespaces",
            Stage::IdMap => "id maps",
            Stage::Identity => "another id",
            Stage::Mount => "mounts",
            Stage::Overlay => "overlays",
            Stage::Proc => "a fresh /proc",
            Stage::Cgroup => "cgroups",
            Stage::Landlock => "Landlock",
            Stage::Seccomp => "seccomp filters",
            Stage::Listener => "seccomp notification",
            Stage::IdMappedMount => "id-mapped mounts",
            Stage::PerfClock => "the perf task clock",
        }
    }

    fn doing(self) -> &'static str {
        match self {
            Stage::Clone => "cannot make a user namespace",
            Stage::PidNamespace => "cannot make a PID namespace",
            Stage::Namespace => "cannot make an IPC, UTS or cgroup namespace",
            Stage::Net => "cannot make a network namespace",
            Stage::IdMap => "cannot map the ids of the user namespace",
            Stage::Identity => "cannot become the payload's id",
            Stage::Mount => "cannot mount in the user namespace",
            Stage::Overlay => "cannot use an overlay for the work directory",
            Stage::Proc => "cannot mount a fresh /proc",
            Stage::Cgroup => "cannot make a cgroup for the run",
            Stage::Landlock => "cannot use Landlock",
            Stage::Seccomp => "cannot load a system-call filter",
            Stage::Listener => "cannot be told which system calls are refused",
            Stage::IdMappedMount => "cannot show root's files to the payload by an id-mapped mount",
            Stage::PerfClock => "cannot open the perf task clock",
        }
    }
}

/// Why something is refused, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// At which stage.
    pub stage: Stage,
    /// The kernel's answer; 0 where there was none.
    pub errno: i32,
    /// A clause: `Docker's default filter refuses it`.
    pub cause: String,
    /// What to type in this place, one line or several; `None` where nothing can be done.
    pub fix: Option<String>,
}

impl Diagnosis {
    /// One sentence: what cannot be done and why, with the errno.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.stage.doing(), self.cause_with_errno())
    }

    /// The cause, with the errno where there was one.
    pub fn cause_with_errno(&self) -> String {
        match self.errno {
            0 => self.cause.clone(),
            errno => format!("{} ({})", self.cause, errno_name(errno)),
        }
    }
}

/// The error of a start that `stage` refused with `errno`, with the hint that helps in `place`.
pub fn explain_refusal(stage: Stage, errno: i32, place: &Place) -> Error {
    let diagnosis = diagnose(stage, errno, place);
    let mut error = Error::sandbox(stage.doing());
    if errno != 0 {
        error = error.errno(errno);
    }
    error = error.because(diagnosis.cause);
    match diagnosis.fix {
        Some(fix) => error.hint(fix),
        None => error,
    }
}

/// Finds the cause of `errno` at `stage` in `place`.
pub fn diagnose(stage: Stage, errno: i32, place: &Place) -> Diagnosis {
    let (cause, fix) = match (stage, Errno::from_raw(errno)) {
        _ if errno == 0 => no_answer(place),
        (
            Stage::Clone | Stage::PidNamespace | Stage::Namespace | Stage::Net,
            errno @ (Errno::ENOSPC | Errno::EUSERS),
        ) => too_many(stage, errno, place),
        (Stage::Clone | Stage::PidNamespace | Stage::Namespace | Stage::Net, errno) => namespaces(stage, errno, place),
        (Stage::IdMap | Stage::Identity, errno) => ids(errno, place),
        (Stage::Mount, errno) => mounts(errno, place),
        (Stage::Overlay, errno) => overlay(errno),
        (Stage::Proc, errno) => proc(errno, place),
        (Stage::Cgroup, errno) => cgroup(errno, place),
        (Stage::Landlock, errno) => landlock(errno, place),
        (Stage::Seccomp, errno) => seccomp(errno),
        (Stage::Listener, errno) => listener(errno),
        (Stage::IdMappedMount, errno) => idmapped_mount(errno, place),
        (Stage::PerfClock, errno) => perf_clock(errno, place),
    };
    Diagnosis { stage, errno, cause, fix }
}

/// The diagnosis of a machine where limits fall to weaker mechanisms; `None` where the cgroup probe found nothing to
/// mend.
pub fn diagnose_weak_limits(facts: &CgroupFacts, place: &Place) -> Option<Diagnosis> {
    let cause = facts.why_weak.clone()?;
    // With part of a delegated tree in hand, what is wrong is in the tree, and the probe said what.
    let of_place = || remedy::cgroup_of_place(place).filter(|_| facts.v2.is_none());
    let fix = of_place().or_else(|| facts.fix.clone()).or_else(|| Some(remedy::cgroup(place)));
    Some(Diagnosis { stage: Stage::Cgroup, errno: 0, cause, fix })
}

/// A cause, and a fix where there is one.
type Finding = (String, Option<String>);

fn finding(cause: &str, fix: &str) -> Finding {
    (cause.to_owned(), Some(fix.to_owned()))
}

fn unmended(cause: &str) -> Finding {
    (cause.to_owned(), None)
}

fn unknown(errno: Errno) -> Finding {
    (errno_text(errno as i32), Some("the kernel's log may say more: sudo dmesg | tail".to_owned()))
}

fn no_answer(place: &Place) -> Finding {
    if place.filtered {
        (
            "a system-call filter on this process kills for it".to_owned(),
            remedy::namespaces_in_container(place).or_else(|| Some("start it outside that filter".to_owned())),
        )
    } else {
        finding("the trial did not come back in time", "try again when the machine is less busy")
    }
}

fn namespaces(stage: Stage, errno: Errno, place: &Place) -> Finding {
    match errno {
        Errno::EPERM | Errno::EACCES | Errno::ENOSYS => {}
        Errno::EINVAL => {
            return finding(
                "this kernel was built without them",
                "boot a kernel with CONFIG_USER_NS, PID_NS and NET_NS",
            );
        }
        Errno::EAGAIN => {
            return finding(
                "no process is left for this user or cgroup",
                "end some processes, or raise the limit: ulimit -u, and pids.max of the cgroup",
            );
        }
        Errno::ENOMEM => {
            return finding("the machine or this cgroup is out of memory", "free some memory and try again");
        }
        other => return unknown(other),
    }
    if place.chroot {
        return finding(
            "the kernel refuses user namespaces inside a chroot",
            "run it outside, or enter the directory by pivot_root: systemd-nspawn -D DIRECTORY",
        );
    }
    if place.inside_a_sandbox() {
        return finding("already inside a sandbox that refuses user namespaces", "start it outside that sandbox");
    }
    if place.unmapped {
        return finding(
            "our own ids are not mapped in this user namespace",
            "give it a map: unshare --map-current-user, or write its uid_map and gid_map",
        );
    }
    if stage == Stage::Clone && place.userns_clone_off && place.uid != 0 {
        return finding(
            "kernel.unprivileged_userns_clone is 0",
            "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-userns.conf && sudo sysctl --system",
        );
    }
    if let PlaceKind::Service(unit) = &place.kind
        && place.filtered
    {
        let cause = format!("a system-call filter of {unit} refuses it (RestrictNamespaces= or SystemCallFilter=)");
        return (cause, Some(remedy::drop_in(unit, "namespaces", "RestrictNamespaces=no")));
    }
    if place.is_container() && (place.filtered || errno == Errno::ENOSYS) {
        return (format!("{} refuses it", filter_name(&place.kind)), remedy::namespaces_in_container(place));
    }
    if let Some(finding) = security_module(errno, place) {
        return finding;
    }
    if place.is_container() {
        return ("this container may not make them".to_owned(), remedy::namespaces_in_container(place));
    }
    if place.filtered {
        return finding("a system-call filter on this process refuses it", "start it outside that filter");
    }
    match errno {
        Errno::EPERM if !place.proc => finding(
            "a chroot or a filter refuses it, and without /proc it cannot be told which",
            "run it outside the chroot; or mount -t proc proc /proc, to be told more",
        ),
        // A chroot into a mount looks like no chroot; all else that answers EPERM was looked at above.
        Errno::EPERM => finding("nothing visible forbids it, so this is most likely a chroot", "run it outside"),
        other => unknown(other),
    }
}

fn filter_name(kind: &PlaceKind) -> &'static str {
    match kind {
        PlaceKind::Docker => "Docker's default system-call filter",
        PlaceKind::Kubernetes => "the pod's system-call filter (RuntimeDefault)",
        PlaceKind::Podman => "the podman container's system-call filter",
        PlaceKind::Lxc
        | PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => "the container's system-call filter",
    }
}

/// AppArmor or SELinux, where one of them is at work.
fn security_module(errno: Errno, place: &Place) -> Option<Finding> {
    if place.apparmor_restricts && place.uid != 0 && !place.is_container() {
        let cause = "AppArmor lets only programs with a profile use user namespaces (Ubuntu 23.10 and newer)";
        return Some((cause.to_owned(), Some(remedy::apparmor_profile(place))));
    }
    if let Some(profile) = &place.apparmor_profile {
        let cause = format!("the AppArmor profile {profile} forbids it");
        let fix = remedy::namespaces_in_container(place).or_else(|| Some(remedy::apparmor_profile(place)));
        return Some((cause, fix));
    }
    if errno == Errno::EACCES && place.selinux {
        return Some(("SELinux forbids it".to_owned(), Some(remedy::selinux(place))));
    }
    if errno == Errno::EACCES && !place.is_container() {
        // No profile on us and no sysctl: AppArmor's mediation since 6.12 refuses what has none as well.
        return Some(("a security module forbids it".to_owned(), Some(remedy::apparmor_profile(place))));
    }
    None
}

fn too_many(stage: Stage, errno: Errno, place: &Place) -> Finding {
    let where_to = if place.is_container() { "on the host: " } else { "" };
    if stage == Stage::Clone
        && let Some(0) = place.max_user_namespaces
    {
        return (
            "user.max_user_namespaces is 0".to_owned(),
            Some(format!(
                "{where_to}echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-userns.conf && \
                 sudo sysctl --system"
            )),
        );
    }
    let limit = match place.max_user_namespaces {
        Some(limit) => format!("user.max_user_namespaces is {limit}"),
        None => "a limit on namespaces".to_owned(),
    };
    let nested = if errno == Errno::EUSERS { "" } else { ", or namespaces are nested more than 32 deep" };
    (
        format!("too many namespaces ({limit}{nested})"),
        Some(format!("{where_to}look which limit it is, and raise it: sysctl -a | grep 'user.max_.*_namespaces'")),
    )
}

fn ids(errno: Errno, place: &Place) -> Finding {
    if errno == Errno::EACCES && !place.dumpable {
        let program = place.program.display();
        return (
            format!("{program} is not readable for its user, so the kernel hides its processes from their owner"),
            Some(format!("chmod a+r {}", place.program_word())),
        );
    }
    if errno == Errno::ENOENT {
        return finding("/proc is not mounted here", "mount -t proc proc /proc");
    }
    if errno == Errno::EPERM && place.uid == 0 {
        return if place.lone_id {
            finding(
                "root of this user namespace has no second id to give to the payload",
                "run it outside that user namespace, or in one with a range of ids (podman unshare)",
            )
        } else {
            (
                "root without CAP_SETUID and CAP_SETGID cannot give the payload another id".to_owned(),
                Some(remedy::id_capabilities(place)),
            )
        };
    }
    mounts(errno, place)
}

fn mounts(errno: Errno, place: &Place) -> Finding {
    match errno {
        Errno::EPERM | Errno::EACCES => {}
        Errno::ENOSYS => {
            let fix =
                remedy::namespaces_in_container(place).or_else(|| Some("start it outside that filter".to_owned()));
            return ("a system-call filter hides the mount calls".to_owned(), fix);
        }
        Errno::ENOSPC => {
            return finding(
                "too many mounts or namespaces",
                "look which limit it is, and raise it: sysctl fs.mount-max; sysctl -a | grep 'user.max_.*_namespaces'",
            );
        }
        Errno::ENOMEM => {
            return finding("the machine or this cgroup is out of memory", "free some memory and try again");
        }
        other => return unknown(other),
    }
    if let Some(finding) = security_module(errno, place) {
        return finding;
    }
    if place.is_container() {
        let who = if place.filtered { filter_name(&place.kind) } else { "this container" };
        return (format!("{who} refuses it"), remedy::namespaces_in_container(place));
    }
    if place.filtered {
        return finding("a system-call filter on this process refuses it", "start it outside that filter");
    }
    unknown(errno)
}

fn overlay(errno: Errno) -> Finding {
    match errno {
        Errno::EIO | Errno::EOPNOTSUPP => {
            unmended("an overlay on tmpfs cannot remove directories before Linux 6.6, so the work directory is copied")
        }
        Errno::ENODEV => finding("the kernel has no overlay file system loaded", "sudo modprobe overlay"),
        Errno::EPERM | Errno::EACCES => {
            unmended("overlays are refused in user namespaces here, so the work directory is copied")
        }
        Errno::EINVAL => unmended("this kernel refuses an overlay on tmpfs, so the work directory is copied"),
        other => (errno_text(other as i32), None),
    }
}

fn proc(errno: Errno, place: &Place) -> Finding {
    match errno {
        Errno::EPERM | Errno::EACCES => (
            "parts of the visible /proc are covered, and the kernel then refuses a fresh one; a synthetic one is used"
                .to_owned(),
            Some(remedy::uncovered_proc(place)),
        ),
        other => unknown(other),
    }
}

fn cgroup(errno: Errno, place: &Place) -> Finding {
    let cause = match errno {
        Errno::EROFS => "the cgroup file system is mounted read-only here",
        Errno::EACCES | Errno::EPERM => "no cgroup is delegated to this user, or we are outside the delegated ones",
        Errno::EBUSY => "the cgroup that we are in has processes of its own, so it can have no children with limits",
        Errno::ENOENT | Errno::ENODEV => "the cgroup is gone, or its controller is",
        Errno::EAGAIN => "the cgroup's limit on descendants is reached (cgroup.max.descendants)",
        other => return (errno_text(other as i32), Some(remedy::cgroup(place))),
    };
    (cause.to_owned(), Some(remedy::cgroup(place)))
}

fn landlock(errno: Errno, place: &Place) -> Finding {
    match errno {
        Errno::EOPNOTSUPP => finding(
            "Landlock is not among the security modules that this kernel starts",
            "put landlock first in lsm= of the kernel command line; the list now: cat /sys/kernel/security/lsm",
        ),
        Errno::ENOSYS if place.filtered => unmended("an outer system-call filter hides it"),
        Errno::ENOSYS => unmended("this kernel was built without CONFIG_SECURITY_LANDLOCK"),
        Errno::E2BIG => unmended("16 Landlock rulesets are in force on this process already"),
        other => (errno_text(other as i32), None),
    }
}

fn seccomp(errno: Errno) -> Finding {
    match errno {
        Errno::EINVAL | Errno::ENOSYS => {
            finding("this kernel was built without it", "boot a kernel with CONFIG_SECCOMP_FILTER")
        }
        Errno::ENOMEM => unmended("the filters on this process are too long together"),
        Errno::EPERM | Errno::EACCES => {
            finding("an outer system-call filter refuses it", "start it outside that sandbox")
        }
        other => unknown(other),
    }
}

fn listener(errno: Errno) -> Finding {
    match errno {
        Errno::EBUSY => finding(
            "an outer sandbox listens already, so refused calls are not listed in reports",
            "start it outside that sandbox",
        ),
        Errno::EINVAL => {
            unmended("this kernel or an outer sandbox has no notification, so refused calls are not listed")
        }
        other => (errno_text(other as i32), None),
    }
}

fn idmapped_mount(errno: Errno, place: &Place) -> Finding {
    let cause = match errno {
        Errno::EPERM => "root without CAP_SYS_ADMIN over the file system may not map its ids",
        Errno::EINVAL | Errno::EOPNOTSUPP => "the file system of the current directory has no id-mapped mounts",
        Errno::ENOSYS => "an outer system-call filter hides mount_setattr",
        other => return (errno_text(other as i32), Some(remedy::ordinary_user(place))),
    };
    (cause.to_owned(), Some(remedy::ordinary_user(place)))
}

fn perf_clock(errno: Errno, place: &Place) -> Finding {
    match (errno, place.perf_event_paranoid) {
        (Errno::EACCES, _) if !place.dumpable => ids(errno, place),
        (Errno::EACCES | Errno::EPERM, Some(level @ 3..)) => (
            format!("kernel.perf_event_paranoid is {level}"),
            Some("sudo sysctl -w kernel.perf_event_paranoid=2".to_owned()),
        ),
        (Errno::EACCES | Errno::EPERM, _) => unmended("an outer filter or a security module refuses it"),
        (Errno::ENOSYS | Errno::ENOENT, _) => unmended("this kernel was built without it"),
        (other, _) => (errno_text(other as i32), None),
    }
}

#[cfg(test)]
mod tests;
