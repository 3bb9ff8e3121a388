//! Who makes init: this process itself, where it is small and single-threaded, or the spawner, where it is not.

use super::collect::{self, Wanted};
use super::spawner::Spawner;
use super::start::{Failed, TEARDOWN_NS};
use super::trees::{self, DiskIds};
use crate::child::{self, Kit};
use crate::plan::step::{SLOTS, Step};
use crate::sys::process::{self, Cloned};
use crate::sys::socket;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What the first clone needs.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) namespaces: u64,
    pub(super) room: &'a [Step],
    pub(super) payload: &'a [Step],
    /// Descriptor numbers of this process by slot.
    pub(super) slots: [i32; SLOTS],
    pub(super) supervisors_end: i32,
    pub(super) watchdog_ns: u64,
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// Makes inits, and reaps them.
#[derive(Clone, Debug)]
pub(super) enum Cloner {
    /// By a fork-style clone of this process, which must be single-threaded.
    Direct,
    /// By a process of its own.
    Spawner(Arc<Spawner>),
}

impl Cloner {
    pub(super) fn clone_init(&self, order: Order<'_>) -> Result<(libc::pid_t, OwnedFd), Failed> {
        match self {
            Cloner::Direct => clone_here(&order).map_err(Failed::Clone),
            Cloner::Spawner(spawner) => spawner.clone_init(&order),
        }
    }

    /// Collects a dead child; bounded, since one that is stuck in the kernel does not die.
    pub(super) fn reap(&self, pid: libc::pid_t) {
        match self {
            Cloner::Direct => reap_here(pid),
            Cloner::Spawner(spawner) => spawner.reap(pid),
        }
    }
}

/// The clone itself; in the child it does not return.
pub(super) fn clone_here(order: &Order<'_>) -> Result<(libc::pid_t, OwnedFd), i32> {
    let kit = Kit::new(order.room, order.payload, order.slots, order.supervisors_end, order.watchdog_ns);
    match process::fork_into(order.namespaces, order.cgroup)? {
        Cloned::Child => child::enter_init(&kit),
        Cloned::Parent(pid, pidfd) => Ok((pid, pidfd)),
    }
}

/// Waits for the death of a process that was killed; false where it does not die in time, being stuck in the kernel.
pub(super) fn dies_in_time(pidfd: BorrowedFd<'_>) -> bool {
    let deadline = process::monotonic_ns().saturating_add(TEARDOWN_NS);
    loop {
        let left = deadline.saturating_sub(process::monotonic_ns());
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        // EINTR is looked at again.
        let _ = nix::poll::poll(&mut fds, PollTimeout::try_from(left / 1_000_000).unwrap_or(PollTimeout::MAX));
        let died = fds.iter().any(|fd| fd.any() == Some(true));
        if died || left == 0 {
            return died;
        }
    }
}

/// Collects a child that was killed, waiting for at most 5 s.
pub(super) fn reap_here(pid: libc::pid_t) {
    let deadline = process::monotonic_ns().saturating_add(5_000_000_000);
    let mut pause = std::time::Duration::from_micros(20);
    while let Ok(None) = process::wait_for(pid, libc::WNOHANG) {
        if process::monotonic_ns() > deadline {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_millis(10));
    }
}

impl Cloner {
    /// A user namespace to map ids on disk with.
    pub(super) fn user_namespace(&self, ids: DiskIds) -> io::Result<OwnedFd> {
        match self {
            Cloner::Direct => trees::user_namespace(ids),
            Cloner::Spawner(spawner) => spawner.user_namespace(ids),
        }
    }

    /// Opens files as the sandbox's own user may, by a child that joins its user namespace.
    pub(super) fn open_inside(&self, user_ns: BorrowedFd<'_>, wanted: &[Wanted<'_>]) -> Vec<Result<OwnedFd, i32>> {
        let Ok((ours, theirs)) = socket::pair() else { return Vec::new() };
        match self {
            Cloner::Direct => {
                let Ok((pid, pidfd)) = fork_collector(user_ns, wanted, &theirs) else { return Vec::new() };
                drop(theirs);
                let opened = collect::receive_opened(&ours, wanted.len());
                let _ = process::signal(pidfd.as_fd(), libc::SIGKILL);
                dies_in_time(pidfd.as_fd());
                reap_here(pid);
                opened
            }
            Cloner::Spawner(spawner) => {
                if spawner.open_inside(user_ns, wanted, &theirs).is_err() {
                    return Vec::new();
                }
                drop(theirs);
                collect::receive_opened(&ours, wanted.len())
            }
        }
    }
}

/// A child that runs the collector.
pub(super) fn fork_collector(
    user_ns: BorrowedFd<'_>,
    wanted: &[Wanted<'_>],
    socket: &OwnedFd,
) -> Result<(libc::pid_t, OwnedFd), i32> {
    match process::fork_into(0, None)? {
        Cloned::Child => collect::enter_collector(user_ns, wanted, socket),
        Cloned::Parent(pid, pidfd) => Ok((pid, pidfd)),
    }
}
