//! What must be true of a run, with every default already filled in. Pure: reads nothing, decides nothing about a kernel.

pub mod calls;
mod job;
mod limits;
mod path;
pub mod policy;
mod units;

#[cfg(feature = "cli")]
pub(crate) use job::{parse_cgroup, parse_collect, parse_tmpfs};
pub use limits::{Asked, CpuSet, Limit, Limits};
pub use path::{BadPath, InsidePath, PathPair};
pub use policy::Policy;
pub use units::{BadUnit, Bytes, Cap, CpuRate, Millis};

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What is wanted of one run: the command, its limits, what it sees, where its streams go.
///
/// Made by [`Spec::new`] and the builder methods, or from a job (the same fields as JSON; `serde`). A `Spec` is always
/// complete: what nobody named has the default policy's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "job::Job", into = "job::Job")]
pub struct Spec {
    pub(crate) command: Vec<OsString>,
    /// What the caller named, kept to tell a default from a wish.
    pub(crate) asked: Asked,
    pub(crate) policy: Policy,
    /// Derived from `asked` and the policy's limits; never set by itself.
    pub(crate) limits: Limits,
    pub(crate) interactive: bool,
    pub(crate) work: Work,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) collect: Vec<Collect>,
    pub(crate) workdir: InsidePath,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) hostname: Hostname,
    pub(crate) network: Network,
    pub(crate) identity: Identity,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) overflow: Overflow,
    pub(crate) cgroup: CgroupChoice,
    pub(crate) require_kernel_limits: bool,
}

/// What `/box`, the work directory, holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The caller's current directory, unless that is `/` or the home directory: then nothing of it.
    Current,
    /// This host directory; writes are thrown away.
    Dir(PathBuf),
    /// An empty directory.
    Empty,
}

/// Something more that is shown inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A host file or directory, read-only. Without `inside`: at its place under `/box` if it lies in the work
    /// directory, else at the same absolute path.
    ReadOnly(PathPair),
    /// The same, writable: writes reach the host.
    ReadWrite(PathPair),
    /// An empty directory whose contents are thrown away; its own size where one is given, else within the disk limit.
    Tmpfs {
        /// Where.
        inside: InsidePath,
        /// A size of its own.
        size: Option<Bytes>,
    },
}

/// A file that is brought out after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collect {
    /// Inside, relative to `/box` or absolute.
    pub from: PathBuf,
    /// Outside; `None` for the same place in the host's work directory.
    pub to: Option<PathBuf>,
}

/// A host name of 1 to 64 bytes: letters, digits, `-` and `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(String);

impl Hostname {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Hostname {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) || name.starts_with(['-', '.']) {
            return Err(format!("'{name}' is no host name: 1 to 64 letters, digits, '-' and '.'"));
        }
        Ok(Hostname(name.to_owned()))
    }
}

/// What network the payload has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// An empty network namespace of its own.
    None,
    /// The host's namespace, every socket refused by the filter: the fastest start. `/proc/net` shows the host's tables.
    Blocked,
    /// The host's network.
    Host,
}

/// Who the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// Uid 1000 inside, the caller outside (as root: a fixed unprivileged id).
    #[serde(rename = "self")]
    Caller,
}

/// Where the payload's standard input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The caller's, through a pipe of ours (a regular file is opened again, read-only).
    Caller,
    /// Nothing: end of file at once.
    Empty,
    /// A host file, opened before the start without following a link at its end.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The caller's descriptor itself (`--stdio inherit`).
    Direct,
}

/// Where a stream of the payload's goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The caller's, through a pipe of ours.
    Caller,
    /// Into the report.
    Capture,
    /// Counted, then thrown away.
    Discard,
    /// A host file, made or emptied before the start without following a link at its end.
    File(PathBuf),
    /// The caller's descriptor itself: not counted, not capped (`--stdio inherit`).
    Direct,
}

/// What happens at the output limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The run ends as `output-limit`.
    Kill,
    /// The rest is read and thrown away, and the report says so.
    Truncate,
}

/// Which cgroup the run gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupChoice {
    /// The best that can be had without moving anybody (DESIGN §4).
    Auto,
    /// A child of our own cgroup, or an error.
    Own,
    /// The systemd scope that we were started in (`systemd-run --user --scope -p Delegate=yes …`), or an error. Entering one
    /// by ourselves is not built.
    Scope,
    /// A child of this directory, or an error.
    Dir(PathBuf),
    /// None.
    None,
}

impl Spec {
    /// Runs `command` under the default policy, in an empty `/box`, with no input and both outputs captured.
    ///
    /// # Panics
    /// Never; an empty command or one with a NUL byte is an error of [`crate::plan`].
    pub fn new<I, S>(command: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let policy = Policy::default();
        let asked = Asked::default();
        Spec {
            command: command.into_iter().map(Into::into).collect(),
            limits: Limits::derive(&asked, &policy.limits, true),
            asked,
            policy,
            interactive: false,
            work: Work::Empty,
            mounts: Vec::new(),
            collect: Vec::new(),
            workdir: InsidePath::work(),
            env: Vec::new(),
            hostname: Hostname("sandbox".to_owned()),
            network: Network::None,
            identity: Identity::Caller,
            stdin: Input::Empty,
            stdout: Output::Capture,
            stderr: Output::Capture,
            overflow: Overflow::Kill,
            cgroup: CgroupChoice::Auto,
            require_kernel_limits: false,
        }
    }

    fn derive(mut self) -> Self {
        self.limits = Limits::derive(&self.asked, &self.policy.limits, !self.interactive);
        self
    }

    /// All limits that the caller names, at once.
    #[must_use]
    pub fn limits(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self.derive()
    }

    /// Memory of the whole tree.
    #[must_use]
    pub fn memory(mut self, bytes: Bytes) -> Self {
        self.asked.mem = Some(Cap::At(bytes));
        self.derive()
    }

    /// CPU time of the whole tree.
    #[must_use]
    pub fn cpu_time(mut self, time: Millis) -> Self {
        self.asked.cpu_time = Some(Cap::At(time));
        self.derive()
    }

    /// Wall time since the payload's exec.
    #[must_use]
    pub fn wall_time(mut self, time: Millis) -> Self {
        self.asked.wall_time = Some(Cap::At(time));
        self.derive()
    }

    /// Tasks (processes and threads) at one time.
    #[must_use]
    pub fn processes(mut self, count: u64) -> Self {
        self.asked.pids = Some(Cap::At(count));
        self.derive()
    }

    /// Which system calls are allowed, and that policy's default limits.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self.derive()
    }

    /// No default times: somebody types into it.
    #[must_use]
    pub fn interactive(mut self, interactive: bool) -> Self {
        self.interactive = interactive;
        self.derive()
    }

    /// What `/box` holds.
    #[must_use]
    pub fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    /// One more thing to show inside; later ones cover earlier ones.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// A file to bring out after the run.
    #[must_use]
    pub fn collect(mut self, collect: Collect) -> Self {
        self.collect.push(collect);
        self
    }

    /// The working directory inside.
    #[must_use]
    pub fn workdir(mut self, inside: InsidePath) -> Self {
        self.workdir = inside;
        self
    }

    /// An environment variable; a later value replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.into()));
        self
    }

    /// The host name inside.
    #[must_use]
    pub fn hostname(mut self, name: Hostname) -> Self {
        self.hostname = name;
        self
    }

    /// The network inside.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Standard input.
    #[must_use]
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Standard output.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Standard error.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// What happens at the output limit.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Which cgroup.
    #[must_use]
    pub fn cgroup(mut self, choice: CgroupChoice) -> Self {
        self.cgroup = choice;
        self
    }

    /// Refuse to run where the kernel does not enforce memory, CPU time and processes for the tree.
    #[must_use]
    pub fn require_kernel_limits(mut self, required: bool) -> Self {
        self.require_kernel_limits = required;
        self
    }

    /// The limits as they will be applied.
    pub fn decided_limits(&self) -> &Limits {
        &self.limits
    }

    /// The command.
    pub fn command(&self) -> &[OsString] {
        &self.command
    }

    /// Checks what needs no machine: an empty command, NUL bytes, limits that make no sense.
    ///
    /// # Errors
    /// A usage error that names the word.
    pub fn validate(&self) -> Result<(), Error> {
        let Some(program) = self.command.first() else {
            return Err(Error::usage("no command was given").hint("write it behind the options: sandbox run -- ./prog"));
        };
        if program.is_empty() {
            return Err(Error::usage("the command is an empty word"));
        }
        let nul = |word: &OsStr| word.as_bytes().contains(&0);
        if self.command.iter().any(|word| nul(word)) {
            return Err(Error::usage("the command holds a NUL byte"));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') || nul(name) || nul(value) {
                return Err(Error::usage(format!("'{}' is no environment variable", name.display())));
            }
        }
        self.validate_limits()
    }

    fn validate_limits(&self) -> Result<(), Error> {
        if let Cap::At(memory) = self.limits.memory
            && memory < Bytes::kib(64)
        {
            let error = Error::usage(format!("--mem {} is less than any program needs ({memory})", memory.get()));
            return Err(error.hint(format!("did you mean {}M?", memory.get().max(1))));
        }
        let times = [
            (Limit::CpuTime, self.limits.cpu_time),
            (Limit::WallTime, self.limits.wall_time),
            (Limit::IdleTime, self.limits.idle_time),
        ];
        for (limit, time) in times {
            if time == Cap::At(Millis::new(0)) {
                return Err(Error::usage(format!("{} 0 leaves no time to run", limit.flag()))
                    .hint(format!("write a time such as 500ms, or {} unlimited", limit.flag())));
            }
        }
        if self.limits.processes == Cap::At(0) {
            return Err(Error::usage("--pids 0 leaves no room for the command itself")
                .hint("--pids 1 allows the command alone"));
        }
        Ok(())
    }
}
