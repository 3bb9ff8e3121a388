//! `--stats`: what a run used, of how much, and who enforced it, in a few aligned lines.

use super::figure::{allowed, bytes, plain, quantity, seconds};
use crate::report::{Enforcement, Report, Usage};
use crate::spec::Limit;
use std::fmt::Write as _;

/// The lines.
pub(super) fn stats(report: &Report) -> String {
    let mut text = format!("sandbox: {}{}\n", report.status.name(), how(report));
    let rows: Vec<[String; 4]> = report.enforcement.iter().filter_map(|row| measured_row(row, report)).collect();
    for line in aligned(&rows) {
        let _ = writeln!(text, "  {line}");
    }
    let others: Vec<String> = report.enforcement.iter().filter_map(other).collect();
    if !others.is_empty() {
        let _ = writeln!(text, "  also capped: {}", plain(&others.join(", ")));
    }
    let own = &report.timings;
    let _ = writeln!(text, "  ours: {} to set up, {} to clean up", micros(own.setup_ns), micros(own.teardown_ns));
    for note in &report.notes {
        let _ = writeln!(text, "  note: {}", plain(note));
    }
    text
}

fn how(report: &Report) -> String {
    match (report.exit_code, &report.signal_name) {
        (Some(code), _) => format!(", exit code {code}"),
        (None, Some(name)) => format!(", {name}"),
        (None, None) => String::new(),
    }
}

fn micros(nanos: u64) -> String {
    format!("{}.{:02} ms", nanos / 1_000_000, nanos / 10_000 % 100)
}

/// What was used of a limit, where that is measured.
fn used(limit: Limit, usage: &Usage, report: &Report) -> Option<String> {
    let streams = || {
        let each = [&report.stdout, &report.stderr];
        let counted: Vec<u64> = each.into_iter().flatten().map(|stream| stream.bytes()).collect();
        counted.into_iter().max()
    };
    match limit {
        Limit::Memory => usage.memory_peak_bytes.map(bytes),
        Limit::CpuTime => usage.cpu_ns.map(seconds),
        Limit::WallTime => usage.wall_ns.map(seconds),
        Limit::Processes => usage.processes_peak.map(|count| count.to_string()),
        Limit::Disk => usage.disk_bytes.map(bytes),
        Limit::Inodes => usage.disk_inodes.map(|count| count.to_string()),
        Limit::Output => streams().map(bytes),
        Limit::IdleTime
        | Limit::FileSize
        | Limit::OpenFiles
        | Limit::Stack
        | Limit::Core
        | Limit::Cpus
        | Limit::CpuSet => None,
    }
}

fn measured_row(row: &Enforcement, report: &Report) -> Option<[String; 4]> {
    let used = used(row.limit, &report.usage, report)?;
    let cap = if row.value.is_some() { format!("of {}", allowed(row)) } else { "no limit".to_owned() };
    let mut by = enforcer(row);
    if let (Limit::CpuTime, Some(user), Some(system)) = (row.limit, report.usage.user_ns, report.usage.system_ns) {
        let _ = write!(by, " (user {}, system {})", seconds(user), seconds(system));
    }
    Some([row.limit.name().replace('_', " "), used, cap, by])
}

/// Who enforces a row, and what to know of it.
pub(super) fn enforcer(row: &Enforcement) -> String {
    if row.value.is_none() && row.mechanism.is_none() {
        return String::new();
    }
    let mut text = row.mechanism.clone().unwrap_or_else(|| "not enforced".to_owned());
    if let Some(who) = &row.clamped_by {
        let _ = write!(text, ", clamped by the {who}");
    }
    if row.evadable {
        text.push_str(", evadable");
    }
    plain(&text)
}

/// A cap without a figure of use, in short.
fn other(row: &Enforcement) -> Option<String> {
    match row.limit {
        Limit::FileSize | Limit::OpenFiles | Limit::Stack | Limit::Core | Limit::IdleTime | Limit::Cpus => {
            let enforced = if row.mechanism.is_some() { "" } else { " (not enforced)" };
            row.value
                .map(|value| format!("{} {}{enforced}", row.limit.name().replace('_', " "), quantity(row.limit, value)))
        }
        Limit::CpuSet => row.mechanism.as_ref().map(|_| "cpu set".to_owned()),
        Limit::Memory
        | Limit::CpuTime
        | Limit::WallTime
        | Limit::Processes
        | Limit::Output
        | Limit::Disk
        | Limit::Inodes => None,
    }
}

/// Columns of equal width, two spaces apart.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::report_of;
    use crate::error::Error;
    use crate::report::{Scope, Status, Timings};

    #[test]
    fn the_summary_has_one_aligned_line_per_measured_limit() {
        let row = |limit, value, mechanism: &str| Enforcement {
            limit,
            value,
            mechanism: (!mechanism.is_empty()).then(|| mechanism.to_owned()),
            scope: Scope::Tree,
            kernel: true,
            note: None,
            clamped_by: None,
            evadable: false,
        };
        let report = Report {
            status: Status::Ok,
            exit_code: Some(0),
            usage: Usage {
                wall_ns: Some(12_000_000),
                cpu_ns: Some(8_000_000),
                user_ns: Some(6_000_000),
                system_ns: Some(2_000_000),
                memory_peak_bytes: Some(3_565_158),
                processes_peak: Some(1),
                ..Usage::default()
            },
            enforcement: vec![
                row(Limit::Memory, Some(512 << 20), "cgroup2 memory.max"),
                row(Limit::CpuTime, Some(10_000_000_000), "cgroup2 cpu.stat"),
                row(Limit::WallTime, None, ""),
                row(Limit::Processes, Some(128), ""),
                row(Limit::OpenFiles, Some(1024), "RLIMIT_NOFILE"),
                row(Limit::Core, Some(1), "RLIMIT_CORE"),
            ],
            timings: Timings { setup_ns: 1_234_567, teardown_ns: 300_000 },
            failure: None,
            ..report_of(&Error::sandbox("x"), &[])
        };
        assert_eq!(
            stats(&report),
            "sandbox: ok, exit code 0\n\
             \x20 memory     3.4 MiB  of 512 MiB  cgroup2 memory.max\n\
             \x20 cpu time   0.008 s  of 10 s     cgroup2 cpu.stat (user 0.006 s, system 0.002 s)\n\
             \x20 wall time  0.012 s  no limit\n\
             \x20 processes  1        of 128      not enforced\n\
             \x20 also capped: open files 1024, core 1 byte\n\
             \x20 ours: 1.23 ms to set up, 0.30 ms to clean up\n"
        );
    }
}
