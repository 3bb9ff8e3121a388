//! Hostile programs of our own: each file in C beside this one names its technique, the layer that stops it, and the
//! outcome that proves it; further ones here need two runs, or a host that watches.

#[path = "../support/mod.rs"]
mod support;

mod header;
mod side_by_side;

use header::Attack;
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
    assert!(place.names().iter().all(|name| *name == attack.name), "files came out: {:?}", place.names());
}

fn main() -> ExitCode {
    support::run_all(&["attacks"], cases)
}
