//! Hostile programs of our own: each file in C beside this one names its technique, the layer that stops it, and the
//! outcome that proves it; further ones here need two runs, or a host that watches.

#[path = "../support/mod.rs"]
mod support;

mod header;
mod side_by_side;

use header::Attack;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use support::{Case, Feature, Place, Who};

fn cases(sources: &Path) -> Vec<Case> {
    let mut cases: Vec<Case> = header::read_all(sources).into_iter().map(case).collect();
    cases.extend(Case::of_table("side_by_side", side_by_side::TESTS).into_iter().map(|mut case| {
        case.programs.push("abstract_socket".to_owned());
        case
    }));
    cases
}

fn case(attack: Attack) -> Case {
    let mut needs = attack.needs.clone();
    needs.push(Feature::Cc);
    Case {
        name: attack.name.clone(),
        who: Who::Both,
        needs,
        programs: vec![attack.name.clone()],
        run: Box::new(move |place| run(place, &attack)),
    }
}

/// What an attack may bring out at most: the largest `--disk` that a header names.
const LARGEST: u64 = 8 << 20;

fn run(place: &Place, attack: &Attack) {
    let program = place.bring(&attack.name);
    let output = place.json(&attack.options).args(["--", &program]).env("SANDBOX_SECRET", "hidden-4711").output();
    let report = output.report();
    let told = report["stderr"]["text"].as_str().unwrap_or("");
    assert!(!told.contains("GOT THROUGH") && !told.contains("BROKEN"), "{told}\n{report:#}");
    assert!(attack.statuses.iter().any(|status| *status == output.status()), "not {:?}: {report:#}", attack.statuses);
    if let Some(code) = attack.exit {
        assert_eq!(report["exit_code"], code, "{report:#}");
    }
    for call in &attack.refused {
        let refused = report["refused"].as_array().cloned().unwrap_or_default();
        assert!(
            refused.iter().any(|one| one["syscall"] == call.as_str()),
            "{call} is not among the refused: {report:#}"
        );
    }
    assert!(output.took < attack.takes, "it took {:?}", output.took);
    for name in place.names().into_iter().filter(|name| *name != attack.name) {
        let meta = fs::symlink_metadata(place.path(&name)).expect("it was listed");
        assert!(meta.is_file() && meta.len() <= LARGEST, "{name} came out: {meta:?}");
        let host = fs::read("/etc/passwd").expect("every host has one");
        assert!(fs::read(place.path(&name)).is_ok_and(|bytes| bytes != host), "{name} is a file of the host");
    }
}

fn main() -> ExitCode {
    support::run_all(&["attacks"], cases)
}
