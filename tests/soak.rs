//! Runs of mixed kinds, four at once, from one runner: every status right, and nothing that grows. `SANDBOX_SOAK=20000 cargo test
//! --test soak` makes that many as whoever starts it and prints the figures; what it judges are counts, never times.

#[allow(unused_macros, reason = "every machine has what this needs")]
mod support;

use sandbox::spec::{CgroupChoice, Collect, Input, InsidePath, Mount, Network, Output, PathPair};
use sandbox::{Bytes, Millis, Report, Runner, Spec, Status};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::leftovers::{beneath, cgroups};
use support::{Case, Place, Test, test};

/// How many there are where nobody says.
const RUNS: u64 = 400;
const AT_ONCE: u64 = 4;
/// What memory may grow by: the allocator keeps some of what was used at the peak.
const SLACK: u64 = 4 << 20;

const TESTS: &[Test] = &[test!(many_runs_leave_everything_as_it_was)];

/// What is run and how it must end.
struct Kind {
    name: &'static str,
    script: &'static str,
    ask: fn(Spec, &Path) -> Spec,
    status: Status,
    /// The exit code, and what is on stdout.
    result: (Option<i32>, &'static str),
}

const fn kind(name: &'static str, script: &'static str, ask: fn(Spec, &Path) -> Spec, status: Status) -> Kind {
    Kind { name, script, ask, status, result: (None, "") }
}

const KINDS: [Kind; 16] = [
    Kind { result: (Some(0), "x\n"), ..kind("ok", "echo x", |spec, _| spec, Status::Ok) },
    Kind { result: (Some(7), ""), ..kind("code", "exit 7", |spec, _| spec, Status::NonzeroExit) },
    kind("signal", "kill -SEGV $$", |spec, _| spec, Status::Signaled),
    kind("wall", "echo; sleep 30", |spec, _| spec.wall_time(Millis::new(60)), Status::WallTimeLimit),
    kind("cpu", "while :; do :; done", |spec, _| spec.cpu_time(Millis::new(60)), Status::CpuTimeLimit),
    kind(
        "memory",
        "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done",
        |spec, _| spec.memory(Bytes::mib(8)),
        Status::MemoryLimit,
    ),
    kind("output", "yes", |spec, _| spec, Status::OutputLimit),
    Kind {
        result: (Some(0), "in"),
        ..kind("input", "cat", |spec, _| spec.stdin(Input::Bytes(b"in".to_vec())), Status::Ok)
    },
    Kind {
        result: (Some(0), "y\n"),
        ..kind(
            "shown",
            "cat /srv/in/file",
            |spec, dir| {
                let inside = Some(InsidePath::new("/srv/in").expect("a path"));
                spec.mount(Mount::ReadOnly(PathPair { outside: dir.to_owned(), inside }))
            },
            Status::Ok,
        )
    },
    Kind {
        result: (Some(0), ""),
        ..kind(
            "brought_out",
            "echo z >made",
            |spec, dir| spec.collect(Collect { from: "made".into(), to: Some(dir.join("out")) }),
            Status::Ok,
        )
    },
    Kind {
        result: (Some(0), ""),
        ..kind(
            "tmpfs",
            "head -c 100000 /dev/zero >/srv/x",
            |spec, _| {
                let inside = InsidePath::new("/srv").expect("a path");
                spec.mount(Mount::Tmpfs { inside, size: Some(Bytes::mib(1)) })
            },
            Status::Ok,
        )
    },
    Kind {
        result: (Some(0), "x\n"),
        ..kind("no_cgroup", "echo x", |spec, _| spec.cgroup(CgroupChoice::None), Status::Ok)
    },
    Kind {
        result: (Some(0), "x\n"),
        ..kind("blocked", "echo x", |spec, _| spec.network(Network::Blocked), Status::Ok)
    },
    Kind { result: (Some(0), ""), ..kind("orphans", "sleep 30 & sleep 30 &", |spec, _| spec, Status::Ok) },
    Kind {
        result: (Some(0), ""),
        ..kind("discarded", "head -c 300000 /dev/zero", |spec, _| spec.stdout(Output::Discard), Status::Ok)
    },
    Kind { result: (Some(0), ""), ..kind("refused", "unshare -U true; true", |spec, _| spec, Status::Ok) },
];

impl Kind {
    fn run(&self, runner: &Runner, dir: &Path) -> Report {
        let spec = (self.ask)(Spec::new(["sh", "-c", self.script]).stderr(Output::Discard), dir);
        let spec = if self.name == "output" {
            let asked =
                sandbox::spec::Asked { output_size: Some(sandbox::Cap::At(Bytes::kib(64))), ..Default::default() };
            spec.limits(asked)
        } else {
            spec
        };
        runner.run(&spec).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Why the report is wrong, if it is.
    fn wrong(&self, report: &Report) -> Option<String> {
        let said = report.stdout.as_ref().and_then(|stdout| stdout.read().ok()).unwrap_or_default();
        let (code, text) = self.result;
        let right = report.status == self.status
            && (code.is_none() || report.exit_code == code)
            && (text.is_empty() || said == text.as_bytes())
            && report.teardown == "complete"
            && report.collected.iter().all(|one| one.error.is_none());
        (!right).then(|| format!("{}: {} ({:?})", self.name, report.message, report.status.name()))
    }
}

/// What could grow.
#[derive(Debug, Default)]
struct Grown {
    /// Ours and the spawner's.
    descriptors: usize,
    memory: u64,
    processes: Vec<String>,
    mounts: usize,
}

fn look() -> Grown {
    let mut grown = Grown { mounts: mounts(), ..Grown::default() };
    let mut all = vec![std::process::id()];
    for (pid, words) in beneath(std::process::id()) {
        if !words.contains(") Z") {
            all.push(pid);
            grown.processes.push(words);
        }
    }
    for pid in all {
        grown.descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        grown.memory += pages * 4096;
    }
    grown
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").map_or(0, |table| table.lines().count())
}

/// Makes so many runs; each kind in turn, so that every one meets every other.
fn many(runner: &Runner, dir: &Path, runs: u64, times: &Mutex<Vec<Duration>>) -> Vec<String> {
    let next = AtomicU64::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..AT_ONCE {
            let own = dir.join(thread.to_string());
            fs::create_dir_all(&own).expect("a directory of ours");
            fs::write(own.join("file"), "y\n").expect("a file of ours");
            let (next, wrong) = (&next, &wrong);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    // Co-prime with the number of kinds, and no thread keeps to its own.
                    let kind = &KINDS[(number * 7 + number / 16) as usize % KINDS.len()];
                    let begun = Instant::now();
                    let report = kind.run(runner, &own);
                    if kind.name == "ok" {
                        times.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
                    }
                    wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(kind.wrong(&report));
                }
            });
        }
    });
    wrong.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

fn soak(dir: &Path, runs: u64) {
    let groups = cgroups();
    let runner = Runner::new().unwrap_or_else(|e| panic!("{e}"));
    let times = Mutex::new(Vec::new());
    let mut wrong = many(&runner, dir, (runs / 10).max(AT_ONCE * 16), &times);
    let (before, early) = (look(), times.lock().unwrap_or_else(PoisonError::into_inner).split_off(0));
    let begun = Instant::now();
    wrong.extend(many(&runner, dir, runs, &times));
    let (took, after) = (begun.elapsed(), look());
    let late = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last = &late[late.len() - late.len().min(early.len())..];
    println!("{runs} runs in {took:?}, {} wrong", wrong.len());
    println!(
        "descriptors {} -> {}, resident {} -> {} KiB, mounts {} -> {}",
        before.descriptors,
        after.descriptors,
        before.memory >> 10,
        after.memory >> 10,
        before.mounts,
        after.mounts
    );
    for percent in [50, 99] {
        println!(
            "a run of echo, percentile {percent}: {:?} at first, {:?} at last",
            percentile(&early, percent),
            percentile(last, percent)
        );
    }
    assert!(wrong.is_empty(), "wrong: {}", wrong.join("\n"));
    assert_eq!(after.descriptors, before.descriptors, "descriptors grow");
    assert!(after.memory <= before.memory + SLACK, "memory grows: {} -> {}", before.memory, after.memory);
    assert_eq!(after.processes.len(), 1, "only the spawner lives on: {:?}", after.processes);
    drop(runner);
    let left: BTreeSet<String> = cgroups().difference(&groups).cloned().collect();
    let end = Instant::now() + Duration::from_secs(5);
    let mut left: Vec<PathBuf> = left.into_iter().map(PathBuf::from).collect();
    // Other test programs run beside this one: their groups come and go.
    while !left.is_empty() {
        assert!(Instant::now() < end, "cgroups are left: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
        left.retain(|group| group.exists());
    }
}

fn many_runs_leave_everything_as_it_was(place: &Place) {
    soak(&place.mkdir("soak"), RUNS);
}

fn cases(_sources: &Path) -> Vec<Case> {
    Case::of_table("soak", TESTS)
}

fn main() -> ExitCode {
    match std::env::var("SANDBOX_SOAK").ok().and_then(|runs| runs.parse().ok()) {
        Some(runs) => {
            let dir = tempfile::tempdir().expect("a temporary directory");
            soak(dir.path(), runs);
            ExitCode::SUCCESS
        }
        None => support::run_all(&[], cases),
    }
}
