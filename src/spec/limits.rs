//! The limits of a run: their names, what was asked for, and how the rest follows from it.

use super::units::{Bytes, Cap, CpuRate, Millis};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit, by the name that reports use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Memory of the whole tree, in bytes; what is written to throw-away places counts.
    Memory,
    /// CPU time of the whole tree, in nanoseconds.
    CpuTime,
    /// Time since the payload's exec, in nanoseconds.
    WallTime,
    /// Time without any use of a CPU, in nanoseconds.
    IdleTime,
    /// The payload's tasks (processes and threads) at one time.
    Processes,
    /// Bytes on stdout and on stderr, each.
    Output,
    /// The largest file offset that may be written, in bytes.
    FileSize,
    /// Bytes in all throw-away places together.
    Disk,
    /// Files and directories in all throw-away places together.
    Inodes,
    /// Open descriptors per process.
    OpenFiles,
    /// Stack of a process's first thread, in bytes.
    Stack,
    /// Core file, in bytes.
    Core,
    /// CPUs' worth of time per time.
    Cpus,
    /// Which CPUs may be used.
    CpuSet,
}

impl Limit {
    /// Every limit, in the order in which reports list them.
    pub const ALL: [Limit; 14] = [
        Limit::Memory,
        Limit::CpuTime,
        Limit::WallTime,
        Limit::IdleTime,
        Limit::Processes,
        Limit::Output,
        Limit::FileSize,
        Limit::Disk,
        Limit::Inodes,
        Limit::OpenFiles,
        Limit::Stack,
        Limit::Core,
        Limit::Cpus,
        Limit::CpuSet,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Memory => "memory",
            Limit::CpuTime => "cpu_time",
            Limit::WallTime => "wall_time",
            Limit::IdleTime => "idle_time",
            Limit::Processes => "processes",
            Limit::Output => "output",
            Limit::FileSize => "file_size",
            Limit::Disk => "disk",
            Limit::Inodes => "inodes",
            Limit::OpenFiles => "open_files",
            Limit::Stack => "stack",
            Limit::Core => "core",
            Limit::Cpus => "cpus",
            Limit::CpuSet => "cpu_set",
        }
    }

    /// The flag that sets it.
    pub fn flag(self) -> &'static str {
        match self {
            Limit::Memory => "--mem",
            Limit::CpuTime => "--cpu-time",
            Limit::WallTime => "--wall-time",
            Limit::IdleTime => "--idle-time",
            Limit::Processes => "--pids",
            Limit::Output => "--output-size",
            Limit::FileSize => "--file-size",
            Limit::Disk => "--disk",
            Limit::Inodes => "--inodes",
            Limit::OpenFiles => "--open-files",
            Limit::Stack => "--stack",
            Limit::Core => "--core",
            Limit::Cpus => "--cpus",
            Limit::CpuSet => "--cpu-set",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The CPUs a run may use, ascending and without repetition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(Vec<u16>);

impl CpuSet {
    /// The CPU numbers, ascending.
    pub fn cpus(&self) -> &[u16] {
        &self.0
    }
}

impl std::str::FromStr for CpuSet {
    type Err = String;

    /// `0`, `0-3`, `0,2-3`: the kernel's list format.
    fn from_str(words: &str) -> Result<Self, String> {
        let bad = || format!("'{words}' is no list of CPUs: write one such as 0, 0-3 or 0,2");
        let mut cpus = Vec::new();
        for part in words.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
            if first > last || last >= 8192 {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(CpuSet(cpus))
    }
}

impl TryFrom<String> for CpuSet {
    type Error = String;
    fn try_from(words: String) -> Result<Self, String> {
        words.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> String {
        set.0.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.clone()))
    }
}

/// Limits that somebody named: the caller, or a policy file. The keys are the flags' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Asked {
    /// `--mem`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<Cap<Bytes>>,
    /// `--cpu-time`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Cap<Millis>>,
    /// `--wall-time`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<Cap<Millis>>,
    /// `--idle-time`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_time: Option<Cap<Millis>>,
    /// `--pids`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Cap<u64>>,
    /// `--output-size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_size: Option<Cap<Bytes>>,
    /// `--file-size`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Cap<Bytes>>,
    /// `--disk`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Cap<Bytes>>,
    /// `--inodes`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<Cap<u64>>,
    /// `--open-files`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<Cap<u64>>,
    /// `--stack`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Cap<Bytes>>,
    /// `--core`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<Cap<Bytes>>,
    /// `--cpus`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cap<CpuRate>>,
    /// `--cpu-set`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_set: Option<CpuSet>,
}

impl Asked {
    /// These, and where these say nothing, `beneath`'s.
    #[must_use]
    pub fn over(&self, beneath: &Asked) -> Asked {
        Asked {
            mem: self.mem.or(beneath.mem),
            cpu_time: self.cpu_time.or(beneath.cpu_time),
            wall_time: self.wall_time.or(beneath.wall_time),
            idle_time: self.idle_time.or(beneath.idle_time),
            pids: self.pids.or(beneath.pids),
            output_size: self.output_size.or(beneath.output_size),
            file_size: self.file_size.or(beneath.file_size),
            disk: self.disk.or(beneath.disk),
            inodes: self.inodes.or(beneath.inodes),
            open_files: self.open_files.or(beneath.open_files),
            stack: self.stack.or(beneath.stack),
            core: self.core.or(beneath.core),
            cpus: self.cpus.or(beneath.cpus),
            cpu_set: self.cpu_set.clone().or_else(|| beneath.cpu_set.clone()),
        }
    }

    /// Whether `limit` is named here.
    pub fn names(&self, limit: Limit) -> bool {
        match limit {
            Limit::Memory => self.mem.is_some(),
            Limit::CpuTime => self.cpu_time.is_some(),
            Limit::WallTime => self.wall_time.is_some(),
            Limit::IdleTime => self.idle_time.is_some(),
            Limit::Processes => self.pids.is_some(),
            Limit::Output => self.output_size.is_some(),
            Limit::FileSize => self.file_size.is_some(),
            Limit::Disk => self.disk.is_some(),
            Limit::Inodes => self.inodes.is_some(),
            Limit::OpenFiles => self.open_files.is_some(),
            Limit::Stack => self.stack.is_some(),
            Limit::Core => self.core.is_some(),
            Limit::Cpus => self.cpus.is_some(),
            Limit::CpuSet => self.cpu_set.is_some(),
        }
    }
}

/// Every limit of a run, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the tree.
    pub memory: Cap<Bytes>,
    /// CPU time of the tree.
    pub cpu_time: Cap<Millis>,
    /// Wall time.
    pub wall_time: Cap<Millis>,
    /// Time without CPU use.
    pub idle_time: Cap<Millis>,
    /// Tasks of the payload.
    pub processes: Cap<u64>,
    /// Bytes on stdout and on stderr, each.
    pub output: Cap<Bytes>,
    /// Largest file offset.
    pub file_size: Cap<Bytes>,
    /// Bytes in throw-away places.
    pub disk: Cap<Bytes>,
    /// Inodes in throw-away places.
    pub inodes: Cap<u64>,
    /// Descriptors per process.
    pub open_files: Cap<u64>,
    /// Stack of the first thread.
    pub stack: Cap<Bytes>,
    /// Core file.
    pub core: Cap<Bytes>,
    /// CPU rate.
    pub cpus: Cap<CpuRate>,
    /// CPUs allowed, `None` for all that the caller has.
    pub cpu_set: Option<CpuSet>,
}

impl Limits {
    /// Derives all limits from what the caller and the policy named. What neither named follows from the rest: wall time
    /// is 3 × CPU time but ≥ 10 s, disk is half the memory, file size is the disk, the stack is the memory. A wall time
    /// that the caller named alone lifts the policy's CPU time. `times` is false where nobody named a time and none is
    /// wanted (an interactive run).
    pub fn derive(caller: &Asked, policy: &Asked, times: bool) -> Limits {
        let asked = caller.over(policy);
        let memory = asked.mem.unwrap_or(Cap::Unlimited);
        let cpu_time = match (caller.cpu_time, caller.wall_time) {
            (None, Some(_)) => Cap::Unlimited,
            (None, None) if !times => Cap::Unlimited,
            _ => asked.cpu_time.unwrap_or(Cap::Unlimited),
        };
        let wall_time = match caller.wall_time.or(if times { policy.wall_time } else { None }) {
            Some(wall) => wall,
            None => match cpu_time {
                Cap::At(cpu) => Cap::At(Millis::new(cpu.get().saturating_mul(3)).max(Millis::seconds(10))),
                Cap::Unlimited => Cap::Unlimited,
            },
        };
        let disk = asked.disk.unwrap_or(match memory {
            Cap::At(memory) => Cap::At(Bytes::new(memory.get() / 2)),
            Cap::Unlimited => Cap::Unlimited,
        });
        Limits {
            memory,
            cpu_time,
            wall_time,
            idle_time: asked.idle_time.unwrap_or(Cap::Unlimited),
            processes: asked.pids.unwrap_or(Cap::Unlimited),
            output: asked.output_size.unwrap_or(Cap::Unlimited),
            file_size: asked.file_size.unwrap_or(disk),
            disk,
            inodes: asked.inodes.unwrap_or(Cap::Unlimited),
            open_files: asked.open_files.unwrap_or(Cap::Unlimited),
            stack: asked.stack.unwrap_or(memory),
            core: asked.core.unwrap_or(Cap::At(Bytes::new(1))),
            cpus: asked.cpus.unwrap_or(Cap::Unlimited),
            cpu_set: asked.cpu_set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Asked {
        Asked { mem: Some(Cap::At(Bytes::mib(512))), cpu_time: Some(Cap::At(Millis::seconds(10))), ..Asked::default() }
    }

    #[test]
    fn the_rest_follows_from_what_is_named() {
        let limits = Limits::derive(&Asked::default(), &policy(), true);
        assert_eq!(limits.wall_time, Cap::At(Millis::seconds(30)));
        assert_eq!(limits.disk, Cap::At(Bytes::mib(256)));
        assert_eq!(limits.file_size, limits.disk);
        assert_eq!(limits.stack, limits.memory);
        let quick = Asked { cpu_time: Some(Cap::At(Millis::seconds(1))), ..Asked::default() };
        assert_eq!(Limits::derive(&quick, &policy(), true).wall_time, Cap::At(Millis::seconds(10)));
    }

    #[test]
    fn a_wall_time_alone_lifts_the_cpu_time() {
        let asked = Asked { wall_time: Some(Cap::At(Millis::seconds(60))), ..Asked::default() };
        assert_eq!(Limits::derive(&asked, &policy(), true).cpu_time, Cap::Unlimited);
    }

    #[test]
    fn an_interactive_run_has_no_default_times_but_named_ones() {
        let limits = Limits::derive(&Asked::default(), &policy(), false);
        assert_eq!((limits.cpu_time, limits.wall_time), (Cap::Unlimited, Cap::Unlimited));
        let asked = Asked { cpu_time: Some(Cap::At(Millis::seconds(5))), ..Asked::default() };
        assert_eq!(Limits::derive(&asked, &policy(), false).cpu_time, Cap::At(Millis::seconds(5)));
    }
}
