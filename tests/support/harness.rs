//! From tables of tests to trials: each as root and as an ordinary uid, skipped with a reason where the machine lacks what
//! it needs, each in a process and a directory of its own, ended after [`PATIENCE`].

use super::feature::Feature;
use super::leftovers;
use super::place::{Place, chmod};
use super::programs::Programs;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A trial that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A numeric uid that no account has.
const ORDINARY: u32 = 54321;

/// Where a trial's process finds the site.
const SITE: &str = "SANDBOX_TEST_SITE";

/// Features, by comma, that this machine is known to have: `name`, or `root:name` and `user:name` for one identity. One
/// that is missing is a failure, so that a machine that lost it does not pass by skipping.
const PROMISED: &str = "SANDBOX_PROMISED";

/// Another binary than cargo's to test.
const BINARY: &str = "SANDBOX_TEST_BINARY";

/// Who a test is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Everybody.
    Both,
    /// What only root meets.
    Root,
    /// What only an ordinary user meets.
    User,
}

/// A line of a table.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    pub(crate) needs: &'static [Feature],
    pub(crate) run: fn(&Place),
}

/// A test, ready to be run.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) who: Who,
    pub(crate) needs: Vec<Feature>,
    /// Programs in C that must be compiled before.
    pub(crate) programs: Vec<String>,
    pub(crate) run: Box<dyn Fn(&Place) + Send + Sync>,
}

impl Case {
    /// The tests of one subject.
    pub(crate) fn of_table(subject: &str, table: &'static [Test]) -> Vec<Case> {
        let case = |test: &Test| {
            let run = test.run;
            let programs = if test.needs.contains(&Feature::Cc) { vec!["payload".to_owned()] } else { Vec::new() };
            let name = format!("{subject}::{}", test.name);
            Case { name, who: test.who, needs: test.needs.to_vec(), programs, run: Box::new(run) }
        };
        table.iter().map(case).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Root,
    User,
}

impl Identity {
    fn name(self) -> &'static str {
        match self {
            Identity::Root => "root",
            Identity::User => "user",
        }
    }

    fn fits(self, who: Who) -> bool {
        match who {
            Who::Both => true,
            Who::Root => self == Identity::Root,
            Who::User => self == Identity::User,
        }
    }
}

/// The world-readable directory that the trials of this test program share.
struct Site {
    root: PathBuf,
    programs: Programs,
}

/// The whole of a test program. `sources` are directories under `tests/` with programs in C; `cases` makes the list of
/// tests from a directory where those files are.
pub(crate) fn run_all(sources: &[&str], cases: fn(&Path) -> Vec<Case>) -> ExitCode {
    let words: Vec<String> = env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("--one") => return run_one(&words[2], cases),
        Some("--probe") => return probe_one(&words[2]),
        _ => {}
    }
    let arguments = Arguments::from_args();
    let site = match make_site(sources) {
        Ok(site) => Arc::new(site),
        Err(error) => {
            eprintln!("cannot prepare the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let groups_before = leftovers::cgroups();
    let trials = make_trials(&site, cases(&site.root.join("sources")), arguments.list);
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left = if arguments.list { Vec::new() } else { groups_left(&site, &groups_before) };
    // Some trials leave directories that nobody may enter.
    let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(&site.root).stderr(Stdio::null()).status();
    let _ = fs::remove_dir_all(&site.root);
    if !left.is_empty() {
        eprintln!("cgroups that were left behind:\n{}", left.join("\n"));
        return ExitCode::from(101);
    }
    conclusion.exit_code()
}

/// The empty group of a launcher that was killed goes with the next run; and other runs on this machine may be under way:
/// only what stays is left behind.
fn groups_left(site: &Site, before: &std::collections::BTreeSet<String>) -> Vec<String> {
    let mut last = Command::new(site.root.join("bin/sandbox"));
    let _ = last.args(["run", "--dir", "none", "--", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut left: Vec<String> = leftovers::cgroups().difference(before).cloned().collect();
    let end = Instant::now() + Duration::from_secs(5);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        left.retain(|group| Path::new(group).exists());
    }
    left
}

fn make_site(sources: &[&str]) -> Result<Site, String> {
    let root = tempfile::Builder::new()
        .prefix("sandbox-tests-")
        .tempdir_in(public_directory())
        .map_err(|e| e.to_string())?
        .keep();
    chmod(&root, 0o755);
    for (name, mode) in [("sources", 0o755), ("programs", 0o755), ("bin", 0o755), ("trials", 0o755), ("tmp", 0o1777)] {
        fs::create_dir(root.join(name)).map_err(|e| e.to_string())?;
        chmod(&root.join(name), mode);
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for dir in sources.iter().chain(&["support"]) {
        for entry in fs::read_dir(tests.join(dir)).map_err(|e| format!("{dir}: {e}"))? {
            let file = entry.map_err(|e| e.to_string())?.path();
            if file.extension().is_some_and(|end| ["c", "h", "md"].iter().any(|kind| end == OsStr::new(kind))) {
                publish(&file, &root.join("sources"), 0o644)?;
            }
        }
    }
    let tool = env::var_os(BINARY).map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sandbox")), PathBuf::from);
    publish(&tool, &root.join("bin"), 0o755)?;
    let this = env::current_exe().map_err(|e| e.to_string())?;
    publish(&this, &root.join("bin"), 0o755)?;
    fs::rename(root.join("bin").join(this.file_name().unwrap_or_default()), root.join("bin/trial"))
        .map_err(|e| e.to_string())?;
    if !root.join("bin/sandbox").exists() {
        fs::rename(root.join("bin").join(tool.file_name().unwrap_or_default()), root.join("bin/sandbox"))
            .map_err(|e| e.to_string())?;
    }
    Ok(Site { programs: Programs::new(root.join("sources"), root.join("programs")), root })
}

fn publish(file: &Path, into: &Path, mode: u32) -> Result<(), String> {
    let name = file.file_name().ok_or_else(|| format!("{} names no file", file.display()))?;
    let copy = into.join(name);
    fs::copy(file, &copy).map_err(|e| format!("{}: {e}", file.display()))?;
    chmod(&copy, mode);
    Ok(())
}

/// The first temporary directory that every user may walk to.
fn public_directory() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let open = |dir: &Path| dir.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    [env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]
        .into_iter()
        .find(|dir| dir.ancestors().all(open))
        .unwrap_or_else(env::temp_dir)
}

fn make_trials(site: &Arc<Site>, cases: Vec<Case>, list: bool) -> Vec<Trial> {
    let started_as_root = nix::unistd::geteuid().is_root();
    let mut known = HashMap::new();
    if !list {
        for identity in [Identity::Root, Identity::User] {
            for feature in Feature::ALL {
                let found = if identity == Identity::Root && !started_as_root {
                    Err("not started as root".to_owned())
                } else {
                    probe(site, identity, feature)
                };
                known.insert((identity, feature), found);
            }
        }
    }
    let mut trials: Vec<Trial> = Vec::new();
    if !list {
        trials.extend(promises(&known));
    }
    for (number, case) in cases.into_iter().enumerate() {
        for identity in [Identity::Root, Identity::User] {
            if !identity.fits(case.who) {
                continue;
            }
            let name = format!("{}::{}", identity.name(), case.name);
            let missing = missing(&known, identity, &case.needs);
            let (site, programs, one) = (Arc::clone(site), case.programs.clone(), case.name.clone());
            trials.push(Trial::ignorable_test(name, move || {
                if let Some(reason) = missing {
                    return Ok(Completion::ignored_with(reason));
                }
                for program in &programs {
                    site.programs.build(program)?;
                }
                start_trial(&site, identity, number, &one).map(|()| Completion::Completed)
            }));
        }
    }
    trials
}

type Known = HashMap<(Identity, Feature), Result<(), String>>;

/// Why this identity cannot run a case with these needs; as root also what every case needs.
fn missing(known: &Known, identity: Identity, needs: &[Feature]) -> Option<String> {
    let every = if identity == Identity::Root { [Feature::Userns, Feature::Root] } else { [Feature::Userns; 2] };
    every.iter().chain(needs).find_map(|feature| match known.get(&(identity, *feature)) {
        Some(Err(why)) => Some(format!("needs {}: {why}", feature.name())),
        Some(Ok(())) | None => None,
    })
}

fn promises(known: &Known) -> Vec<Trial> {
    let words = env::var(PROMISED).unwrap_or_default();
    let mut trials = Vec::new();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (identities, name): (&[Identity], &str) = match word.split_once(':') {
            Some(("root", name)) => (&[Identity::Root], name),
            Some(("user", name)) => (&[Identity::User], name),
            _ => (&[Identity::Root, Identity::User], word),
        };
        for identity in identities {
            let found = match Feature::named(name) {
                Some(feature) => known.get(&(*identity, feature)).cloned().unwrap_or(Ok(())),
                None => Err(format!("{PROMISED} names no feature of ours: {name}")),
            };
            let trial = format!("{}::promised::{name}", identity.name());
            trials.push(Trial::test(trial, move || found.map_err(Failed::from)));
        }
    }
    trials
}

/// This program again, as `identity`, with the site's surroundings.
fn again(site: &Site, identity: Identity, dir: &Path, words: [&str; 2]) -> Command {
    let mut command = Command::new(site.root.join("bin/trial"));
    command.args(words).current_dir(dir).stdin(Stdio::null()).process_group(0);
    command.env(SITE, &site.root).env("TMPDIR", site.root.join("tmp")).env("HOME", site.root.join("tmp"));
    if identity == Identity::User && nix::unistd::geteuid().is_root() {
        // The standard library drops the supplementary groups with the uid.
        command.uid(ORDINARY).gid(ORDINARY);
    }
    command
}

fn probe(site: &Site, identity: Identity, feature: Feature) -> Result<(), String> {
    let done = again(site, identity, &site.root, ["--probe", feature.name()]).output().map_err(|e| e.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stdout).trim().to_owned()) }
}

fn probe_one(name: &str) -> ExitCode {
    match Feature::named(name).ok_or_else(|| format!("no such feature: {name}")).and_then(Feature::probe) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn start_trial(site: &Site, identity: Identity, number: usize, name: &str) -> Result<(), Failed> {
    let dir = site.root.join("trials").join(format!("{number}-{}", identity.name()));
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    chmod(&dir, 0o755);
    if identity == Identity::User && nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&dir, Some(ORDINARY), Some(ORDINARY)).map_err(|e| e.to_string())?;
    }
    let log = dir.with_extension("log");
    let output = File::create(&log).map_err(|e| e.to_string())?;
    let errors = output.try_clone().map_err(|e| e.to_string())?;
    let mut child = again(site, identity, &dir, ["--one", name])
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|e| e.to_string())?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if Instant::now() > end {
            let left = leftovers::beneath(child.id());
            for (pid, _) in &left {
                let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
            }
            let _ = child.kill();
            let _ = child.wait();
            let left: Vec<_> = left.into_iter().map(|(_, words)| words).collect();
            return Err(format!("no end after {PATIENCE:?}\n{}\n{}", left.join("\n"), shown(&log)).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if status.success() {
        let _ = fs::remove_dir_all(&dir);
        return Ok(());
    }
    Err(format!("{}\n{}", why(status), shown(&log)).into())
}

fn why(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the trial died by signal {signal}"),
        None => String::new(),
    }
}

fn shown(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.chars().take(6000).collect()
}

/// In the trial's own process.
fn run_one(name: &str, cases: fn(&Path) -> Vec<Case>) -> ExitCode {
    let Some(root) = env::var_os(SITE).map(PathBuf::from) else {
        eprintln!("--one is for the test program itself");
        return ExitCode::from(2);
    };
    // The end of the test program ends its trials, and nothing that a trial started can get out of its sight.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("SIGKILL is a signal");
    nix::sys::prctl::set_child_subreaper(true).expect("Linux 3.4 has subreapers");
    let Some(case) = cases(&root.join("sources")).into_iter().find(|case| case.name == name) else {
        eprintln!("there is no test {name}");
        return ExitCode::from(2);
    };
    let place = Place {
        dir: env::current_dir().expect("the trial's directory"),
        tool: root.join("bin/sandbox"),
        programs: root.join("programs"),
        sources: root.join("sources"),
        is_root: nix::unistd::geteuid().is_root(),
    };
    let before = leftovers::Before::look();
    (case.run)(&place);
    match before.check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(left) => {
            eprintln!("left behind:\n{left}");
            ExitCode::from(101)
        }
    }
}
