//! landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2).

use super::{Errno, check, check_fd};

/// `struct landlock_ruleset_attr` up to level 6.
#[repr(C)]
pub(crate) struct Ruleset {
    /// `LANDLOCK_ACCESS_FS_*`
    pub(crate) access_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*`
    pub(crate) access_net: u64,
    /// `LANDLOCK_SCOPE_*`
    pub(crate) scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The kernel's level; an error without Landlock.
pub(crate) fn abi() -> Result<u32, Errno> {
    const VERSION: u32 = 1;
    let none = std::ptr::null::<Ruleset>();
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the attribute is null and its size 0, as the call demands.
    check_fd(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) }).map(|abi| abi as u32)
}

/// A ruleset that refuses all that `attr` handles.
pub(crate) fn create(attr: &Ruleset) -> Result<i32, Errno> {
    // Older levels know a shorter structure and refuse a longer one only where the rest is not zero: give what is used.
    let size = if attr.scoped != 0 {
        24usize
    } else if attr.access_net != 0 {
        16
    } else {
        8
    };
    // SAFETY: landlock_create_ruleset reads `size` bytes of `attr`, at most its own 24.
    check_fd(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attr as *const Ruleset, size, 0u32) })
}

/// Allows `access` beneath (or on) what `parent` refers to.
pub(crate) fn allow(ruleset: i32, parent: i32, access: u64) -> Result<(), Errno> {
    const PATH_BENEATH: u32 = 1;
    let rule = PathBeneath { allowed_access: access, parent_fd: parent };
    // SAFETY: landlock_add_rule reads one `struct landlock_path_beneath_attr`, which `rule` is and which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &rule, 0u32) }).map(drop)
}

/// Puts the ruleset in force for this thread and its children. Needs no_new_privs.
pub(crate) fn restrict_self(ruleset: i32) -> Result<(), Errno> {
    // SAFETY: landlock_restrict_self takes two numbers and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0u32) }).map(drop)
}
