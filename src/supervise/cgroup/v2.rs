//! A run's directory on the v2 hierarchy. The payload is born inside it, and one write kills all that is in it.

use super::dir::{Dir, read_in, reread, write_in};
use super::figures::{CpuTimes, Killed, cpu_list, keyed, killed_v2, number, used_by_setup};
use crate::error::Error;
use crate::plan::limits::CgroupDir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Files that a kernel may lack, and then nothing is lost: there is no swap to limit.
const MAY_LACK: [&str; 1] = ["memory.swap.max"];
const CPUS: &str = "cpuset.cpus";
/// How often, and at what distance, `memory.events` is read again until it tells of the whole kill.
const REREADS: u32 = 5;
const REREAD: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(super) struct Group {
    dir: Dir,
    armed: Vec<(String, u64)>,
    has_memory: bool,
    has_pids: bool,
    cpu: File,
    /// Its change is the notice of an out-of-memory kill.
    events: Option<File>,
    peak: Option<File>,
    /// What set-up used, which the payload is not billed for.
    cpu_before: CpuTimes,
    memory_before: u64,
}

impl Group {
    pub(super) fn make(plan: &CgroupDir) -> Result<Group, Error> {
        let dir = Dir::make(&plan.parent)?;
        let mut enabled = false;
        for (file, value) in &plan.settings {
            let mut answer = dir.write(file, value);
            if answer == Err(Errno::ENOENT) && !enabled {
                enable(&dir, &plan.controllers);
                enabled = true;
                answer = dir.write(file, value);
            }
            match answer {
                Ok(()) => {}
                Err(Errno::ENOENT) if MAY_LACK.contains(&file.as_str()) => {}
                // A number that no CPU has.
                Err(Errno::ERANGE | Errno::EINVAL) if file == CPUS => return Err(cannot_run_on(&dir, value)),
                Err(errno) => return Err(dir.cannot_set(file, value, errno)),
            }
            if file == CPUS {
                check_cpus(&dir, value)?;
            }
        }
        let has = |name: &str| plan.controllers.iter().any(|controller| controller == name);
        let open = |file: &str| dir.open(file, OFlag::O_RDONLY);
        let cpu = open("cpu.stat").map_err(|errno| {
            Error::sandbox(format!("cannot read the CPU time of the cgroup {}", plan.parent.display())).because(errno)
        })?;
        let has_memory = has("memory");
        let events = if has_memory { open("memory.events").ok() } else { None };
        Ok(Group {
            armed: plan.armed.clone(),
            has_memory,
            has_pids: has("pids"),
            cpu,
            events,
            peak: None,
            cpu_before: CpuTimes::default(),
            memory_before: 0,
            dir,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.fd()
    }

    /// Moves a process that could not be born inside.
    pub(super) fn attach(&self, pid: libc::pid_t) -> Result<(), Error> {
        let pid = pid.to_string();
        self.dir.write("cgroup.procs", &pid).map_err(|errno| self.dir.cannot_set("cgroup.procs", &pid, errno))
    }

    pub(super) fn arm(&mut self) -> Result<(), Error> {
        if self.has_memory {
            let charged = self.dir.read("memory.current").ok().and_then(|text| number(&text));
            self.memory_before = used_by_setup(charged, self.armed.first().map(|&(_, bytes)| bytes));
            for (file, bytes) in &self.armed {
                let value = bytes.saturating_add(self.memory_before).min(i64::MAX as u64).to_string();
                self.dir.write(file, &value).map_err(|errno| self.dir.cannot_set(file, &value, errno))?;
            }
            // Since 6.12 a write sets the peak back, for this descriptor; before, the set-up's own peak stays in it.
            self.peak = match self.dir.open("memory.peak", OFlag::O_RDWR) {
                Ok(mut peak) => {
                    let _ = peak.write(b"1");
                    Some(peak)
                }
                Err(_) => self.dir.open("memory.peak", OFlag::O_RDONLY).ok(),
            };
            // A first look: what changes from now on makes it ready for poll(2).
            self.killed();
        }
        self.cpu_before = self.cpu().unwrap_or_default();
        Ok(())
    }

    pub(super) fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// The proof of an out-of-memory kill.
    pub(super) fn killed(&self) -> Option<String> {
        let events = self.events.as_ref()?;
        let mut left = REREADS;
        loop {
            match reread(events, killed_v2)?? {
                // One is dead, and the others are about to be.
                Killed::One if left > 0 => {
                    left -= 1;
                    std::thread::sleep(REREAD);
                }
                killed => return Some(killed.words()),
            }
        }
    }

    fn cpu(&self) -> Option<CpuTimes> {
        reread(&self.cpu, CpuTimes::of_stat)?
    }

    pub(super) fn cpu_used(&self) -> Option<CpuTimes> {
        self.cpu().map(|times| times.since(self.cpu_before))
    }

    pub(super) fn memory_peak(&self) -> Option<u64> {
        let peak = reread(self.peak.as_ref()?, number)??;
        Some(peak.saturating_sub(self.memory_before))
    }

    pub(super) fn tasks_peak(&self) -> Option<u64> {
        self.has_pids.then(|| self.dir.read("pids.peak").ok().and_then(|text| number(&text)))?
    }

    pub(super) fn forks_refused(&self) -> Option<bool> {
        self.has_pids
            .then(|| self.dir.read("pids.events").ok().and_then(|text| keyed(&text, "max")))?
            .map(|max| max > 0)
    }

    pub(super) fn kill(&self) -> bool {
        self.dir.write("cgroup.kill", "1").is_ok()
    }

    pub(super) fn freeze(&self, on: bool) -> bool {
        self.dir.write("cgroup.freeze", if on { "1" } else { "0" }).is_ok()
    }

    pub(super) fn remove(&mut self) {
        self.dir.remove();
        self.dir.sweep();
    }
}

/// Passes controllers on to the directory: from its parent, and where that is ours and new, from the one above first. A
/// refusal shows at the setting that needs the controller.
fn enable(dir: &Dir, controllers: &[String]) {
    let control = "cgroup.subtree_control";
    let above = openat(dir.parent(), "..", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    for controller in controllers {
        let value = format!("+{controller}");
        // ENOENT: the parent does not have it itself.
        if write_in(dir.parent(), control, &value) == Err(Errno::ENOENT)
            && let Ok(above) = &above
            && write_in(above.as_fd(), control, &value).is_ok()
        {
            let _ = write_in(dir.parent(), control, &value);
        }
    }
}

/// The kernel takes CPUs that it cannot give, and gives others instead.
fn check_cpus(dir: &Dir, wanted: &str) -> Result<(), Error> {
    let given = dir.read("cpuset.cpus.effective").unwrap_or_default();
    match (cpu_list(&given), cpu_list(wanted)) {
        (Some(given), Some(wanted)) if given != wanted => {}
        _ => return Ok(()),
    }
    Err(cannot_run_on(dir, wanted))
}

fn cannot_run_on(dir: &Dir, wanted: &str) -> Error {
    let usable = read_in(dir.parent(), "cpuset.cpus.effective").unwrap_or_default();
    Error::sandbox(format!("cannot run on the CPUs {wanted}: this machine lets us use {}", usable.trim()))
}
