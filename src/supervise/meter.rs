//! Measures without a cgroup: by looking at the processes of the sandbox's PID namespace, through its own procfs. Only lower
//! bounds of CPU time and, before anything is decided from it, no page of memory counted twice.

mod figures;

use figures::{Stat, Status, rolled_up, running_ns, shared_out, waits_for_vfork};
use nix::dir::Dir;
use nix::errno::Errno;
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
/// So much in throw-away files makes no difference, if it was counted twice.
const FEW_FILES: u64 = 1 << 20;
/// How many sums are made, at most, of processes that come and go.
const SUMS: u32 = 4;
/// What a process may give back between two readings without being taken for another.
const GIVEN_BACK: u64 = 1 << 20;

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
    ) -> Result<Meter, Errno> {
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
        // With many or large processes a look takes long: the machine is theirs for as long at least.
        pause.max(self.memory.cost.min(LONGEST))
    }

    fn list(&mut self) {
        self.processes.clear();
        // An error (the namespace is dead) comes again and again: it ends the list.
        let names = self.procfs.iter().map_while(Result::ok);
        self.processes.extend(names.filter_map(|entry| entry.file_name().to_str().ok()?.parse::<u32>().ok()));
    }

    /// Reads a file of a process into `text`. Processes come and go: an error then.
    fn read(&mut self, pid: u32, file: &str) -> Result<&str, Errno> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        self.text.clear();
        let fd = openat(&self.procfs, self.path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let read = File::from(fd).take(LONGEST_TEXT).read_to_end(&mut self.text);
        read.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
        // A name of a process or a file may hold anything; figures are ASCII.
        if !self.text.is_ascii() {
            self.text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        std::str::from_utf8(&self.text).map_err(|_| Errno::EILSEQ)
    }

    /// CPU time is the greater of two sums, each of which can miss some and neither of which can count any twice: what was
    /// seen of every process that ever was seen; and of those that live, with what they (and init) reaped.
    fn measure_cpu(&mut self) {
        self.round += 1;
        let round = self.round;
        let mut living = 0u64;
        let processes = std::mem::take(&mut self.processes);
        for &pid in &processes {
            let Some(mut stat) = self.read(pid, "stat").ok().and_then(Stat::parse) else { continue };
            living = living.saturating_add(stat.reaped_ns);
            if pid == INIT {
                continue;
            }
            // Ticks lose up to 20 ms of each process; this is exact, but for the first thread only.
            if stat.threads <= 1
                && let Some(ns) = self.read(pid, "schedstat").ok().and_then(running_ns)
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
        let all = self.statuses();
        let tasks = all.iter().fold(0u64, |sum, (_, status)| sum.saturating_add(status.threads));
        let mut bytes = all.iter().fold(files, |sum, (_, status)| sum.saturating_add(status.bytes()));
        if let Some(limit) = self.limit
            && bytes > limit
        {
            // What the largest process or the files alone hold is counted once by any reckoning. Over the limit by itself, it
            // needs no walk through page tables, during which the program would go on.
            let alone = all.iter().fold(files, |most, (_, status)| most.max(status.bytes()));
            bytes = if alone > limit { alone } else { self.without_sharing(all, limit) };
        }
        self.memory.note(bytes, begun);
        self.last = Sample {
            cpu_ns: self.last.cpu_ns,
            memory_bytes: bytes,
            memory_peak_bytes: self.last.memory_peak_bytes.max(bytes),
            tasks_peak: self.last.tasks_peak.max(tasks),
        };
    }

    /// What each listed process but init says of itself.
    fn statuses(&mut self) -> Vec<(u32, Status)> {
        let processes = std::mem::take(&mut self.processes);
        let mut all = Vec::with_capacity(processes.len());
        for &pid in processes.iter().filter(|&&pid| pid != INIT) {
            if let Ok(status) = self.read(pid, "status").map(Status::parse) {
                all.push((pid, status));
            }
        }
        self.processes = processes;
        all
    }

    /// The same, but a page that several map is counted once, and so is a mapped throw-away file. One process is read after
    /// another, so where they fork, exec or exit meanwhile, pages can be met twice: the least of a few sums counts.
    fn without_sharing(&mut self, mut all: Vec<(u32, Status)>, limit: u64) -> u64 {
        let internal = internal_device();
        let mut least = u64::MAX;
        for _ in 0..SUMS {
            least = least.min(self.sum(&all, internal.as_deref()));
            self.list();
            let now = self.statuses();
            if least <= limit || undisturbed(&all, &now) {
                break;
            }
            all = now;
        }
        least
    }

    fn sum(&mut self, all: &[(u32, Status)], internal: Option<&str>) -> u64 {
        let vforked = self.vforked(all);
        let files = self.scratch_bytes();
        // Mapped throw-away files are told apart only by the long list, which takes twice the time.
        let source = if files < FEW_FILES { "smaps_rollup" } else { "smaps" };
        let mut sum = files;
        for (pid, status) in all.iter().filter(|(pid, _)| !vforked.contains(pid)) {
            let shared_out = match (internal, self.read(*pid, source)) {
                // It ended, and what it had is given back.
                (_, Ok("") | Err(Errno::ESRCH | Errno::ENOENT)) => continue,
                (_, Ok(rollup)) if files < FEW_FILES => rolled_up(rollup),
                (Some(internal), Ok(smaps)) => shared_out(smaps, internal),
                // It does not let itself be looked at: what it says of itself stands.
                (None, Ok(_)) | (_, Err(_)) => status.bytes().saturating_sub(status.page_tables),
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
            .filter(|thread| self.read(pid, &format!("task/{thread}/syscall")).is_ok_and(waits_for_vfork))
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

/// Whether no process came, went or gave memory back between two looks (with an exec it does).
fn undisturbed(before: &[(u32, Status)], after: &[(u32, Status)]) -> bool {
    let steady = |((pid, before), (other, after)): (&(u32, Status), &(u32, Status))| {
        pid == other && after.bytes().saturating_add(GIVEN_BACK) >= before.bytes()
    };
    before.len() == after.len() && before.iter().zip(after).all(steady)
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
