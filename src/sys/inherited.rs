//! fcntl(2) on a descriptor that the caller left open for us and told us by number.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A copy of descriptor `number`, close-on-exec; the caller's own stays as it was.
///
/// # Errors
/// EBADF where nothing is open there.
pub(crate) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes two integers and no pointer; a number that is not open is answered with EBADF.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` was just returned by fcntl(2) and nothing else has seen it, so we are its owner.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
