//! What the shell sees: the program's own code, 128 + N, 124, 125, 126, 127, 2; and that the report tells them apart.

use crate::support::{Place, Test, needs, test};

pub(crate) const TESTS: &[Test] = &[
    test!(the_programs_own_code_comes_through),
    test!(a_death_by_signal_is_128_and_its_number, needs!(Cc)),
    test!(abort_is_sigabrt_because_the_payload_is_not_pid_1),
    test!(a_signal_death_gets_a_line_and_an_exit_does_not),
    test!(a_limit_is_124),
    test!(the_programs_own_124_differs_in_the_report),
    test!(the_programs_own_137_differs_from_sigkill_in_the_report),
    test!(a_missing_command_is_127),
    test!(what_cannot_be_executed_is_126),
    test!(bad_words_are_2),
    test!(a_report_that_cannot_be_written_is_125),
    test!(with_json_every_ending_prints_a_report),
    test!(the_first_word_that_is_no_option_starts_the_command),
    test!(a_program_that_leaves_others_running_is_ok_and_they_are_ended),
    test!(the_right_ending_wins_when_several_have_evidence, needs!(Cc)),
];

fn the_programs_own_code_comes_through(place: &Place) {
    for code in [0, 1, 2, 42, 125, 126, 127, 255] {
        let output = place.run(&["sh", "-c", &format!("exit {code}")]).output();
        output.assert_code(code);
        assert_eq!(output.stderr, "", "an exit of the program's own needs no line of ours");
        let report = place.json(&["sh", "-c", &format!("exit {code}")]).output();
        report.assert_code(code).assert_status(if code == 0 { "ok" } else { "nonzero-exit" });
        assert_eq!(report.at("exit_code"), code);
        assert!(report.at("signal").is_null() && report.at("killed_by").is_null(), "{:#}", report.report());
    }
}

fn a_death_by_signal_is_128_and_its_number(place: &Place) {
    let payload = place.payload();
    let signals = [(1, "SIGHUP"), (6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (13, "SIGPIPE"), (15, "SIGTERM")];
    for (signal, name) in signals {
        let output = place.json(&["--", &payload, "raise", &signal.to_string()]).output();
        output.assert_code(128 + signal).assert_status("signaled");
        assert_eq!(output.at("signal"), signal);
        assert_eq!(output.at("signal_name"), name);
        assert_eq!(output.at("killed_by"), "program");
        assert!(output.at("exit_code").is_null());
    }
}

fn abort_is_sigabrt_because_the_payload_is_not_pid_1(place: &Place) {
    place.run(&["sh", "-c", "kill -ABRT $$"]).output().assert_code(134);
    place.run(&["sh", "-c", "[ $$ -ne 1 ]"]).output().assert_code(0);
}

fn a_signal_death_gets_a_line_and_an_exit_does_not(place: &Place) {
    let output = place.run(&["sh", "-c", "kill -SEGV $$"]).output();
    output.assert_code(139);
    assert!(output.stderr.starts_with("sandbox: ") && output.stderr.contains("SIGSEGV"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(place.run(&["-q", "sh", "-c", "kill -SEGV $$"]).output().stderr, "");
}

fn a_limit_is_124(place: &Place) {
    let output = place.run(&["--wall-time", "200ms", "sleep", "30"]).output();
    output.assert_code(124);
    assert!(output.stderr.starts_with("sandbox: "), "{}", output.stderr);
}

fn the_programs_own_124_differs_in_the_report(place: &Place) {
    let own = place.json(&["sh", "-c", "exit 124"]).output();
    own.assert_code(124).assert_status("nonzero-exit");
    let ours = place.json(&["--wall-time", "200ms", "sleep", "30"]).output();
    ours.assert_code(124).assert_status("wall-time-limit");
    assert!(ours.at("exit_code").is_null(), "a program that was ended has no exit code");
}

fn the_programs_own_137_differs_from_sigkill_in_the_report(place: &Place) {
    place.json(&["sh", "-c", "exit 137"]).output().assert_code(137).assert_status("nonzero-exit");
    place.json(&["sh", "-c", "kill -9 $$"]).output().assert_code(137).assert_status("signaled");
}

fn a_missing_command_is_127(place: &Place) {
    for command in ["no-such-command", "./no-such-file", "/no/such/file"] {
        place.run(&[command]).output().assert_error(127, &[command.rsplit('/').next().unwrap_or(command)]);
        place.json(&[command]).output().assert_code(127).assert_status("exec-failed");
    }
}

fn what_cannot_be_executed_is_126(place: &Place) {
    place.write("plain", "no program\n");
    place.mkdir("directory");
    for command in ["./plain", "./directory", "/usr"] {
        place.run(&[command]).output().assert_error(126, &[command.rsplit('/').next().unwrap_or(command)]);
        place.json(&[command]).output().assert_code(126).assert_status("exec-failed");
    }
}

fn bad_words_are_2(place: &Place) {
    for words in [
        &["--no-such-flag", "true"][..],
        &[],
        &["--"],
        &["--mem"],
        &["--mem", "many", "true"],
        &["--mem", "-1", "true"],
        &["--mem", "0", "true"],
        &["--mem", "256", "true"],
        &["--cpu-time", "0", "true"],
        &["--wall-time", "0s", "true"],
        &["--wall-time", "-1s", "true"],
        &["--wall-time", "soon", "true"],
        &["--pids", "0", "true"],
        &["--net", "everything", "true"],
        &["--workdir", "../up", "true"],
        &["--ro", "a:b:c", "true"],
        &["--tmpfs", "/t:large", "true"],
        &["--hostname", "no name", "true"],
        &["--env", "=x", "true"],
        &["--output-over", "ignore", "true"],
        &["--report-fd", "x", "true"],
        &["--cpu-set", "3-1", "true"],
    ] {
        let output = place.run(words).output();
        output.assert_code(2);
        assert!(!output.stderr.is_empty(), "{words:?} got no words");
    }
    let hint = place.run(&["--mem", "256", "true"]).output();
    assert!(hint.stderr.contains("did you mean 256M?"), "{}", hint.stderr);
    let close = place.run(&["--memm", "256M", "true"]).output();
    assert!(close.stderr.contains("--mem"), "{}", close.stderr);
}

fn a_report_that_cannot_be_written_is_125(place: &Place) {
    place.run(&["--report", "/dev/full", "true"]).output().assert_error(125, &["/dev/full"]);
    place
        .run(&["--report", "no/such/directory/r", "touch", "ran"])
        .output()
        .assert_error(125, &["no/such/directory/r"]);
    place.run(&["--report-fd", "77", "true"]).output().assert_error(125, &["77"]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = place.sandbox(&["run", "--json", "true"]).stdout(full).output();
    output.assert_code(125);
}

fn with_json_every_ending_prints_a_report(place: &Place) {
    place.write("plain", "");
    for (words, code, status) in [
        (&["true"][..], 0, "ok"),
        (&["false"], 1, "nonzero-exit"),
        (&["sh", "-c", "kill -9 $$"], 137, "signaled"),
        (&["--wall-time", "100ms", "sleep", "9"], 124, "wall-time-limit"),
        (&["no-such-command"], 127, "exec-failed"),
        (&["./plain"], 126, "exec-failed"),
        (&["--mem", "many", "true"], 2, "sandbox-failed"),
        (&["--no-such-flag", "true"], 2, "sandbox-failed"),
        (&["--dir", "/no/such/directory", "true"], 125, "sandbox-failed"),
    ] {
        let output = place.json(words).output();
        output.assert_code(code).assert_status(status);
        assert_eq!(output.at("schema"), 1);
        let message = output.at("message").as_str().unwrap_or("");
        assert!(!message.is_empty() && !message.contains('\n'), "{words:?}: no plain sentence: {message:?}");
    }
}

fn the_first_word_that_is_no_option_starts_the_command(place: &Place) {
    place.run(&["echo", "--mem", "x", "-q"]).output().assert_ok().assert_said("--mem x -q\n");
    place.run(&["--", "echo", "--", "x"]).output().assert_ok().assert_said("-- x\n");
}

fn a_program_that_leaves_others_running_is_ok_and_they_are_ended(place: &Place) {
    let output = place.json(&["sh", "-c", "sleep 30 & sleep 30 & echo done"]).output();
    output.assert_ok().assert_said("done\n");
    assert_eq!(output.number("left_running"), 2);
    assert!(output.took.as_secs() < 5, "it took {:?}", output.took);
    assert_eq!(place.json(&["true"]).output().number("left_running"), 0);
}

/// First what we ended it for, then file size, signal, exit.
fn the_right_ending_wins_when_several_have_evidence(place: &Place) {
    let payload = place.payload();
    // The child is over its memory, the parent then exits 7.
    let script = format!("{payload} allocate anon 200; exit 7");
    place.json(&["--mem", "64M", "sh", "-c", &script]).output().assert_limit("memory-limit", "memory");
    // A child dies by SIGXFSZ, the parent exits 0: the main program's own ending stands.
    let script = format!("{payload} grow f 65536; exit 0");
    place.json(&["--file-size", "64K", "sh", "-c", &script]).output().assert_ok();
}
