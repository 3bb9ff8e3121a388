//! The system calls that no safe crate of ours offers: two questions to the kernel that change nothing. The only `unsafe`
//! of the tests.

#![allow(unsafe_code)]

use std::io;

/// The Landlock level of this kernel.
pub(super) fn landlock_abi() -> io::Result<u32> {
    const CREATE_RULESET_VERSION: libc::c_ulong = 1;
    // SAFETY: landlock_create_ruleset(2) with the VERSION flag takes a null pointer and size 0, and reads no memory.
    let level = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0, CREATE_RULESET_VERSION)
    };
    u32::try_from(level).map_err(|_| io::Error::last_os_error())
}

/// Whether this kernel has seccomp user notification.
pub(super) fn seccomp_notification() -> io::Result<()> {
    const GET_NOTIF_SIZES: libc::c_ulong = 3;
    let mut sizes = [0u16; 3];
    // SAFETY: SECCOMP_GET_NOTIF_SIZES writes one struct seccomp_notif_sizes, three 16-bit numbers, to the pointer, which is
    // valid and exclusive for the length of the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, GET_NOTIF_SIZES, 0, sizes.as_mut_ptr()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
