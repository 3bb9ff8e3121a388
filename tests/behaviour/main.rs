//! What `sandbox run` promises, through the binary: one named test per promise, as root and as an ordinary user.

#[path = "../support/mod.rs"]
mod support;

mod check;
mod environment;
mod errors;
mod exit_codes;
mod files;
mod limits;
mod report;
mod root;
mod signals;
mod streams;
mod tools;

use std::path::Path;
use std::process::ExitCode;
use support::Case;

fn cases(_sources: &Path) -> Vec<Case> {
    [
        ("check", check::TESTS),
        ("environment", environment::TESTS),
        ("errors", errors::TESTS),
        ("exit_codes", exit_codes::TESTS),
        ("files", files::TESTS),
        ("limits", limits::TESTS),
        ("report", report::TESTS),
        ("root", root::TESTS),
        ("signals", signals::TESTS),
        ("streams", streams::TESTS),
        ("tools", tools::TESTS),
    ]
    .into_iter()
    .flat_map(|(subject, table)| Case::of_table(subject, table))
    .collect()
}

fn main() -> ExitCode {
    support::run_all(&[], cases)
}
