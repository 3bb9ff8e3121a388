//! Where reports and lines go when a stream is closed, full, or somebody else's.

use crate::snapshots::{sandbox, workplace};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_reader_that_went_away_is_no_panic", broken_pipe),
        Trial::test("a_full_disk_under_the_report_is_125", full_disk),
        Trial::test("a_closed_stdout_is_no_panic", closed_stdout),
        Trial::test("a_usage_error_is_reported_to_a_file_and_a_descriptor", file_and_descriptor),
        Trial::test("a_report_file_keeps_nothing_of_an_older_longer_one", older_report),
        Trial::test("a_nonblocking_reader_gets_the_whole_report", nonblocking),
    ]
}

fn ensure(condition: bool, text: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(text.into().into()) }
}

fn broken_pipe() -> Result<(), Failed> {
    let place = workplace();
    for (words, code) in [(&["run", "--help"][..], 0), (&["--version"], 0), (&["run", "--json"], 125)] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = sandbox(place.path(), words).stdout(writer).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure(output.status.code() == Some(code), format!("{words:?}: {} {stderr}", output.status))?;
        ensure(!stderr.contains("panicked"), stderr.clone())?;
        if code == 125 {
            ensure(stderr.contains("cannot write the report to stdout: broken pipe (EPIPE)"), stderr)?;
        }
    }
    Ok(())
}

fn full_disk() -> Result<(), Failed> {
    let place = workplace();
    let full = File::options().write(true).open("/dev/full")?;
    let output = sandbox(place.path(), &["run", "--json"]).stdout(full).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(125), format!("{} {stderr}", output.status))?;
    ensure(stderr.contains("cannot write the report to stdout: no space left on device (ENOSPC)"), stderr)?;
    let output =
        sandbox(place.path(), &["--version"]).stdout(File::options().write(true).open("/dev/full")?).output()?;
    ensure(output.status.code() == Some(125), output.status.to_string())
}

fn closed_stdout() -> Result<(), Failed> {
    let place = workplace();
    let binary = env!("CARGO_BIN_EXE_sandbox");
    for script in ["\"$0\" run --json >&-", "\"$0\" run --help >&-", "\"$0\" run --mem 1 x 2>&-", "\"$0\" >&- 2>&- <&-"]
    {
        let output =
            std::process::Command::new("/bin/sh").args(["-c", script, binary]).current_dir(place.path()).output()?;
        let code = output.status.code();
        ensure(matches!(code, Some(0 | 2 | 125)), format!("{script}: {}", output.status))?;
        ensure(!String::from_utf8_lossy(&output.stderr).contains("panicked"), script)?;
    }
    Ok(())
}

fn file_and_descriptor() -> Result<(), Failed> {
    let place = workplace();
    let script = "\"$0\" run --report r.json --report-fd 9 --memm 1 9>fd.json";
    let binary = env!("CARGO_BIN_EXE_sandbox");
    let output =
        std::process::Command::new("/bin/sh").args(["-c", script, binary]).current_dir(place.path()).output()?;
    ensure(output.status.code() == Some(2), output.status.to_string())?;
    ensure(output.stdout.is_empty(), "stdout is the command's")?;
    for name in ["r.json", "fd.json"] {
        let report: Value = serde_json::from_str(&fs::read_to_string(place.path().join(name))?)?;
        ensure(report["status"] == "sandbox-failed" && report["failure"] == "usage", report.to_string())?;
        ensure(report["hint"] == "did you mean --mem?", report.to_string())?;
    }
    Ok(())
}

fn older_report() -> Result<(), Failed> {
    let place = workplace();
    let file = place.path().join("r.json");
    fs::write(&file, "x".repeat(1 << 20))?;
    sandbox(place.path(), &["run", "--report", "r.json"]).output()?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    ensure(report["status"] == "sandbox-failed", report.to_string())
}

fn nonblocking() -> Result<(), Failed> {
    let place = workplace();
    let (mut reader, writer) = std::io::pipe()?;
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    // More than the pipe holds: the writer must wait for the reader, and leave the caller's flag alone.
    let long = "x".repeat(100_000);
    let keep = writer.try_clone()?;
    let mut command = sandbox(place.path(), &["run", "--json", "--mem", "1", &long]);
    let mut child = command.arg0("sandbox").stdout(writer).stderr(Stdio::null()).spawn()?;
    drop(command);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let flags = nix::fcntl::fcntl(&keep, nix::fcntl::FcntlArg::F_GETFL)?;
    ensure(flags & nix::libc::O_NONBLOCK != 0, "the caller's flag was changed")?;
    drop(keep);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure(child.wait()?.code() == Some(2), "the usage error's code")?;
    let report: Value = serde_json::from_str(&text)?;
    ensure(report["command"][0] == long.as_str(), "the whole command")
}
