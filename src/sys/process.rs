//! clone3(2), clone(2), execve(2), wait4(2), pidfd_open(2), pidfd_send_signal(2), prctl(2), setresuid(2), setrlimit(2),
//! capset(2), sched_setaffinity(2), unshare(2), setns(2), sethostname(2), and signal masks.

use super::{Errno, check, check_fd, check_int};
use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct clone_args` up to `cgroup` (5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP`
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone we are on.
pub(crate) enum Cloned {
    /// The child.
    Child,
    /// The parent: the child's pid and pidfd.
    Parent(libc::pid_t, OwnedFd),
}

/// A fork-style clone3 with a pidfd. The caller must be single-threaded: the child goes on with a copy of its memory, where a
/// lock held by another thread would stay held.
pub(crate) fn fork_into(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: clone3 reads `args` for its size and writes one int to `pidfd`; without CLONE_VM the child has its own memory,
    // so it may return here on a copy of this stack.
    let answer = check(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<CloneArgs>()) });
    match answer {
        Ok(0) => Ok(Cloned::Child),
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else has.
        Ok(pid) => Ok(Cloned::Parent(pid as libc::pid_t, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        // An outer filter may hide clone3 (FACTS §3); the older call does the same but for the cgroup.
        Err(libc::ENOSYS) if cgroup.is_none() => fork_without_clone3(namespaces),
        Err(errno) => Err(errno),
    }
}

fn fork_without_clone3(namespaces: u64) -> Result<Cloned, Errno> {
    let mut pidfd: i32 = -1;
    let flags = namespaces | libc::CLONE_PIDFD as u64 | libc::SIGCHLD as u64;
    let none = std::ptr::null_mut::<c_void>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: clone without a stack is a fork; it writes one int to `pidfd` (the parent_tid argument with CLONE_PIDFD).
    let answer = check(unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) });
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the same; the last two arguments are in the other order here and unused.
    let answer = check(unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) });
    match answer? {
        0 => Ok(Cloned::Child),
        // SAFETY: clone succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else has.
        pid => Ok(Cloned::Parent(pid as libc::pid_t, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// The stack of a vfork-style child.
#[repr(C, align(64))]
pub(crate) struct Stack([MaybeUninit<u8>; 64 * 1024]);

impl Stack {
    pub(crate) const fn new() -> Self {
        Stack([MaybeUninit::uninit(); 64 * 1024])
    }
}

/// What a vfork-style child runs; `argument` is what [`vfork`] got. Its result is the exit code.
pub(crate) type ChildMain = extern "C" fn(*mut c_void) -> i32;

/// clone(2) CLONE_VM|CLONE_VFORK: the child runs `main(argument)` on `stack` in OUR memory while we stand still, until it
/// execs or exits.
pub(crate) fn vfork(main: ChildMain, stack: &mut Stack, argument: *mut c_void) -> Result<libc::pid_t, Errno> {
    let bottom: *mut c_void = (&raw mut stack.0).cast();
    let top = bottom.wrapping_add(size_of::<Stack>());
    // SAFETY: `top` is the aligned end of a stack that is borrowed for the whole call, and CLONE_VFORK keeps the call from
    // returning while the child uses it; `main` has the C ABI that clone wants.
    check_int(unsafe { libc::clone(main, top, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, argument) })
}

/// _exit(2)
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit ends the process and runs nothing of ours.
    unsafe { libc::_exit(code) }
}

/// A NULL-terminated list of texts, as execve wants it. Made before the clone: it allocates.
pub(crate) struct CStrings<'a> {
    pointers: Vec<*const libc::c_char>,
    _texts: std::marker::PhantomData<&'a [CString]>,
}

impl<'a> CStrings<'a> {
    pub(crate) fn new(texts: &'a [CString]) -> Self {
        let mut pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        CStrings { pointers, _texts: std::marker::PhantomData }
    }
}

/// execve(2); answers only when it fails.
pub(crate) fn execve(path: &CStr, argv: &CStrings<'_>, envp: &CStrings<'_>) -> Errno {
    // SAFETY: the path is NUL-terminated and both lists are NULL-terminated arrays of NUL-terminated texts that outlive the call.
    let _ = unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    nix::errno::Errno::last_raw()
}

/// What we use of `struct rusage`.
#[derive(Clone, Copy)]
pub(crate) struct Rusage {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) maxrss_kib: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

/// A child that wait4 collected.
pub(crate) struct Ended {
    pub(crate) pid: libc::pid_t,
    pub(crate) status: i32,
    pub(crate) usage: Rusage,
}

/// wait4(2) for any child; `None` with WNOHANG and nothing to collect.
pub(crate) fn wait_any(flags: i32) -> Result<Option<Ended>, Errno> {
    wait_for(-1, flags)
}

/// wait4(2)
pub(crate) fn wait_for(pid: libc::pid_t, flags: i32) -> Result<Option<Ended>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: wait4 writes one int and one `struct rusage` to pointers that are valid for that.
        match check_int(unsafe { libc::wait4(pid, &mut status, flags, usage.as_mut_ptr()) }) {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                // SAFETY: it was zeroed, and every bit pattern is a valid `struct rusage` (integers only).
                let usage = unsafe { usage.assume_init() };
                return Ok(Some(Ended { pid, status, usage: rusage(&usage) }));
            }
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn rusage(usage: &libc::rusage) -> Rusage {
    let micros =
        |time: &libc::timeval| (time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec as u64);
    Rusage {
        user_us: micros(&usage.ru_utime),
        system_us: micros(&usage.ru_stime),
        maxrss_kib: usage.ru_maxrss as u64,
        voluntary: usage.ru_nvcsw as u64,
        involuntary: usage.ru_nivcsw as u64,
    }
}

/// kill(2) to every process of our PID namespace but us. Only init may call it: elsewhere it would reach strangers.
pub(crate) fn kill_everyone_else() -> Result<(), Errno> {
    // SAFETY: kill takes two numbers and touches no memory.
    check_int(unsafe { libc::kill(-1, libc::SIGKILL) }).map(drop)
}

/// kill(2) SIGSTOP or SIGCONT to every process of our PID namespace but us. Only init may call it.
pub(crate) fn stop_everyone_else(stop: bool) {
    // SAFETY: kill takes two numbers and touches no memory.
    let _ = unsafe { libc::kill(-1, if stop { libc::SIGSTOP } else { libc::SIGCONT }) };
}

/// pidfd_send_signal(2)
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal takes a null siginfo for the default one.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) }).map(drop)
}

/// prctl(2) with one numeric argument.
fn prctl(option: i32, value: libc::c_ulong) -> Result<libc::c_int, Errno> {
    // SAFETY: only options that take numbers are passed by the functions below.
    check_int(unsafe { libc::prctl(option, value, 0, 0, 0) })
}

/// PR_SET_PDEATHSIG SIGKILL
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map(drop)
}

/// PR_SET_DUMPABLE 0
pub(crate) fn not_dumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0).map(drop)
}

/// unshare(2)
pub(crate) fn unshare(flags: i32) -> Result<(), Errno> {
    // SAFETY: unshare takes a number and touches no memory.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// setns(2)
pub(crate) fn setns(namespace: i32, kind: i32) -> Result<(), Errno> {
    // SAFETY: setns takes two numbers and touches no memory.
    check_int(unsafe { libc::setns(namespace, kind) }).map(drop)
}

/// setgroups(2) to none. By the system call itself: libc's function signals every thread.
pub(crate) fn drop_groups() -> Result<(), Errno> {
    let none = std::ptr::null::<libc::gid_t>();
    // SAFETY: setgroups reads no element of an empty list.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0usize, none) }).map(drop)
}

/// setresgid(2), all three.
pub(crate) fn become_gid(gid: u32) -> Result<(), Errno> {
    // SAFETY: setresgid takes three numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// setresuid(2), all three.
pub(crate) fn become_uid(uid: u32) -> Result<(), Errno> {
    // SAFETY: setresuid takes three numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// setsid(2)
pub(crate) fn new_session() -> Result<(), Errno> {
    // SAFETY: setsid takes nothing.
    check_int(unsafe { libc::setsid() }).map(drop)
}

/// sethostname(2)
pub(crate) fn set_hostname(name: &CStr) -> Result<(), Errno> {
    let bytes = name.to_bytes();
    // SAFETY: sethostname reads `len` bytes of the name, which outlives the call.
    check_int(unsafe { libc::sethostname(name.as_ptr(), bytes.len()) }).map(drop)
}

/// setpriority(2) of this process.
pub(crate) fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: setpriority takes three numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// prlimit(2) on this process.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: prlimit64 reads one `struct rlimit64` and writes nothing to a null pointer.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &limit, none) }).map(drop)
}

/// prlimit(2) on this process: the soft limit as high as the hard one.
pub(crate) fn raise_rlimit(resource: u32) -> Result<(), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: prlimit64 reads nothing from a null pointer and writes one `struct rlimit64`.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut limit) })?;
    set_rlimit(resource, limit.rlim_max, limit.rlim_max)
}

/// sched_setaffinity(2) of this thread.
pub(crate) fn set_affinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: sched_setaffinity reads `size_of_val(mask)` bytes of the mask.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
#[repr(C)]
struct KernelSigaction([u64; 4]);

const SIG_DFL: KernelSigaction = KernelSigaction([0; 4]);

/// Default actions for all signals, and nothing blocked.
pub(crate) fn default_signals() -> Result<(), Errno> {
    for number in 1..=64 {
        // SIGKILL and SIGSTOP cannot be changed. By the system call itself: libc's function refuses the libc's own signals,
        // which a caller may have ignored all the same.
        if number == libc::SIGKILL || number == libc::SIGSTOP {
            continue;
        }
        let none = std::ptr::null_mut::<KernelSigaction>();
        // SAFETY: rt_sigaction reads one `struct sigaction` of the kernel's, SIG_DFL with nothing set, and writes nothing to
        // a null pointer; the set size is 8.
        check(unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &SIG_DFL, none, 8usize) })?;
    }
    set_mask(0)
}

/// Blocks exactly the signals of `mask` (bit n − 1 for signal n) in this thread.
pub(crate) fn set_mask(mask: u64) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: rt_sigprocmask reads 8 bytes of `mask` and writes nothing to a null pointer.
    check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &mask, none, 8usize) }).map(drop)
}

/// A signalfd for the signals of `mask`, close-on-exec and non-blocking.
pub(crate) fn signal_descriptor(mask: u64) -> Result<i32, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: signalfd4 reads 8 bytes of `mask`.
    check_fd(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &mask, 8usize, flags) })
}

/// CLOCK_MONOTONIC in nanoseconds; 0 where the kernel has none, which it always has.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one `struct timespec` to the pointer.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// `struct __user_cap_header_struct`
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// Empties all five capability sets and locks the securebits, so that neither uid 0 nor exec brings one back.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    const LOCKED_SECUREBITS: libc::c_ulong = 0xef;
    // PR_CAPBSET_DROP answers EINVAL behind the kernel's last capability.
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            Err(libc::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)?;
    prctl(libc::PR_SET_SECUREBITS, LOCKED_SECUREBITS)?;
    let header = CapHeader { version: 0x2008_0522, pid: 0 };
    // Version 3: effective, permitted, inheritable, twice 32 bits each.
    let data = [0u32; 6];
    // SAFETY: capset reads one header and, for version 3, two data structures of 12 bytes; both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    // SAFETY: socket takes three numbers and touches no memory.
    let socket = check_int(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: all zero is a valid `struct ifreq` (integers and bytes only).
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads one `struct ifreq` from the pointer.
    let answer = check_int(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request) });
    super::file::close(socket);
    answer.map(drop)
}

/// Lends what a [`vfork`] child got as its argument.
pub(crate) fn with_shared<T>(argument: *mut T, body: impl FnOnce(&mut T)) {
    // SAFETY: the pointer was made from a `&mut T` that outlives the vfork, and the parent stands still in it, so nobody
    // else uses the value now.
    body(unsafe { &mut *argument });
}

/// A child in new namespaces that does nothing but wait for its end. It runs none of our code beyond this function, so a
/// threaded caller may use it.
pub(crate) fn fork_stopped(namespaces: u64) -> Result<(libc::pid_t, OwnedFd), Errno> {
    let parent = std::process::id();
    match fork_into(namespaces, None)? {
        Cloned::Parent(pid, pidfd) => Ok((pid, pidfd)),
        Cloned::Child => loop {
            let _ = die_with_parent();
            // It may have died before that was set.
            if parent_pid() != parent {
                exit(1);
            }
            // SAFETY: pause takes nothing.
            let _ = unsafe { libc::pause() };
        },
    }
}

/// getppid(2)
fn parent_pid() -> u32 {
    // SAFETY: getppid takes nothing.
    unsafe { libc::getppid() as u32 }
}

/// Takes ownership of a descriptor that a call of this module just made.
pub(crate) fn own_descriptor(fd: i32) -> OwnedFd {
    // SAFETY: the caller got the number from a call that made it, and passes it on to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
