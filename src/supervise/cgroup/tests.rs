//! On whatever cgroups this machine gives us; where it gives none there is nothing to test.

use super::*;
use crate::host::CgroupFacts;
use crate::plan::limits::CgroupDir;
use crate::spec::CgroupChoice;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory of this test's own below each place that can be had.
struct Place {
    plan: CgroupPlan,
    made: Vec<PathBuf>,
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        let facts = CgroupFacts::probe(&CgroupChoice::Auto).ok()?;
        let mut made = Vec::new();
        let mut dir = |parent: &Path, controllers: &[&str]| {
            let ours = parent.join(format!("test-{name}-{}", std::process::id()));
            fs::create_dir_all(&ours).ok()?;
            made.push(ours.clone());
            let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
            Some(CgroupDir { controllers, parent: ours, ..CgroupDir::default() })
        };
        let v2 = facts.v2.as_ref().and_then(|v2| dir(&v2.parent, &[]));
        let mut v1 = Vec::new();
        for controller in ["memory", "pids", "cpuacct"] {
            v1.extend(facts.v1.get(controller).and_then(|parent| dir(parent, &[controller])));
        }
        (v2.is_some() || !v1.is_empty()).then_some(Place { plan: CgroupPlan { v2, v1 }, made })
    }

    /// The runs' directories that are there.
    fn runs(&self) -> usize {
        let children = |dir: &PathBuf| fs::read_dir(dir).unwrap().flatten().filter(|e| e.path().is_dir()).count();
        self.made.iter().map(children).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.made.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn sleeper() -> Child {
    Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap()
}

fn attach(cgroup: &Cgroup, child: &Child) {
    let pid = child.id() as libc::pid_t;
    cgroup.attach(pid).unwrap();
    cgroup.attach_late(pid).unwrap();
}

#[test]
fn directories_are_made_used_and_removed() {
    let Some(place) = Place::new("life") else { return };
    let mut cgroup = Cgroup::create(&place.plan).unwrap();
    assert_eq!(place.runs(), place.made.len());
    let mut child = sleeper();
    attach(&cgroup, &child);
    cgroup.arm().unwrap();
    assert!(cgroup.cpu_ns().is_some());
    assert_eq!(cgroup.evidence().memory, None);
    let killed = cgroup.kill();
    assert_eq!(killed, place.plan.v2.is_some());
    if !killed {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    let usage = cgroup.usage();
    assert!(usage.cpu_ns.is_some() && usage.cpu_source.is_some());
    assert_eq!(usage.memory_peak.is_some(), place.plan.v1.iter().any(|dir| dir.controllers == ["memory"]));
    cgroup.remove();
    assert_eq!(place.runs(), 0);
}

#[test]
fn a_dropped_cgroup_kills_what_is_inside_and_goes() {
    let Some(place) = Place::new("drop").filter(|place| place.plan.v2.is_some()) else { return };
    let cgroup = Cgroup::create(&place.plan).unwrap();
    let mut child = sleeper();
    attach(&cgroup, &child);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    drop(cgroup);
    assert!(!reaper.join().unwrap().success());
    assert_eq!(place.runs(), 0);
}

#[test]
fn what_killed_launchers_left_is_swept_and_what_lives_is_not() {
    let Some(place) = Place::new("sweep") else { return };
    let lives = Cgroup::create(&place.plan).unwrap();
    for dir in &place.made {
        fs::create_dir(dir.join("run-1-1")).unwrap();
        fs::create_dir(dir.join("somebody-else")).unwrap();
    }
    Cgroup::create(&place.plan).unwrap().remove();
    for dir in &place.made {
        assert!(!dir.join("run-1-1").exists());
        fs::remove_dir(dir.join("somebody-else")).unwrap();
    }
    assert_eq!(place.runs(), place.made.len());
    drop(lives);
    assert_eq!(place.runs(), 0);
}

#[test]
fn concurrent_starts_and_sweeps_do_not_meet() {
    let Some(place) = Place::new("crowd") else { return };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut cgroup = Cgroup::create(&place.plan).unwrap();
                    cgroup.arm().unwrap();
                    assert!(cgroup.cpu_ns().is_some());
                    cgroup.remove();
                }
            });
        }
    });
    assert_eq!(place.runs(), 0);
}

#[test]
fn a_failed_setting_leaves_nothing() {
    let Some(place) = Place::new("fail") else { return };
    let mut plan = place.plan.clone();
    let last = plan.v1.last_mut().or(plan.v2.as_mut()).unwrap();
    last.settings.push(("no.such_file".to_owned(), "1".to_owned()));
    let error = Cgroup::create(&plan).unwrap_err();
    assert!(error.to_string().starts_with("cannot set no.such_file of the cgroup /sys/fs/cgroup/"), "{error}");
    assert_eq!(place.runs(), 0);
}
