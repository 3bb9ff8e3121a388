//! Why no better cgroup can be had, and what to type to have one. Pure.

use super::{CgroupFacts, MOUNT, OURS, USED};
use crate::error::{errno_name, errno_text};
use std::path::{Path, PathBuf};

/// What the words hang on besides the facts.
pub(super) struct Situation {
    pub(super) uid: u32,
    /// The directory that was named.
    pub(super) named: Option<PathBuf>,
    /// Whether v2 is the only hierarchy; `None` where it is not mounted.
    pub(super) pure_v2: Option<bool>,
    /// The controllers on v1.
    pub(super) v1: Vec<String>,
    /// What could not be written, and why.
    pub(super) refused: Option<(PathBuf, i32)>,
}

impl Situation {
    /// The cause, as a sentence without an end, and what to type.
    pub(super) fn words(&self, facts: &CgroupFacts) -> (String, String) {
        if let (Some(v2), Some(true)) = (&facts.v2, self.pure_v2) {
            let parent = parent_of(&v2.parent);
            if v2.after_move.is_empty() {
                return (format!("the cgroup {parent} has no memory controller to pass on"), self.pass_on(&parent));
            }
            return (
                format!(
                    "we are in the delegated cgroup {parent} itself, and one with processes passes no controllers on"
                ),
                "start it in a sub-group: in its unit (systemd 254 or newer) DelegateSubgroup=main beside Delegate=yes"
                    .to_owned(),
            );
        }
        (self.why(), self.fix(facts.scope))
    }

    fn why(&self) -> String {
        if let Some((path, errno)) = &self.refused {
            if let (Some(dir), Some("cgroup.procs")) = (&self.named, path.file_name().and_then(|name| name.to_str())) {
                return format!(
                    "we are outside of {}, and may not write {}, as the kernel demands of whoever starts something there",
                    dir.display(),
                    path.display()
                );
            }
            return format!("{}: {} ({})", path.display(), errno_text(*errno), errno_name(*errno));
        }
        match (&self.named, self.pure_v2) {
            (Some(dir), _) => format!("{} is no cgroup under {MOUNT} in which we may make another", dir.display()),
            (None, None) if self.v1.is_empty() => format!("no cgroups are mounted at {MOUNT}"),
            (None, _) if self.has_v1_memory() => format!("uid {} was given no cgroup", self.uid),
            (None, _) => format!("no memory controller is mounted under {MOUNT}"),
        }
    }

    fn fix(&self, scope: bool) -> String {
        let uid = self.uid;
        let read_only = matches!(self.refused, Some((_, libc::EROFS)));
        if read_only {
            return format!(
                "start the container with its cgroups writable; outside of containers, as root: mount -o remount,rw {MOUNT}"
            );
        }
        if let (Some(dir), Some(true)) = (&self.named, self.pure_v2) {
            let leaf = format!("{}/launcher", dir.display());
            return format!("start it from inside: sudo mkdir -p {leaf} && echo $$ | sudo tee {leaf}/cgroup.procs");
        }
        match self.pure_v2 {
            Some(true) if scope => {
                "systemd-run --user --scope --quiet --collect -p Delegate=yes -- sandbox run …".to_owned()
            }
            Some(true) if uid != 0 => format!(
                "sudo loginctl enable-linger {uid}; export XDG_RUNTIME_DIR=/run/user/{uid}; \
                 systemd-run --user --scope --quiet --collect -p Delegate=yes -- sandbox run …"
            ),
            None if self.v1.is_empty() => format!("as root: mount -t cgroup2 none {MOUNT}"),
            Some(_) | None if self.has_v1_memory() && uid != 0 => {
                let useful: Vec<&str> = USED
                    .into_iter()
                    .filter(|name| *name != "cpuset" && self.v1.iter().any(|has| has == name))
                    .collect();
                format!(
                    "sudo sh -c 'for c in {}; do mkdir -p {MOUNT}/$c/{OURS}/uid-{uid} && \
                     chown {uid} {MOUNT}/$c/{OURS}/uid-{uid}; done'",
                    useful.join(" ")
                )
            }
            Some(_) | None => format!("as root: mount -o remount,rw {MOUNT}, and the memory controller below it"),
        }
    }

    fn pass_on(&self, parent: &str) -> String {
        if self.uid == 0 {
            return format!("echo '+memory +pids' > {parent}/cgroup.subtree_control");
        }
        "sudo sh -c 'mkdir -p /etc/systemd/system/user@.service.d && printf \
         \"[Service]\\nDelegate=cpu cpuset io memory pids\\n\" > /etc/systemd/system/user@.service.d/delegate.conf && \
         systemctl daemon-reload', then log in again"
            .to_owned()
    }

    fn has_v1_memory(&self) -> bool {
        self.v1.iter().any(|name| name == "memory")
    }
}

/// The delegated cgroup that our own directory is or lies in.
fn parent_of(ours: &Path) -> String {
    let shown = if ours.ends_with(OURS) { ours.parent().unwrap_or(ours) } else { ours };
    shown.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::V2;
    use super::*;

    fn situation() -> Situation {
        Situation { uid: 1000, named: None, pure_v2: Some(true), v1: Vec::new(), refused: None }
    }

    fn told(situation: &Situation, facts: &CgroupFacts) -> String {
        let (why, fix) = situation.words(facts);
        format!("{why} | {fix}")
    }

    #[test]
    fn a_session_is_told_to_ask_its_systemd() {
        let refused = Some((PathBuf::from("/sys/fs/cgroup/user.slice/cgroup.procs"), libc::EACCES));
        let session = Situation { refused, ..situation() };
        let facts = CgroupFacts { scope: true, ..CgroupFacts::default() };
        assert_eq!(
            told(&session, &facts),
            "/sys/fs/cgroup/user.slice/cgroup.procs: permission denied (EACCES) | systemd-run --user --scope --quiet \
             --collect -p Delegate=yes -- sandbox run …"
        );
        assert!(told(&session, &CgroupFacts::default()).contains("enable-linger 1000"));
    }

    #[test]
    fn a_user_of_a_v1_host_is_told_to_be_given_directories() {
        let v1 = ["cpu", "cpuacct", "memory", "pids", "blkio"].map(str::to_owned).to_vec();
        let user = Situation { pure_v2: Some(false), v1, ..situation() };
        assert_eq!(
            told(&user, &CgroupFacts::default()),
            "uid 1000 was given no cgroup | sudo sh -c 'for c in memory pids cpu cpuacct; do \
             mkdir -p /sys/fs/cgroup/$c/sandbox/uid-1000 && chown 1000 /sys/fs/cgroup/$c/sandbox/uid-1000; done'"
        );
    }

    #[test]
    fn a_read_only_mount_and_none_at_all_have_their_own_words() {
        let refused = Some((PathBuf::from("/sys/fs/cgroup/cgroup.procs"), libc::EROFS));
        let container = Situation { uid: 0, refused, ..situation() };
        assert!(told(&container, &CgroupFacts::default()).contains("start the container with its cgroups writable"));
        let nothing = Situation { pure_v2: None, ..situation() };
        assert!(told(&nothing, &CgroupFacts::default()).starts_with("no cgroups are mounted at /sys/fs/cgroup"));
    }

    #[test]
    fn a_named_cgroup_that_we_are_outside_of_is_entered_first() {
        let refused = Some((PathBuf::from("/sys/fs/cgroup/cgroup.procs"), libc::EACCES));
        let named = Situation { named: Some("/sys/fs/cgroup/judge".into()), refused, ..situation() };
        let told = told(&named, &CgroupFacts::default());
        assert!(
            told.starts_with("we are outside of /sys/fs/cgroup/judge, and may not write /sys/fs/cgroup/cgroup.procs")
        );
        assert!(told.contains("echo $$ | sudo tee /sys/fs/cgroup/judge/launcher/cgroup.procs"));
    }

    #[test]
    fn a_delegated_cgroup_without_memory_or_with_ourselves_in_it_is_named() {
        let v2 = V2 { parent: "/sys/fs/cgroup/a/sandbox".into(), controllers: Vec::new(), after_move: Vec::new() };
        let facts = CgroupFacts { v2: Some(v2.clone()), ..CgroupFacts::default() };
        assert!(told(&situation(), &facts).starts_with("the cgroup /sys/fs/cgroup/a has no memory controller"));
        let v2 = V2 { after_move: vec!["memory".to_owned()], ..v2 };
        let facts = CgroupFacts { v2: Some(v2), ..CgroupFacts::default() };
        assert!(told(&situation(), &facts).starts_with("we are in the delegated cgroup /sys/fs/cgroup/a itself"));
    }
}
