//! A child that tries what a run needs, one kernel feature after the other, and takes everything with it when it ends: its
//! namespaces, its mounts, its filter. It tells the answers through a pipe.
//!
//! May be called from a threaded program: between clone and exit the child makes system calls on memory that was prepared
//! before, and nothing else. It has no exit signal, so that no wait(2) of the caller's sees it.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// What is tried, in this order (the last two by the parent while the child waits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Point {
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
    /// An overlay on tmpfs, in which a lower file can be removed, renamed and changed, and its emptied directory removed.
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
/// The child ends itself with this status when it went through everything that it could.
const DONE: i32 = 0;

/// What one trial answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Something that it needs was refused before.
    #[default]
    NotReached,
    /// The child was killed while it tried (an outer filter that kills does that), or did not come back in time.
    Silent,
    /// It worked.
    Works,
    /// The kernel answered this.
    Refused(Errno),
}

/// The answers of one child.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers([Answer; POINTS]);

impl Answers {
    /// What `point` answered.
    pub(crate) fn get(&self, point: Point) -> Answer {
        self.0.get(point as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, point: u8, answer: Answer) {
        if let Some(place) = self.0.get_mut(usize::from(point)) {
            *place = answer;
        }
    }

    fn result(&mut self, point: Point, result: Result<(), Errno>) {
        self.set(point as u8, result.map_or_else(Answer::Refused, |()| Answer::Works));
    }
}

/// How the child's ids map: one each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    /// Inside.
    pub(crate) inner: u32,
    /// The uid and gid outside.
    pub(crate) outer: (u32, u32),
    /// The parent writes the maps, and the child becomes the mapped id: a caller who is root.
    pub(crate) privileged: bool,
}

/// Everything the child needs, made before it exists.
struct Prepared {
    ids: Ids,
    uid_map: CString,
    gid_map: CString,
    answers: RawFd,
    go: RawFd,
}

/// Tries everything; returns within `limit` or little more.
///
/// # Errors
/// What says nothing about sandboxing: no descriptors, no processes.
pub(crate) fn try_everything(ids: Ids, limit: Duration) -> Result<Answers, Errno> {
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
    let child = match spawn(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, &prepared, attempt) {
        Ok(child) => child,
        Err(refusal) => {
            // Which of the two was it?
            match spawn(libc::CLONE_NEWUSER, &prepared, leave) {
                Ok(_) => {
                    answers.result(Point::User, Ok(()));
                    answers.result(Point::Pid, Err(refusal));
                }
                Err(refusal) => answers.result(Point::User, Err(refusal)),
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
    answers.result(Point::PerfClock, child.open_task_clock());
    // The child may be dead by now; then its death is the answer.
    let _ = nix::unistd::write(&go_out, b"g");
    collect(&child, &answers_in, deadline, &mut answers);
    Ok(answers)
}

/// Reads the child's records until it is dead or `deadline` has come.
fn collect(child: &Child, answers_in: &OwnedFd, deadline: Instant, answers: &mut Answers) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => continue,
            Ok(0) | Err(_) => child.kill(),
            Ok(_) => {}
        }
        break;
    }
    // All records together fit into the pipe.
    let mut record = [0; 4];
    while let Ok(4) = nix::unistd::read(answers_in, &mut record) {
        let [point, _, low, high] = record;
        let answer = match u16::from_le_bytes([low, high]) {
            0 => Answer::Works,
            TRYING => Answer::Silent,
            errno => Answer::Refused(Errno::from_raw(i32::from(errno))),
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
    fn kill(&self) {
        // SAFETY: the pidfd is open, and a null siginfo is allowed.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    /// The pid is ours until we reap it, so these paths cannot be another process's.
    fn write_maps(&self, prepared: &Prepared) -> Result<(), Errno> {
        let write = |name: &str, map: &CStr| {
            let path = format!("/proc/{}/{name}", self.pid);
            std::fs::write(path, map.to_bytes()).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
        };
        write("gid_map", &prepared.gid_map)?;
        write("uid_map", &prepared.uid_map)
    }

    fn idmap_current_directory(&self) -> Result<(), Errno> {
        let io = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
        let namespace = std::fs::File::open(format!("/proc/{}/ns/user", self.pid)).map_err(io)?;
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
        // SAFETY: the path is a C string that outlives the call.
        let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c".".as_ptr(), flags) };
        let tree = owned(tree)?;
        let attr = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: namespace.as_raw_fd() as u64,
        };
        // SAFETY: the path and `attr` outlive the call, and the size is that of `attr`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                tree.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                &raw const attr,
                size_of::<libc::mount_attr>(),
            )
        };
        Errno::result(result).map(drop)
    }

    /// Opens and closes the clock that counts a whole tree's CPU time.
    fn open_task_clock(&self) -> Result<(), Errno> {
        /// `struct perf_event_attr` as of its first version, PERF_ATTR_SIZE_VER0.
        #[repr(C)]
        struct PerfEventAttr {
            kind: u32,
            size: u32,
            config: u64,
            sample_period: u64,
            sample_type: u64,
            read_format: u64,
            flags: u64,
            wakeup_events: u32,
            bp_type: u32,
            config1: u64,
        }
        const PERF_TYPE_SOFTWARE: u32 = 1;
        const PERF_COUNT_SW_TASK_CLOCK: u64 = 1;
        const INHERIT: u64 = 1 << 1;
        // Without it, perf_event_paranoid 2 refuses.
        const EXCLUDE_KERNEL: u64 = 1 << 5;
        const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;
        let attr = PerfEventAttr {
            kind: PERF_TYPE_SOFTWARE,
            size: size_of::<PerfEventAttr>() as u32,
            config: PERF_COUNT_SW_TASK_CLOCK,
            sample_period: 0,
            sample_type: 0,
            read_format: 0,
            flags: INHERIT | EXCLUDE_KERNEL,
            wakeup_events: 0,
            bp_type: 0,
            config1: 0,
        };
        // SAFETY: `attr` outlives the call and holds its own size; the rest are numbers.
        let clock = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attr, self.pid, -1, -1, PERF_FLAG_FD_CLOEXEC)
        };
        owned(clock).map(drop)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // A child that is stuck in the kernel dies when it gets out; waiting for it longer would hang the caller.
        let mut ready = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(2000_u16)) == Ok(0) {
            return;
        }
        let id = self.pidfd.as_raw_fd() as libc::id_t;
        // __WALL: it has no exit signal.
        // SAFETY: the pidfd is open, and a null siginfo is allowed.
        unsafe { libc::waitid(libc::P_PIDFD, id, std::ptr::null_mut(), libc::WEXITED | libc::__WALL | libc::WNOHANG) };
    }
}

/// The descriptor that a system call returned.
fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)? as RawFd;
    // SAFETY: a successful call just made this descriptor and nothing else has seen it, so we are its owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Forks a child into new namespaces, which does `work` and never returns.
fn spawn(namespaces: libc::c_int, prepared: &Prepared, work: fn(&Prepared) -> !) -> Result<Child, Errno> {
    // No handler of the caller's may run in the child.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let mut pidfd: RawFd = -1;
    // No exit signal in the low byte: neither a SIGCHLD handler nor a wait(2) of the caller's is to see this child.
    let flags = (namespaces | libc::CLONE_PIDFD) as libc::c_ulong;
    // clone(2) rather than clone3(2): an outer filter that hides clone3 still lets this through. The raw call, because
    // fork(3) runs handlers that take locks.
    // SAFETY: without CLONE_VM the child goes on with a copy of our memory and stack; `pidfd` outlives the call; the fourth
    // and fifth arguments, which differ between architectures, are not used under these flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    if pid == 0 {
        work(prepared)
    }
    let cloned = Errno::result(pid);
    let restored = before.thread_set_mask();
    let pid = cloned? as libc::pid_t;
    let child = Child { pid, pidfd: owned(libc::c_long::from(pidfd))? };
    restored?;
    Ok(child)
}

// Everything below runs in the child: system calls only, no heap, no panic.

fn leave(_: &Prepared) -> ! {
    exit(DONE)
}

fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) takes a number and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

fn tell(prepared: &Prepared, point: Point, code: u16) {
    let [low, high] = code.to_le_bytes();
    let record = [point as u8, 0, low, high];
    // SAFETY: the record has four bytes, and the descriptor is the pipe's, which the parent keeps open.
    unsafe { libc::write(prepared.answers, record.as_ptr().cast(), record.len()) };
}

/// Tries `action` and tells the answer; whether it worked.
fn attempted(prepared: &Prepared, point: Point, action: impl FnOnce() -> Result<(), Errno>) -> bool {
    tell(prepared, point, TRYING);
    let result = action();
    tell(prepared, point, result.map_or_else(|errno| errno as u16, |()| 0));
    result.is_ok()
}

fn attempt(prepared: &Prepared) -> ! {
    let parent_death = libc::PR_SET_PDEATHSIG;
    // SAFETY: this option takes a signal number.
    unsafe { libc::prctl(parent_death, libc::SIGKILL, 0, 0, 0) };
    let mut byte = [0_u8; 1];
    // SAFETY: one byte is read into an array of one.
    if unsafe { libc::read(prepared.go, byte.as_mut_ptr().cast(), 1) } != 1 {
        exit(DONE);
    }
    let ids = prepared.ids;
    let possible = if ids.privileged {
        attempted(prepared, Point::BecomeId, || become_id(ids.inner))
    } else {
        attempted(prepared, Point::IdMap, || {
            write_file(c"/proc/self/setgroups", c"deny")?;
            write_file(c"/proc/self/gid_map", &prepared.gid_map)?;
            write_file(c"/proc/self/uid_map", &prepared.uid_map)
        })
    };
    if possible && attempted(prepared, Point::MountNamespace, || unshare(libc::CLONE_NEWNS)) {
        if attempted(prepared, Point::Mount, scratch) {
            attempted(prepared, Point::Overlay, overlay);
        }
        attempted(prepared, Point::Proc, || detached_mount(c"proc").and_then(close));
        attempted(prepared, Point::Ipc, || unshare(libc::CLONE_NEWIPC));
        attempted(prepared, Point::Uts, || unshare(libc::CLONE_NEWUTS));
        attempted(prepared, Point::Cgroup, || unshare(libc::CLONE_NEWCGROUP));
        attempted(prepared, Point::Net, || unshare(libc::CLONE_NEWNET));
    }
    // SAFETY: this option takes a 1 and zeros.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    attempted(prepared, Point::Landlock, landlock);
    if attempted(prepared, Point::Filter, || filter(0)) {
        attempted(prepared, Point::Listener, || filter(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER));
    }
    exit(DONE)
}

fn become_id(id: u32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::gid_t>();
    // The raw calls: the C library's would signal the threads that this copy of the program does not have.
    // SAFETY: a list of no groups is not read.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) })?;
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) })?;
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) })?;
    Ok(())
}

fn unshare(namespace: libc::c_int) -> Result<(), Errno> {
    // SAFETY: a number only; this process has one thread and shares nothing with its parent.
    Errno::result(unsafe { libc::unshare(namespace) }).map(drop)
}

fn close(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: every caller made this descriptor itself and does not use it again.
    Errno::result(unsafe { libc::close(fd) }).map(drop)
}

fn open(path: &CStr, flags: libc::c_int) -> Result<RawFd, Errno> {
    // SAFETY: the path is a C string that outlives the call.
    Errno::result(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o600) })
}

fn write_file(path: &CStr, content: &CStr) -> Result<(), Errno> {
    let fd = open(path, libc::O_WRONLY)?;
    write_all(fd, content)
}

fn write_all(fd: RawFd, content: &CStr) -> Result<(), Errno> {
    let bytes = content.to_bytes();
    // SAFETY: `bytes` has the length that is given.
    let written = Errno::result(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) });
    close(fd)?;
    written.map(drop)
}

fn make_dir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string that outlives the call.
    Errno::result(unsafe { libc::mkdir(path.as_ptr(), 0o700) }).map(drop)
}

/// A new instance of a file system, attached nowhere.
fn detached_mount(kind: &CStr) -> Result<RawFd, Errno> {
    const FSOPEN_CLOEXEC: u32 = 1;
    const FSMOUNT_CLOEXEC: u32 = 1;
    const FSCONFIG_CMD_CREATE: u32 = 6;
    // SAFETY: the name is a C string that outlives the call.
    let context = Errno::result(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })? as RawFd;
    let (key, value) = (std::ptr::null::<libc::c_char>(), std::ptr::null::<libc::c_char>());
    // SAFETY: this command takes neither key nor value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_CMD_CREATE, key, value, 0) };
    Errno::result(made)?;
    // SAFETY: numbers only.
    let mount = Errno::result(unsafe { libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, 0) })?;
    close(context)?;
    Ok(mount as RawFd)
}

/// A tmpfs over `/` in our own mount namespace, and its root as current directory.
fn scratch() -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
    let none = std::ptr::null::<libc::c_char>();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a change of propagation reads the target only, which is a C string.
    Errno::result(unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) })?;
    let mount = detached_mount(c"tmpfs")?;
    let (from, to) = (c"".as_ptr(), c"/".as_ptr());
    // SAFETY: both paths are C strings that outlive the call.
    let moved =
        unsafe { libc::syscall(libc::SYS_move_mount, mount, from, libc::AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) };
    Errno::result(moved)?;
    // SAFETY: a number only.
    Errno::result(unsafe { libc::fchdir(mount) })?;
    close(mount)
}

/// Mounts an overlay on directories of the current one and does with it what programs do with their directory. Renaming a
/// lower DIRECTORY is no part of it: an overlay without redirects answers EXDEV, and mv(1) then copies.
fn overlay() -> Result<(), Errno> {
    for directory in [c"lower", c"lower/emptied", c"upper", c"work", c"merged"] {
        make_dir(directory)?;
    }
    let create = libc::O_WRONLY | libc::O_CREAT;
    for file in [c"lower/emptied/file", c"lower/renamed", c"lower/changed"] {
        write_all(open(file, create)?, c"lower\n")?;
    }
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    let (name, target) = (c"overlay".as_ptr(), c"merged".as_ptr());
    // SAFETY: all four are C strings that outlive the call.
    Errno::result(unsafe { libc::mount(name, target, name, 0, options.as_ptr().cast()) })?;
    write_all(open(c"merged/changed", libc::O_WRONLY | libc::O_APPEND)?, c"upper\n")?;
    // SAFETY: both paths are C strings that outlive the call.
    Errno::result(unsafe { libc::rename(c"merged/renamed".as_ptr(), c"merged/new".as_ptr()) })?;
    // SAFETY: the path is a C string that outlives the call.
    Errno::result(unsafe { libc::unlink(c"merged/emptied/file".as_ptr()) })?;
    // SAFETY: the path is a C string that outlives the call.
    Errno::result(unsafe { libc::rmdir(c"merged/emptied".as_ptr()) })?;
    make_dir(c"merged/emptied")
}

fn landlock() -> Result<(), Errno> {
    const LANDLOCK_ACCESS_FS_MAKE_SYM: u64 = 1 << 12;
    // `struct landlock_ruleset_attr` of the first level has this one field.
    let handled = LANDLOCK_ACCESS_FS_MAKE_SYM;
    // SAFETY: `handled` outlives the call, and the size is its own.
    let ruleset =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of_val(&handled), 0) };
    let ruleset = Errno::result(ruleset)? as RawFd;
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) })?;
    close(ruleset)
}

/// Loads a filter that allows everything; what a listener's descriptor would tell us does not matter here.
fn filter(flags: libc::c_ulong) -> Result<(), Errno> {
    let mut allow =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
    // SAFETY: the program and its one instruction outlive the call, which copies them.
    let loaded = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    Errno::result(loaded).map(drop)
}
