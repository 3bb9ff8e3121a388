//! The spawner: a small, single-threaded process of the `sandbox` binary that clones inits for a large or threaded program.
//! It is asked over a socket, gets every descriptor from its asker, and ends with it.

use super::cloner::{self, Order};
use super::collect::Wanted;
use super::start::Failed;
use super::trees::{self, DiskIds};
use crate::error::Error;
use crate::plan::step::{SLOTS, Slot, Step};
use crate::sys::{process, socket};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The hidden subcommand.
pub(crate) const SPAWNER: &str = "spawner";
/// What it says first: another version speaks another language.
const GREETING: &str = concat!("sandbox spawner ", env!("CARGO_PKG_VERSION"));

/// What is asked, as postcard in a memfd, which goes first of the descriptors.
#[derive(Serialize, Deserialize)]
enum Request<'a> {
    /// Clone an init. `slots` name the descriptors that follow, in order; then the cgroup's, if there is one.
    Clone {
        namespaces: u64,
        room: Cow<'a, [Step]>,
        payload: Cow<'a, [Step]>,
        slots: Vec<Slot>,
        watchdog_ns: u64,
        cgroup: bool,
    },
    /// Make a user namespace to map ids on disk with.
    UserNamespace(DiskIds),
    /// Reap this child, once it is dead.
    Reap(i32),
    /// Open files: the socket for the answers, the user namespace, then one directory per path follow.
    Open(Vec<CString>),
}

/// The asker's side.
#[derive(Debug)]
pub(super) struct Spawner {
    socket: Mutex<OwnedFd>,
    process: Child,
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // Its socket is closed behind this: it ends by itself, and what it cloned with it.
        if let Ok(socket) = self.socket.get_mut() {
            let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        let _ = self.process.wait();
    }
}

/// This program, if it is `sandbox`; else the binary beside it (or, for a test or an example, in the directory above); else
/// the first in `PATH`.
pub(super) fn find_binary() -> Result<PathBuf, Error> {
    let name = "sandbox";
    let own = std::env::current_exe().map_err(|e| Error::sandbox("cannot find this program's own path").because(e))?;
    if own.file_name().is_some_and(|own| own == name) {
        return Ok(own);
    }
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(name)).collect();
    beside.chain(in_path).find(|path| path.is_file()).ok_or_else(|| {
        Error::sandbox("cannot start a runner: there is no sandbox binary beside this program or in PATH")
            .hint("install it (cargo install sandbox), or name it with Runner::with_binary")
    })
}

impl Spawner {
    pub(super) fn start(binary: &Path) -> Result<Spawner, Error> {
        let cannot = || Error::sandbox(format!("cannot start {} as the spawner", binary.display()));
        let (ours, theirs) = socket::pair().map_err(|errno| cannot().errno(errno))?;
        let mut process = Command::new(binary)
            .arg(SPAWNER)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|e| cannot().because(e))?;
        let mut greeting = [0; 64];
        let heard = socket::receive(ours.as_raw_fd(), &mut greeting, 0);
        let greeted = heard.is_ok_and(|heard| greeting.get(..heard.length) == Some(GREETING.as_bytes()));
        if !greeted {
            drop(ours);
            let _ = process.kill();
            let _ = process.wait();
            return Err(cannot()
                .because("it is of another version")
                .hint("install the binary of the library's version"));
        }
        Ok(Spawner { socket: Mutex::new(ours), process })
    }

    /// Sends a request; `answer` reads what comes back before another thread asks.
    fn ask<T>(
        &self,
        request: &Request<'_>,
        fds: &[i32],
        answer: impl FnOnce(&OwnedFd) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let cannot = || Error::sandbox("cannot ask the spawner");
        let bytes = postcard::to_allocvec(request).map_err(|e| cannot().because(e))?;
        let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        let memory =
            nix::sys::memfd::memfd_create(c"request", flags).map_err(|e| cannot().because(io::Error::from(e)))?;
        let memory = File::from(memory);
        memory.write_all_at(&bytes, 0).map_err(|e| cannot().because(e))?;
        let mut all = vec![memory.as_raw_fd()];
        all.extend(fds);
        // A thread that panicked while it asked left no half-sent message: each is one packet.
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket::send(socket.as_raw_fd(), &(bytes.len() as u64).to_le_bytes(), &all).map_err(|e| cannot().errno(e))?;
        answer(&socket)
    }

    pub(super) fn clone_init(&self, order: &Order<'_>) -> Result<(libc::pid_t, OwnedFd), Failed> {
        let (mut slots, mut fds) = (Vec::new(), Vec::new());
        for (slot, &fd) in order.slots.iter().enumerate().filter(|(_, fd)| **fd >= 0) {
            slots.push(Slot(slot as u8));
            fds.push(fd);
        }
        fds.extend(order.cgroup.map(|fd| fd.as_raw_fd()));
        let request = Request::Clone {
            namespaces: order.namespaces,
            room: Cow::Borrowed(order.room),
            payload: Cow::Borrowed(order.payload),
            slots,
            watchdog_ns: order.watchdog_ns,
            cgroup: order.cgroup.is_some(),
        };
        let answered = self.ask(&request, &fds, |socket| {
            let gone = || Error::sandbox("cannot hear the spawner: it is gone");
            let mut answer = [0; 4];
            let mut received = socket::receive(socket.as_raw_fd(), &mut answer, 0).map_err(|e| gone().errno(e))?;
            if received.length != 4 {
                return Err(gone());
            }
            Ok((i32::from_le_bytes(answer), received.fds.pop()))
        })?;
        match answered {
            (pid, Some(pidfd)) if pid > 0 => Ok((pid, pidfd)),
            (errno, _) => Err(Failed::Clone(-errno)),
        }
    }

    pub(super) fn user_namespace(&self, ids: DiskIds) -> io::Result<OwnedFd> {
        let gone = || io::Error::from_raw_os_error(libc::EPIPE);
        let answered = self.ask(&Request::UserNamespace(ids), &[], |socket| {
            let mut answer = [0; 4];
            let heard = socket::receive(socket.as_raw_fd(), &mut answer, 0);
            Ok(heard
                .ok()
                .filter(|heard| heard.length == 4)
                .map(|mut heard| (i32::from_le_bytes(answer), heard.fds.pop())))
        });
        match answered.ok().flatten() {
            Some((0, Some(user_ns))) => Ok(user_ns),
            Some((errno, _)) if errno > 0 => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(gone()),
        }
    }

    pub(super) fn reap(&self, pid: libc::pid_t) {
        // A spawner that is gone has taken its children with it.
        let _ = self.ask(&Request::Reap(pid), &[], |_| Ok(()));
    }

    pub(super) fn open_inside(
        &self,
        user_ns: BorrowedFd<'_>,
        wanted: &[Wanted<'_>],
        answers: &OwnedFd,
    ) -> Result<(), Error> {
        let mut fds = vec![answers.as_raw_fd(), user_ns.as_raw_fd()];
        fds.extend(wanted.iter().map(|one| one.dir.as_raw_fd()));
        let paths = wanted.iter().map(|one| one.path.clone()).collect();
        self.ask(&Request::Open(paths), &fds, |_| Ok(()))
    }
}

/// The spawner's side: serves until its asker is gone. Descriptor 0 is the socket.
#[cfg(feature = "cli")]
pub(crate) fn enter_spawner() -> Result<(), Error> {
    let stdin = io::stdin();
    let asker = stdin.as_fd();
    let gone = |errno| Error::sandbox("cannot serve as the spawner").errno(errno);
    socket::send(asker.as_raw_fd(), GREETING.as_bytes(), &[]).map_err(gone)?;
    let mut dead: Vec<libc::pid_t> = Vec::new();
    loop {
        // A child that was killed may take a moment to die.
        let timeout = if dead.is_empty() { -1 } else { 2 };
        let mut ready = [nix::poll::PollFd::new(asker, nix::poll::PollFlags::POLLIN)];
        let timeout = nix::poll::PollTimeout::try_from(timeout).unwrap_or(nix::poll::PollTimeout::NONE);
        let count = nix::poll::poll(&mut ready, timeout).unwrap_or(0);
        dead.retain(|&pid| matches!(process::wait_for(pid, libc::WNOHANG), Ok(None)));
        if count == 0 {
            continue;
        }
        let mut length = [0; 8];
        let received = socket::receive(asker.as_raw_fd(), &mut length, libc::MSG_DONTWAIT).map_err(gone)?;
        if received.length == 0 {
            return Ok(());
        }
        let mut fds = received.fds.into_iter();
        let request = fds.next().and_then(|memory| {
            let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(length)).ok()?];
            File::from(memory).read_exact_at(&mut bytes, 0).ok()?;
            Some(bytes)
        });
        let Some(request) = request else { return Err(gone(libc::EPROTO)) };
        match postcard::from_bytes(&request).map_err(|_| gone(libc::EPROTO))? {
            Request::Clone { namespaces, room, payload, slots, watchdog_ns, cgroup } => {
                let held: Vec<OwnedFd> = fds.collect();
                let mut numbers = [-1; SLOTS];
                for (slot, fd) in slots.iter().zip(&held) {
                    if let Some(place) = numbers.get_mut(slot.0 as usize) {
                        *place = fd.as_raw_fd();
                    }
                }
                let order = Order {
                    namespaces,
                    room: &room,
                    payload: &payload,
                    slots: numbers,
                    // The supervisor's end never came here; the asker's socket must not live on in init.
                    supervisors_end: asker.as_raw_fd(),
                    watchdog_ns,
                    cgroup: held.last().filter(|_| cgroup).map(AsFd::as_fd),
                };
                let sent = match cloner::clone_here(&order) {
                    Ok((pid, pidfd)) => socket::send(asker.as_raw_fd(), &pid.to_le_bytes(), &[pidfd.as_raw_fd()]),
                    Err(errno) => socket::send(asker.as_raw_fd(), &(-errno).to_le_bytes(), &[]),
                };
                sent.map_err(gone)?;
            }
            Request::UserNamespace(ids) => {
                let sent = match trees::user_namespace(ids) {
                    Ok(user_ns) => socket::send(asker.as_raw_fd(), &0_i32.to_le_bytes(), &[user_ns.as_raw_fd()]),
                    Err(e) => {
                        let errno = e.raw_os_error().unwrap_or(libc::EIO);
                        socket::send(asker.as_raw_fd(), &errno.to_le_bytes(), &[])
                    }
                };
                sent.map_err(gone)?;
            }
            Request::Reap(pid) => dead.push(pid),
            Request::Open(paths) => {
                let held: Vec<OwnedFd> = fds.collect();
                let (Some(answers), Some(user_ns)) = (held.first(), held.get(1)) else {
                    return Err(gone(libc::EPROTO));
                };
                let wanted: Vec<Wanted<'_>> = paths
                    .into_iter()
                    .zip(held.get(2..).unwrap_or_default())
                    .map(|(path, dir)| Wanted { dir: dir.as_fd(), path })
                    .collect();
                if let Ok((pid, _)) = cloner::fork_collector(user_ns.as_fd(), &wanted, answers) {
                    dead.push(pid);
                }
            }
        }
    }
}
