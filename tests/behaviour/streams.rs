//! Standard streams: byte for byte and live, through pipes of ours, so that no door leads to the caller's descriptors.

use crate::support::call::file_with;
use crate::support::{Place, Test, needs, test};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    test!(a_mebibyte_of_any_bytes_passes_both_ways),
    test!(output_arrives_while_the_program_runs),
    test!(input_arrives_while_the_program_runs),
    test!(stdin_may_be_a_file),
    test!(stdin_may_be_closed),
    test!(no_input_is_end_of_file),
    test!(input_that_nobody_reads_delays_nothing),
    test!(an_input_file_cannot_be_written_through_proc, needs!(Cc)),
    test!(an_output_file_keeps_its_offset_and_what_it_held, needs!(Cc)),
    test!(no_flag_of_the_callers_descriptors_changes, needs!(Cc)),
    test!(inside_they_are_no_terminals),
    test!(a_caller_that_does_not_read_delays_no_limit),
    test!(a_reader_that_goes_away_ends_the_writer),
    test!(a_closed_stdout_is_no_panic),
    test!(a_daemon_that_keeps_the_pipes_open_delays_nothing),
    test!(stdout_and_stderr_stay_apart),
    test!(streams_can_be_files),
    test!(stream_files_are_not_opened_through_links),
    test!(inherited_streams_are_reported_as_not_enforced),
    test!(a_program_that_closes_its_streams_still_has_a_report),
];

fn bytes() -> Vec<u8> {
    // Every byte value, in an order that repeats late.
    (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn a_mebibyte_of_any_bytes_passes_both_ways(place: &Place) {
    let output = place.run(&["cat"]).input(bytes()).output();
    output.assert_code(0);
    assert!(output.stdout == bytes(), "{} of {} bytes came back, or others", output.stdout.len(), bytes().len());
    let script = "cat >&2";
    let mut child = place.run(&["sh", "-c", script]).stdin(file_with(&place.path("in"), bytes())).start();
    let mut back = Vec::new();
    child.stderr.take().expect("a pipe").read_to_end(&mut back).expect("readable");
    assert!(child.wait().expect("our child").success());
    assert!(back == bytes(), "{} bytes came back on stderr", back.len());
}

fn output_arrives_while_the_program_runs(place: &Place) {
    let mut child = place.run(&["sh", "-c", "echo now; exec sleep 5"]).start();
    let begin = Instant::now();
    let mut line = [0; 4];
    child.stdout.take().expect("a pipe").read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"now\n");
    assert!(begin.elapsed() < Duration::from_secs(4), "the line came after {:?}", begin.elapsed());
    terminate(child);
}

fn terminate(mut child: std::process::Child) {
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("our child");
    child.wait().expect("our child");
}

fn input_arrives_while_the_program_runs(place: &Place) {
    let mut child = place.run(&["sh", "-c", "read a; echo got $a; read b; echo got $b"]).stdin(Stdio::piped()).start();
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = child.stdout.take().expect("a pipe");
    for word in ["one", "two"] {
        writeln!(input, "{word}").expect("the program reads");
        let mut line = [0; 8];
        output.read_exact(&mut line).expect("a line");
        assert_eq!(line, format!("got {word}\n").as_bytes());
    }
    assert!(child.wait().expect("our child").success());
}

fn stdin_may_be_a_file(place: &Place) {
    let input = file_with(&place.path("in"), "3 4\n");
    place.run(&["sh", "-c", "read a b; echo $((a + b))"]).stdin(input).output().assert_ok().assert_said("7\n");
    // A file that was read in part goes on from there, as it does for any program.
    let mut input = file_with(&place.path("in"), "one\ntwo\n");
    input.read_exact(&mut [0; 4]).expect("four bytes");
    place.run(&["cat"]).stdin(input).output().assert_ok().assert_said("two\n");
}

fn stdin_may_be_closed(place: &Place) {
    for streams in ["<&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        let output = place.host_shell(&format!("exec \"$SANDBOX\" run -- sh -c 'cat; exit 7' {streams}")).output();
        output.assert_code(7);
        assert_eq!(output.stdout, b"");
    }
}

fn no_input_is_end_of_file(place: &Place) {
    place.run(&["wc", "-c"]).stdin(Stdio::null()).output().assert_ok().assert_said("0\n");
}

fn input_that_nobody_reads_delays_nothing(place: &Place) {
    let begin = Instant::now();
    place.host_shell("head -c 1G /dev/zero | \"$SANDBOX\" run -- true").output().assert_code(0);
    let large = place.path("large");
    File::create(&large).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    place.run(&["true"]).stdin(File::open(&large).expect("just made")).output().assert_code(0);
    let zero = File::open("/dev/zero").expect("/dev/zero");
    place.run(&["true"]).stdin(zero).output().assert_code(0);
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
}

fn an_input_file_cannot_be_written_through_proc(place: &Place) {
    let payload = place.payload();
    let path = place.write("in", "precious");
    let both = File::options().read(true).write(true).open(&path).expect("just made");
    for input in [File::open(&path).expect("just made"), both] {
        let output = place.run(&["--", &payload, "reopen", "0"]).stdin(input).output();
        output.assert_code(0);
        assert!(!output.said().starts_with('9'), "the program wrote to its input: {}", output.said());
        assert_eq!(place.read("in"), "precious");
    }
}

fn an_output_file_keeps_its_offset_and_what_it_held(place: &Place) {
    let payload = place.payload();
    let path = place.write("out", "held before\n");
    let output = File::options().append(true).open(&path).expect("just made");
    place.run(&["sh", "-c", "echo added; : >/proc/self/fd/1"]).stdout(output).output();
    assert_eq!(place.read("out"), "held before\nadded\n");
    let output = File::options().append(true).open(&path).expect("just made");
    place.run(&["--", &payload, "reopen", "2"]).stderr(output).output();
    assert!(place.read("out").starts_with("held before\nadded\n"), "{}", place.read("out"));
}

fn no_flag_of_the_callers_descriptors_changes(place: &Place) {
    let payload = place.payload();
    let flags = |file: &File| OFlag::from_bits_retain(fcntl(file.as_fd(), FcntlArg::F_GETFL).expect("open"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (input, output) = (File::from(std::os::fd::OwnedFd::from(reader)), place.path("out"));
    let pipe = File::from(std::os::fd::OwnedFd::from(writer));
    let output = File::create(output).expect("a file");
    let before = [flags(&input), flags(&pipe), flags(&output)];
    let clone = |file: &File| file.try_clone().expect("a descriptor");
    place.run(&["--", &payload, "nonblock"]).stdin(clone(&input)).stdout(clone(&pipe)).stderr(clone(&output)).output();
    assert_eq!(before, [flags(&input), flags(&pipe), flags(&output)]);
}

fn inside_they_are_no_terminals(place: &Place) {
    let script = "for fd in 0 1 2; do [ -t $fd ] && echo $fd is a terminal; done; true";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("");
}

fn a_caller_that_does_not_read_delays_no_limit(place: &Place) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let begin = Instant::now();
    let mut child = place
        .run(&["--wall-time", "500ms", "--output-size", "unlimited", "yes"])
        .stdout(writer)
        .stderr(Stdio::null())
        .start();
    let status = child.wait().expect("our child");
    assert_eq!(status.code(), Some(124));
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    drop(reader);
}

fn a_reader_that_goes_away_ends_the_writer(place: &Place) {
    let begin = Instant::now();
    let output = place.host_shell("\"$SANDBOX\" run -- yes | head -n 1").output();
    output.assert_said("y\n");
    assert!(begin.elapsed() < Duration::from_secs(8), "it took {:?}", begin.elapsed());
}

fn a_closed_stdout_is_no_panic(place: &Place) {
    let script = "\"$SANDBOX\" run -- echo x >&-; \"$SANDBOX\" run --json -- true >&-; echo $? >code";
    let output = place.host_shell(script).output();
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    // The start-up code of a program may have put /dev/null in its place.
    assert!(["0\n", "125\n"].contains(&place.read("code").as_str()), "{}", place.read("code"));
}

fn a_daemon_that_keeps_the_pipes_open_delays_nothing(place: &Place) {
    let script = "(trap '' HUP; sleep 40) & echo started";
    let output = place.run(&["sh", "-c", script]).output();
    output.assert_ok().assert_said("started\n");
    assert!(output.took < Duration::from_secs(5), "it took {:?}", output.took);
}

fn stdout_and_stderr_stay_apart(place: &Place) {
    let output = place.json(&["sh", "-c", "printf out; printf err >&2"]).output();
    output.assert_ok().assert_said("out");
    assert_eq!(output.at("stderr.text"), "err");
    let live = place.run(&["sh", "-c", "printf out; printf err >&2"]).output();
    assert_eq!((live.text().as_str(), live.stderr.as_str()), ("out", "err"));
}

fn streams_can_be_files(place: &Place) {
    place.write("in", "abc");
    place.write("out", "something longer that was there before");
    let words = ["--stdin", "in", "--stdout", "out", "--stderr", "err", "sh", "-c", "tr a-c A-C; echo no >&2"];
    let output = place.run(&words).output();
    output.assert_ok().assert_said("");
    assert_eq!((place.read("out").as_str(), place.read("err").as_str()), ("ABC", "no\n"));
    let output = place.run(&["--stdin", "missing", "true"]).output();
    output.assert_error(125, &["missing", "ENOENT"]);
}

fn stream_files_are_not_opened_through_links(place: &Place) {
    place.write("target", "precious");
    symlink("target", place.path("link")).expect("a link");
    for flag in ["--stdin", "--stdout", "--stderr", "--report"] {
        place.run(&[flag, "link", "echo", "x"]).output().assert_error(125, &["link"]);
        assert_eq!(place.read("target"), "precious", "{flag}");
        assert!(fs::symlink_metadata(place.path("link")).expect("still there").is_symlink(), "{flag}");
    }
}

fn inherited_streams_are_reported_as_not_enforced(place: &Place) {
    place.write("report", "");
    let output = place.run(&["--stdio", "inherit", "--report", "report", "sh", "-c", "echo x"]).output();
    output.assert_code(0).assert_said("x\n");
    let report: serde_json::Value = serde_json::from_str(&place.read("report")).expect("a report");
    let row = report["enforcement"].as_array().expect("a list").iter().find(|row| row["limit"] == "output");
    assert!(row.is_some_and(|row| row["mechanism"].is_null()), "{report:#}");
}

fn a_program_that_closes_its_streams_still_has_a_report(place: &Place) {
    let output = place.json(&["sh", "-c", "exec <&- >&- 2>&-; exit 3"]).output();
    output.assert_code(3).assert_status("nonzero-exit");
    let output = place.json(&["--wall-time", "300ms", "sh", "-c", "exec <&- >&- 2>&-; sleep 30"]).output();
    output.assert_code(124).assert_status("wall-time-limit");
}
