//! What people and programs read: help, errors, explain, reports. Snapshots of the real binary's output, and the schema.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test cli` writes them anew; a change is then seen in review.

mod schema;
mod snapshots;
mod streams;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(snapshots::trials());
    trials.extend(schema::trials());
    trials.extend(streams::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
