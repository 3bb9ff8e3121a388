//! Each system call of the launcher fails once, in its turn, and then every one that a signal can interrupt is interrupted:
//! the launcher is traced, and a call that is to fail is never made. It ends with 125 or a truthful result, in time,
//! without a panic, and nothing is left.

#![allow(unsafe_code)]

use super::killed::{number, reap};
use crate::support::leftovers::{beneath, cgroups};
use crate::support::{Case, Place, Who};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// What is run: its name, its options, its command, and what that writes.
type Kind = (&'static str, &'static [&'static str], &'static str, &'static str);

const KINDS: [Kind; 4] = [
    ("captured", &["--json"], "echo ran", "ran\n"),
    ("polled", &["--json", "--cgroup", "none"], "echo ran; echo x >/tmp/x", "ran\n"),
    (
        "brought_out",
        &["--json", "--out", "made", "--stdin", "input", "--rw", "shown:/srv/shown"],
        "cat; echo x >made; echo y >/srv/shown/y",
        "some input\n",
    ),
    ("passed_on", &["--report", "report.json", "--wall-time", "10s"], "cat; echo ran", "ran\n"),
];

/// Into how many trials the calls of one kind are dealt.
const SHARDS: usize = 6;

/// A launcher that has not ended by then hangs. The slowest that is right waits 5 s for a dead child and a second for its cgroup.
const PATIENCE: Duration = Duration::from_secs(20);

/// The trials, which only x86-64 has: elsewhere a call is called off in another way.
pub(crate) fn cases() -> Vec<Case> {
    if !cfg!(target_arch = "x86_64") {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for kind in &KINDS {
        let mut case = |name: String, run: Box<dyn Fn(&Place) + Send + Sync>| {
            let name = format!("calls::{name}");
            cases.push(Case { name, who: Who::Both, needs: Vec::new(), programs: Vec::new(), run });
        };
        for shard in 0..SHARDS {
            let name = format!("{}_run_bears_any_failing_call_{}_of_{SHARDS}", kind.0, shard + 1);
            case(name, Box::new(move |place| each_call_fails_once(place, kind, shard)));
        }
        let name = format!("{}_run_bears_interruptions", kind.0);
        case(name, Box::new(move |place| every_call_is_interrupted(place, kind)));
    }
    cases
}

/// What the tracer saw.
struct Traced {
    ended: WaitStatus,
    /// The numbers of the calls since `main`, in order.
    calls: Vec<i64>,
    /// The call that failed.
    failed: Vec<i64>,
    stdout: String,
    stderr: String,
}

/// Calls whose failure is the end of any program: the allocator's.
fn is_fatal(call: i64) -> bool {
    matches!(call, libc::SYS_mmap | libc::SYS_mremap)
}

/// Calls that answer no errno, whatever happens, or none that a right argument could bring about.
fn cannot_fail(call: i64) -> bool {
    matches!(
        call,
        libc::SYS_exit_group
            | libc::SYS_exit
            | libc::SYS_rt_sigreturn
            | libc::SYS_restart_syscall
            | libc::SYS_brk
            | libc::SYS_munmap
            | libc::SYS_madvise
            | libc::SYS_clock_nanosleep
            | libc::SYS_clock_gettime
            | libc::SYS_getpid
            | libc::SYS_gettid
            | libc::SYS_getuid
            | libc::SYS_geteuid
            | libc::SYS_getgid
            | libc::SYS_getegid
            | libc::SYS_umask
            // Of the sort without flags, whose pool has filled since the machine started.
            | libc::SYS_getrandom
            | libc::SYS_setfsuid
            | libc::SYS_setfsgid
            | libc::SYS_sigaltstack
            | libc::SYS_rt_sigaction
            | libc::SYS_rt_sigprocmask
    )
}

/// Runs it under our eyes. `answer` says what the call with this count and number fails with, if it does.
#[cfg(target_arch = "x86_64")]
fn trace(place: &Place, kind: &Kind, mut answer: impl FnMut(usize, i64) -> Option<Errno>) -> Traced {
    let (_, options, script, _) = *kind;
    for entry in fs::read_dir(&place.dir).expect("the trial's directory").flatten() {
        let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
    }
    place.write("input", "some input\n");
    place.mkdir("shown");
    let output = tempfile::tempdir().expect("a directory");
    let (out, err) = (output.path().join("stdout"), output.path().join("stderr"));
    let mut command = Command::new(&place.tool);
    command.arg("run").args(options).args(["--", "sh", "-c", script]).current_dir(&place.dir).stdin(Stdio::null());
    command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
    // SAFETY: ptrace(PTRACE_TRACEME) is one system call; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from)) };
    let pid = Pid::from_raw(command.spawn().expect("the sandbox binary starts").id() as i32);
    let (done, timer) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = timer.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if late {
            // Not reaped before the channel is told, so the number is still its own.
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let (mut calls, mut failed, mut stacks, mut inside, mut due) = (Vec::new(), Vec::new(), 0, false, None);
    let mut status = waitpid(pid, None).expect("our child");
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).expect("it is ours to trace");
    let ended = loop {
        let mut deliver = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => break status,
            WaitStatus::PtraceSyscall(_) => {
                inside = !inside;
                let Ok(mut registers) = ptrace::getregs(pid) else { break waitpid(pid, None).expect("our child") };
                let call = registers.orig_rax as i64;
                if !inside && let Some(errno) = due.take() {
                    registers.rax = -i64::from(errno as i32) as u64;
                    ptrace::setregs(pid, registers).expect("it stands still");
                } else if inside && stacks >= 2 {
                    // Before that the C library and Rust's runtime start, whose failures are not ours.
                    due = answer(calls.len(), call).filter(|errno| !cannot_fail(call) || *errno == Errno::EINTR);
                    calls.push(call);
                    if due.is_some() {
                        failed.push(call);
                        registers.orig_rax = u64::MAX;
                        ptrace::setregs(pid, registers).expect("it stands still");
                    }
                } else if inside && call == libc::SYS_sigaltstack {
                    stacks += 1;
                }
            }
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            _ => {}
        }
        if ptrace::syscall(pid, deliver).is_err() {
            break waitpid(pid, None).expect("our child");
        }
        status = waitpid(pid, None).expect("our child");
    };
    let _ = done.send(());
    let late = watchdog.join().expect("it does not panic");
    let read = |path| String::from_utf8_lossy(&fs::read(path).expect("a file of ours")).into_owned();
    let (stdout, stderr) = (read(&out), read(&err));
    assert!(!late, "no end after {PATIENCE:?}, with {failed:?} failing\nstderr: {stderr}");
    Traced { ended, calls, failed, stdout, stderr }
}

#[cfg(not(target_arch = "x86_64"))]
fn trace(_: &Place, _: &Kind, _: impl FnMut(usize, i64) -> Option<Errno>) -> Traced {
    unreachable!("`cases` makes no trial here")
}

/// The result is true: the program's own, whole; or a failure of ours, said.
fn assert_truthful(place: &Place, kind: &Kind, run: &Traced, what: &str) {
    let (name, _, _, said) = *kind;
    let told = format!("{what}: {:?}\nstdout: {}\nstderr: {}", run.ended, run.stdout, run.stderr);
    assert!(!run.stderr.contains("panicked"), "a panic: {told}");
    let fatal = run.failed.iter().any(|&call| is_fatal(call));
    let code = match run.ended {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, Signal::SIGABRT, _) if fatal => return,
        _ => panic!("an end by signal: {told}"),
    };
    let written = if name == "passed_on" {
        fs::read_to_string(place.path("report.json")).unwrap_or_default()
    } else {
        run.stdout.clone()
    };
    let report: Option<Value> = serde_json::from_str(&written).ok();
    match code {
        0 => {
            let report = report.unwrap_or_else(|| panic!("a success without a report: {told}"));
            assert_eq!(report["status"], "ok", "{told}");
            let output =
                if name == "passed_on" { run.stdout.as_str() } else { report["stdout"]["text"].as_str().unwrap_or("") };
            assert_eq!(output, said, "output is lost and nothing is said: {told}");
            if name == "brought_out" {
                assert_eq!(fs::read_to_string(place.path("shown/y")).ok().as_deref(), Some("y\n"), "{told}");
                let there = fs::read_to_string(place.path("made")).ok().as_deref() == Some("x\n");
                assert!(there, "a result is lost and nothing is said: {told}");
            }
        }
        125..=127 => {
            let said = run.stderr.starts_with("sandbox: ") || report.is_some_and(|report| report["message"] != "");
            // Where the write of that sentence is what failed, the code has to do.
            assert!(said || run.failed.contains(&libc::SYS_write), "a failure without a word: {told}");
        }
        _ => panic!("neither a result nor a failure of ours: {told}"),
    }
}

/// Nothing runs and no file of ours is there; an empty cgroup may wait for the next run.
fn assert_clean(place: &Place, what: &str) {
    reap();
    let end = std::time::Instant::now() + Duration::from_secs(2);
    loop {
        let left: Vec<_> =
            beneath(std::process::id()).into_iter().filter(|(_, words)| !words.contains(") Z")).collect();
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < end, "{what} leaves {left:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let known = ["input", "made", "report.json", "shown"];
    let strange: Vec<_> = place.names().into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "{what} leaves {strange:?}");
}

fn each_call_fails_once(place: &Place, kind: &Kind, shard: usize) {
    let groups = cgroups();
    let clean = trace(place, kind, |_, _| None);
    assert_eq!(clean.ended, WaitStatus::Exited(waited(&clean), 0), "{}", clean.stderr);
    assert_truthful(place, kind, &clean, "nothing fails");
    // What comes later in a run with a failure is not what comes there in one without: a few more for that.
    let count = clean.calls.len() + 10;
    assert!(count > 100, "only {count} calls were seen");
    let answers = [Errno::ENOMEM, Errno::EIO, Errno::EMFILE, Errno::EACCES, Errno::ENOSPC];
    let only = number("SANDBOX_CALL").map(|call| call as usize);
    for at in (0..count).filter(|at| at % SHARDS == shard && only.is_none_or(|only| only == *at)) {
        let errno = answers[at % answers.len()];
        let run = trace(place, kind, |index, _| (index == at).then_some(errno));
        let call = run.failed.first().map_or("no".to_owned(), |&call| name_of(call));
        let what = format!("call {at} ({call}) answers {errno:?}");
        assert_truthful(place, kind, &run, &what);
        assert_clean(place, &what);
    }
    place.run(&["--dir", "none", "--", "true"]).output().assert_ok();
    // Other test programs run beside this one: their groups come and go.
    let mut left: Vec<_> = cgroups().difference(&groups).cloned().collect();
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while !left.is_empty() {
        assert!(std::time::Instant::now() < end, "cgroups are left: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
        left.retain(|group| std::path::Path::new(group).exists());
    }
}

fn waited(run: &Traced) -> Pid {
    run.ended.pid().unwrap_or(Pid::from_raw(0))
}

/// The name of a call of this machine.
fn name_of(call: i64) -> String {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    sandbox::plan::filter::call_name(AUDIT_ARCH_X86_64, call as i32)
}

/// Two of three calls that can wait are interrupted, which is no failure at all.
fn every_call_is_interrupted(place: &Place, kind: &Kind) {
    let mut random = super::killed::Random::new();
    for _ in 0..5 {
        let run = trace(place, kind, |_, call| {
            let waits = [
                libc::SYS_read,
                libc::SYS_write,
                libc::SYS_poll,
                libc::SYS_ppoll,
                libc::SYS_recvmsg,
                libc::SYS_sendmsg,
                libc::SYS_wait4,
                libc::SYS_clock_nanosleep,
            ];
            (waits.contains(&call) && random.below(3) > 0).then_some(Errno::EINTR)
        });
        let what = format!("{} interruptions", run.failed.len());
        assert!(run.failed.len() > 10, "only {what}");
        assert_eq!(run.ended, WaitStatus::Exited(waited(&run), 0), "{what}: {}", run.stderr);
        assert_truthful(place, kind, &run, &what);
        assert_clean(place, &what);
    }
}
