//! Brings files out after the run. A child in the sandbox's user namespace opens them, beneath the directories that init
//! handed out and following no link, and sends the descriptors; only the supervisor writes on the host.

use super::cloner::Cloner;
use super::start::Handed;
use crate::error::{errno_name, errno_text};
use crate::plan::step::Slot;
use crate::plan::{Out, Plan};
use crate::report::Collected;
use crate::sys::{file, process, socket};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of one file where the disk has no limit of its own.
const MOST_BYTES: u64 = 64 << 30;

/// What the collector opens: a directory and a path beneath it.
pub(super) struct Wanted<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) path: CString,
}

/// Brings out what the plan names; each is a row, brought out or with the reason why not.
pub(super) fn collect(plan: &Plan, handed: &Handed, cloner: &Cloner, disk_limit: Option<u64>) -> Vec<Collected> {
    if plan.collect.is_empty() {
        return Vec::new();
    }
    let started = Instant::now();
    let row = |out: &Out, result: Result<u64, String>| Collected {
        from: out.from.display().to_string(),
        to: out.to.display().to_string(),
        bytes: result.as_ref().ok().copied(),
        error: result.err(),
    };
    let wanted: Option<Vec<Wanted<'_>>> =
        plan.collect.iter().map(|out| handed.get(out.slot).map(|dir| Wanted { dir, path: out.path.clone() })).collect();
    let (Some(wanted), Some(user_ns)) = (wanted, handed.get(Slot::USER_NS)) else {
        return plan.collect.iter().map(|out| row(out, Err("the sandbox was not made".to_owned()))).collect();
    };
    let opened = cloner.open_inside(user_ns, &wanted);
    let most = disk_limit.unwrap_or(MOST_BYTES);
    plan.collect
        .iter()
        .enumerate()
        .map(|(index, out)| {
            let opened = match opened.get(index) {
                Some(Ok(fd)) => fd.try_clone().map_err(|e| e.to_string()),
                Some(Err(errno)) => Err(why(*errno)),
                None => Err("the collector ended early".to_owned()),
            };
            row(out, opened.and_then(|fd| bring_out(&File::from(fd), &out.to, &out.from, most, started)))
        })
        .collect()
}

fn why(errno: i32) -> String {
    match errno {
        libc::ENOENT => "the program left no such file".to_owned(),
        libc::ELOOP => "it is, or lies behind, a symbolic link".to_owned(),
        libc::EXDEV => "it lies on another mount".to_owned(),
        libc::EINVAL => "it is no regular file".to_owned(),
        errno => format!("{} ({})", errno_text(errno), errno_name(errno)),
    }
}

/// Writes a copy beside the destination and renames it: whole or not at all.
fn bring_out(source: &File, to: &Path, from: &Path, most: u64, started: Instant) -> Result<u64, String> {
    let told = |e: io::Error| match e.raw_os_error() {
        Some(errno) => format!("cannot write {}: {} ({})", to.display(), errno_text(errno), errno_name(errno)),
        None => format!("cannot write {}: {e}", to.display()),
    };
    let to = if to.is_dir() { to.join(from.file_name().unwrap_or_default()) } else { to.to_owned() };
    let parent = to.parent().unwrap_or(Path::new("/"));
    let meta = source.metadata().map_err(told)?;
    if meta.len() > most {
        return Err(format!("it holds {} bytes, more than the {most} that --disk allows", meta.len()));
    }
    // Set-id bits and another's write permission stay behind.
    let mode = meta.permissions().mode() & 0o755;
    let copy = tempfile::Builder::new().prefix(".sandbox-out-").tempfile_in(parent).map_err(told)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut source = source.take(most);
    let mut written = 0;
    loop {
        if started.elapsed() > TIMEOUT {
            return Err(format!("it took longer than {} s", TIMEOUT.as_secs()));
        }
        let count = match source.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(format!("cannot read it: {}", e.raw_os_error().map_or(e.to_string(), why))),
        };
        if count == 0 {
            break;
        }
        copy.as_file().write_all(buffer.get(..count).unwrap_or_default()).map_err(told)?;
        written += count as u64;
    }
    let umask_applied = mode & !current_umask();
    fs::set_permissions(copy.path(), Permissions::from_mode(umask_applied)).map_err(told)?;
    copy.persist(&to).map_err(|e| told(e.error))?;
    Ok(written)
}

/// As an ordinary program's new file would have it. Read from /proc: umask(2) can only be read by setting it.
fn current_umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(0o022)
}

/// The collector: joins the user namespace, where it may open what its owner made unreadable, opens each file and sends its
/// descriptor, or an errno. Runs in a child of a single-threaded process.
pub(super) fn enter_collector(user_ns: BorrowedFd<'_>, wanted: &[Wanted<'_>], socket: &OwnedFd) -> ! {
    if let Err(errno) = process::setns(user_ns.as_raw_fd(), libc::CLONE_NEWUSER) {
        let _ = socket::send(socket.as_raw_fd(), &errno.to_le_bytes(), &[]);
        process::exit(1);
    }
    for one in wanted {
        let answer = open_regular(one);
        let sent = match answer {
            Ok(fd) => {
                let sent = socket::send(socket.as_raw_fd(), &0i32.to_le_bytes(), &[fd]);
                file::close(fd);
                sent
            }
            Err(errno) => socket::send(socket.as_raw_fd(), &errno.to_le_bytes(), &[]),
        };
        if sent.is_err() {
            break;
        }
    }
    process::exit(0)
}

fn open_regular(wanted: &Wanted<'_>) -> Result<i32, i32> {
    let resolve =
        file::RESOLVE_BENEATH | file::RESOLVE_NO_SYMLINKS | file::RESOLVE_NO_MAGICLINKS | file::RESOLVE_NO_XDEV;
    // Looked at before it is opened for reading: opening a fifo or a device could wait or act.
    let found = file::openat2(wanted.dir.as_raw_fd(), &wanted.path, libc::O_PATH | libc::O_NOFOLLOW, 0, resolve)?;
    let kind = file::file_type(found);
    file::close(found);
    match kind? {
        libc::S_IFREG => {}
        libc::S_IFLNK => return Err(libc::ELOOP),
        libc::S_IFDIR => return Err(libc::EISDIR),
        _ => return Err(libc::EINVAL),
    }
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    file::openat2(wanted.dir.as_raw_fd(), &wanted.path, flags, 0, resolve)
}

/// Takes the collector's answers, one per file; it is dead, or sends, within the time.
pub(super) fn receive_opened(socket: &OwnedFd, count: usize) -> Vec<Result<OwnedFd, i32>> {
    let end = Instant::now() + TIMEOUT;
    let mut opened = Vec::new();
    for _ in 0..count {
        if !wait_readable(socket, end) {
            break;
        }
        let mut answer = [0; 4];
        match socket::receive(socket.as_raw_fd(), &mut answer, libc::MSG_DONTWAIT) {
            Ok(mut received) if received.length == 4 => {
                opened.push(received.fds.pop().ok_or(i32::from_le_bytes(answer)));
            }
            _ => break,
        }
    }
    opened
}

/// Whether something is there to be read before `end`.
fn wait_readable(socket: &OwnedFd, end: Instant) -> bool {
    loop {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut ready, timeout) {
            Ok(count) => return count == 1,
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
