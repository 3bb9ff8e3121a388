//! Where a trial works: its own directory, the binary under test, and who it is.

use super::call::Call;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a trial gets.
pub(crate) struct Place {
    /// The trial's own directory, empty at the start, owned by the trial's uid.
    pub(crate) dir: PathBuf,
    /// The binary under test.
    pub(crate) tool: PathBuf,
    /// Compiled programs.
    pub(crate) programs: PathBuf,
    /// Sources of this test program, readable by everybody.
    pub(crate) sources: PathBuf,
    /// Whether the trial runs as root.
    pub(crate) is_root: bool,
}

impl Place {
    /// `sandbox ARGS…`
    pub(crate) fn sandbox<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        Call::new(&self.tool, &self.dir).args(args)
    }

    /// `sandbox run ARGS…`
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        self.sandbox(&["run"]).args(args)
    }

    /// `sandbox run --json ARGS…`
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        self.sandbox(&["run", "--json"]).args(args)
    }

    /// A shell on the host, in the trial's directory, that finds the binary as `$SANDBOX`.
    pub(crate) fn host_shell(&self, script: &str) -> Call {
        Call::new("sh", &self.dir).env("SANDBOX", &self.tool).args(["-c", script])
    }

    /// A compiled program, brought into the trial's directory: the word that runs it inside.
    pub(crate) fn bring(&self, name: &str) -> String {
        let to = self.dir.join(name);
        if !to.exists() {
            fs::copy(self.programs.join(name), &to).expect("a compiled program and a directory of ours");
        }
        format!("./{name}")
    }

    /// The program of many talents (`tests/support/payload.c`).
    pub(crate) fn payload(&self) -> String {
        self.bring("payload")
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the trial's directory is writable");
        path
    }

    /// A file that may be executed.
    pub(crate) fn script(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.write(name, content);
        chmod(&path, 0o755);
        path
    }

    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("the trial's directory is writable");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .expect("the trial's directory is readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a file of ours");
}
