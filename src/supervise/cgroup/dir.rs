//! One directory of a run on one hierarchy: made under locks, used by descriptor, removed. And the sweep of what launchers
//! that were killed left behind.
//!
//! A pid in a name proves nothing, so a lock on the directory says that its run lives. A launcher holds the parent's lock
//! shared from mkdir until it has locked its own directory; a sweeper must have both exclusively.

use crate::error::Error;
use crate::sys::file::{self, Lock};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, mkdir, unlinkat};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What every run's directory is called: this, the launcher's pid, and a count.
const PREFIX: &str = "run-";
/// How long a removal is tried: the kernel answers EBUSY for a while after the last process is reaped.
const REMOVAL: Duration = Duration::from_secs(1);
/// The longest kernel file that we read; what is beyond is not looked for.
const LONGEST: usize = 2048;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// A directory of ours. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Dir {
    parent: OwnedFd,
    name: String,
    /// Locked as long as the run lives.
    own: OwnedFd,
    /// For words.
    path: PathBuf,
    removed: bool,
}

impl Dir {
    /// Makes a directory with a new name in `parent`, which is made first if it is missing.
    pub(super) fn make(parent: &Path) -> Result<Dir, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let broken = |doing: String, errno: Errno| Error::sandbox(doing).because(errno);
        let parent_fd = open_parent(parent)
            .map_err(|errno| broken(format!("cannot open the cgroup {}", parent.display()), errno))?;
        let parent_fd = lock(parent_fd, Lock::Shared)
            .map_err(|errno| broken(format!("cannot lock the cgroup {}", parent.display()), errno))?;
        let pid = std::process::id();
        let name = loop {
            // Another launcher may have the same pid in another namespace.
            let name = format!("{PREFIX}{pid}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
            match mkdirat(&parent_fd, name.as_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) => break name,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(refused(parent, errno)),
            }
        };
        let own = openat(&parent_fd, name.as_str(), DIRECTORY, Mode::empty()).and_then(|fd| lock(fd, Lock::Exclusive));
        let path = parent.join(&name);
        let own = match own {
            Ok(own) => own,
            Err(errno) => {
                let _ = unlinkat(&parent_fd, name.as_str(), UnlinkatFlags::RemoveDir);
                return Err(broken(format!("cannot open the cgroup {}", path.display()), errno));
            }
        };
        // Ours is locked: sweepers may come.
        match file::lock(parent_fd.as_fd(), Lock::Release) {
            Ok(()) => Ok(Dir { parent: parent_fd, name, own, path, removed: false }),
            Err(errno) => {
                let _ = unlinkat(&parent_fd, name.as_str(), UnlinkatFlags::RemoveDir);
                let errno = Errno::from_raw(errno);
                Err(broken(format!("cannot unlock the cgroup of {}", path.display()), errno))
            }
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    pub(super) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    pub(super) fn open(&self, file: &str, flags: OFlag) -> Result<File, Errno> {
        openat(self.fd(), file, flags | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)
    }

    /// The text of one of its files.
    pub(super) fn read(&self, file: &str) -> Result<String, Errno> {
        read_in(self.fd(), file)
    }

    /// Writes one of its files.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        write_in(self.fd(), file, value)
    }

    /// The words for a setting that failed.
    pub(super) fn cannot_set(&self, file: &str, value: &str, errno: Errno) -> Error {
        Error::sandbox(format!("cannot set {file} of the cgroup {} to {value}", self.path.display())).because(errno)
    }

    /// Removes it, unless something inside does not die within a second: then the next run sweeps it.
    pub(super) fn remove(&mut self) {
        let end = Instant::now() + REMOVAL;
        let mut pause = Duration::from_micros(50);
        while !self.removed {
            match unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => self.removed = true,
                Err(Errno::EBUSY) if Instant::now() < end => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                Err(_) => break,
            }
        }
    }

    /// Removes what killed launchers left beside it.
    pub(super) fn sweep(&self) {
        // Somebody else sweeps or starts: the next run will.
        let _ = sweep(&self.parent);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.remove();
    }
}

fn refused(parent: &Path, errno: Errno) -> Error {
    let error = Error::sandbox(format!("cannot make a cgroup in {}", parent.display())).because(errno);
    match errno {
        Errno::EAGAIN => error.hint("raise cgroup.max.descendants of the cgroups above it"),
        Errno::ENOSPC | Errno::ENOMEM => {
            error.hint("the kernel has no room for another cgroup: are there left-over ones?")
        }
        _ => error.hint("name another directory with --cgroup, or run with --cgroup none"),
    }
}

/// Opens a parent; one of ours is made first.
fn open_parent(parent: &Path) -> Result<OwnedFd, Errno> {
    match open(parent, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) if parent.ends_with(crate::host::cgroup::OURS) => {
            match mkdir(parent, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => open(parent, DIRECTORY, Mode::empty()),
                Err(errno) => Err(errno),
            }
        }
        other => other,
    }
}

/// Locks it as long as this descriptor and its copies are open.
fn lock(fd: OwnedFd, how: Lock) -> Result<OwnedFd, Errno> {
    file::lock(fd.as_fd(), how).map_err(Errno::from_raw)?;
    Ok(fd)
}

/// The text of a file in an open directory, at most [`LONGEST`] bytes.
pub(super) fn read_in(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut bytes = [0; LONGEST];
    let mut file = File::from(fd);
    let count = again(|| file.read(&mut bytes)).map_err(errno_of)?;
    Ok(String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned())
}

/// Writes a file in an open directory.
pub(super) fn write_in(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let fd = openat(dir, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    // One write: the kernel takes each as a whole value.
    let mut file = File::from(fd);
    match again(|| file.write(value.as_bytes())) {
        Ok(_) => Ok(()),
        Err(e) => Err(errno_of(e)),
    }
}

/// Once more after a signal, which the memory controller's files do not wait out.
fn again<T>(mut act: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match act() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

pub(super) fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Reads an open kernel file again, from its start.
pub(super) fn reread<R>(file: &File, take: impl FnOnce(&str) -> R) -> Option<R> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; LONGEST];
    let count = again(|| file.read_at(&mut bytes, 0)).ok()?;
    std::str::from_utf8(bytes.get(..count)?).ok().map(take)
}

/// Removes what launchers that were killed left in `parent`; nothing of a run that lives, nor of one that starts. Cheap
/// where there is nothing.
fn sweep(parent: &OwnedFd) -> Result<(), Errno> {
    // A cgroup directory's link count is 2 and one for each child.
    if fstat(parent)?.st_nlink <= 2 {
        return Ok(());
    }
    let mut all = nix::dir::Dir::openat(parent, ".", DIRECTORY, Mode::empty())?;
    let parent = lock(openat(parent, ".", DIRECTORY, Mode::empty())?, Lock::ExclusiveNow)?;
    for entry in all.iter().map_while(Result::ok) {
        let name = entry.file_name();
        if !name.to_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(child) = openat(&parent, name, DIRECTORY, Mode::empty()) else { continue };
        let Ok(child) = lock(child, Lock::ExclusiveNow) else { continue };
        // Whatever is in there has lost its launcher, and its init dies of that; v1 has no such file.
        let _ = write_in(child.as_fd(), "cgroup.kill", "1");
        let _ = unlinkat(&parent, name, UnlinkatFlags::RemoveDir);
    }
    Ok(())
}
