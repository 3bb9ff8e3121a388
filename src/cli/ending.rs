//! The lines on stderr at the end of a run: for people, not a contract.

use super::figure::{out_word, plain, quantity};
use crate::error::Error;
use crate::report::{Enforcement, LimitHit, Report, Status, ThrownAway};
use crate::spec::Limit;
use std::fmt::Write as _;

/// `sandbox: cannot …` and its hint.
pub(super) fn error_lines(error: &Error) -> String {
    lines(&error.to_string(), error.hint_text())
}

fn lines(sentence: &str, hint: Option<&str>) -> String {
    let mut text = format!("sandbox: {}\n", plain(sentence));
    for (number, line) in hint.into_iter().flat_map(str::lines).enumerate() {
        let head = if number == 0 { "hint: " } else { "      " };
        let _ = writeln!(text, "{head}{}", plain(line));
    }
    text
}

/// Whether the ending is an error of ours or of the command's name: said even with `--quiet`, and beside any report.
pub(super) fn is_error(status: Status) -> bool {
    matches!(status, Status::SandboxFailed | Status::ExecFailed)
}

/// What is said when something other than an exit of the program's own happened.
pub(super) fn ending(report: &Report) -> Option<String> {
    match report.status {
        Status::Ok | Status::NonzeroExit => truncated(report),
        Status::CpuTimeLimit
        | Status::WallTimeLimit
        | Status::MemoryLimit
        | Status::IdleLimit
        | Status::OutputLimit
        | Status::FileSizeLimit => {
            let raise = || report.limit.as_ref().map(raise);
            // A value that can be typed beats the bare flag.
            Some(lines(&report.message, raise().or_else(|| report.hint.clone()).as_deref()))
        }
        Status::Signaled
        | Status::SyscallRefused
        | Status::CompileError
        | Status::ExecFailed
        | Status::SandboxFailed
        | Status::Cancelled => Some(lines(&report.message, report.hint.as_deref())),
    }
}

/// A run that went on past its output limit (`--output-over truncate`).
fn truncated(report: &Report) -> Option<String> {
    let row = report.enforcement.iter().find(|row| row.limit == Limit::Output)?;
    let cap = row.value.filter(|_| report.limits_hit.contains(&Limit::Output))?;
    let hit =
        LimitHit { name: Limit::Output, value: cap, measured: None, unit: "bytes".to_owned(), evidence: String::new() };
    let sentence = format!("the output was cut off at {}", quantity(Limit::Output, cap));
    Some(lines(&sentence, Some(&format!("raise it with {}", doubled(&hit)))))
}

/// How to allow more of what was met.
fn raise(hit: &LimitHit) -> String {
    match hit.name {
        Limit::Output => format!("raise it with {}, or cut it off there with --output-over truncate", doubled(hit)),
        Limit::Memory
        | Limit::CpuTime
        | Limit::WallTime
        | Limit::IdleTime
        | Limit::Processes
        | Limit::FileSize
        | Limit::Disk
        | Limit::Inodes
        | Limit::OpenFiles
        | Limit::Stack
        | Limit::Core
        | Limit::Cpus
        | Limit::CpuSet => format!("raise it with {}", doubled(hit)),
    }
}

/// The flag with twice the value, in the largest unit that writes it exactly.
fn doubled(hit: &LimitHit) -> String {
    let value = hit.value.saturating_mul(2);
    let flag = hit.name.flag();
    match hit.name {
        Limit::Memory | Limit::Output | Limit::FileSize | Limit::Disk | Limit::Stack | Limit::Core => {
            let units = [(30, "G"), (20, "M"), (10, "K")];
            let unit = units.iter().find(|(shift, _)| value > 0 && value.is_multiple_of(1 << shift));
            match unit {
                Some((shift, unit)) => format!("{flag} {}{unit}", value >> shift),
                None if value == 0 => format!("{flag} 1M"),
                None => format!("{flag} {value}"),
            }
        }
        Limit::CpuTime | Limit::WallTime | Limit::IdleTime => match value {
            seconds if seconds.is_multiple_of(1_000_000_000) => format!("{flag} {}s", seconds / 1_000_000_000),
            nanos => format!("{flag} {}ms", nanos.div_ceil(1_000_000)),
        },
        Limit::Processes | Limit::Inodes | Limit::OpenFiles => format!("{flag} {value}"),
        Limit::Cpus | Limit::CpuSet => flag.to_owned(),
    }
}

/// What `--out` did not bring out, one line each.
pub(super) fn not_collected(report: &Report) -> String {
    let mut text = String::new();
    for collected in &report.collected {
        if let Some(error) = &collected.error {
            text += &lines(&format!("cannot keep {}: {error}", collected.from), None);
        }
    }
    text
}

/// What was in `/box` and is gone: said on a terminal.
pub(super) fn thrown_away(gone: &ThrownAway) -> Option<String> {
    let first = gone.names.first()?;
    let one = gone.files == 1;
    let (files, were, them) = if one { ("file", "was", "it") } else { ("files", "were", "them") };
    let shown: Vec<String> = gone.names.iter().take(3).map(|name| plain(name)).collect();
    let more = if gone.files > shown.len() as u64 { ", …" } else { "" };
    Some(format!(
        "sandbox: {} new {files} in /box {were} thrown away ({}{more}): keep {them} with --out {}, or --rw .\n",
        gone.files,
        shown.join(", "),
        plain(&out_word(first)),
    ))
}

/// Which limits something weaker than the kernel enforces for the tree: said on a terminal.
pub(super) fn weaker(rows: &[Enforcement]) -> Option<String> {
    let fell = |row: &&Enforcement| match row.limit {
        Limit::Memory | Limit::CpuTime | Limit::Processes => row.value.is_some() && !row.kernel,
        // What cannot be had at all, whichever.
        Limit::WallTime
        | Limit::IdleTime
        | Limit::Output
        | Limit::FileSize
        | Limit::Disk
        | Limit::Inodes
        | Limit::OpenFiles
        | Limit::Stack
        | Limit::Core
        | Limit::Cpus
        | Limit::CpuSet => row.value.is_some() && row.mechanism.is_none(),
    };
    let say = |row: &Enforcement| match &row.mechanism {
        Some(mechanism) => format!("{} by {mechanism}", row.limit.name().replace('_', " ")),
        None => format!("{} by nothing", row.limit.name().replace('_', " ")),
    };
    let weak: Vec<String> = rows.iter().filter(fell).map(say).collect();
    (!weak.is_empty()).then(|| {
        let list = plain(&weak.join(", "));
        format!("sandbox: weaker limits here: {list}: 'sandbox check' says why, and what helps\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::report_of;
    use crate::report::Scope;

    fn hit(name: Limit, value: u64) -> LimitHit {
        LimitHit { name, value, measured: None, unit: String::new(), evidence: String::new() }
    }

    fn row(limit: Limit, mechanism: Option<&str>, kernel: bool) -> Enforcement {
        Enforcement {
            limit,
            value: Some(1),
            mechanism: mechanism.map(str::to_owned),
            scope: Scope::Tree,
            kernel,
            note: None,
            clamped_by: None,
            evadable: false,
        }
    }

    #[test]
    fn a_limit_names_the_flag_that_raises_it_with_a_value_that_can_be_typed() {
        assert_eq!(doubled(&hit(Limit::Memory, 512 << 20)), "--mem 1G");
        assert_eq!(doubled(&hit(Limit::Memory, 256_000_000)), "--mem 500000K");
        assert_eq!(doubled(&hit(Limit::CpuTime, 750_000_000)), "--cpu-time 1500ms");
        assert_eq!(doubled(&hit(Limit::WallTime, 500_000_000)), "--wall-time 1s");
        assert_eq!(doubled(&hit(Limit::Output, 0)), "--output-size 1M");
    }

    #[test]
    fn an_ending_at_a_limit_is_one_line_and_a_hint() {
        let failed = report_of(&Error::sandbox("cannot x"), &[]);
        let report = Report {
            status: Status::MemoryLimit,
            message: "the program used more\nthan 64 MiB".to_owned(),
            limit: Some(hit(Limit::Memory, 64 << 20)),
            failure: None,
            ..failed
        };
        let text = ending(&report).unwrap();
        assert_eq!(text, "sandbox: the program used more\\nthan 64 MiB\nhint: raise it with --mem 128M\n");
        assert_eq!(ending(&Report { status: Status::Ok, ..report }), None);
    }

    #[test]
    fn a_truncated_output_is_said() {
        let failed = report_of(&Error::sandbox("cannot x"), &[]);
        let rows = vec![Enforcement { value: Some(1 << 20), ..row(Limit::Output, Some("pump"), false) }];
        let report =
            Report { status: Status::Ok, limits_hit: vec![Limit::Output], enforcement: rows, failure: None, ..failed };
        let text = ending(&report).unwrap();
        assert_eq!(text, "sandbox: the output was cut off at 1 MiB\nhint: raise it with --output-size 2M\n");
    }

    #[test]
    fn thrown_away_files_are_named_with_what_keeps_them() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let two = ThrownAway { files: 2, names: names(&["a.out", "b"]) };
        assert_eq!(
            thrown_away(&two).unwrap(),
            "sandbox: 2 new files in /box were thrown away (a.out, b): keep them with --out a.out, or --rw .\n"
        );
        let many = ThrownAway { files: 9, names: names(&["a\x1b b", "b", "c", "d"]) };
        let text = thrown_away(&many).unwrap();
        assert!(text.contains("(a\\u{1b} b, b, c, …)") && !text.contains('\x1b'), "{text}");
        assert_eq!(thrown_away(&ThrownAway { files: 0, names: Vec::new() }), None);
    }

    #[test]
    fn weaker_limits_are_one_line_and_strong_ones_none() {
        let strong =
            [row(Limit::Memory, Some("cgroup2 memory.max"), true), row(Limit::WallTime, Some("timerfd"), false)];
        assert_eq!(weaker(&strong), None);
        let weak = [row(Limit::Memory, Some("polling"), false), row(Limit::Cpus, None, false)];
        assert_eq!(
            weaker(&weak).unwrap(),
            "sandbox: weaker limits here: memory by polling, cpus by nothing: 'sandbox check' says why, and what helps\n"
        );
    }
}
