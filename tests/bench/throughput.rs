//! Runs per second of several clients at once, and the CPU time that the machine as a whole spends on one run.

use crate::candidate::Candidates;
use crate::machine::busy;
use crate::options::Options;
use crate::rounds::Shuffle;
use crate::{two_digits, worker};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: [usize; 3] = [1, 2, 8];
/// How many turns a figure is measured in, so that a busy moment of the machine does not fall on one candidate alone.
const TURNS: u32 = 5;
/// What is torn down after the last end: network namespaces, above all.
const SETTLE: Duration = Duration::from_millis(300);
/// Runs of one turn of the CPU measurement: the machine's accounting counts in 10 ms.
const RUNS: u32 = 40;

/// Runs within `span` by so many clients.
fn runs_of(work: &std::path::Path, words: &[OsString], clients: usize, span: Duration) -> Result<u64, String> {
    let runs = AtomicU64::new(0);
    let end = Instant::now() + span;
    let client = || {
        while Instant::now() < end {
            let status = worker::command(words).current_dir(work).status().map_err(|e| e.to_string())?;
            if !status.success() {
                return Err(status.to_string());
            }
            runs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or(Err("a client died".to_owned())))
    })?;
    Ok(runs.into_inner())
}

pub(crate) fn throughput(options: &Options, candidates: &Candidates) -> Result<Value, String> {
    // One container of a name at a time: these two have no part in it.
    let rows: Vec<_> = candidates.executed().filter(|(name, _)| !matches!(*name, "crun" | "runc")).collect();
    let work = candidates.work();
    let span = Duration::from_secs(options.seconds) / TURNS;
    let mut sums = vec![[(0_u64, 0.0_f64); CLIENTS.len()]; rows.len()];
    let mut shuffle = Shuffle::new();
    for _ in 0..TURNS {
        for row in shuffle.order(rows.len()) {
            for (column, clients) in CLIENTS.into_iter().enumerate() {
                let begun = Instant::now();
                let runs =
                    runs_of(&work, rows[row].1, clients, span).map_err(|why| format!("{}: {why}", rows[row].0))?;
                sums[row][column].0 += runs;
                sums[row][column].1 += begun.elapsed().as_secs_f64();
                std::thread::sleep(SETTLE);
            }
        }
    }
    println!("\nruns per second");
    println!("{:44} {:>9} {:>9} {:>9}", "clients", CLIENTS[0], CLIENTS[1], CLIENTS[2]);
    let mut all = Vec::new();
    for ((name, _), sums) in rows.iter().zip(&sums) {
        let rates = sums.map(|(runs, seconds)| runs as f64 / seconds.max(f64::MIN_POSITIVE));
        println!("{name:44} {:9.0} {:9.0} {:9.0}", rates[0], rates[1], rates[2]);
        all.push(json!({ "name": name, "clients": CLIENTS, "per_second": rates.map(two_digits) }));
    }
    Ok(json!(all))
}

/// By the machine's own accounting, less what it does without us.
pub(crate) fn cpu_per_run(options: &Options, candidates: &Candidates) -> Result<Value, String> {
    let rows: Vec<_> = candidates.executed().collect();
    let work = candidates.work();
    let turns = (options.rounds as u32).div_ceil(RUNS).max(1);
    let mut spent = vec![0.0; rows.len()];
    let (mut idle_busy, mut idle_span) = (0.0, 0.0);
    let mut spans = vec![0.0; rows.len()];
    let mut shuffle = Shuffle::new();
    for _ in 0..turns {
        for row in shuffle.order(rows.len() + 1) {
            let (begun, before) = (Instant::now(), busy()?);
            // One more than there are: nothing runs, to see what the machine does by itself.
            if let Some((name, words)) = rows.get(row) {
                for _ in 0..RUNS {
                    let status = worker::command(words).current_dir(&work).status().map_err(|e| e.to_string())?;
                    if !status.success() {
                        return Err(format!("{name}: {status}"));
                    }
                }
            }
            std::thread::sleep(SETTLE);
            let (span, used) = (begun.elapsed().as_secs_f64(), busy()? - before);
            match spent.get_mut(row) {
                Some(sum) => {
                    *sum += used;
                    spans[row] += span;
                }
                None => (idle_busy, idle_span) = (idle_busy + used, idle_span + span),
            }
        }
    }
    let idle = idle_busy / f64::max(idle_span, f64::MIN_POSITIVE);
    println!("\nCPU time of the whole machine per run, µs (it does {:.1} % by itself)", idle * 100.0);
    let mut all = Vec::new();
    for (((name, _), spent), span) in rows.iter().zip(&spent).zip(&spans) {
        let per_run = (spent - idle * span) / f64::from(turns * RUNS) * 1e6;
        println!("{name:44} {per_run:9.0}");
        all.push(json!({ "name": name, "us": two_digits(per_run) }));
    }
    Ok(json!({ "by_itself": two_digits(idle), "rows": all }))
}
