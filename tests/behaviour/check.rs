//! `sandbox check` in places that refuse something: each is made for one call, by what really refuses there.

use crate::support::{Output, Place, Test, test};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

pub(crate) const TESTS: &[Test] = &[
    test!(the_json_has_its_documented_fields_and_the_exit_code_is_its_verdict),
    test!(limits_that_a_default_run_has_are_each_listed),
    test!(a_limit_on_user_namespaces_is_named),
    test!(a_user_namespace_without_a_map_is_named),
    test!(a_sandbox_around_it_is_named),
    test!(a_program_that_is_not_readable_is_named, root, &[]),
    test!(a_covered_proc_is_no_obstacle_and_named, root, &[]),
    test!(a_chroot_is_named, root, &[]),
    test!(a_full_disk_is_an_error_and_a_reader_that_went_away_is_none),
    test!(wrong_words_are_usage),
];

/// `sandbox check ARGS…` behind the shell words `before`, which end in `exec` or something like it.
fn check_behind(place: &Place, before: &str, args: &str) -> Output {
    place.host_shell(&format!("{before} \"$SANDBOX\" check {args}")).output()
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    output.assert_code(125);
    let said = output.text();
    for word in words {
        assert!(said.contains(word), "'{word}' is not in:\n{said}");
    }
}

fn the_json_has_its_documented_fields_and_the_exit_code_is_its_verdict(place: &Place) {
    let output = place.sandbox(&["check", "--json"]).output();
    let verdict = output.at("verdict").as_str().expect("a word").to_owned();
    output.assert_code(match verdict.as_str() {
        "full" => 0,
        "weaker" => 1,
        "cannot" => 125,
        other => panic!("unknown verdict {other}"),
    });
    assert_eq!(output.number("schema"), 1);
    assert_eq!(output.at("host.uid").as_u64(), Some(if place.is_root { 0 } else { u64::from(own_uid()) }));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has it");
    assert_eq!(output.at("host.kernel").as_str(), Some(release.trim()));
    assert!(output.at("place.kind").is_string(), "{:#}", output.at("place"));
    assert!(output.at("limits").is_array());
    for missing in output.at("missing").as_array().expect("a list") {
        assert!(missing["what"].is_string() && missing["cause"].is_string(), "{missing:#}");
        assert!(missing["fix"].is_string() || missing["fix"].is_null(), "{missing:#}");
    }
    let plain = place.sandbox(&["check"]).output();
    assert_eq!(plain.code, output.code);
    assert!(plain.text().lines().count() <= 50, "more than a screen:\n{}", plain.text());
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").expect("/proc is mounted").uid()
}

fn limits_that_a_default_run_has_are_each_listed(place: &Place) {
    let output = place.sandbox(&["check", "--json"]).output();
    let limits = output.at("limits").as_array().expect("a list");
    for name in ["memory", "cpu_time", "wall_time", "processes", "output", "disk", "inodes", "open_files"] {
        let row = limits.iter().find(|row| row["limit"] == name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(row["value"].is_u64(), "{row:#}");
        assert!(row["mechanism"].is_string() || row["note"].is_string(), "{row:#}");
    }
    // Without any cgroup, memory is still limited, and not by the kernel.
    let output = place.sandbox(&["check", "--json", "--cgroup", "none"]).output();
    output.assert_code(1);
    let limits = output.at("limits").as_array().expect("a list");
    let memory = limits.iter().find(|row| row["limit"] == "memory").expect("a row for memory");
    assert_eq!(memory["kernel"], false, "{memory:#}");
    assert!(output.at("missing").as_array().is_some_and(|missing| missing.iter().any(|row| row["what"] == "cgroups")));
}

fn a_limit_on_user_namespaces_is_named(place: &Place) {
    let script =
        "unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec \"$SANDBOX\" check'";
    let output = place.host_shell(script).output();
    assert_refused(&output, &["user.max_user_namespaces is 0 (ENOSPC)", "user.max_user_namespaces=15000"]);
}

fn a_user_namespace_without_a_map_is_named(place: &Place) {
    let output = check_behind(place, "exec unshare --user", "");
    assert_refused(&output, &["not mapped in this user namespace (EPERM)", "unshare --map-current-user"]);
}

fn a_sandbox_around_it_is_named(place: &Place) {
    let tool = place.tool.display().to_string();
    let output = place.run(&["--ro", &tool, &tool, "check"]).output();
    assert_refused(&output, &["already inside a sandbox that refuses user namespaces (EPERM)"]);
}

fn a_program_that_is_not_readable_is_named(place: &Place) {
    let copy = place.path("unreadable");
    fs::copy(&place.tool, &copy).expect("a directory of ours");
    fs::set_permissions(&copy, Permissions::from_mode(0o711)).expect("a file of ours");
    fs::set_permissions(&place.dir, Permissions::from_mode(0o755)).expect("a directory of ours");
    // The shell between has no capability any more that would read the file.
    let script = "exec setpriv --reuid=54321 --regid=54321 --clear-groups sh -c 'exec ./unreadable check'";
    let output = place.host_shell(script).output();
    assert_refused(&output, &["unreadable is not readable", "(EACCES)", "chmod a+r"]);
}

fn a_covered_proc_is_no_obstacle_and_named(place: &Place) {
    let script = "unshare --mount sh -c 'mount -t tmpfs none /proc/sys/fs && exec \"$SANDBOX\" check'";
    let output = place.host_shell(script).output();
    assert!([0, 1].contains(&output.code), "{}", output.text());
    assert!(output.text().contains("synthetic"), "{}", output.text());
}

fn a_chroot_is_named(place: &Place) {
    for bind in ["--bind", "--rbind"] {
        let script = format!("mkdir -p jail && mount {bind} / jail && exec chroot jail \"$SANDBOX\" check");
        let output = place.host_shell(&format!("unshare --mount sh -c '{script}'")).output();
        assert_refused(&output, &["chroot", "(EPERM)", "outside"]);
    }
}

fn a_full_disk_is_an_error_and_a_reader_that_went_away_is_none(place: &Place) {
    let full = File::options().write(true).open("/dev/full").expect("every machine has it");
    let output = place.sandbox(&["check"]).stdout(full).output();
    output.assert_error(125, &["cannot write to stdout", "ENOSPC"]);
    let expected = place.sandbox(&["check"]).output().code;
    let output = place.host_shell("{ \"$SANDBOX\" check; echo $? >code; } | true; cat code").output();
    output.assert_said(&format!("{expected}\n"));
    assert_eq!(output.stderr, "");
}

fn wrong_words_are_usage(place: &Place) {
    for words in [&["--nope"][..], &["--cgroup"], &["--cgroup", "some"], &["word"]] {
        let output = place.sandbox(&["check"]).args(words).output();
        output.assert_code(2);
        assert_ne!(output.stderr, "");
    }
}
