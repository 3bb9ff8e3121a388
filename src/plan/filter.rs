//! Compiles a policy's calls into the two seccomp programs: range-compressed binary search trees over call numbers.

use super::step::Insn;
use crate::error::Error;
use crate::spec::{Network, Policy};

/// What the filters hang on besides the policy.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `none` and `blocked` refuse every socket that is not local.
    pub network: Network,
    /// The memory mechanism cannot see memfds.
    pub refuse_memfd: bool,
    /// The kernel can tell us what it refuses.
    pub notify: bool,
}

/// The two programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Notifies us of refused and killing calls, allows the rest; `None` where nothing is to be told.
    pub listener: Option<Vec<Insn>>,
    /// The allow-list.
    pub main: Vec<Insn>,
}

/// What a notified call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This errno.
    Refuse(i32),
    /// The end of the run.
    Kill,
}

/// Compiles the two programs for this machine's architecture.
///
/// # Errors
/// A policy that cannot run anything (no execve), or a program over the kernel's 4096 instructions.
pub fn compile(policy: &Policy, setting: Setting) -> Result<Filters, Error> {
    let _ = (policy, setting);
    Err(Error::sandbox("cannot compile a policy yet"))
}

/// What to answer a notified call, by number and arguments.
pub fn verdict(policy: &Policy, number: i32, args: &[u64; 6]) -> Verdict {
    let _ = (policy, number, args);
    Verdict::Refuse(libc::EPERM)
}

/// The name of a call on this machine's architecture; `syscall_N` for one without.
pub fn call_name(number: i32) -> String {
    format!("syscall_{number}")
}
