//! How long a start takes, beside plain exec and beside its peers; `cargo bench --bench start -- --help` says more.
//!
//! Absolute times move with the machine by more than most changes do, so only figures of one run are compared: in every
//! round each candidate runs once, in an order drawn anew.

mod calls;
mod candidate;
mod inside;
mod machine;
mod options;
mod peers;
mod rounds;
mod throughput;
mod worker;

use candidate::Candidates;
use options::{Options, Part};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("bench: {sentence}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Between this program and copies of itself: not for people.
    match words.first().map(String::as_str) {
        Some(worker::WORKER) => return worker::enter(&words[1..]).map(|()| ExitCode::SUCCESS),
        Some(inside::WORK) => return inside::enter(&words[1..]).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let Some(options) = Options::parse(&words)? else { return Ok(ExitCode::SUCCESS) };
    let mut all = Map::new();
    let mut code = ExitCode::SUCCESS;
    let mut candidates = Candidates::find(&options)?;
    all.insert("machine".to_owned(), machine::describe());
    let before = machine::Noise::begin();
    for part in &options.parts {
        let figures = match part {
            Part::Start => rounds::start(&options, &mut candidates)?,
            Part::Throughput => throughput::throughput(&options, &candidates)?,
            Part::Cpu => throughput::cpu_per_run(&options, &candidates)?,
            Part::Memory => machine::memory(&candidates)?,
            Part::Inside => inside::overhead(&options, &candidates)?,
            Part::Calls => {
                let (figures, within) = calls::count(&options, &candidates)?;
                if !within {
                    code = ExitCode::FAILURE;
                }
                figures
            }
        };
        all.insert(part.name().to_owned(), figures);
    }
    let noise = before.end();
    println!("\nmachine: {}", noise.sentence());
    all.insert("noise".to_owned(), noise.json());
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", Value::Object(all));
        std::fs::write(file, text).map_err(|e| format!("cannot write {file}: {e}"))?;
    }
    Ok(code)
}

/// `0.00`, as a number that JSON readers see the same.
fn two_digits(figure: f64) -> Value {
    json!((figure * 100.0).round() / 100.0)
}
