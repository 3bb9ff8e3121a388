//! One call of the `sandbox` binary, and what came of it.

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A call being put together: the binary, in the trial's directory, with an empty standard input.
pub(crate) struct Call {
    command: Command,
    input: Vec<u8>,
    json: bool,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Output {
    /// As a shell would say it: 128 + N for a signal.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// With `--json`: what stdout holds.
    pub(crate) report: Option<Value>,
    pub(crate) took: Duration,
}

impl Call {
    pub(crate) fn new(program: impl AsRef<OsStr>, dir: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Call { command, input: Vec::new(), json: false }
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.json |= arg.as_ref() == "--json";
            self.command.arg(arg);
        }
        self
    }

    /// What comes on stdout is a report, although no word of this call says so.
    pub(crate) fn expect_json(mut self) -> Self {
        self.json = true;
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// These bytes through a pipe.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self.command.stdin(Stdio::piped());
        self
    }

    pub(crate) fn stdin(mut self, input: impl Into<Stdio>) -> Self {
        self.command.stdin(input);
        self
    }

    pub(crate) fn stdout(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stdout(output);
        self
    }

    pub(crate) fn stderr(mut self, output: impl Into<Stdio>) -> Self {
        self.command.stderr(output);
        self
    }

    /// In a process group of its own, so that a signal reaches it and what it started alone.
    pub(crate) fn own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// Starts it and leaves it running.
    pub(crate) fn start(mut self) -> Child {
        self.command.spawn().expect("the sandbox binary starts")
    }

    /// Runs it to its end.
    pub(crate) fn output(mut self) -> Output {
        let begin = Instant::now();
        let mut child = self.command.spawn().expect("the sandbox binary starts");
        let writer = child.stdin.take().map(|mut pipe| {
            let input = std::mem::take(&mut self.input);
            // A reader that goes away early is no error here.
            std::thread::spawn(move || drop(pipe.write_all(&input)))
        });
        let done = child.wait_with_output().expect("the child was started by us");
        let took = begin.elapsed();
        if let Some(writer) = writer {
            writer.join().expect("the writer does not panic");
        }
        let code = done.status.code().or(done.status.signal().map(|signal| 128 + signal)).expect("exited or signalled");
        let report = if self.json { serde_json::from_slice(&done.stdout).ok() } else { None };
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!stderr.contains("panicked at"), "the sandbox panicked:\n{stderr}");
        Output { code, stdout: done.stdout, stderr, report, took }
    }
}

impl Output {
    /// The report, which must be there and be one JSON value.
    pub(crate) fn report(&self) -> &Value {
        match &self.report {
            Some(report) => report,
            None => {
                panic!("no report on stdout, exit code {}\nstdout: {}\nstderr: {}", self.code, self.text(), self.stderr)
            }
        }
    }

    /// A member by its path, such as `limit.name`; `Null` where it is missing.
    pub(crate) fn at(&self, path: &str) -> &Value {
        path.split('.').fold(self.report(), |value, key| match key.parse::<usize>() {
            Ok(index) => &value[index],
            Err(_) => &value[key],
        })
    }

    pub(crate) fn number(&self, path: &str) -> u64 {
        self.at(path).as_u64().unwrap_or_else(|| panic!("{path} is no number in {:#}", self.report()))
    }

    pub(crate) fn status(&self) -> &str {
        self.at("status").as_str().unwrap_or("")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What the program wrote, with `--json` as without.
    pub(crate) fn said(&self) -> String {
        match &self.report {
            Some(report) => report["stdout"]["text"].as_str().unwrap_or("").to_owned(),
            None => self.text(),
        }
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.shown(), self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: &str) -> &Self {
        assert_eq!(self.status(), status, "status, in {:#}\nstderr: {}", self.report(), self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) -> &Self {
        self.assert_code(0);
        if self.report.is_some() {
            self.assert_status("ok");
        }
        self
    }

    #[track_caller]
    pub(crate) fn assert_said(&self, text: &str) -> &Self {
        assert_eq!(self.said(), text, "stdout, exit code {}, stderr: {}", self.code, self.stderr);
        self
    }

    /// An error of our own: its code, and a sentence on stderr that holds each of `words`.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: i32, words: &[&str]) -> &Self {
        self.assert_code(code);
        assert!(self.stderr.starts_with("sandbox: "), "no sentence of ours on stderr: {:?}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is not in: {}", self.stderr);
        }
        self
    }

    /// Ended at `limit`: code 124, the status, and the proof in the report.
    #[track_caller]
    pub(crate) fn assert_limit(&self, status: &str, limit: &str) -> &Self {
        self.assert_code(124).assert_status(status);
        assert_eq!(self.at("limit.name"), limit, "limit.name in {:#}", self.report());
        let evidence = self.at("limit.evidence").as_str().unwrap_or("");
        assert!(!evidence.is_empty(), "no evidence in {:#}", self.report());
        let hit = self.at("limits_hit").as_array().cloned().unwrap_or_default();
        assert!(hit.contains(&Value::from(limit)), "limits_hit lacks {limit} in {:#}", self.report());
        self
    }

    fn shown(&self) -> String {
        self.text().chars().take(4000).collect()
    }
}

/// A file that everybody may read, with these bytes.
pub(crate) fn file_with(path: &Path, bytes: impl AsRef<[u8]>) -> File {
    std::fs::write(path, bytes).expect("a file in the trial's directory");
    File::open(path).expect("a file just written")
}

/// The words of a command line, as owned strings of the system.
pub(crate) fn words<S: AsRef<OsStr>>(words: &[S]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}
