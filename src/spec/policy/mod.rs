//! Policies: which system calls a program may make, each with its reason; and the limits, files and environment that go
//! with them. One file format for built-in and own ones.
//!
//! ```toml
//! about = "one line"
//! extends = "run"                 # a built-in policy; what this file leaves open is as there
//!
//! [limits]                        # the names of the flags of `sandbox run`
//! mem = "256M"
//!
//! [files]                         # as --ro, --rw and --tmpfs; host paths are absolute
//! ro = ["/srv/data:/data"]
//!
//! [env]
//! OMP_NUM_THREADS = "1"
//!
//! [[calls]]                       # a call that is named here is decided by this file alone
//! names = ["socket"]
//! when = "domain == AF_UNIX"      # or a list, all of which must hold; several rules may have one each
//! answer = "allow"                # "allow", "refuse", "kill", or an errno: that one plainly, without a word in the report
//! reason = "talks to its own helper"
//!
//! [[calls]]
//! names = ["socket"]
//! answer = "refuse"               # recorded; with `errno = "EACCES"` instead of EPERM where the program expects that
//! reason = "everything else stays closed"
//! ```
//!
//! A condition is `ARGUMENT [& MASK] COMPARISON`: the arguments have their names from the man pages (or `arg0` to `arg5`),
//! comparisons are `== != < <= > >=`, `in [ … ]` and `not in [ … ]`, values are numbers or constants of the man pages,
//! joined by `|`. Only the bits that the kernel reads are compared. Conditions of one call whose answers differ must exclude
//! each other, so that the order of rules means nothing. A call without a rule is refused with ENOSYS and recorded; one
//! whose conditions all fail, with EPERM; a number that no table knows gets ENOSYS plainly.
//!
//! # What each policy leaves of the kernel
//!
//! | | `default` | `run` | `tight` | Docker's default |
//! |---|---|---|---|---|
//! | calls allowed, at least with some arguments | 150 | 120 | 45 | 361 |
//! | dangerous calls | refused, recorded | end the run | end the run | refused |
//! | user namespaces and the mount family (67 of 100 published exploits need a nested user namespace) | refused | refused | refused | need CAP_SYS_ADMIN |
//! | netfilter (41), traffic control (22), kernel TLS (11) | no INET, netlink or raw sockets | the same | the same | reachable |
//! | AF_UNIX (3) | stream and seqpacket pairs, no MSG_OOB, no `socket` | the same | no sockets | reachable |
//! | AF_VSOCK (2), AF_ALG, AF_PACKET and other families | refused | end the run | refused | reachable but AF_VSOCK |
//! | io_uring (5) | ENOSYS | ENOSYS | ENOSYS | refused (since 2023) |
//! | eBPF (6), perf (3), userfaultfd | refused | end the run | end the run | need CAP_BPF, CAP_PERFMON or CAP_SYS_ADMIN |
//! | keyrings | refused | end the run | end the run | refused |
//! | ptrace, process_vm_*, pidfd_getfd | refused | end the run | end the run | reachable |
//! | futex with priority inheritance | refused | refused | refused | reachable |
//! | POSIX CPU timers (timer_create, setitimer, clock_nanosleep) | refused | refused | refused | reachable |
//! | splice, tee, vmsplice | refused | end the run | end the run | reachable |
//! | System V IPC, message queues, the old asynchronous I/O | refused | refused | refused | reachable |
//! | TIOCSTI, TIOCLINUX | refused | end the run | end the run | reachable |
//! | i386 and x32 entry | end the run | end the run | end the run | reachable |
//!
//! The numbers in brackets are how many of 100 kernel exploits submitted to a large vendor's programme start there; one can
//! need several. What stays of them under `default` and `run` are those in AF_UNIX that a stream pair is enough for, and
//! under `tight` none. With `--net host` the INET rows open for TCP and UDP, and netlink for NETLINK_ROUTE: netfilter, kernel
//! TLS and the rarer protocols stay closed.

mod builtin;
mod condition;
pub(crate) mod show;
pub(crate) mod syntax;
pub mod table;
pub(crate) mod words;

pub use table::{Answer, Decision, Rule, Table};

use super::{Asked, Mount, Network, PathPair, job};
use crate::error::Error;
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use syntax::{Fault, ShownKind};

/// Larger files are no policies.
const LARGEST_FILE: u64 = 1 << 20;

/// A policy, with everything that it extends already merged in.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The built-in name, or the file's path.
    pub name: String,
    /// One line about it; empty where its file has none.
    pub about: String,
    /// Its default limits; what neither it nor what it extends names is the default policy's.
    pub limits: Asked,
    /// What it shows besides the default.
    pub mounts: Vec<Mount>,
    /// What it sets in the environment.
    pub env: Vec<(String, String)>,
    local: Table,
    /// The same with INET sockets, unless the policy's own file decides about them.
    network: Table,
}

impl Default for Policy {
    fn default() -> Self {
        builtin::default()
    }
}

impl Policy {
    /// A built-in policy.
    ///
    /// # Errors
    /// A name that is none of ours; the message lists them.
    pub fn builtin(name: &str) -> Result<Policy, Error> {
        builtin::find(name).ok_or_else(|| {
            let names: Vec<&str> = Policy::names().collect();
            let hint = match words::nearest(name, Policy::names()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("the built-in ones are {}; a file needs a / or .toml in its name", names.join(", ")),
            };
            Error::usage(format!("there is no policy '{name}'")).hint(hint)
        })
    }

    /// The names of the built-in policies.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        builtin::names()
    }

    /// The policy that `--policy` names: a file where the words hold a `/` or end in `.toml`, else a built-in one.
    ///
    /// # Errors
    /// As [`Policy::builtin`] and [`Policy::from_file`]; a name that is not UTF-8.
    pub fn named(words: &OsStr) -> Result<Policy, Error> {
        match words.to_str() {
            Some(name) if !name.contains('/') && !name.ends_with(".toml") => Policy::builtin(name),
            _ => Policy::from_file(Path::new(words)),
        }
    }

    /// A policy of one's own.
    ///
    /// # Errors
    /// A file that cannot be read, is larger than 1 MiB or no UTF-8; else as [`Policy::parse`].
    pub fn from_file(path: &Path) -> Result<Policy, Error> {
        let name = path.display().to_string();
        let cannot = || Error::usage(format!("cannot read the policy {name}"));
        let file = std::fs::File::open(path).map_err(|error| cannot().because(error))?;
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| cannot().because(error))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(Error::usage(format!("the policy {name} is larger than 1 MiB")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            Error::usage(format!("the policy {name}, line {line}: it is no UTF-8"))
        })?;
        Policy::parse(&text, &name)
    }

    /// The policy of this text; `name` is what messages and reports call it.
    ///
    /// # Errors
    /// Anything wrong with the text, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Policy, Error> {
        let broken = |fault: Fault| {
            let error = Error::usage(format!("the policy {name}, line {}: {}", fault.line, fault.sentence));
            match fault.hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        };
        let file = syntax::read(text).map_err(broken)?;
        let base = match &file.extends {
            None => None,
            Some((base, line)) => Some(Policy::builtin(base).map_err(|_| {
                let names: Vec<&str> = Policy::names().collect();
                let sentence = format!("it extends '{}', which is no built-in policy", base.escape_debug());
                let hint = match words::nearest(base, names.iter().copied()) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("the built-in ones are {}", names.join(", ")),
                };
                broken(Fault { line: *line, sentence, hint: Some(hint) })
            })?),
        };
        let mut mounts = base.as_ref().map(|base| base.mounts.clone()).unwrap_or_default();
        for shown in &file.files {
            let mount = mount(shown.kind, &shown.words);
            mounts.push(mount.map_err(|sentence| broken(Fault { line: shown.line, sentence, hint: None }))?);
        }
        let mut env = base.as_ref().map(|base| base.env.clone()).unwrap_or_default();
        env.retain(|(known, _)| !file.env.iter().any(|(name, _)| name == known));
        env.extend(file.env);
        let merged = |beneath: Option<&Table>| {
            let beneath = beneath.map(Table::decisions).unwrap_or_default();
            table::Table::of(&table::layer(beneath, &file.calls))
                .map_err(|_| Error::usage(format!("the policy {name} has more rules than a filter can hold")))
        };
        let limits = file.limits.over(match &base {
            Some(base) => &base.limits,
            None => builtin::default_limits(),
        });
        Ok(Policy {
            name: name.to_owned(),
            about: file.about.unwrap_or_default(),
            limits,
            mounts,
            env,
            local: merged(base.as_ref().map(|base| &base.local))?,
            network: merged(base.as_ref().map(|base| &base.network))?,
        })
    }

    /// The rules under this network.
    pub fn calls(&self, network: Network) -> &Table {
        match network {
            Network::None | Network::Blocked => &self.local,
            Network::Host => &self.network,
        }
    }
}

fn mount(kind: ShownKind, words: &str) -> Result<Mount, String> {
    let pair = || PathPair::parse(OsStr::new(words)).map_err(|error| error.to_string());
    match kind {
        ShownKind::ReadOnly => pair().map(Mount::ReadOnly),
        ShownKind::ReadWrite => pair().map(Mount::ReadWrite),
        ShownKind::Tmpfs => job::parse_tmpfs(OsStr::new(words)),
    }
}
