//! Opens the three standard streams: what the payload gets, and what we keep to pump.

use super::pump::{Drain, Feed, Shared, Sink, non_blocking};
use crate::error::Error;
use crate::spec::{Input, Output, Spec};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The payload's descriptors 0, 1 and 2, each above 2 here.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Our ends.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) stdin: Option<Feed>,
    pub(super) stdout: Option<Drain>,
    pub(super) stderr: Option<Drain>,
}

impl Streams {
    /// Both outputs.
    pub(super) fn outputs(&mut self) -> impl Iterator<Item = &mut Drain> {
        self.stdout.iter_mut().chain(self.stderr.iter_mut())
    }

    /// How many bytes the caller has left to read.
    pub(super) fn unread(&self) -> usize {
        self.stdout.iter().chain(&self.stderr).map(Drain::unread).sum()
    }

    /// Why an output could not be passed on, once.
    pub(super) fn lost(&mut self) -> Option<String> {
        let named = [("standard output", &mut self.stdout), ("standard error", &mut self.stderr)];
        named.into_iter().find_map(|(name, drain)| {
            let error = drain.as_mut()?.lost.take()?;
            Some(Error::sandbox(format!("cannot pass on {name}")).because(error).to_string())
        })
    }
}

/// Opens everything, before the start. `landlock` is whether a regular file may be handed over: without that wall it could be
/// opened again for writing through /proc/self/fd.
pub(super) fn open(spec: &Spec, cap: Option<u64>, landlock: bool) -> Result<(Inside, Streams), Error> {
    let (stdin, feed) = open_input(&spec.stdin, landlock)?;
    let (stdout, out) = open_output(&spec.stdout, io::stdout().as_fd(), cap, "--stdout")?;
    let (stderr, err) = open_output(&spec.stderr, io::stderr().as_fd(), cap, "--stderr")?;
    let inside = Inside { stdin: above_two(stdin)?, stdout: above_two(stdout)?, stderr: above_two(stderr)? };
    Ok((inside, Streams { stdin: feed, stdout: out, stderr: err }))
}

/// A descriptor with a number above 2: a caller may have closed its own.
fn above_two(fd: OwnedFd) -> Result<OwnedFd, Error> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // `try_clone` gives 3 and above.
    fd.try_clone().map_err(|e| Error::sandbox("cannot copy a descriptor").because(e))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::sandbox("cannot make a pipe").because(io::Error::from(e)))
}

/// End of file at once: /dev/null, or where there is none, a pipe that nobody writes.
fn nothing() -> Result<OwnedFd, Error> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    null.or_else(|_| pipe().map(|(read, _)| read))
}

/// A pipe into the payload: its end, and ours.
fn pipe_in() -> Result<(OwnedFd, OwnedFd), Error> {
    let (read, write) = pipe()?;
    non_blocking(write.as_fd()).map_err(|e| Error::sandbox("cannot set up a pipe").because(e))?;
    Ok((read, write))
}

fn open_input(input: &Input, landlock: bool) -> Result<(OwnedFd, Option<Feed>), Error> {
    match input {
        Input::Empty => Ok((nothing()?, None)),
        Input::Bytes(bytes) => {
            let (read, write) = pipe_in()?;
            Ok((read, Some(Feed::from_bytes(bytes.clone(), write))))
        }
        Input::Direct => copy_of(io::stdin().as_fd()).map(|fd| (fd, None)),
        Input::Caller => {
            let stdin = io::stdin();
            open_callers(stdin.as_fd(), landlock)
        }
        Input::File(path) => {
            let cannot = || Error::sandbox(format!("cannot read {} as standard input", path.display()));
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(|e| no_link(cannot(), path, e))?;
            let kind =
                nix::sys::stat::fstat(&fd).map_err(|e| cannot().because(io::Error::from(e)))?.st_mode & libc::S_IFMT;
            match kind {
                libc::S_IFREG if landlock => Ok((fd, None)),
                libc::S_IFDIR => Err(cannot().errno(libc::EISDIR)),
                _ => {
                    let (read, write) = pipe_in()?;
                    Ok((read, Some(Feed::from_caller(Shared::own(fd), write))))
                }
            }
        }
    }
}

fn copy_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    fd.try_clone_to_owned().map_err(|e| Error::sandbox("cannot copy a standard stream").because(e))
}

fn open_callers(stdin: BorrowedFd<'_>, landlock: bool) -> Result<(OwnedFd, Option<Feed>), Error> {
    let cannot = || Error::sandbox("cannot open standard input again");
    let Ok(stat) = nix::sys::stat::fstat(stdin) else { return Ok((nothing()?, None)) };
    if stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == nix::sys::stat::makedev(1, 3) {
        return Ok((nothing()?, None));
    }
    if stat.st_mode & libc::S_IFMT == libc::S_IFREG && landlock {
        let path = format!("/proc/self/fd/{}", stdin.as_raw_fd());
        // Where it may not be opened again (a file of another uid's, handed over), it is pumped.
        if let Ok(own) = nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            let at = nix::unistd::lseek(stdin, 0, nix::unistd::Whence::SeekCur)
                .map_err(|e| cannot().because(io::Error::from(e)))?;
            nix::unistd::lseek(&own, at, nix::unistd::Whence::SeekSet)
                .map_err(|e| cannot().because(io::Error::from(e)))?;
            return Ok((own, None));
        }
    }
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Error::sandbox("cannot read standard input").errno(libc::EISDIR));
    }
    let source = Shared::open(stdin, false).map_err(|e| cannot().because(e))?;
    let (read, write) = pipe_in()?;
    Ok((read, Some(Feed::from_caller(source, write))))
}

/// O_NOFOLLOW answers ELOOP for a link, which reads like a riddle.
fn no_link(error: Error, path: &Path, errno: nix::errno::Errno) -> Error {
    let error = error.because(io::Error::from(errno));
    if errno == nix::errno::Errno::ELOOP && path.is_symlink() {
        return error.hint(format!("{} is a symbolic link: name the file itself", path.display()));
    }
    error
}

fn open_output(
    output: &Output,
    caller: BorrowedFd<'_>,
    cap: Option<u64>,
    flag: &str,
) -> Result<(OwnedFd, Option<Drain>), Error> {
    let sink = match output {
        Output::Direct => return copy_of(caller).map(|fd| (fd, None)),
        Output::Caller => {
            let shared = Shared::open(caller, true);
            Sink::stream(
                shared.map_err(|e| Error::sandbox(format!("cannot open the stream of {flag} again")).because(e))?,
            )
        }
        Output::Capture => Sink::capture(),
        Output::Discard => Sink::Discard,
        Output::File(path) => open_file(path, flag)?,
    };
    let (read, write) = pipe()?;
    non_blocking(read.as_fd()).map_err(|e| Error::sandbox("cannot set up a pipe").because(e))?;
    Ok((write, Some(Drain::new(read, sink, cap))))
}

fn open_file(path: &Path, flag: &str) -> Result<Sink, Error> {
    let cannot = || Error::sandbox(format!("cannot write {} for {flag}", path.display()));
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o666);
    let fd = nix::fcntl::open(path, flags, mode).map_err(|e| match e {
        nix::errno::Errno::ENXIO => {
            cannot().because(io::Error::from(e)).hint("nobody reads that fifo yet: start its reader first")
        }
        e => no_link(cannot(), path, e),
    })?;
    let kind = nix::sys::stat::fstat(&fd).map_err(|e| cannot().because(io::Error::from(e)))?.st_mode & libc::S_IFMT;
    if kind != libc::S_IFREG {
        return Ok(Sink::stream(Shared::own(fd)));
    }
    // Both outputs may name one file: each write then goes to its end.
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_APPEND))
        .map_err(|e| cannot().because(io::Error::from(e)))?;
    nix::unistd::ftruncate(&fd, 0).map_err(|e| cannot().because(io::Error::from(e)))?;
    Ok(Sink::File(File::from(fd)))
}
