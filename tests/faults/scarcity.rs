//! A machine, or a caller, without room: few descriptors, no processes, full disks, small files; and a launcher that is
//! stopped and continued all the time. Each ends as it should or with one sentence, and leaves nothing.

use crate::support::{Call, Output, Place, Test, test};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    test!(any_number_of_free_descriptors_is_enough_or_said),
    test!(any_amount_of_address_space_is_enough_or_said),
    test!(no_process_left_for_the_user_is_said, user, &[]),
    test!(a_caller_that_may_not_write_files_is_told),
    test!(a_full_disk_under_the_report_is_said),
    test!(a_full_disk_under_the_output_is_said),
    test!(a_full_disk_under_a_result_is_said),
    test!(stops_and_continuations_change_nothing),
];

/// `sandbox run OPTIONS` from a shell that first gives up something.
fn without(place: &Place, given_up: &str, options: &str) -> Call {
    place.host_shell(&format!("{given_up}; exec \"$SANDBOX\" run {options}"))
}

/// A success, or a failure of ours in one sentence.
fn assert_ok_or_said(output: &Output, what: &str) -> bool {
    match output.code {
        0 => {
            assert_eq!(output.text(), "ran\n", "{what}: {}", output.stderr);
            true
        }
        125 => {
            let told = output.stderr.starts_with("sandbox: cannot ") && output.stderr.contains(" (E");
            assert!(told, "{what}: {}", output.stderr);
            false
        }
        code => panic!("{what}: exit code {code}: {}", output.stderr),
    }
}

fn any_number_of_free_descriptors_is_enough_or_said(place: &Place) {
    place.write("input", "x\n");
    let mut worked = Vec::new();
    for most in 4..48 {
        let output = without(place, &format!("ulimit -Sn {most}"), "-- sh -c 'echo ran'").output();
        // The dynamic loader needs descriptors too, before anything of ours runs.
        if output.stderr.contains("error while loading shared libraries") {
            continue;
        }
        worked.push(assert_ok_or_said(&output, &format!("{most} descriptors")));
    }
    assert!(worked.contains(&false) && worked.last() == Some(&true), "{worked:?}");
    assert_eq!(place.names(), ["input"]);
}

fn any_amount_of_address_space_is_enough_or_said(place: &Place) {
    let mut worked = Vec::new();
    for mib in [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 64] {
        let given_up = format!("ulimit -Sv {}", mib * 1024);
        let output = without(place, &given_up, "-q --mem 16M -- sh -c 'echo ran'").output();
        // Too little for the loader, or for the first allocation: no words can be made then.
        if [126, 127, 134, 137, 139].contains(&output.code) {
            continue;
        }
        worked.push(assert_ok_or_said(&output, &format!("{mib} MiB of address space")));
    }
    assert_eq!(worked.last(), Some(&true));
}

fn no_process_left_for_the_user_is_said(place: &Place) {
    let output = place.host_shell("exec prlimit --nproc=0:0 \"$SANDBOX\" run -- true").output();
    output.assert_error(125, &["EAGAIN", "ulimit -u"]);
}

fn a_caller_that_may_not_write_files_is_told(place: &Place) {
    let output = without(place, "ulimit -Sf 0", "--report report.json -- sh -c 'echo ran'").output();
    output.assert_error(125, &["report.json", "EFBIG"]);
    let output = without(place, "ulimit -f 0", "-- true").output();
    output.assert_error(125, &["cannot write /etc/passwd", "EFBIG"]);
    // What is captured beyond some bytes lies in a file of ours, which that limit is about as well.
    let flood = "head -c 1000000 /dev/zero";
    let output = without(place, "ulimit -Sf 0", &format!("--json -- {flood}")).expect_json().output();
    output.assert_code(125).assert_status("sandbox-failed");
    let output = without(place, "ulimit -Sf 0", &format!("-- {flood}")).output();
    assert_eq!((output.code, output.stdout.len()), (0, 1_000_000), "{}", output.stderr);
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

fn a_full_disk_under_the_report_is_said(place: &Place) {
    let output = place.run(&["--report", "/dev/full", "--", "true"]).output();
    output.assert_error(125, &["/dev/full", "ENOSPC"]);
    let output = place.json(&["--", "true"]).stdout(full()).output();
    output.assert_error(125, &["ENOSPC"]);
}

fn a_full_disk_under_the_output_is_said(place: &Place) {
    let output = place.run(&["--", "sh", "-c", "echo ran; sleep 30"]).stdout(full()).output();
    output.assert_error(125, &["standard output", "ENOSPC"]);
    let output = place.run(&["--stdout", "/dev/full", "--", "sh", "-c", "echo ran; sleep 30"]).output();
    output.assert_error(125, &["standard output", "ENOSPC"]);
}

fn a_full_disk_under_a_result_is_said(place: &Place) {
    // The limit on the size of files stands for the disk, which only root could make full.
    let making = "--out made:kept -- sh -c 'head -c 1000000 /dev/zero >made'";
    place.write("kept", "the old one\n");
    let output = without(place, "ulimit -Sf 100", making).output();
    output.assert_error(125, &["made", "EFBIG"]);
    assert_eq!(place.read("kept"), "the old one\n", "replaced whole or not at all");
    assert_eq!(place.names(), ["kept"], "no half of a file stays");
}

fn stops_and_continuations_change_nothing(place: &Place) {
    let script = "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.002; done";
    let mut child =
        place.run(&["--", "sh", "-c", script]).stdout(File::create(place.path("said")).expect("a file")).start();
    let pid = Pid::from_raw(child.id() as i32);
    while child.try_wait().expect("our child").is_none() {
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            kill(pid, signal).expect("our child");
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    assert_eq!(child.wait().expect("our child").code(), Some(0));
    let all: String = (0..300).map(|line| format!("{line}\n")).collect();
    assert_eq!(place.read("said"), all);
}
