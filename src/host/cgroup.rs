//! Which cgroups can be had here. Only looks (a few system calls, at every start); what is missing is made by the run that
//! needs it.

mod words;

use crate::error::Error;
use crate::spec::CgroupChoice;
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access, geteuid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Where cgroup file systems are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// The name of the directory in which runs' directories are made.
pub(crate) const OURS: &str = "sandbox";
/// The controllers that some limit can use.
const USED: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "cpuset"];

/// The cgroup hierarchies and what we may do in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// The v2 hierarchy, pure or beside v1.
    pub v2: Option<V2>,
    /// v1 controllers by name, and where a run's directory can be made. Controllers that are mounted together share one.
    pub v1: BTreeMap<String, PathBuf>,
    /// Why nothing better can be had, as a sentence; `None` where the kernel enforces memory, CPU time and processes.
    pub why_weak: Option<String>,
    /// What to type to have it.
    #[serde(default)]
    pub fix: Option<String>,
    /// Nothing can be had where we are, but the user's systemd can start us in a scope where it can.
    #[serde(default)]
    pub scope: bool,
}

/// What we may do on the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2 {
    /// Where a run's directory is made; where its last component is `sandbox`, it is made as well.
    pub parent: PathBuf,
    /// Controllers that it will have.
    pub controllers: Vec<String>,
    /// Controllers that it would have if this process, alone in its cgroup, first moved to a leaf of it: a cgroup with
    /// processes cannot pass controllers on. Empty where that helps nothing.
    #[serde(default)]
    pub after_move: Vec<String>,
}

impl CgroupFacts {
    /// What this caller can have, under this choice. Makes nothing.
    ///
    /// # Errors
    /// A cgroup that was named (`own`, `scope`, a directory) and cannot be had.
    pub fn probe(choice: &CgroupChoice) -> Result<CgroupFacts, Error> {
        if *choice == CgroupChoice::None {
            return Ok(CgroupFacts {
                why_weak: Some("no cgroup was wanted (--cgroup none)".to_owned()),
                fix: Some("leave out --cgroup none".to_owned()),
                ..CgroupFacts::default()
            });
        }
        let facts = Look::new(choice).facts();
        match choice {
            CgroupChoice::Auto | CgroupChoice::None => Ok(facts),
            CgroupChoice::Own | CgroupChoice::Scope | CgroupChoice::Dir(_) => facts.insist(choice),
        }
    }

    fn insist(self, choice: &CgroupChoice) -> Result<CgroupFacts, Error> {
        if self.v2.is_some() || !self.v1.is_empty() {
            return Ok(self);
        }
        let doing = match choice {
            CgroupChoice::Dir(dir) => format!("cannot make a cgroup in {}", dir.display()),
            CgroupChoice::Auto | CgroupChoice::Own | CgroupChoice::Scope | CgroupChoice::None => {
                "cannot make a cgroup of our own".to_owned()
            }
        };
        let error = Error::sandbox(doing).because(self.why_weak.unwrap_or_default());
        Err(match self.fix {
            Some(fix) => error.hint(fix),
            None => error,
        })
    }

    /// Whether a controller is there on v2.
    pub(crate) fn on_v2(&self, controller: &str) -> bool {
        self.v2.as_ref().is_some_and(|v2| v2.controllers.iter().any(|has| has == controller))
    }

    fn has_memory(&self) -> bool {
        self.on_v2("memory") || self.v1.contains_key("memory")
    }

    fn has_cpu_clock(&self) -> bool {
        self.v2.is_some() || self.v1.contains_key("cpuacct")
    }
}

/// The cgroups that a process is in, as /proc/self/cgroup says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Membership {
    /// The v2 path below the mount.
    v2: Option<PathBuf>,
    /// v1 hierarchies: their controllers, as they are mounted, and the path below.
    v1: Vec<(String, Option<PathBuf>)>,
}

impl Membership {
    /// Lines that make no sense are passed over; a path that leads out of the mount is none.
    fn parse(text: &str) -> Membership {
        let mut membership = Membership::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let path = below(path);
            if controllers.is_empty() {
                membership.v2 = path;
            } else if !controllers.starts_with("name=") {
                membership.v1.push((controllers.to_owned(), path));
            }
        }
        membership
    }
}

/// `/a/b` as `a/b`. None for what was deleted, and for what lies outside our cgroup namespace (`/../a`).
fn below(path: &str) -> Option<PathBuf> {
    let path = Path::new(path.strip_prefix('/')?);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    (inside && !path.as_os_str().to_string_lossy().ends_with(" (deleted)")).then(|| path.to_owned())
}

/// One probe.
struct Look<'a> {
    choice: &'a CgroupChoice,
    root: bool,
    uid: u32,
    membership: Membership,
    mount: PathBuf,
    /// The v2 mount and whether it is the only hierarchy.
    v2_mount: Option<(PathBuf, bool)>,
    /// The first refusal that matters, for the words.
    refused: Option<(PathBuf, i32)>,
}

impl<'a> Look<'a> {
    fn new(choice: &'a CgroupChoice) -> Look<'a> {
        let mount = PathBuf::from(MOUNT);
        let membership = Membership::parse(&read(Path::new("/proc/self/cgroup")).unwrap_or_default());
        let is_v2 = |path: &Path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let v2_mount = if is_v2(&mount) {
            Some((mount.clone(), true))
        } else {
            let unified = mount.join("unified");
            (membership.v2.is_some() && is_v2(&unified)).then_some((unified, false))
        };
        let uid = geteuid();
        Look { choice, root: uid.is_root(), uid: uid.as_raw(), membership, mount, v2_mount, refused: None }
    }

    fn facts(mut self) -> CgroupFacts {
        let mut facts = CgroupFacts { v2: self.v2(), ..CgroupFacts::default() };
        if !matches!(self.v2_mount, Some((_, true))) {
            // What is weak here is weak for want of v1 controllers.
            self.refused = None;
            facts.v1 = self.v1();
        }
        if !facts.has_memory() || !facts.has_cpu_clock() {
            // What systemd-run needs to reach the user's manager.
            facts.scope = !self.root
                && *self.choice != CgroupChoice::None
                && matches!(self.v2_mount, Some((_, true)))
                && access(&PathBuf::from(format!("/run/user/{}/bus", self.uid)), AccessFlags::W_OK).is_ok();
            let situation = words::Situation {
                uid: self.uid,
                named: match self.choice {
                    CgroupChoice::Dir(dir) => Some(dir.clone()),
                    CgroupChoice::Auto | CgroupChoice::Own | CgroupChoice::Scope | CgroupChoice::None => None,
                },
                pure_v2: self.v2_mount.as_ref().map(|(_, pure)| *pure),
                v1: self.membership.v1.iter().flat_map(|(names, _)| names.split(',')).map(str::to_owned).collect(),
                refused: self.refused,
            };
            let (why, fix) = situation.words(&facts);
            facts.why_weak = Some(why);
            facts.fix = Some(fix);
        }
        facts
    }

    /// Whether we may write there. The first refusal is kept.
    fn writable(&mut self, path: &Path) -> bool {
        match access(path, AccessFlags::W_OK) {
            Ok(()) => true,
            Err(errno) => {
                if errno != Errno::ENOENT && self.refused.is_none() {
                    self.refused = Some((path.to_owned(), errno as i32));
                }
                false
            }
        }
    }

    fn v1(&mut self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        for (controllers, here) in self.membership.v1.clone() {
            let useful: Vec<&str> = controllers.split(',').filter(|name| USED.contains(name)).collect();
            let Some(&first) = useful.first() else { continue };
            let mut mount = self.mount.join(&controllers);
            if useful.len() > 1 && access(&mount, AccessFlags::F_OK).is_err() {
                mount = self.mount.join(first);
            }
            let Some(parent) = self.v1_parent(&mount, here.as_deref()) else { continue };
            for name in useful {
                found.insert(name.to_owned(), parent.clone());
            }
        }
        found
    }

    fn v1_parent(&mut self, mount: &Path, here: Option<&Path>) -> Option<PathBuf> {
        if let CgroupChoice::Dir(dir) = self.choice {
            // The same path below each controller's mount, wherever the administrator made one.
            let below: PathBuf = dir.strip_prefix(&self.mount).ok()?.components().skip(1).collect();
            let parent = mount.join(below);
            return self.writable(&parent).then_some(parent);
        }
        let ours = mount.join(OURS);
        if self.root {
            if self.writable(&ours)
                || (access(&ours, AccessFlags::F_OK).is_err() && self.writable(&mount.join("tasks")))
            {
                return Some(ours);
            }
            return None;
        }
        let given = ours.join(format!("uid-{}", self.uid));
        if *self.choice == CgroupChoice::Auto && self.writable(&given) {
            return Some(given);
        }
        let here = mount.join(here?);
        (here != mount && self.writable(&here)).then(|| here.join(OURS))
    }

    fn v2(&mut self) -> Option<V2> {
        let (mount, pure) = self.v2_mount.clone()?;
        // A mount that shows another part of the tree than our cgroup namespace: its root is where we can be.
        let here = match &self.membership.v2 {
            Some(here) => {
                let here = mount.join(here);
                if here == mount || access(&here, AccessFlags::F_OK).is_ok() { here } else { mount.clone() }
            }
            None => mount.clone(),
        };
        let (top, parent) = match self.choice {
            CgroupChoice::Dir(dir) => {
                let dir = match dir.strip_prefix(&mount) {
                    Ok(_) => dir.clone(),
                    // On a hybrid host, the directory of the same name beside that of a v1 controller.
                    Err(_) if !pure => {
                        let below: PathBuf = dir.strip_prefix(&self.mount).ok()?.components().skip(1).collect();
                        mount.join(below)
                    }
                    Err(_) => return None,
                };
                // The kernel wants write access to the common ancestor of where we are and where the run goes.
                let common: PathBuf =
                    here.components().zip(dir.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
                if !self.writable(&dir) || !self.writable(&common.join("cgroup.procs")) {
                    return None;
                }
                (dir.clone(), dir)
            }
            CgroupChoice::Auto | CgroupChoice::Own | CgroupChoice::Scope | CgroupChoice::None => {
                let top = self.highest_writable(&mount, &here)?;
                let parent = top.join(OURS);
                (top, parent)
            }
        };
        Some(controllers(top, parent, &here, pure))
    }

    /// The highest cgroup from ours upward in which we may put processes: the root for root, `user@UID.service` below a
    /// user's systemd, the delegated cgroup in a service.
    fn highest_writable(&mut self, mount: &Path, here: &Path) -> Option<PathBuf> {
        if access(&mount.join("cgroup.procs"), AccessFlags::W_OK).is_ok() {
            return Some(mount.to_owned());
        }
        let mut top = None;
        for level in here.ancestors().take_while(|level| level.starts_with(mount)) {
            if !self.writable(&level.join("cgroup.procs")) || !self.writable(level) {
                break;
            }
            top = Some(level.to_owned());
        }
        top
    }
}

/// Which controllers a child of `parent` can have. `top` is `parent` or what it lies in.
fn controllers(top: PathBuf, parent: PathBuf, here: &Path, pure: bool) -> V2 {
    let available = list(&top.join("cgroup.controllers"));
    let mut v2 = V2 { parent, controllers: Vec::new(), after_move: Vec::new() };
    if available.is_empty() {
        return v2;
    }
    // Ours never holds processes itself, so whatever it has can be passed on.
    let ours = if top == v2.parent {
        list(&top.join("cgroup.subtree_control"))
    } else {
        list(&v2.parent.join("cgroup.controllers"))
    };
    if ours.len() == available.len() {
        v2.controllers = available;
        return v2;
    }
    let may_enable = access(&top.join("cgroup.subtree_control"), AccessFlags::W_OK).is_ok();
    // Only the true root has no type, and only there processes and controllers go together.
    let true_root = access(&top.join("cgroup.type"), AccessFlags::F_OK) == Err(Errno::ENOENT);
    let members = if true_root { Some(String::new()) } else { read(&top.join("cgroup.procs")) };
    match members {
        Some(members) if may_enable && members.trim().is_empty() => v2.controllers = available,
        members => {
            v2.controllers = list(&top.join("cgroup.subtree_control"));
            let alone = members.is_some_and(|members| members.trim() == std::process::id().to_string());
            let lacks_memory = !v2.controllers.iter().any(|name| name == "memory");
            if pure && may_enable && alone && lacks_memory && here == top {
                v2.after_move = available;
            }
        }
    }
    v2
}

/// The words of a controller file that we use.
fn list(path: &Path) -> Vec<String> {
    let text = read(path).unwrap_or_default();
    text.split_ascii_whitespace().filter(|word| USED.contains(word)).map(str::to_owned).collect()
}

/// A small kernel file. No more than the kernel gives at one read: there is no size to ask for.
fn read(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let mut bytes = vec![0; 4096];
    let count = file.read(&mut bytes).ok()?;
    bytes.truncate(count);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_read_from_every_kind_of_host() {
        let hybrid = "9:name=systemd:/\n8:pids:/a\n4:memory:/process\n2:cpu,cpuacct:/\n0::/user.slice\n";
        let membership = Membership::parse(hybrid);
        assert_eq!(membership.v2, Some(PathBuf::from("user.slice")));
        assert_eq!(membership.v1.len(), 3);
        assert_eq!(membership.v1[2], ("cpu,cpuacct".to_owned(), Some(PathBuf::new())));
    }

    #[test]
    fn odd_memberships_are_passed_over() {
        for text in
            ["", "\n", "x", "0:", "0::", "1:a", "0::relative", "0::/../outside", "0::/gone (deleted)", "0::/a/../b"]
        {
            assert_eq!(Membership::parse(text), Membership::default(), "{text:?}");
        }
        assert_eq!(Membership::parse("0::/a:b").v2, Some(PathBuf::from("a:b")));
    }

    #[test]
    fn no_cgroup_is_wanted_and_none_is_looked_for() {
        let facts = CgroupFacts::probe(&CgroupChoice::None).unwrap();
        assert!(facts.v2.is_none() && facts.v1.is_empty() && facts.why_weak.is_some() && facts.fix.is_some());
    }

    #[test]
    fn a_named_directory_that_is_no_cgroup_is_an_error_with_a_cause() {
        let error = CgroupFacts::probe(&CgroupChoice::Dir("/tmp".into())).unwrap_err();
        assert!(error.to_string().starts_with("cannot make a cgroup in /tmp: "), "{error}");
    }

    #[test]
    fn what_is_found_can_be_dumped_and_read_again() {
        let facts = CgroupFacts::probe(&CgroupChoice::Auto).unwrap();
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<CgroupFacts>(&json).unwrap(), facts);
    }
}
