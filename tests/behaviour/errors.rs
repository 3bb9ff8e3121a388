//! Bad input and bad luck: a clear error in one form, nothing left behind.

use crate::support::{Place, Test, needs, test};
use std::fs;

pub(crate) const TESTS: &[Test] = &[
    test!(an_error_is_one_sentence_and_one_hint),
    test!(a_missing_command_names_what_to_type),
    test!(a_command_of_the_callers_path_is_named_with_its_path),
    test!(a_host_path_is_named_with_the_flag_that_shows_it),
    test!(a_directory_is_no_command),
    test!(a_missing_interpreter_is_named),
    test!(another_architecture_is_named),
    test!(a_script_without_an_interpreter_line_is_not_run_by_a_shell),
    test!(a_very_long_argument_passes, needs!(Cc)),
    test!(too_long_arguments_are_an_error),
    test!(many_arguments_pass),
    test!(a_sandbox_inside_a_sandbox_says_so),
    test!(no_temporary_directory_is_needed),
    test!(an_unreadable_current_directory_is_named, user, &[]),
    test!(a_current_directory_that_is_gone_is_no_panic),
    test!(words_that_are_no_text_are_no_panic),
    test!(no_escape_sequence_reaches_stderr),
    test!(without_user_namespaces_the_cause_and_the_fix_are_named, root, &[]),
];

fn an_error_is_one_sentence_and_one_hint(place: &Place) {
    for words in [&["no-such-command"][..], &["--dir", "missing", "true"], &["--ro", "missing", "true"], &["/usr"]] {
        let output = place.run(words).output();
        let mut lines = output.stderr.lines();
        let sentence = lines.next().unwrap_or("");
        assert!(sentence.starts_with("sandbox: "), "{words:?}: {}", output.stderr);
        assert!(lines.all(|line| line.starts_with("hint: ") || line.starts_with("      ")), "{}", output.stderr);
        assert!(!sentence.contains("Some(") && !sentence.contains("Os {"), "{sentence}");
    }
}

fn a_missing_command_names_what_to_type(place: &Place) {
    place.script("prog", "#!/bin/sh\necho ran\n");
    let output = place.run(&["prog"]).output();
    output.assert_error(127, &["prog", "hint: ", "./prog"]);
}

fn a_command_of_the_callers_path_is_named_with_its_path(place: &Place) {
    place.mkdir("tools");
    let tool = place.script("tools/only-here", "#!/bin/sh\necho ran\n");
    let path = format!("{}:/usr/bin:/bin", place.path("tools").display());
    let output = place.run(&["--dir", "none", "only-here"]).env("PATH", path).output();
    output.assert_error(127, &[&tool.display().to_string(), "--ro"]);
}

fn a_host_path_is_named_with_the_flag_that_shows_it(place: &Place) {
    let tool = place.script("tool", "#!/bin/sh\necho ran\n").display().to_string();
    let output = place.run(&["--dir", "none", &tool]).output();
    output.assert_error(127, &[&tool, "--ro"]);
    let hint = output.stderr.lines().find_map(|line| line.split_once("--ro ")).expect("a hint").1;
    let shown = hint.split([' ', '`', '\'']).next().expect("a path");
    place.run(&["--dir", "none", "--ro", shown, &tool]).output().assert_ok().assert_said("ran\n");
}

fn a_directory_is_no_command(place: &Place) {
    place.mkdir("dir");
    place.run(&["./dir"]).output().assert_error(126, &["dir", "directory"]);
}

fn a_missing_interpreter_is_named(place: &Place) {
    place.script("prog", "#!/no/such/interpreter\n");
    let output = place.run(&["./prog"]).output();
    assert!([126, 127].contains(&output.code), "{}: {}", output.code, output.stderr);
    output.assert_error(output.code, &["/no/such/interpreter"]);
}

fn another_architecture_is_named(place: &Place) {
    let mut program = fs::read("/bin/true").expect("/bin/true is a program");
    let foreign: u16 = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    program[18..20].copy_from_slice(&foreign.to_le_bytes());
    place.script("prog", program);
    let output = place.run(&["./prog"]).output();
    output.assert_error(126, &["prog", "ENOEXEC", std::env::consts::ARCH]);
    let foreign = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
    assert!(output.stderr.contains(foreign), "{foreign} is not named: {}", output.stderr);
}

fn a_script_without_an_interpreter_line_is_not_run_by_a_shell(place: &Place) {
    place.script("prog", "echo ran by a shell\n");
    let output = place.run(&["./prog"]).output();
    output.assert_error(126, &["prog", "ENOEXEC", "#!"]);
    output.assert_said("");
}

fn a_very_long_argument_passes(place: &Place) {
    // The kernel's own limit for one word is 128 KiB with its final NUL byte.
    let word = "x".repeat(128 * 1024 - 1);
    let output = place.run(&["--", &place.payload(), "argument", &word]).output();
    output.assert_ok().assert_said(&format!("{}\n", 128 * 1024 - 1));
}

fn too_long_arguments_are_an_error(place: &Place) {
    let words = "x".repeat(100_000);
    let output = place.json(&["--stack", "256K", "true"]).args(std::iter::repeat_n(&words, 12)).output();
    // The kernel allows a quarter of the stack; the caller's exec let us have more than that.
    assert!([125, 126].contains(&output.code), "{:#}", output.report());
    assert!(output.at("message").as_str().is_some_and(|text| text.contains("E2BIG")), "{:#}", output.report());
}

fn many_arguments_pass(place: &Place) {
    let words: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let output = place.run(&["sh", "-c", "echo $#", "sh"]).args(&words).output();
    output.assert_ok().assert_said("20000\n");
}

fn a_sandbox_inside_a_sandbox_says_so(place: &Place) {
    let tool = place.tool.display().to_string();
    let output = place.run(&["--ro", &tool, &tool, "run", "--", "echo", "ran"]).output();
    output.assert_error(125, &["already inside a sandbox that refuses user namespaces"]);
    output.assert_said("");
}

fn no_temporary_directory_is_needed(place: &Place) {
    let output = place.json(&["head", "-c", "200000", "/dev/zero"]).env("TMPDIR", "/no/such/directory").output();
    output.assert_ok();
    assert_eq!(output.number("stdout.kept"), 200_000);
}

fn an_unreadable_current_directory_is_named(place: &Place) {
    use crate::support::place::chmod;
    let locked = place.mkdir("locked");
    let script = "cd locked && chmod 000 . && \"$SANDBOX\" run -- true";
    let output = place.host_shell(script).output();
    chmod(&locked, 0o755);
    // The owner may be let in by the kernel or not; what counts is a clear end.
    if output.code != 0 {
        output.assert_error(125, &["locked", "EACCES"]);
    }
}

fn a_current_directory_that_is_gone_is_no_panic(place: &Place) {
    let script = "mkdir gone && cd gone && rmdir ../gone && \"$SANDBOX\" run -- echo ran";
    let output = place.host_shell(script).output();
    if output.code != 0 {
        output.assert_error(125, &["current directory"]);
    }
    let script = "mkdir gone && cd gone && rmdir ../gone && \"$SANDBOX\" run --dir none -- echo ran";
    place.host_shell(script).output().assert_ok().assert_said("ran\n");
}

fn words_that_are_no_text_are_no_panic(place: &Place) {
    use std::os::unix::ffi::OsStrExt;
    let word = std::ffi::OsStr::from_bytes(b"a\xff\n");
    for words in [&["--dir"][..], &["--ro"], &["--mem"], &["--report"], &["--env"], &["--hostname"], &[]] {
        let output = place.run(words).args([word]).args(["true"]).output();
        assert!([0, 2, 125, 127].contains(&output.code), "{words:?}: {} {}", output.code, output.stderr);
    }
}

fn no_escape_sequence_reaches_stderr(place: &Place) {
    let word = "\u{1b}[2Jname";
    for words in [&[word][..], &["--dir", word, "true"], &["--ro", word, "true"], &["--net", word, "true"]] {
        let output = place.run(words).output();
        assert!(output.code != 0 && output.stderr.contains("name"), "{words:?}: {:?}", output.stderr);
        assert!(!output.stderr.contains('\u{1b}'), "{words:?}: {:?}", output.stderr);
    }
}

fn without_user_namespaces_the_cause_and_the_fix_are_named(place: &Place) {
    // A chroot is a place where the kernel refuses user namespaces to everybody.
    let script = "mkdir jail && mount --rbind / jail && exec chroot jail \"$SANDBOX\" run -- echo ran";
    let unshared = format!("unshare --mount sh -c '{script}'");
    let output = place.host_shell(&unshared).output();
    output.assert_error(125, &["user namespace", "EPERM", "hint: "]);
}
