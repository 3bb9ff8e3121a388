//! The library as a caller has it: from a threaded, large program that has children and signals of its own.

#[path = "../support/mod.rs"]
mod support;

use sandbox::spec::{Input, InsidePath, Mount, Output, PathPair};
use sandbox::{Bytes, Millis, Report, Runner, Spec, Status};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::leftovers::beneath;
use support::{Case, Place, Test, needs, test};

const TESTS: &[Test] = &[
    test!(a_spec_is_run_and_its_report_returned),
    test!(both_streams_are_captured_exactly),
    test!(input_is_given_as_bytes_or_as_a_file),
    test!(limits_are_named_by_the_builder),
    test!(many_threads_run_at_once),
    test!(a_cancel_handle_ends_a_run),
    test!(a_cancel_after_the_end_is_harmless),
    test!(a_dropped_run_leaves_nothing),
    test!(a_dropped_runner_leaves_nothing),
    test!(a_missing_command_is_a_report_and_no_error),
    test!(a_spec_that_makes_no_sense_is_an_error),
    test!(a_job_in_json_is_a_spec),
    test!(a_directory_is_shown_and_written),
    test!(the_callers_own_children_stay_the_callers),
    test!(no_signal_handler_and_no_mask_changes),
    test!(a_large_caller_is_not_charged_to_the_program, needs!(Cc)),
    test!(descriptors_and_memory_do_not_grow),
    test!(a_dead_spawner_is_an_error_and_no_hang),
    test!(a_runner_may_be_made_in_any_thread_and_outlive_it),
];

fn shell(script: &str) -> Spec {
    Spec::new(["sh", "-c", script])
}

fn runner() -> Runner {
    Runner::new().unwrap_or_else(|e| panic!("{e}\nhint: {:?}", e.hint_text()))
}

fn run(runner: &Runner, spec: &Spec) -> Report {
    runner.run(spec).unwrap_or_else(|e| panic!("{e}\nhint: {:?}", e.hint_text()))
}

fn stdout(report: &Report) -> Vec<u8> {
    report.stdout.as_ref().expect("stdout is captured").read().expect("readable")
}

fn a_spec_is_run_and_its_report_returned(_: &Place) {
    let report = run(&runner(), &shell("echo hello; exit 3"));
    assert_eq!((report.status, report.exit_code), (Status::NonzeroExit, Some(3)));
    assert_eq!(stdout(&report), b"hello\n");
    assert_eq!(report.schema, sandbox::report::SCHEMA);
}

fn both_streams_are_captured_exactly(_: &Place) {
    let report = run(&runner(), &shell("head -c 300000 /dev/zero; printf 'a\\377' >&2"));
    assert_eq!(stdout(&report), vec![0; 300_000]);
    assert_eq!(report.stderr.expect("captured").read().expect("readable"), b"a\xff");
}

fn input_is_given_as_bytes_or_as_a_file(place: &Place) {
    let runner = runner();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let report = run(&runner, &Spec::new(["cat"]).stdin(Input::Bytes(bytes.clone())));
    assert!(stdout(&report) == bytes);
    let file = place.write("in", "from a file\n");
    assert_eq!(stdout(&run(&runner, &Spec::new(["cat"]).stdin(Input::File(file)))), b"from a file\n");
    assert_eq!(stdout(&run(&runner, &Spec::new(["cat"]))), b"", "no input by default");
    // Bytes that nobody reads.
    let report = run(&runner, &Spec::new(["true"]).stdin(Input::Bytes(vec![0; 8 << 20])));
    assert_eq!(report.status, Status::Ok);
}

fn limits_are_named_by_the_builder(_: &Place) {
    let runner = runner();
    let report = run(&runner, &Spec::new(["sleep", "30"]).wall_time(Millis::new(200)));
    assert_eq!(report.status, Status::WallTimeLimit);
    let report = run(&runner, &shell("while :; do :; done").cpu_time(Millis::new(200)));
    assert_eq!(report.status, Status::CpuTimeLimit);
    let report = run(&runner, &shell("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done").memory(Bytes::mib(32)));
    assert_eq!(report.status, Status::MemoryLimit);
}

fn many_threads_run_at_once(_: &Place) {
    let runner = Arc::new(runner());
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let runner = Arc::clone(&runner);
            std::thread::spawn(move || {
                for round in 0..6 {
                    let code = (thread * 6 + round) % 100;
                    let report = run(&runner, &shell(&format!("echo {thread} {round}; exit {code}")));
                    assert_eq!(report.exit_code, Some(code), "{}", report.message);
                    assert_eq!(stdout(&report), format!("{thread} {round}\n").as_bytes());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every run came out right");
    }
}

fn a_cancel_handle_ends_a_run(_: &Place) {
    let runner = runner();
    let running = runner.launch(&shell("trap '' TERM INT; echo started; sleep 30 & sleep 30")).expect("it starts");
    let handle = running.cancel_handle();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        handle.clone().cancel();
        handle.cancel();
    });
    let begin = Instant::now();
    let report = running.wait();
    assert_eq!(report.status, Status::Cancelled, "{}", report.message);
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    assert_eq!(stdout(&report), b"started\n");
    canceller.join().expect("cancel does not panic");
    assert_eq!(run(&runner, &Spec::new(["true"])).status, Status::Ok, "the runner goes on");
}

fn a_cancel_after_the_end_is_harmless(_: &Place) {
    let runner = runner();
    let running = runner.launch(&Spec::new(["true"])).expect("it starts");
    let handle = running.cancel_handle();
    assert_eq!(running.wait().status, Status::Ok);
    handle.cancel();
    assert_eq!(run(&runner, &Spec::new(["true"])).status, Status::Ok);
}

/// Processes beneath us whose name is `name`, the dead aside.
fn named(name: &str) -> Vec<String> {
    let mark = format!("({name})");
    let of_name = |words: &String| words.contains(&mark) && !words.contains(") Z");
    beneath(std::process::id()).into_iter().map(|(_, words)| words).filter(of_name).collect()
}

fn a_dropped_run_leaves_nothing(_: &Place) {
    let runner = runner();
    let running = runner.launch(&shell("trap '' TERM; sleep 30 & sleep 30")).expect("it starts");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!named("sleep").is_empty(), "the program runs");
    drop(running);
    let end = Instant::now() + Duration::from_secs(1);
    while !named("sleep").is_empty() {
        assert!(Instant::now() < end, "still there: {:?}", named("sleep"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_dropped_runner_leaves_nothing(_: &Place) {
    drop(runner());
    let end = Instant::now() + Duration::from_secs(1);
    while !named("sandbox").is_empty() {
        assert!(Instant::now() < end, "the spawner stays: {:?}", named("sandbox"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_missing_command_is_a_report_and_no_error(_: &Place) {
    let report = run(&runner(), &Spec::new(["no-such-command"]));
    assert_eq!(report.status, Status::ExecFailed);
    assert!(report.message.contains("no-such-command"), "{}", report.message);
}

fn a_spec_that_makes_no_sense_is_an_error(_: &Place) {
    let runner = runner();
    let none: [&str; 0] = [];
    for (spec, code) in [
        (Spec::new(none), 2),
        (Spec::new(["a\0b"]), 2),
        (Spec::new(["true"]).memory(Bytes::new(1)), 2),
        (Spec::new(["true"]).mount(Mount::ReadOnly(pair("/no/such/path"))), 125),
    ] {
        let error = runner.run(&spec).expect_err("it makes no sense");
        assert_eq!(error.exit_code(), code, "{error}");
    }
    assert_eq!(run(&runner, &Spec::new(["true"])).status, Status::Ok, "the runner goes on");
}

fn pair(words: impl AsRef<OsStr>) -> PathPair {
    PathPair::parse(words.as_ref()).expect("a pair")
}

fn a_job_in_json_is_a_spec(_: &Place) {
    let job = r#"{"command": ["sh", "-c", "cat; echo $A"], "stdin": {"text": "in\n"}, "env": {"A": "b"},
        "limits": {"mem": "64M", "wall-time": "5s"}, "net": "blocked"}"#;
    let spec: Spec = serde_json::from_str(job).expect("a job");
    let report = run(&runner(), &spec);
    assert_eq!(stdout(&report), b"in\nb\n");
    let again: Report = serde_json::from_str(&serde_json::to_string(&report).expect("JSON")).expect("a report");
    assert_eq!((again.status, again.exit_code), (report.status, report.exit_code));
}

fn a_directory_is_shown_and_written(place: &Place) {
    place.mkdir("data");
    place.write("data/in", "x\n");
    let data = place.path("data").into_os_string().into_string().expect("text");
    let spec = shell("cat /srv/data/in; echo y >/srv/data/out; pwd")
        .mount(Mount::ReadWrite(pair(format!("{data}:/srv/data"))))
        .workdir(InsidePath::new("/tmp").expect("a path"))
        .stderr(Output::Discard);
    let report = run(&runner(), &spec);
    assert_eq!(stdout(&report), b"x\n/tmp\n");
    assert_eq!(place.read("data/out"), "y\n");
    assert!(report.stderr.is_none());
}

fn the_callers_own_children_stay_the_callers(_: &Place) {
    let runner = runner();
    let mut own = Command::new("sh").args(["-c", "sleep 0.3; exit 5"]).spawn().expect("sh");
    for _ in 0..5 {
        assert_eq!(run(&runner, &Spec::new(["true"])).status, Status::Ok);
    }
    assert_eq!(own.wait().expect("still ours to wait for").code(), Some(5));
}

fn signal_lines() -> Vec<String> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("procfs");
    status.lines().filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ")).map(str::to_owned).collect()
}

fn no_signal_handler_and_no_mask_changes(_: &Place) {
    let before = signal_lines();
    let runner = runner();
    run(&runner, &Spec::new(["true"]));
    drop(runner);
    assert_eq!(signal_lines(), before);
}

fn a_large_caller_is_not_charged_to_the_program(place: &Place) {
    let ballast = vec![1u8; 300 << 20];
    place.payload();
    let spec = Spec::new([Path::new("./payload").as_os_str(), OsStr::new("exit"), OsStr::new("0")])
        .memory(Bytes::mib(16))
        .mount(Mount::ReadOnly(pair(format!("{}:/box/payload", place.path("payload").display()))));
    let report = run(&runner(), &spec);
    assert_eq!(report.status, Status::Ok, "{}", report.message);
    let peak = report.usage.memory_peak_bytes.expect("measured");
    assert!(peak < 16 << 20, "a small program's peak is {peak}");
    assert_eq!(ballast.len(), 300 << 20);
}

fn open_descriptors() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("procfs");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn descriptors_and_memory_do_not_grow(_: &Place) {
    let runner = runner();
    let some = |count| (0..count).for_each(|_| assert_eq!(run(&runner, &shell("echo x")).status, Status::Ok));
    let resident = || {
        let statm = fs::read_to_string("/proc/self/statm").expect("procfs");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
    };
    some(20);
    let (descriptors, memory) = (open_descriptors(), resident());
    some(150);
    assert_eq!(open_descriptors().len(), descriptors.len());
    assert!(resident() < memory + (4 << 20), "resident memory went from {memory} to {}", resident());
}

fn a_dead_spawner_is_an_error_and_no_hang(_: &Place) {
    use nix::sys::signal::{Signal, kill};
    let runner = runner();
    run(&runner, &Spec::new(["true"]));
    for (pid, words) in beneath(std::process::id()) {
        if words.contains("(sandbox)") {
            // One of them may be gone already: the box of the run before.
            let _ = kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    match runner.run(&Spec::new(["true"])) {
        Ok(report) => assert_eq!(report.status, Status::Ok, "a new spawner took over"),
        Err(error) => assert_eq!(error.exit_code(), 125, "{error}"),
    }
}

fn a_runner_may_be_made_in_any_thread_and_outlive_it(_: &Place) {
    // A parent-death signal fires when the thread ends that started the process.
    let runner = std::thread::spawn(runner).join().expect("it starts");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(run(&runner, &Spec::new(["true"])).status, Status::Ok);
    let running = std::thread::spawn(move || (runner.launch(&shell("sleep 0.3; echo x")).expect("it starts"), runner));
    let (running, _runner) = running.join().expect("it starts");
    let report = running.wait();
    assert_eq!((report.status, stdout(&report).as_slice()), (Status::Ok, &b"x\n"[..]));
}

fn cases(_sources: &Path) -> Vec<Case> {
    Case::of_table("library", TESTS)
}

fn main() -> ExitCode {
    support::run_all(&[], cases)
}
