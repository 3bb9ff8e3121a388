//! How a run ended: decided once, from evidence. Pure.

use crate::report::{KilledBy, LimitHit, Status, signal_name};
use crate::spec::Limit;

/// Something that ended, or would have ended, the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Breach {
    pub(super) limit: Limit,
    /// What was allowed.
    pub(super) value: u64,
    pub(super) measured: Option<u64>,
    pub(super) evidence: String,
    /// The kernel ended it, rather than we.
    pub(super) by_kernel: bool,
}

/// Why we ended the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ended {
    /// A limit.
    Limit(Breach),
    /// A call that the policy kills for.
    Syscall(String),
    /// The caller, with this signal (0 for the library's handle).
    Cancelled(i32),
    /// We failed: a sentence, and what can be done.
    Failed(String, Option<String>),
}

/// All that is known at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// The first thing that made us end it.
    pub(super) ended: Option<Ended>,
    /// As wait4(2) gives it; `None` where init could not say.
    pub(super) wait_status: Option<i32>,
    /// Breaches that were found, by us or in the kernel's counters, in the order of precedence.
    pub(super) breaches: Vec<Breach>,
    /// Refused calls are told to us.
    pub(super) told: bool,
    /// The file size limit, for SIGXFSZ.
    pub(super) file_size: Option<u64>,
    /// The CPU time limit and what was used, for SIGXCPU of the second watchdog.
    pub(super) cpu: Option<(u64, Option<u64>)>,
}

/// The ending, ready for the report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) limit: Option<LimitHit>,
    pub(super) limits_hit: Vec<Limit>,
    pub(super) killed_by: Option<KilledBy>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

fn unit(limit: Limit) -> &'static str {
    match limit {
        Limit::CpuTime | Limit::WallTime | Limit::IdleTime => "ns",
        Limit::Memory | Limit::Output | Limit::FileSize | Limit::Disk | Limit::Stack | Limit::Core => "bytes",
        Limit::Processes | Limit::Inodes | Limit::OpenFiles | Limit::Cpus | Limit::CpuSet => "count",
    }
}

fn status_of(limit: Limit) -> Status {
    match limit {
        Limit::Memory => Status::MemoryLimit,
        Limit::CpuTime => Status::CpuTimeLimit,
        Limit::WallTime => Status::WallTimeLimit,
        Limit::IdleTime => Status::IdleLimit,
        Limit::Output => Status::OutputLimit,
        Limit::FileSize => Status::FileSizeLimit,
        // None of these ends a run: the program meets them as errno.
        Limit::Processes
        | Limit::Disk
        | Limit::Inodes
        | Limit::OpenFiles
        | Limit::Stack
        | Limit::Core
        | Limit::Cpus
        | Limit::CpuSet => Status::SandboxFailed,
    }
}

/// A figure as a person reads it.
pub(super) fn figure(limit: Limit, value: u64) -> String {
    match unit(limit) {
        "ns" => {
            let ms = value / 1_000_000;
            if ms >= 1000 { format!("{}.{:02} s", ms / 1000, ms % 1000 / 10) } else { format!("{ms} ms") }
        }
        "bytes" => crate::spec::Bytes::new(value).to_string(),
        _ => value.to_string(),
    }
}

/// A limit as a person reads it: without the zeros of a measured figure.
fn allowed(limit: Limit, value: u64) -> String {
    match unit(limit) {
        "ns" => crate::spec::Millis::new(value / 1_000_000).to_string(),
        _ => figure(limit, value),
    }
}

/// What happened, in words.
fn sentence(breach: &Breach) -> String {
    let value = allowed(breach.limit, breach.value);
    let measured = breach.measured.map(|measured| figure(breach.limit, measured));
    let after = |measured: Option<String>| measured.map(|m| format!(" (measured {m})")).unwrap_or_default();
    match breach.limit {
        Limit::Memory => format!("memory limit reached: the program and its children used all of {value}"),
        Limit::CpuTime => format!("CPU time limit reached: more than {value}{}", after(measured)),
        Limit::WallTime => format!("wall time limit reached: still running after {value}"),
        Limit::IdleTime => format!("idle limit reached: no CPU used for {value}"),
        Limit::Output => format!("output limit reached: {} holds more than {value}", breach.evidence),
        Limit::FileSize => format!("file size limit reached: a file would have grown past {value}"),
        Limit::Processes
        | Limit::Disk
        | Limit::Inodes
        | Limit::OpenFiles
        | Limit::Stack
        | Limit::Core
        | Limit::Cpus
        | Limit::CpuSet => format!("{} limit reached: {value}", breach.limit),
    }
}

/// Decides.
pub(super) fn decide(evidence: &Evidence) -> Verdict {
    let (exit_code, signal) = match evidence.wait_status {
        Some(status) if libc::WIFEXITED(status) => (Some(libc::WEXITSTATUS(status)), None),
        Some(status) if libc::WIFSIGNALED(status) => (None, Some(libc::WTERMSIG(status))),
        _ => (None, None),
    };
    let mut breaches = evidence.breaches.clone();
    if let Some(Ended::Limit(first)) = &evidence.ended {
        breaches.retain(|breach| breach.limit != first.limit);
        breaches.insert(0, first.clone());
    }
    let used_up = |limit| move |breach: &Breach| breach.limit == limit;
    if signal == Some(libc::SIGXFSZ)
        && let Some(value) = evidence.file_size
    {
        let evidence = "SIGXFSZ".to_owned();
        breaches.push(Breach { limit: Limit::FileSize, value, measured: None, evidence, by_kernel: true });
    }
    // The second watchdog, one second behind the first: RLIMIT_CPU of one process.
    if let (Some(libc::SIGXCPU), Some((value, measured))) = (signal, evidence.cpu)
        && !breaches.iter().any(used_up(Limit::CpuTime))
        && measured.is_none_or(|measured| measured >= value)
    {
        let evidence = "SIGXCPU".to_owned();
        breaches.push(Breach { limit: Limit::CpuTime, value, measured, evidence, by_kernel: true });
    }
    let limits_hit = breaches.iter().map(|breach| breach.limit).collect();
    let mut verdict = Verdict {
        status: Status::Ok,
        exit_code,
        signal,
        limit: None,
        limits_hit,
        killed_by: None,
        message: String::new(),
        hint: None,
    };
    match (&evidence.ended, breaches.first()) {
        (Some(Ended::Failed(sentence, hint)), _) => {
            verdict.status = Status::SandboxFailed;
            verdict.killed_by = Some(KilledBy::Sandbox);
            verdict.message = sentence.clone();
            verdict.hint = hint.clone();
        }
        (Some(Ended::Cancelled(by)), _) => {
            verdict.status = Status::Cancelled;
            verdict.killed_by = Some(KilledBy::Sandbox);
            verdict.signal = Some(if *by == 0 { libc::SIGKILL } else { *by });
            verdict.exit_code = None;
            verdict.message = match by {
                0 => "cancelled by the caller".to_owned(),
                by => format!("cancelled by {}", signal_name(*by)),
            };
        }
        (Some(Ended::Syscall(name)), _) => {
            verdict.status = Status::SyscallRefused;
            verdict.killed_by = Some(KilledBy::Sandbox);
            verdict.message = format!("ended for the system call {name}, which the policy kills for");
        }
        (_, Some(breach)) => {
            verdict.status = status_of(breach.limit);
            let ours = matches!(&evidence.ended, Some(Ended::Limit(_))) && !breach.by_kernel;
            verdict.killed_by = if ours {
                Some(KilledBy::Sandbox)
            } else if breach.by_kernel {
                Some(KilledBy::Kernel)
            } else {
                signal.map(|_| KilledBy::Program)
            };
            verdict.message = sentence(breach);
            verdict.hint = Some(format!("raise it with {}", breach.limit.flag()));
            verdict.limit = Some(LimitHit {
                name: breach.limit,
                value: breach.value,
                measured: breach.measured,
                unit: unit(breach.limit).to_owned(),
                evidence: breach.evidence.clone(),
            });
        }
        (_, None) => match (exit_code, signal) {
            (Some(0), _) => verdict.message = "exited with code 0".to_owned(),
            (Some(code), _) => {
                verdict.status = Status::NonzeroExit;
                verdict.message = format!("exited with code {code}");
            }
            // With a listener every kill of ours was told to us: this signal is the program's own.
            (None, Some(libc::SIGSYS)) if !evidence.told => {
                verdict.status = Status::SyscallRefused;
                verdict.killed_by = Some(KilledBy::Kernel);
                verdict.message =
                    "ended by SIGSYS: a system call of another architecture or one that is always killed".to_owned();
            }
            (None, Some(signal)) => {
                verdict.status = Status::Signaled;
                verdict.killed_by = Some(KilledBy::Program);
                verdict.message = format!("ended by signal {signal} ({})", signal_name(signal));
            }
            (None, None) => {
                verdict.status = Status::SandboxFailed;
                verdict.message = "init ended without saying how the program ended".to_owned();
            }
        },
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breach(limit: Limit, by_kernel: bool) -> Breach {
        Breach { limit, value: 1, measured: Some(2), evidence: "seen".to_owned(), by_kernel }
    }

    const KILLED: Option<i32> = Some(libc::SIGKILL);

    #[test]
    fn an_out_of_memory_kill_in_the_tree_is_memory_limit_whatever_the_main_program_says() {
        for wait_status in [Some(0), Some(7 << 8), KILLED, None] {
            let evidence = Evidence { wait_status, breaches: vec![breach(Limit::Memory, true)], ..Evidence::default() };
            let verdict = decide(&evidence);
            assert_eq!((verdict.status, verdict.killed_by), (Status::MemoryLimit, Some(KilledBy::Kernel)));
        }
    }

    #[test]
    fn what_ended_it_first_is_the_verdict_and_all_breaches_are_listed() {
        let evidence = Evidence {
            ended: Some(Ended::Limit(breach(Limit::WallTime, false))),
            wait_status: KILLED,
            breaches: vec![breach(Limit::CpuTime, false), breach(Limit::WallTime, false)],
            ..Evidence::default()
        };
        let verdict = decide(&evidence);
        assert_eq!((verdict.status, verdict.killed_by), (Status::WallTimeLimit, Some(KilledBy::Sandbox)));
        assert_eq!(verdict.limits_hit, [Limit::WallTime, Limit::CpuTime]);
    }

    #[test]
    fn a_cancelled_run_is_cancelled_even_over_a_limit() {
        let evidence = Evidence {
            ended: Some(Ended::Cancelled(libc::SIGTERM)),
            wait_status: KILLED,
            breaches: vec![breach(Limit::Memory, true)],
            ..Evidence::default()
        };
        let verdict = decide(&evidence);
        assert_eq!((verdict.status, verdict.signal), (Status::Cancelled, Some(libc::SIGTERM)));
    }

    #[test]
    fn signals_are_told_apart() {
        let of = |signal: i32| {
            decide(&Evidence { wait_status: Some(signal), file_size: Some(1), ..Evidence::default() }).status
        };
        assert_eq!(of(libc::SIGXFSZ), Status::FileSizeLimit);
        assert_eq!(of(libc::SIGSYS), Status::SyscallRefused);
        assert_eq!(of(libc::SIGSEGV), Status::Signaled);
        assert_eq!(of(libc::SIGXCPU), Status::Signaled);
    }

    #[test]
    fn no_word_from_init_and_no_evidence_is_our_failure() {
        assert_eq!(decide(&Evidence::default()).status, Status::SandboxFailed);
    }
}
