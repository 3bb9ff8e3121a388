//! Between clone and exec: init, which makes the room, starts the payload and reaps; and the payload, up to its exec.
//!
//! No heap, no panic, no formatting, no lock, on failures too: everything was prepared in the plan, the answer is a step
//! number and an errno. `tests/no_heap.rs` runs it under an allocator that notes every use.

mod init;
mod interpreter;

pub(crate) use init::enter_init;

use crate::plan::step::{SLOTS, Step};
use crate::sys::process::CStrings;

/// Everything that the child needs, made before the clone.
pub(crate) struct Kit<'a> {
    pub(crate) room: &'a [Step],
    pub(crate) payload: &'a [Step],
    /// Descriptor numbers by slot; −1 where there is none yet.
    pub(crate) slots: [i32; SLOTS],
    /// The supervisor's end of the socket, which init has a copy of; −1 for none. While init holds it, it could not see the
    /// supervisor go.
    pub(crate) supervisors_end: i32,
    /// Init ends the run by itself this long after the payload's start, should the supervisor not; 0 for never.
    pub(crate) watchdog_ns: u64,
    argv: CStrings<'a>,
    envp: CStrings<'a>,
}

impl<'a> Kit<'a> {
    pub(crate) fn new(
        room: &'a [Step],
        payload: &'a [Step],
        slots: [i32; SLOTS],
        supervisors_end: i32,
        watchdog_ns: u64,
    ) -> Self {
        let (argv, envp) = payload
            .iter()
            .find_map(|step| match step {
                Step::Exec { argv, envp, .. } => Some((argv.as_slice(), envp.as_slice())),
                _ => None,
            })
            .unwrap_or_default();
        Kit { room, payload, slots, supervisors_end, watchdog_ns, argv: CStrings::new(argv), envp: CStrings::new(envp) }
    }
}

/// What the supervisor says to init: one message, whose first byte is one of these.
pub(crate) mod order {
    /// Maps and cgroup are done: make the room.
    pub(crate) const GO: u8 = b'g';
    /// Limits are armed: run the payload.
    pub(crate) const START: u8 = b's';
    /// Files are copied: go on.
    pub(crate) const CONTINUE: u8 = b'c';
    /// Kill and reap everything, then report.
    pub(crate) const KILL: u8 = b'k';
    /// SIGSTOP to everything inside, where no freezer can be had.
    pub(crate) const STOP: u8 = b'z';
    /// SIGCONT to it.
    pub(crate) const RESUME: u8 = b'r';
    /// The box was frozen: 8 bytes of nanoseconds (little-endian) that the watchdog waits longer.
    pub(crate) const EXTEND: u8 = b'x';
}
