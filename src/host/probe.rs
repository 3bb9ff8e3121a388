//! Trying things, and undoing them: everything for `check`, the few things that a choice hangs on for every run.

use super::trial::{self, Answer, Answers, Ids, Point};
use super::{CgroupFacts, Fact, Host, Place, SYSTEM, Stage, SystemEntry, SystemKind, diagnose};
use crate::error::{Error, errno_text};
use crate::spec::{CgroupChoice, Spec};
use crate::sys::{landlock, query};
use nix::errno::Errno;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The id inside, and for a caller who is root the one outside, in trials. Any id that is not the caller's does.
const INNER_ID: u32 = 1000;
const OUTER_ID_FOR_ROOT: u32 = 65_533;

/// How long all trials together may take.
const TRIALS: Duration = Duration::from_secs(5);

/// The limits that a run may have of its own, and so the caller's may be in the way of.
const RESOURCES: [libc::c_uint; 8] = [
    libc::RLIMIT_CPU as _,
    libc::RLIMIT_FSIZE as _,
    libc::RLIMIT_DATA as _,
    libc::RLIMIT_STACK as _,
    libc::RLIMIT_CORE as _,
    libc::RLIMIT_NPROC as _,
    libc::RLIMIT_NOFILE as _,
    libc::RLIMIT_AS as _,
];

/// Something that this machine refused when it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried.
    pub stage: Stage,
    /// The kernel's answer; 0 where it gave none (an outer filter killed the trial, or it took too long).
    pub errno: i32,
}

impl Host {
    /// Probes everything: what `check` prints. Takes some milliseconds, and forks: from a big program that costs more.
    ///
    /// # Errors
    /// A kernel too old, an architecture we have no filter for, or no descriptors and processes to probe with.
    pub fn probe() -> Result<Host, Error> {
        let (host, _) = Host::try_out(&CgroupChoice::Auto, &Place::read())?;
        Ok(host)
    }

    /// Probes everything, and says what was refused at which stage.
    ///
    /// # Errors
    /// As [`Host::probe`]; and a cgroup that was named and cannot be had.
    pub fn try_out(cgroup: &CgroupChoice, place: &Place) -> Result<(Host, Vec<Refusal>), Error> {
        let mut host = look(cgroup)?;
        let privileged = host.uid == 0;
        let outer = if privileged { (OUTER_ID_FOR_ROOT, OUTER_ID_FOR_ROOT) } else { (host.uid, host.gid) };
        let ids = Ids { inner: INNER_ID, outer, privileged };
        let answers = trial::try_everything(ids, TRIALS)
            .map_err(|errno| Error::sandbox("cannot try out what this machine can do").because(errno))?;
        let refusals = refusals(&answers);
        let fact = |of: &dyn Fn(Stage) -> bool| match refusals.iter().find(|refusal| of(refusal.stage)) {
            None => Fact::Works,
            Some(refusal) => refused(refusal.errno, diagnose(refusal.stage, refusal.errno, place).sentence()),
        };
        host.user_namespaces = fact(&Stage::needed);
        // What could not be tried because something before it was refused is no fact about itself.
        let tried = |point: Point, fact: Fact| match answers.get(point) {
            Answer::NotReached => refused(0, "not tried: what it needs is refused already".to_owned()),
            Answer::Silent | Answer::Works | Answer::Refused(_) => fact,
        };
        host.overlay = tried(Point::Overlay, fact(&|stage| stage == Stage::Overlay));
        host.fresh_proc = tried(Point::Proc, fact(&|stage| stage == Stage::Proc));
        host.seccomp_notify = tried(Point::Listener, fact(&|stage| stage == Stage::Listener));
        host.perf_clock = tried(Point::PerfClock, fact(&|stage| stage == Stage::PerfClock));
        if privileged {
            host.idmapped_mounts = tried(Point::IdMappedMount, fact(&|stage| stage == Stage::IdMappedMount));
        }
        if host.landlock_abi > 0 && refusals.iter().any(|refusal| refusal.stage == Stage::Landlock) {
            host.landlock_abi = 0;
        }
        Ok((host, refusals))
    }

    /// Probes what a choice of the plan hangs on, for every run: some tens of microseconds, nothing forked. The rest
    /// counts as working until a launch teaches otherwise.
    ///
    /// # Errors
    /// A kernel too old, an architecture we have no filter for, or a cgroup that was named and cannot be had.
    pub fn probe_for(spec: &Spec) -> Result<Host, Error> {
        look(&spec.cgroup)
    }
}

fn refused(errno: i32, why: String) -> Fact {
    Fact::Refused { errno, why }
}

fn look(cgroup: &CgroupChoice) -> Result<Host, Error> {
    let asked = |what: &str| {
        let doing = format!("cannot ask the kernel for {what}");
        move |errno: Errno| Error::sandbox(doing).because(errno)
    };
    let (kernel, arch) = query::uname().map_err(asked("its name"))?;
    supported(&kernel, &arch)?;
    let gid = nix::unistd::getegid().as_raw();
    Ok(Host {
        uid: nix::unistd::geteuid().as_raw(),
        gid,
        supplementary_groups: query::other_groups(gid)
            .or_else(|errno| listed_groups(gid).ok_or(errno))
            .map_err(asked("our groups"))?,
        cwd: std::env::current_dir().ok(),
        home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        cpus: query::affinity_count().map_err(asked("our CPUs"))?,
        ram: query::ram().map_err(asked("the RAM"))?,
        user_namespaces: Fact::Works,
        // 0 where the kernel has none, or it is not among the active modules.
        landlock_abi: landlock::abi().unwrap_or(0),
        overlay: overlay_on_tmpfs(query::tmpfs_user_xattr()),
        fresh_proc: Fact::Works,
        seccomp_notify: Fact::Works,
        idmapped_mounts: Fact::Works,
        perf_clock: Fact::Works,
        cgroup: CgroupFacts::probe(cgroup)?,
        hard_rlimits: RESOURCES.into_iter().filter_map(|number| Some((number, query::hard_limit(number)?))).collect(),
        system: SYSTEM.iter().filter_map(|path| system_entry(Path::new(path))).collect(),
        kernel,
        arch,
    })
}

/// The same from `/proc/self/status`, for a process whose filter refuses getgroups(2), as those of sandboxes do.
fn listed_groups(gid: u32) -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"))?;
    Some(groups.split_whitespace().filter(|&group| group != gid.to_string()).count() as u32)
}

/// An overlay marks removals by `user.*` attributes in its upper directory. On a tmpfs without them, which takes no
/// mount to find out, it mounts and then answers EIO to the rmdir of an emptied lower directory.
fn overlay_on_tmpfs(xattr: Result<(), Errno>) -> Fact {
    match xattr {
        Ok(()) => Fact::Works,
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => refused(
            Errno::EOPNOTSUPP as i32,
            "an overlay on tmpfs cannot remove directories: tmpfs has no user extended attributes before Linux 6.6"
                .to_owned(),
        ),
        Err(errno) => refused(
            errno as i32,
            format!("cannot tell whether an overlay behaves, without a memfd to try: {}", errno_text(errno as i32)),
        ),
    }
}

/// The floor: mount_setattr, cgroup.kill and process limits per user namespace, of which the last cannot be tried.
fn supported(kernel: &str, arch: &str) -> Result<(), Error> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map_while(|digits| digits.parse::<u32>().ok());
    if let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
        && (major, minor) < (5, 14)
    {
        return Err(Error::sandbox(format!("cannot sandbox on Linux {kernel}: this needs Linux 5.14 or newer"))
            .hint("run it on a newer kernel; a container has the kernel of its host"));
    }
    match arch {
        "x86_64" | "aarch64" => Ok(()),
        _ => Err(Error::sandbox(format!("cannot sandbox on {arch}: there are policies for x86_64 and aarch64 only"))),
    }
}

fn system_entry(path: &Path) -> Option<SystemEntry> {
    let kind = std::fs::symlink_metadata(path).ok()?.file_type();
    let kind = if kind.is_symlink() {
        SystemKind::Link(std::fs::read_link(path).ok()?)
    } else if kind.is_dir() {
        SystemKind::Directory
    } else if kind.is_file() {
        SystemKind::File
    } else {
        debug_assert!(kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device());
        return None;
    };
    Some(SystemEntry { path: path.to_owned(), kind })
}

/// What was refused, in the order in which it was tried.
fn refusals(answers: &Answers) -> Vec<Refusal> {
    let tried = [
        (Point::User, Stage::Clone),
        (Point::Pid, Stage::PidNamespace),
        (Point::IdMap, Stage::IdMap),
        (Point::BecomeId, Stage::Identity),
        (Point::MountNamespace, Stage::Mount),
        (Point::Mount, Stage::Mount),
        (Point::Overlay, Stage::Overlay),
        (Point::Proc, Stage::Proc),
        (Point::Ipc, Stage::Namespace),
        (Point::Uts, Stage::Namespace),
        (Point::Cgroup, Stage::Namespace),
        (Point::Net, Stage::Net),
        (Point::Landlock, Stage::Landlock),
        (Point::Filter, Stage::Seccomp),
        (Point::Listener, Stage::Listener),
        (Point::IdMappedMount, Stage::IdMappedMount),
        (Point::PerfClock, Stage::PerfClock),
    ];
    let refusal = |(point, stage)| match answers.get(point) {
        Answer::Works | Answer::NotReached => None,
        Answer::Silent => Some(Refusal { stage, errno: 0 }),
        Answer::Refused(errno) => Some(Refusal { stage, errno }),
    };
    tried.into_iter().filter_map(refusal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_and_a_foreign_architecture_are_refused_in_one_sentence() {
        let error = supported("4.18.0-553.el8.x86_64", "x86_64").unwrap_err();
        assert_eq!(error.to_string(), "cannot sandbox on Linux 4.18.0-553.el8.x86_64: this needs Linux 5.14 or newer");
        assert_eq!(error.exit_code(), 125);
        assert!(supported("5.13.19", "x86_64").is_err());
        assert!(supported("5.14.0-1.el9", "aarch64").is_ok());
        assert!(supported("6.18.44", "x86_64").is_ok());
        assert!(supported("mainline", "x86_64").is_ok());
        assert!(supported("6.18.44", "riscv64").is_err());
    }

    #[test]
    fn both_ways_to_count_groups_agree() {
        let gid = nix::unistd::getegid().as_raw();
        assert_eq!(listed_groups(gid), query::other_groups(gid).ok());
    }

    #[test]
    fn an_overlay_counts_as_refused_where_tmpfs_has_no_user_attributes() {
        assert!(overlay_on_tmpfs(Ok(())).works());
        for errno in [Errno::EINVAL, Errno::EOPNOTSUPP] {
            let Fact::Refused { errno, why } = overlay_on_tmpfs(Err(errno)) else { panic!("it works") };
            assert_eq!(errno, libc::EOPNOTSUPP);
            assert!(why.contains("before Linux 6.6"));
        }
        assert!(!overlay_on_tmpfs(Err(Errno::EPERM)).works());
    }

    #[test]
    fn the_quick_probe_agrees_with_the_thorough_one() {
        let quick = Host::probe_for(&Spec::new(["true"])).unwrap();
        let thorough = Host::probe().unwrap();
        assert_eq!(quick.landlock_abi, thorough.landlock_abi);
        assert_eq!(quick.system, thorough.system);
        assert!(quick.system.iter().any(|entry| entry.path == Path::new("/usr")));
        if thorough.user_namespaces.works() {
            assert_eq!(quick.overlay.works(), thorough.overlay.works());
        }
    }
}
