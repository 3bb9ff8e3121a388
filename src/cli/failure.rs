//! The report of a run that never was: an error of ours in the same form as every other ending.

use crate::error::{Error, Kind};
use crate::report::{HostFacts, Isolation, Report, SCHEMA, Status, Timings, Touched, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// `error` as a report: no figure, nothing enforced, no isolation.
pub(super) fn report_of(error: &Error, command: &[OsString]) -> Report {
    Report {
        schema: SCHEMA,
        status: match error.kind() {
            Kind::NotExecutable | Kind::NotFound => Status::ExecFailed,
            Kind::Usage | Kind::Sandbox => Status::SandboxFailed,
        },
        exit_code: None,
        signal: None,
        signal_name: None,
        limit: None,
        usage: Usage::default(),
        touched: Touched::default(),
        enforcement: Vec::new(),
        isolation: Isolation::default(),
        refused: None,
        limits_hit: Vec::new(),
        killed_by: None,
        left_running: None,
        stdout: None,
        stderr: None,
        collected: Vec::new(),
        thrown_away: None,
        timings: Timings::default(),
        command: command.iter().map(word).collect(),
        host: HostFacts { kernel: kernel() },
        message: error.to_string(),
        hint: error.hint_text().map(str::to_owned),
        failure: Some(error.kind()),
        teardown: "complete".to_owned(),
        notes: Vec::new(),
    }
}

fn word(word: &OsString) -> Value {
    match word.to_str() {
        Some(text) => Value::from(text),
        None => json!({ "base64": BASE64.encode(word.as_bytes()) }),
    }
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim_end().to_owned()
}
