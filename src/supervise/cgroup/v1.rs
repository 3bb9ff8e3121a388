//! A run's directory on one v1 hierarchy: memory, tasks, CPU time, or what else is mounted with them.

use super::dir::{Dir, read_in, reread, write_in};
use super::figures::{CpuTimes, keyed, number, used_by_setup};
use crate::error::Error;
use crate::plan::limits::CgroupDir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

const MEMSW_LIMIT: &str = "memory.memsw.limit_in_bytes";
const PEAK: &str = "memory.max_usage_in_bytes";
const MEMSW_PEAK: &str = "memory.memsw.max_usage_in_bytes";
/// Where memory runs out, the peak may stop this far below the limit: what was asked for had several pages.
const SLACK: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Group {
    dir: Dir,
    armed: Vec<(String, u64)>,
    memory: Option<Memory>,
    has_pids: bool,
    cpu: Option<File>,
    cpu_before: CpuTimes,
}

/// The memory controller's part.
#[derive(Debug)]
struct Memory {
    /// The kernel's notice that memory ran out.
    notice: EventFd,
    control: File,
    peak: Option<File>,
    /// What set-up used by `arm`.
    before: u64,
    /// The limit in force.
    limit: Option<u64>,
    ran_out: AtomicBool,
}

impl Group {
    pub(super) fn make(plan: &CgroupDir) -> Result<Group, Error> {
        let dir = Dir::make(&plan.parent)?;
        let has = |name: &str| plan.controllers.iter().any(|controller| controller == name);
        if has("cpuset") {
            inherit_cpuset(&dir).map_err(|errno| {
                Error::sandbox("cannot pass CPUs and memory nodes on to a new cgroup").because(errno)
            })?;
        }
        for (file, value) in &plan.settings {
            dir.write(file, value).map_err(|errno| match file.as_str() {
                "cpuset.cpus" => {
                    let given = read_in(dir.parent(), "cpuset.effective_cpus").unwrap_or_default();
                    Error::sandbox(format!("cannot run on the CPUs {value}: this machine lets us use {}", given.trim()))
                }
                _ => dir.cannot_set(file, value, errno),
            })?;
        }
        let memory = if has("memory") {
            let watched = watch_memory(&dir);
            Some(watched.map_err(|errno| Error::sandbox("cannot watch the memory of a new cgroup").because(errno))?)
        } else {
            None
        };
        let cpu = if has("cpuacct") { dir.open("cpuacct.usage", OFlag::O_RDONLY).ok() } else { None };
        let has_pids = has("pids");
        Ok(Group { armed: plan.armed.clone(), memory, has_pids, cpu, cpu_before: CpuTimes::default(), dir })
    }

    /// Moves a task in. Only `tasks`: a write to `cgroup.procs` waits for a grace period (14 ms at times).
    pub(super) fn attach(&self, pid: libc::pid_t) -> Result<(), Error> {
        let pid = pid.to_string();
        self.dir.write("tasks", &pid).map_err(|errno| self.dir.cannot_set("tasks", &pid, errno))
    }

    pub(super) fn arm(&mut self) -> Result<(), Error> {
        if let Some(memory) = &mut self.memory {
            let charged = self.dir.read("memory.usage_in_bytes").ok().and_then(|text| number(&text));
            memory.before = used_by_setup(charged, self.armed.first().map(|&(_, bytes)| bytes));
            let mut peak = PEAK;
            for (file, bytes) in &self.armed {
                let bytes = bytes.saturating_add(memory.before).min(i64::MAX as u64);
                match self.dir.write(file, &bytes.to_string()) {
                    Ok(()) => memory.limit = Some(bytes),
                    // A kernel that does not account for swap.
                    Err(Errno::ENOENT | Errno::EOPNOTSUPP) if file == MEMSW_LIMIT => {
                        let _ = self.dir.write("memory.swappiness", "0");
                        continue;
                    }
                    Err(errno) => return Err(self.dir.cannot_set(file, &bytes.to_string(), errno)),
                }
                if file == MEMSW_LIMIT {
                    peak = MEMSW_PEAK;
                }
            }
            // Any write sets the peak back to what is used now.
            let _ = self.dir.write(peak, "0");
            memory.peak = self.dir.open(peak, OFlag::O_RDONLY).ok();
        }
        self.cpu_before = self.cpu_times().unwrap_or_default();
        Ok(())
    }

    pub(super) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(|memory| memory.notice.as_fd())
    }

    /// The proof of an out-of-memory kill, or that one is about to be.
    pub(super) fn killed(&self) -> Option<String> {
        self.memory.as_ref()?.killed()
    }

    fn cpu_times(&self) -> Option<CpuTimes> {
        let total = reread(self.cpu.as_ref()?, number)??;
        let part = |file| self.dir.read(file).ok().and_then(|text| number(&text)).unwrap_or(0);
        Some(CpuTimes { total, user: part("cpuacct.usage_user"), system: part("cpuacct.usage_sys") })
    }

    pub(super) fn cpu_used(&self) -> Option<CpuTimes> {
        self.cpu_times().map(|times| times.since(self.cpu_before).consistent())
    }

    /// The total alone, for timers.
    pub(super) fn cpu_total(&self) -> Option<u64> {
        let total = reread(self.cpu.as_ref()?, number)??;
        Some(total.saturating_sub(self.cpu_before.total))
    }

    pub(super) fn memory_peak(&self) -> Option<u64> {
        let memory = self.memory.as_ref()?;
        memory.peak().map(|peak| peak.saturating_sub(memory.before))
    }

    pub(super) fn tasks_peak(&self) -> Option<u64> {
        self.has_pids.then(|| self.dir.read("pids.peak").ok().and_then(|text| number(&text)))?
    }

    pub(super) fn forks_refused(&self) -> Option<bool> {
        self.has_pids
            .then(|| self.dir.read("pids.events").ok().and_then(|text| keyed(&text, "max")))?
            .map(|max| max > 0)
    }

    pub(super) fn remove(&mut self) {
        self.dir.remove();
        self.dir.sweep();
    }
}

impl Memory {
    fn peak(&self) -> Option<u64> {
        reread(self.peak.as_ref()?, number)?
    }

    fn killed(&self) -> Option<String> {
        let noticed = self.notice.read().is_ok() || self.ran_out.load(Ordering::Relaxed);
        if let Some(kills @ 1..) = reread(&self.control, |text| keyed(text, "oom_kill")).flatten() {
            return Some(format!("memory.oom_control: oom_kill {kills}"));
        }
        // The notice comes before the kill, and also when memory runs out in a cgroup above ours: that is not our limit.
        if !noticed || !at_limit(self.peak()?, self.limit?) {
            return None;
        }
        self.ran_out.store(true, Ordering::Relaxed);
        Some("memory.oom_control: notice at the limit".to_owned())
    }
}

fn at_limit(peak: u64, limit: u64) -> bool {
    peak.saturating_add(SLACK.min(limit / 16)) >= limit
}

fn watch_memory(dir: &Dir) -> Result<Memory, Errno> {
    let control = dir.open("memory.oom_control", OFlag::O_RDONLY)?;
    let notice = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
    let wanted = format!("{} {}", notice.as_fd().as_raw_fd(), control.as_raw_fd());
    dir.write("cgroup.event_control", &wanted)?;
    Ok(Memory { notice, control, peak: None, before: 0, limit: None, ran_out: AtomicBool::new(false) })
}

/// A new cpuset is empty, and takes no task before it has CPUs and memory nodes.
fn inherit_cpuset(dir: &Dir) -> Result<(), Errno> {
    let above = openat(dir.parent(), "..", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for (file, effective) in [("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")] {
        let mut own = read_in(dir.parent(), file)?;
        if own.trim().is_empty() {
            own = read_in(above.as_fd(), effective)?;
            write_in(dir.parent(), file, own.trim())?;
        }
        dir.write(file, own.trim())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_counts_only_at_our_own_limit() {
        assert!(at_limit(256 << 20, 256 << 20));
        assert!(at_limit((256 << 20) - 4096 * 8, 256 << 20));
        assert!(!at_limit(200 << 20, 256 << 20));
        assert!(!at_limit(0, 64 << 10));
        assert!(at_limit(u64::MAX, u64::MAX));
    }
}
