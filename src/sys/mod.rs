//! The only `unsafe` code: one thin, typed function per kernel call, one file per man-page family. Knows nothing of the rest.
//!
//! What the child calls takes plain descriptor numbers, allocates nothing, never panics and answers with an errno; what the
//! supervisor calls owns its descriptors.

pub(crate) mod file;
#[cfg(feature = "cli")]
pub(crate) mod inherited;
pub(crate) mod landlock;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod query;
pub(crate) mod seccomp;
pub(crate) mod socket;
pub(crate) mod trial;

/// A kernel's refusal, as its number.
pub(crate) type Errno = i32;

/// The answer of a system call, as libc gives it: -1 means errno.
fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer == -1 { Err(nix::errno::Errno::last_raw()) } else { Ok(answer) }
}

/// The same for functions that answer with an int.
fn check_int(answer: libc::c_int) -> Result<libc::c_int, Errno> {
    if answer == -1 { Err(nix::errno::Errno::last_raw()) } else { Ok(answer) }
}

/// For what answers with a descriptor or a small number.
fn check_fd(answer: libc::c_long) -> Result<libc::c_int, Errno> {
    check(answer).map(|fd| fd as libc::c_int)
}
