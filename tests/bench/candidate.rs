//! Who takes part: plain exec, the sandbox in its modes, the library, and the peers that this machine has.

use crate::options::Options;
use crate::peers;
use crate::worker::{Act, Worker};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What every candidate runs.
pub(crate) const PROGRAM: &str = "/bin/true";
/// An ordinary user, whom nothing on the machine belongs to.
pub(crate) const OTHER_USER: u32 = 54321;
/// How much memory the big caller of the library holds.
pub(crate) const BIG: u64 = 512 << 20;

/// One row of the table.
pub(crate) struct Candidate {
    pub(crate) name: String,
    /// Who starts it: an index into [`Candidates::workers`].
    pub(crate) worker: usize,
    pub(crate) act: Act,
    /// The row that its ratio is to: a plain exec by the same worker.
    pub(crate) plain: usize,
}

/// All of them, who starts them, and the directory that they are started in.
pub(crate) struct Candidates {
    pub(crate) rows: Vec<Candidate>,
    pub(crate) workers: Vec<Worker>,
    /// World-readable copies, so that an ordinary user can start them: where this is built may be private.
    pub(crate) sandbox: PathBuf,
    pub(crate) bench: PathBuf,
    home: tempfile::TempDir,
}

/// The modes of `sandbox run`.
const MODES: [(&str, &[&str]); 5] = [
    ("sandbox", &[]),
    ("sandbox --dir none", &["--dir", "none"]),
    ("sandbox --dir none --net blocked", &["--dir", "none", "--net", "blocked"]),
    ("sandbox --cgroup none", &["--cgroup", "none"]),
    ("sandbox --json", &["--json"]),
];

impl Candidates {
    pub(crate) fn find(options: &Options) -> Result<Candidates, String> {
        let home = tempfile::Builder::new()
            .prefix("sandbox-bench-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .map_err(|e| format!("cannot make a temporary directory: {e}"))?;
        let copy = |from: &Path, name: &str| {
            let to = home.path().join(name);
            fs::copy(from, &to).map_err(|e| format!("cannot copy {}: {e}", from.display()))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))
                .map_err(|e| format!("cannot make {} executable: {e}", to.display()))?;
            Ok::<_, String>(to)
        };
        let own = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let bench = copy(&own, "bench")?;
        let sandbox = copy(&options.binary, "sandbox")?;
        let mut sandboxes = vec![(String::new(), sandbox.clone())];
        for (name, path) in &options.sandboxes {
            sandboxes.push((format!("{name}: "), copy(path, &format!("sandbox-{name}"))?));
        }
        // Small and empty, as a judge's directory is before a test.
        let work = home.path().join("work");
        fs::create_dir(&work).map_err(|e| format!("cannot make {}: {e}", work.display()))?;
        let mut found = Candidates { rows: Vec::new(), workers: Vec::new(), sandbox, bench, home };
        let root = nix::unistd::geteuid().is_root();
        found.add_worker(None, 0, &work)?;
        found.add_runs("", 0, &sandboxes);
        for (name, words) in peers::here(found.home.path())? {
            found.add(name, 0, Act::Exec(words), 0);
        }
        for (name, resident) in [("library", 0), ("library from 512 MiB", BIG)] {
            let worker = found.add_worker(None, resident, &work)?;
            let act = Act::Library { sandbox: found.sandbox.clone() };
            found.add(name.to_owned(), worker, act, 0);
        }
        if root {
            let worker = found.add_worker(Some(OTHER_USER), 0, &work)?;
            found.add_runs("user: ", worker, &sandboxes);
            let plain = found.plain_of(worker);
            for (name, words) in peers::rootless() {
                found.add(format!("user: {name}"), worker, Act::Exec(words), plain);
            }
        }
        found.choose(&options.only);
        found.try_all();
        Ok(found)
    }

    fn add_worker(&mut self, uid: Option<u32>, resident: u64, work: &Path) -> Result<usize, String> {
        self.workers.push(Worker::start(&self.bench, uid, resident, work)?);
        Ok(self.workers.len() - 1)
    }

    fn add(&mut self, name: String, worker: usize, act: Act, plain: usize) {
        self.rows.push(Candidate { name, worker, act, plain });
    }

    /// Plain exec and the sandbox's modes.
    fn add_runs(&mut self, user: &str, worker: usize, sandboxes: &[(String, PathBuf)]) {
        let plain = self.rows.len();
        self.add(format!("{user}plain"), worker, Act::Exec(vec![PROGRAM.into()]), plain);
        for (mode, words) in MODES {
            for (name, path) in sandboxes {
                self.add(format!("{user}{name}{mode}"), worker, Act::Exec(run_words(path, words)), plain);
            }
        }
    }

    fn plain_of(&self, worker: usize) -> usize {
        self.rows.iter().find(|row| row.worker == worker).map_or(0, |row| row.plain)
    }

    /// Keeps the rows that were asked for, and those that their ratios are to.
    fn choose(&mut self, only: &[String]) {
        if only.is_empty() {
            return;
        }
        let wanted: Vec<bool> =
            self.rows.iter().map(|row| only.iter().any(|word| row.name.contains(word.as_str()))).collect();
        let keep: Vec<bool> = (0..self.rows.len())
            .map(|at| wanted[at] || self.rows.iter().zip(&wanted).any(|(row, wanted)| *wanted && row.plain == at))
            .collect();
        self.keep(&keep);
    }

    fn keep(&mut self, keep: &[bool]) {
        let moved: Vec<usize> = keep
            .iter()
            .scan(0, |next, kept| {
                let at = *next;
                *next += usize::from(*kept);
                Some(at)
            })
            .collect();
        let mut at = 0;
        self.rows.retain_mut(|row| {
            row.plain = moved.get(row.plain).copied().unwrap_or(0);
            at += 1;
            keep.get(at - 1).copied().unwrap_or(false)
        });
    }

    /// Leaves out, and says so, who cannot run here.
    fn try_all(&mut self) {
        let mut keep = Vec::new();
        for row in &self.rows {
            let answer = self.workers[row.worker].time(&row.act);
            if let Err(why) = &answer {
                eprintln!("left out: {}: {why}", row.name);
            }
            keep.push(answer.is_ok());
        }
        self.keep(&keep);
    }

    /// Runs one row once.
    pub(crate) fn time(&mut self, row: usize) -> Result<Duration, String> {
        let Candidate { name, worker, act, .. } = &self.rows[row];
        self.workers[*worker].time(act).map_err(|why| format!("{name}: {why}"))
    }

    /// The rows that the caller itself executes, in the order of the table.
    pub(crate) fn executed(&self) -> impl Iterator<Item = (&str, &[OsString])> {
        self.rows.iter().filter_map(|row| match &row.act {
            Act::Exec(words) if row.worker == 0 => Some((row.name.as_str(), words.as_slice())),
            _ => None,
        })
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }
}

/// `sandbox run OPTIONS -- /bin/true`
pub(crate) fn run_words(sandbox: &Path, options: &[&str]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![sandbox.into(), "run".into()];
    words.extend(options.iter().map(OsString::from));
    words.extend(["--".into(), PROGRAM.into()]);
    words
}
