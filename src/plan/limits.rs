//! One limit, one function: which mechanism enforces it here, and what the report will say. Every fallback is here.

use crate::error::Error;
use crate::host::Host;
use crate::report::Enforcement;
use crate::spec::Spec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything about limits that a plan needs.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitPlan {
    /// One row per limit, in the order of [`crate::spec::Limit::ALL`].
    pub enforcements: Vec<Enforcement>,
    /// The cgroups to make.
    pub cgroup: CgroupPlan,
    /// `RLIMIT_*`, soft, hard; in the order in which they are set (open files last).
    pub rlimits: Vec<(u32, u64, u64)>,
    /// The scratch tmpfs: bytes and inodes, `None` for no limit.
    pub scratch: (Option<u64>, Option<u64>),
    /// The affinity mask, lowest CPUs first; `None` to leave it.
    pub affinity: Option<Vec<u64>>,
    /// What the supervisor watches.
    pub watch: Watch,
    /// Whether memfd_create must be refused, because the mechanism cannot see such memory.
    pub refuse_memfd: bool,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// The cgroup directories of a run and what is written into them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// On the v2 hierarchy: the parent directory, and (file, value) to write.
    pub v2: Option<CgroupDir>,
    /// On v1 hierarchies, one per controller.
    pub v1: Vec<CgroupDir>,
}

/// One directory to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDir {
    /// `memory`, `pids`, …; empty on v2.
    pub controller: String,
    /// An existing directory, or one of ours that is made first.
    pub parent: PathBuf,
    /// Files and values, in order, written right after mkdir.
    pub settings: Vec<(String, String)>,
    /// Files and values written when the payload is ready to exec.
    pub armed: Vec<(String, String)>,
}

/// What the supervisor itself looks at, in nanoseconds and bytes; `None` where there is nothing to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// CPU time of the tree.
    pub cpu_ns: Option<u64>,
    /// Wall time.
    pub wall_ns: Option<u64>,
    /// Time without CPU use.
    pub idle_ns: Option<u64>,
    /// Bytes on stdout and on stderr, each.
    pub output_bytes: Option<u64>,
    /// Memory, where our own looking enforces it.
    pub poll_memory_bytes: Option<u64>,
    /// The memory limit whatever enforces it, for the report.
    pub memory_bytes: Option<u64>,
    /// Whether CPU time is had by looking at processes, for want of a cgroup's account.
    pub poll_cpu: bool,
    /// CPUs that the payload could use at once.
    pub cpus: u32,
}

/// Decides every limit.
///
/// # Errors
/// A limit that the caller named and that nothing here can enforce; a weaker mechanism where kernel limits are required.
pub fn plan_limits(spec: &Spec, host: &Host) -> Result<LimitPlan, Error> {
    let _ = (spec, host);
    Err(Error::sandbox("cannot plan limits yet"))
}
