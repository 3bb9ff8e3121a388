//! Every limit is hit once, by each way to it, and ends as its own status; what stays beneath it is left alone.

use crate::support::{Output, Place, Test, needs, test};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    test!(memory_of_one_process_is_limited, needs!(Cc)),
    test!(mapped_shared_memory_is_limited, needs!(Cc)),
    test!(files_in_tmp_count_as_memory, needs!(Cc)),
    test!(memory_of_four_processes_is_limited_together, needs!(Cc)),
    test!(memory_beneath_the_limit_is_left_alone, needs!(Cc)),
    test!(out_of_memory_in_a_child_is_a_memory_limit_whatever_the_parent_returns, needs!(Cc)),
    test!(four_mebibytes_are_enough_for_a_static_program, needs!(Cc)),
    test!(cpu_time_of_one_thread_is_limited, needs!(Cc)),
    test!(cpu_time_of_four_threads_is_limited_together, needs!(Cc)),
    test!(cpu_time_of_four_children_is_limited_together, needs!(Cc)),
    test!(cpu_time_of_an_orphan_is_limited, needs!(Cc)),
    test!(a_sleeper_ends_by_wall_time),
    test!(a_stopped_program_ends_by_wall_time, needs!(Cc)),
    test!(a_wall_time_alone_lifts_the_default_cpu_time, needs!(Cc)),
    test!(a_program_that_ignores_every_signal_ends_by_wall_time),
    test!(a_sleeper_ends_by_idle_time),
    test!(a_process_limit_counts_the_payload_and_not_our_init, needs!(Cc)),
    test!(threads_count_as_processes, needs!(Cc)),
    test!(a_fork_bomb_is_contained_and_ends_by_time, needs!(Cc)),
    test!(output_over_the_limit_ends_the_run),
    test!(output_over_the_limit_can_be_cut_off_instead),
    test!(stdout_and_stderr_have_a_limit_each),
    test!(output_of_exactly_the_limit_passes),
    test!(a_file_over_the_file_size_ends_the_run, needs!(Cc)),
    test!(a_program_may_handle_the_file_size_limit_itself, needs!(Cc)),
    test!(a_full_disk_is_the_programs_own_error, needs!(Cc)),
    test!(box_tmp_and_shm_share_one_disk_limit),
    test!(the_number_of_files_is_limited, needs!(Cc)),
    test!(the_number_of_open_files_is_limited, needs!(Cc)),
    test!(the_stack_is_limited, needs!(Cc)),
    test!(the_stack_is_as_large_as_the_memory_by_default, needs!(Cc)),
    test!(a_core_file_is_never_written, needs!(Cc)),
    test!(unlimited_lifts_a_limit, needs!(Cc)),
    test!(the_defaults_are_those_of_the_manual),
    test!(a_bare_number_of_seconds_and_the_borrowed_names_work),
    test!(the_message_at_a_limit_names_the_flag_that_raises_it),
    test!(every_limit_has_a_row_that_says_who_enforces_it),
    test!(kernel_limits_can_be_required, needs!(KernelLimits)),
    test!(required_kernel_limits_that_are_missing_are_an_error, needs!(NoKernelLimits)),
    test!(a_cpu_rate_without_a_controller_is_an_error, user, needs!(NoKernelLimits)),
    test!(a_cpu_rate_holds, root, needs!(Cgroup1, Cc)),
    test!(a_cpu_set_holds),
    test!(a_callers_lower_hard_limit_clamps_and_is_named, needs!(Cc)),
    test!(a_callers_soft_limit_does_not_leak_in, needs!(Cc)),
];

const MIB: u64 = 1 << 20;

fn assert_memory_limit(output: &Output, mib: u64) {
    output.assert_limit("memory-limit", "memory");
    assert_eq!(output.number("limit.value"), mib * MIB);
    assert_eq!(output.at("limit.unit"), "bytes");
    assert!(!output.said().contains("allocated"), "the program got all it wanted: {}", output.said());
}

fn memory_of_one_process_is_limited(place: &Place) {
    let output = place.json(&["--mem", "64M", "--", &place.payload(), "allocate", "anon", "200"]).output();
    assert_memory_limit(&output, 64);
}

fn mapped_shared_memory_is_limited(place: &Place) {
    let output = place.json(&["--mem", "64M", "--", &place.payload(), "allocate", "shared", "200"]).output();
    assert_memory_limit(&output, 64);
}

fn files_in_tmp_count_as_memory(place: &Place) {
    let payload = place.payload();
    for file in ["/tmp/f", "/dev/shm/f", "/box/f"] {
        let limits = ["--mem", "64M", "--disk", "300M", "--file-size", "300M"];
        let output = place.json(&limits).args(["--", &payload, "allocate", file, "200"]).output();
        assert_memory_limit(&output, 64);
    }
}

fn memory_of_four_processes_is_limited_together(place: &Place) {
    let output = place.json(&["--mem", "64M", "--", &place.payload(), "allocate-in-children", "4", "40"]).output();
    assert_memory_limit(&output, 64);
}

fn memory_beneath_the_limit_is_left_alone(place: &Place) {
    for kind in ["anon", "shared"] {
        let output = place.json(&["--mem", "96M", "--", &place.payload(), "allocate", kind, "64"]).output();
        output.assert_ok().assert_said("allocated\n");
        let peak = output.number("usage.memory_peak_bytes");
        // What polls may miss what was touched last.
        assert!((62 * MIB..=80 * MIB).contains(&peak), "the peak of 64 MiB {kind} was reported as {peak}");
    }
}

fn out_of_memory_in_a_child_is_a_memory_limit_whatever_the_parent_returns(place: &Place) {
    let output = place.json(&["--mem", "64M", "--", &place.payload(), "allocate-in-a-child", "200"]).output();
    assert_memory_limit(&output, 64);
}

fn four_mebibytes_are_enough_for_a_static_program(place: &Place) {
    place.json(&["--mem", "4M", "--", &place.payload(), "exit", "0"]).output().assert_ok();
}

/// Ended at the CPU time limit, neither before it nor long after.
fn assert_cpu_limit(output: &Output, millis: u64) {
    output.assert_limit("cpu-time-limit", "cpu_time");
    assert_eq!(output.number("limit.value"), millis * 1_000_000);
    assert_eq!(output.at("limit.unit"), "ns");
    let used = output.number("usage.cpu_ns") / 1_000_000;
    assert!((millis..millis + 400).contains(&used), "{used} ms of CPU time were used under a limit of {millis} ms");
}

fn cpu_time_of_one_thread_is_limited(place: &Place) {
    let output = place.json(&["--cpu-time", "300ms", "--", &place.payload(), "burn", "20"]).output();
    assert_cpu_limit(&output, 300);
}

fn cpu_time_of_four_threads_is_limited_together(place: &Place) {
    let output = place.json(&["--cpu-time", "500ms", "--", &place.payload(), "burn-threads", "4", "20"]).output();
    assert_cpu_limit(&output, 500);
}

fn cpu_time_of_four_children_is_limited_together(place: &Place) {
    let output = place.json(&["--cpu-time", "500ms", "--", &place.payload(), "burn-children", "4", "20"]).output();
    assert_cpu_limit(&output, 500);
}

fn cpu_time_of_an_orphan_is_limited(place: &Place) {
    let output = place.json(&["--cpu-time", "300ms", "--", &place.payload(), "burn-orphan", "20"]).output();
    assert_cpu_limit(&output, 300);
}

/// Ended at the wall time limit, neither before it nor long after.
fn assert_wall_limit(output: &Output, millis: u64) {
    output.assert_limit("wall-time-limit", "wall_time");
    assert_eq!(output.number("limit.value"), millis * 1_000_000);
    let used = output.number("usage.wall_ns") / 1_000_000;
    assert!((millis..millis + 400).contains(&used), "{used} ms passed under a wall time of {millis} ms");
    assert!(output.took < Duration::from_secs(5), "the call itself took {:?}", output.took);
    assert_eq!(output.at("killed_by"), "sandbox");
}

fn a_sleeper_ends_by_wall_time(place: &Place) {
    assert_wall_limit(&place.json(&["--wall-time", "300ms", "--", "sleep", "30"]).output(), 300);
}

fn a_stopped_program_ends_by_wall_time(place: &Place) {
    assert_wall_limit(&place.json(&["--wall-time", "300ms", "--", &place.payload(), "stop"]).output(), 300);
}

fn a_wall_time_alone_lifts_the_default_cpu_time(place: &Place) {
    let output = place.json(&["--wall-time", "60s", "--", "true"]).output();
    output.assert_ok();
    let row = enforcement(&output, "cpu_time");
    assert!(row.is_none_or(|row| row["value"].is_null()), "cpu_time still has a limit: {:#}", output.report());
}

fn a_program_that_ignores_every_signal_ends_by_wall_time(place: &Place) {
    let script = "trap '' INT TERM HUP QUIT XCPU ALRM USR1 USR2; while :; do sleep 1; done";
    assert_wall_limit(&place.json(&["--wall-time", "300ms", "--", "sh", "-c", script]).output(), 300);
}

fn a_sleeper_ends_by_idle_time(place: &Place) {
    let output = place.json(&["--idle-time", "300ms", "--", "sleep", "30"]).output();
    output.assert_limit("idle-limit", "idle_time");
    assert!(output.took < Duration::from_secs(5), "the call itself took {:?}", output.took);
}

fn a_process_limit_counts_the_payload_and_not_our_init(place: &Place) {
    let payload = place.payload();
    for (limit, children) in [("1", "0 EAGAIN\n"), ("4", "3 EAGAIN\n"), ("20", "19 EAGAIN\n")] {
        let output = place.json(&["--pids", limit, "--", &payload, "fork"]).output();
        output.assert_ok().assert_said(children);
        assert_ne!(output.at("touched.processes"), false, "a fork was refused: {:#}", output.report());
    }
}

fn threads_count_as_processes(place: &Place) {
    let output = place.json(&["--pids", "4", "--", &place.payload(), "threads"]).output();
    output.assert_ok().assert_said("3 EAGAIN\n");
}

fn a_fork_bomb_is_contained_and_ends_by_time(place: &Place) {
    let limits = ["--pids", "64", "--cpu-time", "500ms", "--wall-time", "5s"];
    let output = place.json(&limits).args(["--", &place.payload(), "bomb"]).output();
    assert_cpu_limit_or_wall(&output);
    assert!(output.number("usage.processes_peak") <= 64, "{:#}", output.report());
}

fn assert_cpu_limit_or_wall(output: &Output) {
    output.assert_code(124);
    assert!(["cpu-time-limit", "wall-time-limit"].contains(&output.status()), "{:#}", output.report());
}

fn output_over_the_limit_ends_the_run(place: &Place) {
    let output = place.json(&["--output-size", "64K", "--", "yes"]).output();
    output.assert_limit("output-limit", "output");
    assert_eq!(output.number("stdout.kept"), 65536);
    assert_eq!(output.at("stdout.truncated"), true);
    assert_eq!(output.said(), "y\n".repeat(32768));
    let plain = place.run(&["--output-size", "64K", "--", "yes"]).output();
    plain.assert_code(124);
    assert_eq!(plain.stdout.len(), 65536, "what the caller got");
}

fn output_over_the_limit_can_be_cut_off_instead(place: &Place) {
    let limits = ["--output-size", "64K", "--output-over", "truncate"];
    let output = place.json(&limits).args(["--", "head", "-c", "1M", "/dev/zero"]).output();
    output.assert_ok();
    assert_eq!((output.number("stdout.bytes"), output.number("stdout.kept")), (MIB, 65536));
    assert_eq!(output.at("stdout.truncated"), true);
}

fn stdout_and_stderr_have_a_limit_each(place: &Place) {
    let script = "head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2";
    let output = place.json(&["--output-size", "64K", "--", "sh", "-c", script]).output();
    output.assert_ok();
    let output = place.json(&["--output-size", "64K", "--", "sh", "-c", "yes >&2"]).output();
    output.assert_limit("output-limit", "output");
    assert_eq!((output.number("stdout.kept"), output.number("stderr.kept")), (0, 65536));
}

fn output_of_exactly_the_limit_passes(place: &Place) {
    let output = place.json(&["--output-size", "64K", "--", "head", "-c", "65536", "/dev/zero"]).output();
    output.assert_ok();
    assert_eq!(output.at("stdout.truncated"), false);
    let nothing = place.json(&["--output-size", "0", "--", "echo", "x"]).output();
    nothing.assert_limit("output-limit", "output");
    assert_eq!(nothing.number("stdout.kept"), 0);
}

fn a_file_over_the_file_size_ends_the_run(place: &Place) {
    let output = place.json(&["--file-size", "64K", "--", &place.payload(), "grow", "f", "65536"]).output();
    output.assert_limit("file-size-limit", "file_size");
    assert_eq!(output.at("signal_name"), "SIGXFSZ");
    let beneath = place.json(&["--file-size", "64K", "--", &place.payload(), "grow", "f", "65535"]).output();
    beneath.assert_ok().assert_said("1 0\n");
}

fn a_program_may_handle_the_file_size_limit_itself(place: &Place) {
    let words = ["--file-size", "64K", "--", &place.payload(), "grow", "f", "65536", "ignore"];
    let output = place.json(&words).output();
    output.assert_ok().assert_said("-1 EFBIG\n");
}

fn a_full_disk_is_the_programs_own_error(place: &Place) {
    let payload = place.payload();
    for file in ["/box/f", "/tmp/f", "/dev/shm/f"] {
        let output = place.json(&["--disk", "1M", "--file-size", "64M", "--", &payload, "fill", file]).output();
        output.assert_ok();
        let said = output.said();
        let (blocks, errno) = said.trim().split_once(' ').expect("a count and an errno");
        let blocks: u64 = blocks.parse().expect("a count");
        assert_eq!(errno, "ENOSPC", "{file}");
        assert!((128..=256).contains(&blocks), "{blocks} blocks of 4 KiB went into a disk of 1 MiB at {file}");
        assert_ne!(output.at("touched.disk"), false, "the disk was full: {:#}", output.report());
    }
}

fn box_tmp_and_shm_share_one_disk_limit(place: &Place) {
    let script = "for d in /box /tmp /dev/shm; do head -c 600K /dev/zero >$d/f 2>/dev/null || echo full; done";
    let output = place.json(&["--disk", "1M", "--", "sh", "-c", script]).output();
    assert_eq!(output.said().lines().count(), 2, "600 KiB fit in 1 MiB once: {:#}", output.report());
}

fn the_number_of_files_is_limited(place: &Place) {
    let payload = place.payload();
    for directory in ["/box", "/tmp"] {
        let output = place.json(&["--inodes", "200", "--", &payload, "create", directory]).output();
        output.assert_ok();
        let said = output.said();
        let (files, errno) = said.trim().split_once(' ').expect("a count and an errno");
        assert_eq!(errno, "ENOSPC", "{directory}");
        let files: u64 = files.parse().expect("a count");
        assert!((150..=200).contains(&files), "{files} files in {directory} under a limit of 200");
        assert_ne!(output.at("touched.inodes"), false, "no inode was left: {:#}", output.report());
    }
}

fn the_number_of_open_files_is_limited(place: &Place) {
    let output = place.json(&["--open-files", "16", "--", &place.payload(), "open"]).output();
    output.assert_ok().assert_said("13 EMFILE\n");
}

fn the_stack_is_limited(place: &Place) {
    let payload = place.payload();
    let output = place.json(&["--stack", "1M", "--", &payload, "recurse", "4096"]).output();
    output.assert_status("signaled").assert_code(139);
    assert_eq!(output.at("signal_name"), "SIGSEGV");
    place.json(&["--stack", "16M", "--", &payload, "recurse", "4096"]).output().assert_ok();
}

fn the_stack_is_as_large_as_the_memory_by_default(place: &Place) {
    place.json(&["--mem", "256M", "--", &place.payload(), "recurse", "131072"]).output().assert_ok();
}

fn a_core_file_is_never_written(place: &Place) {
    let payload = place.payload();
    place.json(&["--", &payload, "rlimit", "4"]).output().assert_ok().assert_said("1 1\n");
    place.json(&["--rw", ".", "--", &payload, "raise", "11"]).output().assert_status("signaled");
    assert_eq!(place.names(), ["payload"]);
}

fn unlimited_lifts_a_limit(place: &Place) {
    let payload = place.payload();
    let lifted = ["--mem", "unlimited", "--cpu-time", "unlimited", "--wall-time", "unlimited", "--pids", "unlimited"];
    let output = place.json(&lifted).args(["--output-size", "unlimited", "--", &payload, "fork"]).output();
    assert!(output.code == 0 || output.status() == "memory-limit", "{:#}", output.report());
    let forked: u64 = output.said().split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(forked > 128, "only {forked} forks without a limit");
    let output = place.json(&["--mem", "unlimited", "--", &payload, "allocate", "anon", "600"]).output();
    output.assert_ok().assert_said("allocated\n");
}

fn enforcement<'a>(output: &'a Output, limit: &str) -> Option<&'a serde_json::Value> {
    output.at("enforcement").as_array().expect("enforcement is a list").iter().find(|row| row["limit"] == limit)
}

fn value_of(output: &Output, limit: &str) -> u64 {
    let row = enforcement(output, limit).unwrap_or_else(|| panic!("no row for {limit} in {:#}", output.report()));
    row["value"].as_u64().unwrap_or_else(|| panic!("no value for {limit} in {:#}", output.report()))
}

fn the_defaults_are_those_of_the_manual(place: &Place) {
    let output = place.json(&["--", "true"]).output();
    output.assert_ok();
    let second = 1_000_000_000;
    for (limit, value) in [
        ("memory", 512 * MIB),
        ("cpu_time", 10 * second),
        ("wall_time", 30 * second),
        ("processes", 128),
        ("output", 16 * MIB),
        ("disk", 256 * MIB),
        ("file_size", 256 * MIB),
        ("inodes", 16384),
        ("open_files", 1024),
        ("stack", 512 * MIB),
        ("core", 1),
    ] {
        assert_eq!(value_of(&output, limit), value, "{limit}");
    }
}

fn a_bare_number_of_seconds_and_the_borrowed_names_work(place: &Place) {
    let words = ["-m", "100MB", "--cpu-time", "2", "--timeout", "1.5s", "--pids-limit", "7", "--network", "blocked"];
    let output = place.json(&words).args(["-e", "A=b", "-w", "/tmp", "-q", "sh", "-c", "echo $A $PWD"]).output();
    output.assert_ok().assert_said("b /tmp\n");
    assert_eq!(value_of(&output, "memory"), 100_000_000);
    assert_eq!(value_of(&output, "cpu_time"), 2_000_000_000);
    assert_eq!(value_of(&output, "wall_time"), 1_500_000_000);
    assert_eq!(value_of(&output, "processes"), 7);
    assert_eq!(output.at("isolation.network"), "blocked");
}

fn the_message_at_a_limit_names_the_flag_that_raises_it(place: &Place) {
    for (words, flag) in [
        (&["--wall-time", "200ms", "sleep", "9"][..], "--wall-time"),
        (&["--output-size", "1K", "yes"], "--output-size"),
        (&["--cpu-time", "200ms", "sh", "-c", "while :; do :; done"], "--cpu-time"),
        (&["--mem", "16M", "sh", "-c", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"], "--mem"),
    ] {
        let output = place.run(words).output();
        output.assert_code(124);
        assert!(output.stderr.contains("sandbox: ") && output.stderr.contains(flag), "{flag}: {}", output.stderr);
        let report = place.json(words).output();
        let told = format!("{} {}", report.at("message"), report.at("hint"));
        assert!(told.contains(flag), "{flag} is not in the report's words: {told}");
    }
}

fn every_limit_has_a_row_that_says_who_enforces_it(place: &Place) {
    let output = place.json(&["--", "true"]).output();
    for limit in [
        "memory",
        "cpu_time",
        "wall_time",
        "processes",
        "output",
        "file_size",
        "disk",
        "inodes",
        "open_files",
        "stack",
        "core",
    ] {
        let row = enforcement(&output, limit).unwrap_or_else(|| panic!("no row for {limit}"));
        assert!(row["mechanism"].is_string(), "nothing enforces {limit}: {row:#}");
        assert!(row["scope"].is_string(), "{row:#}");
    }
}

fn kernel_limits_can_be_required(place: &Place) {
    let output = place.json(&["--require", "kernel-limits", "--", "true"]).output();
    output.assert_ok();
    for limit in ["memory", "processes"] {
        let row = enforcement(&output, limit).expect("a row");
        assert_eq!(row["kernel"], true, "{row:#}");
        assert!(row["mechanism"].as_str().is_some_and(|words| words.starts_with("cgroup")), "{row:#}");
    }
}

fn required_kernel_limits_that_are_missing_are_an_error(place: &Place) {
    let output = place.run(&["--require", "kernel-limits", "--", "touch", "ran"]).output();
    output.assert_error(125, &["hint: "]);
    let output = place.json(&["--require", "kernel-limits", "--", "true"]).output();
    output.assert_code(125).assert_status("sandbox-failed");
}

fn a_cpu_rate_without_a_controller_is_an_error(place: &Place) {
    place.run(&["--cpus", "0.5", "--", "true"]).output().assert_error(125, &["0.5 CPUs", "hint: "]);
}

fn a_cpu_rate_holds(place: &Place) {
    let output = place.json(&["--cpus", "0.5", "--wall-time", "1s", "--", &place.payload(), "burn", "20"]).output();
    assert_wall_limit(&output, 1000);
    let used = output.number("usage.cpu_ns") / 1_000_000;
    // A busy machine may give less; the limit is that it never gives more.
    assert!((100..=600).contains(&used), "{used} ms of CPU time in 1 s at half a CPU");
}

fn a_cpu_set_holds(place: &Place) {
    let output = place.json(&["--cpu-set", "0", "--", "nproc"]).output();
    output.assert_ok().assert_said("1\n");
}

fn a_callers_lower_hard_limit_clamps_and_is_named(place: &Place) {
    place.payload();
    let script = "ulimit -S -n 64; ulimit -H -n 64; exec \"$SANDBOX\" run --json -- ./payload rlimit 7";
    let output = place.host_shell(script).expect_json().output();
    output.assert_ok();
    let row = enforcement(&output, "open_files").expect("a row");
    if place.is_root {
        // Root may raise its own hard limits: nothing need clamp.
        return;
    }
    output.assert_said("64 64\n");
    assert_eq!(row["clamped_by"], "caller", "{row:#}");
}

fn a_callers_soft_limit_does_not_leak_in(place: &Place) {
    place.payload();
    let script = "ulimit -S -n 50; ulimit -S -c 0; ulimit -S -s 256; exec \"$SANDBOX\" run -- ./payload rlimit 7";
    place.host_shell(script).output().assert_ok().assert_said("1024 1024\n");
}
