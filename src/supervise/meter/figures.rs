//! What /proc says of a process, as figures. Pure. Odd text gives no figure; what is too large is the largest.

/// Clock ticks per second in /proc: the same on every architecture that we run on.
const TICK_NS: u64 = 10_000_000;

/// What `stat` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// CPU time of all its threads, in nanoseconds, down to ticks.
    pub(super) own_ns: u64,
    /// That of its children that were waited for, and of theirs.
    pub(super) reaped_ns: u64,
    pub(super) threads: u64,
    /// When it started: with the pid, who it is.
    pub(super) started: u64,
}

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Stat> {
        // The name may hold spaces and parentheses; it ends at the last one.
        let (_, rest) = text.rsplit_once(") ")?;
        // The first field here is the third.
        let mut fields = rest.split_ascii_whitespace().skip(14 - 3);
        let mut ticks = || number(fields.next()?);
        let [user, system, child_user, child_system] = [ticks()?, ticks()?, ticks()?, ticks()?];
        let ns = |user: u64, system: u64| user.saturating_add(system).saturating_mul(TICK_NS);
        Some(Stat {
            own_ns: ns(user, system),
            reaped_ns: ns(child_user, child_system),
            threads: number(fields.nth(20 - 18)?)?,
            started: number(fields.nth(22 - 21)?)?,
        })
    }
}

/// What `status` says of memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) parent: u32,
    pub(super) threads: u64,
    pub(super) anonymous: u64,
    pub(super) shared: u64,
    pub(super) swapped: u64,
    pub(super) page_tables: u64,
    /// The peaks and the size: with the rest, enough to tell two address spaces apart that are not one.
    layout: [u64; 2],
}

impl Status {
    /// Lines that a zombie lacks count as 0.
    pub(super) fn parse(text: &str) -> Status {
        let mut status = Status::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let Some(value) = value.split_ascii_whitespace().next().and_then(number) else { continue };
            let bytes = value.saturating_mul(1024);
            match key {
                "PPid" => status.parent = u32::try_from(value).unwrap_or(0),
                "Threads" => status.threads = value,
                "RssAnon" => status.anonymous = bytes,
                "RssShmem" => status.shared = bytes,
                "VmSwap" => status.swapped = bytes,
                "VmPTE" => status.page_tables = bytes,
                "VmHWM" => status.layout[0] = bytes,
                "VmSize" => status.layout[1] = bytes,
                _ => {}
            }
        }
        status
    }

    /// All of it, as if no page were shared with another process.
    pub(super) fn bytes(&self) -> u64 {
        [self.anonymous, self.shared, self.swapped, self.page_tables].into_iter().fold(0, u64::saturating_add)
    }

    /// Whether the two could be one address space.
    pub(super) fn same_memory(&self, other: &Status) -> bool {
        let figures = |s: &Status| (s.anonymous, s.shared, s.swapped, s.page_tables, s.layout);
        figures(self) == figures(other)
    }
}

/// The exact CPU time of a process with one thread, in nanoseconds: the first figure of `schedstat`.
pub(super) fn running_ns(schedstat: &str) -> Option<u64> {
    number(schedstat.split_ascii_whitespace().next()?)
}

/// The memory of `smaps_rollup`, each page shared out among those who map it: private and shared memory, mapped tmpfs files
/// among it, and what was written in private mappings of files.
pub(super) fn rolled_up(rollup: &str) -> u64 {
    let parts = rollup.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let counts = matches!(key, "Pss_Anon" | "Pss_Shmem" | "SwapPss");
        counts.then(|| value.split_ascii_whitespace().next().and_then(number)).flatten()
    });
    parts.fold(0, |sum, kib| sum.saturating_add(kib.saturating_mul(1024)))
}

/// The memory of `smaps`, each page shared out among those who map it: private and shared memory, and what was written
/// in private mappings of files; not the files' own pages. `internal` is the device of the kernel's own tmpfs, as it is
/// written there: mapped shared memory and memfds. Throw-away files are counted elsewhere, mapped or not.
pub(super) fn shared_out(smaps: &str, internal: &str) -> u64 {
    let mut sum = 0u64;
    let (mut memory, mut share) = (true, 0);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), second) = (words.next(), words.next()) else { continue };
        let kib = || second.and_then(number).unwrap_or(0).saturating_mul(1024);
        match first {
            "Pss:" => {
                share = kib();
                sum = sum.saturating_add(if memory { share } else { 0 });
            }
            "Anonymous:" if !memory => sum = sum.saturating_add(kib().min(share)),
            "SwapPss:" => sum = sum.saturating_add(kib()),
            _ if first.ends_with(':') => {}
            // A mapping's first line: addresses, permissions, offset, device, inode, name.
            _ => {
                let (device, inode) = (words.nth(1), words.next());
                memory = inode == Some("0") || device == Some(internal);
                share = 0;
            }
        }
    }
    sum
}

/// Whether the line of `syscall` is a thread that waits for a child with which it shares its memory.
pub(super) fn waits_for_vfork(syscall: &str) -> bool {
    let mut words = syscall.split_ascii_whitespace();
    let call = words.next().and_then(|word| word.parse::<i64>().ok());
    #[cfg(target_arch = "x86_64")]
    if call == Some(libc::SYS_vfork) {
        return true;
    }
    let both = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    let flags = words.next().and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    call == Some(libc::SYS_clone) && flags.is_some_and(|flags| flags & both == both)
}

fn number(word: &str) -> Option<u64> {
    let legal = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| word.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [&str; 8] =
        ["", "\n", "1 (a", "1 (a) R", "1 (a) R 1 1 1 1 1 1 1 1 1 1 x", ") ", ":", "Pss: x\nPss:\n: 1"];

    #[test]
    fn stat_is_read_behind_any_name() {
        let fields = "S 1 1 1 0 -1 4194560 90 0 0 0 7 3 20 5 20 0 4 0 12345 1000 50 18446744073709551615";
        for name in ["a", "a b", "a) R 1 (", ")"] {
            let stat = Stat::parse(&format!("17 ({name}) {fields}")).unwrap();
            let wanted = Stat { own_ns: 100_000_000, reaped_ns: 250_000_000, threads: 4, started: 12345 };
            assert_eq!(stat, wanted, "{name}");
        }
    }

    #[test]
    fn our_own_files_are_understood() {
        let stat = Stat::parse(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(stat.threads >= 1 && stat.started > 0);
        let status = Status::parse(&std::fs::read_to_string("/proc/self/status").unwrap());
        assert!(status.anonymous > 0 && status.page_tables > 0 && status.parent > 0 && status.threads >= 1);
        let shared = shared_out(&std::fs::read_to_string("/proc/self/smaps").unwrap(), "00:01");
        assert!(shared > 0 && shared < status.bytes() * 2);
        let rolled = rolled_up(&std::fs::read_to_string("/proc/self/smaps_rollup").unwrap());
        assert!(rolled > 0 && rolled < status.bytes() * 2);
    }

    #[test]
    fn odd_text_gives_no_figure() {
        for text in ODD {
            assert_eq!(Stat::parse(text), None, "{text:?}");
            assert_eq!(Status::parse(text), Status::default(), "{text:?}");
            assert_eq!((shared_out(text, "00:01"), rolled_up(text)), (0, 0), "{text:?}");
            assert!(!waits_for_vfork(text));
        }
        assert_eq!(running_ns("99999999999999999999999 1 1"), Some(u64::MAX));
        assert_eq!(Status::parse("RssAnon: 99999999999999999999 kB").bytes(), u64::MAX);
    }

    #[test]
    fn smaps_counts_memory_once_and_files_not_at_all() {
        let smaps = "\
00400000-00500000 r-xp 00000000 08:01 12 /bin/x
Rss:  100 kB
Pss:  100 kB
Anonymous:  0 kB
00600000-00700000 rw-p 00000000 08:01 12 /bin/x
Pss:  40 kB
Anonymous:  8 kB
SwapPss:  4 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Pss:  512 kB
Anonymous:  1024 kB
7f0000200000-7f0000300000 rw-s 00000000 00:01 77 /dev/zero (deleted)
Pss:  256 kB
Anonymous:  0 kB
7f0000400000-7f0000500000 rw-s 00000000 00:2f 78 /tmp/file
Pss:  300 kB
Anonymous:  0 kB
";
        assert_eq!(shared_out(smaps, "00:01"), (8 + 4 + 512 + 256) * 1024);
    }

    #[test]
    fn only_a_child_that_shares_its_parents_memory_is_vforked() {
        assert!(waits_for_vfork("56 0x4111 0x7f00 0x0 0x0 0x0 0x0 0x7ffd 0x7f00") == cfg!(target_arch = "x86_64"));
        // Waits, but has a copy.
        assert!(!waits_for_vfork("56 0x4011 0x0 0x0 0x0 0x0 0x0 0x0 0x0"));
        assert!(!waits_for_vfork("running") && !waits_for_vfork("-1 0x0 0x0"));
    }
}
