//! Programs in C that tests run inside, compiled once per test program into a directory that everybody can read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

type Built = Arc<OnceLock<Result<(), String>>>;

/// Sources, and what was made of them.
pub(crate) struct Programs {
    sources: PathBuf,
    built: PathBuf,
    known: Mutex<HashMap<String, Built>>,
}

impl Programs {
    pub(crate) fn new(sources: PathBuf, built: PathBuf) -> Self {
        Programs { sources, built, known: Mutex::default() }
    }

    /// Compiles `name.c`, unless that was done before; the second line of a caller waits for the first.
    pub(crate) fn build(&self, name: &str) -> Result<(), String> {
        let built =
            Arc::clone(self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
        built.get_or_init(|| compile(&self.sources.join(format!("{name}.c")), &self.built.join(name))).clone()
    }
}

/// Static, so that the same program runs inside any root; `-lpthread` for the C libraries that still want it.
fn compile(source: &Path, program: &Path) -> Result<(), String> {
    let done = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Werror", "-static", "-o"])
        .args([program, source])
        .arg("-lpthread")
        .output()
        .map_err(|e| format!("cc: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("cc {}:\n{}", source.display(), String::from_utf8_lossy(&done.stderr)))
}
