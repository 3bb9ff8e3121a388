//! Words in, words out: the `sandbox` command. Decides nothing about the kernel.

mod args;
mod check;
mod ending;
mod exit;
mod explain;
mod failure;
mod figure;
mod parse;
mod policy;
mod request;
mod run;
mod sink;
mod stats;
mod value;

use crate::error::Error;
use clap::Command;
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

/// A subcommand.
struct Subcommand {
    name: &'static str,
    about: &'static str,
    /// Takes the words behind the name.
    main: fn(&[OsString]) -> ExitCode,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "run", about: "Run one command in a sandbox", main: run::main },
    Subcommand { name: "explain", about: "Say what 'run' would do, and do nothing", main: explain::main },
    Subcommand {
        name: "check",
        about: "Say what this machine can do, and how to mend what it cannot",
        main: check_main,
    },
    Subcommand { name: "policy", about: "List, show, check and compare policies", main: policy::main },
];

fn check_main(words: &[OsString]) -> ExitCode {
    parse::subcommand("check", &check::HELP, words, |args, _| check::run(args))
}

/// The `sandbox` command.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Between us and our own library: not for people.
    if words.first().is_some_and(|word| word == crate::supervise::SPAWNER) {
        return match crate::supervise::enter_spawner() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let Some(first) = words.first() else {
        say(&overview());
        return ExitCode::from(2);
    };
    match named(first) {
        Some(subcommand) => (subcommand.main)(&words[1..]),
        None => without_subcommand(first, &words),
    }
}

fn named(name: &OsStr) -> Option<&'static Subcommand> {
    SUBCOMMANDS.iter().find(|subcommand| name == subcommand.name)
}

/// `--help`, `--version`, `help run`, and everything that is wrong.
fn without_subcommand(first: &OsStr, words: &[OsString]) -> ExitCode {
    match first.to_str() {
        Some("-h" | "--help") => return print(&overview()),
        Some("-V" | "--version") => return print(concat!("sandbox ", env!("CARGO_PKG_VERSION"), "\n")),
        Some("help") => match words.get(1) {
            None => return print(&overview()),
            Some(name) => {
                if let Some(subcommand) = named(name) {
                    return (subcommand.main)(&["--help".into()]);
                }
            }
        },
        _ => {}
    }
    let words = if first == "help" { &words[1..] } else { words };
    let mut grammar =
        Command::new("sandbox").no_binary_name(true).disable_help_subcommand(true).subcommand_required(true);
    for subcommand in SUBCOMMANDS {
        grammar = grammar.subcommand(Command::new(subcommand.name));
    }
    let error = match grammar.try_get_matches_from(words) {
        // An option first: the subcommand was forgotten.
        Err(error) if error.kind() == ErrorKind::UnknownArgument => {
            let shown = words.first().map(|word| word.display().to_string()).unwrap_or_default();
            Error::usage(format!("the option '{shown}' comes behind a command"))
                .hint(format!("did you mean 'sandbox run {shown} …'?"))
        }
        Err(error) => parse::usage_error(&error, "run"),
        Ok(_) => Error::usage("a command comes first"),
    };
    fail(&error)
}

fn overview() -> String {
    let mut text =
        "Run untrusted commands without any privilege, under strict limits, and say truthfully how they ended.\n\n\
        Usage: sandbox COMMAND …\n\nCommands:\n"
            .to_owned();
    for Subcommand { name, about, .. } in SUBCOMMANDS {
        text += &format!("  {name:<9} {about}\n");
    }
    text + "\n\
        Examples:\n\
        \x20 sandbox run ./prog\n\
        \x20 sandbox run --mem 256M --cpu-time 2s -- ./prog <in.txt\n\n\
        'sandbox COMMAND --help' says more.\n"
}

/// Prints what was asked for.
fn print(text: &str) -> ExitCode {
    match write_out(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Writes to stdout. Nobody reading it any more is no failure.
fn write_out(text: &str) -> Result<(), Error> {
    let written = sink::stdout().and_then(|file| sink::Patient(file).write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::sandbox("cannot write to stdout").because(error))
        }
        _ => Ok(()),
    }
}

/// Says something on stderr, in one write. Where that cannot be written there is nobody left to tell.
fn say(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn fail(error: &Error) -> ExitCode {
    say(&ending::error_lines(error));
    ExitCode::from(error.exit_code())
}
