//! clone(2) of a child that nobody notices, waitid(2) for it, perf_event_open(2), and what only a trial does with
//! files: unlink(2), rmdir(2), rename(2).

use super::{Errno, check, check_fd, check_int};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Forks a child into new namespaces. It has no exit signal, so neither a SIGCHLD handler nor a wait(2) of the program
/// that we are a part of sees it; all signals are blocked in it, so no handler of that program runs in it.
///
/// May be called from a threaded program: `main` is to make system calls on memory that was prepared before, and
/// nothing else, since a lock held by another thread stays held in its copy of the memory.
pub(crate) fn fork_unnoticed<T>(
    namespaces: i32,
    main: fn(&T) -> !,
    argument: &T,
) -> Result<(libc::pid_t, OwnedFd), Errno> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|errno| errno as i32)?;
    let mut pidfd: i32 = -1;
    let flags = (namespaces | libc::CLONE_PIDFD) as libc::c_ulong;
    // clone(2) rather than clone3(2): outer filters that hide the latter let this through. Not fork(3): its handlers
    // lock.
    // SAFETY: without CLONE_VM and without a stack the child goes on with a copy of our memory; one int is written to
    // `pidfd`; the last two arguments, whose order differs between architectures, are unused under these flags.
    let answer = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut pidfd, 0usize, 0usize) });
    if answer == Ok(0) {
        main(argument)
    }
    // What was the mask before is a valid one.
    let _ = before.thread_set_mask();
    let pid = answer? as libc::pid_t;
    // SAFETY: clone succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else has.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// waitid(2): collects a dead child of [`fork_unnoticed`]; one that lives stays.
pub(crate) fn reap_unnoticed(pidfd: BorrowedFd<'_>) {
    let flags = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: waitid takes a null siginfo for none; the descriptor is open while it is borrowed.
    let _ = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, std::ptr::null_mut(), flags) };
}

/// `struct perf_event_attr` as of its first version, PERF_ATTR_SIZE_VER0.
#[repr(C)]
#[derive(Default)]
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
    bp_addr: u64,
}

/// perf_event_open(2): a clock of the CPU time that `pid` and its children to come use in user mode.
pub(crate) fn task_clock(pid: libc::pid_t) -> Result<OwnedFd, Errno> {
    const TYPE_SOFTWARE: u32 = 1;
    const COUNT_SW_TASK_CLOCK: u64 = 1;
    const INHERIT: u64 = 1 << 1;
    // perf_event_paranoid 2 refuses what counts the kernel.
    const EXCLUDE_KERNEL: u64 = 1 << 5;
    const FD_CLOEXEC: libc::c_ulong = 1 << 3;
    let attr = PerfEventAttr {
        kind: TYPE_SOFTWARE,
        size: size_of::<PerfEventAttr>() as u32,
        config: COUNT_SW_TASK_CLOCK,
        flags: INHERIT | EXCLUDE_KERNEL,
        ..PerfEventAttr::default()
    };
    // SAFETY: perf_event_open reads `attr.size` bytes of `attr`, which is that long; the rest are numbers.
    let fd = check_fd(unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, pid, -1, -1, FD_CLOEXEC) })?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// unlink(2)
pub(crate) fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: unlink reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::unlink(path.as_ptr()) }).map(drop)
}

/// rmdir(2)
pub(crate) fn rmdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: rmdir reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::rmdir(path.as_ptr()) }).map(drop)
}

/// rename(2)
pub(crate) fn rename(from: &CStr, to: &CStr) -> Result<(), Errno> {
    // SAFETY: rename reads two NUL-terminated paths that outlive the call.
    check_int(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) }).map(drop)
}

/// The one instruction of a filter that allows everything.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Instruction(libc::sock_filter);

impl super::seccomp::Instruction for Instruction {}

impl Instruction {
    /// `ret ALLOW`
    pub(crate) const ALLOW: Instruction = Instruction(libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    });
}
