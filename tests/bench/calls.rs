//! System calls of one run, launcher and sandbox together, without the program's own. Their number is stable where time is
//! not, so it is what a change is held to: `tests/bench/guard` runs this where every machine looks alike.

use crate::candidate::{Candidates, PROGRAM, run_words};
use crate::options::Options;
use crate::{peers, worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// In every mode: no cgroup, since which can be had hangs on the machine, and no limit that is then looked after by polling,
/// since how often that happens hangs on the time that a run takes.
const ALIKE: [&str; 6] = ["--cgroup", "none", "--mem", "unlimited", "--cpu-time", "unlimited"];
/// What is counted.
const SCENARIOS: [(&str, &[&str]); 3] = [
    ("default", &[]),
    ("--dir none", &["--dir", "none"]),
    ("--dir none --net blocked", &["--dir", "none", "--net", "blocked"]),
];
/// How often each is counted: the least counts, since a loop that wakes once more is no change of ours.
const TIMES: usize = 7;

/// Calls by name.
type Calls = BTreeMap<String, u64>;

/// What is committed.
#[derive(Default, Serialize, Deserialize)]
struct Baseline {
    /// By scenario.
    calls: BTreeMap<String, Calls>,
}

pub(crate) fn count(options: &Options, candidates: &Candidates) -> Result<(Value, bool), String> {
    let strace = peers::find("strace").ok_or("counting system calls needs strace")?;
    let work = candidates.work();
    let own = counted(&strace, &[PROGRAM.into()], &work)?;
    let mut now = Baseline::default();
    for (name, words) in SCENARIOS {
        let words = [&ALIKE, words].concat();
        let mut calls = counted(&strace, &run_words(&candidates.sandbox, &words), &work)?;
        for (call, own) in &own {
            if let Some(count) = calls.get_mut(call) {
                *count = count.saturating_sub(*own);
            }
        }
        calls.retain(|_, count| *count > 0);
        now.calls.insert(name.to_owned(), calls);
    }
    let file = &options.baseline;
    let cannot = |doing: &str, why: String| format!("cannot {doing} {}: {why}", file.display());
    if options.write_baseline {
        let text = serde_json::to_string_pretty(&now).map_err(|e| e.to_string())? + "\n";
        std::fs::write(file, text).map_err(|e| cannot("write", e.to_string()))?;
    }
    let text = std::fs::read_to_string(file).map_err(|e| cannot("read", e.to_string()))?;
    let before: Baseline = serde_json::from_str(&text).map_err(|e| cannot("read", e.to_string()))?;
    println!("\nsystem calls of one run, of at most {} % more than the baseline", options.tolerance);
    let mut within = true;
    for (name, calls) in &now.calls {
        let Some(known) = before.calls.get(name) else { return Err(format!("the baseline has no '{name}'")) };
        let (is, was): (u64, u64) = (calls.values().sum(), known.values().sum());
        let fits = is * 100 <= was * (100 + options.tolerance);
        println!("{name:44} {is:6} (baseline {was}){}", if fits { "" } else { "  TOO MANY" });
        if !fits {
            within = false;
            for (call, is, was) in changed(known, calls) {
                println!("    {call:24} {was:5} -> {is}");
            }
        } else if is * 100 < was * (100 - options.tolerance.min(100)) {
            println!("    far fewer: commit a new baseline, so that they stay so");
        }
    }
    Ok((json!(now.calls), within))
}

/// Calls whose number is another than it was.
fn changed<'a>(known: &'a Calls, calls: &'a Calls) -> impl Iterator<Item = (&'a str, u64, u64)> {
    let names = known.keys().chain(calls.keys().filter(|name| !known.contains_key(*name)));
    names.filter_map(|name| {
        let of = |calls: &Calls| calls.get(name).copied().unwrap_or(0);
        let (is, was) = (of(calls), of(known));
        (is != was).then_some((name.as_str(), is, was))
    })
}

fn counted(strace: &Path, words: &[OsString], work: &Path) -> Result<Calls, String> {
    let mut least: Option<Calls> = None;
    for _ in 0..TIMES {
        let calls = count_once(strace, words, work)?;
        if least.as_ref().is_none_or(|least| calls.values().sum::<u64>() < least.values().sum()) {
            least = Some(calls);
        }
    }
    least.ok_or_else(|| "nothing was counted".to_owned())
}

fn count_once(strace: &Path, words: &[OsString], work: &Path) -> Result<Calls, String> {
    let table = work.with_file_name("calls");
    let mut all: Vec<OsString> = vec![strace.into()];
    all.extend(["-f", "-c", "-U", "calls,name", "-o"].map(OsString::from));
    all.push(table.clone().into());
    all.extend(words.iter().cloned());
    let status = worker::command(&all).current_dir(work).status().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("a traced run ended with {status}"));
    }
    let text = std::fs::read_to_string(&table).map_err(|e| format!("cannot read {}: {e}", table.display()))?;
    // Heads and rules are no numbers; the last line is the sum.
    Ok(text
        .lines()
        .filter_map(|line| {
            let (count, name) = line.trim().split_once(char::is_whitespace)?;
            Some((name.trim().to_owned(), count.parse().ok()?))
        })
        .filter(|(name, _)| name != "total")
        .collect())
}
