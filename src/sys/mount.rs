//! fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2), umount2(2).

use super::{Errno, check, check_fd, check_int};
use std::ffi::CStr;

/// `struct mount_attr`
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
const IDMAP: u64 = 0x0010_0000;

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// An empty path: the descriptor itself is meant.
const EMPTY: &CStr = c"";

/// fsopen(2): a file system being configured.
pub(crate) fn fsopen(kind: &CStr) -> Result<i32, Errno> {
    // SAFETY: fsopen reads a NUL-terminated name that outlives the call.
    check_fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

/// fsconfig(2) FSCONFIG_SET_STRING
pub(crate) fn fs_set(fs: i32, key: &CStr, value: &CStr) -> Result<(), Errno> {
    // SAFETY: fsconfig reads two NUL-terminated texts that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0) })
        .map(drop)
}

/// fsconfig(2) FSCONFIG_SET_FLAG
pub(crate) fn fs_flag(fs: i32, key: &CStr) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: fsconfig reads a NUL-terminated key that outlives the call, and no value for a flag.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key.as_ptr(), none, 0) }).map(drop)
}

/// fsconfig(2) FSCONFIG_CMD_CREATE
pub(crate) fn fs_create(fs: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: FSCONFIG_CMD_CREATE takes neither key nor value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, none, none, 0) }).map(drop)
}

/// fsmount(2): a detached mount with these attributes.
pub(crate) fn fsmount(fs: i32, attr: u64) -> Result<i32, Errno> {
    // SAFETY: fsmount takes three numbers and touches no memory of ours.
    check_fd(unsafe { libc::syscall(libc::SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr as u32) })
}

/// open_tree(2) OPEN_TREE_CLONE: a detached copy of the tree at `path`, with the mounts beneath where `recursive`.
pub(crate) fn clone_tree(dir: i32, path: &CStr, recursive: bool) -> Result<i32, Errno> {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: open_tree reads a NUL-terminated path that outlives the call.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

/// move_mount(2): attaches the detached `tree` at what the descriptor `to` refers to.
pub(crate) fn attach(tree: i32, to: i32) -> Result<(), Errno> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: move_mount reads two NUL-terminated (empty, static) paths.
    check(unsafe { libc::syscall(libc::SYS_move_mount, tree, EMPTY.as_ptr(), to, EMPTY.as_ptr(), flags) }).map(drop)
}

/// move_mount(2) to a path.
pub(crate) fn attach_at(tree: i32, dir: i32, path: &CStr) -> Result<(), Errno> {
    // SAFETY: move_mount reads two NUL-terminated paths that outlive the call.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, tree, EMPTY.as_ptr(), dir, path.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH)
    })
    .map(drop)
}

fn set_attr(dir: i32, path: &CStr, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttr>();
    // SAFETY: mount_setattr reads a NUL-terminated path and `size` bytes of `attr`, which is a `struct mount_attr`.
    check(unsafe { libc::syscall(libc::SYS_mount_setattr, dir, path.as_ptr(), flags, attr as *const MountAttr, size) })
        .map(drop)
}

/// mount_setattr(2): adds attributes.
pub(crate) fn restrict(tree: i32, attr: u64, recursive: bool) -> Result<(), Errno> {
    restrict_at(tree, EMPTY, attr, recursive)
}

/// mount_setattr(2) on the mount at a path.
pub(crate) fn restrict_at(dir: i32, path: &CStr, attr: u64, recursive: bool) -> Result<(), Errno> {
    set_attr(dir, path, &MountAttr { attr_set: attr, attr_clr: 0, propagation: 0, userns_fd: 0 }, recursive)
}

/// mount(2) MS_BIND: two thirds of what a tree's clone, its attachment and its descriptors cost, but it follows links to
/// `target`, which must be a path of our own.
pub(crate) fn bind(source: &CStr, target: &CStr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: mount reads two NUL-terminated paths that outlive the call; a bind takes neither a type nor data.
    check_int(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), none, flags, none.cast()) }).map(drop)
}

/// mount_setattr(2) MOUNT_ATTR_IDMAP: ids on a detached tree appear as `user_ns` maps them.
pub(crate) fn idmap(tree: i32, user_ns: i32, recursive: bool) -> Result<(), Errno> {
    set_attr(
        tree,
        EMPTY,
        &MountAttr { attr_set: IDMAP, attr_clr: 0, propagation: 0, userns_fd: user_ns as u64 },
        recursive,
    )
}

/// pivot_root(".", "."): the current directory, a mount, becomes the root; the old root lies over it.
pub(crate) fn pivot_root_here() -> Result<(), Errno> {
    // SAFETY: pivot_root reads two NUL-terminated static paths.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// umount2(".", MNT_DETACH)
pub(crate) fn detach_here() -> Result<(), Errno> {
    // SAFETY: umount2 reads a NUL-terminated static path.
    check_int(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }).map(drop)
}
