//! A job: a `Spec` as JSON. Every key is optional but `command`; an unknown key is an error.

use super::{
    Asked, CgroupChoice, Collect, Identity, Input, InsidePath, Mount, Network, Output, Overflow, PathPair, Policy,
    Spec, Work, path,
};
use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A word that need not be UTF-8: a text, or `{"base64": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Word {
    Text(String),
    Bytes { base64: String },
}

impl From<&OsStr> for Word {
    fn from(word: &OsStr) -> Self {
        match word.to_str() {
            Some(text) => Word::Text(text.to_owned()),
            None => Word::Bytes { base64: BASE64.encode(word.as_bytes()) },
        }
    }
}

impl TryFrom<Word> for OsString {
    type Error = String;

    fn try_from(word: Word) -> Result<Self, String> {
        match word {
            Word::Text(text) => Ok(text.into()),
            Word::Bytes { base64 } => {
                BASE64.decode(&base64).map(OsString::from_vec).map_err(|e| format!("'{base64}' is no base64: {e}"))
            }
        }
    }
}

/// One of `--ro`, `--rw`, `--tmpfs`, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum JobMount {
    Ro(Word),
    Rw(Word),
    Tmpfs(Word),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum JobInput {
    Caller,
    Empty,
    Direct,
    File(Word),
    Text(Word),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum JobOutput {
    Caller,
    Capture,
    Discard,
    Direct,
    File(Word),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Job {
    command: Vec<Word>,
    limits: Asked,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interactive: bool,
    /// A directory, `none`, or `.` for the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<Word>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<JobMount>,
    /// `PATH[:DEST]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    out: Vec<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workdir: Option<Word>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<JobInput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<JobOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<JobOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_over: Option<Overflow>,
    /// `auto`, `own`, `scope`, `none`, or a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<Word>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_kernel_limits: bool,
}

/// `PATH[:DEST]` with escaped colons.
pub(crate) fn parse_collect(words: &OsStr) -> Result<Collect, path::BadPath> {
    let mut halves = path::split_colon(words)?.into_iter().map(PathBuf::from);
    let from = halves.next().unwrap_or_default();
    // The same rules as for any path inside: absolute or from /box, never upward.
    InsidePath::new(&from)?;
    Ok(Collect { from, to: halves.next() })
}

/// `INSIDE[:SIZE]` with escaped colons.
pub(crate) fn parse_tmpfs(words: &OsStr) -> Result<Mount, String> {
    let mut halves = path::split_colon(words).map_err(|e| e.to_string())?.into_iter();
    let inside = InsidePath::new(halves.next().unwrap_or_default()).map_err(|e| e.to_string())?;
    let size = match halves.next() {
        None => None,
        Some(size) => {
            let size = size.to_str().ok_or("a size is plain text")?;
            Some(size.parse().map_err(|e: super::BadUnit| e.to_string())?)
        }
    };
    Ok(Mount::Tmpfs { inside, size })
}

/// `auto`, `own`, `scope`, `none`, or an absolute directory.
pub(crate) fn parse_cgroup(words: &OsStr) -> Result<CgroupChoice, String> {
    match words.to_str() {
        Some("auto") => Ok(CgroupChoice::Auto),
        Some("own") => Ok(CgroupChoice::Own),
        Some("scope") => Ok(CgroupChoice::Scope),
        Some("none") => Ok(CgroupChoice::None),
        _ if words.as_bytes().starts_with(b"/") => Ok(CgroupChoice::Dir(words.into())),
        _ => {
            Err(format!("'{}' is no cgroup choice: auto, own, scope, none, or an absolute directory", words.display()))
        }
    }
}

fn escape(path: &OsStr) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path.as_bytes() {
        if matches!(byte, b':' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped
}

fn pair(outside: &OsStr, inside: Option<&OsStr>) -> Word {
    let mut words = escape(outside);
    if let Some(inside) = inside {
        words.push(b':');
        words.extend(escape(inside));
    }
    Word::from(OsStr::from_bytes(&words))
}

fn pair_word(pair_: &PathPair) -> Word {
    pair(pair_.outside.as_os_str(), pair_.inside.as_ref().map(|inside| inside.as_path().as_os_str()))
}

impl TryFrom<Job> for Spec {
    type Error = Error;

    fn try_from(job: Job) -> Result<Self, Error> {
        let os = |word: Word| OsString::try_from(word).map_err(Error::usage);
        let command = job.command.into_iter().map(os).collect::<Result<Vec<_>, _>>()?;
        let mut spec = Spec::new(command);
        if let Some(name) = job.policy {
            spec.policy = Policy::named(OsStr::new(&name))?;
        }
        spec.interactive = job.interactive;
        spec = spec.limits(job.limits);
        spec.work = match job.dir.map(os).transpose()? {
            None => Work::Empty,
            Some(dir) if dir == "none" => Work::Empty,
            Some(dir) if dir == "." => Work::Current,
            Some(dir) => Work::Dir(dir.into()),
        };
        for mount in job.mounts {
            let bad = |e: &dyn std::fmt::Display| Error::usage(e.to_string());
            spec.mounts.push(match mount {
                JobMount::Ro(words) => Mount::ReadOnly(PathPair::parse(&os(words)?).map_err(|e| bad(&e))?),
                JobMount::Rw(words) => Mount::ReadWrite(PathPair::parse(&os(words)?).map_err(|e| bad(&e))?),
                JobMount::Tmpfs(words) => parse_tmpfs(&os(words)?).map_err(|e| bad(&e))?,
            });
        }
        for words in job.out {
            spec.collect.push(parse_collect(&os(words)?).map_err(|e| Error::usage(e.to_string()))?);
        }
        if let Some(workdir) = job.workdir {
            spec.workdir = InsidePath::new(os(workdir)?).map_err(|e| Error::usage(e.to_string()))?;
        }
        for (name, value) in job.env {
            spec = spec.env(name, os(value)?);
        }
        if let Some(name) = job.hostname {
            spec.hostname = name.parse().map_err(Error::usage)?;
        }
        spec.network = job.net.unwrap_or(spec.network);
        spec.identity = job.identity.unwrap_or(spec.identity);
        spec.stdin = match job.stdin {
            None | Some(JobInput::Empty) => Input::Empty,
            Some(JobInput::Caller) => Input::Caller,
            Some(JobInput::Direct) => Input::Direct,
            Some(JobInput::File(path)) => Input::File(os(path)?.into()),
            Some(JobInput::Text(text)) => Input::Bytes(os(text)?.into_vec()),
        };
        let output = |wanted: Option<JobOutput>| {
            Ok::<_, Error>(match wanted {
                None | Some(JobOutput::Capture) => Output::Capture,
                Some(JobOutput::Caller) => Output::Caller,
                Some(JobOutput::Discard) => Output::Discard,
                Some(JobOutput::Direct) => Output::Direct,
                Some(JobOutput::File(path)) => Output::File(os(path)?.into()),
            })
        };
        spec.stdout = output(job.stdout)?;
        spec.stderr = output(job.stderr)?;
        spec.overflow = job.output_over.unwrap_or(spec.overflow);
        if let Some(choice) = job.cgroup {
            spec.cgroup = parse_cgroup(&os(choice)?).map_err(Error::usage)?;
        }
        spec.require_kernel_limits = job.require_kernel_limits;
        spec.validate()?;
        Ok(spec)
    }
}

impl From<Spec> for Job {
    fn from(spec: Spec) -> Job {
        let path = |path: &PathBuf| Word::from(path.as_os_str());
        let output = |output: &Output| match output {
            Output::Caller => JobOutput::Caller,
            Output::Capture => JobOutput::Capture,
            Output::Discard => JobOutput::Discard,
            Output::Direct => JobOutput::Direct,
            Output::File(file) => JobOutput::File(path(file)),
        };
        Job {
            command: spec.command.iter().map(|word| word.as_os_str().into()).collect(),
            limits: spec.asked.clone(),
            policy: Some(spec.policy.name.clone()),
            interactive: spec.interactive,
            dir: Some(match &spec.work {
                Work::Current => Word::Text(".".to_owned()),
                Work::Empty => Word::Text("none".to_owned()),
                // A directory of one of those names.
                Work::Dir(dir) if [".", "none"].iter().any(|word| dir.as_os_str() == *word) => path(&dir.join("")),
                Work::Dir(dir) => path(dir),
            }),
            mounts: spec
                .mounts
                .iter()
                .map(|mount| match mount {
                    Mount::ReadOnly(pair) => JobMount::Ro(pair_word(pair)),
                    Mount::ReadWrite(pair) => JobMount::Rw(pair_word(pair)),
                    Mount::Tmpfs { inside, size } => {
                        let size = size.map(|size| OsString::from(size.get().to_string()));
                        JobMount::Tmpfs(pair(inside.as_path().as_os_str(), size.as_deref()))
                    }
                })
                .collect(),
            out: spec
                .collect
                .iter()
                .map(|collect| pair(collect.from.as_os_str(), collect.to.as_ref().map(|to| to.as_os_str())))
                .collect(),
            workdir: Some(spec.workdir.as_path().as_os_str().into()),
            env: spec
                .env
                .iter()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_os_str().into()))
                .collect(),
            hostname: Some(spec.hostname.0.clone()),
            net: Some(spec.network),
            identity: Some(spec.identity),
            stdin: Some(match &spec.stdin {
                Input::Caller => JobInput::Caller,
                Input::Empty => JobInput::Empty,
                Input::Direct => JobInput::Direct,
                Input::File(file) => JobInput::File(path(file)),
                Input::Bytes(bytes) => JobInput::Text(OsStr::from_bytes(bytes).into()),
            }),
            stdout: Some(output(&spec.stdout)),
            stderr: Some(output(&spec.stderr)),
            output_over: Some(spec.overflow),
            cgroup: Some(match &spec.cgroup {
                CgroupChoice::Auto => Word::Text("auto".to_owned()),
                CgroupChoice::Own => Word::Text("own".to_owned()),
                CgroupChoice::Scope => Word::Text("scope".to_owned()),
                CgroupChoice::None => Word::Text("none".to_owned()),
                CgroupChoice::Dir(dir) => path(dir),
            }),
            require_kernel_limits: spec.require_kernel_limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_a_round_trip() {
        let json = r#"{"command":["./prog",{"base64":"/w=="}],"limits":{"mem":"256M","cpu-time":1.5},"dir":".",
            "mounts":[{"ro":"a\\:b:/c"},{"tmpfs":"/t:1M"}],"out":["a.out:b"],"stdin":{"text":"3 4\n"},"net":"blocked"}"#;
        let spec: Spec = serde_json::from_str(json).unwrap();
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
        assert_eq!(spec.limits.disk, super::super::Cap::At(super::super::Bytes::mib(128)));
    }

    #[test]
    fn a_job_with_an_unknown_key_or_no_command_is_refused() {
        assert!(serde_json::from_str::<Spec>(r#"{"command":["a"],"memory":1}"#).is_err());
        assert!(serde_json::from_str::<Spec>(r#"{"command":[]}"#).is_err());
    }
}
