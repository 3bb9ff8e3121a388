//! Moves this process into a leaf of the cgroup that was delegated to it: one that holds processes cannot pass controllers
//! on (containers, services with `Delegate=yes`). Only for the command line: a library never moves its caller.

use super::dir::write_in;
use crate::error::Error;
use crate::host::CgroupFacts;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::mkdir;
use std::os::fd::AsFd;
use std::path::Path;

/// The leaf's name. Not that of a run, so no sweep takes it.
const LEAF: &str = "launcher";

/// Moves, where that is what stands between us and controllers. True where it was done: the facts are others now.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn move_to_leaf(facts: &CgroupFacts) -> Result<bool, Error> {
    match &facts.v2 {
        Some(v2) if !v2.after_move.is_empty() => {
            let cannot = || Error::sandbox(format!("cannot move to a leaf of the cgroup {}", v2.parent.display()));
            enter(&v2.parent).map_err(|errno| cannot().because(errno)).map(|()| true)
        }
        Some(_) | None => Ok(false),
    }
}

fn enter(parent: &Path) -> Result<(), Errno> {
    let there = |answer| if answer == Err(Errno::EEXIST) { Ok(()) } else { answer };
    there(mkdir(parent, Mode::from_bits_truncate(0o755)))?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = open(parent, flags, Mode::empty())?;
    there(mkdirat(&parent, LEAF, Mode::from_bits_truncate(0o755)))?;
    write_in(parent.as_fd(), &format!("{LEAF}/cgroup.procs"), "0")
}
