//! `sandbox check`: what this machine can do, what would enforce each limit of a default run, and for what is missing the
//! cause and what to type here. Asks the library and lays out its answers; decides nothing.

use super::parse::Help;
use crate::error::Error;
use crate::host::{Diagnosis, Host, Place, Stage, diagnose, diagnose_weak_limits};
use crate::plan::limits::plan_limits;
use crate::plan::plan;
use crate::report::{Enforcement, Scope};
use crate::spec::{Bytes, CgroupChoice, CpuRate, Limit, Millis, Spec, Work, parse_cgroup};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// The schema number of `check --json`.
const SCHEMA: u32 = 1;

pub(super) const HELP: Help = Help {
    about: "Say what this machine can do, what would enforce each limit, and how to mend what is missing.",
    usage: "sandbox check [OPTIONS]",
    short_end: "",
    end: "\
Exit code:
  0    the default run works, and the kernel enforces its limits on memory, CPU time and processes
  1    it works with weaker limits
  125  it cannot run here",
};

/// The options of `sandbox check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Print JSON; 'sandbox explain --host FILE' takes it on another machine
    #[arg(long)]
    json: bool,

    /// Check with this cgroup, as 'sandbox run' would use it: auto, own, scope, none, or a directory
    #[arg(long, value_name = "CHOICE", default_value = "auto", value_parser = cgroup_choice())]
    cgroup: CgroupChoice,
}

fn cgroup_choice() -> impl TypedValueParser<Value = CgroupChoice> {
    OsStringValueParser::new().try_map(|words: OsString| parse_cgroup(&words))
}

/// Whether the default run would work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// With limits on memory, CPU time and processes that the kernel enforces.
    Full,
    /// With weaker ones.
    Weaker,
    /// Not at all.
    Cannot,
}

/// Something that is not as good as it could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Missing {
    what: String,
    cause: String,
    /// One line or several; null where nothing can be done.
    fix: Option<String>,
}

impl From<Diagnosis> for Missing {
    fn from(found: Diagnosis) -> Self {
        let cause = found.cause_with_errno();
        Missing { what: found.stage.name().to_owned(), cause, fix: found.fix }
    }
}

/// All that is printed.
#[derive(Serialize)]
struct Checked {
    schema: u32,
    /// Of this program.
    version: &'static str,
    verdict: Verdict,
    /// Null where not even that could be found out.
    host: Option<Host>,
    place: Place,
    limits: Vec<Enforcement>,
    missing: Vec<Missing>,
}

/// The subcommand: 0 where the default run has kernel-enforced limits, 1 where it has weaker ones, 125 where it cannot run.
///
/// # Errors
/// The answer could not be printed.
pub(crate) fn run(args: CheckArgs) -> Result<ExitCode, Error> {
    let checked = check(args.cgroup);
    let text = if args.json {
        let checked = Checked {
            host: checked.host.map(|host| Host {
                cwd: host.cwd.map(presentable),
                home: host.home.map(presentable),
                ..host
            }),
            place: Place { program: presentable(checked.place.program), ..checked.place },
            ..checked
        };
        serde_json::to_string_pretty(&checked)
            .map(|json| json + "\n")
            .map_err(|error| Error::sandbox("cannot put the check into JSON").because(error))
            .map(|json| (json, checked.verdict))?
    } else {
        (in_words(&checked), checked.verdict)
    };
    let (text, verdict) = text;
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Nobody reads it any more: the exit code still tells.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Error::sandbox("cannot write to stdout").because(error));
        }
        _ => {}
    }
    Ok(ExitCode::from(match verdict {
        Verdict::Full => 0,
        Verdict::Weaker => 1,
        Verdict::Cannot => 125,
    }))
}

/// JSON is UTF-8: other bytes are replaced. Nothing is opened by these paths.
fn presentable(path: PathBuf) -> PathBuf {
    match path.into_os_string().into_string() {
        Ok(text) => text.into(),
        Err(bytes) => bytes.to_string_lossy().into_owned().into(),
    }
}

fn check(cgroup: CgroupChoice) -> Checked {
    let place = Place::read();
    let (host, refusals) = match Host::try_out(&cgroup, &place) {
        Ok(found) => found,
        Err(error) => {
            let missing = vec![unplanned(&error)];
            let version = env!("CARGO_PKG_VERSION");
            return Checked {
                schema: SCHEMA,
                version,
                verdict: Verdict::Cannot,
                host: None,
                place,
                limits: vec![],
                missing,
            };
        }
    };
    // What 'sandbox run true' would ask for.
    let spec = Spec::new(["true"]).work(Work::Current).cgroup(cgroup);
    let planned = plan(&spec, &host);
    let kernel_limits = plan_limits(&spec.clone().require_kernel_limits(true), &host).is_ok();

    let mut missing: Vec<Missing> = refusals
        .iter()
        // The perf clock is a substitute for a cgroup's.
        .filter(|refusal| refusal.stage != Stage::PerfClock || !kernel_limits)
        .map(|refusal| diagnose(refusal.stage, refusal.errno, &place).into())
        .collect();
    if !kernel_limits {
        let why = host.cgroup.why_weak.as_deref().unwrap_or("no cgroup enforces memory, CPU time and processes");
        missing.push(diagnose_weak_limits(why, &place).into());
    }
    let runs = host.user_namespaces.works() && planned.is_ok();
    if host.user_namespaces.works()
        && let Err(error) = &planned
    {
        missing.push(unplanned(error));
    }
    let verdict = match (runs, kernel_limits) {
        (false, _) => Verdict::Cannot,
        (true, true) => Verdict::Full,
        (true, false) => Verdict::Weaker,
    };
    let limits = plan_limits(&spec, &host).map(|limits| limits.enforcements).unwrap_or_default();
    Checked { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), verdict, host: Some(host), place, limits, missing }
}

fn unplanned(error: &Error) -> Missing {
    Missing { what: "the default run".to_owned(), cause: error.to_string(), fix: error.hint_text().map(str::to_owned) }
}

fn in_words(checked: &Checked) -> String {
    let mut text = String::new();
    let line = |text: &mut String, line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let place = checked.place.words();
    match &checked.host {
        None => line(&mut text, &format!("sandbox {} in {place}", checked.version)),
        Some(host) => {
            let version = checked.version;
            line(&mut text, &format!("sandbox {version} on Linux {} ({}), in {place}\n", host.kernel, host.arch));
            line(&mut text, "Isolation");
            columns(&mut text, &isolation(host));
            if !checked.limits.is_empty() {
                line(&mut text, "\nLimits of a default run, and what enforces them");
                columns(&mut text, &checked.limits.iter().filter_map(limit).collect::<Vec<_>>());
            }
        }
    }
    if !checked.missing.is_empty() {
        line(&mut text, "\nMissing");
        for Missing { what, cause, fix } in &checked.missing {
            line(&mut text, &format!("  {what}: {cause}"));
            for fix in fix.iter().flat_map(|fix| fix.lines()) {
                line(&mut text, &format!("    {fix}"));
            }
        }
    }
    let verdict = match checked.verdict {
        Verdict::Full => "\nThe default run works, and the kernel enforces its limits.",
        Verdict::Weaker => "\nThe default run works; not all of its limits are enforced by the kernel.",
        Verdict::Cannot => "\nThe default run cannot work here.",
    };
    line(&mut text, verdict);
    text
}

fn isolation(host: &Host) -> Vec<[String; 2]> {
    let choose = |works: bool, yes: &str, no: &str| if works { yes.to_owned() } else { no.to_owned() };
    let namespaces = choose(host.user_namespaces.works(), "yes", "refused");
    let landlock = match host.landlock_abi {
        0 => "none".to_owned(),
        level => format!("level {level}"),
    };
    let mut rows = vec![("user namespaces", namespaces), ("Landlock", landlock)];
    if host.user_namespaces.works() {
        let notified =
            choose(host.seccomp_notify.works(), "yes, refused calls are listed", "yes, refused calls are not listed");
        rows.extend([
            ("system-call filter", notified),
            ("/proc", choose(host.fresh_proc.works(), "its own", "synthetic")),
            ("/box", choose(host.overlay.works(), "an overlay", "a copy")),
        ]);
        if host.uid == 0 {
            rows.push(("root's files", choose(host.idmapped_mounts.works(), "by id-mapped mounts", "not shown")));
        } else if host.supplementary_groups > 0 {
            rows.push(("groups", format!("{} of the caller keep their rights inside", host.supplementary_groups)));
        }
    }
    rows.into_iter().map(|(what, fact)| [what.to_owned(), fact]).collect()
}

/// A row for a limit that a default run has.
fn limit(row: &Enforcement) -> Option<[String; 3]> {
    let value = row.value?;
    let mut by = row.mechanism.clone().unwrap_or_else(|| "nothing".to_owned());
    match row.scope {
        Scope::Tree | Scope::None => {}
        Scope::Process => by.push_str(", for each process"),
        Scope::Stream => by.push_str(", for each stream"),
    }
    if let Some(who) = &row.clamped_by {
        // Writing to a String cannot fail.
        let _ = write!(by, ", clamped by the {who}");
    }
    if row.evadable {
        by.push_str(", evadable");
    }
    Some([row.limit.name().replace('_', " "), quantity(row.limit, value), by])
}

fn quantity(limit: Limit, value: u64) -> String {
    match limit {
        Limit::Memory | Limit::Output | Limit::FileSize | Limit::Disk | Limit::Stack | Limit::Core => {
            Bytes::new(value).to_string()
        }
        Limit::CpuTime | Limit::WallTime | Limit::IdleTime => Millis::new(value / 1_000_000).to_string(),
        Limit::Processes | Limit::Inodes | Limit::OpenFiles | Limit::CpuSet => value.to_string(),
        Limit::Cpus => CpuRate::new(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
    }
}

/// Indented rows whose cells stand below each other.
fn columns<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "  {cell:<width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
