//! Started as root: the payload is nobody on the host, and root's own files are usable through id-mapped mounts.

use crate::support::leftovers::beneath;
use crate::support::place::chmod;
use crate::support::{Place, Test, needs, test};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

pub(crate) const TESTS: &[Test] = &[
    test!(a_private_work_directory_is_readable_and_writable, root, &[]),
    test!(a_private_file_is_readable_and_stays_roots, root, &[]),
    test!(a_private_directory_can_be_shown_and_written, root, &[]),
    test!(a_work_directory_beneath_a_private_one_works, root, &[]),
    test!(the_payload_is_nobody_on_the_host, root, &[]),
    test!(what_the_payload_makes_belongs_to_root, root, &[]),
    test!(files_of_others_are_not_the_payloads, root, &[]),
    test!(process_limits_hold_for_root_too, root, needs!(Cc)),
    test!(setuid_programs_gain_nothing, root, needs!(Cc)),
];

fn a_private_work_directory_is_readable_and_writable(place: &Place) {
    let work = place.mkdir("work");
    let file = place.write("work/input", "1 2\n");
    chmod(&file, 0o600);
    chmod(&work, 0o700);
    let script = "read a b <input; echo $((a + b)); echo new >input; cat input; touch made";
    let output = place.run(&["sh", "-c", script]).dir(&work).output();
    output.assert_ok().assert_said("3\nnew\n");
    assert_eq!(place.read("work/input"), "1 2\n");
    assert_eq!(fs::read_dir(&work).expect("ours").count(), 1);
}

fn a_private_file_is_readable_and_stays_roots(place: &Place) {
    let file = place.write("secret", "for the program\n");
    chmod(&file, 0o600);
    place
        .run(&["--dir", "none", "--ro", "secret:/srv/s", "cat", "/srv/s"])
        .output()
        .assert_ok()
        .assert_said("for the program\n");
    let meta = fs::metadata(&file).expect("ours");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o600));
}

fn a_private_directory_can_be_shown_and_written(place: &Place) {
    let data = place.mkdir("data");
    chmod(&data, 0o700);
    place
        .run(&["--rw", "data:/srv/data", "sh", "-c", "echo x >/srv/data/f; chmod 600 /srv/data/f"])
        .output()
        .assert_ok();
    let meta = fs::metadata(data.join("f")).expect("it was made");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o600));
}

fn a_work_directory_beneath_a_private_one_works(place: &Place) {
    let locked = place.mkdir("locked");
    let work = place.mkdir("locked/in/work");
    place.write("locked/in/work/f", "x\n");
    chmod(&locked, 0o700);
    let output = place.run(&["--out", "g", "sh", "-c", "cat f; echo y >g"]).dir(&work).output();
    output.assert_ok().assert_said("x\n");
    assert_eq!(fs::read_to_string(work.join("g")).expect("it was brought out"), "y\n");
    chmod(&locked, 0o755);
}

fn the_payload_is_nobody_on_the_host(place: &Place) {
    let mut child = place.run(&["sh", "-c", "echo running; exec sleep 1.5"]).start();
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 8]).expect("a line");
    // The shell becomes the sleeper a moment after its line.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let sleepers: Vec<_> = beneath(child.id()).into_iter().filter(|(_, words)| words.contains("(sleep)")).collect();
    assert_eq!(sleepers.len(), 1, "{sleepers:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", sleepers[0].0)).expect("it sleeps");
    for key in ["Uid:", "Gid:"] {
        let ids = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line of ids");
        assert!(ids.split_whitespace().all(|id| id != "0"), "{key}{ids}");
    }
    assert!(child.wait().expect("our child").success());
}

fn what_the_payload_makes_belongs_to_root(place: &Place) {
    place.run(&["--rw", ".", "--out", "b", "sh", "-c", "echo x >a; mkdir d; echo y >b"]).output().assert_ok();
    for name in ["a", "b", "d"] {
        let meta = fs::metadata(place.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{name}");
    }
}

fn files_of_others_are_not_the_payloads(place: &Place) {
    let theirs = place.write("theirs", "another user's\n");
    chmod(&theirs, 0o600);
    std::os::unix::fs::chown(&theirs, Some(54322), Some(54322)).expect("we are root");
    let output = place.run(&["--rw", ".", "sh", "-c", "cat theirs || echo x >theirs || chmod 666 theirs"]).output();
    assert_ne!(output.code, 0);
    assert_eq!(place.read("theirs"), "another user's\n");
}

fn process_limits_hold_for_root_too(place: &Place) {
    let words = ["--cgroup", "none", "--pids", "5", "--", &place.payload(), "fork"];
    place.json(&words).output().assert_ok().assert_said("4 EAGAIN\n");
}

fn setuid_programs_gain_nothing(place: &Place) {
    place.payload();
    let program = place.path("payload");
    chmod(&program, 0o6755);
    let output =
        place.run(&["sh", "-c", "id -u; ls -ln payload >/dev/null; cat /proc/self/status | grep NoNewPrivs"]).output();
    output.assert_ok().assert_said("1000\nNoNewPrivs:\t1\n");
    let output = place.run(&["--rw", ".", "sh", "-c", "cp /bin/sh s; chmod 4755 s; ./s -p -c 'id -u'"]).output();
    assert_eq!(output.said().trim(), "1000");
}
