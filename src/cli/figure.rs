//! Figures and names as a person reads them; and text that came from a program made fit for a terminal.

use crate::report::Enforcement;
use crate::spec::{Bytes, CpuRate, Limit};
use std::fmt::Write as _;

/// A limit's value in its own unit.
pub(super) fn quantity(limit: Limit, value: u64) -> String {
    match limit {
        Limit::Memory | Limit::Output | Limit::FileSize | Limit::Disk | Limit::Stack | Limit::Core => bytes(value),
        Limit::CpuTime | Limit::WallTime | Limit::IdleTime => seconds(value),
        Limit::Processes | Limit::Inodes | Limit::OpenFiles | Limit::CpuSet => value.to_string(),
        Limit::Cpus => CpuRate::new(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
    }
}

/// What a row allows: `512 MiB`, `unlimited`.
pub(super) fn allowed(row: &Enforcement) -> String {
    match row.value {
        Some(value) => quantity(row.limit, value),
        None if row.limit == Limit::CpuSet && row.mechanism.is_some() => "as listed".to_owned(),
        None => "unlimited".to_owned(),
    }
}

/// `3.4 MiB`, `1 byte`.
pub(super) fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { Bytes::new(count).to_string() }
}

/// Nanoseconds as seconds: `10 s`, `0.012 s`.
pub(super) fn seconds(nanos: u64) -> String {
    let millis = nanos.saturating_add(500_000) / 1_000_000;
    match (millis / 1000, millis % 1000) {
        (whole, 0) => format!("{whole} s"),
        (whole, rest) => format!("{whole}.{rest:03} s"),
    }
}

/// Words of a command or a program without anything that moves a cursor or ends a line.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        // Bidirectional overrides reorder what follows them.
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders {
            let _ = write!(plain, "{}", c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A file name as one word of a shell and of `--out`, whose colon is `\:`.
pub(super) fn out_word(name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace(':', "\\:");
    let safe = |c: char| c.is_alphanumeric() || "/._-+,@%".contains(c);
    if !escaped.is_empty() && escaped.chars().all(safe) && !escaped.starts_with('-') {
        escaped
    } else {
        format!("'{}'", escaped.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_a_person_writes_them() {
        assert_eq!(quantity(Limit::Memory, 512 << 20), "512 MiB");
        assert_eq!(quantity(Limit::Core, 1), "1 byte");
        assert_eq!(quantity(Limit::CpuTime, 10_000_000_000), "10 s");
        assert_eq!(quantity(Limit::WallTime, 1_234_567_890), "1.235 s");
        assert_eq!(quantity(Limit::Cpus, 500), "0.5");
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(plain("größe"), "größe");
    }

    #[test]
    fn a_name_is_one_word_for_a_shell() {
        assert_eq!(out_word("a.out"), "a.out");
        assert_eq!(out_word("a b"), "'a b'");
        assert_eq!(out_word("a:b"), "'a\\:b'");
        assert_eq!(out_word("it's"), "'it'\\''s'");
        assert_eq!(out_word("-x"), "'-x'");
    }
}
