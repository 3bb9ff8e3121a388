//! One file per command line in `snapshots/`: its words, its exit code, what it wrote on both streams.

use libtest_mimic::{Failed, Trial};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The name of the snapshot and the words behind `sandbox`.
const CASES: &[(&str, &[&str])] = &[
    // Help.
    ("bare", &[]),
    ("help", &["--help"]),
    ("help-short", &["-h"]),
    ("help-of-run", &["help", "run"]),
    ("help-of-nothing", &["help", "nothing"]),
    ("version", &["--version"]),
    ("run-help", &["run", "--help"]),
    ("run-help-short", &["run", "-h"]),
    ("explain-help", &["explain", "--help"]),
    ("explain-help-short", &["explain", "-h"]),
    ("check-help", &["check", "--help"]),
    ("check-unknown-option", &["check", "--jsn"]),
    ("check-with-a-command", &["check", "./prog"]),
    ("policy-help", &["policy", "--help"]),
    ("policy-bare", &["policy"]),
    ("policy-list", &["policy", "list"]),
    ("policy-show-help", &["policy", "show", "--help"]),
    ("policy-show-call", &["policy", "show", "tight", "--call", "futex", "--call", "clone3", "--call", "getdents64"]),
    ("policy-show-unknown-call", &["policy", "show", "tight", "--call", "opne"]),
    ("policy-check", &["policy", "check", "run"]),
    ("policy-check-nothing", &["policy", "check"]),
    ("policy-check-no-file", &["policy", "check", "./none.toml"]),
    ("policy-diff-same", &["policy", "diff", "run", "run"]),
    ("policy-diff-unknown", &["policy", "diff", "run", "tigth"]),
    ("policy-unknown-command", &["policy", "shwo"]),
    // Words that are off.
    ("unknown-subcommand", &["rum", "./prog"]),
    ("forgotten-run", &["./prog"]),
    ("forgotten-run-option", &["--mem", "256M", "./prog"]),
    ("no-command", &["run", "--mem", "256M"]),
    ("no-command-behind-dashes", &["run", "--"]),
    ("empty-command", &["run", ""]),
    ("unknown-option", &["run", "--memm", "256M", "./prog"]),
    ("unknown-option-without-likeness", &["run", "--frobnicate", "./prog"]),
    ("unknown-short-option", &["run", "-x", "./prog"]),
    ("unknown-option-of-explain", &["explain", "--hots", "x", "./prog"]),
    ("missing-value", &["run", "--mem"]),
    ("flag-with-a-value", &["run", "--json=yes", "./prog"]),
    // Values that are off.
    ("size-without-a-number", &["run", "--mem", "lots", "./prog"]),
    ("size-with-a-bad-suffix", &["run", "--mem=256X", "./prog"]),
    ("size-negative", &["run", "--mem", "-5M", "./prog"]),
    ("size-empty", &["run", "--mem", "", "./prog"]),
    ("size-too-large", &["run", "--disk", "99999999T", "./prog"]),
    ("size-that-is-an-option", &["run", "--mem", "--json", "./prog"]),
    ("mem-without-a-unit", &["run", "--mem", "256", "./prog"]),
    ("mem-alias-without-a-unit", &["run", "--memory", "512", "./prog"]),
    ("mem-zero", &["run", "-m", "0", "./prog"]),
    ("time-without-a-number", &["run", "--cpu-time", "soon", "./prog"]),
    ("time-too-short", &["run", "--cpu-time", "0.0001s", "./prog"]),
    ("time-zero", &["run", "--timeout", "0", "./prog"]),
    ("time-negative", &["run", "--wall-time", "-1", "./prog"]),
    ("count-with-a-unit", &["run", "--pids", "5k", "./prog"]),
    ("pids-zero", &["run", "--pids-limit", "0", "./prog"]),
    ("cpus-too-few", &["run", "--cpus", "0.001", "./prog"]),
    ("cpu-set-backwards", &["run", "--cpu-set", "3-1", "./prog"]),
    ("net-unknown", &["run", "--net", "hots", "./prog"]),
    ("network-unknown", &["run", "--network", "internet", "./prog"]),
    ("output-over-unknown", &["run", "--output-over", "cut", "./prog"]),
    ("stdio-unknown", &["run", "--stdio", "tty", "./prog"]),
    ("require-unknown", &["run", "--require", "luck", "./prog"]),
    ("cgroup-relative", &["run", "--cgroup", "judge", "./prog"]),
    ("hostname-bad", &["run", "--hostname", "a b", "./prog"]),
    ("env-without-a-name", &["run", "-e", "=x", "./prog"]),
    ("ro-with-two-colons", &["run", "--ro", "a:b:c", "./prog"]),
    ("ro-without-a-path", &["run", "--ro", ":/in", "./prog"]),
    ("rw-goes-up", &["run", "--rw", "a:/b/../c", "./prog"]),
    ("tmpfs-with-a-bad-size", &["run", "--tmpfs", "/t:much", "./prog"]),
    ("out-goes-up", &["run", "--out", "../a.out", "./prog"]),
    ("workdir-goes-up", &["run", "-w", "/a/..", "./prog"]),
    ("dir-empty", &["run", "--dir", "", "./prog"]),
    ("policy-unknown", &["run", "--policy", "lax", "./prog"]),
    ("stdin-empty", &["run", "--stdin", "", "./prog"]),
    ("json-and-inherit", &["run", "--json", "--stdio", "inherit", "./prog"]),
    // Reports of errors, and where they go.
    ("json-unknown-option", &["run", "--memm", "1", "--json", "--", "./prog"]),
    ("json-bad-value", &["run", "--json", "--mem", "lots", "./prog"]),
    ("json-no-command", &["run", "--json"]),
    ("json-non-utf8-command", &["run", "--json", "--mem", "1", "./\u{fffd}"]),
    ("json-of-the-command", &["run", "--bad", "--", "./prog", "--json"]),
    ("quiet-error", &["run", "-q", "--mem", "256", "./prog"]),
    ("report-in-no-directory", &["run", "--report", "missing/report.json", "./prog"]),
    ("report-is-a-link", &["run", "--report", "link", "./prog"]),
    ("report-is-a-directory", &["run", "--report", "directory", "./prog"]),
    ("report-is-an-unread-pipe", &["run", "--report", "pipe", "./prog"]),
    ("report-fd-not-open", &["run", "--report-fd", "77", "./prog"]),
    ("report-fd-for-reading", &["run", "--report-fd", "0", "./prog"]),
    ("report-fd-no-number", &["run", "--report-fd", "stdout", "./prog"]),
    ("report-fd-negative", &["run", "--report-fd", "-1", "./prog"]),
    // Explain.
    ("explain-no-command", &["explain"]),
    ("explain-host-missing", &["explain", "--host", "missing.json", "./prog"]),
    ("explain-host-no-json", &["explain", "--host", "text", "./prog"]),
    ("explain-host-of-a-later-schema", &["explain", "--host", "later.json", "./prog"]),
];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |&(name, words): &(&'static str, &'static [&'static str])| {
        Trial::test(format!("snapshot::{name}"), move || compare(name, words))
    };
    let mut trials: Vec<Trial> = CASES.iter().map(trial).collect();
    trials.push(Trial::test("every_snapshot_file_has_a_case", no_orphans));
    trials.push(Trial::test("every_option_is_in_the_long_help", options_are_in_the_help));
    trials
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots")
}

/// A work directory with one of each kind of file that a word may name.
pub(crate) fn workplace() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| place.path().join(name);
    fs::create_dir(at("directory")).expect("a directory");
    std::os::unix::fs::symlink("elsewhere", at("link")).expect("a link");
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    fs::write(at("text"), "no json\n").expect("a file");
    let canned = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/hosts/plain.json"));
    let later = canned.expect("a canned host").replacen("\"schema\": 1", "\"schema\": 2", 1);
    fs::write(at("later.json"), later).expect("a file");
    place
}

/// The binary in `place`, with an environment that is the same everywhere.
pub(crate) fn sandbox(place: &Path, words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.args(words).current_dir(place).env_clear().env("PATH", "/usr/bin:/bin").stdin(std::process::Stdio::null());
    command
}

fn compare(name: &str, words: &[&str]) -> Result<(), Failed> {
    let place = workplace();
    // U+FFFD stands for a byte that is no UTF-8.
    let raw: Vec<OsString> = words.iter().map(|word| raw(word)).collect();
    let output = sandbox(place.path(), &raw).output()?;
    let found = normal(&shown(words, &output), place.path());
    let file = directory().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, &found)?;
        return Ok(());
    }
    let wanted = fs::read_to_string(&file)
        .map_err(|e| format!("{}: {e}; UPDATE_SNAPSHOTS=1 makes it. Found:\n{found}", file.display()))?;
    if found == wanted { Ok(()) } else { Err(difference(&wanted, &found).into()) }
}

fn raw(word: &str) -> OsString {
    let mut bytes = Vec::new();
    for c in word.chars() {
        if c == '\u{fffd}' { bytes.push(0xff) } else { bytes.extend(c.to_string().bytes()) }
    }
    OsStr::from_bytes(&bytes).to_owned()
}

fn shown(words: &[&str], output: &Output) -> String {
    let mut text = String::from("$ sandbox");
    for word in words {
        let safe = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-./=:,_".contains(c));
        let _ = if safe { write!(text, " {word}") } else { write!(text, " '{word}'") };
    }
    let code = output.status.code().map_or_else(|| output.status.to_string(), |code| format!("exit code {code}"));
    let _ = writeln!(text, "\n[{code}]");
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            let _ = write!(text, "[{stream}]\n{}", String::from_utf8_lossy(bytes));
        }
    }
    text
}

/// Without what differs from machine to machine.
fn normal(text: &str, place: &Path) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.replace(&format!("\"kernel\":\"{}\"", kernel.trim()), "\"kernel\":\"KERNEL\"")
        .replace(&*place.to_string_lossy(), "PLACE")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

fn difference(wanted: &str, found: &str) -> String {
    let mut text = String::from("the output is not the snapshot (UPDATE_SNAPSHOTS=1 takes the new one)\n");
    let (mut old, mut new) = (wanted.lines(), found.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return text,
            (old, new) if old == new => {}
            (old, new) => {
                let mut line = |sign: char, side: Option<&str>| {
                    if let Some(side) = side {
                        let _ = writeln!(text, "{sign} {side}");
                    }
                };
                line('-', old);
                line('+', new);
            }
        }
    }
}

fn no_orphans() -> Result<(), Failed> {
    for entry in fs::read_dir(directory())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default();
        if !CASES.iter().any(|(case, _)| name == *case) {
            return Err(format!("{} belongs to no case", path.display()).into());
        }
    }
    Ok(())
}

/// The README's and the names: none may be missing.
fn options_are_in_the_help() -> Result<(), Failed> {
    let place = workplace();
    let output = sandbox(place.path(), &["run", "--help"]).output()?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for option in [
        "-m,",
        "--mem ",
        "--memory",
        "--cpu-time",
        "--wall-time",
        "--timeout",
        "--idle-time",
        "--pids ",
        "--pids-limit",
        "--output-size",
        "--file-size",
        "--disk",
        "--inodes",
        "--open-files",
        "--stack",
        "--core",
        "--cpus",
        "--cpu-set",
        "--dir",
        "--ro",
        "--rw",
        "--tmpfs",
        "--out ",
        "-w,",
        "--workdir",
        "-e,",
        "--env",
        "--net ",
        "--network",
        "--hostname",
        "--policy",
        "--stdin",
        "--stdout",
        "--stderr",
        "--stdio",
        "--output-over",
        "--json",
        "--report ",
        "--report-fd",
        "--stats",
        "-q,",
        "--quiet",
        "--require",
        "--cgroup",
    ] {
        if !help.contains(option) {
            return Err(format!("{option} is not in the help").into());
        }
    }
    Ok(())
}
