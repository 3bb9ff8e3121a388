//! What a program finds around it: an environment of our own, an unprivileged identity, nothing of the caller's process.

use crate::support::{Place, Test, needs, test};

pub(crate) const TESTS: &[Test] = &[
    test!(nothing_of_the_environment_is_inherited),
    test!(variables_can_be_set_and_passed_on),
    test!(the_working_directory_can_be_chosen),
    test!(the_identity_is_unprivileged),
    test!(every_capability_set_is_empty_and_none_can_be_had),
    test!(a_filter_is_in_force),
    test!(no_descriptor_but_three_is_open, needs!(Cc)),
    test!(ignored_and_blocked_signals_do_not_leak_in),
    test!(nice_and_umask_do_not_leak_in, needs!(Cc)),
    test!(supplementary_groups_are_dropped_as_root, root, &[]),
    test!(only_its_own_processes_are_there),
    test!(init_shows_nothing_of_the_caller),
    test!(the_host_name_is_its_own),
    test!(no_network_is_there),
    test!(blocked_network_refuses_sockets, needs!(Cc)),
    test!(there_is_no_controlling_terminal),
    test!(a_command_is_looked_up_inside),
    test!(devices_are_the_harmless_ones),
    test!(ordinary_programs_work),
    test!(python_works, needs!(Python3)),
    test!(calls_that_any_program_makes_are_allowed, needs!(Cc)),
];

fn nothing_of_the_environment_is_inherited(place: &Place) {
    let output = place.run(&["env"]).env("SECRET", "hidden").env("LD_PRELOAD", "").env("HOME", "/root").output();
    output.assert_ok();
    let mut lines: Vec<_> = output.said().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        ["HOME=/tmp", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/tmp", "USER=sandbox"]
    );
}

fn variables_can_be_set_and_passed_on(place: &Place) {
    let words = ["--env", "A=1", "-e", "B", "--env", "EMPTY=", "--env", "A=2", "-e", "HOME=/box", "--env", "UNSET"];
    let output = place.run(&words).args(["sh", "-c", "echo \"$A $B ${EMPTY-none} $HOME ${UNSET-none}\""]).env("B", "b");
    output.output().assert_ok().assert_said("2 b  /box none\n");
    let output = place.run(&["--env", "PATH=/nowhere", "/usr/bin/env"]).output();
    assert!(output.assert_ok().said().contains("PATH=/nowhere\n"));
}

fn the_working_directory_can_be_chosen(place: &Place) {
    place.mkdir("sub");
    place.run(&["pwd"]).output().assert_said("/box\n");
    place.run(&["--workdir", "/tmp", "pwd"]).output().assert_said("/tmp\n");
    place.run(&["-w", "sub", "pwd"]).output().assert_said("/box/sub\n");
    place.run(&["--workdir", "/no/such", "pwd"]).output().assert_error(125, &["/no/such"]);
}

fn the_identity_is_unprivileged(place: &Place) {
    let output = place.run(&["sh", "-c", "id -u; id -g; id -un; echo ~"]).output();
    output.assert_ok().assert_said("1000\n1000\nsandbox\n/tmp\n");
    let map = place.run(&["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map"]).output().said();
    for line in map.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!((fields[0], fields[2]), ("1000", "1"), "{map}");
        assert_ne!(fields[1], "0", "the payload is root outside: {map}");
    }
    assert_eq!(map.lines().count(), 2);
}

fn status_of(place: &Place, key: &str) -> String {
    let output = place.run(&["cat", "/proc/self/status"]).output();
    output.assert_ok();
    let said = output.said();
    let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {said}")).trim().to_owned()
}

fn every_capability_set_is_empty_and_none_can_be_had(place: &Place) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_of(place, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_of(place, "NoNewPrivs"), "1");
}

fn a_filter_is_in_force(place: &Place) {
    assert_eq!(status_of(place, "Seccomp"), "2");
}

fn no_descriptor_but_three_is_open(place: &Place) {
    place.payload();
    let script = "exec 3<. 4</dev/null 9<&0 200</etc/passwd; exec \"$SANDBOX\" run -- ./payload descriptors";
    // dash knows one digit only.
    let script = script.replace(" 200</etc/passwd", "");
    place.host_shell(&script).output().assert_ok().assert_said("0\n");
}

fn ignored_and_blocked_signals_do_not_leak_in(place: &Place) {
    let script = "trap '' TERM HUP PIPE XFSZ USR1 CHLD; exec \"$SANDBOX\" run -- cat /proc/self/status";
    let said = place.host_shell(script).output().assert_ok().said();
    for set in ["SigIgn", "SigBlk"] {
        let line = said.lines().find(|line| line.starts_with(set)).expect("a set of signals");
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    let script = "exec env --block-signal=TERM,ALRM,USR1 \"$SANDBOX\" run -- cat /proc/self/status";
    let said = place.host_shell(script).output().assert_ok().said();
    assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
    place.host_shell("trap '' PIPE; \"$SANDBOX\" run -- yes | head -n 1").output().assert_said("y\n");
}

fn nice_and_umask_do_not_leak_in(place: &Place) {
    place.payload();
    let script = "umask 0177; exec \"$SANDBOX\" run -- sh -c umask";
    place.host_shell(script).output().assert_ok().assert_said("0022\n");
    if place.is_root {
        let script = "exec nice -n -5 \"$SANDBOX\" run -- ./payload nice";
        place.host_shell(script).output().assert_ok().assert_said("0\n");
    }
}

fn supplementary_groups_are_dropped_as_root(place: &Place) {
    let script = "exec setpriv --groups 4,24,27 \"$SANDBOX\" run -- cat /proc/self/status";
    let said = place.host_shell(script).output().assert_ok().said();
    let groups = said.lines().find_map(|line| line.strip_prefix("Groups:")).expect("groups").trim();
    assert!(groups.is_empty() || groups == "1000", "groups inside: {groups}");
}

fn only_its_own_processes_are_there(place: &Place) {
    let output = place.run(&["sh", "-c", "cd /proc && echo [0-9]*"]).output();
    output.assert_ok();
    let pids = output.said().split_whitespace().count();
    assert!((1..=3).contains(&pids), "processes that are seen inside: {}", output.said());
}

fn init_shows_nothing_of_the_caller(place: &Place) {
    for file in ["environ", "mem", "fd/0", "exe", "root/etc/passwd", "maps", "cwd/."] {
        let script = format!("cat /proc/1/{file} 2>/dev/null || echo refused");
        place.run(&["sh", "-c", &script]).env("SECRET", "hidden").output().assert_ok().assert_said("refused\n");
    }
    let output = place.run(&["sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 0"]).output();
    assert!(!output.assert_ok().said().contains("exit 0"), "init shows the caller's words: {}", output.said());
}

fn the_host_name_is_its_own(place: &Place) {
    place.run(&["uname", "-n"]).output().assert_said("sandbox\n");
    place.run(&["--hostname", "judge-7.local", "uname", "-n"]).output().assert_said("judge-7.local\n");
}

fn no_network_is_there(place: &Place) {
    let output = place.run(&["cat", "/proc/net/dev"]).output();
    output.assert_ok();
    let interfaces: Vec<_> =
        output.said().lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect();
    assert!(interfaces.iter().all(|name| name == "lo"), "{interfaces:?}");
}

fn blocked_network_refuses_sockets(place: &Place) {
    let output = place.run(&["--net", "blocked", "--", &place.payload(), "socket"]).output();
    output.assert_ok();
    assert!(output.said().starts_with("-1 E"), "a socket was made: {}", output.said());
}

fn there_is_no_controlling_terminal(place: &Place) {
    let script = "(exec 3<>/dev/tty) 2>/dev/null || echo refused";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("refused\n");
}

fn a_command_is_looked_up_inside(place: &Place) {
    place.script("tool", "#!/bin/sh\necho outside\n");
    // Neither the current directory nor the caller's PATH counts.
    let output = place.run(&["tool"]).env("PATH", &place.dir).output();
    output.assert_error(127, &["tool"]);
    let output = place.run(&["ls", "/usr"]).env("PATH", "/nowhere").output();
    output.assert_ok();
}

fn devices_are_the_harmless_ones(place: &Place) {
    let script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x >/dev/null && cat /dev/null";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("4\n4\n");
    let output = place.run(&["sh", "-c", "cd /dev && find . -type b -o -type c | sort | tr '\\n' ' '"]).output();
    for device in output.said().split_whitespace() {
        let known = ["./full", "./null", "./random", "./tty", "./urandom", "./zero", "./ptmx", "./pts/ptmx"];
        assert!(known.contains(&device), "{device} is in /dev");
    }
}

fn ordinary_programs_work(place: &Place) {
    place.write("numbers", "3\n1\n2\n");
    let script = "sort -n numbers | tee /tmp/sorted | tr '\\n' ' '; date +%s >/dev/null; mktemp -d >/dev/null; \
        (sleep 0.01; echo background) & wait; ls -l /proc/self/fd >/dev/null; df /box >/dev/null";
    place.run(&["sh", "-c", script]).output().assert_ok().assert_said("1 2 3 background\n");
}

fn python_works(place: &Place) {
    let program = "import subprocess, threading, tempfile, sys\n\
        t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
        print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='')\n\
        tempfile.TemporaryFile().write(b'x')\n\
        print(sum(map(int, sys.stdin.read().split())))\n";
    place.write("main.py", program);
    let output = place.run(&["python3", "main.py"]).input("1 2 3\n").output();
    output.assert_ok().assert_said("thread\nchild\n6\n");
}

fn calls_that_any_program_makes_are_allowed(place: &Place) {
    place.run(&["--", &place.payload(), "ordinary"]).output().assert_ok().assert_said("");
}
