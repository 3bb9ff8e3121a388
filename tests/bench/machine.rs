//! The machine: what it is, how noisy it was, and what the launcher takes of it.

use crate::candidate::Candidates;
use crate::{two_digits, worker};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// USER_HZ: the unit of /proc/stat, the same on every architecture we build for.
const TICKS: f64 = 100.0;

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
fn ticks() -> Result<[u64; 8], String> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("cannot read /proc/stat: {e}"))?;
    let mut words = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let mut ticks = [0; 8];
    for tick in &mut ticks {
        *tick = words.next().and_then(|word| word.parse().ok()).ok_or("/proc/stat has not the columns we know")?;
    }
    Ok(ticks)
}

/// CPU seconds that all CPUs have spent so far.
pub(crate) fn busy() -> Result<f64, String> {
    let [user, nice, system, _, _, irq, softirq, _] = ticks()?;
    Ok((user + nice + system + irq + softirq) as f64 / TICKS)
}

/// What else went on.
pub(crate) struct Noise {
    ticks: [u64; 8],
    load: String,
}

/// The same, over the whole run.
pub(crate) struct Noised {
    steal: f64,
    busy: f64,
    before: String,
    after: String,
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

impl Noise {
    pub(crate) fn begin() -> Noise {
        Noise { ticks: ticks().unwrap_or_default(), load: load() }
    }

    pub(crate) fn end(self) -> Noised {
        let now = ticks().unwrap_or_default();
        let mut spent = [0; 8];
        for (spent, (now, before)) in spent.iter_mut().zip(now.iter().zip(self.ticks)) {
            *spent = now.saturating_sub(before);
        }
        let total = spent.iter().sum::<u64>().max(1) as f64;
        let [.., idle, iowait, _, _, steal] = spent;
        Noised {
            steal: steal as f64 / total,
            busy: 1.0 - (idle + iowait + steal) as f64 / total,
            before: self.load,
            after: load(),
        }
    }
}

impl Noised {
    pub(crate) fn sentence(&self) -> String {
        let Noised { steal, busy, before, after } = self;
        format!(
            "{:.1} % of CPU time stolen, {:.0} % busy; load {before} before, {after} after",
            steal * 100.0,
            busy * 100.0
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "steal_percent": two_digits(self.steal * 100.0),
            "busy_percent": two_digits(self.busy * 100.0),
            "load_before": self.before,
            "load_after": self.after,
        })
    }
}

/// What the figures are of.
pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.trim_start_matches(['\t', ' ', ':']),
        "mounts": read("/proc/self/mountinfo").lines().count(),
    })
}

/// The largest resident set that the launcher reached, in KiB, and the size of each sandbox binary.
pub(crate) fn memory(candidates: &Candidates) -> Result<Value, String> {
    let size = fs::metadata(&candidates.sandbox).map_err(|e| e.to_string())?.len();
    println!("\nsize of the binary {size} bytes");
    println!("largest resident set of the launcher, KiB");
    let mut all = Vec::new();
    for (name, words) in candidates.executed().filter(|(name, _)| name.contains("sandbox")) {
        let peak = launcher_peak(words, &candidates.work())?;
        println!("{name:44} {peak:9}");
        all.push(json!({ "name": name, "launcher_kib": peak }));
    }
    Ok(json!({ "binary_bytes": size, "rows": all }))
}

/// VmHWM of the process itself, looked at until it is gone: what wait4 says of it would hold what its parent had at the
/// fork.
fn launcher_peak(words: &[OsString], work: &std::path::Path) -> Result<u64, String> {
    let mut words = words.to_vec();
    words.pop();
    words.extend(["/bin/sleep", "0.1"].map(OsString::from));
    let mut child = worker::command(&words).current_dir(work).spawn().map_err(|e| e.to_string())?;
    let file = format!("/proc/{}/status", child.id());
    let (mut peak, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(5) {
        let status = fs::read_to_string(&file).unwrap_or_default();
        let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
        peak = line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(peak);
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.success() { Ok(peak) } else { Err(format!("the launcher ended with {status}")) }
}
