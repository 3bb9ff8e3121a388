//! What a run must not leave behind: processes beneath the trial, mounts and cgroups on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to bury what was killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The host before a trial.
pub(crate) struct Before {
    mounts: BTreeSet<String>,
}

impl Before {
    pub(crate) fn look() -> Self {
        Before { mounts: mounts() }
    }

    /// Fails with a list of what is there now and was not before, once [`PATIENCE`] has passed.
    pub(crate) fn check(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut left: Vec<String> = descendants();
            left.extend(mounts().difference(&self.mounts).map(|mount| format!("mount {mount}")));
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(left.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The place and what is mounted there; ids change when others mount and unmount.
    table.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect()
}

/// Every process beneath this one, itself a subreaper: orphans cannot get away. Dead ones are reaped on the way.
fn descendants() -> Vec<String> {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))) {}
    beneath(std::process::id()).into_iter().map(|(_, words)| words).collect()
}

/// Every process beneath `top`, with words about it.
pub(crate) fn beneath(top: u32) -> Vec<(u32, String)> {
    let processes = all_processes();
    let mut seen = BTreeSet::from([top]);
    let mut found = Vec::new();
    loop {
        let more: Vec<_> =
            processes.iter().filter(|(pid, parent, _)| seen.contains(parent) && !seen.contains(pid)).collect();
        if more.is_empty() {
            return found;
        }
        for (pid, parent, name) in more {
            seen.insert(*pid);
            found.push((*pid, format!("process {pid} {name}, child of {parent}")));
        }
    }
}

/// Pid, parent, and name with state.
fn all_processes() -> Vec<(u32, u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name is in parentheses and may hold anything, parentheses too.
            let (head, tail) = stat.rsplit_once(')')?;
            let mut fields = tail.split_whitespace();
            let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
            Some((pid, parent, format!("{}) {state}", head.split_once(' ')?.1)))
        })
        .collect()
}

/// Every cgroup directory of a run on this machine.
pub(crate) fn cgroups() -> BTreeSet<String> {
    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            let ours =
                path.parent().is_some_and(|parent| parent.components().any(|part| part.as_os_str() == "sandbox"));
            if ours && entry.file_name().to_str().is_some_and(|name| name.starts_with("run-")) {
                found.insert(path.display().to_string());
            }
            walk(&path, found);
        }
    }
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), &mut found);
    found
}
