//! What a machine may lack: each feature is tried, by the identity that will need it, and undone.

use super::raw;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that a test needs from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Feature {
    /// User namespaces with a map of one's own id.
    Userns,
    /// Overlay mounts inside a user namespace.
    Overlay,
    /// Landlock.
    Landlock,
    /// Seccomp user notification.
    Notify,
    /// The v1 memory and pids controllers, in which this identity can make a group.
    Cgroup1,
    /// The v2 memory and pids controllers, in which this identity can make a group.
    Cgroup2,
    /// One of the two above.
    KernelLimits,
    /// Neither of the two: what is said where they are missing.
    NoKernelLimits,
    /// The test program was started as root.
    Root,
    /// A C compiler that links statically.
    Cc,
    /// A C++ compiler.
    Gxx,
    /// `/usr/bin/python3`.
    Python3,
}

impl Feature {
    pub(crate) const ALL: [Feature; 12] = [
        Feature::Userns,
        Feature::Overlay,
        Feature::Landlock,
        Feature::Notify,
        Feature::Cgroup1,
        Feature::Cgroup2,
        Feature::KernelLimits,
        Feature::NoKernelLimits,
        Feature::Root,
        Feature::Cc,
        Feature::Gxx,
        Feature::Python3,
    ];

    /// The word in `SANDBOX_PROMISED` and in reasons.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Feature::Userns => "userns",
            Feature::Overlay => "overlay",
            Feature::Landlock => "landlock",
            Feature::Notify => "notify",
            Feature::Cgroup1 => "cgroup1",
            Feature::Cgroup2 => "cgroup2",
            Feature::KernelLimits => "kernel-limits",
            Feature::NoKernelLimits => "no-kernel-limits",
            Feature::Root => "root",
            Feature::Cc => "cc",
            Feature::Gxx => "gxx",
            Feature::Python3 => "python3",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Feature> {
        Feature::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// Tries it, in a process of its own: what is tried may change the process for good.
    pub(crate) fn probe(self) -> Result<(), String> {
        match self {
            Feature::Userns => enter_user_namespace(CloneFlags::empty()),
            Feature::Overlay => probe_overlay(),
            Feature::Landlock => raw::landlock_abi().map(drop).map_err(|e| e.to_string()),
            Feature::Notify => raw::seccomp_notification().map_err(|e| e.to_string()),
            Feature::Cgroup1 => ["memory", "pids"].into_iter().try_for_each(probe_cgroup1),
            Feature::Cgroup2 => probe_cgroup2(),
            Feature::KernelLimits => {
                Feature::Cgroup1.probe().or_else(|v1| Feature::Cgroup2.probe().map_err(|v2| format!("{v1}; {v2}")))
            }
            Feature::NoKernelLimits => match Feature::KernelLimits.probe() {
                Ok(()) => Err("this identity has kernel limits".to_owned()),
                Err(_) => Ok(()),
            },
            Feature::Root => {
                if nix::unistd::geteuid().is_root() {
                    Ok(())
                } else {
                    Err("not started as root".to_owned())
                }
            }
            Feature::Cc => probe_compiler("cc", "int main(void) { return 0; }\n", "c"),
            Feature::Gxx => probe_compiler("g++", "int main() { return 0; }\n", "c++"),
            Feature::Python3 => {
                if Path::new("/usr/bin/python3").exists() {
                    Ok(())
                } else {
                    Err("there is no /usr/bin/python3".to_owned())
                }
            }
        }
    }
}

fn enter_user_namespace(more: CloneFlags) -> Result<(), String> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    unshare(CloneFlags::CLONE_NEWUSER | more).map_err(|e| format!("unshare: {e}"))?;
    let write = |file: &str, text: &str| fs::write(file, text).map_err(|e| format!("{file}: {e}"));
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("1000 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("1000 {gid} 1"))
}

fn probe_overlay() -> Result<(), String> {
    enter_user_namespace(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    let text = |e: &dyn std::fmt::Display| e.to_string();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|e| text(&e))?;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none).map_err(|e| format!("tmpfs: {e}"))?;
    for dir in ["/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"] {
        fs::create_dir(dir).map_err(|e| text(&e))?;
    }
    let options = Some("lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr");
    mount(Some("overlay"), "/tmp/merged", Some("overlay"), MsFlags::empty(), options)
        .map_err(|e| format!("overlay: {e}"))
}

/// The directory of our own group in the hierarchy with `controller`; on v2 the controller is empty.
fn own_cgroup(controller: &str) -> Result<PathBuf, String> {
    let (mounts, groups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let path = groups
        .lines()
        .find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers.split(',').any(|known| known == controller).then_some(path)
        })
        .ok_or_else(|| format!("no cgroup hierarchy has '{controller}'"))?;
    let kind = if controller.is_empty() { "cgroup2" } else { "cgroup" };
    mounts
        .lines()
        .find_map(|line| {
            let (place, source) = line.split_once(" - ")?;
            let mut source = source.split(' ');
            let (found, options) = (source.next()?, source.nth(1)?);
            let fits = found == kind && (controller.is_empty() || options.split(',').any(|known| known == controller));
            let mount_point = place.split(' ').nth(4)?;
            fits.then(|| Path::new(mount_point).join(path.trim_start_matches('/')))
        })
        .ok_or_else(|| format!("no {kind} mount for '{controller}'"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

fn probe_mkdir(parent: &Path) -> Result<(), String> {
    let child = parent.join(format!("probe-of-a-test-{}", std::process::id()));
    fs::create_dir(&child).map_err(|e| format!("{}: {e}", child.display()))?;
    fs::remove_dir(&child).map_err(|e| format!("{}: {e}", child.display()))
}

fn probe_cgroup1(controller: &str) -> Result<(), String> {
    probe_mkdir(&own_cgroup(controller)?)
}

fn probe_cgroup2() -> Result<(), String> {
    let own = own_cgroup("")?;
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).map_err(|e| e.to_string())?;
    for needed in ["memory", "pids"] {
        if !controllers.split_whitespace().any(|known| known == needed) {
            return Err(format!("the v2 hierarchy has no {needed} controller here"));
        }
    }
    probe_mkdir(&own)
}

fn probe_compiler(compiler: &str, source: &str, language: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (from, to) = (dir.path().join("probe"), dir.path().join("probe.out"));
    fs::write(&from, source).map_err(|e| e.to_string())?;
    let done = Command::new(compiler)
        .args(["-x", language, "-static", "-o"])
        .arg(&to)
        .arg(&from)
        .output()
        .map_err(|e| format!("{compiler}: {e}"))?;
    if done.status.success() { Ok(()) } else { Err(format!("{compiler} cannot link a static program")) }
}
