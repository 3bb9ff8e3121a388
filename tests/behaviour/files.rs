//! What is shown, what can be written, what stays: /box and its throw-away writes, --ro, --rw, --tmpfs, --out.

use crate::support::place::chmod;
use crate::support::{Place, Test, needs, test};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

pub(crate) const TESTS: &[Test] = &[
    test!(the_current_directory_is_at_box),
    test!(writes_to_box_are_thrown_away),
    test!(another_directory_can_be_at_box),
    test!(box_can_be_empty),
    test!(a_read_only_path_is_shown_at_its_place),
    test!(a_read_only_path_can_be_shown_elsewhere),
    test!(a_read_only_path_cannot_be_written),
    test!(a_writable_path_keeps_its_changes),
    test!(a_writable_folder_of_the_work_directory_is_at_its_place_in_box),
    test!(the_whole_work_directory_can_be_writable),
    test!(a_backslash_keeps_a_colon_in_a_path),
    test!(a_single_file_can_be_shown),
    test!(what_cannot_be_shown_is_named),
    test!(a_tmpfs_of_its_own_size, needs!(Cc)),
    test!(a_file_is_brought_out),
    test!(a_file_is_brought_out_to_another_place),
    test!(a_file_that_was_not_made_is_named),
    test!(links_and_fifos_are_not_brought_out),
    test!(a_failed_run_brings_out_what_is_there),
    test!(an_output_is_replaced_whole_or_not_at_all),
    test!(from_the_root_directory_nothing_is_shown),
    test!(from_a_home_directory_nothing_is_shown),
    test!(a_current_directory_with_any_name_works),
    test!(system_directories_are_read_only),
    test!(of_etc_only_what_programs_need_is_there),
    test!(home_and_var_and_root_are_not_there),
    test!(tmp_is_private_and_empty),
    test!(a_link_in_the_work_directory_does_not_lead_out),
    test!(nothing_stays_on_the_host),
    test!(permissions_and_times_of_files_stay),
    test!(existing_files_can_be_changed_removed_and_renamed_in_box),
];

fn the_current_directory_is_at_box(place: &Place) {
    place.write("input", "hello\n");
    place.mkdir("sub");
    place.write("sub/deep", "deep\n");
    place.run(&["cat", "input", "/box/sub/deep"]).output().assert_ok().assert_said("hello\ndeep\n");
}

fn writes_to_box_are_thrown_away(place: &Place) {
    place.write("input", "before\n");
    place.run(&["sh", "-c", "echo after >input; echo new >new; cat input new"]).output().assert_said("after\nnew\n");
    assert_eq!(place.read("input"), "before\n");
    assert_eq!(place.names(), ["input"]);
    place.run(&["ls"]).output().assert_said("input\n");
}

fn another_directory_can_be_at_box(place: &Place) {
    place.mkdir("other");
    place.write("other/file", "there\n");
    place.run(&["--dir", "other", "sh", "-c", "cat file; echo x >file"]).output().assert_ok().assert_said("there\n");
    assert_eq!(place.read("other/file"), "there\n");
    let absolute = place.path("other");
    place.run(&["--dir"]).args([absolute.as_os_str()]).args(["cat", "file"]).output().assert_said("there\n");
    place.run(&["--dir", "missing", "true"]).output().assert_error(125, &["missing", "ENOENT"]);
    place.write("plain", "");
    place.run(&["--dir", "plain", "true"]).output().assert_error(125, &["plain"]);
}

fn box_can_be_empty(place: &Place) {
    place.write("input", "");
    place
        .run(&["--dir", "none", "sh", "-c", "pwd; ls -A; echo x >f; cat f"])
        .output()
        .assert_ok()
        .assert_said("/box\nx\n");
}

fn a_read_only_path_is_shown_at_its_place(place: &Place) {
    place.mkdir("data");
    place.write("data/file", "shown\n");
    let data = place.path("data");
    let file = data.join("file");
    // Outside of the work directory: at the same absolute path.
    let call = place.run(&["--dir", "none", "--ro"]).args([data.as_os_str()]).args(["cat"]).args([file.as_os_str()]);
    call.output().assert_ok().assert_said("shown\n");
    // In the work directory: at its place in /box.
    place.run(&["--ro", "data", "cat", "/box/data/file"]).output().assert_ok().assert_said("shown\n");
}

fn a_read_only_path_can_be_shown_elsewhere(place: &Place) {
    place.mkdir("data");
    place.write("data/file", "shown\n");
    let words =
        ["--dir", "none", "--ro", "data:/srv/data", "--ro", "data:inner", "cat", "/srv/data/file", "inner/file"];
    place.run(&words).output().assert_ok().assert_said("shown\nshown\n");
}

fn a_read_only_path_cannot_be_written(place: &Place) {
    place.mkdir("data");
    place.write("data/file", "precious");
    for inside in ["data:/srv/data", "data"] {
        let path = if inside.contains(':') { "/srv/data" } else { "/box/data" };
        let script = format!("echo x >{path}/file; echo x >{path}/new; rm {path}/file; chmod 777 {path}/file");
        place.run(&["--ro", inside, "sh", "-c", &script]).output();
        assert_eq!(place.read("data/file"), "precious");
        assert!(!place.path("data/new").exists());
        let script = format!("(echo x >{path}/file) 2>/dev/null || cat {path}/file");
        place.run(&["--ro", inside, "sh", "-c", &script]).output().assert_ok().assert_said("precious");
    }
}

fn a_writable_path_keeps_its_changes(place: &Place) {
    place.mkdir("data");
    place.write("data/file", "old");
    let script = "echo new >/srv/data/file; mkdir /srv/data/sub; echo x >/srv/data/sub/f";
    place.run(&["--rw", "data:/srv/data", "sh", "-c", script]).output().assert_ok();
    assert_eq!(place.read("data/file"), "new\n");
    assert_eq!(place.read("data/sub/f"), "x\n");
    fs::write(place.path("data/sub/f"), "the caller owns it").expect("what the program made is the caller's");
    fs::remove_dir_all(place.path("data/sub")).expect("what the program made is the caller's");
}

fn a_writable_folder_of_the_work_directory_is_at_its_place_in_box(place: &Place) {
    place.mkdir("build");
    place.run(&["--rw", "build", "sh", "-c", "echo kept >build/a; echo lost >b"]).output().assert_ok();
    assert_eq!(place.read("build/a"), "kept\n");
    assert_eq!(place.names(), ["build"]);
}

fn the_whole_work_directory_can_be_writable(place: &Place) {
    place.write("old", "old");
    let output = place.json(&["--rw", ".", "sh", "-c", "echo new >new; rm old; pwd"]).output();
    output.assert_ok().assert_said("/box\n");
    assert_eq!(place.names(), ["new"]);
    assert_eq!(output.at("isolation.work"), "shared");
}

fn a_backslash_keeps_a_colon_in_a_path(place: &Place) {
    place.write("a:b", "colon\n");
    place.write("c\\d", "backslash\n");
    let words = ["--dir", "none", "--ro", "a\\:b:/srv/x\\:y", "--ro", "c\\\\d:/srv/z", "cat", "/srv/x:y", "/srv/z"];
    place.run(&words).output().assert_ok().assert_said("colon\nbackslash\n");
}

fn a_single_file_can_be_shown(place: &Place) {
    place.write("config", "one\n");
    let output = place.run(&["--dir", "none", "--ro", "config:/etc/tool.conf", "cat", "/etc/tool.conf"]).output();
    output.assert_ok().assert_said("one\n");
    let words = ["--dir", "none", "--rw", "config:/srv/config", "sh", "-c", "echo two >>/srv/config"];
    place.run(&words).output().assert_ok();
    assert_eq!(place.read("config"), "one\ntwo\n");
}

fn what_cannot_be_shown_is_named(place: &Place) {
    place.run(&["--ro", "/no/such/thing", "true"]).output().assert_error(125, &["/no/such/thing", "ENOENT"]);
    place.run(&["--rw", "missing", "true"]).output().assert_error(125, &["missing", "ENOENT"]);
    // A directory of somebody else's that we may not enter; one of our own we could always open for ourselves.
    if fs::read_dir("/root").is_err() {
        place.run(&["--ro", "/root/file:/srv/in", "true"]).output().assert_error(125, &["/root/file", "EACCES"]);
    }
}

fn a_tmpfs_of_its_own_size(place: &Place) {
    let payload = place.payload();
    let output = place.run(&["--tmpfs", "/scratch:64K", "--", &payload, "fill", "/scratch/f"]).output();
    output.assert_ok().assert_said("16 ENOSPC\n");
    let output = place.run(&["--tmpfs", "/a/b/c", "sh", "-c", "echo x >/a/b/c/f; cat /a/b/c/f"]).output();
    output.assert_ok().assert_said("x\n");
}

fn a_file_is_brought_out(place: &Place) {
    let output = place.json(&["--out", "a.out", "sh", "-c", "echo made >a.out; chmod 755 a.out; echo x >b"]).output();
    output.assert_ok();
    assert_eq!(place.read("a.out"), "made\n");
    assert_eq!(place.names(), ["a.out"]);
    let mode = fs::metadata(place.path("a.out")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "an executable stays one");
    assert_eq!(output.at("collected.0.bytes"), 5);
    // A file that nobody may read is brought out as well.
    place.run(&["--out", "locked", "sh", "-c", "echo secret >locked; chmod 000 locked"]).output().assert_ok();
    chmod(&place.path("locked"), 0o600);
    assert_eq!(place.read("locked"), "secret\n");
}

fn a_file_is_brought_out_to_another_place(place: &Place) {
    place.mkdir("results");
    let words = ["--out", "/tmp/r:results/r.txt", "--out", "x\\:y:colon", "sh", "-c", "echo 1 >/tmp/r; echo 2 >x:y"];
    place.run(&words).output().assert_ok();
    assert_eq!((place.read("results/r.txt").as_str(), place.read("colon").as_str()), ("1\n", "2\n"));
}

fn a_file_that_was_not_made_is_named(place: &Place) {
    let output = place.json(&["--out", "a.out", "true"]).output();
    assert!(output.at("collected.0.bytes").is_null(), "{:#}", output.report());
    assert!(output.at("collected.0.error").is_string(), "{:#}", output.report());
    assert!(!place.path("a.out").exists());
    let plain = place.run(&["--out", "a.out", "true"]).output();
    assert!(plain.stderr.contains("a.out"), "{}", plain.stderr);
}

fn links_and_fifos_are_not_brought_out(place: &Place) {
    for script in [
        "ln -s /etc/passwd a.out",
        "mkfifo a.out",
        "mkdir a.out",
        "mkdir d; ln -s d e; echo x >d/a.out; ln -s d/a.out a.out",
        "ln -s /proc/1/environ a.out",
    ] {
        let output = place.json(&["--out", "a.out", "sh", "-c", script]).output();
        assert!(output.took.as_secs() < 5, "{script}: it took {:?}", output.took);
        assert!(fs::symlink_metadata(place.path("a.out")).is_err(), "{script} was brought out");
        assert!(output.at("collected.0.error").is_string(), "{script}: {:#}", output.report());
    }
}

fn a_failed_run_brings_out_what_is_there(place: &Place) {
    place.run(&["--out", "log", "sh", "-c", "echo so far >log; exit 3"]).output().assert_code(3);
    assert_eq!(place.read("log"), "so far\n");
    let script = "echo so far >log2; sleep 30";
    place.run(&["--wall-time", "300ms", "--out", "log2", "sh", "-c", script]).output().assert_code(124);
    assert_eq!(place.read("log2"), "so far\n");
}

fn an_output_is_replaced_whole_or_not_at_all(place: &Place) {
    place.write("result", "the one of before");
    place.run(&["--out", "result", "sh", "-c", "rm result"]).output();
    assert_eq!(place.read("result"), "the one of before");
    place.run(&["--out", "result", "sh", "-c", "echo new >result"]).output().assert_ok();
    assert_eq!(place.read("result"), "new\n");
    // A link at the destination is replaced or refused, never followed.
    place.write("precious", "precious");
    symlink("precious", place.path("link")).expect("a link");
    place.run(&["--out", "made:link", "sh", "-c", "echo new >made"]).output();
    assert_eq!(place.read("precious"), "precious");
    assert_eq!(place.names().len(), 3, "a temporary file stayed: {:?}", place.names());
}

fn from_the_root_directory_nothing_is_shown(place: &Place) {
    place.run(&["sh", "-c", "pwd; ls -A"]).dir("/").output().assert_ok().assert_said("/box\n");
    let output = place.run(&["./prog"]).dir("/").output();
    output.assert_error(127, &["prog", "--dir"]);
}

fn from_a_home_directory_nothing_is_shown(place: &Place) {
    place.script("prog", "#!/bin/sh\necho ran\n");
    let home = place.dir.clone();
    place.run(&["ls", "-A"]).env("HOME", &home).output().assert_ok().assert_said("");
    place.run(&["./prog"]).env("HOME", &home).output().assert_error(127, &["prog", "--dir", "home directory"]);
    place.run(&["--dir", ".", "./prog"]).env("HOME", &home).output().assert_ok().assert_said("ran\n");
    let below = place.mkdir("project");
    place.write("project/file", "x\n");
    place.run(&["cat", "file"]).env("HOME", &home).dir(below).output().assert_ok().assert_said("x\n");
}

fn a_current_directory_with_any_name_works(place: &Place) {
    for name in [&b"line\nbreak"[..], b"not-\xff-text", b" space ", b"co:lon", b"back\\slash", b"com,ma=x", b"-dash"] {
        let dir = place.path(OsStr::from_bytes(name));
        fs::create_dir(&dir).expect("any name");
        fs::write(dir.join("file"), "x\n").expect("a file");
        let output = place.run(&["sh", "-c", "cat file; echo y >file; cat file"]).dir(&dir).output();
        output.assert_ok().assert_said("x\ny\n");
        assert_eq!(fs::read(dir.join("file")).expect("still there"), b"x\n");
        let output = place.run(&["--rw", ".", "sh", "-c", "echo z >file"]).dir(&dir).output();
        output.assert_ok();
        assert_eq!(fs::read(dir.join("file")).expect("still there"), b"z\n");
    }
}

fn system_directories_are_read_only(place: &Place) {
    for dir in ["/", "/usr", "/usr/bin", "/bin", "/etc", "/lib", "/dev", "/proc", "/sbin", "/opt", "/home"] {
        let script = format!("(echo x >{dir}/made-by-a-test) 2>/dev/null || echo refused");
        place.run(&["sh", "-c", &script]).output().assert_ok().assert_said("refused\n");
    }
}

fn of_etc_only_what_programs_need_is_there(place: &Place) {
    for file in ["shadow", "gshadow", "sudoers", "ssh", "machine-id", "fstab", "hostname", "crontab"] {
        place.run(&["sh", "-c", &format!("[ ! -e /etc/{file} ]")]).output().assert_code(0);
    }
    let output =
        place.run(&["sh", "-c", "cat /etc/passwd; cat /etc/group /etc/hosts /etc/nsswitch.conf >/dev/null"]).output();
    output.assert_ok();
    assert!(output.said().contains("sandbox:") && !output.said().contains("daemon"), "{}", output.said());
}

fn home_and_var_and_root_are_not_there(place: &Place) {
    let script = "for d in home root mnt media srv boot sys run var/log var/lib var/spool var/tmp; do \
        ls -A /$d 2>/dev/null; done; echo listed";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("listed\n");
}

fn tmp_is_private_and_empty(place: &Place) {
    place.run(&["sh", "-c", "ls -A /tmp /dev/shm; echo x >/tmp/left; echo x >/dev/shm/left"]).output().assert_ok();
    let output = place.run(&["sh", "-c", "ls -A /tmp; ls -A /dev/shm"]).output();
    output.assert_ok().assert_said("");
    assert!(!std::path::Path::new("/tmp/left").exists() && !std::path::Path::new("/dev/shm/left").exists());
}

fn a_link_in_the_work_directory_does_not_lead_out(place: &Place) {
    let outside = place.write("outside", "precious");
    place.mkdir("work");
    symlink(&outside, place.path("work/link")).expect("a link");
    symlink("/etc/shadow", place.path("work/shadow")).expect("a link");
    symlink("../outside", place.path("work/up")).expect("a link");
    for name in ["link", "shadow", "up"] {
        let output = place.run(&["--dir", "work", "cat", name]).output();
        assert!(output.code == 1 && output.said().is_empty(), "{name} leads to {}", output.said());
    }
    // A mount point that is a link on the host.
    symlink(place.path("work"), place.path("alias")).expect("a link");
    place.run(&["--dir", "work", "--tmpfs", "/box/link", "true"]).output();
    assert_eq!(place.read("outside"), "precious");
}

fn nothing_stays_on_the_host(place: &Place) {
    place.write("file", "x");
    let temporary = place.mkdir("temporary");
    let words = ["sh", "-c", "echo x >file; echo y >new; echo z >/tmp/z; mkdir d; exit 1"];
    place.run(&words).env("TMPDIR", &temporary).output().assert_code(1);
    place.run(&["--wall-time", "200ms", "sleep", "9"]).env("TMPDIR", &temporary).output().assert_code(124);
    assert_eq!(fs::read_dir(&temporary).expect("a directory").count(), 0);
    assert_eq!(place.names(), ["file", "temporary"]);
}

fn permissions_and_times_of_files_stay(place: &Place) {
    let script = place.script("tool", "#!/bin/sh\necho ran\n");
    chmod(&script, 0o700);
    place.run(&["./tool"]).output().assert_ok().assert_said("ran\n");
    let secret = place.write("secret", "mine\n");
    chmod(&secret, 0o600);
    place.run(&["cat", "secret"]).output().assert_ok().assert_said("mine\n");
    let output = place.run(&["stat", "-c", "%a %U", "tool", "secret"]).output();
    output.assert_ok().assert_said("700 sandbox\n600 sandbox\n");
}

fn existing_files_can_be_changed_removed_and_renamed_in_box(place: &Place) {
    place.write("a", "a\n");
    place.mkdir("d");
    place.write("d/f", "f\n");
    let script = "set -e; echo b >>a; mv a c; mv d/f d/g; chmod 600 c; rm d/g; rmdir d; mkdir d; touch d/new; cat c";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("a\nb\n");
    assert_eq!(place.read("a"), "a\n");
    assert_eq!(place.read("d/f"), "f\n");
}
