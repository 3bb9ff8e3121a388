//! One parser per kind of value on the command line: words to a type that cannot be wrong.
//!
//! Every word is taken as it came (an `OsString`): a path may be any bytes, and what must be text says so itself.

use crate::spec::{
    Bytes, Cap, CgroupChoice, Collect, CpuRate, CpuSet, Hostname, InsidePath, Millis, Mount, Network, Overflow,
    PathPair, Work, parse_cgroup, parse_collect, parse_tmpfs,
};
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

/// Why a word was refused; a sentence that names the word, with the advice behind `: write`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadWord(String);

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadWord {}

/// `--env`: a variable and its value, or one to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// `K=V`
    Set(OsString, OsString),
    /// `K`
    PassOn(OsString),
}

/// Anything with `FromStr` whose error is a sentence.
fn text<T>(words: &OsStr) -> Result<T, BadWord>
where
    T: FromStr<Err: fmt::Display>,
{
    let Some(text) = words.to_str() else {
        return Err(BadWord(format!("'{}' is not UTF-8", words.display())));
    };
    if text.is_empty() {
        return Err(BadWord("the value is empty".to_owned()));
    }
    // A minus is read as an option by most commands: say what is wrong with it before the unit's own complaint.
    if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(BadWord(format!("'{text}' is negative: write a number without a minus, or 'unlimited'")));
    }
    text.parse().map_err(|e: T::Err| BadWord(e.to_string()))
}

macro_rules! parsers {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $parse:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name() -> impl TypedValueParser<Value = $type> {
            OsStringValueParser::new().try_map(|words: OsString| -> Result<$type, BadWord> { $parse(&words) })
        }
    )*};
}

parsers! {
    /// A size, or `unlimited`.
    size: Cap<Bytes> = text;
    /// A time, or `unlimited`.
    time: Cap<Millis> = text;
    /// A whole number, or `unlimited`.
    count: Cap<u64> = text;
    /// A number of CPUs, or `unlimited`.
    cpus: Cap<CpuRate> = text;
    /// CPU numbers.
    cpu_set: CpuSet = text;
    /// A host name.
    hostname: Hostname = text;
    /// `PATH[:INSIDE]`
    pair: PathPair = |words: &OsStr| PathPair::parse(words).map_err(sentence);
    /// `INSIDE[:SIZE]`
    tmpfs: Mount = |words: &OsStr| parse_tmpfs(words).map_err(sentence);
    /// `PATH[:DEST]`
    collect: Collect = |words: &OsStr| parse_collect(words).map_err(sentence);
    /// A path inside.
    inside: InsidePath = |words: &OsStr| InsidePath::new(words).map_err(sentence);
    /// A cgroup choice.
    cgroup: CgroupChoice = |words: &OsStr| parse_cgroup(words).map_err(sentence);
    /// `PATH` or `none`.
    work: Work = parse_work;
    /// `K=V` or `K`.
    variable: Variable = parse_variable;
    /// A host file.
    file: PathBuf = parse_file;
    /// A descriptor number.
    descriptor: i32 = parse_descriptor;
}

fn sentence(error: impl fmt::Display) -> BadWord {
    BadWord(error.to_string())
}

fn parse_file(words: &OsStr) -> Result<PathBuf, BadWord> {
    if words.is_empty() { Err(BadWord("the path is empty".to_owned())) } else { Ok(words.into()) }
}

fn parse_work(words: &OsStr) -> Result<Work, BadWord> {
    if words == "none" { Ok(Work::Empty) } else { parse_file(words).map(Work::Dir) }
}

fn parse_variable(words: &OsStr) -> Result<Variable, BadWord> {
    let bytes = words.as_bytes();
    let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    if name.is_empty() {
        let shown = words.display();
        return Err(BadWord(format!("'{shown}' names no variable: write NAME=VALUE, or NAME to pass yours on")));
    }
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    Ok(match value {
        Some(value) => Variable::Set(own(name), own(value)),
        None => Variable::PassOn(own(name)),
    })
}

fn parse_descriptor(words: &OsStr) -> Result<i32, BadWord> {
    let bad = || BadWord(format!("'{}' is no descriptor: write the number of one that is open", words.display()));
    words.to_str().and_then(|text| text.parse().ok()).filter(|number| *number >= 0).ok_or_else(bad)
}

/// `none`, `blocked` or `host`.
pub(super) fn network() -> impl TypedValueParser<Value = Network> {
    PossibleValuesParser::new(["none", "blocked", "host"]).map(|word| match word.as_str() {
        "blocked" => Network::Blocked,
        "host" => Network::Host,
        _ => Network::None,
    })
}

/// `kill` or `truncate`.
pub(super) fn overflow() -> impl TypedValueParser<Value = Overflow> {
    PossibleValuesParser::new(["kill", "truncate"]).map(|word| match word.as_str() {
        "truncate" => Overflow::Truncate,
        _ => Overflow::Kill,
    })
}

/// `pipe` or `inherit`: whether the caller's descriptors themselves are handed over.
pub(super) fn hand_over() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["pipe", "inherit"]).map(|word| word == "inherit")
}

/// `kernel-limits`.
pub(super) fn requirement() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["kernel-limits"]).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_is_called_negative() {
        let error = text::<Cap<Bytes>>(OsStr::new("-5M")).unwrap_err();
        assert!(error.to_string().starts_with("'-5M' is negative"), "{error}");
    }

    #[test]
    fn a_variable_splits_at_the_first_equals_sign_and_need_not_be_text() {
        let set = parse_variable(OsStr::from_bytes(b"A=b=\xff")).unwrap();
        assert_eq!(set, Variable::Set("A".into(), OsString::from_vec(b"b=\xff".to_vec())));
        assert_eq!(parse_variable(OsStr::new("HOME")).unwrap(), Variable::PassOn("HOME".into()));
        assert_eq!(parse_variable(OsStr::new("A=")).unwrap(), Variable::Set("A".into(), "".into()));
        assert!(parse_variable(OsStr::new("=b")).is_err());
        assert!(parse_variable(OsStr::new("")).is_err());
    }

    #[test]
    fn none_is_an_empty_work_directory_and_a_dot_is_a_directory() {
        assert_eq!(parse_work(OsStr::new("none")).unwrap(), Work::Empty);
        assert_eq!(parse_work(OsStr::new(".")).unwrap(), Work::Dir(".".into()));
        assert!(parse_work(OsStr::new("")).is_err());
    }
}
