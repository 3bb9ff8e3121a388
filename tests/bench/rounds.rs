//! The start itself: rounds in which every candidate runs once, and what they say.

use crate::candidate::Candidates;
use crate::options::Options;
use crate::two_digits;
use serde_json::{Value, json};
use std::time::Duration;

/// What many runs of one candidate took, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// Of a hundred runs, `percent` were no slower. 0 for the fastest.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// An order drawn anew for each round: what one candidate leaves to be torn down after its end then falls on all others.
pub(crate) struct Shuffle(u64);

impl Shuffle {
    pub(crate) fn new() -> Shuffle {
        Shuffle(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub(crate) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            order.swap(at, self.below(at + 1));
        }
        order
    }
}

pub(crate) fn start(options: &Options, candidates: &mut Candidates) -> Result<Value, String> {
    let count = candidates.rows.len();
    let mut taken = vec![Vec::with_capacity(options.rounds); count];
    let mut shuffle = Shuffle::new();
    for _ in 0..options.rounds {
        for row in shuffle.order(count) {
            std::thread::sleep(options.pause);
            taken[row].push(candidates.time(row)?);
        }
    }
    let times: Vec<Times> = taken.iter().cloned().map(Times::of).collect();
    println!("\nstart of /bin/true, µs, {} interleaved rounds", options.rounds);
    println!("{:44} {:>8} {:>8} {:>8} {:>9} {:>8}", "", "min", "median", "p99", "× plain", "× bwrap");
    let named = |name: &str| candidates.rows.iter().position(|row| row.name == name);
    let mut rows = Vec::new();
    for (row, time) in candidates.rows.iter().zip(&times) {
        let ratio = |to: usize| time.median().as_secs_f64() / times[to].median().as_secs_f64().max(f64::MIN_POSITIVE);
        let to_plain = ratio(row.plain);
        let bwrap = if row.name.starts_with("user: ") { "user: bwrap" } else { "bwrap" };
        let to_bwrap = named(bwrap).map(ratio);
        println!(
            "{:44} {:8.0} {:8.0} {:8.0} {:9.2} {:>8}",
            row.name,
            micros(time.percentile(0)),
            micros(time.median()),
            micros(time.percentile(99)),
            to_plain,
            to_bwrap.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        );
        rows.push(json!({
            "name": row.name,
            "min_us": two_digits(micros(time.percentile(0))),
            "median_us": two_digits(micros(time.median())),
            "p99_us": two_digits(micros(time.percentile(99))),
            "to_plain": two_digits(to_plain),
            "to_bwrap": to_bwrap.map(two_digits),
        }));
    }
    Ok(json!({ "rounds": options.rounds, "rows": rows }))
}
