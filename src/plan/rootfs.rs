//! What the payload sees: the steps that build the new root, and where host paths appear in it.

use super::limits::LimitPlan;
use super::step::{Attr, Slot, Source, Step};
use super::{HostTree, IdMap, Out, Shown};
use crate::error::Error;
use crate::host::{Host, SystemKind};
use crate::spec::{InsidePath, Mount, Network, PathPair, Spec, Work};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Device nodes that are shown.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Inodes that an overlay makes for itself: its work directory, and the file by which it tries out what the tmpfs can.
const OVERLAY_INODES: u64 = 2;

/// The files of the sandbox.
pub(super) struct Files {
    pub(super) steps: Vec<Step>,
    pub(super) host_trees: Vec<HostTree>,
    pub(super) shown: Vec<Shown>,
    /// Throw-away places inside, and their directories in the scratch tmpfs.
    pub(super) thrown_away: Vec<(PathBuf, String)>,
    /// Writable places inside, for Landlock.
    pub(super) writable: Vec<PathBuf>,
    /// The host directory at `/box`.
    pub(super) work: Option<PathBuf>,
    /// It must be copied: no overlay here.
    pub(super) copy_work: Option<PathBuf>,
    /// Inodes of the scratch tmpfs that are ours.
    pub(super) own_inodes: u64,
    /// `overlay`, `copy`, `empty`, `shared` or `read-only`.
    pub(super) kind: &'static str,
    pub(super) notes: Vec<String>,
}

/// A path as the kernel takes it.
pub(super) fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::usage(format!("'{}' holds a NUL byte", path.display())))
}

/// A path inside, relative to the new root.
fn target(path: &Path) -> Result<CString, Error> {
    c_path(path.strip_prefix("/").unwrap_or(path))
}

/// A size for a tmpfs: at least one page, for 0 means no limit, and whole ones.
fn whole_pages(bytes: u64) -> u64 {
    const PAGE: u64 = 4096;
    bytes.max(PAGE).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX - (PAGE - 1))
}

/// A path of ours, which holds no NUL byte.
fn ours(path: &str) -> CString {
    CString::new(path).expect("our own paths hold no NUL byte")
}

/// An absolute host path without `.` and `..`, taken from the current directory. Symbolic links stay: the kernel follows them.
fn absolute(path: &Path, cwd: Option<&Path>) -> Result<PathBuf, Error> {
    let whole = if path.is_absolute() {
        path.to_owned()
    } else {
        let cwd = cwd.ok_or_else(|| {
            Error::sandbox(format!("cannot find {}: the current directory is gone", path.display()))
                .hint("change to a directory that exists, or write an absolute path")
        })?;
        cwd.join(path)
    };
    let mut clean = PathBuf::from("/");
    for component in whole.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

struct Builder<'a> {
    host: &'a Host,
    as_root: bool,
    /// Throw-away places cannot be written (`--disk 0`).
    no_disk: bool,
    files: Files,
    /// Directories of the new root that exist by now.
    dirs: BTreeSet<PathBuf>,
}

/// Decides the files. `ids` says whether the caller is root.
pub(super) fn plan_files(spec: &Spec, host: &Host, limits: &LimitPlan, ids: &IdMap) -> Result<Files, Error> {
    let mut builder = Builder {
        host,
        as_root: !ids.deny_setgroups,
        no_disk: limits.scratch.0 == Some(0),
        files: Files {
            steps: Vec::with_capacity(80),
            host_trees: Vec::new(),
            shown: Vec::new(),
            thrown_away: Vec::new(),
            writable: Vec::new(),
            work: None,
            copy_work: None,
            own_inodes: 0,
            kind: "empty",
            notes: Vec::new(),
        },
        dirs: BTreeSet::new(),
    };
    let work = builder.work_directory(spec)?;
    let mounts = resolve_mounts(spec, host, work.as_deref())?;
    builder.files.steps.push(Step::Root);
    builder.system(spec)?;
    builder.accounts(spec)?;
    builder.devices();
    builder.scratch(limits);
    builder.throw_away("/tmp", 0o1777)?;
    builder.throw_away("/dev/shm", 0o1777)?;
    builder.work(work, &mounts)?;
    builder.files.steps.push(Step::Proc { target: ours("proc") });
    for mount in mounts {
        builder.mount(mount)?;
    }
    let mut files = builder.files;
    let own = 1 + files
        .steps
        .iter()
        .map(|step| match step {
            Step::ScratchDir { .. } => 1,
            Step::Overlay { .. } => OVERLAY_INODES,
            _ => 0,
        })
        .sum::<u64>();
    files.own_inodes = own;
    if limits.scratch.1.is_some()
        && let Some(inodes) = files.steps.iter_mut().find_map(|step| match step {
            Step::Scratch { inodes, .. } => Some(inodes),
            _ => None,
        })
    {
        *inodes = inodes.saturating_add(own);
    }
    Ok(files)
}

/// A mount with both of its paths decided.
enum Resolved {
    Host { outside: PathBuf, inside: PathBuf, writable: bool },
    Tmpfs { inside: PathBuf, bytes: Option<u64> },
}

impl Resolved {
    fn inside(&self) -> &Path {
        match self {
            Resolved::Host { inside, .. } | Resolved::Tmpfs { inside, .. } => inside,
        }
    }
}

fn resolve_mounts(spec: &Spec, host: &Host, work: Option<&Path>) -> Result<Vec<Resolved>, Error> {
    let resolve = |pair: &PathPair, writable: bool| {
        let outside = absolute(&pair.outside, host.cwd.as_deref())?;
        // Where nothing of the work directory is shown, `--rw .` still means it, but an absolute path keeps its place.
        let base = if pair.outside.is_absolute() { work } else { work.or(host.cwd.as_deref()) };
        let inside = match (&pair.inside, base.and_then(|base| outside.strip_prefix(base).ok())) {
            (Some(inside), _) => inside.as_path().to_owned(),
            (None, Some(within)) if within.as_os_str().is_empty() => InsidePath::work().as_path().to_owned(),
            (None, Some(within)) => InsidePath::work().as_path().join(within),
            (None, None) => outside.clone(),
        };
        Ok(Resolved::Host { outside, inside, writable })
    };
    let mut resolved = Vec::new();
    for mount in spec.policy.mounts.iter().chain(&spec.mounts) {
        let one = match mount {
            Mount::ReadOnly(pair) => resolve(pair, false)?,
            Mount::ReadWrite(pair) => resolve(pair, true)?,
            Mount::Tmpfs { inside, size } => {
                Resolved::Tmpfs { inside: inside.as_path().to_owned(), bytes: size.map(|size| size.get()) }
            }
        };
        let place = one.inside();
        if ["/", "/proc", "/dev"].iter().any(|reserved| place == Path::new(reserved)) || place.starts_with("/proc") {
            return Err(Error::usage(format!("nothing can be shown at {}: the sandbox has its own", place.display())));
        }
        resolved.push(one);
    }
    Ok(resolved)
}

impl Builder<'_> {
    /// The host directory that `/box` shows.
    fn work_directory(&mut self, spec: &Spec) -> Result<Option<PathBuf>, Error> {
        match &spec.work {
            Work::Empty => Ok(None),
            Work::Dir(dir) => absolute(dir, self.host.cwd.as_deref()).map(Some),
            Work::Current => {
                let cwd = self.host.cwd.as_ref().ok_or_else(|| {
                    Error::sandbox("cannot show the current directory: it is gone")
                        .hint("change to a directory that exists, or use --dir none")
                })?;
                let is_home = self.host.home.as_ref().is_some_and(|home| home.starts_with(cwd));
                if cwd == Path::new("/") || is_home {
                    self.files.notes.push(format!(
                        "nothing of {} is shown inside, since it is {}: /box is empty (--dir . shows it)",
                        cwd.display(),
                        if is_home { "the home directory" } else { "the whole machine" }
                    ));
                    return Ok(None);
                }
                Ok(Some(cwd.clone()))
            }
        }
    }

    fn scratch(&mut self, limits: &LimitPlan) {
        let bytes = limits.scratch.0.map_or(0, whole_pages);
        // What is ours is added at the end, when it is known.
        self.files.steps.push(Step::Scratch { bytes, inodes: limits.scratch.1.unwrap_or(0) });
    }

    /// Makes the directories above and at `path` in the new root, once each.
    fn directory(&mut self, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().filter(|dir| dir.parent().is_some()).collect();
        above.reverse();
        for dir in above {
            if self.dirs.insert(dir.to_owned())
                && let Ok(path) = target(dir)
            {
                self.files.steps.push(Step::Dir { path, mode: 0o755 });
            }
        }
    }

    fn parent(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
    }

    fn bind(&mut self, source: Source, inside: &Path, attr: Attr, recursive: bool) -> Result<(), Error> {
        self.files.steps.push(Step::Bind { source, target: target(inside)?, attr, recursive });
        Ok(())
    }

    /// System directories, seen as the payload's own host id may see them: never id-mapped, so that what is root's alone in
    /// them stays so even for a caller who is root.
    fn system(&mut self, spec: &Spec) -> Result<(), Error> {
        for entry in &self.host.system {
            let resolver = entry.path == Path::new("/etc/resolv.conf");
            if resolver && spec.network != Network::Host {
                continue;
            }
            self.parent(&entry.path);
            match &entry.kind {
                SystemKind::Link(points_to) if !resolver => {
                    let (points_to, path) = (c_path(points_to)?, target(&entry.path)?);
                    self.files.steps.push(Step::Link { target: points_to, path });
                }
                SystemKind::Directory => {
                    self.dirs.insert(entry.path.clone());
                    let path = c_path(&entry.path)?;
                    self.files.steps.push(Step::Show { path, directory: true, attr: Attr::READ_ONLY });
                    self.show(&entry.path, &entry.path, false);
                }
                SystemKind::File | SystemKind::Link(_) => {
                    let path = c_path(&entry.path)?;
                    self.files.steps.push(Step::Show { path, directory: false, attr: Attr::READ_ONLY });
                }
            }
        }
        Ok(())
    }

    fn show(&mut self, outside: &Path, inside: &Path, writable: bool) {
        self.files.shown.push(Shown { outside: outside.to_owned(), inside: inside.to_owned(), writable });
    }

    /// Files of our own in `/etc`: the accounts inside, and how names are looked up.
    fn accounts(&mut self, spec: &Spec) -> Result<(), Error> {
        self.directory(Path::new("/etc"));
        let host = spec.hostname.as_str();
        let lookups = if spec.network == Network::Host { "hosts: files dns\n" } else { "hosts: files\n" };
        let files = [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nsandbox:x:1000:1000:sandbox:/tmp:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
                    .to_owned(),
            ),
            ("etc/group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n".to_owned()),
            ("etc/hosts", format!("127.0.0.1 localhost {host}\n::1 localhost {host}\n")),
            ("etc/nsswitch.conf", format!("passwd: files\ngroup: files\n{lookups}services: files\nprotocols: files\n")),
        ];
        for (path, content) in files {
            self.files.steps.push(Step::File { path: ours(path), content: content.into_bytes() });
        }
        Ok(())
    }

    fn devices(&mut self) {
        self.directory(Path::new("/dev"));
        for name in DEVICES {
            let path = ours(&format!("/dev/{name}"));
            self.files.steps.push(Step::Show { path, directory: false, attr: Attr::DEVICE });
        }
        for (path, points_to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            self.files.steps.push(Step::Link { target: ours(points_to), path: ours(&format!("dev/{path}")) });
        }
    }

    /// An empty directory of the scratch tmpfs at `inside`.
    fn throw_away(&mut self, inside: impl AsRef<Path>, mode: u32) -> Result<(), Error> {
        let inside = inside.as_ref();
        let directory = format!("t{}", self.files.thrown_away.len());
        let name = ours(&directory);
        self.files.thrown_away.push((inside.to_owned(), directory));
        self.files.steps.push(Step::ScratchDir { path: name.clone(), mode });
        let attr = Attr { read_only: self.no_disk, ..Attr::WRITABLE };
        self.bind(Source::Path(name), inside, attr, false)?;
        if !self.no_disk {
            self.files.writable.push(inside.to_owned());
        }
        Ok(())
    }

    /// A host path as a mount source: by path, or as a tree that the supervisor opens where the caller is root.
    fn source(&mut self, outside: &Path, recursive: bool) -> Result<Source, Error> {
        if !self.as_root {
            return c_path(outside).map(Source::Path);
        }
        if !self.host.idmapped_mounts.works() {
            return Err(Error::sandbox(format!(
                "cannot show {} inside: this kernel has no id-mapped mounts",
                outside.display()
            ))
            .hint("run as an ordinary user, or use --dir none and give the input on stdin"));
        }
        let slot = Slot(Slot::FIRST_HOST_TREE.0 + self.files.host_trees.len() as u8);
        if slot.0 as usize >= super::step::SLOTS {
            return Err(Error::usage("more than 32 host paths cannot be shown at once to a run started as root")
                .hint("show a directory above them instead"));
        }
        self.files.host_trees.push(HostTree { path: outside.to_owned(), slot, recursive });
        Ok(Source::Tree(slot))
    }

    fn work(&mut self, work: Option<PathBuf>, mounts: &[Resolved]) -> Result<(), Error> {
        let place = InsidePath::work();
        let place = place.as_path();
        self.files.work = work.clone();
        if let Some(cover) = mounts.iter().rfind(|mount| mount.inside() == place) {
            // Something of the caller's lies there: an overlay beneath it would only cost time.
            self.files.kind = match cover {
                Resolved::Host { writable: true, .. } => "shared",
                Resolved::Host { .. } => "read-only",
                Resolved::Tmpfs { .. } => "empty",
            };
            if let Resolved::Host { outside, .. } = cover {
                self.files.work = Some(outside.clone());
            }
            return Ok(());
        }
        let Some(outside) = work else {
            self.files.kind = "empty";
            return self.throw_away(place, 0o755);
        };
        self.show(&outside, place, false);
        if self.no_disk {
            self.files.kind = "read-only";
            let source = self.source(&outside, true)?;
            return self.bind(source, place, Attr::READ_ONLY, true);
        }
        if self.host.overlay.works() {
            self.files.kind = "overlay";
            for path in ["lower", "upper", "work"] {
                self.files.steps.push(Step::ScratchDir { path: ours(path), mode: 0o755 });
            }
            let source = self.source(&outside, false)?;
            self.files.steps.push(Step::Overlay { source, target: target(place)? });
            self.files.writable.push(place.to_owned());
            return Ok(());
        }
        self.files.kind = "copy";
        self.files.copy_work = Some(outside);
        self.throw_away(place, 0o755)
    }

    fn mount(&mut self, mount: Resolved) -> Result<(), Error> {
        match mount {
            Resolved::Host { outside, inside, writable } => {
                let source = self.source(&outside, true)?;
                self.bind(source, &inside, if writable { Attr::WRITABLE } else { Attr::READ_ONLY }, true)?;
                self.show(&outside, &inside, writable);
                if writable {
                    self.files.writable.push(inside);
                }
                Ok(())
            }
            Resolved::Tmpfs { inside, bytes: None } => self.throw_away(inside, 0o1777),
            Resolved::Tmpfs { inside, bytes: Some(bytes) } => {
                let bytes = whole_pages(bytes);
                self.files.steps.push(Step::Tmpfs { target: target(&inside)?, bytes, inodes: 0 });
                self.files.writable.push(inside);
                Ok(())
            }
        }
    }
}

/// Where a path inside lies on the host; `None` where it is not of the host.
pub(crate) fn outside_of(shown: &[Shown], inside: &Path) -> Option<PathBuf> {
    shown
        .iter()
        .filter_map(|one| inside.strip_prefix(&one.inside).ok().map(|rest| (one, rest)))
        .max_by_key(|(one, _)| one.inside.as_os_str().len())
        .map(
            |(one, rest)| if rest.as_os_str() == OsStr::new("") { one.outside.clone() } else { one.outside.join(rest) },
        )
}

/// Decides where each `--out` is found after the run, and where it goes.
pub(super) fn plan_out(spec: &Spec, host: &Host, files: &Files) -> Result<Vec<Out>, Error> {
    let box_ = InsidePath::work();
    let base = files.work.as_deref().or(host.cwd.as_deref());
    spec.collect
        .iter()
        .map(|collect| {
            let inside = InsidePath::new(&collect.from).map_err(|e| Error::usage(e.to_string()))?;
            let inside = inside.as_path();
            let place = files.thrown_away.iter().filter_map(|(place, dir)| {
                inside.strip_prefix(place).ok().map(|rest| (Slot::SCRATCH, Path::new(dir).join(rest), rest))
            });
            let within_box = inside.strip_prefix(box_.as_path()).ok();
            let found = place.chain(within_box.map(|rest| (Slot::BOX, rest.to_owned(), rest))).next();
            let Some((slot, path, rest)) = found.filter(|(_, _, rest)| !rest.as_os_str().is_empty()) else {
                return Err(Error::usage(format!(
                    "--out {} names no file that is left after a run",
                    collect.from.display()
                ))
                .hint("name a file under /box, /tmp or another throw-away directory"));
            };
            // In /box a file has a place outside; from elsewhere it goes by its name.
            let home = if within_box.is_some() { rest } else { Path::new(rest.file_name().unwrap_or_default()) };
            let to = match (&collect.to, base) {
                (Some(to), _) => absolute(to, host.cwd.as_deref())?,
                (None, Some(base)) => base.join(home),
                (None, None) => absolute(home, None)?,
            };
            Ok(Out { from: collect.from.clone(), slot, path: c_path(&path)?, to })
        })
        .collect()
}
