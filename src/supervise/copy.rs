//! Copies the work directory into the capped tmpfs, where no overlay can show it. Works on descriptors; follows no link.

use crate::error::Error;
use crate::plan::Plan;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::prctl;
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid, symlinkat};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Deeper trees are refused: each level holds a descriptor.
const DEEPEST: usize = 256;

/// Copies what is in `work` into the sandbox's `/box`.
pub(super) fn into_box(plan: &Plan, work: &Path, target: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let cannot = || Error::sandbox(format!("cannot copy {} into the sandbox", work.display()));
    let target = target.ok_or_else(|| cannot().because("init did not hand out /box"))?;
    let owner = (!plan.id_map.deny_setgroups)
        .then(|| (Uid::from_raw(plan.id_map.outer_uid), Gid::from_raw(plan.id_map.outer_gid)));
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let whole = || Dir::open(work, flags, Mode::empty()).and_then(|dir| copy(dir, target, owner, 0));
    let copied = match owner {
        None => whole(),
        Some(_) => apart(whole).map_err(|e| cannot().because(e))?,
    };
    copied.map_err(|errno| {
        let error = cannot().because(io::Error::from(errno));
        match errno {
            Errno::ENOSPC => error.hint(
                "no overlay can be used for it here, and it is larger than --disk or --inodes allow: raise them, or show it \
                 with --ro . (nothing can be written) or --rw . (writes reach the host)",
            ),
            _ => error.hint("show it with --ro . or --rw . instead"),
        }
    })
}

/// Works in a thread of its own, which may change its ids: that takes the parent-death signal from a thread, and the whole
/// process becomes non-dumpable.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let dumpable = prctl::get_dumpable()?;
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("copy".to_owned()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::from(io::ErrorKind::Other))
    });
    if dumpable {
        prctl::set_dumpable(true)?;
    }
    done
}

/// Makes something in the sandbox's tmpfs, which takes nothing of an id that its user namespace has not: as the payload's,
/// where the caller is root. Both ids are of this thread alone.
fn made_by<T>(owner: Option<(Uid, Gid)>, make: impl FnOnce() -> T) -> T {
    let Some((uid, gid)) = owner else { return make() };
    setfsgid(gid);
    setfsuid(uid);
    let made = make();
    setfsuid(geteuid());
    setfsgid(getegid());
    made
}

fn copy(mut from: Dir, to: BorrowedFd<'_>, owner: Option<(Uid, Gid)>, depth: usize) -> Result<(), Errno> {
    if depth > DEEPEST {
        return Err(Errno::ELOOP);
    }
    let entries = from.iter().map(|entry| entry.map(|e| (e.file_name().to_owned(), e.file_type()))).collect::<Vec<_>>();
    for entry in entries {
        let (name, kind) = entry?;
        let name: &CStr = &name;
        if name == c"." || name == c".." {
            continue;
        }
        match kind {
            Some(Type::Directory) => {
                let next =
                    Dir::openat(&from, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
                let mode = Mode::from_bits_truncate(fstat(&next)?.st_mode & 0o777);
                made_by(owner, || mkdirat(to, name, Mode::S_IRWXU))?;
                let made = openat(to, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
                copy(next, made.as_fd(), owner, depth + 1)?;
                fchmod(&made, mode)?;
            }
            Some(Type::File) => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                let source = File::from(openat(&from, name, flags, Mode::empty())?);
                let mode = Mode::from_bits_truncate(fstat(&source)?.st_mode & 0o777);
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let made = File::from(made_by(owner, || openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR))?);
                io::copy(&mut &source, &mut &made)
                    .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
                fchmod(&made, mode)?;
            }
            Some(Type::Symlink) => {
                let points_to = readlinkat(&from, name)?;
                made_by(owner, || symlinkat(points_to.as_os_str(), to, name))?;
            }
            // Sockets, fifos and devices are no input.
            _ => {}
        }
    }
    Ok(())
}
