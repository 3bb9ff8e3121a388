//! open(2), openat2(2), mkdir(2), symlink(2), read(2), write(2), dup(2), close_range(2), flock(2), poll(2).

use super::{Errno, check, check_fd, check_int};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `AT_FDCWD`
pub(crate) const CWD: i32 = libc::AT_FDCWD;

/// `struct open_how`
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Stay beneath the directory.
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
/// Follow no symbolic link at all.
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
/// Follow no magic link of /proc.
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
/// Stay on one mount.
pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;

/// openat2(2); the descriptor is close-on-exec.
pub(crate) fn openat2(dir: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<i32, Errno> {
    let how = OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode: u64::from(mode), resolve };
    // SAFETY: openat2 reads a NUL-terminated path and `size_of::<OpenHow>()` bytes of `how`; both outlive the call.
    check_fd(unsafe { libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), &how, size_of::<OpenHow>()) })
}

/// openat(2); the descriptor is close-on-exec.
pub(crate) fn openat(dir: i32, path: &CStr, flags: i32, mode: u32) -> Result<i32, Errno> {
    // SAFETY: openat reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// close(2). The number is free afterwards whatever it answers.
pub(crate) fn close(fd: i32) {
    // SAFETY: close takes any number; the caller gives up one that it got from this module and uses it no more.
    let _ = unsafe { libc::close(fd) };
}

/// mkdirat(2)
pub(crate) fn mkdirat(dir: i32, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: mkdirat reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::mkdirat(dir, path.as_ptr(), mode) }).map(drop)
}

/// fchmodat(2) without flags: the mode as given, whatever the umask.
pub(crate) fn chmodat(dir: i32, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: fchmodat reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::fchmodat(dir, path.as_ptr(), mode, 0) }).map(drop)
}

/// symlinkat(2)
pub(crate) fn symlinkat(target: &CStr, dir: i32, path: &CStr) -> Result<(), Errno> {
    // SAFETY: symlinkat reads two NUL-terminated paths that outlive the call.
    check_int(unsafe { libc::symlinkat(target.as_ptr(), dir, path.as_ptr()) }).map(drop)
}

/// fchdir(2)
pub(crate) fn fchdir(dir: i32) -> Result<(), Errno> {
    // SAFETY: fchdir takes a descriptor number and touches no memory.
    check_int(unsafe { libc::fchdir(dir) }).map(drop)
}

/// chdir(2)
pub(crate) fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: chdir reads a NUL-terminated path that outlives the call.
    check_int(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// umask(2), which cannot fail.
pub(crate) fn umask(mask: u32) {
    // SAFETY: umask touches no memory.
    let _ = unsafe { libc::umask(mask) };
}

/// The type bits (`S_IFMT`) of what a descriptor refers to.
pub(crate) fn file_type(fd: i32) -> Result<u32, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat writes one `struct stat` to the pointer, which is valid for that.
    check_int(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded, so it filled the whole structure.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.st_mode & libc::S_IFMT)
}

/// write(2) of everything, again after a signal.
pub(crate) fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        // SAFETY: write reads at most `bytes.len()` bytes from the slice.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match check(written as libc::c_long) {
            Ok(count) => bytes = bytes.get(count as usize..).unwrap_or_default(),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// read(2), again after a signal.
pub(crate) fn read(fd: i32, bytes: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: read writes at most `bytes.len()` bytes to the slice, which is borrowed mutably.
        let count = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
        match check(count as libc::c_long) {
            Ok(count) => return Ok(count as usize),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// dup3(2): `to` becomes a copy of `from` that survives exec. `from` must be another number.
pub(crate) fn dup_to(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: dup3 takes descriptor numbers and touches no memory.
    check_int(unsafe { libc::dup3(from, to, 0) }).map(drop)
}

/// dup3(2): `to` becomes a copy of `from` that exec closes. `from` must be another number.
pub(crate) fn dup_over(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: dup3 takes descriptor numbers and touches no memory.
    check_int(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }).map(drop)
}

/// What flock(2) is to do.
#[derive(Clone, Copy)]
pub(crate) enum Lock {
    /// Wait until nobody holds it exclusively.
    Shared,
    /// Wait until nobody holds it.
    Exclusive,
    /// EWOULDBLOCK where somebody holds it.
    ExclusiveNow,
    /// Let go of it.
    Release,
}

/// flock(2), again after a signal. Whatever holds a copy of the open file holds the lock.
pub(crate) fn lock(fd: BorrowedFd<'_>, how: Lock) -> Result<(), Errno> {
    let operation = match how {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
        Lock::ExclusiveNow => libc::LOCK_EX | libc::LOCK_NB,
        Lock::Release => libc::LOCK_UN,
    };
    loop {
        // SAFETY: flock takes two numbers and touches no memory.
        match check_int(unsafe { libc::flock(fd.as_raw_fd(), operation) }) {
            Err(libc::EINTR) => {}
            answer => return answer.map(drop),
        }
    }
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: every descriptor from `first` on is closed by exec.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: close_range takes three numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// close_range(2): every descriptor but two.
pub(crate) fn close_all_but(one: i32, other: i32) {
    let (low, high) = (one.min(other).max(0) as u32, one.max(other).max(0) as u32);
    let close = |first: u32, last: u32| {
        if first <= last {
            // SAFETY: close_range takes three numbers; the caller gives up all descriptors but the two.
            let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    if let Some(last) = low.checked_sub(1) {
        close(0, last);
    }
    if let (first, Some(last)) = (low + 1, high.checked_sub(1)) {
        close(first, last);
    }
    close(high.saturating_add(1), u32::MAX);
}

/// poll(2) of two descriptors for input, for at most `timeout_ms` (-1: for ever). An interruption counts as nothing ready.
pub(crate) fn poll_two(first: i32, second: i32, timeout_ms: i32) -> Result<[i16; 2], Errno> {
    let mut fds = [
        libc::pollfd { fd: first, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: second, events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: poll reads and writes exactly two `struct pollfd`, which `fds` holds.
    match check_int(unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout_ms) }) {
        Ok(_) => {
            let [first, second] = fds;
            Ok([first.revents, second.revents])
        }
        Err(libc::EINTR) => Ok([0, 0]),
        Err(errno) => Err(errno),
    }
}
