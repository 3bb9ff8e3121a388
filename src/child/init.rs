//! PID 1 of the sandbox: makes the room, starts the payload, reaps everything, and says how it ended.

use super::interpreter::{Failure, Interpreter};
use super::{Kit, order};
use crate::plan::step::Slot;
use crate::sys::process::{self, Rusage, Stack};
use crate::sys::{Errno, file, socket};
use crate::wire::{Phase, Reaped, Record};
use std::ffi::c_void;

const SIGCHLD_MASK: u64 = 1 << (libc::SIGCHLD - 1);

/// Runs init to its end. Call it in the child of the first clone only.
pub(crate) fn enter_init(kit: &Kit<'_>) -> ! {
    let socket = kit.slots[Slot::SOCKET.0 as usize];
    file::close(kit.supervisors_end);
    // The caller's umask must not take permissions from what the steps make, nor its soft limits room from them.
    file::umask(0o022);
    let needed: [u32; 2] = [libc::RLIMIT_FSIZE as _, libc::RLIMIT_NOFILE as _];
    for resource in needed {
        // Where that is refused, a step that needs the room says so.
        let _ = process::raise_rlimit(resource);
    }
    let mut run = Interpreter::new(kit);
    let failed = |phase, failure: Failure| {
        let Failure { step, detail, errno } = failure;
        tell(socket, Record::Failed { phase, step, detail, errno });
        process::exit(1)
    };
    // Set before `go` is read: if the launcher dies before, `go` is an end of file.
    if let Err(errno) = process::die_with_parent() {
        failed(Phase::Init, Failure { step: 0, detail: 0, errno });
    }
    match hear(socket) {
        Ok(Some(order::GO)) => {}
        _ => process::exit(1),
    }
    if let Err(failure) = run.room() {
        failed(Phase::Room, failure);
    }
    // From here on SIGCHLD is read, not delivered; the payload unblocks it for itself.
    let children = match process::set_mask(SIGCHLD_MASK).and_then(|()| process::signal_descriptor(SIGCHLD_MASK)) {
        Ok(descriptor) => descriptor,
        Err(errno) => failed(Phase::Init, Failure { step: 1, detail: 0, errno }),
    };
    let mut stack = Stack::new();
    let mut payload = Payload { run, failure: None };
    let argument: *mut Payload<'_> = &mut payload;
    let main = match process::vfork(enter_payload, &mut stack, argument.cast()) {
        Ok(pid) => pid,
        Err(errno) => failed(Phase::Init, Failure { step: 2, detail: 0, errno }),
    };
    if let Some(failure) = payload.failure {
        failed(Phase::Payload, failure);
    }
    // Init has copies of the launcher's descriptors: held here, a closed stdin would not end inside, nor a dropped tmpfs go.
    file::close_all_but(socket, children);
    let mut reaper = Reaper { main, socket, reaped: NOTHING, left_running: 0, main_ended: false };
    reaper.watch(children, kit.watchdog_ns);
    reaper.finish();
    process::exit(0)
}

/// What init and the payload share while init stands still in vfork.
struct Payload<'a> {
    run: Interpreter<'a>,
    failure: Option<Failure>,
}

extern "C" fn enter_payload(argument: *mut c_void) -> i32 {
    process::with_shared(argument.cast::<Payload<'_>>(), |payload| {
        payload.failure = payload.run.payload().err();
    });
    // Only reached when a step failed: init reads it from the shared memory.
    process::exit(1)
}

fn tell(socket: i32, record: Record) {
    // Nobody to tell it failed to: the supervisor sees a missing record.
    let _ = socket::send(socket, &record.encode(), &[]);
}

/// The first byte of the supervisor's next order; `None` at end of file.
pub(super) fn hear(socket: i32) -> Result<Option<u8>, Errno> {
    let mut order = [0; 16];
    match file::read(socket, &mut order)? {
        0 => Ok(None),
        _ => Ok(order.first().copied()),
    }
}

const NOTHING: Reaped = Reaped { user_us: 0, system_us: 0, maxrss_kib: 0, voluntary: 0, involuntary: 0 };

struct Reaper {
    main: libc::pid_t,
    socket: i32,
    reaped: Reaped,
    left_running: u32,
    main_ended: bool,
}

impl Reaper {
    /// Until the main program ends, the supervisor is gone, or the watchdog bites.
    fn watch(&mut self, children: i32, watchdog_ns: u64) {
        let mut deadline = match watchdog_ns {
            0 => u64::MAX,
            ns => process::monotonic_ns().saturating_add(ns),
        };
        while !self.main_ended {
            let timeout = match deadline {
                u64::MAX => -1,
                deadline => {
                    let left = deadline.saturating_sub(process::monotonic_ns());
                    if left == 0 {
                        tell(self.socket, Record::Watchdog);
                        return;
                    }
                    (left / 1_000_000 + 1).min(i32::MAX as u64) as i32
                }
            };
            let [order, _] = file::poll_two(self.socket, children, timeout).unwrap_or([0, 0]);
            if order != 0 {
                match self.heed() {
                    Some(more) => deadline = deadline.saturating_add(more),
                    // The supervisor wants the end, or is gone.
                    None => return,
                }
            }
            self.drain(children);
            while !self.main_ended {
                match process::wait_any(libc::WNOHANG) {
                    Ok(Some(ended)) => self.count(&ended),
                    _ => break,
                }
            }
        }
    }

    /// The nanoseconds of an `EXTEND`; `None` for `KILL` and at end of file.
    fn heed(&self) -> Option<u64> {
        let mut message = [0; 16];
        match file::read(self.socket, &mut message) {
            Ok(9) if message[0] == order::EXTEND => {
                let [_, a, b, c, d, e, f, g, h, ..] = message;
                Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            Ok(0) | Err(_) => None,
            Ok(_) if message[0] == order::KILL => None,
            Ok(_) if message[0] == order::STOP || message[0] == order::RESUME => {
                process::stop_everyone_else(message[0] == order::STOP);
                Some(0)
            }
            Ok(_) => Some(0),
        }
    }

    fn drain(&self, children: i32) {
        let mut info = [0; 128];
        // Non-blocking; one read takes the one pending SIGCHLD.
        let _ = file::read(children, &mut info);
    }

    fn count(&mut self, ended: &process::Ended) {
        let usage = of(&ended.usage);
        let all = &mut self.reaped;
        all.user_us = all.user_us.saturating_add(usage.user_us);
        all.system_us = all.system_us.saturating_add(usage.system_us);
        all.maxrss_kib = all.maxrss_kib.max(usage.maxrss_kib);
        all.voluntary = all.voluntary.saturating_add(usage.voluntary);
        all.involuntary = all.involuntary.saturating_add(usage.involuntary);
        if ended.pid == self.main {
            self.main_ended = true;
            tell(self.socket, Record::Exited { wait_status: ended.status, reaped: usage });
        } else if self.main_ended && libc::WIFSIGNALED(ended.status) && libc::WTERMSIG(ended.status) == libc::SIGKILL {
            self.left_running = self.left_running.saturating_add(1);
        }
    }

    /// Kills what is left and reaps it here rather than leave it to the namespace's teardown: what an orphan used is then
    /// counted.
    fn finish(&mut self) {
        if process::kill_everyone_else().is_ok() {
            while let Ok(Some(ended)) = process::wait_any(0) {
                self.count(&ended);
            }
        }
        tell(self.socket, Record::Finished { left_running: self.left_running, reaped: self.reaped });
    }
}

fn of(usage: &Rusage) -> Reaped {
    Reaped {
        user_us: usage.user_us,
        system_us: usage.system_us,
        maxrss_kib: usage.maxrss_kib,
        voluntary: usage.voluntary,
        involuntary: usage.involuntary,
    }
}
