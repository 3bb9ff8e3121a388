//! One limit, one function: which mechanism enforces it here, and what the report will say. Every fallback is here.

mod process;
mod tree;
mod watched;

#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::host::Host;
use crate::report::{Enforcement, Scope};
use crate::spec::{Limit, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything about limits that a plan needs.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// On the v2 hierarchy.
    pub v2: Option<CgroupDir>,
    /// On v1 hierarchies, one per hierarchy.
    pub v1: Vec<CgroupDir>,
}

/// One directory to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDir {
    /// Controllers that it needs. On v2 they are enabled in the parents if they are not yet.
    pub controllers: Vec<String>,
    /// An existing directory, or one of ours (`…/sandbox`) that is made first.
    pub parent: PathBuf,
    /// Files and values, in order, written right after mkdir.
    pub settings: Vec<(String, String)>,
    /// Files and bytes, in order, written when the payload is ready to exec. What the set-up has charged by then is
    /// added, so that it is not billed to the payload.
    pub armed: Vec<(String, u64)>,
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
    let mut draft = Draft::new(spec, host);
    for limit in Limit::ALL {
        let row = match limit {
            Limit::Memory => tree::memory(&mut draft)?,
            Limit::CpuTime => tree::cpu_time(&mut draft)?,
            Limit::WallTime => watched::wall_time(&mut draft),
            Limit::IdleTime => watched::idle_time(&mut draft),
            Limit::Processes => tree::processes(&mut draft)?,
            Limit::Output => watched::output(&mut draft),
            Limit::FileSize => process::file_size(&mut draft),
            Limit::Disk => watched::disk(&mut draft),
            Limit::Inodes => watched::inodes(&mut draft),
            Limit::OpenFiles => process::open_files(&mut draft),
            Limit::Stack => process::stack(&mut draft),
            Limit::Core => process::core(&mut draft),
            Limit::Cpus => tree::cpus(&mut draft)?,
            Limit::CpuSet => tree::cpu_set(&mut draft)?,
        };
        draft.plan.enforcements.push(row);
    }
    process::surroundings(&mut draft);
    watched::notes(&mut draft);
    let mut plan = draft.plan;
    // With few descriptors left to open, what comes after it could fail.
    plan.rlimits.sort_by_key(|&(resource, ..)| resource == process::NOFILE);
    Ok(plan)
}

/// A plan in the making.
struct Draft<'a> {
    spec: &'a Spec,
    host: &'a Host,
    plan: LimitPlan,
}

impl<'a> Draft<'a> {
    fn new(spec: &'a Spec, host: &'a Host) -> Draft<'a> {
        let mut plan = LimitPlan::default();
        // Even without a controller, a v2 directory gives CPU time, kill, freeze and a birth inside it.
        if let Some(v2) = &host.cgroup.v2 {
            plan.cgroup.v2 = Some(CgroupDir { parent: v2.parent.clone(), ..CgroupDir::default() });
        }
        Draft { spec, host, plan }
    }

    /// The v2 directory, which will have this controller; `None` where it cannot.
    fn v2(&mut self, controller: &str) -> Option<&mut CgroupDir> {
        if !self.host.cgroup.on_v2(controller) {
            return None;
        }
        let dir = self.plan.cgroup.v2.as_mut()?;
        dir.need(controller);
        Some(dir)
    }

    /// The directory on the v1 hierarchy of this controller; `None` where none can be made.
    fn v1(&mut self, controller: &str) -> Option<&mut CgroupDir> {
        let parent = self.host.cgroup.v1.get(controller)?;
        let dirs = &mut self.plan.cgroup.v1;
        let index = dirs.iter().position(|dir| dir.parent == *parent).unwrap_or_else(|| {
            dirs.push(CgroupDir { parent: parent.clone(), ..CgroupDir::default() });
            dirs.len() - 1
        });
        let dir = dirs.get_mut(index)?;
        dir.need(controller);
        Some(dir)
    }

    /// The caller's own hard limit, where it is finite.
    fn hard(&self, resource: u32) -> Option<u64> {
        self.host.hard_rlimits.iter().find(|(known, _)| *known == resource).map(|&(_, hard)| hard)
    }

    /// Sets soft and hard of `resource` to `wanted`, or as far up as the caller's hard limit allows. Gives what is set,
    /// `None` for infinity.
    fn rlimit(&mut self, resource: u32, wanted: Option<u64>) -> Option<u64> {
        let set = [wanted, self.hard(resource)].into_iter().flatten().min();
        let value = set.unwrap_or(libc::RLIM_INFINITY);
        self.plan.rlimits.push((resource, value, value));
        set
    }

    /// Why the kernel does not enforce it by a cgroup here.
    fn why_weak(&self) -> String {
        self.host.cgroup.why_weak.clone().unwrap_or_else(|| "the controller is not to be had here".to_owned())
    }

    /// The refusal of what cannot be enforced as it must be.
    fn refusal(&self, doing: String) -> Error {
        let error = Error::sandbox(doing).because(self.why_weak());
        match &self.host.cgroup.fix {
            Some(fix) => error.hint(fix.clone()),
            None => error,
        }
    }

    /// Passes a row of one of the three limits that `--require kernel-limits` is about, unless it is too weak.
    fn required(&self, row: Enforcement, asked: &dyn std::fmt::Display) -> Result<Enforcement, Error> {
        if self.spec.require_kernel_limits && row.value.is_some() && !row.kernel {
            let flag = row.limit.flag();
            let means = row.mechanism.as_deref().unwrap_or("nothing");
            return Err(self.refusal(format!(
                "cannot enforce {flag} {asked} by the kernel, as required: here only {means} would"
            )));
        }
        Ok(row)
    }
}

impl CgroupDir {
    fn need(&mut self, controller: &str) {
        if !self.controllers.iter().any(|has| has == controller) {
            self.controllers.push(controller.to_owned());
        }
    }

    fn set(&mut self, file: &str, value: impl ToString) {
        self.settings.push((file.to_owned(), value.to_string()));
    }
}

/// A limit that nothing enforces: it is lifted, or it cannot be had.
fn nothing(limit: Limit, value: Option<u64>) -> Enforcement {
    Enforcement {
        limit,
        value,
        mechanism: None,
        scope: Scope::None,
        kernel: false,
        note: None,
        clamped_by: None,
        evadable: false,
    }
}

/// A limit that the kernel enforces by this mechanism.
fn by_kernel(limit: Limit, value: u64, mechanism: &str, scope: Scope) -> Enforcement {
    Enforcement { mechanism: Some(mechanism.to_owned()), scope, kernel: true, ..nothing(limit, Some(value)) }
}

/// A limit that we enforce by this mechanism.
fn by_us(limit: Limit, value: u64, mechanism: &str, scope: Scope) -> Enforcement {
    Enforcement { kernel: false, ..by_kernel(limit, value, mechanism, scope) }
}
