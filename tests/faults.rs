//! Bad luck at every point: each step of each stock plan refused, the launcher killed at any moment, each of its system
//! calls failing once, machines without room. The failure is told by its name, the command never ran, nothing is left.

mod support;

#[path = "faults/calls.rs"]
mod calls;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/scarcity.rs"]
mod scarcity;
#[path = "faults/steps.rs"]
mod steps;
#[path = "faults/stock.rs"]
mod stock;

use std::path::Path;
use std::process::ExitCode;
use support::Case;

fn cases(_sources: &Path) -> Vec<Case> {
    let mut cases = stock::cases("steps", steps::every_step_refused);
    cases.extend(calls::cases());
    for (subject, table) in [("steps", steps::TESTS), ("killed", killed::TESTS), ("scarcity", scarcity::TESTS)] {
        cases.extend(Case::of_table(subject, table));
    }
    cases
}

fn main() -> ExitCode {
    support::run_all(&[], cases)
}
