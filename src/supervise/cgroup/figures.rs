//! What the kernel writes in cgroup files, as figures. Pure. Odd text gives no figure; what is too large is the largest.

/// A number alone, as in `memory.peak`.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.trim_ascii();
    let legal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    legal.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The number behind `key` in a file of `key number` lines.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(key)?.strip_prefix(' ')?))
}

/// CPU time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTimes {
    pub(super) total: u64,
    pub(super) user: u64,
    pub(super) system: u64,
}

impl CpuTimes {
    /// `cpu.stat` of v2.
    pub(super) fn of_stat(text: &str) -> Option<CpuTimes> {
        let ns = |key| keyed(text, key).map(|us| us.saturating_mul(1000));
        Some(CpuTimes { total: ns("usage_usec")?, user: ns("user_usec")?, system: ns("system_usec")? })
    }

    /// What was used since `earlier`.
    pub(super) fn since(self, earlier: CpuTimes) -> CpuTimes {
        CpuTimes {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// The same total, shared out so that user and system make it up: v1 counts those two at ticks, the total exactly.
    pub(super) fn consistent(self) -> CpuTimes {
        let parts = u128::from(self.user) + u128::from(self.system);
        let user = match parts {
            0 => self.total,
            parts => (u128::from(self.total) * u128::from(self.user) / parts) as u64,
        };
        CpuTimes { total: self.total, user, system: self.total.saturating_sub(user) }
    }
}

/// What each CPU that charges to a cgroup may hold charged in advance: 64 pages. Set-up runs on one or two.
const CHARGED_AHEAD: u64 = 2 * 64 * 4096;

/// What set-up itself uses of what is charged when the payload starts, so that the payload is not billed for it. Rather
/// too little: a small program would else seem to use nothing.
pub(super) fn used_by_setup(charged: Option<u64>, limit: Option<u64>) -> u64 {
    // Under a tiny limit what is charged ahead must fit as well, or the limit could not be set.
    let ahead = CHARGED_AHEAD.min(limit.unwrap_or(u64::MAX) / 2);
    charged.unwrap_or(0).saturating_sub(ahead)
}

/// An out-of-memory kill, as `memory.events` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Killed {
    /// Some process, so far.
    One,
    /// All, so often.
    All(u64),
}

impl Killed {
    /// The proof. The count of killed processes may be off (2 for one victim was seen), so it is not told.
    pub(super) fn words(self) -> String {
        match self {
            Killed::One => "memory.events: oom_kill".to_owned(),
            Killed::All(times) => format!("memory.events: oom_group_kill {times}"),
        }
    }
}

/// What `memory.events` proves.
pub(super) fn killed_v2(events: &str) -> Option<Killed> {
    match (keyed(events, "oom_group_kill"), keyed(events, "oom_kill")) {
        (Some(times @ 1..), _) => Some(Killed::All(times)),
        (_, Some(1..)) => Some(Killed::One),
        _ => None,
    }
}

/// The CPUs of a list such as `0-3,6`; `None` for anything else. At most 8192, as many as the kernel numbers.
pub(super) fn cpu_list(text: &str) -> Option<Vec<u16>> {
    let mut cpus = Vec::new();
    for part in text.trim_ascii().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        if first > last || last >= 8192 {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [&str; 9] = ["", "\n", " ", "max", "-1", "usage_usec", "usage_usec ", "usage_usec x", "\u{fffd}\0"];

    #[test]
    fn numbers_saturate_and_odd_text_is_none() {
        assert_eq!(number("268435456\n"), Some(268_435_456));
        assert_eq!(number("99999999999999999999999"), Some(u64::MAX));
        for text in ODD {
            assert_eq!(
                (number(text), keyed(text, "usage_usec"), CpuTimes::of_stat(text)),
                (None, None, None),
                "{text:?}"
            );
            assert_eq!((killed_v2(text), cpu_list(text)), (None, None), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_a_whole_word() {
        assert_eq!(keyed("oom_kill_disable 1\nunder_oom 0\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(keyed("oom_killer 1\n", "oom_kill"), None);
    }

    #[test]
    fn cpu_times_are_nanoseconds_and_never_wrap() {
        let times = CpuTimes::of_stat("usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 0\n").unwrap();
        assert_eq!(times, CpuTimes { total: 3000, user: 2000, system: 1000 });
        assert_eq!(CpuTimes::default().since(times), CpuTimes::default());
        let huge = CpuTimes::of_stat("usage_usec 18446744073709551615\nuser_usec 1\nsystem_usec 1\n").unwrap();
        assert_eq!(huge.total, u64::MAX);
        let shared = CpuTimes { total: 1000, user: 1, system: 3 }.consistent();
        assert_eq!(shared, CpuTimes { total: 1000, user: 250, system: 750 });
        assert_eq!(CpuTimes { total: 7, user: 0, system: 0 }.consistent(), CpuTimes { total: 7, user: 7, system: 0 });
    }

    #[test]
    fn what_is_charged_ahead_is_not_taken_for_set_up() {
        assert_eq!(used_by_setup(None, None), 0);
        assert_eq!(used_by_setup(Some(400 << 10), Some(256 << 20)), 0);
        assert_eq!(used_by_setup(Some(900 << 10), Some(256 << 20)), 388 << 10);
        assert_eq!(used_by_setup(Some(900 << 10), Some(64 << 10)), (900 - 32) << 10);
    }

    #[test]
    fn a_kill_is_told_without_a_count_of_processes() {
        let events = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(killed_v2(events).map(Killed::words).as_deref(), Some("memory.events: oom_group_kill 1"));
        assert_eq!(killed_v2("oom 1\noom_kill 2\n").map(Killed::words).as_deref(), Some("memory.events: oom_kill"));
        assert_eq!(killed_v2("max 12\noom 1\noom_kill 0\noom_group_kill 0\n"), None);
    }

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        for text in ["3-1", "0-9999", "0,", "a"] {
            assert_eq!(cpu_list(text), None, "{text}");
        }
    }
}
