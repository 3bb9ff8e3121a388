//! The cgroups of one run: directories on one or more hierarchies that are used as one. On a hybrid host v2 gives CPU time,
//! kill and freeze beside the limits of v1. Everything goes by descriptor: no path is walked again while the run lives.

mod dir;
mod figures;
mod leaf;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub(crate) use leaf::move_to_leaf;

use crate::error::Error;
use crate::plan::limits::CgroupPlan;
use nix::poll::PollFlags;
use std::os::fd::BorrowedFd;

/// Init is a task inside, and no process of the payload's.
const INIT: u64 = 1;

/// Owns the directories. Dropping it kills what is inside (where v2 can) and removes them.
#[derive(Debug)]
pub(crate) struct Cgroup {
    v2: Option<v2::Group>,
    v1: Vec<v1::Group>,
}

/// What was used since [`Cgroup::arm`]; `None` for what could not be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupUsage {
    pub(crate) cpu_ns: Option<u64>,
    pub(crate) user_ns: Option<u64>,
    pub(crate) system_ns: Option<u64>,
    /// `cgroup2` or `cgroup1`, where there is a figure.
    pub(crate) cpu_source: Option<&'static str>,
    pub(crate) memory_peak: Option<u64>,
    pub(crate) memory_source: Option<&'static str>,
    /// The most tasks at one time, init not counted.
    pub(crate) processes_peak: Option<u64>,
}

/// What the kernel says of limits that were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The proof of an out-of-memory kill in the tree.
    pub(crate) memory: Option<String>,
    /// Whether a fork was refused; `None` where nothing tells.
    pub(crate) processes: Option<bool>,
}

impl Cgroup {
    /// Makes the directories and their settings. What was made is removed again on failure.
    ///
    /// # Errors
    /// A directory that cannot be made, or a setting that the kernel refuses.
    pub(crate) fn create(plan: &CgroupPlan) -> Result<Cgroup, Error> {
        let v2 = plan.v2.as_ref().map(v2::Group::make).transpose()?;
        let v1 = plan.v1.iter().map(v1::Group::make).collect::<Result<_, _>>()?;
        Ok(Cgroup { v2, v1 })
    }

    /// The directory that init can be born in.
    pub(crate) fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(v2::Group::fd)
    }

    /// Moves init into the v1 directories. Before it may fork, and before it makes a cgroup namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn attach(&self, pid: libc::pid_t) -> Result<(), Error> {
        self.v1.iter().try_for_each(|group| group.attach(pid))
    }

    /// Moves init into the v2 directory, where it could not be born in it (an outer filter hides clone3).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn attach_late(&self, pid: libc::pid_t) -> Result<(), Error> {
        self.v2.as_ref().map_or(Ok(()), |group| group.attach(pid))
    }

    /// The payload is ready to exec: limits that set-up must not meet come into force, and clocks start at 0.
    ///
    /// # Errors
    /// A limit that the kernel refuses.
    pub(crate) fn arm(&mut self) -> Result<(), Error> {
        self.v1.iter_mut().try_for_each(v1::Group::arm)?;
        self.v2.as_mut().map_or(Ok(()), v2::Group::arm)
    }

    /// What to poll: when one is ready, look at [`Cgroup::out_of_memory`].
    pub(crate) fn event_fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let v2 = self.v2.iter().filter_map(|group| Some((group.events()?, PollFlags::POLLPRI)));
        v2.chain(self.v1.iter().filter_map(|group| Some((group.events()?, PollFlags::POLLIN))))
    }

    /// The proof that memory ran out in the tree. Cheap: one or two reads of open files.
    pub(crate) fn out_of_memory(&self) -> Option<String> {
        self.v2.iter().find_map(v2::Group::killed).or_else(|| self.v1.iter().find_map(v1::Group::killed))
    }

    /// What the kernel says of limits that were met, so far.
    pub(crate) fn evidence(&self) -> Evidence {
        let refused = self.v2.iter().find_map(v2::Group::forks_refused);
        Evidence {
            memory: self.out_of_memory(),
            processes: refused.or_else(|| self.v1.iter().find_map(v1::Group::forks_refused)),
        }
    }

    /// CPU time of the tree since [`Cgroup::arm`], in nanoseconds: one read of an open file.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        let v2 = self.v2.iter().find_map(v2::Group::cpu_used).map(|times| times.total);
        v2.or_else(|| self.v1.iter().find_map(v1::Group::cpu_total))
    }

    /// What was used so far; best after the last process is reaped.
    pub(crate) fn usage(&self) -> CgroupUsage {
        let sourced = |source| move |figure| (figure, source);
        let cpu2 = self.v2.iter().find_map(v2::Group::cpu_used).map(sourced("cgroup2"));
        let cpu = cpu2.or_else(|| self.v1.iter().find_map(v1::Group::cpu_used).map(sourced("cgroup1")));
        let memory2 = self.v2.iter().find_map(v2::Group::memory_peak).map(|peak| (peak, "cgroup2"));
        let memory = memory2.or_else(|| Some((self.v1.iter().find_map(v1::Group::memory_peak)?, "cgroup1")));
        let tasks = self.v2.iter().find_map(v2::Group::tasks_peak);
        let tasks = tasks.or_else(|| self.v1.iter().find_map(v1::Group::tasks_peak));
        CgroupUsage {
            cpu_ns: cpu.map(|(times, _)| times.total),
            user_ns: cpu.map(|(times, _)| times.user),
            system_ns: cpu.map(|(times, _)| times.system),
            cpu_source: cpu.map(|(_, source)| source),
            memory_peak: memory.map(|(peak, _)| peak),
            memory_source: memory.map(|(_, source)| source),
            processes_peak: tasks.map(|tasks| tasks.saturating_sub(INIT)),
        }
    }

    /// Kills everything inside at once. False on v1, which cannot: the caller kills init then.
    pub(crate) fn kill(&self) -> bool {
        self.v2.as_ref().is_some_and(v2::Group::kill)
    }

    /// Stops or continues everything inside. False where that cannot be had.
    pub(crate) fn freeze(&self, on: bool) -> bool {
        self.v2.as_ref().is_some_and(|group| group.freeze(on))
    }

    /// Removes the directories; all processes were reaped. What cannot be removed, and what killed launchers left beside
    /// it, is swept: now or by a later run.
    pub(crate) fn remove(mut self) {
        self.v2.take().iter_mut().for_each(v2::Group::remove);
        self.v1.iter_mut().for_each(v1::Group::remove);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
    }
}
