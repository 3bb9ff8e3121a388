//! `sandbox check` and `sandbox explain`, `--help` and `--version`: words about the machine and the plan, running nothing.

use crate::support::{Call, Place, Test, needs, test};
use serde_json::Value;

pub(crate) const TESTS: &[Test] = &[
    test!(check_says_what_this_machine_can_do),
    test!(check_is_0_with_kernel_limits, needs!(KernelLimits)),
    test!(check_is_1_with_weaker_limits_and_names_the_fix, needs!(NoKernelLimits)),
    test!(check_prints_facts_as_json),
    test!(explain_prints_the_plan_and_runs_nothing),
    test!(explain_takes_another_machines_facts),
    test!(explain_refuses_what_run_refuses),
    test!(help_names_every_option_of_the_contract),
    test!(the_version_is_printed),
];

fn check(place: &Place) -> Call {
    place.sandbox(&["check"])
}

fn check_says_what_this_machine_can_do(place: &Place) {
    let output = check(place).output();
    assert!([0, 1].contains(&output.code), "{}: {} {}", output.code, output.text(), output.stderr);
    let said = output.text();
    for word in ["memory", "cpu", "processes", "Landlock", "user namespaces"] {
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "'{word}' is not in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "colour without a terminal");
}

fn check_is_0_with_kernel_limits(place: &Place) {
    check(place).output().assert_code(0);
}

fn check_is_1_with_weaker_limits_and_names_the_fix(place: &Place) {
    let output = check(place).output();
    output.assert_code(1);
    let said = output.text();
    assert!(said.contains("Delegate=yes") || said.contains("setup --apply") || said.contains("sudo"), "{said}");
}

fn facts(place: &Place) -> String {
    let output = check(place).args(["--json"]).output();
    assert!([0, 1].contains(&output.code), "{}", output.stderr);
    output.text()
}

fn check_prints_facts_as_json(place: &Place) {
    let facts: Value = serde_json::from_str(&facts(place)).expect("JSON");
    assert!(facts.is_object(), "{facts:#}");
}

fn explain_prints_the_plan_and_runs_nothing(place: &Place) {
    let words = ["explain", "--rw", ".", "--mem", "100M", "--", "touch", "ran"];
    let output = place.sandbox(&words).output();
    output.assert_code(0);
    let said = output.text();
    for word in ["/box", "memory", "touch"] {
        assert!(said.contains(word), "'{word}' is not in:\n{said}");
    }
    assert!(!place.path("ran").exists());
}

fn explain_takes_another_machines_facts(place: &Place) {
    place.write("host.json", facts(place));
    let output = place.sandbox(&["explain", "--host", "host.json", "--", "true"]).output();
    output.assert_code(0);
    let own = place.sandbox(&["explain", "--", "true"]).output();
    assert_eq!(output.text().lines().count(), own.text().lines().count());
    place.write("bad.json", "{");
    place.sandbox(&["explain", "--host", "bad.json", "--", "true"]).output().assert_error(2, &["bad.json"]);
}

fn explain_refuses_what_run_refuses(place: &Place) {
    place.sandbox(&["explain", "--mem", "256", "--", "true"]).output().assert_code(2);
    place.sandbox(&["explain", "--no-such-flag", "true"]).output().assert_code(2);
}

fn help_names_every_option_of_the_contract(place: &Place) {
    let output = place.sandbox(&["run", "--help"]).output();
    output.assert_code(0);
    let said = output.text();
    for option in [
        "--mem",
        "--memory",
        "-m",
        "--cpu-time",
        "--wall-time",
        "--timeout",
        "--pids",
        "--pids-limit",
        "--output-size",
        "--output-over",
        "--file-size",
        "--disk",
        "--inodes",
        "--open-files",
        "--stack",
        "--cpus",
        "--require",
        "--dir",
        "--ro",
        "--rw",
        "--tmpfs",
        "--workdir",
        "-w",
        "--out",
        "--env",
        "-e",
        "--hostname",
        "--net",
        "--network",
        "--stdin",
        "--stdout",
        "--stderr",
        "--stdio",
        "--json",
        "--report",
        "--report-fd",
        "--stats",
        "--quiet",
        "-q",
    ] {
        assert!(said.contains(option), "{option} is not in the help");
    }
    place.sandbox(&["--help"]).output().assert_code(0);
    place.sandbox::<&str>(&[]).output().assert_code(2);
}

fn the_version_is_printed(place: &Place) {
    let output = place.sandbox(&["--version"]).output();
    output.assert_code(0);
    assert!(output.text().contains(env!("CARGO_PKG_VERSION")), "{}", output.text());
}
