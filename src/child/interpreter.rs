//! Runs steps: one match arm per step, each a few kernel calls. Slots are filled and used here.

use super::{Kit, init, order};
use crate::plan::step::{Attr, Beneath, Insn, MAIN_FLAGS, PathRule, SLOTS, Slot, Source, Step};
use crate::sys::process::Cloned;
use crate::sys::{Errno, file, landlock, mount, process, seccomp, socket};
use crate::wire::Record;
use std::ffi::CStr;

impl seccomp::Instruction for Insn {}

/// Where and why a step failed.
#[derive(Clone, Copy)]
pub(super) struct Failure {
    pub(super) step: u16,
    pub(super) detail: u16,
    pub(super) errno: Errno,
}

/// The kernel call of a step that failed, counted from 0, and its errno.
struct At(u16, Errno);

type Done = Result<(), At>;

/// Says which call of a step this is.
fn at<T>(detail: u16, answer: Result<T, Errno>) -> Result<T, At> {
    answer.map_err(|errno| At(detail, errno))
}

pub(super) struct Interpreter<'a> {
    kit: &'a Kit<'a>,
    slots: [i32; SLOTS],
    /// The process that makes the network namespace, and the descriptor that it puts it at.
    network: Option<(libc::pid_t, i32)>,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(kit: &'a Kit<'a>) -> Self {
        Interpreter { kit, slots: kit.slots, network: None }
    }

    pub(super) fn room(&mut self) -> Result<(), Failure> {
        self.run(self.kit.room)
    }

    pub(super) fn payload(&mut self) -> Result<(), Failure> {
        self.run(self.kit.payload)
    }

    fn run(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for (index, step) in steps.iter().enumerate() {
            self.step(step).map_err(|At(detail, errno)| Failure { step: index as u16, detail, errno })?;
        }
        Ok(())
    }

    fn slot(&self, slot: Slot) -> i32 {
        self.slots.get(slot.0 as usize).copied().unwrap_or(-1)
    }

    fn fill(&mut self, slot: Slot, fd: i32) {
        if let Some(place) = self.slots.get_mut(slot.0 as usize) {
            *place = fd;
        }
    }

    fn step(&mut self, step: &Step) -> Done {
        match step {
            Step::BecomeId { uid, gid } => {
                at(0, process::drop_groups())?;
                at(1, process::become_gid(*gid))?;
                at(2, process::become_uid(*uid))
            }
            Step::DieWithParent => at(0, process::die_with_parent()),
            Step::CgroupNamespace => at(0, process::unshare(libc::CLONE_NEWCGROUP)),
            Step::NetNamespace => {
                self.begin_network();
                Ok(())
            }
            Step::EnterNetNamespace => self.enter_network(),
            Step::Scratch { bytes, inodes } => self.scratch(*bytes, *inodes),
            Step::ScratchDir { path, mode } => {
                /// What init's file mode mask lets mkdir give.
                const BY_MKDIR: u32 = 0o755;
                at(0, file::mkdirat(file::CWD, path, *mode & BY_MKDIR))?;
                if *mode & !BY_MKDIR == 0 { Ok(()) } else { at(1, file::chmodat(file::CWD, path, *mode)) }
            }
            Step::Root => self.root(),
            Step::Dir { path, mode } => at(0, file::mkdirat(self.slot(Slot::ROOT), path, *mode)),
            Step::Link { target, path } => at(0, file::symlinkat(target, self.slot(Slot::ROOT), path)),
            Step::File { path, content } => self.file(path, content),
            Step::Show { path, directory, attr } => self.show(path, *directory, *attr),
            Step::Bind { source, target, attr, recursive } => self.bind(source, target, *attr, *recursive),
            Step::Tmpfs { target, bytes, inodes } => self.tmpfs(target, *bytes, *inodes),
            Step::Overlay { source, target } => self.overlay(source, target),
            Step::Proc { target } => self.proc(target),
            Step::LoopbackUp => at(0, process::loopback_up()),
            Step::Hostname(name) => at(0, process::set_hostname(name)),
            Step::SealRoot => at(0, mount::restrict(self.slot(Slot::ROOT), mount::RDONLY, false)),
            Step::Pivot => {
                // From over the root to some directory of the host's, which nobody needs any more: a detach takes the uppermost
                // mount of a place with all that is mounted inside it, and each waits for all CPUs, so that one must do.
                at(0, mount::attach_at(self.slot(Slot::SCRATCH), file::CWD, c"/proc"))?;
                at(1, file::fchdir(self.slot(Slot::ROOT)))?;
                at(2, mount::pivot_root_here())?;
                at(3, mount::detach_here())
            }
            Step::Open { path, slot } => {
                let dir = self.slot(Slot::SCRATCH);
                let fd = at(0, file::openat(dir, path, libc::O_RDONLY | libc::O_DIRECTORY, 0))?;
                self.fill(*slot, fd);
                Ok(())
            }
            Step::OpenInside { path, slot } => {
                let fd = at(0, file::openat(file::CWD, path, libc::O_RDONLY | libc::O_DIRECTORY, 0))?;
                self.fill(*slot, fd);
                Ok(())
            }
            Step::WatchProc => {
                let fs = at(0, mount::fsopen(c"proc"))?;
                at(1, mount::fs_create(fs))?;
                let tree = at(2, mount::fsmount(fs, mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC))?;
                file::close(fs);
                // The mount's own descriptor is O_PATH, which cannot be listed. It stays open: its close dissolves the mount,
                // and that waits for all CPUs (70 µs). Init closes it while the payload is on its way.
                let dir = at(3, file::openat(tree, c".", libc::O_RDONLY | libc::O_DIRECTORY, 0))?;
                self.fill(Slot::WATCH, dir);
                Ok(())
            }
            Step::OpenUserNamespace => {
                let fd = at(0, file::openat(file::CWD, c"/proc/self/ns/user", libc::O_RDONLY, 0))?;
                self.fill(Slot::USER_NS, fd);
                Ok(())
            }
            Step::Hand(slots) => self.hand(slots),
            Step::Await => self.hear(order::CONTINUE),
            Step::NotDumpable => at(0, process::not_dumpable()),
            Step::Stdio => self.stdio(),
            Step::Session => at(0, process::new_session()),
            Step::Defaults => {
                at(0, process::default_signals())?;
                file::umask(0o022);
                // A caller's higher nice value stays where raising the priority needs a privilege.
                let _ = process::set_nice(0);
                Ok(())
            }
            Step::Affinity(mask) => at(0, process::set_affinity(mask)),
            Step::ChangeDir(path) => at(0, file::chdir(path)),
            Step::DropCapabilities => at(0, process::drop_capabilities()),
            Step::NoNewPrivileges => at(0, seccomp::no_new_privileges()),
            Step::Landlock { access_fs, access_net, scoped, rules } => {
                landlock(&landlock::Ruleset { access_fs: *access_fs, access_net: *access_net, scoped: *scoped }, rules)
            }
            Step::Listener(program) => {
                let listener = at(0, seccomp::load_listener(program))?;
                at(1, socket::send(self.slot(Slot::SOCKET), &Record::Listener.encode(), &[listener]))?;
                file::close(listener);
                Ok(())
            }
            Step::CloseOnExec => at(0, file::close_on_exec_from(3)),
            Step::Rlimit { resource, soft, hard } => at(0, process::set_rlimit(*resource, *soft, *hard)),
            Step::Ready => {
                at(0, socket::send(self.slot(Slot::SOCKET), &Record::Ready.encode(), &[]))?;
                self.hear(order::START)
            }
            Step::Filter(program) => at(0, seccomp::load_filter(program, MAIN_FLAGS)),
            Step::Fault { errno, .. } => Err(At(0, *errno)),
            Step::Exec { candidates, .. } => self.exec(candidates),
        }
    }

    /// Waits for one order; anything else means that the supervisor is gone.
    fn hear(&self, wanted: u8) -> Done {
        match at(8, init::hear(self.slot(Slot::SOCKET)))? {
            Some(order) if order == wanted => Ok(()),
            _ => Err(At(9, libc::EPIPE)),
        }
    }

    /// A detached tmpfs.
    fn new_tmpfs(bytes: u64, inodes: u64, mode: &CStr) -> Result<i32, At> {
        let fs = at(0, mount::fsopen(c"tmpfs"))?;
        let mut digits = [0; 24];
        if bytes != 0 {
            at(1, mount::fs_set(fs, c"size", decimal(bytes, &mut digits)))?;
        }
        if inodes != 0 {
            at(2, mount::fs_set(fs, c"nr_inodes", decimal(inodes, &mut digits)))?;
        }
        at(3, mount::fs_set(fs, c"mode", mode))?;
        at(4, mount::fs_create(fs))?;
        let tree = at(5, mount::fsmount(fs, mount::NOSUID | mount::NODEV))?;
        file::close(fs);
        Ok(tree)
    }

    fn scratch(&mut self, bytes: u64, inodes: u64) -> Done {
        let tree = Self::new_tmpfs(bytes, inodes, c"0755")?;
        at(6, mount::attach_at(tree, file::CWD, c"/"))?;
        at(7, file::fchdir(tree))?;
        self.fill(Slot::SCRATCH, tree);
        Ok(())
    }

    fn root(&mut self) -> Done {
        // Only our own skeleton goes there; it is sealed before the payload starts.
        let tree = Self::new_tmpfs(4 << 20, 4096, c"0755")?;
        at(6, mount::attach_at(tree, file::CWD, c"/"))?;
        at(7, file::fchdir(tree))?;
        self.fill(Slot::ROOT, tree);
        Ok(())
    }

    /// A process that shares our descriptors, and nothing else, makes the namespace while we go on.
    fn begin_network(&mut self) {
        let Ok(place) = file::openat(file::CWD, c"/", libc::O_PATH, 0) else { return };
        match process::fork_into(libc::CLONE_FILES as u64, None) {
            Ok(Cloned::Child) => process::exit(make_network(place)),
            Ok(Cloned::Parent(pid, _)) => self.network = Some((pid, place)),
            Err(_) => file::close(place),
        }
    }

    /// Where the other process could not, for whatever reason, we make it here and have the kernel's own answer.
    fn enter_network(&mut self) -> Done {
        if let Some((pid, place)) = self.network.take() {
            let made = matches!(process::wait_for(pid, 0), Ok(Some(ended)) if ended.status == 0);
            let entered = made && process::setns(place, libc::CLONE_NEWNET).is_ok();
            file::close(place);
            if entered {
                return Ok(());
            }
        }
        at(0, process::unshare(libc::CLONE_NEWNET))
    }

    fn show(&self, path: &CStr, directory: bool, attr: Attr) -> Done {
        let target = relative(path);
        if directory {
            at(11, file::mkdirat(file::CWD, target, 0o755))?;
        } else {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
            file::close(at(12, file::openat(file::CWD, target, flags, 0o444))?);
        }
        at(0, mount::bind(path, target, directory))?;
        at(1, mount::restrict_at(file::CWD, target, flags(attr), directory))
    }

    fn file(&self, path: &CStr, content: &[u8]) -> Done {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let fd = at(0, file::openat(self.slot(Slot::ROOT), path, flags, 0o444))?;
        let written = at(1, file::write_all(fd, content));
        file::close(fd);
        written
    }

    fn bind(&self, source: &Source, target: &CStr, attr: Attr, recursive: bool) -> Done {
        let (tree, ours) = match source {
            Source::Path(path) => (at(0, mount::clone_tree(file::CWD, path, recursive))?, true),
            Source::Tree(slot) => (self.slot(*slot), false),
        };
        at(1, mount::restrict(tree, flags(attr), recursive))?;
        self.attach(tree, target)?;
        if ours {
            file::close(tree);
        }
        Ok(())
    }

    fn tmpfs(&self, target: &CStr, bytes: u64, inodes: u64) -> Done {
        let tree = Self::new_tmpfs(bytes, inodes, c"01777")?;
        self.attach(tree, target)?;
        file::close(tree);
        Ok(())
    }

    /// Attaches a tree at a path of the new root, whose mount point is made like it.
    fn attach(&self, tree: i32, target: &CStr) -> Done {
        let directory = at(16, file::file_type(tree))? == libc::S_IFDIR;
        let point = mount_point(self.slot(Slot::ROOT), target, directory)?;
        at(17, mount::attach(tree, point))?;
        file::close(point);
        Ok(())
    }

    /// The current directory is the scratch tmpfs, so that no path of the host's becomes a mount option.
    fn overlay(&mut self, source: &Source, target: &CStr) -> Done {
        let (lower, ours) = match source {
            Source::Path(path) => (at(0, mount::clone_tree(file::CWD, path, false))?, true),
            Source::Tree(slot) => (self.slot(*slot), false),
        };
        at(1, mount::restrict(lower, mount::RDONLY | mount::NOSUID | mount::NODEV, false))?;
        at(2, mount::attach_at(lower, file::CWD, c"lower"))?;
        if ours {
            file::close(lower);
        }
        let fs = at(3, mount::fsopen(c"overlay"))?;
        at(4, mount::fs_set(fs, c"lowerdir", c"lower"))?;
        at(5, mount::fs_set(fs, c"upperdir", c"upper"))?;
        at(6, mount::fs_set(fs, c"workdir", c"work"))?;
        at(7, mount::fs_flag(fs, c"userxattr"))?;
        at(8, mount::fs_create(fs))?;
        let tree = at(9, mount::fsmount(fs, mount::NOSUID | mount::NODEV))?;
        file::close(fs);
        self.attach(tree, target)?;
        self.fill(Slot::BOX, tree);
        Ok(())
    }

    fn proc(&mut self, target: &CStr) -> Done {
        let fs = at(0, mount::fsopen(c"proc"))?;
        // Init shows the launcher's command line: hide what may not be traced.
        at(1, mount::fs_set(fs, c"hidepid", c"invisible"))?;
        at(2, mount::fs_create(fs))?;
        let attr = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
        let tree = at(3, mount::fsmount(fs, attr))?;
        file::close(fs);
        self.attach(tree, target)?;
        file::close(tree);
        Ok(())
    }

    fn hand(&self, slots: &[Slot]) -> Done {
        let mut fds = [-1; SLOTS];
        let count = slots.len().min(SLOTS);
        for (place, slot) in fds.iter_mut().zip(slots) {
            *place = self.slot(*slot);
        }
        let fds = fds.get(..count).unwrap_or_default();
        at(0, socket::send(self.slot(Slot::SOCKET), &Record::Room.encode(), fds))
    }

    fn stdio(&self) -> Done {
        for (index, slot) in [Slot::STDIN, Slot::STDOUT, Slot::STDERR].into_iter().enumerate() {
            // Launch keeps all slots above 2, so that none of the three is overwritten before it is used.
            at(index as u16, file::dup_to(self.slot(slot), index as i32))?;
        }
        Ok(())
    }

    /// As execvp does: the next candidate where one is not there; EACCES is remembered, since a later one may work.
    fn exec(&self, candidates: &[std::ffi::CString]) -> Done {
        let mut refused = At(0, libc::ENOENT);
        for (index, path) in candidates.iter().enumerate() {
            match process::execve(path, &self.kit.argv, &self.kit.envp) {
                libc::ENOENT | libc::ENOTDIR if candidates.len() > 1 => {}
                libc::EACCES => refused = At(index as u16, libc::EACCES),
                errno => return Err(At(index as u16, errno)),
            }
        }
        Err(refused)
    }
}

fn flags(attr: Attr) -> u64 {
    let mut flags = mount::NOSUID;
    if attr.read_only {
        flags |= mount::RDONLY;
    }
    if !attr.devices {
        flags |= mount::NODEV;
    }
    if !attr.exec {
        flags |= mount::NOEXEC;
    }
    flags
}

fn landlock(attr: &landlock::Ruleset, rules: &[PathRule]) -> Done {
    /// EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV: the rights that a file can have.
    const OF_A_FILE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
    let ruleset = at(0, landlock::create(attr))?;
    for rule in rules {
        let (fd, ours) = match &rule.beneath {
            Beneath::Path(path) => match file::openat(file::CWD, path, libc::O_PATH, 0) {
                Ok(fd) => (fd, true),
                Err(libc::ENOENT) => continue,
                Err(errno) => return Err(At(1, errno)),
            },
            Beneath::Descriptor(fd) => (*fd, false),
        };
        let kind = at(2, file::file_type(fd))?;
        let access = if kind == libc::S_IFDIR { rule.access } else { rule.access & OF_A_FILE };
        if ours || kind == libc::S_IFREG {
            at(3, landlock::allow(ruleset, fd, access))?;
        }
        if ours {
            file::close(fd);
        }
    }
    at(4, landlock::restrict_self(ruleset))?;
    file::close(ruleset);
    Ok(())
}

/// Opens (O_PATH) the mount point `path` beneath `root`, making what is missing; no symbolic link is followed on the way, so
/// that none planted in a shown directory leads elsewhere.
fn mount_point(root: i32, path: &CStr, directory: bool) -> Result<i32, At> {
    let resolve = file::RESOLVE_BENEATH | file::RESOLVE_NO_SYMLINKS | file::RESOLVE_NO_MAGICLINKS;
    let whole = file::openat2(root, path, libc::O_PATH, 0, resolve);
    if whole != Err(libc::ENOENT) {
        return at(10, whole);
    }
    let mut dir = root;
    let bytes = path.to_bytes();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let last = length == rest.len();
        let mut buffer = [0; 256];
        let name = name(rest.get(..length).unwrap_or_default(), &mut buffer).ok_or(At(11, libc::ENAMETOOLONG))?;
        rest = rest.get(length + 1..).unwrap_or_default();
        let mut next = file::openat2(dir, name, libc::O_PATH, 0, resolve);
        if next == Err(libc::ENOENT) {
            if directory || !last {
                at(12, file::mkdirat(dir, name, 0o755))?;
            } else {
                let fd = at(13, file::openat(dir, name, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o644))?;
                file::close(fd);
            }
            next = file::openat2(dir, name, libc::O_PATH, 0, resolve);
        }
        let next = at(14, next)?;
        if dir != root {
            file::close(dir);
        }
        dir = next;
    }
    if dir == root { Err(At(15, libc::EINVAL)) } else { Ok(dir) }
}

/// `/etc/php` as `etc/php`.
fn relative(path: &CStr) -> &CStr {
    match path.to_bytes_with_nul() {
        [b'/', rest @ ..] => CStr::from_bytes_with_nul(rest).unwrap_or(path),
        _ => path,
    }
}

/// Makes a network namespace and puts it at `place`: 0, or a code of failure.
fn make_network(place: i32) -> i32 {
    let opened = process::unshare(libc::CLONE_NEWNET)
        .and_then(|()| file::openat(file::CWD, c"/proc/self/ns/net", libc::O_RDONLY, 0))
        .and_then(|fd| file::dup_over(fd, place).map(|()| file::close(fd)));
    i32::from(opened.is_err())
}

/// A NUL-terminated copy of a path component.
fn name<'b>(component: &[u8], buffer: &'b mut [u8; 256]) -> Option<&'b CStr> {
    buffer.get_mut(..component.len())?.copy_from_slice(component);
    *buffer.get_mut(component.len())? = 0;
    CStr::from_bytes_until_nul(buffer).ok()
}

/// A number as text, without the heap.
fn decimal(mut number: u64, digits: &mut [u8; 24]) -> &CStr {
    let mut at = digits.len() - 1;
    digits[at] = 0;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        // 2^64 has 20 digits, so `at` stays above 0.
        if number == 0 || at == 0 {
            break;
        }
    }
    CStr::from_bytes_until_nul(digits.get(at..).unwrap_or_default()).unwrap_or(c"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_text() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 24]).to_str().unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_component_of_255_bytes_fits_and_one_more_does_not() {
        assert!(name(&[b'x'; 255], &mut [0; 256]).is_some());
        assert!(name(&[b'x'; 256], &mut [0; 256]).is_none());
    }
}
