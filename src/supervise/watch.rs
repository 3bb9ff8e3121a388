//! The poll loop: pumps streams, heeds records, refusals and the caller, and looks at the limits when they can next be reached.

use super::Run;
use super::attention::Wish;
use super::explain_step;
use super::start::TEARDOWN_NS;
use super::verdict::{Breach, Ended, figure};
use crate::child::order;
use crate::plan::step::Step;
use crate::spec::{Limit, Overflow};
use crate::sys::{process, socket};
use crate::wire::{Phase, Reaped, Record};
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::{TimeSpec, TimeValLike};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How long init has to kill and reap by itself, so that what was used is counted, before it is killed.
const ORDERLY_END_NS: u64 = 200_000_000;
/// How long a caller that reads nothing is waited for when we ended the run.
const PATIENCE_NS: u64 = 1_000_000_000;
/// The shortest time between two looks at a counter.
const SHORTEST_LOOK_NS: u64 = 200_000;
/// CPU time that counts as not idle: waking up to poll is no work.
const IDLE_NOISE_NS: u64 = 1_000_000;

/// What the loop found.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// What made us end it, first.
    pub(super) ended: Option<Ended>,
    /// When.
    ended_at: u64,
    /// The main program's end: its wait status and use.
    pub(super) exited: Option<(i32, Reaped)>,
    /// When, from its start.
    pub(super) wall_ns: Option<u64>,
    /// Init's last word.
    pub(super) finished: Option<(u32, Reaped)>,
    /// The exec failed: which candidate, and why.
    pub(super) exec_failed: Option<(u16, i32)>,
    /// Nothing inside is left, as far as is known.
    pub(super) gone: bool,
    /// The kernel's word of an out-of-memory kill, when it was first seen.
    pub(super) out_of_memory: Option<String>,
    /// Time during which the box was frozen.
    paused_ns: u64,
    next_cpu: u64,
    next_memory: u64,
    idle_since: u64,
    idle_cpu: u64,
    force_sent: bool,
}

/// Whether it is the last step, whose failure is the command's and not ours.
fn executes(step: &Step) -> bool {
    match step {
        Step::Fault { step, .. } => executes(step),
        step => matches!(step, Step::Exec { .. }),
    }
}

impl Run {
    fn now(&self) -> u64 {
        process::monotonic_ns()
    }

    /// Time since the start, without pauses.
    fn wall(&self, now: u64) -> u64 {
        now.saturating_sub(self.started.at_ns).saturating_sub(self.watched.paused_ns)
    }

    /// Until nothing inside is left.
    pub(super) fn watch(&mut self) {
        let start = self.started.at_ns;
        self.watched.next_cpu = start;
        self.watched.next_memory = start;
        self.watched.idle_since = start;
        let mut buffer = Vec::new();
        while !self.watched.gone {
            let ready = self.poll();
            let is_ready = |fd: i32| ready.contains(&fd);
            if let Some(feed) = &mut self.streams.stdin {
                feed.advance(&is_ready);
            }
            for drain in self.streams.outputs().filter(|drain| drain.wanted(&is_ready)) {
                drain.advance(&mut buffer);
            }
            if is_ready(self.started.socket.as_raw_fd()) {
                self.hear();
            }
            self.look();
            if is_ready(self.started.init.pidfd.as_raw_fd()) {
                // Init says how it ended before it dies: what it wrote is there by now.
                self.hear();
                self.watched.gone = true;
            }
            self.enforce_end();
        }
        for drain in self.streams.outputs() {
            drain.finish(&mut buffer);
        }
        self.look_at_output();
    }

    /// Waits for the next event or look; gives the descriptors that are ready.
    fn poll(&mut self) -> Vec<i32> {
        let now = self.now();
        let wake = self.next_wake(now);
        let mut fds = Vec::with_capacity(12);
        fds.push(PollFd::new(self.started.socket.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.started.init.pidfd.as_fd(), PollFlags::POLLIN));
        if let Some(listener) = self.refusals.listener() {
            fds.push(PollFd::new(listener, PollFlags::POLLIN));
        }
        fds.extend(self.attention.wakers().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.started.cgroup.event_fds().map(|(fd, flags)| PollFd::new(fd, flags)));
        if let Some(feed) = &self.streams.stdin {
            feed.poll(&mut fds);
        }
        for drain in self.streams.stdout.iter().chain(&self.streams.stderr) {
            drain.poll(&mut fds);
        }
        let timeout = wake.map(|at| TimeSpec::nanoseconds(at.saturating_sub(now).min(i64::MAX as u64) as i64));
        // EINTR and ENOMEM mean that nothing is known to be ready: the looks go on.
        let _ = nix::poll::ppoll(&mut fds, timeout, None);
        fds.iter().filter(|fd| fd.any() == Some(true)).map(|fd| fd.as_fd().as_raw_fd()).collect()
    }

    /// When a limit can be reached next.
    fn next_wake(&self, now: u64) -> Option<u64> {
        let watched = &self.watched;
        if watched.ended.is_some() || watched.exited.is_some() {
            let since = if watched.ended_at != 0 { watched.ended_at } else { now };
            return Some(if watched.force_sent { since + TEARDOWN_NS } else { since + ORDERLY_END_NS });
        }
        let watch = &self.plan.watch;
        let wall = watch.wall_ns.map(|wall| self.started.at_ns.saturating_add(wall).saturating_add(watched.paused_ns));
        let cpu = watch.cpu_ns.map(|_| watched.next_cpu);
        let memory = watch.poll_memory_bytes.map(|_| watched.next_memory);
        let idle = watch.idle_ns.map(|idle| watched.idle_since.saturating_add(idle));
        [wall, cpu, memory, idle].into_iter().flatten().min()
    }

    /// Takes all records that are there.
    fn hear(&mut self) {
        loop {
            match self.started.next_record() {
                Ok(Some((record, fds))) => self.heed(record, fds),
                // End of file, or words that are no record: the pidfd says when init is dead.
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn heed(&mut self, record: Record, _: Vec<OwnedFd>) {
        let now = self.now();
        let watched = &mut self.watched;
        match record {
            Record::Exited { wait_status, reaped } if watched.exited.is_none() => {
                watched.exited = Some((wait_status, reaped));
                watched.wall_ns = Some(now.saturating_sub(self.started.at_ns).saturating_sub(watched.paused_ns));
                if watched.ended_at == 0 {
                    watched.ended_at = now;
                }
            }
            Record::Finished { left_running, reaped } => {
                watched.finished = Some((left_running, reaped));
                // What is left to die is init, with all its namespaces: counters are read meanwhile.
                watched.gone = true;
            }
            Record::Failed { phase: Phase::Payload, step, detail, errno } => {
                watched.ended_at = now;
                match self.plan.payload.get(usize::from(step)) {
                    Some(step) if !executes(step) => {
                        let error = explain_step(&self.plan, step, detail, errno);
                        let hint = error.hint_text().map(str::to_owned);
                        watched.ended.get_or_insert(Ended::Failed(error.to_string(), hint));
                    }
                    _ => watched.exec_failed = Some((detail, errno)),
                }
            }
            Record::Watchdog => {
                let wall = self.plan.watch.wall_ns;
                self.breach(Limit::WallTime, wall, None, "init's own timer", false);
            }
            Record::Exited { .. } | Record::Failed { .. } | Record::Room | Record::Listener | Record::Ready => {}
        }
    }

    /// Looks at everything that can end the run, in the order of precedence.
    fn look(&mut self) {
        if let Some(name) = self.refusals.answer(&self.policy, self.plan.setting) {
            self.end(Ended::Syscall(name));
        }
        while let Some(wish) = self.attention.next() {
            match wish {
                Wish::End(signal) => self.end(Ended::Cancelled(signal)),
                Wish::Pause => self.pause(),
            }
        }
        let now = self.now();
        self.look_at_memory(now);
        self.look_at_output();
        if let Some(lost) = self.streams.lost() {
            self.end(Ended::Failed(lost, None));
        }
        if self.watched.exited.is_none() && self.watched.ended.is_none() {
            self.look_at_cpu(now);
            self.look_at_wall(now);
            self.look_at_idle(now);
        }
    }

    fn breach(&mut self, limit: Limit, value: Option<u64>, measured: Option<u64>, evidence: &str, by_kernel: bool) {
        let value = value.unwrap_or_default();
        self.end(Ended::Limit(Breach { limit, value, measured, evidence: evidence.to_owned(), by_kernel }));
    }

    fn look_at_memory(&mut self, now: u64) {
        let limit = self.plan.watch.memory_bytes;
        if self.watched.out_of_memory.is_none()
            && let Some(evidence) = self.started.cgroup.out_of_memory()
        {
            self.watched.out_of_memory = Some(evidence.clone());
            // v2 has killed the tree; v1 has killed one process of it, and the rest is ours to end.
            self.breach(Limit::Memory, limit, limit, &evidence, true);
        }
        let Some(limit) = self.plan.watch.poll_memory_bytes else { return };
        if now < self.watched.next_memory || self.watched.ended.is_some() || self.watched.exited.is_some() {
            return;
        }
        let Some(meter) = &mut self.meter else { return };
        let sample = meter.look();
        if sample.memory_bytes > limit {
            let evidence = "polling: memory of all processes and throw-away places".to_owned();
            self.breach(Limit::Memory, Some(limit), Some(sample.memory_bytes), &evidence, false);
            return;
        }
        let pause = meter.next_look(limit, sample.memory_bytes);
        self.watched.next_memory = self.now().saturating_add(pause.as_nanos() as u64);
    }

    fn look_at_output(&mut self) {
        if self.overflow != Overflow::Kill {
            return;
        }
        let over = [("stdout", &self.streams.stdout), ("stderr", &self.streams.stderr)]
            .into_iter()
            .find_map(|(name, drain)| drain.as_ref().filter(|drain| drain.over()).map(|drain| (name, drain.bytes)));
        if let Some((name, bytes)) = over {
            let cap = self.plan.watch.output_bytes;
            self.breach(Limit::Output, cap, Some(bytes), name, false);
        }
    }

    /// CPU time of the tree so far.
    fn cpu_used(&mut self) -> Option<u64> {
        match self.started.cgroup.cpu_ns() {
            Some(ns) => Some(ns),
            None => self.meter.as_mut().map(|meter| meter.look().cpu_ns),
        }
    }

    fn look_at_cpu(&mut self, now: u64) {
        let Some(limit) = self.plan.watch.cpu_ns else { return };
        if now < self.watched.next_cpu {
            return;
        }
        let Some(used) = self.cpu_used() else {
            self.watched.next_cpu = u64::MAX;
            return;
        };
        if used >= limit {
            let source = self.cpu_source();
            self.breach(Limit::CpuTime, Some(limit), Some(used), source, false);
            return;
        }
        let pause = (limit - used) / u64::from(self.plan.watch.cpus.max(1));
        self.watched.next_cpu = self.now().saturating_add(pause.max(SHORTEST_LOOK_NS));
    }

    fn look_at_wall(&mut self, now: u64) {
        if let Some(limit) = self.plan.watch.wall_ns
            && self.wall(now) >= limit
        {
            let wall = self.wall(now);
            self.breach(Limit::WallTime, Some(limit), Some(wall), "CLOCK_MONOTONIC", false);
        }
    }

    fn look_at_idle(&mut self, now: u64) {
        let Some(idle) = self.plan.watch.idle_ns else { return };
        if now < self.watched.idle_since.saturating_add(idle) {
            return;
        }
        let Some(used) = self.cpu_used() else { return };
        let since = self.watched.idle_cpu;
        if used.saturating_sub(since) > IDLE_NOISE_NS || (since == 0 && used > IDLE_NOISE_NS) {
            self.watched.idle_cpu = used;
            self.watched.idle_since = now;
            return;
        }
        let evidence = format!("{} of CPU time in that time", figure(Limit::CpuTime, used.saturating_sub(since)));
        self.breach(Limit::IdleTime, Some(idle), Some(now.saturating_sub(self.watched.idle_since)), &evidence, false);
    }

    /// The first reason stays; the end begins.
    fn end(&mut self, why: Ended) {
        let cancels = matches!(why, Ended::Cancelled(_));
        match &self.watched.ended {
            None => self.watched.ended = Some(why),
            // A second wish for the end while a reader keeps us: no reason changes.
            Some(_) => {
                self.impatient |= cancels;
                return;
            }
        }
        if self.watched.gone {
            return;
        }
        self.watched.ended_at = self.now();
        // Init reaps what it kills, and so counts it; it is killed itself should it not answer.
        let _ = socket::send(self.started.socket.as_raw_fd(), &[order::KILL], &[]);
    }

    /// Sees to it that what has ended is gone within its time.
    fn enforce_end(&mut self) {
        if self.watched.ended_at == 0 || self.watched.gone {
            return;
        }
        let waited = self.now().saturating_sub(self.watched.ended_at);
        if waited >= ORDERLY_END_NS && !self.watched.force_sent {
            self.started.cgroup.kill();
            self.started.init.kill();
            self.watched.force_sent = true;
        }
        if waited >= TEARDOWN_NS {
            self.abandoned = true;
            self.watched.gone = true;
        }
    }

    /// Ctrl-Z: the box stands still while we do, and the clocks with it.
    fn pause(&mut self) {
        let frozen = self.started.cgroup.freeze(true);
        if !frozen {
            let _ = socket::send(self.started.socket.as_raw_fd(), &[order::STOP], &[]);
        }
        let from = self.now();
        // SIGTSTP is blocked here, since it is read from a descriptor; SIGSTOP is what it would have done.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        let paused = self.now().saturating_sub(from);
        self.watched.paused_ns = self.watched.paused_ns.saturating_add(paused);
        for at in [&mut self.watched.next_cpu, &mut self.watched.next_memory, &mut self.watched.idle_since] {
            *at = at.saturating_add(paused);
        }
        let mut message = [0; 9];
        message[0] = order::EXTEND;
        message[1..].copy_from_slice(&paused.to_le_bytes());
        let _ = socket::send(self.started.socket.as_raw_fd(), &message, &[]);
        if frozen {
            self.started.cgroup.freeze(false);
        } else {
            let _ = socket::send(self.started.socket.as_raw_fd(), &[order::RESUME], &[]);
        }
    }

    /// Passes on what the caller has not read yet. After an end of the program's own that takes as long as the caller does;
    /// after one of ours, a caller that reads nothing for a while is not waited for.
    pub(super) fn flush(&mut self) {
        let mut buffer = Vec::new();
        let mut unread = self.streams.unread();
        let mut since = self.now();
        loop {
            let still = self.streams.unread();
            if still != unread {
                (unread, since) = (still, self.now());
            }
            let patient = !self.cut_short || self.now().saturating_sub(since) < PATIENCE_NS;
            if self.impatient || unread == 0 || !patient {
                if unread > 0 {
                    self.plan
                        .notes
                        .push(format!("the last {unread} bytes of output were dropped: the caller did not read them"));
                }
                return;
            }
            {
                let mut fds = Vec::new();
                for drain in self.streams.stdout.iter().chain(&self.streams.stderr) {
                    drain.poll(&mut fds);
                }
                fds.extend(self.attention.wakers().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
                let timeout = self.cut_short.then(|| TimeSpec::nanoseconds(PATIENCE_NS as i64 / 10));
                let _ = nix::poll::ppoll(&mut fds, timeout, None);
            }
            while let Some(wish) = self.attention.next() {
                match wish {
                    Wish::End(_) => self.impatient = true,
                    Wish::Pause => {
                        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
                    }
                }
            }
            for drain in self.streams.outputs() {
                drain.advance(&mut buffer);
            }
        }
    }
}
