//! Hears of system calls that the policy refuses or kills, answers them, and keeps a bounded record.

use crate::plan::filter::{self, Setting, Verdict};
use crate::report::Refused;
use crate::spec::Policy;
use crate::sys::seccomp;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// After so many the listener is closed: the kernel then answers ENOSYS by itself, and a program that repeats a refused call
/// a million times costs the supervisor nothing.
const MOST_ANSWERED: u64 = 1000;
/// How many different calls are told apart.
const MOST_NAMES: usize = 32;
/// How many are answered before the loop looks at its limits again.
const AT_ONCE: usize = 16;

/// What was refused so far.
pub(super) struct Refusals {
    listener: Option<OwnedFd>,
    /// Whether the kernel can tell us at all.
    known: bool,
    refused: Vec<Refused>,
    answered: u64,
}

impl Refusals {
    pub(super) fn new(listener: Option<OwnedFd>) -> Refusals {
        Refusals { known: listener.is_some(), listener, refused: Vec::new(), answered: 0 }
    }

    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Answers what waits; gives the name of a call that the policy kills for.
    pub(super) fn answer(&mut self, policy: &Policy, setting: Setting) -> Option<String> {
        for _ in 0..AT_ONCE {
            let listener = self.listener.as_ref()?.as_fd();
            let mut ready = [nix::poll::PollFd::new(listener, nix::poll::PollFlags::POLLIN)];
            let _ = nix::poll::poll(&mut ready, nix::poll::PollTimeout::ZERO);
            let events = ready.first().and_then(nix::poll::PollFd::revents).unwrap_or(nix::poll::PollFlags::empty());
            if !events.contains(nix::poll::PollFlags::POLLIN) {
                if !events.is_empty() {
                    // Every task with the filter is gone.
                    self.listener = None;
                }
                return None;
            }
            let call = match seccomp::receive(listener) {
                Ok(call) => call,
                // Its caller was killed meanwhile.
                Err(_) => continue,
            };
            let name = filter::call_name(call.arch, call.number);
            let verdict = filter::verdict(policy, setting, call.arch, call.number, &call.args);
            if let Verdict::Refuse(errno) = verdict {
                // ENOENT: its caller was killed meanwhile.
                let _ = seccomp::refuse(listener, call.id, errno);
            }
            self.record(&name, &call.args);
            // Left without an answer: the call never returns, and the run ends now.
            if verdict == Verdict::Kill {
                return Some(name);
            }
            self.answered += 1;
            if self.answered >= MOST_ANSWERED {
                self.listener = None;
                for refused in &mut self.refused {
                    refused.count_at_least = true;
                }
            }
        }
        None
    }

    fn record(&mut self, name: &str, args: &[u64; 6]) {
        if let Some(known) = self.refused.iter_mut().find(|refused| refused.syscall == name) {
            known.count += 1;
        } else if self.refused.len() < MOST_NAMES {
            // As many as a call can have at most; which of them mean something, its man page says.
            let args = args.iter().map(|arg| format!("{arg:#x}")).collect();
            self.refused.push(Refused { syscall: name.to_owned(), args, count: 1, count_at_least: false });
        }
    }

    /// The record; `None` where the kernel could not tell us.
    pub(super) fn into_record(self) -> Option<Vec<Refused>> {
        self.known.then_some(self.refused)
    }
}
