//! The report: the whole truth, in the names of the contract, wherever it is sent, and no output of a program can forge it.

use crate::support::{Place, Test, needs, test};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    test!(every_member_of_the_contract_is_there),
    test!(usage_is_measured, needs!(Cc)),
    test!(cpu_time_of_children_is_counted, needs!(Cc)),
    test!(text_stays_text_and_other_bytes_are_base64),
    test!(large_output_is_captured_exactly),
    test!(words_that_are_no_text_are_base64),
    test!(the_report_can_go_to_a_file),
    test!(the_report_can_go_to_a_descriptor),
    test!(the_report_file_is_never_a_link),
    test!(the_program_cannot_replace_the_report),
    test!(output_that_looks_like_a_report_is_output),
    test!(streams_that_are_not_captured_are_null),
    test!(a_refused_call_is_named, needs!(Notify, Cc)),
    test!(stats_are_for_people),
    test!(the_isolation_that_was_reached_is_named),
    test!(a_limit_has_value_measure_unit_and_evidence),
];

fn every_member_of_the_contract_is_there(place: &Place) {
    let output = place.json(&["true"]).output();
    output.assert_ok();
    for path in [
        "schema",
        "status",
        "exit_code",
        "signal",
        "signal_name",
        "limit",
        "usage.wall_ns",
        "usage.cpu_ns",
        "usage.user_ns",
        "usage.system_ns",
        "usage.memory_peak_bytes",
        "usage.memory_source",
        "usage.cpu_source",
        "usage.processes_peak",
        "usage.voluntary_switches",
        "usage.involuntary_switches",
        "usage.disk_bytes",
        "touched.processes",
        "touched.disk",
        "touched.inodes",
        "touched.file_size",
        "touched.open_files",
        "enforcement.0.limit",
        "enforcement.0.value",
        "enforcement.0.mechanism",
        "enforcement.0.scope",
        "isolation.namespaces",
        "isolation.id_map",
        "isolation.landlock_abi",
        "isolation.policy",
        "isolation.proc",
        "isolation.network",
        "refused",
        "limits_hit",
        "killed_by",
        "left_running",
        "stdout.bytes",
        "stdout.kept",
        "stdout.truncated",
        "stdout.text",
        "stderr.bytes",
        "timings.setup_ns",
        "timings.teardown_ns",
        "command",
        "host.kernel",
        "message",
    ] {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert!(output.report().pointer(&pointer).is_some(), "{path} is missing in {:#}", output.report());
    }
    assert_eq!(output.at("schema"), 1);
    assert_eq!(output.at("command"), &serde_json::json!(["true"]));
    for path in ["signal", "signal_name", "limit", "killed_by"] {
        assert!(output.at(path).is_null(), "{path} of a run that ended well");
    }
    assert_eq!(output.at("limits_hit"), &serde_json::json!([]));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    assert_eq!(output.at("host.kernel"), kernel.trim());
}

fn usage_is_measured(place: &Place) {
    let output = place.json(&["--", &place.payload(), "burn", "0.4"]).output();
    output.assert_ok();
    let millis = |path| output.number(path) / 1_000_000;
    assert!((400..600).contains(&millis("usage.cpu_ns")), "{:#}", output.report());
    assert!(millis("usage.wall_ns") >= 400, "{:#}", output.report());
    let parts = output.number("usage.user_ns") + output.number("usage.system_ns");
    let whole = output.number("usage.cpu_ns");
    assert!(parts.abs_diff(whole) < whole / 5, "user and system time are {parts}, the whole is {whole}");
    assert!(output.number("usage.processes_peak") >= 1);
    let sleeper = place.json(&["sleep", "0.3"]).output();
    assert!(sleeper.number("usage.cpu_ns") < 100_000_000, "a sleeper's CPU time: {:#}", sleeper.report());
    assert!(sleeper.number("usage.wall_ns") >= 300_000_000);
}

fn cpu_time_of_children_is_counted(place: &Place) {
    let payload = place.payload();
    let output = place.json(&["--", &payload, "burn-children", "4", "0.2"]).output();
    let used = output.number("usage.cpu_ns") / 1_000_000;
    assert!((800..1100).contains(&used), "{used} ms were reported for 4 × 200 ms: {:#}", output.report());
}

fn text_stays_text_and_other_bytes_are_base64(place: &Place) {
    let output = place.json(&["printf", "gr\u{fc}n \u{1f980}\\n"]).output();
    assert_eq!(output.at("stdout.text"), "gr\u{fc}n \u{1f980}\n");
    assert!(output.at("stdout.base64").is_null());
    let output = place.json(&["printf", "a\\377\\000b"]).output();
    assert_eq!(output.at("stdout.base64"), "Yf8AYg==");
    assert!(output.at("stdout.text").is_null());
    assert_eq!(output.number("stdout.bytes"), 4);
}

fn large_output_is_captured_exactly(place: &Place) {
    let output = place.json(&["head", "-c", "3000000", "/dev/zero"]).output();
    output.assert_ok();
    assert_eq!((output.number("stdout.bytes"), output.number("stdout.kept")), (3_000_000, 3_000_000));
    assert!(output.said().bytes().all(|byte| byte == 0) && output.said().len() == 3_000_000);
}

fn words_that_are_no_text_are_base64(place: &Place) {
    let output = place.json(&["printf", "%s"]).args([OsStr::from_bytes(b"a\xff")]).output();
    output.assert_ok();
    assert_eq!(output.at("command.2.base64"), "Yf8=");
    assert_eq!(output.at("stdout.base64"), "Yf8=");
}

fn parsed(place: &Place, file: &str) -> Value {
    serde_json::from_str(&place.read(file)).unwrap_or_else(|e| panic!("{file}: {e}: {}", place.read(file)))
}

fn the_report_can_go_to_a_file(place: &Place) {
    for (words, code, status) in [
        (&["sh", "-c", "echo live; exit 3"][..], 3, "nonzero-exit"),
        (&["no-such-command"], 127, "exec-failed"),
        (&["--wall-time", "100ms", "sleep", "9"], 124, "wall-time-limit"),
    ] {
        place.run(&["--report", "r.json"]).args(words).output().assert_code(code);
        assert_eq!(parsed(place, "r.json")["status"], status);
    }
    place.run(&["--report", "r.json", "echo", "live"]).output().assert_said("live\n");
    assert!(parsed(place, "r.json")["stdout"].is_null(), "what went to the caller is not captured");
}

fn the_report_can_go_to_a_descriptor(place: &Place) {
    let script = "\"$SANDBOX\" run --report-fd 9 -- sh -c 'echo live; exit 3' 9>r.json";
    place.host_shell(script).output().assert_code(3).assert_said("live\n");
    assert_eq!(parsed(place, "r.json")["status"], "nonzero-exit");
    // Descriptor 9 is the caller's and must not be there inside.
    let script = "\"$SANDBOX\" run --report-fd 9 -- sh -c 'echo forged >&9' 9>r.json 2>errors; echo $?";
    place.host_shell(script).output();
    assert_eq!(parsed(place, "r.json")["schema"], 1);
}

fn the_report_file_is_never_a_link(place: &Place) {
    place.write("target", "precious");
    symlink("target", place.path("link")).expect("a link");
    place.run(&["--report", "link", "touch", "/box/ran"]).output().assert_error(125, &["link"]);
    assert_eq!(place.read("target"), "precious");
}

fn the_program_cannot_replace_the_report(place: &Place) {
    place.write("precious", "precious");
    let script = "rm -f r.json; ln -s precious r.json; echo forged >r2.json";
    // Its name is taken: that the report could not be left there is told, or it replaces the link; never follows it.
    let output = place.run(&["--rw", ".", "--report", "r.json", "sh", "-c", script]).output();
    assert!([0, 125].contains(&output.code), "{}: {}", output.code, output.stderr);
    assert_eq!(place.read("r2.json"), "forged\n", "the program ran");
    assert_eq!(place.read("precious"), "precious", "the report went through a link that the program made");
}

fn output_that_looks_like_a_report_is_output(place: &Place) {
    let forged = r#"{"schema":1,"status":"ok","exit_code":0}"#;
    let script = format!("echo '{forged}'; echo '{forged}' >&2; exit 9");
    let output = place.json(&["sh", "-c", &script]).output();
    output.assert_code(9).assert_status("nonzero-exit").assert_said(&format!("{forged}\n"));
    assert_eq!(output.at("stderr.text"), &Value::from(format!("{forged}\n")));
    assert_eq!(output.stderr, "", "captured output is in the report only");
}

fn streams_that_are_not_captured_are_null(place: &Place) {
    let output = place.sandbox(&["run", "--json", "--stdout", "out", "echo", "x"]).output();
    output.assert_ok();
    assert!(output.at("stdout").is_null(), "{:#}", output.report());
    assert_eq!(place.read("out"), "x\n");
}

fn a_refused_call_is_named(place: &Place) {
    let output = place.json(&["--", &place.payload(), "socket"]).output();
    output.assert_ok();
    assert!(output.said().starts_with("-1 E"), "a socket was made: {}", output.said());
    let refused = output.at("refused").as_array().cloned().unwrap_or_default();
    let socket = refused.iter().find(|call| call["syscall"] == "socket");
    let socket = socket.unwrap_or_else(|| panic!("no socket among the refused: {:#}", output.report()));
    assert_eq!(socket["count"], 1);
    assert_eq!(socket["args"][0], "0x2");
}

fn stats_are_for_people(place: &Place) {
    let output = place.run(&["--stats", "echo", "x"]).output();
    output.assert_ok().assert_said("x\n");
    assert!(output.stderr.lines().count() >= 1 && !output.stderr.contains('\u{1b}'), "{:?}", output.stderr);
}

fn the_isolation_that_was_reached_is_named(place: &Place) {
    let output = place.json(&["true"]).output();
    let spaces = output.at("isolation.namespaces").as_array().cloned().unwrap_or_default();
    for name in ["user", "pid", "mount", "net", "ipc", "uts", "cgroup"] {
        assert!(spaces.contains(&Value::from(name)), "{name} is missing in {spaces:?}");
    }
    assert_eq!(output.at("isolation.id_map"), if place.is_root { "fixed" } else { "self" });
    assert_eq!(output.at("isolation.network"), "none");
    let blocked = place.json(&["--net", "blocked", "true"]).output();
    assert!(!blocked.at("isolation.namespaces").as_array().expect("a list").contains(&Value::from("net")));
}

fn a_limit_has_value_measure_unit_and_evidence(place: &Place) {
    let output = place.json(&["--wall-time", "250ms", "sleep", "9"]).output();
    output.assert_limit("wall-time-limit", "wall_time");
    assert_eq!(output.number("limit.value"), 250_000_000);
    assert!(output.number("limit.measured") >= 250_000_000);
    assert_eq!(output.at("limit.unit"), "ns");
    assert!(output.at("exit_code").is_null() && output.at("signal") == 9, "{:#}", output.report());
    assert!(output.took < Duration::from_secs(5));
}
