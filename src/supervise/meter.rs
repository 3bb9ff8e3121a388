//! Measures without a cgroup: by looking at the processes of the sandbox's PID namespace, through its own procfs. Only lower
//! bounds of CPU time and, before anything is decided from it, no page of memory counted twice.

mod figures;

use figures::{Stat, Status, running_ns, shared_out, waits_for_vfork};
use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat, major, minor};
use nix::sys::statfs::fstatfs;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// PID 1 inside is ours: what it uses is not billed, but what it reaped is.
const INIT: u32 = 1;
/// What one CPU can fill in a second with small pages, with room to spare; faster filling is noticed and adapted to.
const FILL_RATE: u64 = 4 << 30;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(10);
/// The longest list of mappings that is read: some 20,000 of them.
const LONGEST_TEXT: u64 = 16 << 20;

/// What one look saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// CPU time of the tree so far, in nanoseconds; never less than at an earlier look.
    pub(crate) cpu_ns: u64,
    /// Memory of all processes and in throw-away places, in bytes. Over the limit only where no page was counted twice.
    pub(crate) memory_bytes: u64,
    /// The most of it that a look saw.
    pub(crate) memory_peak_bytes: u64,
    /// The most tasks that a look saw, init not counted.
    pub(crate) tasks_peak: u64,
}

/// One PID namespace under our eyes.
#[derive(Debug)]
pub(crate) struct Meter {
    procfs: Dir,
    scratch: Option<OwnedFd>,
    limit: Option<u64>,
    cpus: u32,
    text: Vec<u8>,
    path: String,
    processes: Vec<u32>,
    clocks: HashMap<u32, Clock>,
    round: u64,
    /// CPU time of processes that are gone, as it was last seen.
    gone_ns: u64,
    memory: Memory,
    last: Sample,
}

/// A process's CPU time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: u64,
    ns: u64,
    round: u64,
}

/// How memory went.
#[derive(Debug, Default)]
struct Memory {
    last: u64,
    at: Option<Instant>,
    /// The fastest growth that was seen, in bytes per second.
    fastest: u64,
    /// What the last look took.
    cost: Duration,
}

impl Meter {
    /// Looks through `procfs`, the root of a procfs that shows the sandbox's processes and no other. `scratch` is the tmpfs
    /// of throw-away places. `limit` is the memory limit, and `cpus` what can fill memory at once.
    ///
    /// # Errors
    /// A descriptor that is no directory.
    pub(crate) fn new(
        procfs: OwnedFd,
        scratch: Option<OwnedFd>,
        limit: Option<u64>,
        cpus: u32,
    ) -> Result<Meter, nix::errno::Errno> {
        Ok(Meter {
            procfs: Dir::from_fd(procfs)?,
            scratch,
            limit,
            cpus: cpus.max(1),
            text: Vec::with_capacity(4096),
            path: String::with_capacity(32),
            processes: Vec::new(),
            clocks: HashMap::new(),
            round: 0,
            gone_ns: 0,
            memory: Memory::default(),
            last: Sample::default(),
        })
    }

    /// Looks at everything.
    pub(crate) fn look(&mut self) -> Sample {
        self.list();
        self.measure_cpu();
        self.measure_memory();
        self.last
    }

    /// What the last look saw: after the end there is nothing to look at.
    pub(crate) fn last(&self) -> Sample {
        self.last
    }

    /// How long nobody can get from `used` to `limit`: the headroom over the fastest rate at which memory can be filled.
    pub(crate) fn next_look(&self, limit: u64, used: u64) -> Duration {
        let rate = FILL_RATE.saturating_mul(u64::from(self.cpus)).max(self.memory.fastest.saturating_mul(2));
        let headroom = u128::from(limit.saturating_sub(used));
        let ns = headroom * 1_000_000_000 / u128::from(rate);
        let pause = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)).clamp(SHORTEST, LONGEST);
        // With very many processes a look takes long: most of the machine stays theirs.
        pause.max(self.memory.cost * 3)
    }

    fn list(&mut self) {
        self.processes.clear();
        // An error (the namespace is dead) comes again and again: it ends the list.
        let names = self.procfs.iter().map_while(Result::ok);
        self.processes.extend(names.filter_map(|entry| entry.file_name().to_str().ok()?.parse::<u32>().ok()));
    }

    /// Reads a file of a process into `text`. Processes come and go: no text then.
    fn read(&mut self, pid: u32, file: &str) -> Option<&str> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        self.text.clear();
        let fd = openat(&self.procfs, self.path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        File::from(fd).take(LONGEST_TEXT).read_to_end(&mut self.text).ok()?;
        // A name of a process or a file may hold anything; figures are ASCII.
        match std::str::from_utf8(&self.text) {
            Ok(_) => {}
            Err(_) => self.text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?'),
        }
        std::str::from_utf8(&self.text).ok()
    }

    /// CPU time is the greater of two sums, each of which can miss some and neither of which can count any twice: what was
    /// seen of every process that ever was seen; and of those that live, with what they (and init) reaped.
    fn measure_cpu(&mut self) {
        self.round += 1;
        let round = self.round;
        let mut living = 0u64;
        let processes = std::mem::take(&mut self.processes);
        for &pid in &processes {
            let Some(mut stat) = self.read(pid, "stat").and_then(Stat::parse) else { continue };
            living = living.saturating_add(stat.reaped_ns);
            if pid == INIT {
                continue;
            }
            // Ticks lose up to 20 ms of each process; this is exact, but for the first thread only.
            if stat.threads <= 1
                && let Some(ns) = self.read(pid, "schedstat").and_then(running_ns)
            {
                stat.own_ns = stat.own_ns.max(ns);
            }
            living = living.saturating_add(stat.own_ns);
            let clock = self.clocks.entry(pid).or_insert(Clock { started: stat.started, ns: 0, round });
            if clock.started != stat.started {
                self.gone_ns = self.gone_ns.saturating_add(clock.ns);
                *clock = Clock { started: stat.started, ns: 0, round };
            }
            clock.ns = clock.ns.max(stat.own_ns);
            clock.round = round;
        }
        self.processes = processes;
        let mut seen = 0u64;
        let gone = &mut self.gone_ns;
        self.clocks.retain(|_, clock| {
            let lives = clock.round == round;
            let sum = if lives { &mut seen } else { &mut *gone };
            *sum = sum.saturating_add(clock.ns);
            lives
        });
        self.last.cpu_ns = self.last.cpu_ns.max(seen.saturating_add(self.gone_ns)).max(living);
    }

    fn measure_memory(&mut self) {
        let begun = Instant::now();
        let files = self.scratch_bytes();
        let processes = std::mem::take(&mut self.processes);
        let mut all = Vec::with_capacity(processes.len());
        for &pid in processes.iter().filter(|&&pid| pid != INIT) {
            if let Some(status) = self.read(pid, "status").map(Status::parse) {
                all.push((pid, status));
            }
        }
        self.processes = processes;
        let tasks = all.iter().fold(0u64, |sum, (_, status)| sum.saturating_add(status.threads));
        let mut bytes = all.iter().fold(files, |sum, (_, status)| sum.saturating_add(status.bytes()));
        if self.limit.is_some_and(|limit| bytes > limit) {
            bytes = self.without_sharing(&all).saturating_add(files);
        }
        self.memory.note(bytes, begun);
        self.last = Sample {
            cpu_ns: self.last.cpu_ns,
            memory_bytes: bytes,
            memory_peak_bytes: self.last.memory_peak_bytes.max(bytes),
            tasks_peak: self.last.tasks_peak.max(tasks),
        };
    }

    /// The same, but a page that several map is counted once, and so is a mapped throw-away file.
    fn without_sharing(&mut self, all: &[(u32, Status)]) -> u64 {
        let internal = internal_device();
        let vforked = self.vforked(all);
        let mut sum = 0u64;
        for (pid, status) in all.iter().filter(|(pid, _)| !vforked.contains(pid)) {
            let shared_out = match (&internal, self.read(*pid, "smaps")) {
                (Some(internal), Some(smaps)) if !smaps.is_empty() => shared_out(smaps, internal),
                // It does not let itself be looked at, or it is gone: what it said of itself stands.
                _ => status.bytes().saturating_sub(status.page_tables),
            };
            sum = sum.saturating_add(shared_out).saturating_add(status.page_tables);
        }
        sum
    }

    /// The processes that use their parent's memory until they exec. For each thread that waits for such a child, one child
    /// with the very figures of its parent.
    fn vforked(&mut self, all: &[(u32, Status)]) -> Vec<u32> {
        let mut found = Vec::new();
        for (parent, status) in all {
            let mut twins =
                all.iter().filter(|(_, child)| child.parent == *parent && child.same_memory(status)).peekable();
            if twins.peek().is_none() {
                continue;
            }
            let waiting = self.waiting_threads(*parent);
            found.extend(twins.take(waiting).map(|(pid, _)| *pid));
        }
        found
    }

    fn waiting_threads(&mut self, pid: u32) -> usize {
        let path = format!("{pid}/task");
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut tasks) = Dir::openat(&self.procfs, path.as_str(), flags, Mode::empty()) else { return 0 };
        let names =
            tasks.iter().map_while(Result::ok).filter_map(|entry| entry.file_name().to_str().ok()?.parse::<u32>().ok());
        let threads: Vec<u32> = names.collect();
        threads
            .into_iter()
            .filter(|thread| self.read(pid, &format!("task/{thread}/syscall")).is_some_and(waits_for_vfork))
            .count()
    }

    fn scratch_bytes(&self) -> u64 {
        let Some(Ok(fs)) = self.scratch.as_ref().map(fstatfs) else { return 0 };
        let used = fs.blocks().saturating_sub(fs.blocks_free());
        used.saturating_mul(u64::try_from(fs.block_size()).unwrap_or(4096))
    }
}

impl Memory {
    fn note(&mut self, bytes: u64, begun: Instant) {
        if let Some(at) = self.at {
            let elapsed = begun.duration_since(at).as_nanos().max(1);
            let rate = u128::from(bytes.saturating_sub(self.last)) * 1_000_000_000 / elapsed;
            self.fastest = self.fastest.max(u64::try_from(rate).unwrap_or(u64::MAX));
        }
        self.at = Some(begun);
        self.last = bytes;
        self.cost = begun.elapsed();
    }
}

/// The device of the kernel's own tmpfs, where shared memory and memfds live, as /proc writes it.
fn internal_device() -> Option<String> {
    let probe = memfd_create(c"sandbox", MFdFlags::MFD_CLOEXEC).ok()?;
    let device = fstat(probe.as_fd()).ok()?.st_dev;
    Some(format!("{:02x}:{:02x}", major(device), minor(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(limit: Option<u64>) -> Meter {
        Meter::new(std::fs::File::open("/proc").unwrap().into(), None, limit, 2).unwrap()
    }

    #[test]
    fn looks_see_this_machine_and_cpu_time_never_falls() {
        let mut meter = meter(None);
        let first = meter.look();
        assert!(first.cpu_ns > 0 && first.memory_bytes > 0 && first.tasks_peak > 0);
        let second = meter.look();
        assert!(second.cpu_ns >= first.cpu_ns && second.memory_peak_bytes >= first.memory_peak_bytes);
        assert_eq!(meter.last(), second);
    }

    #[test]
    fn over_the_limit_no_page_is_counted_twice() {
        let roughly = meter(None).look().memory_bytes;
        let exactly = meter(Some(1)).look().memory_bytes;
        assert!(exactly > 0 && exactly <= roughly + (64 << 20), "{exactly} {roughly}");
    }

    #[test]
    fn the_next_look_comes_before_the_limit_can_be_reached() {
        let meter = meter(None);
        assert_eq!(meter.next_look(256 << 20, 256 << 20), SHORTEST);
        assert_eq!(meter.next_look(256 << 20, 300 << 20), SHORTEST);
        assert_eq!(meter.next_look(u64::MAX, 0), LONGEST);
        let near = meter.next_look(256 << 20, 240 << 20);
        assert!(near > SHORTEST && near < LONGEST, "{near:?}");
        let mut fast = meter;
        fast.memory.fastest = 64 << 30;
        assert_eq!(fast.next_look(256 << 20, 240 << 20), SHORTEST);
    }
}
