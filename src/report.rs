//! The truth about a run: how it ended, what it used, who enforced what. Versioned; never holds terminal text.

mod stream;

pub use stream::Captured;

use crate::error::Kind;
use crate::spec::Limit;
use serde::{Deserialize, Serialize};

/// The schema number of [`Report`]. A field added keeps it; a meaning changed raises it.
pub const SCHEMA: u32 = 1;

/// How a run ended. Unknown words of later versions are to be treated as `sandbox-failed`; those that mean a limit end in
/// `-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The program exited with code 0.
    Ok,
    /// The program exited with another code.
    NonzeroExit,
    /// A signal ended the program, and no limit explains it.
    Signaled,
    /// Ended at the CPU time limit.
    CpuTimeLimit,
    /// Ended at the wall time limit.
    WallTimeLimit,
    /// Ended at the memory limit.
    MemoryLimit,
    /// Ended for using no CPU for the idle time.
    IdleLimit,
    /// Ended for writing more than the output limit.
    OutputLimit,
    /// SIGXFSZ ended it: a file would have grown past the file size limit.
    FileSizeLimit,
    /// Ended for a system call that the policy kills.
    SyscallRefused,
    /// The compiler refused the program (`--lang`).
    CompileError,
    /// The command could not be executed.
    ExecFailed,
    /// The sandbox could not be made or kept.
    SandboxFailed,
    /// The caller ended it.
    Cancelled,
}

impl Status {
    /// The word in reports, such as `memory-limit`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::NonzeroExit => "nonzero-exit",
            Status::Signaled => "signaled",
            Status::CpuTimeLimit => "cpu-time-limit",
            Status::WallTimeLimit => "wall-time-limit",
            Status::MemoryLimit => "memory-limit",
            Status::IdleLimit => "idle-limit",
            Status::OutputLimit => "output-limit",
            Status::FileSizeLimit => "file-size-limit",
            Status::SyscallRefused => "syscall-refused",
            Status::CompileError => "compile-error",
            Status::ExecFailed => "exec-failed",
            Status::SandboxFailed => "sandbox-failed",
            Status::Cancelled => "cancelled",
        }
    }
}

/// The limit that ended the run, and the proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitHit {
    /// Which.
    pub name: Limit,
    /// What was allowed.
    pub value: u64,
    /// What was seen; null where the kernel ended it without a figure.
    pub measured: Option<u64>,
    /// `bytes`, `ns` or `count`.
    pub unit: String,
    /// Where the proof was read.
    pub evidence: String,
}

/// What the run used. A figure that could not be had is null, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// From the payload's exec to its end.
    pub wall_ns: Option<u64>,
    /// CPU time of the tree.
    pub cpu_ns: Option<u64>,
    /// Of it in user mode.
    pub user_ns: Option<u64>,
    /// Of it in the kernel.
    pub system_ns: Option<u64>,
    /// Peak memory: of the tree with cgroups or polling, of the largest process with `rusage`.
    pub memory_peak_bytes: Option<u64>,
    /// `cgroup2`, `cgroup1`, `polling` or `rusage`.
    pub memory_source: Option<String>,
    /// `cgroup2`, `cgroup1`, `perf`, `rusage` or `polling`.
    pub cpu_source: Option<String>,
    /// The most tasks at one time.
    pub processes_peak: Option<u64>,
    /// Voluntary context switches of what was reaped.
    pub voluntary_switches: Option<u64>,
    /// Involuntary ones.
    pub involuntary_switches: Option<u64>,
    /// Bytes in throw-away places at the end.
    pub disk_bytes: Option<u64>,
    /// Inodes in throw-away places at the end.
    #[serde(default)]
    pub disk_inodes: Option<u64>,
}

/// Limits that the program met and survived; null where this host cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// A fork was refused.
    pub processes: Option<bool>,
    /// A throw-away place was full.
    pub disk: Option<bool>,
    /// No inode was left.
    pub inodes: Option<bool>,
    /// A write past the file size was refused.
    pub file_size: Option<bool>,
    /// No descriptor was left.
    pub open_files: Option<bool>,
}

/// Who enforced a limit, and for how much of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// Which limit.
    pub limit: Limit,
    /// Bytes, nanoseconds, a count, or thousandths of a CPU; null for `unlimited` and for a CPU set.
    pub value: Option<u64>,
    /// Such as `cgroup2 memory.max`; null when nothing enforces it.
    pub mechanism: Option<String>,
    /// How far it reaches.
    pub scope: Scope,
    /// Whether the kernel itself refuses or kills at the limit for the whole tree, rather than our looking.
    pub kernel: bool,
    /// Why a weaker mechanism than the best, or what this one cannot see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// `caller` where the caller's own hard limit is lower than what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamped_by: Option<String>,
    /// True where a hostile program can hide part of its use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evadable: bool,
}

/// How far a mechanism reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All processes together.
    Tree,
    /// Each process by itself.
    Process,
    /// Each stream by itself.
    Stream,
    /// Nothing.
    None,
}

/// What isolation was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// `user`, `pid`, `mount`, `net`, `ipc`, `uts`, `cgroup`.
    pub namespaces: Vec<String>,
    /// `self`: the caller's own id; `fixed`: an unprivileged id because the caller is root.
    pub id_map: String,
    /// The Landlock level in force; null without Landlock.
    pub landlock_abi: Option<u32>,
    /// The system-call policy's name.
    pub policy: String,
    /// `own`, or `synthetic` where the kernel refuses a fresh one.
    pub proc: String,
    /// `none`, `blocked` or `host`.
    pub network: String,
    /// How `/box` is made: `overlay`, `copy`, `empty`, `shared` (`--rw .`) or `read-only`.
    #[serde(default)]
    pub work: String,
    /// Supplementary groups of the caller that keep their host rights inside.
    #[serde(default)]
    pub supplementary_groups: u32,
    /// What was not had, each a sentence.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// A system call that the policy refused or killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name, or `syscall_N`.
    pub syscall: String,
    /// The arguments of the first one, in hexadecimal.
    pub args: Vec<String>,
    /// How often.
    pub count: u64,
    /// True where later ones were no longer counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub count_at_least: bool,
}

/// Who ended the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KilledBy {
    /// We did.
    Sandbox,
    /// The kernel did, at a limit or for a refused call.
    Kernel,
    /// It did so itself, or another process inside did.
    Program,
}

/// How long our own work took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From the call to the payload's exec.
    pub setup_ns: u64,
    /// From the payload's end to the report.
    pub teardown_ns: u64,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// `uname -r`.
    pub kernel: String,
}

/// What was brought out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Inside.
    pub from: String,
    /// Outside.
    pub to: String,
    /// Its size; null where it was not brought out.
    pub bytes: Option<u64>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was in `/box` at the end and is thrown away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrownAway {
    /// New and changed files.
    pub files: u64,
    /// The first few names.
    pub names: Vec<String>,
}

/// The result of one run. See the schema file `tests/schema/report.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How it ended.
    pub status: Status,
    /// The program's exit code, where it exited.
    pub exit_code: Option<i32>,
    /// The signal, where one ended it.
    pub signal: Option<i32>,
    /// Its name.
    pub signal_name: Option<String>,
    /// The limit that ended it.
    pub limit: Option<LimitHit>,
    /// What was used.
    pub usage: Usage,
    /// What was met and survived.
    pub touched: Touched,
    /// Who enforced what.
    pub enforcement: Vec<Enforcement>,
    /// What isolation was reached.
    pub isolation: Isolation,
    /// Refused calls; null where the kernel could not tell us.
    pub refused: Option<Vec<Refused>>,
    /// All limits that had evidence.
    pub limits_hit: Vec<Limit>,
    /// Who ended it.
    pub killed_by: Option<KilledBy>,
    /// How many processes were still there when the main program ended.
    pub left_running: Option<u64>,
    /// Standard output, where captured.
    pub stdout: Option<Captured>,
    /// Standard error, where captured.
    pub stderr: Option<Captured>,
    /// What `--out` brought out.
    #[serde(default)]
    pub collected: Vec<Collected>,
    /// What was in `/box` and is gone; null where nothing could be, or nobody looked.
    #[serde(default)]
    pub thrown_away: Option<ThrownAway>,
    /// Our own time.
    pub timings: Timings,
    /// The command; words that are no UTF-8 are `{"base64"}`.
    pub command: Vec<serde_json::Value>,
    /// The machine.
    pub host: HostFacts,
    /// One plain sentence.
    pub message: String,
    /// What can be done about it, where something can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What kind of failure `exec-failed` or `sandbox-failed` is: `usage`, `sandbox`, `not-executable` or `not-found`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Kind>,
    /// `complete`, or `abandoned` where a process would not die within 5 s.
    #[serde(default)]
    pub teardown: String,
    /// What the caller should know and no field says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `SIGKILL` for 9; `signal 99` for what has no name.
pub fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) if (34..=64).contains(&signal) => format!("SIGRTMIN+{}", signal - 34),
        Err(_) => format!("signal {signal}"),
    }
}
