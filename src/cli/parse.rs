//! The command line's grammar: clap does the splitting, and what it finds wrong becomes an `Error` in our words.
//!
//! Only the arguments of the one subcommand are built (a start is counted in microseconds); texts for help are added
//! when somebody asks for them.

use super::{fail, print};
use crate::error::Error;
use clap::builder::ArgAction;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, Command};
use std::ffi::OsString;
use std::process::ExitCode;

const LONG_HELP: &str = "help";
const SHORT_HELP: &str = "short-help";

/// What `-h` and `--help` say around the list of options.
pub(super) struct Help {
    /// One sentence.
    pub(super) about: &'static str,
    /// The line behind `Usage:`.
    pub(super) usage: &'static str,
    /// What follows the list in `-h`.
    pub(super) short_end: &'static str,
    /// What follows the list in `--help`.
    pub(super) end: &'static str,
}

/// The grammar of the subcommand `name`.
pub(super) fn grammar<A: Args>(name: &'static str) -> Command {
    A::augment_args(Command::new(name))
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .no_binary_name(true)
        .arg(Arg::new(LONG_HELP).long("help").action(ArgAction::SetTrue).hide(true))
        .arg(Arg::new(SHORT_HELP).short('h').action(ArgAction::SetTrue).hide(true))
}

/// Splits `words`, which start behind the subcommand's name.
///
/// # Errors
/// A usage error that names the word.
pub(super) fn split(grammar: &mut Command, words: &[OsString]) -> Result<ArgMatches, Error> {
    grammar.try_get_matches_from_mut(words).map_err(|error| usage_error(&error, grammar.get_name()))
}

/// A whole subcommand: splits, answers `-h` and `--help`, and gives the rest to `run`, which returns its exit code.
pub(super) fn subcommand<A: Args>(
    name: &'static str,
    help: &Help,
    words: &[OsString],
    run: impl FnOnce(A, &ArgMatches) -> Result<ExitCode, Error>,
) -> ExitCode {
    let mut grammar = grammar::<A>(name).bin_name(format!("sandbox {name}"));
    let matches = match grammar.try_get_matches_from_mut(words) {
        Ok(matches) => matches,
        // Of a subcommand beneath this one.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return print(&error.to_string()),
        Err(error) => return fail(&usage_error(&error, name)),
    };
    if let Some(text) = help_wanted(grammar, &matches, help) {
        return print(&text);
    }
    A::from_arg_matches(&matches)
        .map_err(|error| usage_error(&error, name))
        .and_then(|args| run(args, &matches))
        .unwrap_or_else(|error| fail(&error))
}

/// The text that `-h` or `--help` asks for, where one of them was given.
pub(super) fn help_wanted(grammar: Command, matches: &ArgMatches, help: &Help) -> Option<String> {
    let long = matches.get_flag(LONG_HELP);
    if long || matches.get_flag(SHORT_HELP) {
        return Some(help_text(grammar, help, long));
    }
    // One per process, of some hundred pieces: the kernel takes them back faster.
    std::mem::forget(grammar);
    None
}

/// The help of a subcommand: all options, or without those that are hidden from `-h`.
pub(super) fn help_text(grammar: Command, help: &Help, long: bool) -> String {
    let end = if long { help.end } else { help.short_end };
    let end = if end.is_empty() { String::new() } else { format!("\n{end}\n") };
    let mut command = grammar.about(help.about).override_usage(help.usage).max_term_width(110);
    if long {
        // Clap's own long form puts every sentence on a line of its own: twice the length for nothing.
        command = command.mut_args(|arg| arg.hide_short_help(false));
    }
    command = command.help_template("{about}\n\nUsage: {usage}\n\n{all-args}\n");
    format!("{}\n{end}", command.render_help().to_string().trim_end())
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

/// `--mem` of `--mem <SIZE>`.
fn flag_of(invalid: &str) -> &str {
    invalid.split([' ', '=']).next().unwrap_or(invalid)
}

/// `a`, `a or b`, `a, b or c`.
fn alternatives(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What clap found wrong, in our words.
pub(super) fn usage_error(error: &clap::Error, command: &str) -> Error {
    let invalid = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let flag = flag_of(&invalid);
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let see_help = format!("'sandbox {command} --help' lists the options");
    match error.kind() {
        ErrorKind::UnknownArgument if !invalid.starts_with('-') => {
            Error::usage(format!("'{invalid}' is one word too many")).hint(see_help)
        }
        ErrorKind::UnknownArgument => {
            let unknown = Error::usage(format!("there is no option '{flag}'"));
            // Clap's likeness takes --ro for near to --frobnicate.
            let alike = |near: &String| near.len().abs_diff(flag.len()) <= 3 || near.starts_with(flag);
            match text(error, ContextKind::SuggestedArg).filter(alike) {
                Some(near) => unknown.hint(format!("did you mean {near}?")),
                None => unknown.hint(see_help),
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            Error::usage(format!("{flag} needs a value")).hint(format!("write {}", invalid.replacen(" <", "=<", 1)))
        }
        ErrorKind::InvalidValue => {
            let valid = texts(error, ContextKind::ValidValue);
            let hint = match text(error, ContextKind::SuggestedValue) {
                Some(near) => format!("did you mean {near}? it can be {}", alternatives(&valid)),
                None => format!("it can be {}", alternatives(&valid)),
            };
            Error::usage(format!("{flag}: '{value}' is not known")).hint(hint)
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // Our sentences end in their advice.
            match cause.split_once(": write ") {
                Some((wrong, advice)) => Error::usage(format!("{flag}: {wrong}")).hint(format!("write {advice}")),
                None => Error::usage(format!("{flag}: {cause}")),
            }
        }
        ErrorKind::TooManyValues => Error::usage(format!("{flag} takes no value, and '{value}' is one")),
        ErrorKind::InvalidSubcommand => {
            let unknown = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let wrong = Error::usage(format!("there is no command '{unknown}'"));
            match text(error, ContextKind::SuggestedSubcommand) {
                Some(near) => wrong.hint(format!("did you mean 'sandbox {near}'?")),
                None => wrong.hint(format!("to run it in the sandbox: sandbox run -- {unknown}")),
            }
        }
        // Kinds that this grammar does not use: clap's own first line, without its prefix.
        _ => {
            let all = error.to_string();
            let line = all.lines().next().unwrap_or_default();
            Error::usage(line.strip_prefix("error: ").unwrap_or(line)).hint(see_help)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::RunArgs;
    use crate::cli::explain::ExplainArgs;

    #[test]
    fn the_grammars_are_sound() {
        grammar::<RunArgs>("run").debug_assert();
        grammar::<ExplainArgs>("explain").debug_assert();
    }

    #[test]
    fn every_word_behind_the_command_is_the_commands() {
        let words = ["-m", "1M", "./prog", "--mem", "-x", "--", "--help"].map(OsString::from);
        let matches = split(&mut grammar::<RunArgs>("run"), &words).unwrap();
        let command: Vec<_> = matches.get_many::<OsString>("command").unwrap().collect();
        assert_eq!(command, ["./prog", "--mem", "-x", "--", "--help"]);
        assert!(!matches.get_flag(LONG_HELP));
        let words = ["--", "-x"].map(OsString::from);
        let matches = split(&mut grammar::<RunArgs>("run"), &words).unwrap();
        assert_eq!(matches.get_one::<OsString>("command").unwrap(), "-x");
    }

    #[test]
    fn an_empty_word_as_command_is_kept() {
        let words = ["", "a"].map(OsString::from);
        let matches = split(&mut grammar::<RunArgs>("run"), &words).unwrap();
        assert_eq!(matches.get_many::<OsString>("command").unwrap().count(), 2);
    }
}
