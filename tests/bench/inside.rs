//! What being inside costs a program that runs: the same work bare and in the sandbox, timed by the program itself.

use crate::candidate::Candidates;
use crate::options::Options;
use crate::rounds::{Shuffle, Times, micros};
use crate::{two_digits, worker};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The hidden first word.
pub(crate) const WORK: &str = "work";

/// A kind of work: its name, what one unit of it is, and how many units one run does.
struct Work {
    name: &'static str,
    unit: &'static str,
    units: u64,
    run: fn(u64),
}

const WORKS: [Work; 5] = [
    Work { name: "cpu", unit: "1000 multiplications", units: 20_000, run: multiply },
    Work { name: "system call", unit: "getppid", units: 500_000, run: call },
    Work { name: "fork", unit: "vfork, exec and wait", units: 100, run: fork },
    Work { name: "page fault", unit: "page", units: 40_000, run: fault },
    Work { name: "file open", unit: "open and close", units: 50_000, run: open },
];

fn multiply(units: u64) {
    let mut product = 1_u64;
    for round in 0..units * 1000 {
        product = black_box(product).wrapping_mul(round | 1);
    }
    black_box(product);
}

fn call(units: u64) {
    for _ in 0..units {
        black_box(nix::unistd::getppid());
    }
}

fn fork(units: u64) {
    for _ in 0..units {
        let _ = worker::command(&["/bin/true".into()]).status();
    }
}

fn fault(units: u64) {
    /// Above every allocator's threshold, so that the memory comes fresh from the kernel.
    const PAGES: usize = 8192;
    for _ in 0..units.div_ceil(PAGES as u64) {
        let mut block = vec![0_u8; PAGES * 4096];
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(block);
    }
}

fn open(units: u64) {
    for _ in 0..units {
        let _ = black_box(std::fs::File::open("/usr/bin/env"));
    }
}

/// Does the work named, and says on stdout how many nanoseconds it took.
pub(crate) fn enter(words: &[String]) -> Result<(), String> {
    let name = words.first().map(String::as_str).unwrap_or_default();
    let work = WORKS.iter().find(|work| work.name == name).ok_or("no such work")?;
    (work.run)(work.units / 20);
    let begun = Instant::now();
    (work.run)(work.units);
    println!("{}", begun.elapsed().as_nanos());
    Ok(())
}

fn time(words: &[OsString], work: &std::path::Path) -> Result<Duration, String> {
    let output = worker::command(words)
        .current_dir(work)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map(Duration::from_nanos).map_err(|_| {
        format!(
            "{}: {}",
            words.last().map(|word| word.display().to_string()).unwrap_or_default(),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

pub(crate) fn overhead(options: &Options, candidates: &Candidates) -> Result<Value, String> {
    let turns = options.rounds.div_ceil(20).max(3);
    let bench = candidates.bench.clone().into_os_string();
    let mut shown = bench.clone();
    shown.push(":/bench");
    let inside: Vec<OsString> = vec![
        candidates.sandbox.clone().into(),
        "run".into(),
        "--ro".into(),
        shown,
        "--cpu-time".into(),
        "unlimited".into(),
        "--".into(),
        "/bench".into(),
    ];
    println!("\ninside, against bare, ns per unit: medians of {turns} interleaved runs");
    println!("{:44} {:>10} {:>10} {:>8} {:>8}", "", "bare", "inside", "ratio", "added");
    let mut shuffle = Shuffle::new();
    let mut all = Vec::new();
    for Work { name, unit, units, .. } in &WORKS {
        let both = [vec![bench.clone()], inside.clone()].map(|mut words| {
            words.extend([WORK, name].map(OsString::from));
            words
        });
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..turns {
            for which in shuffle.order(2) {
                times[which].push(time(&both[which], &candidates.work())?);
            }
        }
        let [bare, inside] = times.map(|times| micros(Times::of(times).median()) * 1000.0 / *units as f64);
        let label = format!("{name} ({unit})");
        println!("{label:44} {bare:10.1} {inside:10.1} {:8.3} {:8.1}", inside / bare, inside - bare);
        all.push(json!({
            "name": name,
            "unit": unit,
            "bare_ns": two_digits(bare),
            "inside_ns": two_digits(inside),
            "ratio": (inside / bare * 1000.0).round() / 1000.0,
        }));
    }
    Ok(json!(all))
}
