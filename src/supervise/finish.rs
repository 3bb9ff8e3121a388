//! The end: counters are read, files brought out, descriptors dropped, the cgroup removed; then the report.

use super::verdict::{self, Breach, Ended, Evidence, Verdict};
use super::{Run, collect, disk, exec_failure};
use crate::error::Kind;
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::step::Slot;
use crate::report::{
    Collected, HostFacts, KilledBy, Refused, Report, SCHEMA, Status, ThrownAway, Timings, Touched, Usage, signal_name,
};
use crate::spec::{Limit, Spec};
use crate::sys::process;
use std::os::unix::ffi::OsStrExt;

/// How far a sum of looks may be off by rounding: two clock ticks.
const POLLING_ROUNDS_NS: u64 = 20_000_000;

/// A CPU time, and who measured it.
#[derive(Clone, Copy, Default)]
struct Cpu {
    total: Option<u64>,
    user: Option<u64>,
    system: Option<u64>,
    source: Option<&'static str>,
}

impl Run {
    /// Who measures CPU time while the run goes on.
    pub(super) fn cpu_source(&self) -> &'static str {
        self.started.cgroup.usage().cpu_source.unwrap_or("polling")
    }

    pub(super) fn finish(mut self) -> Report {
        let now = process::monotonic_ns();
        let ended_at = match self.watched.wall_ns {
            Some(wall) => self.started.at_ns.saturating_add(wall),
            None => now,
        };
        let wall_ns = now.min(ended_at).saturating_sub(self.started.at_ns);
        let last = self.meter.as_mut().map(|meter| meter.last());
        let counted = self.started.cgroup.usage();
        let reaped = self.watched.finished.map(|(_, all)| all).or(self.watched.exited.map(|(_, main)| main));
        let cpu = self.cpu(&counted, last.as_ref().map(|sample| sample.cpu_ns), reaped);
        let kernel = self.started.cgroup.evidence();
        let fill = self.started.handed.get(Slot::SCRATCH).and_then(disk::fill);
        let (memory_peak, memory_source) = match (counted.memory_peak, &last, reaped) {
            (Some(peak), ..) => (Some(peak), counted.memory_source),
            // The largest process's own high-water mark fills the gap between two looks.
            (None, Some(sample), reaped) if sample.memory_peak_bytes > 0 => {
                let largest = reaped.map_or(0, |reaped| reaped.maxrss_kib.saturating_mul(1024));
                (Some(sample.memory_peak_bytes.max(largest)), Some("polling"))
            }
            (None, _, Some(reaped)) => (Some(reaped.maxrss_kib.saturating_mul(1024)), Some("rusage")),
            (None, _, None) => (None, None),
        };
        let usage = Usage {
            wall_ns: Some(wall_ns),
            cpu_ns: cpu.total,
            user_ns: cpu.user,
            system_ns: cpu.system,
            memory_peak_bytes: memory_peak,
            memory_source: memory_source.map(str::to_owned),
            cpu_source: cpu.source.map(str::to_owned),
            processes_peak: counted.processes_peak.or(last.as_ref().map(|sample| sample.tasks_peak)),
            voluntary_switches: reaped.map(|reaped| reaped.voluntary),
            involuntary_switches: reaped.map(|reaped| reaped.involuntary),
            disk_bytes: fill.map(|fill| fill.bytes),
            disk_inodes: fill.map(|fill| fill.inodes.saturating_sub(self.plan.own_inodes)),
        };
        let touched = Touched {
            processes: kernel.processes,
            disk: fill.filter(|fill| fill.bytes_full).map(|_| true),
            inodes: fill.filter(|fill| fill.inodes_full).map(|_| true),
            file_size: None,
            open_files: None,
        };
        let mut evidence = Evidence {
            ended: self.watched.ended.take(),
            wait_status: self.watched.exited.map(|(status, _)| status),
            breaches: self.breaches(&usage, kernel.memory),
            told: self.plan.setting.notify,
            file_size: self.spec.limits.file_size.value().map(|bytes| bytes.get()),
            cpu: self.plan.watch.cpu_ns.map(|limit| (limit, usage.cpu_ns)),
        };
        if self.watched.exec_failed.is_some() {
            // Nothing ran, so nothing was used up.
            evidence.breaches.clear();
        }
        let mut verdict = verdict::decide(&evidence);
        let mut failure = None;
        if let Some((_, errno)) = self.watched.exec_failed {
            let explained = exec_failure::explain(&self.spec, &self.plan, errno);
            failure = Some(explained.kind);
            verdict = not_executed(explained);
        }
        let thrown_away = self.started.handed.get(Slot::UPPER).and_then(disk::thrown_away);
        let disk_limit = self.spec.limits.disk.value().map(|bytes| bytes.get());
        let cloner = self.started.init.cloner();
        let collected = match verdict.status {
            Status::ExecFailed | Status::SandboxFailed => Vec::new(),
            _ => collect::collect(&self.plan, &self.started.handed, &cloner, disk_limit),
        };
        self.cut_short = matches!(verdict.killed_by, Some(KilledBy::Sandbox | KilledBy::Kernel));
        let left_running = self.watched.finished.map(|(left, _)| u64::from(left));
        self.flush();
        let Run { meter, refusals, streams, started, plan, abandoned, setup_ns, spec, kernel, .. } = self;
        drop(meter);
        // Only now is the tmpfs' memory freed, and the cgroup empty.
        let died = started.clean_up();
        let stdout = streams.stdout.and_then(super::pump::Drain::captured);
        let stderr = streams.stderr.and_then(super::pump::Drain::captured);
        let found = Found {
            verdict,
            usage,
            touched,
            refused: refusals.into_record(),
            left_running,
            collected,
            thrown_away,
            failure,
            abandoned: abandoned || !died,
            timings: Timings { setup_ns, teardown_ns: process::monotonic_ns().saturating_sub(ended_at) },
        };
        let mut report = assemble(&spec, plan, &kernel, found);
        (report.stdout, report.stderr) = (stdout, stderr);
        report
    }

    fn cpu(
        &self,
        counted: &super::cgroup::CgroupUsage,
        polled: Option<u64>,
        reaped: Option<crate::wire::Reaped>,
    ) -> Cpu {
        if counted.cpu_ns.is_some() {
            return Cpu {
                total: counted.cpu_ns,
                user: counted.user_ns,
                system: counted.system_ns,
                source: counted.cpu_source,
            };
        }
        let reaped = reaped.map(|all| (all.user_us.saturating_mul(1000), all.system_us.saturating_mul(1000)));
        match (polled, reaped) {
            // Looks see what nobody reaped, but round: only a difference that rounding cannot make counts.
            (Some(polled), Some((user, system)))
                if polled > user.saturating_add(system).saturating_add(POLLING_ROUNDS_NS) =>
            {
                Cpu { total: Some(polled), user: None, system: None, source: Some("polling") }
            }
            (_, Some((user, system))) => Cpu {
                total: Some(user.saturating_add(system)),
                user: Some(user),
                system: Some(system),
                source: Some("rusage"),
            },
            (Some(polled), None) => Cpu { total: Some(polled), source: Some("polling"), ..Cpu::default() },
            (None, None) => Cpu::default(),
        }
    }

    /// What the counters say at the end, in the order of precedence.
    fn breaches(&self, usage: &Usage, out_of_memory: Option<String>) -> Vec<Breach> {
        let watch = &self.plan.watch;
        let mut breaches = Vec::new();
        let out_of_memory = self.watched.out_of_memory.clone().or(out_of_memory);
        if let (Some(evidence), Some(value)) = (out_of_memory, watch.memory_bytes) {
            breaches.push(Breach {
                limit: Limit::Memory,
                value,
                measured: usage.memory_peak_bytes,
                evidence,
                by_kernel: true,
            });
        }
        if let (Some(value), Some(measured)) = (watch.cpu_ns, usage.cpu_ns)
            && measured > value
        {
            let evidence = usage.cpu_source.clone().unwrap_or_default();
            breaches.push(Breach {
                limit: Limit::CpuTime,
                value,
                measured: Some(measured),
                evidence,
                by_kernel: false,
            });
        }
        if let (Some(value), Some(measured)) = (watch.wall_ns, usage.wall_ns)
            && measured > value
        {
            let evidence = "CLOCK_MONOTONIC".to_owned();
            breaches.push(Breach {
                limit: Limit::WallTime,
                value,
                measured: Some(measured),
                evidence,
                by_kernel: false,
            });
        }
        breaches
    }
}

fn not_executed(explained: exec_failure::Explained) -> Verdict {
    Verdict {
        status: Status::ExecFailed,
        exit_code: None,
        signal: None,
        limit: None,
        limits_hit: Vec::new(),
        killed_by: None,
        message: explained.message,
        hint: explained.hint,
    }
}

/// All that a report holds besides the plan's rows and the streams.
struct Found {
    verdict: Verdict,
    usage: Usage,
    touched: Touched,
    refused: Option<Vec<Refused>>,
    left_running: Option<u64>,
    collected: Vec<Collected>,
    thrown_away: Option<ThrownAway>,
    failure: Option<Kind>,
    abandoned: bool,
    timings: Timings,
}

fn assemble(spec: &Spec, plan: Plan, kernel: &str, found: Found) -> Report {
    let Verdict { status, exit_code, signal, limit, limits_hit, killed_by, message, hint } = found.verdict;
    let command = spec.command.iter().map(|word| match word.to_str() {
        Some(text) => serde_json::Value::String(text.to_owned()),
        None => {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(word.as_bytes());
            serde_json::json!({ "base64": encoded })
        }
    });
    Report {
        schema: SCHEMA,
        status,
        exit_code,
        signal,
        signal_name: signal.map(signal_name),
        limit,
        usage: found.usage,
        touched: found.touched,
        enforcement: plan.enforcements,
        isolation: plan.isolation,
        refused: found.refused,
        limits_hit,
        killed_by,
        left_running: found.left_running,
        stdout: None,
        stderr: None,
        collected: found.collected,
        thrown_away: found.thrown_away,
        timings: found.timings,
        command: command.collect(),
        host: HostFacts { kernel: kernel.to_owned() },
        message,
        hint,
        failure: found.failure,
        teardown: if found.abandoned { "abandoned" } else { "complete" }.to_owned(),
        notes: plan.notes,
    }
}

/// The report of a run that the caller ended before the program began.
pub(super) fn cancelled_early(spec: &Spec, host: &Host, plan: Plan, signal: i32) -> Report {
    let evidence = Evidence { ended: Some(Ended::Cancelled(signal)), ..Evidence::default() };
    let mut verdict = verdict::decide(&evidence);
    verdict.killed_by = Some(KilledBy::Sandbox);
    let found = Found {
        verdict,
        usage: Usage::default(),
        touched: Touched::default(),
        refused: None,
        left_running: None,
        collected: Vec::new(),
        thrown_away: None,
        failure: None,
        abandoned: false,
        timings: Timings::default(),
    };
    assemble(spec, plan, &host.kernel, found)
}
