//! `sandbox run`: one run, its report where it was asked for, its lines on stderr, its exit code.

use super::args::RunArgs;
use super::ending;
use super::exit::exit_code;
use super::failure::report_of;
use super::parse::{self, Help};
use super::request::mounts_in_order;
use super::sink::{Sinks, Wanted};
use super::stats::stats;
use super::{print, say};
use crate::error::Error;
use crate::report::Report;
use crate::spec::Spec;
use crate::supervise::Runner;
use clap::FromArgMatches;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

pub(super) const HELP: Help = Help {
    about: "Run one command in a sandbox, under limits, and say truthfully how it ended.",
    usage: "sandbox run [OPTIONS] [--] CMD [ARG]…",
    short_end: "More options, examples and exit codes: sandbox run --help",
    end: "\
Sizes: 256M (or 256MiB) is 2^28 bytes, 256MB is 256 x 10^6; a bare number is bytes.
Times: 1.5s, 500ms, 2m, 1h; a bare number is seconds. A flag given twice: the last one counts.

Inside are the system directories, read-only, and the current directory at /box, writable but
thrown away. There is no network and nothing else of yours.

Examples:
  sandbox run ./prog                                     under the default limits
  sandbox run --mem 256M --cpu-time 2s --json ./prog <in.txt
  sandbox run --out a.out -- g++ -O2 main.cpp            keep one file
  sandbox run --rw . --timeout 5m -- make -j2            keep every change
  sandbox run --dir none --ro data:/data -- python3 -c 'print(open(\"/data/x\").read())'
  sandbox explain --mem 256M ./prog                      what would be done, without doing it

Exit code:
  the command's own, or 128 + N if signal N ended it
  124  the sandbox ended it: a limit, or a refused system call
  125  the sandbox could not run it, or could not write the report
  126  the command cannot be executed     127  there is no such command inside
  130, 143  cancelled by Ctrl-C, by SIGTERM      2  wrong usage",
};

/// The subcommand; `words` start behind its name.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let mut grammar = parse::grammar::<RunArgs>("run");
    let mut matches = match parse::split(&mut grammar, words) {
        Ok(matches) => matches,
        Err(error) => {
            let wanted = Wanted::guess(&grammar, words);
            // A second thing that is wrong with the same words would only hide the first.
            let (sinks, _) = Sinks::open(&wanted);
            return finish(sinks, &report_of(&error, &[]), People { lines: true, stats: false, terminal: false });
        }
    };
    if let Some(text) = parse::help_wanted(grammar, &matches, &HELP) {
        return print(&text);
    }
    let mounts = mounts_in_order(&matches);
    let args = match RunArgs::from_arg_matches_mut(&mut matches) {
        Ok(args) => args,
        Err(error) => return super::fail(&parse::usage_error(&error, "run")),
    };
    // As the grammar: its pieces are not worth freeing one by one.
    std::mem::forget(matches);
    let wanted = Wanted::from(&args.result);
    let people = People {
        lines: !args.result.quiet && !wanted.any(),
        stats: args.result.stats,
        terminal: !args.result.quiet && !wanted.json,
    };
    let command = args.command.clone();
    let (sinks, trouble) = Sinks::open(&wanted);
    let ended = match trouble {
        Some(error) => Err(error),
        None => args.into_spec(mounts).and_then(|spec| run(&spec)),
    };
    let report = ended.unwrap_or_else(|error| report_of(&error, &command));
    finish(sinks, &report, people)
}

fn run(spec: &Spec) -> Result<Report, Error> {
    Runner::direct()?.run(spec)
}

/// What people are told besides errors.
#[derive(Clone, Copy)]
struct People {
    /// How it ended, where that needs saying.
    lines: bool,
    /// The summary.
    stats: bool,
    /// What is said on a terminal only.
    terminal: bool,
}

fn finish(sinks: Sinks, report: &Report, people: People) -> ExitCode {
    let written = sinks.write(report);
    let mut text = String::new();
    if people.lines || ending::is_error(report.status) {
        text += &ending::ending(report).unwrap_or_default();
    }
    text += &ending::not_collected(report);
    if people.stats {
        text += &stats(report);
    }
    let worth_saying =
        || [report.thrown_away.as_ref().and_then(ending::thrown_away), ending::weaker(&report.enforcement)];
    if people.terminal {
        let lines = worth_saying().into_iter().flatten().collect::<String>();
        if !lines.is_empty() && std::io::stderr().is_terminal() {
            text += &lines;
        }
    }
    if let Err(error) = &written {
        text += &ending::error_lines(error);
    }
    say(&text);
    match written {
        Ok(()) => ExitCode::from(exit_code(report)),
        Err(_) => ExitCode::from(125),
    }
}
