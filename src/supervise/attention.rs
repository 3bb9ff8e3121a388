//! What the caller wants of a run that goes on: its end, by the library's handle or by a signal; a pause, by Ctrl-Z.

use crate::error::Error;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Ends a run from another thread.
#[derive(Clone, Debug)]
pub struct CancelHandle(Option<Arc<EventFd>>);

impl CancelHandle {
    /// Ends the run: everything inside is killed, and the report says `cancelled`. Harmless once the run is over.
    pub fn cancel(&self) {
        if let Some(event) = &self.0 {
            // The counter cannot be full: nobody adds 2^64 − 2.
            let _ = event.write(1);
        }
    }

    /// Of a run that is over already.
    pub(super) fn of_nothing() -> CancelHandle {
        CancelHandle(None)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The end, because of this signal; 0 for the handle.
    End(i32),
    /// Ctrl-Z.
    Pause,
}

/// Signals that the command line heeds, taken from a descriptor rather than by handlers.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread and all that it makes from now on; the payload unblocks them for itself.
    pub(super) fn take() -> Result<Signals, Error> {
        let cannot = |e: nix::errno::Errno| Error::sandbox("cannot take signals").because(io::Error::from(e));
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP] {
            set.add(signal);
        }
        set.thread_block().map_err(cannot)?;
        // Past the caller's `ulimit -f` a report or a result is an error to be told, not our death.
        let mut told = SigSet::empty();
        told.add(Signal::SIGXFSZ);
        told.thread_block().map_err(cannot)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Signals).map_err(cannot)
    }
}

/// Listens for both.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    handle: Arc<EventFd>,
    signals: Option<Arc<Signals>>,
}

impl Attention {
    pub(super) fn new(signals: Option<Arc<Signals>>) -> Result<Attention, Error> {
        let handle = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|e| Error::sandbox("cannot make an eventfd").because(io::Error::from(e)))?;
        Ok(Attention { handle: Arc::new(handle), signals })
    }

    pub(super) fn handle(&self) -> CancelHandle {
        CancelHandle(Some(Arc::clone(&self.handle)))
    }

    /// Descriptors that become readable when there is a wish.
    pub(super) fn wakers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let signals = self.signals.as_ref().map(|signals| signals.0.as_fd());
        std::iter::once(self.handle.as_fd()).chain(signals)
    }

    /// The next wish.
    pub(super) fn next(&self) -> Option<Wish> {
        if self.handle.read().is_ok() {
            return Some(Wish::End(0));
        }
        let info = self.signals.as_ref()?.0.read_signal().ok()??;
        let signal = info.ssi_signo as i32;
        Some(if signal == libc::SIGTSTP { Wish::Pause } else { Wish::End(signal) })
    }
}
