//! Who starts the candidates: a process of this program, as some user, of some size. It is told over its stdin what to
//! run, once per line, and answers with the time from the start to the reaped end.

use sandbox::spec::{Input, Output, Work};
use sandbox::{Runner, Spec, Status};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden first word.
pub(crate) const WORKER: &str = "worker";

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Act {
    /// A vfork-style spawn of these words.
    Exec(Vec<OsString>),
    /// The library's `Runner::run`, by one runner for all runs, with this `sandbox` as its spawner.
    Library { sandbox: PathBuf },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Took(u64),
    Failed(String),
}

/// The asker's side.
pub(crate) struct Worker {
    process: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Worker {
    pub(crate) fn start(bench: &Path, uid: Option<u32>, resident: u64, work: &Path) -> Result<Worker, String> {
        let mut command = Command::new(bench);
        command.args([WORKER, &resident.to_string()]).current_dir(work).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut process = command.spawn().map_err(|e| format!("cannot start a worker: {e}"))?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a worker has no pipes".to_owned());
        };
        Ok(Worker { process, pipes: RefCell::new((stdin, BufReader::new(stdout))) })
    }

    /// How long it took; an error where it did not exit with 0.
    pub(crate) fn time(&self, act: &Act) -> Result<Duration, String> {
        let (stdin, stdout) = &mut *self.pipes.borrow_mut();
        let order = serde_json::to_string(act).map_err(|e| e.to_string())?;
        writeln!(stdin, "{order}").map_err(|e| format!("the worker is gone: {e}"))?;
        let mut line = String::new();
        stdout.read_line(&mut line).map_err(|e| format!("the worker is gone: {e}"))?;
        match serde_json::from_str(&line) {
            Ok(Answer::Took(ns)) => Ok(Duration::from_nanos(ns)),
            Ok(Answer::Failed(why)) => Err(why),
            Err(_) => Err("the worker is gone".to_owned()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The worker's side.
pub(crate) fn enter(words: &[String]) -> Result<(), String> {
    let resident: usize = words.first().and_then(|word| word.parse().ok()).ok_or("a worker needs its size")?;
    // Written, so that it is resident.
    let ballast = vec![1_u8; resident];
    let mut runners = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let act: Act = serde_json::from_str(&line).map_err(|e| e.to_string())?;
        let answer = match &act {
            Act::Exec(words) => exec(words),
            Act::Library { sandbox } => library(&mut runners, sandbox),
        };
        let answer = match answer {
            Ok(took) => Answer::Took(took.as_nanos() as u64),
            Err(why) => Answer::Failed(why),
        };
        println!("{}", serde_json::to_string(&answer).map_err(|e| e.to_string())?);
    }
    std::hint::black_box(&ballast);
    Ok(())
}

/// These words, with nothing to read and nobody who listens.
pub(crate) fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(words.first().cloned().unwrap_or_default());
    command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn exec(words: &[OsString]) -> Result<Duration, String> {
    let mut command = command(words);
    let begun = Instant::now();
    let status = command.spawn().and_then(|mut child| child.wait());
    let took = begun.elapsed();
    match status {
        Ok(status) if status.success() => Ok(took),
        Ok(status) => {
            let said = command.stderr(Stdio::piped()).output().map(|output| output.stderr).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            Err(format!("{status}: {}", said.lines().next().unwrap_or_default()))
        }
        Err(e) => Err(e.to_string()),
    }
}

fn library(runners: &mut HashMap<PathBuf, Runner>, binary: &Path) -> Result<Duration, String> {
    if !runners.contains_key(binary) {
        runners.insert(binary.to_owned(), Runner::with_binary(binary).map_err(|e| e.to_string())?);
    }
    let runner = runners.get(binary).ok_or("no runner")?;
    let spec = Spec::new([crate::candidate::PROGRAM])
        .work(Work::Current)
        .stdin(Input::Empty)
        .stdout(Output::Discard)
        .stderr(Output::Discard);
    let begun = Instant::now();
    let report = runner.run(&spec).map_err(|e| e.to_string())?;
    let took = begun.elapsed();
    if report.status == Status::Ok { Ok(took) } else { Err(report.message) }
}
