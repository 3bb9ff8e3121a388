//! `sandbox check`: what this machine can do, what would enforce each limit of a default run, and for what is missing
//! the cause and what to type here. Asks the library and lays out its answers; decides nothing.

use super::figure::{allowed, plain};
use super::parse::Help;
use super::stats::{aligned, enforcer};
use crate::error::Error;
use crate::host::{Diagnosis, Host, Place, Stage, diagnose, diagnose_weak_limits};
use crate::plan::limits::plan_limits;
use crate::plan::plan;
use crate::report::{Enforcement, Scope};
use crate::spec::{CgroupChoice, Spec, Work};
use clap::Args;
use serde::Serialize;
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
    #[arg(long, value_name = "CHOICE", default_value = "auto", value_parser = super::value::cgroup())]
    cgroup: CgroupChoice,
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

/// The subcommand: 0 where the default run has kernel-enforced limits, 1 where it has weaker ones, 125 where it cannot
/// run.
///
/// # Errors
/// The answer could not be printed.
pub(crate) fn run(args: CheckArgs) -> Result<ExitCode, Error> {
    let checked = check(args.cgroup);
    let verdict = checked.verdict;
    super::write_out(&if args.json { in_json(checked)? } else { in_words(&checked) })?;
    Ok(ExitCode::from(match verdict {
        Verdict::Full => 0,
        Verdict::Weaker => 1,
        Verdict::Cannot => 125,
    }))
}

fn in_json(mut checked: Checked) -> Result<String, Error> {
    if let Some(host) = &mut checked.host {
        host.cwd = host.cwd.take().map(presentable);
        host.home = host.home.take().map(presentable);
    }
    checked.place.program = presentable(checked.place.program);
    let json = serde_json::to_string_pretty(&checked);
    Ok(json.map_err(|error| Error::sandbox("cannot put the check into JSON").because(error))? + "\n")
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
    missing.extend(diagnose_weak_limits(&host.cgroup, &place).map(Missing::from));
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
    let place = plain(&checked.place.words());
    match &checked.host {
        None => line(&mut text, &format!("sandbox {} in {place}", checked.version)),
        Some(host) => {
            let version = checked.version;
            line(&mut text, &format!("sandbox {version} on Linux {} ({}), in {place}\n", host.kernel, host.arch));
            line(&mut text, "Isolation");
            indented(&mut text, &isolation(host));
            if !checked.limits.is_empty() {
                line(&mut text, "\nLimits of a default run, and what enforces them");
                indented(&mut text, &checked.limits.iter().filter_map(limit).collect::<Vec<_>>());
            }
        }
    }
    if !checked.missing.is_empty() {
        line(&mut text, "\nMissing");
        for Missing { what, cause, fix } in &checked.missing {
            line(&mut text, &format!("  {}: {}", plain(what), plain(cause)));
            for fix in fix.iter().flat_map(|fix| fix.lines()) {
                line(&mut text, &format!("    {}", plain(fix)));
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

fn indented<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    for row in aligned(rows) {
        text.push_str("  ");
        text.push_str(&row);
        text.push('\n');
    }
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
    row.value?;
    let reach = match row.scope {
        Scope::Tree | Scope::None => "",
        Scope::Process => ", for each process",
        Scope::Stream => ", for each stream",
    };
    Some([row.limit.name().replace('_', " "), allowed(row), enforcer(row) + reach])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(verdict: Verdict) -> Checked {
        let place = Place::told_by(&crate::host::Traces { uid: 1000, ..crate::host::Traces::default() });
        let fix = Some("first line\nsecond line".to_owned());
        let missing = Missing { what: "cgroups".to_owned(), cause: "none \u{1b}[31m".to_owned(), fix };
        Checked {
            schema: SCHEMA,
            version: "1.2.3",
            verdict,
            host: None,
            place,
            limits: Vec::new(),
            missing: vec![missing],
        }
    }

    #[test]
    fn words_for_a_person_name_what_is_missing_and_the_verdict() {
        assert_eq!(
            in_words(&checked(Verdict::Cannot)),
            "sandbox 1.2.3 in no container, as uid 1000\n\nMissing\n  cgroups: none \\u{1b}[31m\n    first line\n    \
             second line\n\nThe default run cannot work here.\n"
        );
    }

    #[test]
    fn a_path_that_is_no_text_still_makes_json() {
        use std::os::unix::ffi::OsStringExt;
        let mut checked = checked(Verdict::Weaker);
        checked.place.program = std::ffi::OsString::from_vec(b"/\xff".to_vec()).into();
        let json: serde_json::Value = serde_json::from_str(&in_json(checked).unwrap()).unwrap();
        assert_eq!(json["verdict"], "weaker");
        assert_eq!(json["place"]["kind"], "plain");
        assert_eq!(json["place"]["program"], "/\u{fffd}");
        assert_eq!(json["missing"][0]["what"], "cgroups");
    }
}
