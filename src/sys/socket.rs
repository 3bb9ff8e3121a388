//! socketpair(2), sendmsg(2), recvmsg(2), with descriptors attached.

use super::{Errno, check, check_int};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// The most descriptors that one message carries here.
pub(crate) const MOST_FDS: usize = 64;

/// Room for the control message of `MOST_FDS` descriptors, aligned as `struct cmsghdr` must be.
#[repr(C, align(8))]
struct Control([u8; 16 + MOST_FDS * 4]);

/// Two connected SEQPACKET sockets, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [0; 2];
    // SAFETY: socketpair writes two descriptors to `ends`.
    check_int(unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    })?;
    let [ours, theirs] = ends;
    // SAFETY: socketpair just made this descriptor, and nobody else has it.
    let ours = unsafe { OwnedFd::from_raw_fd(ours) };
    // SAFETY: the same for the other one.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
    Ok((ours, theirs))
}

/// Sends one message, with `fds` attached (at most `MOST_FDS`). No heap: the child uses it.
pub(crate) fn send(socket: i32, bytes: &[u8], fds: &[i32]) -> Result<(), Errno> {
    if fds.len() > MOST_FDS {
        return Err(libc::EINVAL);
    }
    let mut control = Control([0; 16 + MOST_FDS * 4]);
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `struct msghdr` (null pointers and zero lengths).
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let length = 16 + fds.len() * 4;
        // `struct cmsghdr`: length (8 bytes with musl's padding), level, type; then the descriptors.
        control.0[..8].copy_from_slice(&(length as u64).to_ne_bytes());
        control.0[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
        control.0[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
        for (place, fd) in control.0[16..].chunks_exact_mut(4).zip(fds) {
            place.copy_from_slice(&fd.to_ne_bytes());
        }
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = (16 + (fds.len() * 4).next_multiple_of(8)) as _;
    }
    loop {
        // SAFETY: `message` points at `iov`, `bytes` and `control`, which all outlive the call with the lengths given.
        match check(unsafe { libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL) } as libc::c_long) {
            Ok(_) => return Ok(()),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// What arrived.
pub(crate) struct Received {
    /// How many bytes of the buffer are filled; 0 at end of file.
    pub(crate) length: usize,
    /// The message did not fit the buffer, or its descriptors did not fit ours.
    pub(crate) cut: bool,
    /// Attached descriptors.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Receives one message; descriptors are close-on-exec. `flags` such as MSG_DONTWAIT.
pub(crate) fn receive(socket: i32, bytes: &mut [u8], flags: i32) -> Result<Received, Errno> {
    let mut control = Control([0; 16 + MOST_FDS * 4]);
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `struct msghdr` (null pointers and zero lengths).
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let length = loop {
        // SAFETY: `message` points at `iov`, `bytes` and `control`, which are borrowed mutably with the lengths given.
        let count = unsafe { libc::recvmsg(socket, &mut message, flags | libc::MSG_CMSG_CLOEXEC) };
        match check(count as libc::c_long) {
            Ok(count) => break count as usize,
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    let mut fds = Vec::new();
    #[allow(clippy::unnecessary_cast, reason = "it is an int with musl")]
    let filled = (message.msg_controllen as usize).min(control.0.len());
    let mut rest = &control.0[..filled];
    while rest.len() >= 16 {
        let word = |at: usize| i32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let length =
            u64::from_ne_bytes([rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]]) as usize;
        if length < 16 || length > rest.len() {
            break;
        }
        if word(8) == libc::SOL_SOCKET && word(12) == libc::SCM_RIGHTS {
            for at in (16..length - length % 4).step_by(4) {
                // SAFETY: SCM_RIGHTS gave us this new descriptor, and nobody else has its number.
                fds.push(unsafe { OwnedFd::from_raw_fd(word(at)) });
            }
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    let cut = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received { length, cut, fds })
}
