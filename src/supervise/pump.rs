//! Moves bytes between the caller's streams and ours: counted, capped, never blocking, whoever reads or does not.

use crate::report::Captured;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// How much is held for a reader that is slow. Beyond it the payload waits, as at any full pipe.
const HELD: usize = 64 * 1024;
/// One read.
const CHUNK: usize = 64 * 1024;
/// Captured bytes beyond this go to a spool file.
const IN_MEMORY: usize = 64 * 1024;

/// A descriptor of the caller's that must not be left blocking, while its flags stay as they are: they belong to the
/// caller's open file description.
#[derive(Debug)]
pub(super) struct Shared {
    fd: OwnedFd,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A description of our own, non-blocking; or a regular file, which never blocks.
    Ours,
    /// A socket: MSG_DONTWAIT.
    Socket,
    /// It could not be opened again: only a little at a time, after poll(2) said that it would not block.
    Polled,
}

/// What a pipe that poll(2) calls writable takes without blocking (PIPE_BUF).
const POLLED_CHUNK: usize = 4096;

impl Shared {
    /// Opens the caller's `fd` again for reading or writing, with flags of our own.
    pub(super) fn open(fd: BorrowedFd<'_>, writing: bool) -> io::Result<Shared> {
        let stat = nix::sys::stat::fstat(fd)?;
        let copy = || fd.try_clone_to_owned();
        match stat.st_mode & libc::S_IFMT {
            // The offset is shared with the caller, as it must be for `>>` and for what is written after us.
            libc::S_IFREG => Ok(Shared { fd: copy()?, way: Way::Ours }),
            libc::S_IFSOCK => Ok(Shared { fd: copy()?, way: Way::Socket }),
            _ => {
                let access = if writing { OFlag::O_WRONLY } else { OFlag::O_RDONLY };
                let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
                let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                match nix::fcntl::open(path.as_str(), flags, nix::sys::stat::Mode::empty()) {
                    Ok(own) => Ok(Shared { fd: own, way: Way::Ours }),
                    Err(_) => Ok(Shared { fd: copy()?, way: Way::Polled }),
                }
            }
        }
    }

    /// A descriptor that nobody else has; it must be non-blocking or a regular file.
    pub(super) fn own(fd: OwnedFd) -> Shared {
        Shared { fd, way: Way::Ours }
    }

    /// `EAGAIN` where nothing can be moved now.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.way {
            Way::Socket => {
                nix::sys::socket::recv(self.fd.as_raw_fd(), buffer, nix::sys::socket::MsgFlags::MSG_DONTWAIT)
            }
            Way::Ours | Way::Polled => nix::unistd::read(&self.fd, buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.way {
            Way::Socket => {
                let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT | nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
                nix::sys::socket::send(self.fd.as_raw_fd(), bytes, flags)
            }
            Way::Ours => nix::unistd::write(&self.fd, bytes),
            Way::Polled => {
                let mut poll = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO)?;
                if poll[0].any() != Some(true) {
                    return Err(Errno::EAGAIN);
                }
                nix::unistd::write(&self.fd, bytes.get(..POLLED_CHUNK).unwrap_or(bytes))
            }
        }
    }
}

/// Makes our own end of a pipe non-blocking; the other end has a description of its own and stays as it is.
pub(super) fn non_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Standard input on its way in.
#[derive(Debug)]
pub(super) struct Feed {
    source: Option<Shared>,
    pipe: Option<OwnedFd>,
    held: Vec<u8>,
    sent: usize,
}

impl Feed {
    /// From the caller's stream into `pipe`, our non-blocking end.
    pub(super) fn from_caller(source: Shared, pipe: OwnedFd) -> Feed {
        Feed { source: Some(source), pipe: Some(pipe), held: Vec::new(), sent: 0 }
    }

    /// These bytes into `pipe`.
    pub(super) fn from_bytes(bytes: Vec<u8>, pipe: OwnedFd) -> Feed {
        Feed { source: None, pipe: Some(pipe), held: bytes, sent: 0 }
    }

    fn empty(&self) -> bool {
        self.sent == self.held.len()
    }

    /// What to poll for.
    pub(super) fn poll<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let Some(pipe) = &self.pipe else { return };
        if self.empty() {
            // Errors only: that nobody reads any more.
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::empty()));
            if let Some(source) = &self.source {
                fds.push(PollFd::new(source.fd.as_fd(), PollFlags::POLLIN));
            }
        } else {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        }
    }

    /// Moves what can be moved now. `ready` says which descriptors poll found ready.
    pub(super) fn advance(&mut self, ready: &dyn Fn(i32) -> bool) {
        let Some(pipe) = &self.pipe else { return };
        if self.empty() {
            if ready(pipe.as_raw_fd()) {
                // The reading end is gone.
                self.close();
                return;
            }
            match &self.source {
                Some(source) if ready(source.fd.as_raw_fd()) => {
                    self.held.resize(CHUNK, 0);
                    self.sent = 0;
                    let read = source.read(&mut self.held);
                    self.held.truncate(*read.as_ref().unwrap_or(&0));
                    match read {
                        Ok(0) => self.close(),
                        Ok(_) => {}
                        Err(Errno::EAGAIN | Errno::EINTR) => return,
                        Err(_) => self.close(),
                    }
                }
                Some(_) => return,
                None => {
                    self.close();
                    return;
                }
            }
        }
        let Some(pipe) = &self.pipe else { return };
        match nix::unistd::write(pipe, self.held.get(self.sent..).unwrap_or_default()) {
            Ok(count) => self.sent += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.close(),
        }
        if self.empty() && self.source.is_none() {
            self.close();
        }
    }

    /// Closes both ends: end of file inside, and nothing more is taken from the caller.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.source = None;
        self.held = Vec::new();
        self.sent = 0;
    }
}

/// Where output goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// A stream of the caller's, or a file that may block.
    Stream { to: Shared, held: Vec<u8>, sent: usize },
    /// A regular file.
    File(File),
    /// The report.
    Capture { memory: Vec<u8>, spool: Option<File>, length: u64 },
    /// Nowhere.
    Discard,
}

impl Sink {
    pub(super) fn stream(to: Shared) -> Sink {
        Sink::Stream { to, held: Vec::new(), sent: 0 }
    }

    pub(super) fn capture() -> Sink {
        Sink::Capture { memory: Vec::new(), spool: None, length: 0 }
    }

    /// Takes all of it.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stream { held, .. } => {
                held.extend_from_slice(bytes);
                self.flush()
            }
            Sink::File(file) => file.write_all(bytes),
            Sink::Capture { memory, spool, length } => {
                if let Some(spool) = spool {
                    spool.write_all_at(bytes, *length)?;
                } else if memory.len() + bytes.len() <= IN_MEMORY {
                    memory.extend_from_slice(bytes);
                } else {
                    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
                    let file = File::from(nix::sys::memfd::memfd_create(c"output", flags)?);
                    file.write_all_at(memory, 0)?;
                    file.write_all_at(bytes, *length)?;
                    *memory = Vec::new();
                    *spool = Some(file);
                }
                *length += bytes.len() as u64;
                Ok(())
            }
            Sink::Discard => Ok(()),
        }
    }

    /// Moves what is held as far as it goes.
    fn flush(&mut self) -> io::Result<()> {
        let Sink::Stream { to, held, sent } = self else { return Ok(()) };
        while *sent < held.len() {
            match to.write(held.get(*sent..).unwrap_or_default()) {
                Ok(count) => *sent += count,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if *sent == held.len() {
            held.clear();
            *sent = 0;
        }
        Ok(())
    }

    fn pending(&self) -> usize {
        match self {
            Sink::Stream { held, sent, .. } => held.len() - sent,
            Sink::File(_) | Sink::Capture { .. } | Sink::Discard => 0,
        }
    }
}

/// An output stream on its way out.
#[derive(Debug)]
pub(super) struct Drain {
    pipe: Option<OwnedFd>,
    sink: Sink,
    /// Bytes read so far.
    pub(super) bytes: u64,
    kept: u64,
    cap: Option<u64>,
    /// Why what was written could not be passed on; a reader that went away is no failure.
    pub(super) lost: Option<io::Error>,
}

impl Drain {
    /// From `pipe`, our non-blocking end, into `sink`, of which at most `cap` bytes.
    pub(super) fn new(pipe: OwnedFd, sink: Sink, cap: Option<u64>) -> Drain {
        Drain { pipe: Some(pipe), sink, bytes: 0, kept: 0, cap, lost: None }
    }

    /// Whether more was written than the cap.
    pub(super) fn over(&self) -> bool {
        self.cap.is_some_and(|cap| self.bytes > cap)
    }

    /// What to poll for.
    pub(super) fn poll<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.sink.pending() > 0
            && let Sink::Stream { to, .. } = &self.sink
        {
            fds.push(PollFd::new(to.fd.as_fd(), PollFlags::POLLOUT));
        }
        if self.sink.pending() < HELD
            && let Some(pipe) = &self.pipe
        {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        }
    }

    /// Whether something can be moved: `ready` says which descriptors poll found ready.
    pub(super) fn wanted(&self, ready: &dyn Fn(i32) -> bool) -> bool {
        let to = match &self.sink {
            Sink::Stream { to, .. } if self.sink.pending() > 0 => Some(to.fd.as_raw_fd()),
            Sink::Stream { .. } | Sink::File(_) | Sink::Capture { .. } | Sink::Discard => None,
        };
        to.is_some_and(ready) || self.pipe.as_ref().is_some_and(|pipe| ready(pipe.as_raw_fd()))
    }

    /// Moves what can be moved now.
    pub(super) fn advance(&mut self, buffer: &mut Vec<u8>) {
        if let Err(error) = self.sink.flush() {
            self.fail(error);
        }
        // A payload that writes without pause must not keep us from looking at limits: a few reads, then back to the loop.
        for _ in 0..4 {
            if self.sink.pending() >= HELD {
                return;
            }
            let Some(pipe) = &self.pipe else { return };
            if buffer.is_empty() {
                // Zero pages of the kernel's: most runs write too little to touch them all.
                *buffer = vec![0; CHUNK];
            }
            // However often a signal interrupts it: bytes that are left in the pipe at the end are lost.
            let read = loop {
                match nix::unistd::read(pipe, buffer) {
                    Err(Errno::EINTR) => {}
                    answer => break answer,
                }
            };
            match read {
                Ok(0) => {
                    self.pipe = None;
                    return;
                }
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default()),
                Err(Errno::EAGAIN) => return,
                Err(errno) => {
                    self.fail(errno.into());
                    return;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.cap.map_or(u64::MAX, |cap| cap.saturating_sub(self.bytes));
        let keep = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len())).unwrap_or_default();
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        match self.sink.take(keep) {
            Ok(()) => self.kept += keep.len() as u64,
            Err(error) => self.fail(error),
        }
    }

    /// A reader that went away closes the stream, and the payload gets SIGPIPE as it would without us.
    fn fail(&mut self, error: io::Error) {
        self.pipe = None;
        if let Sink::Stream { held, sent, .. } = &mut self.sink {
            held.clear();
            *sent = 0;
        }
        if error.kind() != io::ErrorKind::BrokenPipe && self.lost.is_none() {
            self.lost = Some(error);
        }
    }

    /// Reads what is still in the pipe, once all its writers are dead.
    pub(super) fn finish(&mut self, buffer: &mut Vec<u8>) {
        while self.pipe.is_some() && self.sink.pending() < HELD {
            let before = self.bytes;
            self.advance(buffer);
            if self.bytes == before {
                break;
            }
        }
    }

    /// How many bytes wait for the caller to read them.
    pub(super) fn unread(&self) -> usize {
        self.sink.pending()
    }

    /// The captured bytes, if they were wanted.
    pub(super) fn captured(self) -> Option<Captured> {
        let truncated = self.kept < self.bytes;
        match self.sink {
            Sink::Capture { memory, spool: None, .. } => Some(Captured::in_memory(memory, self.bytes, truncated)),
            Sink::Capture { spool: Some(file), length, .. } => {
                Some(Captured::spooled(file, length, self.bytes, truncated))
            }
            Sink::Stream { .. } | Sink::File(_) | Sink::Discard => None,
        }
    }
}
