//! Host trees for a caller who is root: detached mounts on which their owner on disk appears as the payload's id, so that
//! root's own 0600 files and 0700 directories work inside as an ordinary caller's do, and stay untouched outside.

use super::cloner::{self, Cloner};
use crate::error::Error;
use crate::plan::{HostTree, Plan};
use crate::sys::{file, mount, process};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// Opens the plan's trees, in order.
pub(super) fn open(plan: &Plan, cloner: &Cloner) -> Result<Vec<OwnedFd>, Error> {
    plan.host_trees.iter().map(|tree| open_one(tree, plan, cloner)).collect()
}

fn open_one(tree: &HostTree, plan: &Plan, cloner: &Cloner) -> Result<OwnedFd, Error> {
    let cannot = || Error::sandbox(format!("cannot show {} inside", tree.path.display()));
    let owner = std::fs::metadata(&tree.path).map_err(|e| cannot().because(e))?;
    let path = CString::new(tree.path.as_os_str().as_bytes()).map_err(|_| cannot())?;
    let detached = mount::clone_tree(file::CWD, &path, tree.recursive).map_err(|e| cannot().errno(e))?;
    let detached = process::own_descriptor(detached);
    let ids = &plan.id_map;
    let ids = DiskIds { disk_uid: owner.uid(), uid: ids.outer_uid, disk_gid: owner.gid(), gid: ids.outer_gid };
    let user_ns = cloner
        .user_namespace(ids)
        .map_err(|e| Error::sandbox("cannot make a user namespace to map ids with").because(e))?;
    mount::idmap(detached.as_raw_fd(), user_ns.as_raw_fd(), tree.recursive).map_err(|e| {
        cannot().errno(e).hint(format!(
            "its file system refuses id-mapped mounts, which a run started as root needs for {}: \
             run as an ordinary user, or copy it to a local file system",
            tree.path.display()
        ))
    })?;
    Ok(detached)
}

/// How ids on disk appear on the host: one uid and one gid.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct DiskIds {
    disk_uid: u32,
    uid: u32,
    disk_gid: u32,
    gid: u32,
}

/// A user namespace that maps ids on disk to the payload's ids on the host; it lives as long as its descriptor. It takes a
/// fork, so a small process must do it.
pub(super) fn user_namespace(ids: DiskIds) -> io::Result<OwnedFd> {
    let DiskIds { disk_uid, uid, disk_gid, gid } = ids;
    let (pid, pidfd) = process::fork_stopped(libc::CLONE_NEWUSER as u64).map_err(io::Error::from_raw_os_error)?;
    let made = (|| {
        std::fs::write(format!("/proc/{pid}/uid_map"), format!("{disk_uid} {uid} 1\n"))?;
        std::fs::write(format!("/proc/{pid}/gid_map"), format!("{disk_gid} {gid} 1\n"))?;
        std::fs::File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from)
    })();
    let _ = process::signal(pidfd.as_fd(), libc::SIGKILL);
    cloner::dies_in_time(pidfd.as_fd());
    cloner::reap_here(pid);
    made
}
