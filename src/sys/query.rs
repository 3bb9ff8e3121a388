//! Small questions to the kernel that change nothing: uname(2), sched_getaffinity(2), getrlimit(2), sysinfo(2), prctl(2), and
//! whether tmpfs has user extended attributes.

use nix::errno::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `uname -r` and `uname -m`.
pub(crate) fn uname() -> Result<(String, String), Errno> {
    let mut names = MaybeUninit::<libc::utsname>::uninit();
    // SAFETY: uname(2) wants writable memory for one `utsname`, and `names` is that.
    Errno::result(unsafe { libc::uname(names.as_mut_ptr()) })?;
    // SAFETY: uname(2) succeeded, so it filled in every field.
    let names = unsafe { names.assume_init() };
    Ok((text(&names.release), text(&names.machine)))
}

fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How many CPUs this thread may use: the affinity mask's weight, at most 8192.
pub(crate) fn affinity_count() -> Result<u32, Errno> {
    // The kernel refuses a mask shorter than its own (EINVAL); 8192 CPUs is the largest that it can be built for.
    let mut mask = [0_u64; 128];
    let size = size_of_val(&mask);
    // SAFETY: the kernel writes at most `size` bytes into `mask`, which has that many; 0 is the calling thread.
    let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, mask.as_mut_ptr()) };
    Errno::result(written)?;
    Ok(mask.iter().map(|word| word.count_ones()).sum())
}

/// The hard limit of resource number `resource`; `None` where it is infinite or the kernel has no such resource.
pub(crate) fn hard_limit(resource: u32) -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    let old = limit.as_mut_ptr();
    let none = std::ptr::null::<libc::rlimit>();
    // SAFETY: prlimit64(2) on ourselves reads nothing through a null new limit and writes one `rlimit` to `old`.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, old) };
    if result != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it filled in the limit.
    let limit = unsafe { limit.assume_init() };
    (limit.rlim_max != libc::RLIM_INFINITY).then_some(limit.rlim_max)
}

/// RAM in bytes.
pub(crate) fn ram() -> Result<u64, Errno> {
    let mut info = MaybeUninit::<libc::sysinfo>::uninit();
    // SAFETY: sysinfo(2) wants writable memory for one `sysinfo`, and `info` is that.
    Errno::result(unsafe { libc::sysinfo(info.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it filled in every field.
    let info = unsafe { info.assume_init() };
    // `c_ulong` is 64 bits on both architectures.
    Ok(info.totalram.saturating_mul(u64::from(info.mem_unit)))
}

/// Whether tmpfs has `user.*` extended attributes (since 6.6), tried on a memfd, whose file system is tmpfs: 5 µs, no mount.
///
/// # Errors
/// EINVAL before 6.3, EOPNOTSUPP before 6.6 or without CONFIG_TMPFS_XATTR, what else memfd_create(2) answers.
pub(crate) fn tmpfs_user_xattr() -> Result<(), Errno> {
    // Since 6.3 a memfd without this flag is logged by the kernel, and refused under vm.memfd_noexec=2.
    const MFD_NOEXEC_SEAL: libc::c_uint = 8;
    let (file, name, value) = (c"sandbox-probe", c"user.sandbox", c"y");
    // SAFETY: the name is a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(file.as_ptr(), libc::MFD_CLOEXEC | MFD_NOEXEC_SEAL) };
    let fd: RawFd = Errno::result(fd)?;
    // SAFETY: `fd` was just returned by memfd_create(2) and nothing else has seen it, so we are its owner.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_xattr(&fd, name, value)
}

fn set_xattr(fd: &OwnedFd, name: &CStr, value: &CStr) -> Result<(), Errno> {
    let bytes = value.to_bytes();
    // SAFETY: the name is a C string and the value has the length that is given; the kernel reads both during the call.
    let result = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0) };
    Errno::result(result).map(drop)
}

/// Whether our owner may look into this process (not so where the program's file is unreadable, mode 0711).
pub(crate) fn dumpable() -> bool {
    // SAFETY: this option takes zeros and only answers a number.
    let answer = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
    answer == 1
}
