//! The launcher dies by SIGKILL at any moment: a second later nothing runs, nothing is mounted, and the next run sweeps the
//! empty cgroup.

use crate::support::leftovers::{beneath, cgroups};
use crate::support::{Place, Test, test};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[test!(a_launcher_killed_at_any_moment_leaves_nothing)];

/// How many moments; continuous integration takes a few, the numbers in the notes are of more.
const MOMENTS: &str = "SANDBOX_KILLS";
/// How many launchers are killed at one moment.
const AT_ONCE: usize = 4;

/// Numbers that differ from run to run, and can be had again: `SANDBOX_SEED` is printed where a test fails.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos());
        let seed = number("SANDBOX_SEED").unwrap_or(now as u64).max(1);
        println!("SANDBOX_SEED={seed}");
        Random(seed)
    }

    /// Below `end` (xorshift64).
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn a_launcher_killed_at_any_moment_leaves_nothing(place: &Place) {
    place.write("input", "x\n");
    let mut random = Random::new();
    let groups = cgroups();
    // What a whole start takes here, so that the moments fall into it and beyond.
    let begun = Instant::now();
    place.run(&["--", "true"]).output().assert_ok();
    let whole = begun.elapsed().max(Duration::from_millis(2));
    let script = "(sleep 60 &); trap '' TERM; sleep 60 & echo x >/tmp/file; sleep 60";
    let moments = number(MOMENTS).unwrap_or(12);
    for moment in 0..moments {
        let after = Duration::from_nanos(random.below(2 * whole.as_nanos() as u64));
        let options: &[&str] = match moment % 4 {
            0 => &["--rw", "."],
            1 => &["--cgroup", "none"],
            2 => &["--net", "blocked", "--dir", "none"],
            _ => &["--out", "input:output"],
        };
        let launch = |_| place.run(options).args(["--", "sh", "-c", script]).start();
        let mut launchers: Vec<_> = (0..AT_ONCE).map(launch).collect();
        std::thread::sleep(after);
        for launcher in &mut launchers {
            kill(Pid::from_raw(launcher.id() as i32), Signal::SIGKILL).expect("our child");
        }
        for launcher in &mut launchers {
            launcher.wait().expect("our child");
        }
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            let living: Vec<String> = beneath(std::process::id())
                .into_iter()
                .map(|(_, words)| words)
                .filter(|words| !words.contains(") Z"))
                .collect();
            if living.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "a second after a launcher was killed at {after:?}: {living:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        reap();
    }
    place.run(&["--", "true"]).output().assert_ok();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        // Other test programs run beside this one: their groups come and go.
        let mut left: Vec<_> = cgroups().difference(&groups).cloned().collect();
        std::thread::sleep(Duration::from_millis(50));
        left.retain(|group| std::path::Path::new(group).exists());
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "cgroups are left: {left:?}");
    }
    assert_eq!(place.names(), ["input"], "no file of a run that was killed");
}

/// The dead that came to us as the subreaper.
pub(crate) fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))) {}
}
