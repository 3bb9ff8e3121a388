//! A child that tries what a run needs, one kernel feature after the other, and takes everything with it when it ends:
//! its namespaces, its mounts, its filters. It tells the answers through a pipe.
//!
//! The program that we are a part of may have threads, so the child only makes system calls on memory that was prepared
//! before: no heap, no lock, no panic.

use crate::sys::{file, landlock, mount, process, seccomp, trial};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// What is tried, in this order (the last two by the parent while the child waits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Point {
    /// clone(2) into a user namespace.
    User,
    /// The same with a PID namespace.
    Pid,
    /// The three id-map files.
    IdMap,
    /// Becoming the mapped id, with no supplementary group (a caller who is root).
    BecomeId,
    /// A mount namespace.
    MountNamespace,
    /// A mount in it: AppArmor lets the namespaces be made, and refuses this.
    Mount,
    /// An overlay on tmpfs in which lower files can be removed, renamed and changed, and their emptied directory
    /// removed.
    Overlay,
    /// A fresh /proc.
    Proc,
    /// An IPC namespace.
    Ipc,
    /// A UTS namespace.
    Uts,
    /// A cgroup namespace.
    Cgroup,
    /// An empty network namespace.
    Net,
    /// A Landlock domain.
    Landlock,
    /// A seccomp filter.
    Filter,
    /// A seccomp filter whose refusals we are told.
    Listener,
    /// An id-mapped copy of the current directory's mount.
    IdMappedMount,
    /// An inherited task clock on the child.
    PerfClock,
}

const POINTS: usize = 17;
/// A record's errno for "about to try this".
const TRYING: u16 = u16::MAX;

/// What one trial answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Something that it needs was refused before.
    #[default]
    NotReached,
    /// The child was killed while it tried (an outer filter that kills does that), or did not come back in time.
    Silent,
    /// It worked.
    Works,
    /// The kernel answered this errno.
    Refused(i32),
}

/// The answers of one child.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers([Answer; POINTS]);

impl Answers {
    /// What `point` answered.
    pub(super) fn get(&self, point: Point) -> Answer {
        self.0.get(point as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, point: u8, answer: Answer) {
        if let Some(place) = self.0.get_mut(usize::from(point)) {
            *place = answer;
        }
    }

    fn result(&mut self, point: Point, result: Result<(), i32>) {
        self.set(point as u8, result.map_or_else(Answer::Refused, |()| Answer::Works));
    }
}

/// How the child's ids map: one each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    /// Inside.
    pub(super) inner: u32,
    /// The uid and gid outside.
    pub(super) outer: (u32, u32),
    /// The parent writes the maps, and the child becomes the mapped id: a caller who is root.
    pub(super) privileged: bool,
}

/// Everything the child needs, made before it exists.
struct Prepared {
    ids: Ids,
    uid_map: CString,
    gid_map: CString,
    answers: RawFd,
    go: RawFd,
}

/// Tries everything; returns within `limit`, or a little later where the kernel does not let go of the child.
///
/// # Errors
/// What says nothing about sandboxes: no descriptor is left, for instance.
pub(super) fn try_everything(ids: Ids, limit: Duration) -> Result<Answers, Errno> {
    let deadline = Instant::now() + limit;
    let (answers_in, answers_out) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let (go_in, go_out) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let map = |outer: u32| CString::new(format!("{} {outer} 1", ids.inner)).map_err(|_| Errno::EINVAL);
    let prepared = Prepared {
        ids,
        uid_map: map(ids.outer.0)?,
        gid_map: map(ids.outer.1)?,
        answers: answers_out.as_raw_fd(),
        go: go_in.as_raw_fd(),
    };

    let mut answers = Answers::default();
    let child = match Child::start(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, attempt, &prepared) {
        Ok(child) => child,
        Err(both) => {
            let alone = Child::start(libc::CLONE_NEWUSER, |_| process::exit(0), &prepared).map(drop);
            answers.result(Point::User, alone);
            if alone.is_ok() {
                answers.result(Point::Pid, Err(both));
            }
            return Ok(answers);
        }
    };
    answers.result(Point::User, Ok(()));
    answers.result(Point::Pid, Ok(()));
    if ids.privileged {
        let mapped = child.write_maps(&prepared);
        answers.result(Point::IdMap, mapped);
        if mapped.is_err() {
            return Ok(answers);
        }
        answers.result(Point::IdMappedMount, child.idmap_current_directory());
    }
    answers.result(Point::PerfClock, trial::task_clock(child.pid).map(drop));
    // Where the child is dead already, its silence is the answer.
    let _ = nix::unistd::write(&go_out, b"g");
    child.wait_until(deadline);
    collect(answers_in.as_fd(), &mut answers);
    Ok(answers)
}

/// Reads the records of a child that has ended: all of them fit into the pipe.
fn collect(answers_in: BorrowedFd<'_>, answers: &mut Answers) {
    let mut record = [0; 4];
    while let Ok(4) = nix::unistd::read(answers_in, &mut record) {
        let [point, _, low, high] = record;
        let answer = match u16::from_le_bytes([low, high]) {
            0 => Answer::Works,
            TRYING => Answer::Silent,
            errno => Answer::Refused(i32::from(errno)),
        };
        answers.set(point, answer);
    }
}

/// A child of ours, killed and reaped when it is dropped.
struct Child {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

impl Child {
    fn start(namespaces: i32, main: fn(&Prepared) -> !, prepared: &Prepared) -> Result<Child, i32> {
        let (pid, pidfd) = trial::fork_unnoticed(namespaces, main, prepared)?;
        Ok(Child { pid, pidfd })
    }

    /// Waits for its end; one that is not there at `deadline` is killed.
    fn wait_until(&self, deadline: Instant) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
                Err(Errno::EINTR) => {}
                Ok(1..) => return,
                Ok(_) | Err(_) => {
                    // It may be dead meanwhile.
                    let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
                    return;
                }
            }
        }
    }

    /// A file of its directory in /proc. The pid is its own until we reap it.
    fn proc_path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    fn write_maps(&self, prepared: &Prepared) -> Result<(), i32> {
        let write = |name, map: &CStr| std::fs::write(self.proc_path(name), map.to_bytes()).map_err(|e| number(&e));
        write("gid_map", &prepared.gid_map)?;
        write("uid_map", &prepared.uid_map)
    }

    fn idmap_current_directory(&self) -> Result<(), i32> {
        let namespace = std::fs::File::open(self.proc_path("ns/user")).map_err(|e| number(&e))?;
        let tree = mount::clone_tree(file::CWD, c".", false)?;
        let mapped = mount::idmap(tree, namespace.as_raw_fd(), false);
        file::close(tree);
        mapped
    }
}

fn number(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
        // One that is stuck in the kernel dies when it gets out; its parent must not be stuck with it.
        self.wait_until(Instant::now() + Duration::from_secs(2));
        trial::reap_unnoticed(self.pidfd.as_fd());
    }
}

// Everything below runs in the child.

fn attempt(prepared: &Prepared) -> ! {
    // Fails for no signal number that exists.
    let _ = process::die_with_parent();
    if file::read(prepared.go, &mut [0]) == Ok(1) {
        try_namespaces(prepared);
        try_walls(prepared);
    }
    process::exit(0)
}

fn tell(prepared: &Prepared, point: Point, code: u16) {
    let [low, high] = code.to_le_bytes();
    // Nobody is left to be told of a failure.
    let _ = file::write_all(prepared.answers, &[point as u8, 0, low, high]);
}

/// Tries `action` and tells the answer; whether it worked.
fn attempted(prepared: &Prepared, point: Point, action: impl FnOnce() -> Result<(), i32>) -> bool {
    tell(prepared, point, TRYING);
    let result = action();
    tell(prepared, point, result.map_or_else(|errno| errno as u16, |()| 0));
    result.is_ok()
}

fn try_namespaces(prepared: &Prepared) {
    let ids = prepared.ids;
    let possible = if ids.privileged {
        attempted(prepared, Point::BecomeId, || {
            process::drop_groups()?;
            process::become_gid(ids.inner)?;
            process::become_uid(ids.inner)
        })
    } else {
        attempted(prepared, Point::IdMap, || {
            write_file(c"/proc/self/setgroups", libc::O_WRONLY, c"deny")?;
            write_file(c"/proc/self/gid_map", libc::O_WRONLY, &prepared.gid_map)?;
            write_file(c"/proc/self/uid_map", libc::O_WRONLY, &prepared.uid_map)
        })
    };
    if !possible || !attempted(prepared, Point::MountNamespace, || process::unshare(libc::CLONE_NEWNS)) {
        return;
    }
    if attempted(prepared, Point::Mount, scratch) {
        attempted(prepared, Point::Overlay, overlay);
    }
    attempted(prepared, Point::Proc, || detached(c"proc", &[]).map(file::close));
    attempted(prepared, Point::Ipc, || process::unshare(libc::CLONE_NEWIPC));
    attempted(prepared, Point::Uts, || process::unshare(libc::CLONE_NEWUTS));
    attempted(prepared, Point::Cgroup, || process::unshare(libc::CLONE_NEWCGROUP));
    attempted(prepared, Point::Net, || process::unshare(libc::CLONE_NEWNET));
}

fn try_walls(prepared: &Prepared) {
    attempted(prepared, Point::Landlock, || {
        // Something that nothing below does, so that the domain is in nobody's way.
        const MAKE_SYM: u64 = 1 << 12;
        let ruleset = landlock::create(&landlock::Ruleset { access_fs: MAKE_SYM, access_net: 0, scoped: 0 })?;
        seccomp::no_new_privileges()?;
        landlock::restrict_self(ruleset)
    });
    let allow = [trial::Instruction::ALLOW];
    let filtered = attempted(prepared, Point::Filter, || {
        seccomp::no_new_privileges()?;
        seccomp::load_filter(&allow, 0)
    });
    if filtered {
        attempted(prepared, Point::Listener, || seccomp::load_listener(&allow).map(drop));
    }
}

fn write_file(path: &CStr, flags: i32, content: &CStr) -> Result<(), i32> {
    let fd = file::openat(file::CWD, path, flags, 0o600)?;
    let written = file::write_all(fd, content.to_bytes());
    file::close(fd);
    written
}

/// A new instance of a file system, attached nowhere.
fn detached(kind: &CStr, settings: &[(&CStr, &CStr)]) -> Result<i32, i32> {
    let fs = mount::fsopen(kind)?;
    for (key, value) in settings {
        mount::fs_set(fs, key, value)?;
    }
    if kind == c"overlay" {
        mount::fs_flag(fs, c"userxattr")?;
    }
    mount::fs_create(fs)?;
    let tree = mount::fsmount(fs, mount::NOSUID | mount::NODEV)?;
    file::close(fs);
    Ok(tree)
}

/// A tmpfs over `/`, and its root as current directory.
fn scratch() -> Result<(), i32> {
    let tree = detached(c"tmpfs", &[])?;
    mount::attach_at(tree, file::CWD, c"/")?;
    file::fchdir(tree)?;
    file::close(tree);
    Ok(())
}

/// An overlay on directories of the scratch tmpfs, in which is done what programs do in their directory. To rename a
/// lower DIRECTORY is no part of it: every overlay without redirects answers EXDEV, and mv(1) then copies.
fn overlay() -> Result<(), i32> {
    for directory in [c"lower", c"lower/emptied", c"upper", c"work", c"merged"] {
        file::mkdirat(file::CWD, directory, 0o700)?;
    }
    for path in [c"lower/emptied/file", c"lower/renamed", c"lower/changed"] {
        write_file(path, libc::O_WRONLY | libc::O_CREAT, c"lower\n")?;
    }
    let tree = detached(c"overlay", &[(c"lowerdir", c"lower"), (c"upperdir", c"upper"), (c"workdir", c"work")])?;
    mount::attach_at(tree, file::CWD, c"merged")?;
    write_file(c"merged/changed", libc::O_WRONLY | libc::O_APPEND, c"upper\n")?;
    trial::rename(c"merged/renamed", c"merged/new")?;
    trial::unlink(c"merged/emptied/file")?;
    trial::rmdir(c"merged/emptied")?;
    file::mkdirat(file::CWD, c"merged/emptied", 0o700)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_never_comes_back_is_killed_in_time_and_reaped() {
        let before = Instant::now();
        let (answers_in, answers_out) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let (go_in, _go_out) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let prepared = Prepared {
            ids: Ids { inner: 1000, outer: (0, 0), privileged: false },
            uid_map: c"".to_owned(),
            gid_map: c"".to_owned(),
            answers: answers_out.as_raw_fd(),
            go: go_in.as_raw_fd(),
        };
        let stuck = |prepared: &Prepared| -> ! {
            tell(prepared, Point::Mount, TRYING);
            loop {
                // Nobody ever writes: the descriptor's other end stays open.
                let _ = file::read(prepared.go, &mut [0]);
            }
        };
        let child = Child::start(0, stuck, &prepared).unwrap();
        child.wait_until(before + Duration::from_millis(50));
        let pid = nix::unistd::Pid::from_raw(child.pid);
        drop(child);
        assert_eq!(nix::sys::signal::kill(pid, None), Err(Errno::ESRCH));
        assert!(before.elapsed() < Duration::from_secs(1));
        let mut answers = Answers::default();
        collect(answers_in.as_fd(), &mut answers);
        assert_eq!(answers.get(Point::Mount), Answer::Silent);
        assert_eq!(answers.get(Point::Overlay), Answer::NotReached);
    }
}
