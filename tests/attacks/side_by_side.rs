//! Two runs side by side cannot see, signal or message each other, nor reach a listener of the host: a test per channel.

use crate::support::{Place, Test, needs, test};
use std::io::{BufRead, BufReader, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Child;

pub(crate) const TESTS: &[Test] = &[
    test!(files_in_tmp_and_shm_are_not_shared),
    test!(processes_are_not_seen_and_not_signalled),
    test!(abstract_sockets_are_not_shared, needs!(Cc)),
    test!(a_listener_of_the_host_is_not_reached, needs!(Cc)),
    test!(the_throw_away_box_is_not_shared),
    test!(a_secret_of_the_host_is_not_in_the_room),
];

/// A run that has printed its first line and goes on for a while.
fn beside(place: &Place, words: &[&str]) -> (Child, String) {
    let mut child = place.run(words).start();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    (child, line)
}

fn end(mut child: Child) {
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("our child");
    child.wait().expect("our child");
}

fn files_in_tmp_and_shm_are_not_shared(place: &Place) {
    let script = "echo x >/tmp/mark; echo x >/dev/shm/mark; echo ready; sleep 9";
    let (child, _) = beside(place, &["sh", "-c", script]);
    place.run(&["sh", "-c", "ls -A /tmp; ls -A /dev/shm"]).output().assert_ok().assert_said("");
    end(child);
}

fn processes_are_not_seen_and_not_signalled(place: &Place) {
    let (mut child, _) = beside(place, &["sh", "-c", "echo ready; sleep 1; echo alive"]);
    let script = "i=1; while [ $i -lt 400 ]; do [ $i -eq $$ ] || kill -9 $i; i=$((i+1)); done 2>/dev/null; ls -d /proc/[0-9]* | wc -l";
    let output = place.run(&["sh", "-c", script]).output();
    let seen: u32 = output.assert_ok().said().trim().parse().expect("a count");
    assert!(seen <= 4, "{seen} processes are seen");
    let mut rest = String::new();
    child.stdout.as_mut().expect("a pipe").read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("our child").success());
    assert_eq!(rest, "alive\n");
}

fn abstract_sockets_are_not_shared(place: &Place) {
    let program = place.bring("abstract_socket");
    for network in ["none", "blocked"] {
        let name = format!("between-two-runs-{}-{network}", std::process::id());
        let (child, line) = beside(place, &["--net", network, "--", &program, "listen", &name]);
        assert!(["listening\n", "refused\n"].contains(&line.as_str()), "{line}");
        let output = place.run(&["--net", network, "--", &program, "connect", &name]).output();
        output.assert_ok().assert_said("refused\n");
        end(child);
    }
}

fn a_listener_of_the_host_is_not_reached(place: &Place) {
    let program = place.bring("abstract_socket");
    let name = format!("of-the-host-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let _listener = UnixListener::bind_addr(&address).expect("a new name");
    for network in ["none", "blocked"] {
        let output = place.run(&["--net", network, "--", &program, "connect", &name]).output();
        output.assert_ok().assert_said("refused\n");
    }
}

fn the_throw_away_box_is_not_shared(place: &Place) {
    let (child, _) = beside(place, &["sh", "-c", "echo x >mark; echo ready; sleep 9"]);
    place.run(&["ls", "-A"]).output().assert_ok().assert_said("");
    end(child);
}

fn a_secret_of_the_host_is_not_in_the_room(place: &Place) {
    let secret = format!("secret-{}", std::process::id());
    let outside = place.dir.parent().expect("a parent").join("not-shown");
    let _ = std::fs::write(&outside, &secret);
    let script = "grep -rl \"$1\" / --include='*' --exclude-dir=proc --exclude-dir=usr --exclude-dir=lib --exclude-dir=bin \
        --exclude-dir=sbin --exclude-dir=opt --exclude-dir=lib64 --exclude-dir=dev 2>/dev/null; echo searched";
    let output = place.run(&["sh", "-c", script, "sh", &secret]).output();
    output.assert_ok().assert_said("searched\n");
}
