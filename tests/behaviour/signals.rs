//! Signals to the launcher: Ctrl-C and SIGTERM end the run and report, SIGKILL leaves nothing, a stop delays no limit.

use crate::support::leftovers::{beneath, cgroups};
use crate::support::{Place, Test, needs, test};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    test!(ctrl_c_ends_the_run_and_reports),
    test!(sigterm_ends_the_run_and_reports),
    test!(sighup_ends_the_run),
    test!(a_cancelled_run_reaps_everything),
    test!(sigkill_of_the_launcher_leaves_nothing_running),
    test!(sigkill_of_the_launcher_at_any_moment_leaves_nothing_running),
    test!(the_group_of_a_killed_launcher_goes_with_the_next_run, needs!(KernelLimits)),
    test!(a_stopped_launcher_does_not_stop_the_cpu_limit, needs!(Cc)),
    test!(a_stopped_launcher_does_not_stop_the_wall_limit),
    test!(ctrl_z_freezes_the_program_and_fg_thaws_it),
    test!(two_hundred_launches_at_once_all_end_well),
    test!(the_program_cannot_signal_the_launcher),
    test!(a_limit_that_came_before_the_cancel_stays_the_status),
];

/// Started, with its first line read: the program runs. The report goes to `r.json`.
fn running(place: &Place, options: &[&str], script: &str) -> Child {
    let script = format!("echo running; {script}");
    let mut child = place.run(&["--report", "r.json"]).args(options).args(["sh", "-c", &script]).own_group().start();
    let mut line = [0; 8];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("the program's first line");
    assert_eq!(&line, b"running\n");
    child
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("our child");
}

/// Waits for at most `seconds`.
fn code_within(child: &mut Child, seconds: u64) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return status.code();
        }
        assert!(Instant::now() < end, "the launcher did not end within {seconds} s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn report(place: &Place) -> Value {
    serde_json::from_str(&place.read("r.json")).unwrap_or_else(|e| panic!("{e}: {}", place.read("r.json")))
}

fn ctrl_c_ends_the_run_and_reports(place: &Place) {
    let mut child = running(place, &[], "sleep 30");
    signal(&child, Signal::SIGINT);
    assert_eq!(code_within(&mut child, 5), Some(130));
    let report = report(place);
    assert_eq!(report["status"], "cancelled", "{report:#}");
    assert_eq!(report["killed_by"], "sandbox", "{report:#}");
}

fn sigterm_ends_the_run_and_reports(place: &Place) {
    let mut child = running(place, &[], "trap '' TERM INT; sleep 30");
    signal(&child, Signal::SIGTERM);
    assert_eq!(code_within(&mut child, 5), Some(143));
    assert_eq!(report(place)["status"], "cancelled");
}

fn sighup_ends_the_run(place: &Place) {
    let mut child = running(place, &[], "sleep 30");
    signal(&child, Signal::SIGHUP);
    assert_ne!(code_within(&mut child, 5), Some(0));
}

fn a_cancelled_run_reaps_everything(place: &Place) {
    let many = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 30 & done; (sleep 30 &) ; trap '' TERM; wait";
    let mut child = running(place, &[], many);
    signal(&child, Signal::SIGTERM);
    code_within(&mut child, 5);
    assert_eq!(beneath(std::process::id()).len(), 0, "right after the launcher's end");
}

/// Nothing beneath this process within a second.
fn assert_nothing_is_left() {
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        // Orphans become children of this process; the dead among them are not running.
        let left: Vec<_> =
            beneath(std::process::id()).into_iter().filter(|(_, words)| !words.contains(") Z")).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "still there after a second: {left:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sigkill_of_the_launcher_leaves_nothing_running(place: &Place) {
    let mut child = running(place, &[], "trap '' TERM INT HUP; for i in 1 2 3 4 5; do sleep 30 & done; wait");
    signal(&child, Signal::SIGKILL);
    child.wait().expect("our child");
    assert_nothing_is_left();
}

fn sigkill_of_the_launcher_at_any_moment_leaves_nothing_running(place: &Place) {
    for step in 0..60 {
        let mut child = place
            .run(&["sh", "-c", "trap '' TERM; sleep 30 & sleep 30"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .start();
        std::thread::sleep(Duration::from_micros(300 * step));
        signal(&child, Signal::SIGKILL);
        child.wait().expect("our child");
        assert_nothing_is_left();
    }
}

fn the_group_of_a_killed_launcher_goes_with_the_next_run(place: &Place) {
    let mut child = running(place, &[], "sleep 30");
    let mark = format!("run-{}-", child.id());
    let own = || cgroups().into_iter().filter(|group| group.contains(&mark)).collect::<Vec<_>>();
    assert!(!own().is_empty(), "no group of the run was found: this test looks in the wrong place");
    signal(&child, Signal::SIGKILL);
    child.wait().expect("our child");
    assert_nothing_is_left();
    // A sweep never waits for a launch beside it: it may need another run.
    for _ in 0..20 {
        place.run(&["true"]).output().assert_ok();
        if own().is_empty() {
            return;
        }
    }
    panic!("still there after 20 runs: {:?}", own());
}

fn a_stopped_launcher_does_not_stop_the_cpu_limit(place: &Place) {
    let payload = place.payload();
    let burn = format!("exec {payload} burn 40");
    let mut child = running(place, &["--cpu-time", "1s", "--wall-time", "30s"], &burn);
    signal(&child, Signal::SIGSTOP);
    let end = Instant::now() + Duration::from_secs(12);
    // The launcher stands still: only what is inside can end the program.
    while beneath(child.id()).iter().any(|(_, words)| words.contains("(payload) R")) {
        assert!(Instant::now() < end, "the program burns on beside its stopped launcher");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&child, Signal::SIGCONT);
    assert_eq!(code_within(&mut child, 5), Some(124));
    assert_eq!(report(place)["status"], "cpu-time-limit");
}

fn a_stopped_launcher_does_not_stop_the_wall_limit(place: &Place) {
    let mut child = running(place, &["--wall-time", "1s"], "exec sleep 50");
    signal(&child, Signal::SIGSTOP);
    let end = Instant::now() + Duration::from_secs(12);
    while beneath(child.id()).iter().any(|(_, words)| words.contains("(sleep) S")) {
        assert!(Instant::now() < end, "the program sleeps on beside its stopped launcher");
        std::thread::sleep(Duration::from_millis(50));
    }
    signal(&child, Signal::SIGCONT);
    assert_eq!(code_within(&mut child, 5), Some(124));
    assert_eq!(report(place)["status"], "wall-time-limit");
}

fn ctrl_z_freezes_the_program_and_fg_thaws_it(place: &Place) {
    let counting = "i=0; while [ $i -lt 10 ]; do i=$((i+1)); echo $i >>/box/ticks; sleep 0.1; done";
    let mut child = running(place, &["--rw", "."], counting);
    signal(&child, Signal::SIGTSTP);
    std::thread::sleep(Duration::from_millis(400));
    let ticks = || std::fs::read_to_string(place.path("ticks")).unwrap_or_default().lines().count();
    let frozen = ticks();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(ticks(), frozen, "the program ran on while its launcher was stopped");
    assert!(frozen < 10);
    signal(&child, Signal::SIGCONT);
    assert_eq!(code_within(&mut child, 10), Some(0));
    assert_eq!(ticks(), 10);
    assert_eq!(report(place)["status"], "ok");
}

fn two_hundred_launches_at_once_all_end_well(place: &Place) {
    let children: Vec<Child> = (0..200)
        .map(|number| place.run(&["sh", "-c", &format!("echo {number}; exit {}", number % 5)]).start())
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("our child");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some((number % 5) as i32), "launch {number}: {words}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"), "launch {number}: {words}");
    }
}

fn the_program_cannot_signal_the_launcher(place: &Place) {
    let launcher_survives = "kill -9 -1; kill -9 0; for p in 1 2 3 4 5 6 7 8 9; do kill -9 $p; done; exit 5";
    let output = place.json(&["sh", "-c", launcher_survives]).output();
    assert!([5, 137].contains(&output.code), "{:#}", output.report());
    assert!(["nonzero-exit", "signaled"].contains(&output.status()), "{:#}", output.report());
    let output = place.json(&["sh", "-c", "kill -9 $PPID; kill -TERM 1; exit 6"]).output();
    output.assert_code(6).assert_status("nonzero-exit");
}

fn a_limit_that_came_before_the_cancel_stays_the_status(place: &Place) {
    // Whichever came first is told; never a failure of the sandbox.
    for delay in [180, 195, 200, 205, 220] {
        let mut child = running(place, &["--wall-time", "200ms"], "exec sleep 30");
        std::thread::sleep(Duration::from_millis(delay));
        let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        let code = code_within(&mut child, 5);
        let status = report(place)["status"].clone();
        let told = (code, status.as_str().unwrap_or(""));
        assert!([(Some(124), "wall-time-limit"), (Some(143), "cancelled")].contains(&told), "{told:?}");
        std::fs::remove_file(place.path("r.json")).expect("it was read");
    }
}
