//! The steps between clone and exec: one kernel action each, operands ready for the kernel. No text that is not a path or a
//! word of the command, no condition, no open descriptor: descriptors are named by slot, and launch fills the slots.

use serde::{Deserialize, Serialize};
use std::ffi::CString;

/// A place in the child's descriptor table. Launch fills the first ones; steps fill and use the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u8);

/// How many slots there are.
pub const SLOTS: usize = 48;

impl Slot {
    /// The child's end of the record socket.
    pub const SOCKET: Slot = Slot(0);
    /// What becomes descriptor 0.
    pub const STDIN: Slot = Slot(1);
    /// What becomes descriptor 1.
    pub const STDOUT: Slot = Slot(2);
    /// What becomes descriptor 2.
    pub const STDERR: Slot = Slot(3);
    /// The throw-away tmpfs.
    pub const SCRATCH: Slot = Slot(4);
    /// The new root.
    pub const ROOT: Slot = Slot(5);
    /// The work directory, finished.
    pub const BOX: Slot = Slot(6);
    /// A /proc for the supervisor's own looking: it hides nothing.
    pub const WATCH: Slot = Slot(7);
    /// The user namespace.
    pub const USER_NS: Slot = Slot(8);
    /// A tree under construction.
    pub const TREE: Slot = Slot(9);
    /// The overlay's upper directory.
    pub const UPPER: Slot = Slot(10);
    /// The first of the trees that the supervisor opens (a caller who is root): one per [`super::HostTree`].
    pub const FIRST_HOST_TREE: Slot = Slot(16);
}

/// One classic BPF instruction, as the kernel has it (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Insn {
    /// The operation.
    pub code: u16,
    /// Instructions to skip where the test is true.
    pub jt: u8,
    /// Where it is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The flag with which the launcher loads the main program: SECCOMP_FILTER_FLAG_SPEC_ALLOW, which means nothing since
/// Linux 5.16 and by which the listener tells the launcher's own seccomp(2) from the payload's.
pub const MAIN_FLAGS: u32 = 4;

/// Where a bind's tree comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A path: absolute on the host, or relative to the current directory, which is the scratch tmpfs.
    Path(CString),
    /// A detached tree that the supervisor opened.
    Tree(Slot),
}

/// What a mount permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// No writes.
    pub read_only: bool,
    /// Device nodes work.
    pub devices: bool,
    /// Programs may be executed.
    pub exec: bool,
}

impl Attr {
    /// A system directory.
    pub const READ_ONLY: Attr = Attr { read_only: true, devices: false, exec: true };
    /// A writable directory.
    pub const WRITABLE: Attr = Attr { read_only: false, devices: false, exec: true };
    /// A device node.
    pub const DEVICE: Attr = Attr { read_only: false, devices: true, exec: false };
}

/// A Landlock rule: what is allowed beneath a path of the finished root, or on an open descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRule {
    /// Where.
    pub beneath: Beneath,
    /// `LANDLOCK_ACCESS_FS_*` bits; those that the level lacks are masked by the plan.
    pub access: u64,
}

/// What a Landlock rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Beneath {
    /// A path inside. A missing one is no error: there is nothing to allow.
    Path(CString),
    /// A descriptor, where it is a regular file; anything else needs no rule.
    Descriptor(i32),
}

/// One kernel action. Paths inside are relative to the new root and start without a slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    // Room.
    /// Become this id in the user namespace and drop all supplementary groups (a caller who is root).
    BecomeId {
        /// Inside.
        uid: u32,
        /// Inside.
        gid: u32,
    },
    /// SIGKILL when the launching thread ends.
    DieWithParent,
    /// A cgroup namespace, made after the cgroup was joined.
    CgroupNamespace,
    /// Starts to make a network namespace, in a helper process: it takes longer than the mounts that follow.
    NetNamespace,
    /// Enters it.
    EnterNetNamespace,
    /// A tmpfs of `bytes` (whole pages) and `inodes`, 0 for no limit, attached over `/` and made the current directory.
    Scratch {
        /// Its size.
        bytes: u64,
        /// Its inodes.
        inodes: u64,
    },
    /// A directory in the scratch tmpfs.
    ScratchDir {
        /// Relative.
        path: CString,
        /// Permission bits.
        mode: u32,
    },
    /// The tmpfs of the new root, attached over `/` and made the current directory.
    Root,
    /// A directory in the new root.
    Dir {
        /// Where.
        path: CString,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link in the new root.
    Link {
        /// What it says.
        target: CString,
        /// Where.
        path: CString,
    },
    /// A small file of our own in the new root, mode 0444.
    File {
        /// Where.
        path: CString,
        /// All of it.
        content: Vec<u8>,
    },
    /// Show a host path at the same path inside, where nothing is yet and only directories of our own lead. The current
    /// directory is the new root.
    Show {
        /// On the host: absolute. The place inside is the same.
        path: CString,
        /// A directory, with the mounts beneath it; else a file.
        directory: bool,
        /// How.
        attr: Attr,
    },
    /// Show `source` at `target`; the mount point is made if it is missing, and no symbolic link is followed to it.
    Bind {
        /// What.
        source: Source,
        /// Where.
        target: CString,
        /// How.
        attr: Attr,
        /// With the mounts beneath it.
        recursive: bool,
    },
    /// A tmpfs of its own at `target`.
    Tmpfs {
        /// Where.
        target: CString,
        /// Its size.
        bytes: u64,
        /// Its inodes.
        inodes: u64,
    },
    /// The overlay at `target`: `lower`, `upper` and `work` of the scratch tmpfs. `lower` is `source`, bound there first.
    Overlay {
        /// The lower directory.
        source: Source,
        /// Where.
        target: CString,
    },
    /// A fresh /proc at `target`.
    Proc {
        /// Where.
        target: CString,
    },
    /// The loopback interface goes up.
    LoopbackUp,
    /// The host name.
    Hostname(CString),
    /// The new root's own mount becomes read-only.
    SealRoot,
    /// pivot_root to the new root; the old one is detached, and the scratch tmpfs with it.
    Pivot,
    /// Opens a directory of the scratch tmpfs into a slot.
    Open {
        /// Which.
        path: CString,
        /// Whereto.
        slot: Slot,
    },
    /// Opens a directory of the finished root into a slot.
    OpenInside {
        /// Which.
        path: CString,
        /// Whereto.
        slot: Slot,
    },
    /// Makes a second, unattached /proc for the supervisor: one that hides no process from it, into [`Slot::WATCH`].
    WatchProc,
    /// Opens our own user namespace into [`Slot::USER_NS`]; before the pivot, while the host's /proc is there.
    OpenUserNamespace,
    /// Hands the slots to the supervisor, in this order, with `Record::Room`.
    Hand(Vec<Slot>),
    /// Waits for one byte from the supervisor (which copies files into the room meanwhile).
    Await,
    /// Makes init non-dumpable, for good.
    NotDumpable,

    // Payload.
    /// Descriptors 0, 1 and 2.
    Stdio,
    /// A new session; no controlling terminal.
    Session,
    /// Default signal actions, nothing blocked, nice 0 where that is possible, umask 022.
    Defaults,
    /// The CPUs in this mask, lowest first.
    Affinity(Vec<u64>),
    /// The working directory.
    ChangeDir(CString),
    /// All five capability sets empty, securebits locked.
    DropCapabilities,
    /// No privilege by exec.
    NoNewPrivileges,
    /// Landlock.
    Landlock {
        /// `LANDLOCK_ACCESS_FS_*` handled.
        access_fs: u64,
        /// `LANDLOCK_ACCESS_NET_*` handled (all refused).
        access_net: u64,
        /// `LANDLOCK_SCOPE_*`.
        scoped: u64,
        /// What is allowed.
        rules: Vec<PathRule>,
    },
    /// The first filter; its listener goes to the supervisor.
    Listener(Vec<Insn>),
    /// Every descriptor above 2 is closed by exec.
    CloseOnExec,
    /// A resource limit.
    Rlimit {
        /// `RLIMIT_*`
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Tells the supervisor and waits: it arms limits and starts clocks.
    Ready,
    /// The main filter.
    Filter(Vec<Insn>),
    /// Stands for a step that the kernel refuses with this errno: how tests learn what a failure at each step leaves behind.
    Fault {
        /// The step that is not done.
        step: Box<Step>,
        /// The answer.
        errno: i32,
    },
    /// execve of the first candidate that is there.
    Exec {
        /// Paths inside, tried in order.
        candidates: Vec<CString>,
        /// The arguments.
        argv: Vec<CString>,
        /// The environment.
        envp: Vec<CString>,
    },
}
