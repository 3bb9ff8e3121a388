//! From a plan to a payload that is about to exec: descriptors, cgroup, clone, maps, handshake.

use super::attention::{Attention, Wish};
use super::cgroup::Cgroup;
use super::cloner::{Cloner, Order, dies_in_time};
use super::streams::Inside;
use super::{copy, trees};
use crate::child::order;
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::step::{SLOTS, Slot, Step};
use crate::sys::{process, socket};
use crate::wire::{Phase, RECORD_SIZE, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How long set-up may take: a room is made in a millisecond, but a directory may lie on a network that does not answer.
const SETUP_TIMEOUT_NS: u64 = 60_000_000_000;

/// How long teardown may take: a process can be stuck in the kernel.
pub(super) const TEARDOWN_NS: u64 = 5_000_000_000;

/// A payload that has its limits and was told to exec.
pub(super) struct Started {
    // Dropped in this order: init and all that is inside, then what it stood in.
    pub(super) init: Init,
    pub(super) socket: OwnedFd,
    pub(super) cgroup: Cgroup,
    pub(super) listener: Option<OwnedFd>,
    pub(super) handed: Handed,
    /// CLOCK_MONOTONIC when it was told to.
    pub(super) at_ns: u64,
}

/// PID 1 of the sandbox, held by its pidfd. Dropping it kills it and all that is inside, and has it reaped.
pub(super) struct Init {
    pub(super) pidfd: OwnedFd,
    pid: libc::pid_t,
    cloner: Cloner,
    dead: bool,
}

impl Init {
    /// Who made it.
    pub(super) fn cloner(&self) -> Cloner {
        self.cloner.clone()
    }

    /// SIGKILL: the namespace goes with it.
    pub(super) fn kill(&self) {
        // ESRCH: it is dead already.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Kills it, and waits until it is dead; false where it does not die in time, being stuck in the kernel.
    fn end(&mut self) -> bool {
        self.kill();
        self.dead = dies_in_time(self.pidfd.as_fd());
        self.dead
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.dead {
            self.end();
        }
        self.cloner.reap(self.pid);
    }
}

/// Descriptors that init handed out.
#[derive(Debug, Default)]
pub(super) struct Handed {
    slots: Vec<(Slot, OwnedFd)>,
}

impl Handed {
    pub(super) fn get(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.slots.iter().find(|(known, _)| *known == slot).map(|(_, fd)| fd.as_fd())
    }

    pub(super) fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        let at = self.slots.iter().position(|(known, _)| *known == slot)?;
        Some(self.slots.swap_remove(at).1)
    }
}

/// Why a start failed.
pub(super) enum Failed {
    /// The kernel refused the first clone.
    Clone(i32),
    /// The kernel refused the id maps.
    IdMap(i32),
    /// A step failed: whether it is one of the payload's, its index, which of its calls, and the errno.
    Step { payload: bool, step: usize, detail: u16, errno: i32 },
    /// The caller ended it.
    Cancelled(i32),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Other(error)
    }
}

/// Starts; `attention` can end it.
pub(super) fn start(plan: &Plan, inside: Inside, cloner: &Cloner, attention: &Attention) -> Result<Started, Failed> {
    let broken = |doing: &str, errno: i32| Failed::Other(Error::sandbox(doing).errno(errno));
    let (ours, theirs) = socket::pair().map_err(|e| broken("cannot make a socket pair", e))?;
    let trees = trees::open(plan, cloner)?;
    let cgroup = Cgroup::create(&plan.cgroup)?;
    let mut slots = [-1; SLOTS];
    let mut fill = |slot: Slot, fd: &OwnedFd| slots[slot.0 as usize] = fd.as_raw_fd();
    fill(Slot::SOCKET, &theirs);
    fill(Slot::STDIN, &inside.stdin);
    fill(Slot::STDOUT, &inside.stdout);
    fill(Slot::STDERR, &inside.stderr);
    for (tree, fd) in plan.host_trees.iter().zip(&trees) {
        fill(tree.slot, fd);
    }
    let order = Order {
        namespaces: plan.namespaces,
        room: &plan.room,
        payload: &plan.payload,
        slots,
        supervisors_end: ours.as_raw_fd(),
        watchdog_ns: plan.watchdog_ns.unwrap_or(0),
        cgroup: cgroup.clone_into(),
    };
    let (cloned, born_outside) = match cloner.clone_init(order) {
        // An outer filter hides clone3: init is moved while it waits for its order.
        Err(Failed::Clone(libc::ENOSYS)) if order.cgroup.is_some() => {
            (cloner.clone_init(Order { cgroup: None, ..order }), true)
        }
        cloned => (cloned, false),
    };
    let (pid, pidfd) = cloned?;
    let init = Init { pidfd, pid, cloner: cloner.clone(), dead: false };
    drop((theirs, inside, trees));
    write_maps(pid, plan).map_err(|e| Failed::IdMap(e.raw_os_error().unwrap_or(libc::EIO)))?;
    cgroup.attach(pid)?;
    if born_outside {
        cgroup.attach_late(pid)?;
    }
    say(&ours, order::GO)?;
    let mut started = Started { init, socket: ours, cgroup, listener: None, handed: Handed::default(), at_ns: 0 };
    started.make_ready(plan, attention)?;
    Ok(started)
}

/// Tells init to go on. One that is dead does not hear it, which the next record says.
fn say(socket: &OwnedFd, order: u8) -> Result<(), Error> {
    match socket::send(socket.as_raw_fd(), &[order], &[]) {
        Ok(()) | Err(libc::EPIPE | libc::ECONNRESET) => Ok(()),
        Err(errno) => Err(Error::sandbox("cannot tell init to go on").errno(errno)),
    }
}

fn write_maps(pid: libc::pid_t, plan: &Plan) -> std::io::Result<()> {
    let ids = plan.id_map;
    if ids.deny_setgroups {
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    fs::write(format!("/proc/{pid}/uid_map"), format!("{} {} 1\n", ids.inner_uid, ids.outer_uid))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{} {} 1\n", ids.inner_gid, ids.outer_gid))
}

impl Started {
    /// Lets go of everything: descriptors first, for they hold the tmpfs' memory; then init; then the cgroup, empty by now.
    /// False where init does not die.
    pub(super) fn clean_up(self) -> bool {
        let Started { mut init, socket, cgroup, listener, handed, .. } = self;
        drop((handed, listener, socket));
        let died = init.end();
        drop(init);
        cgroup.remove();
        died
    }

    /// Follows the handshake up to the order to exec.
    fn make_ready(&mut self, plan: &Plan, attention: &Attention) -> Result<(), Failed> {
        let deadline = process::monotonic_ns().saturating_add(SETUP_TIMEOUT_NS);
        loop {
            self.wait_for_record(deadline, attention)?;
            let (record, mut fds) = match self.next_record()? {
                Some(next) => next,
                None => return Err(self.vanished()),
            };
            match record {
                Record::Room => {
                    self.keep(plan, fds);
                    if let Some(work) = &plan.copy_work {
                        copy::into_box(plan, work, self.handed.get(Slot::BOX))?;
                        say(&self.socket, order::CONTINUE)?;
                    }
                }
                Record::Listener => self.listener = fds.pop(),
                Record::Ready => {
                    self.cgroup.arm()?;
                    self.at_ns = process::monotonic_ns();
                    say(&self.socket, order::START)?;
                    return Ok(());
                }
                Record::Failed { phase: Phase::Init, errno, .. } => {
                    return Err(Failed::Other(Error::sandbox("cannot start init inside the sandbox").errno(errno)));
                }
                Record::Failed { phase, step, detail, errno } => {
                    let payload = phase == Phase::Payload;
                    return Err(Failed::Step { payload, step: step.into(), detail, errno });
                }
                Record::Exited { .. } | Record::Finished { .. } | Record::Watchdog => return Err(self.vanished()),
            }
        }
    }

    fn wait_for_record(&self, deadline: u64, attention: &Attention) -> Result<(), Failed> {
        loop {
            let left = deadline.saturating_sub(process::monotonic_ns());
            if left == 0 {
                return Err(Failed::Other(
                    Error::sandbox("cannot make the sandbox within 60 s")
                        .hint("is a directory that is shown on a network file system that does not answer?"),
                ));
            }
            let mut fds = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            fds.extend(attention.wakers().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            let timeout = PollTimeout::try_from(left / 1_000_000 + 1).unwrap_or(PollTimeout::MAX);
            // EINTR is looked at again.
            let _ = nix::poll::poll(&mut fds, timeout);
            if fds.first().and_then(PollFd::any) == Some(true) {
                return Ok(());
            }
            match attention.next() {
                Some(Wish::End(signal)) => return Err(Failed::Cancelled(signal)),
                Some(Wish::Pause) => {
                    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
                }
                None => {}
            }
        }
    }

    /// The next record; `None` at end of file, and where init wrote what is no record.
    pub(super) fn next_record(&self) -> Result<Option<(Record, Vec<OwnedFd>)>, Error> {
        let mut bytes = [0; RECORD_SIZE + 1];
        match socket::receive(self.socket.as_raw_fd(), &mut bytes, libc::MSG_DONTWAIT) {
            Ok(received) if received.cut => Ok(None),
            Ok(received) => {
                let record = Record::decode(bytes.get(..received.length).unwrap_or_default());
                Ok(record.ok().map(|record| (record, received.fds)))
            }
            Err(libc::ECONNRESET) => Ok(None),
            Err(errno) => Err(Error::sandbox("cannot hear init").errno(errno)),
        }
    }

    fn keep(&mut self, plan: &Plan, fds: Vec<OwnedFd>) {
        let handed = plan.room.iter().find_map(|step| match step {
            Step::Hand(slots) => Some(slots.as_slice()),
            _ => None,
        });
        self.handed.slots = handed.unwrap_or_default().iter().copied().zip(fds).collect();
    }

    /// Init died without a word. An out-of-memory kill of our own pages is the likeliest cause, and leaves evidence.
    fn vanished(&self) -> Failed {
        let mut error = Error::sandbox("cannot make the sandbox: init died without a word");
        if let Some(evidence) = self.cgroup.evidence().memory {
            error = Error::sandbox(format!("cannot make the sandbox: the memory limit killed init ({evidence})"))
                .hint("raise it with --mem");
        }
        Failed::Other(error)
    }
}
