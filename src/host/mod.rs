//! What this machine let us do when we tried it. Facts only: no decision, no wish, no version number taken as proof.

pub mod cgroup;
mod place;
mod probe;
mod refusal;
mod remedy;
mod trial;

pub use cgroup::CgroupFacts;
pub use place::{Place, PlaceKind, Traces};
pub use probe::Refusal;
pub use refusal::{Diagnosis, Stage, diagnose, diagnose_weak_limits, explain_refusal};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The facts that a plan hangs on. `sandbox check --json` prints them; [`crate::plan`] takes those of any machine.
///
/// A fact is "works", or the reason why not; where `run` has not looked (because the launch itself is the proof), it says
/// "works", and a launch that fails teaches it otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// `uname -r`, for words and reports only.
    pub kernel: String,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// The caller's effective uid.
    pub uid: u32,
    /// The caller's effective gid.
    pub gid: u32,
    /// How many supplementary groups the caller has besides its gid.
    pub supplementary_groups: u32,
    /// The current directory; `None` where it is gone.
    pub cwd: Option<PathBuf>,
    /// The home directory, as `$HOME` says.
    pub home: Option<PathBuf>,
    /// CPUs that the caller may use.
    pub cpus: u32,
    /// RAM in bytes.
    pub ram: u64,
    /// User namespaces.
    pub user_namespaces: Fact,
    /// The Landlock level; 0 without Landlock.
    pub landlock_abi: u32,
    /// Overlay mounts that behave, in a user namespace.
    pub overlay: Fact,
    /// A fresh /proc in a new PID namespace.
    pub fresh_proc: Fact,
    /// Seccomp user notification.
    pub seccomp_notify: Fact,
    /// Id-mapped mounts, which a caller who is root needs.
    pub idmapped_mounts: Fact,
    /// An inherited perf task clock may be opened.
    pub perf_clock: Fact,
    /// Which cgroups can be had, and with which controllers.
    pub cgroup: CgroupFacts,
    /// The caller's hard limits, by `RLIMIT_*` number, where they are finite.
    pub hard_rlimits: Vec<(u32, u64)>,
    /// What of the system directories there is, in the order of `SYSTEM`.
    pub system: Vec<SystemEntry>,
}

/// Whether something worked when we tried it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// It did, or it was not tried and nothing speaks against it.
    Works,
    /// It did not.
    Refused {
        /// The errno, 0 where no call failed.
        errno: i32,
        /// What was tried, and the cause as far as it is known.
        why: String,
    },
}

impl Fact {
    /// Whether it worked.
    pub fn works(&self) -> bool {
        matches!(self, Fact::Works)
    }
}

/// A path of the system that is shown inside as it is outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemEntry {
    /// Absolute.
    pub path: PathBuf,
    /// What it is.
    pub kind: SystemKind,
}

/// What a system path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link to this.
    Link(PathBuf),
}

/// The system paths that are shown by default: programs and libraries, and of `/etc` what loaders, runtimes, certificates
/// and the time zone need, nothing that names users or holds secrets.
pub const SYSTEM: [&str; 41] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/crypto-policies",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
    "/etc/java",
    "/etc/php",
    "/etc/mono",
    "/etc/python3",
    "/etc/python3.11",
    "/etc/python3.13",
    "/etc/perl",
    "/etc/lua",
    "/etc/erlang",
    "/etc/R",
    "/etc/octave.conf",
    "/etc/ghc",
    "/etc/fpc.cfg",
    "/etc/mime.types",
    "/etc/resolv.conf",
    "/etc/terminfo",
];
