//! Small questions to the kernel that change nothing: uname(2), sched_getaffinity(2), getrlimit(2), getgroups(2),
//! sysinfo(2), prctl(2), and whether tmpfs has user extended attributes.

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

/// How many supplementary groups we have besides `gid`.
pub(crate) fn other_groups(gid: u32) -> Result<u32, Errno> {
    // SAFETY: with a size of 0 the call only answers a number.
    let count = Errno::result(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; count as usize];
    // SAFETY: the kernel writes at most `count` ids into `groups`, which has that many; more are EINVAL.
    let count = Errno::result(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    Ok(groups.iter().take(count as usize).filter(|&&group| group != gid).count() as u32)
}

/// Whether tmpfs has `user.*` extended attributes (since 6.6), without a mount.
///
/// # Errors
/// EOPNOTSUPP where it has none, EINVAL from a memfd before 6.3, and what else memfd_create(2) answers.
pub(crate) fn tmpfs_user_xattr() -> Result<(), Errno> {
    // 2 µs where there is a tmpfs to ask, 7 µs with one of our own, which a memfd is.
    match directory_user_xattr(c"/dev/shm") {
        Some(answer) => answer,
        None => memfd_user_xattr(),
    }
}

/// The answer of the tmpfs at `path`; `None` where there is none, or it may not be asked.
fn directory_user_xattr(path: &CStr) -> Option<Result<(), Errno>> {
    let kind = nix::sys::statfs::statfs(path).ok()?.filesystem_type();
    if kind != nix::sys::statfs::TMPFS_MAGIC {
        return None;
    }
    let name = c"user.sandbox";
    // SAFETY: path and name are C strings that outlive the call, and with a size of 0 no value is written.
    let size = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    match Errno::result(size) {
        Ok(_) | Err(Errno::ENODATA) => Some(Ok(())),
        Err(Errno::EOPNOTSUPP) => Some(Err(Errno::EOPNOTSUPP)),
        Err(_) => None,
    }
}

fn memfd_user_xattr() -> Result<(), Errno> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_tmpfs_agree() {
        if let Some(answer) = directory_user_xattr(c"/dev/shm") {
            assert_eq!(answer.is_ok(), memfd_user_xattr().is_ok());
        }
        assert_eq!(directory_user_xattr(c"/proc"), None);
        assert_eq!(directory_user_xattr(c"/no/such/directory"), None);
    }

    #[test]
    fn groups_besides_our_own_are_counted() {
        let all = nix::unistd::getgroups().unwrap();
        let own = nix::unistd::getegid();
        assert_eq!(other_groups(own.as_raw()).unwrap() as usize, all.iter().filter(|&&group| group != own).count());
    }
}
