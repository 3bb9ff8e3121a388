//! seccomp(2) and seccomp_unotify(2).

use super::{Errno, check_fd, check_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

const SET_MODE_FILTER: u32 = 1;
const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// A notified caller is not interrupted by signals once the supervisor has seen it (5.19).
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The layout of `struct sock_filter`, which the caller's type must have.
pub(crate) trait Instruction: Copy {}

fn load<I: Instruction>(program: &[I], flags: u32) -> Result<i32, Errno> {
    const { assert!(size_of::<I>() == size_of::<libc::sock_filter>()) };
    let Ok(len) = u16::try_from(program.len()) else { return Err(libc::EINVAL) };
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: seccomp reads `len` instructions of 8 bytes from `filter`, which `program` holds, and writes nothing to them.
    check_fd(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &fprog) })
}

/// Loads a program with these `SECCOMP_FILTER_FLAG_*`. Needs no_new_privs.
pub(crate) fn load_filter<I: Instruction>(program: &[I], flags: u32) -> Result<(), Errno> {
    load(program, flags).map(drop)
}

/// Loads a program that notifies; answers with its listener.
pub(crate) fn load_listener<I: Instruction>(program: &[I]) -> Result<i32, Errno> {
    match load(program, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV) {
        Err(libc::EINVAL) => load(program, FLAG_NEW_LISTENER),
        answer => answer,
    }
}

/// A refused call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    /// Names it in the answer.
    pub(crate) id: u64,
    /// `AUDIT_ARCH_*` of the call.
    pub(crate) arch: u32,
    /// The call's number.
    pub(crate) number: i32,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

nix::ioctl_readwrite!(notif_recv, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(notif_send, b'!', 1, libc::seccomp_notif_resp);

/// Takes one notification; `ENOENT` where its caller was killed meanwhile.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    let mut notif = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV wants a zeroed `struct seccomp_notif` and fills it; the pointer is valid for both.
    let answer = unsafe { notif_recv(listener.as_raw_fd(), notif.as_mut_ptr()) };
    answer.map_err(|errno| errno as i32)?;
    // SAFETY: every bit pattern is a valid `struct seccomp_notif` (integers only), and it was zeroed before.
    let notif = unsafe { notif.assume_init() };
    Ok(Notification { id: notif.id, arch: notif.data.arch, number: notif.data.nr, args: notif.data.args })
}

/// Answers a notification with an errno. Never with CONTINUE: the arguments can change between look and use.
pub(crate) fn refuse(listener: BorrowedFd<'_>, id: u64, errno: Errno) -> Result<(), Errno> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 };
    // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads one `struct seccomp_notif_resp` from the pointer.
    let sent = unsafe { notif_send(listener.as_raw_fd(), &mut answer) };
    sent.map(drop).map_err(|errno| errno as i32)
}

/// prctl(2) PR_SET_NO_NEW_PRIVS
pub(crate) fn no_new_privileges() -> Result<(), Errno> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers only.
    check_int(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}
