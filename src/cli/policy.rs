//! `sandbox policy`: which policies there are, what one says, whether a file is one, and how two differ. Lays out what the
//! library knows; decides nothing.

use super::parse::{self, Help};
use crate::error::Error;
use crate::plan::filter::{Setting, compile_for};
use crate::spec::calls::{Arch, Call};
use crate::spec::policy::show::call_words;
use crate::spec::policy::words::nearest;
use crate::spec::policy::{Answer, Table};
use crate::spec::{Network, Policy};
use clap::Args;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

/// A command beneath `policy`.
struct Beneath {
    name: &'static str,
    about: &'static str,
    main: fn(&[OsString]) -> ExitCode,
}

const COMMANDS: [Beneath; 4] = [
    Beneath { name: "list", about: "The built-in policies", main: list_main },
    Beneath {
        name: "show",
        about: "A policy as one file, with all that it extends; or what one call gets",
        main: show_main,
    },
    Beneath { name: "check", about: "Whether a policy can be used, and how large its filters are", main: check_main },
    Beneath { name: "diff", about: "What a second policy does otherwise than a first one", main: diff_main },
];

const POLICY: &str = "\
A POLICY is the name of a built-in one, or a file: a word with a / or that ends in .toml.";

#[derive(Args, Debug)]
#[group(skip)]
struct NoArgs {}

#[derive(Args, Debug)]
#[group(skip)]
struct ShowArgs {
    /// What this system call gets, and why, instead of everything; repeatable
    #[arg(long = "call", value_name = "NAME")]
    calls: Vec<String>,

    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    policies: PoliciesArgs,
}

#[derive(Args, Debug)]
#[group(skip)]
struct DiffArgs {
    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    policies: PoliciesArgs,
}

#[derive(Args, Debug)]
#[group(skip)]
struct NetworkArgs {
    /// With this network: none, blocked or host [none]
    #[arg(long, visible_alias = "network", value_name = "NET", hide_possible_values = true, hide_default_value = true,
          value_parser = super::value::network(), default_value = "none")]
    net: Network,
}

#[derive(Args, Debug)]
#[group(skip)]
struct PoliciesArgs {
    #[arg(value_name = "POLICY", hide = true)]
    policies: Vec<OsString>,
}

impl PoliciesArgs {
    /// Exactly `N` of them.
    fn exactly<const N: usize>(self, command: &str) -> Result<[Policy; N], Error> {
        let given = self.policies.len();
        let policies = self.policies.iter().map(|words| Policy::named(words)).collect::<Result<Vec<_>, _>>()?;
        policies.try_into().map_err(|_| {
            let wanted = ["POLICY"; N].join(" ");
            Error::usage(format!("'sandbox policy {command}' wants {wanted}, and {given} were given"))
                .hint(format!("write sandbox policy {command} {wanted}"))
        })
    }
}

/// The subcommand; `words` start behind its name.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let Some(first) = words.first() else {
        super::say(&overview());
        return ExitCode::from(2);
    };
    if first == "--help" || first == "-h" {
        return super::print(&overview());
    }
    if let Some(command) = COMMANDS.iter().find(|command| first == command.name) {
        return (command.main)(&words[1..]);
    }
    let shown = first.display();
    let unknown = Error::usage(format!("there is no command 'policy {shown}'"));
    super::fail(&match nearest(&shown.to_string(), COMMANDS.map(|command| command.name)) {
        Some(near) => unknown.hint(format!("did you mean 'sandbox policy {near}'?")),
        None => unknown.hint("'sandbox policy --help' lists them"),
    })
}

fn overview() -> String {
    let mut text = "List, show, check and compare system-call policies.\n\n\
        Usage: sandbox policy COMMAND …\n\nCommands:\n"
        .to_owned();
    for Beneath { name, about, .. } in &COMMANDS {
        text += &format!("  {name:<6} {about}\n");
    }
    text + "\n"
        + POLICY
        + "\n\n\
        Examples:\n\
        \x20 sandbox policy show run >mine.toml    start one of your own\n\
        \x20 sandbox policy check mine.toml\n\
        \x20 sandbox policy diff default mine.toml\n\
        \x20 sandbox policy show tight --call futex\n"
}

fn list_main(words: &[OsString]) -> ExitCode {
    const HELP: Help =
        Help { about: "List the built-in policies.", usage: "sandbox policy list", short_end: "", end: "" };
    parse::subcommand("policy list", &HELP, words, |_: NoArgs, _| Ok(super::print(&list()?)))
}

fn show_main(words: &[OsString]) -> ExitCode {
    const HELP: Help = Help {
        about: "Print a policy as one file, with all that it extends.",
        usage: "sandbox policy show [OPTIONS] POLICY",
        short_end: POLICY,
        end: POLICY,
    };
    parse::subcommand("policy show", &HELP, words, |args: ShowArgs, _| {
        let [policy] = args.policies.exactly("show")?;
        let text = match args.calls.as_slice() {
            [] => policy.to_toml(args.network.net),
            calls => show_calls(&policy, args.network.net, calls)?,
        };
        Ok(super::print(&text))
    })
}

fn check_main(words: &[OsString]) -> ExitCode {
    const HELP: Help = Help {
        about: "Say whether a policy can be used, and how large its filters are.",
        usage: "sandbox policy check POLICY",
        short_end: POLICY,
        end: POLICY,
    };
    parse::subcommand("policy check", &HELP, words, |args: PoliciesArgs, _| {
        let [policy] = args.exactly("check")?;
        Ok(super::print(&check(&policy)?))
    })
}

fn diff_main(words: &[OsString]) -> ExitCode {
    const HELP: Help = Help {
        about: "Say what the second policy does otherwise than the first.",
        usage: "sandbox policy diff [OPTIONS] POLICY POLICY",
        short_end: POLICY,
        end: "\
A POLICY is the name of a built-in one, or a file: a word with a / or that ends in .toml.

Exit code: 0 where they do the same, 1 where they differ.",
    };
    parse::subcommand("policy diff", &HELP, words, |args: DiffArgs, _| {
        let [first, second] = args.policies.exactly("diff")?;
        let text = diff(&first, &second, args.network.net);
        super::write_out(&text)?;
        Ok(ExitCode::from(u8::from(!text.is_empty())))
    })
}

fn list() -> Result<String, Error> {
    let mut text = String::new();
    for name in Policy::names() {
        let policy = Policy::builtin(name)?;
        let allowed = policy.calls(Network::None).allowed().len();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<8} {allowed:>3} calls  {}", policy.about);
    }
    Ok(text)
}

fn known_call(name: &str) -> Result<Call, Error> {
    Call::named(name).ok_or_else(|| {
        let error = Error::usage(format!("'{}' is no system call", name.escape_debug()));
        match nearest(name, Call::all().map(Call::name)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error,
        }
    })
}

fn show_calls(policy: &Policy, network: Network, calls: &[String]) -> Result<String, Error> {
    let table = policy.calls(network);
    let mut text = String::new();
    for name in calls {
        let rules = table.rules_of(known_call(name)?);
        let _ = writeln!(text, "{name}: {}", call_words(table, rules));
        for rule in rules {
            let _ = writeln!(text, "    {}", table.reason(rule));
        }
    }
    Ok(text)
}

/// Compiles everything that a run with this policy could need, here or on the other architecture.
fn check(policy: &Policy) -> Result<String, Error> {
    let table = policy.calls(Network::None);
    let mut text = format!("{} can be used.\n\n", policy.name);
    let _ = writeln!(text, "allows    {} system calls", table.allowed().len());
    let (mut refused, mut killed) = (0, 0);
    for call in Call::all().filter(|call| !call.is_foreign() && !table.can_allow(*call)) {
        match table.answer(call, &[0; 6]) {
            Answer::Refuse(_) => refused += 1,
            Answer::Kill => killed += 1,
            Answer::Allow | Answer::Errno(_) => {}
        }
    }
    let _ = writeln!(text, "refuses   {refused} and names them in the report");
    let _ = writeln!(text, "kills     for {killed} more");
    for arch in Arch::ALL {
        let mut sizes = Vec::new();
        for network in [Network::None, Network::Host] {
            let setting = Setting { network, refuse_memfd: true, notify: true };
            let filters = compile_for(arch, policy, setting)?;
            compile_for(arch, policy, Setting { notify: false, ..setting })?;
            sizes.push(filters.listener.map_or(0, |program| program.len()) + filters.main.len());
        }
        let largest = sizes.iter().max().copied().unwrap_or_default();
        let _ = writeln!(text, "filters   at most {largest} instructions on {}", arch.name());
    }
    let blocked = Setting { network: Network::Blocked, refuse_memfd: false, notify: true };
    if let Err(error) = compile_for(Arch::NATIVE, policy, blocked) {
        let _ = writeln!(text, "note      not with --net blocked: {error}");
    }
    let default = Policy::default();
    let beyond: Vec<&str> = (table.allowed().into_iter())
        .filter(|call| !default.calls(Network::None).can_allow(*call))
        .map(Call::name)
        .collect();
    if !beyond.is_empty() {
        let _ = writeln!(text, "note      allows what default does not: {}", beyond.join(", "));
    }
    Ok(text)
}

fn rules_by_call(table: &Table) -> BTreeMap<&'static str, String> {
    let known = Call::all().filter(|call| !call.is_foreign());
    known.map(|call| (call.name(), call_words(table, table.rules_of(call)))).collect()
}

/// Lines of `-` and `+`; empty where both do the same.
fn diff(first: &Policy, second: &Policy, network: Network) -> String {
    let mut text = String::new();
    let mut both = |what: &str, old: Option<String>, new: Option<String>| {
        if old == new {
            return;
        }
        if let Some(old) = old {
            let _ = writeln!(text, "- {what}: {old}");
        }
        if let Some(new) = new {
            let _ = writeln!(text, "+ {what}: {new}");
        }
    };
    let limits = |policy: &Policy| policy.limit_words().into_iter().collect::<BTreeMap<_, _>>();
    let (old, new) = (limits(first), limits(second));
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        both(name, old.get(name).cloned(), new.get(name).cloned());
    }
    let env = |policy: &Policy| policy.env.iter().cloned().collect::<BTreeMap<String, String>>();
    let (old, new) = (env(first), env(second));
    for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
        both(&format!("env {name}"), old.get(name).cloned(), new.get(name).cloned());
    }
    let (old, new) = (first.file_words(), second.file_words());
    for words in &old {
        both("files", Some(words.clone()), new.contains(words).then(|| words.clone()));
    }
    for words in new.iter().filter(|words| !old.contains(words)) {
        both("files", None, Some(words.clone()));
    }
    let (old, new) = (rules_by_call(first.calls(network)), rules_by_call(second.calls(network)));
    for (name, words) in old {
        both(name, Some(words), new.get(name).cloned());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_differs_from_itself_in_nothing_and_from_another_in_what_it_says() {
        let default = Policy::default();
        assert_eq!(diff(&default, &default, Network::None), "");
        let own = "extends = \"default\"\n[limits]\nmem = \"1G\"\n[files]\ntmpfs = \"/t\"\n[env]\nA = \"b\"\n\
                   [[calls]]\nnames = [\"mkdir\"]\nanswer = \"EROFS\"\nreason = \"no directories\"\n";
        let own = Policy::parse(own, "own").unwrap();
        assert_eq!(
            diff(&default, &own, Network::None),
            "- mem: \"512M\"\n+ mem: \"1G\"\n+ env A: b\n+ files: tmpfs /t\n- mkdir: allow\n+ mkdir: EROFS\n"
        );
    }

    #[test]
    fn every_built_in_policy_can_be_used() {
        for name in Policy::names() {
            let text = check(&Policy::builtin(name).unwrap()).unwrap();
            assert!(text.starts_with(&format!("{name} can be used.")), "{text}");
            assert!(!text.contains("note"), "{text}");
        }
    }

    #[test]
    fn a_call_is_explained_in_one_line() {
        let shown = |call: &str| show_calls(&Policy::default(), Network::None, &[call.to_owned()]);
        assert_eq!(shown("read").unwrap().lines().next(), Some("read: allow"));
        assert_eq!(
            shown("personality").unwrap().lines().next(),
            Some("personality: allow if persona in [0, ADDR_NO_RANDOMIZE, 0xffffffff]; else refuse")
        );
        assert_eq!(shown("raed").unwrap_err().hint_text(), Some("did you mean 'read'?"));
    }
}
