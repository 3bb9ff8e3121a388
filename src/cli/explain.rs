//! `sandbox explain`: the plan of a run in words, on this machine or on one that `sandbox check --json` described.

use super::args::RunArgs;
use super::figure::{allowed, plain};
use super::parse::{self, Help};
use super::print;
use super::request::mounts_in_order;
use super::stats::{aligned, enforcer};
use crate::error::Error;
use crate::host::Host;
use crate::plan::words::describe_with;
use crate::plan::{Plan, Shown, Step, plan};
use crate::report::{Enforcement, Isolation, Scope};
use crate::spec::{Limit, Overflow, Spec};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,

    /// Plan for the machine of this file, which 'sandbox check --json' printed there
    #[arg(long, value_name = "FILE", help_heading = "Explain", value_parser = super::value::file())]
    pub(super) host: Option<PathBuf>,
}

const HELP: Help = Help {
    about: "Say in words what 'sandbox run' with the same options would do here, and do nothing.",
    usage: "sandbox explain [OPTIONS] [--] CMD [ARG]…",
    short_end: "All options: sandbox explain --help",
    end: "\
With --json the same in JSON.

Examples:
  sandbox explain ./prog
  sandbox explain --mem 256M --net blocked --host judge-7.json ./prog",
};

/// The subcommand; `words` start behind its name.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    parse::subcommand("explain", &HELP, words, |args: ExplainArgs, matches| {
        let json = args.run.result.json;
        let spec = args.run.into_spec(mounts_in_order(matches))?;
        let host = args.host.as_deref().map_or_else(Host::probe, described)?;
        let plan = plan(&spec, &host)?;
        Ok(print(&if json { in_json(&spec, &plan)? } else { in_words(&spec, &plan) }))
    })
}

/// The machine that a `check --json` file describes.
fn described(file: &Path) -> Result<Host, Error> {
    #[derive(Deserialize)]
    struct Check {
        schema: u32,
        host: Host,
    }
    let text = std::fs::read(file).map_err(|e| Error::sandbox(format!("cannot read {}", file.display())).because(e))?;
    let wrong = || Error::usage(format!("{} does not describe a machine", file.display()));
    let hint = "make it there with: sandbox check --json";
    let check: Check = serde_json::from_slice(&text).map_err(|e| wrong().because(e).hint(hint))?;
    if check.schema != 1 {
        return Err(wrong().because(format!("its schema is {}, and this version reads 1", check.schema)).hint(hint));
    }
    Ok(check.host)
}

/// The plan as JSON: what a program would ask of it.
fn in_json(spec: &Spec, plan: &Plan) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Explained<'a> {
        schema: u32,
        job: &'a Spec,
        isolation: &'a Isolation,
        enforcement: &'a [Enforcement],
        shown: Vec<ShownRow<'a>>,
        room: Vec<String>,
        payload: Vec<String>,
        notes: &'a [String],
    }
    #[derive(Serialize)]
    struct ShownRow<'a> {
        outside: std::borrow::Cow<'a, str>,
        inside: std::borrow::Cow<'a, str>,
        writable: bool,
    }
    let words = |steps: &[Step]| steps.iter().map(|step| describe_with(step, &plan.host_trees)).collect();
    let explained = Explained {
        schema: 1,
        job: spec,
        isolation: &plan.isolation,
        enforcement: &plan.enforcements,
        shown: plan
            .shown
            .iter()
            .map(|shown| ShownRow {
                outside: shown.outside.to_string_lossy(),
                inside: shown.inside.to_string_lossy(),
                writable: shown.writable,
            })
            .collect(),
        room: words(&plan.room),
        payload: words(&plan.payload),
        notes: &plan.notes,
    };
    let json = serde_json::to_string(&explained).map_err(|e| Error::sandbox("cannot write the plan").because(e))?;
    Ok(json + "\n")
}

fn in_words(spec: &Spec, plan: &Plan) -> String {
    let mut text = String::new();
    section(&mut text, None, &aligned(&isolation_rows(spec, plan)));

    let head = ["limit", "value", "enforced by", "of", "at the limit"].map(str::to_owned);
    let limits: Vec<_> = plan.enforcements.iter().map(|row| limit_row(row, spec.overflow)).collect();
    let rows: Vec<_> = std::iter::once(head).chain(limits).collect();
    section(&mut text, Some("Limits"), &aligned(&rows));
    let notes: Vec<String> = plan
        .enforcements
        .iter()
        .filter_map(|row| row.note.as_ref().map(|note| format!("{}: {}", name(row.limit), plain(note))))
        .collect();
    section(&mut text, Some("About these limits"), &notes);

    let shown = |shown: &Shown| {
        let how = if shown.writable { "writes reach the host" } else { "" };
        [plain(&shown.inside.to_string_lossy()), plain(&shown.outside.to_string_lossy()), how.to_owned()]
    };
    let shown: Vec<_> = plan.shown.iter().map(shown).collect();
    section(&mut text, Some("Shown inside, and what it is outside"), &aligned(&shown));
    let kept: Vec<String> = plan
        .collect
        .iter()
        .map(|collect| {
            let to = &collect.to;
            format!("{} to {}", plain(&collect.from.to_string_lossy()), plain(&to.to_string_lossy()))
        })
        .collect();
    section(&mut text, Some("Brought out"), &kept);

    section(&mut text, Some("Steps that make the room"), &numbered(&plan.room, plan));
    section(&mut text, Some("Steps that make the payload"), &numbered(&plan.payload, plan));
    let notes: Vec<String> = plan.notes.iter().map(|note| plain(note)).collect();
    section(&mut text, Some("Notes"), &notes);
    text
}

fn section(text: &mut String, title: Option<&str>, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let indent = match title {
        Some(title) => {
            let _ = writeln!(text, "\n{title}");
            "  "
        }
        None => "",
    };
    for line in lines {
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn numbered(steps: &[Step], plan: &Plan) -> Vec<String> {
    let words = steps.iter().map(|step| plain(&describe_with(step, &plan.host_trees)));
    words.enumerate().map(|(index, words)| format!("{:>3}  {words}", index + 1)).collect()
}

fn isolation_rows(spec: &Spec, plan: &Plan) -> Vec<[String; 2]> {
    let row = |head: &str, words: String| [head.to_owned(), words];
    let isolation = &plan.isolation;
    let command: Vec<_> = spec.command().iter().map(|word| plain(&word.to_string_lossy())).collect();
    let ids = &plan.id_map;
    let mut rows = vec![
        row("command", command.join(" ")),
        row(
            "identity",
            format!(
                "uid {} inside is {} outside, gid {} is {}",
                ids.inner_uid, ids.outer_uid, ids.inner_gid, ids.outer_gid
            ),
        ),
        row("namespaces", isolation.namespaces.join(", ")),
        row("network", isolation.network.clone()),
        row("system calls", format!("policy {}", plain(&isolation.policy))),
        row(
            "Landlock",
            isolation.landlock_abi.map_or_else(|| "not in force".to_owned(), |level| format!("level {level}")),
        ),
        row("/proc", isolation.proc.clone()),
        row(
            "/box",
            match &plan.work {
                Some(work) => format!("{}, {}", plain(&work.to_string_lossy()), isolation.work),
                None => isolation.work.clone(),
            },
        ),
    ];
    rows.extend(isolation.missing.iter().map(|missing| row("missing", plain(missing))));
    rows
}

fn name(limit: Limit) -> String {
    limit.name().replace('_', " ")
}

fn limit_row(row: &Enforcement, overflow: Overflow) -> [String; 5] {
    let of = match row.scope {
        Scope::Tree => "all processes",
        Scope::Process => "each process",
        Scope::Stream => "each stream",
        Scope::None => "",
    };
    let breach = match (row.value, &row.mechanism) {
        (Some(_), None) => "nothing",
        (None, None) => "",
        (None, Some(_)) if row.limit != Limit::CpuSet => "",
        (_, Some(_)) => at_limit(row.limit, overflow),
    };
    [name(row.limit), allowed(row), enforcer(row), of.to_owned(), breach.to_owned()]
}

/// What a program meets at a limit.
fn at_limit(limit: Limit, overflow: Overflow) -> &'static str {
    match (limit, overflow) {
        (Limit::Memory, _) => "ended: memory-limit",
        (Limit::CpuTime, _) => "ended: cpu-time-limit",
        (Limit::WallTime, _) => "ended: wall-time-limit",
        (Limit::IdleTime, _) => "ended: idle-limit",
        (Limit::Processes, _) => "fork and clone answer EAGAIN",
        (Limit::Output, Overflow::Kill) => "ended: output-limit",
        (Limit::Output, Overflow::Truncate) => "the rest is thrown away",
        (Limit::FileSize, _) => "SIGXFSZ: file-size-limit",
        (Limit::Disk | Limit::Inodes, _) => "writing answers ENOSPC",
        (Limit::OpenFiles, _) => "opening answers EMFILE",
        (Limit::Stack, _) => "SIGSEGV",
        (Limit::Core, _) => "no core file is kept",
        (Limit::Cpus, _) => "it runs slower",
        (Limit::CpuSet, _) => "it runs on no other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::filter::Setting;
    use crate::plan::{CgroupPlan, IdMap, Watch};
    use crate::spec::Network;
    use crate::spec::Work;

    fn row(limit: Limit, value: Option<u64>, mechanism: Option<&str>, scope: Scope) -> Enforcement {
        Enforcement {
            limit,
            value,
            mechanism: mechanism.map(str::to_owned),
            scope,
            kernel: true,
            note: None,
            clamped_by: None,
            evadable: false,
        }
    }

    fn example() -> Plan {
        Plan {
            own_inodes: 0,
            setting: Setting { network: Network::None, refuse_memfd: false, notify: true },
            namespaces: 0,
            id_map: IdMap {
                inner_uid: 1000,
                outer_uid: 54321,
                inner_gid: 1000,
                outer_gid: 54321,
                deny_setgroups: true,
            },
            host_trees: Vec::new(),
            room: vec![Step::Scratch { bytes: 256 << 20, inodes: 0 }, Step::Proc { target: c"proc".into() }],
            payload: vec![Step::Session, Step::NoNewPrivileges],
            copy_work: None,
            cgroup: CgroupPlan::default(),
            watch: Watch::default(),
            watchdog_ns: None,
            enforcements: vec![
                row(Limit::Memory, Some(512 << 20), Some("cgroup2 memory.max"), Scope::Tree),
                Enforcement {
                    evadable: true,
                    note: Some("no cgroup here".to_owned()),
                    ..row(Limit::CpuTime, Some(10_000_000_000), Some("polling"), Scope::Tree)
                },
                row(Limit::WallTime, None, None, Scope::None),
                row(Limit::Processes, Some(128), None, Scope::None),
            ],
            isolation: Isolation {
                namespaces: vec!["user".to_owned(), "pid".to_owned()],
                landlock_abi: Some(7),
                policy: "default".to_owned(),
                proc: "own".to_owned(),
                network: "none".to_owned(),
                work: "overlay".to_owned(),
                ..Isolation::default()
            },
            shown: vec![Shown { outside: "/srv/in".into(), inside: "/box/in".into(), writable: true }],
            collect: Vec::new(),
            work: Some("/srv/work".into()),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_plan_reads_as_a_table_and_two_lists() {
        let spec = Spec::new(["./prog", "a\x1bb"]).work(Work::Empty);
        assert_eq!(
            in_words(&spec, &example()),
            "\
command       ./prog a\\u{1b}b
identity      uid 1000 inside is 54321 outside, gid 1000 is 54321
namespaces    user, pid
network       none
system calls  policy default
Landlock      level 7
/proc         own
/box          /srv/work, overlay

Limits
  limit      value      enforced by         of             at the limit
  memory     512 MiB    cgroup2 memory.max  all processes  ended: memory-limit
  cpu time   10 s       polling, evadable   all processes  ended: cpu-time-limit
  wall time  unlimited
  processes  128        not enforced                       nothing

About these limits
  cpu time: no cgroup here

Shown inside, and what it is outside
  /box/in  /srv/in  writes reach the host

Steps that make the room
    1  mount a tmpfs for all throw-away places (256 MiB)
    2  mount a fresh /proc at /proc

Steps that make the payload
    1  start a session without a terminal
    2  rule out new privileges
"
        );
    }

    #[test]
    fn the_plan_in_json_has_the_same_steps() {
        let json = in_json(&Spec::new(["./prog"]), &example()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["payload"][0], "start a session without a terminal");
        assert_eq!(value["job"]["command"][0], "./prog");
        assert_eq!(value["shown"][0]["outside"], "/srv/in");
    }
}
