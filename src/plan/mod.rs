//! Decisions, pure: what exactly will be done for a `Spec` on a `Host`. Every question about the kernel was asked before.

pub mod filter;
pub mod limits;
mod lockdown;
pub(crate) mod rootfs;
pub mod step;
pub mod words;

pub use limits::{CgroupPlan, Watch};
pub use step::Step;

use crate::error::Error;
use crate::host::Host;
use crate::report::{Enforcement, Isolation};
use crate::spec::{Network, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Exactly what will be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `CLONE_NEW*` of the first clone.
    pub namespaces: u64,
    /// What the filters were compiled for, besides the policy.
    pub setting: filter::Setting,
    /// How ids map.
    pub id_map: IdMap,
    /// Trees that the supervisor opens and id-maps before the start (a caller who is root), in slot order.
    pub host_trees: Vec<HostTree>,
    /// What makes the room.
    pub room: Vec<Step>,
    /// What makes the payload.
    pub payload: Vec<Step>,
    /// Files that the supervisor copies into `/box` while init waits; `None` where an overlay or a bind shows them.
    pub copy_work: Option<PathBuf>,
    /// The cgroups to make.
    pub cgroup: CgroupPlan,
    /// What the supervisor watches.
    pub watch: Watch,
    /// Init ends the run by itself this long after the payload's start, should the supervisor be stopped.
    pub watchdog_ns: Option<u64>,
    /// One row per limit.
    pub enforcements: Vec<Enforcement>,
    /// What isolation this is.
    pub isolation: Isolation,
    /// Where host paths appear inside, outermost first: to put a failed exec and results into words.
    pub shown: Vec<Shown>,
    /// What is brought out.
    pub collect: Vec<Out>,
    /// Inodes of the throw-away tmpfs that are ours, not the program's.
    pub own_inodes: u64,
    /// The host directory at `/box`, where there is one.
    pub work: Option<PathBuf>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// How ids map between the namespace and the host: one id each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Inside.
    pub inner_uid: u32,
    /// On the host.
    pub outer_uid: u32,
    /// Inside.
    pub inner_gid: u32,
    /// On the host.
    pub outer_gid: u32,
    /// Whether `setgroups` must be denied first (a caller without privilege).
    pub deny_setgroups: bool,
}

/// A host tree that the supervisor opens: its owner on disk appears as the payload's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTree {
    /// Absolute.
    pub path: PathBuf,
    /// Which slot it fills.
    pub slot: step::Slot,
    /// With the mounts beneath it.
    pub recursive: bool,
}

/// A file that is brought out after the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// As it was asked for.
    pub from: PathBuf,
    /// The handed directory that it lies beneath.
    pub slot: step::Slot,
    /// Its path beneath that.
    pub path: std::ffi::CString,
    /// Where it goes: absolute, on the host. An existing directory takes it under its own name.
    pub to: PathBuf,
}

/// A host path and where it is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// On the host.
    pub outside: PathBuf,
    /// Inside.
    pub inside: PathBuf,
    /// Writes reach the host.
    pub writable: bool,
}

/// The host id of a payload whose caller is root: unprivileged, and within the 2^16 ids of an outer container.
pub(crate) const UNPRIVILEGED_ID: u32 = 65533;
/// The payload's uid and gid inside.
const INNER_ID: u32 = 1000;
/// How much later than the supervisor init ends the run by itself.
const WATCHDOG_DELAY_NS: u64 = 1_000_000_000;

/// Decides.
///
/// # Errors
/// A usage error in the `Spec`, or a refusal: isolation that this host cannot give, or a limit that the caller named and
/// that nothing here can enforce.
pub fn plan(spec: &Spec, host: &Host) -> Result<Plan, Error> {
    spec.validate()?;
    let id_map = plan_ids(host);
    let limits = limits::plan_limits(spec, host)?;
    let mut files = rootfs::plan_files(spec, host, &limits, &id_map)?;
    let payload = lockdown::plan_payload(spec, host, &limits, &files)?;
    let watched = limits.watch.poll_memory_bytes.is_some() || limits.watch.poll_cpu;
    let setting = lockdown::plan_setting(spec, host, &limits);
    let collect = rootfs::plan_out(spec, host, &files)?;
    let room = plan_room(spec, &id_map, &mut files, watched);
    let mut notes = limits.notes;
    notes.append(&mut files.notes);
    // The network namespace takes longer than all others together: init makes it beside the mounts.
    let namespaces =
        libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    Ok(Plan {
        namespaces: namespaces as u64,
        setting,
        id_map,
        host_trees: files.host_trees,
        room,
        payload,
        copy_work: files.copy_work,
        cgroup: limits.cgroup,
        watchdog_ns: limits.watch.wall_ns.map(|ns| ns.saturating_add(WATCHDOG_DELAY_NS)),
        watch: limits.watch,
        enforcements: limits.enforcements,
        isolation: plan_isolation(spec, host, files.kind),
        shown: files.shown,
        own_inodes: files.own_inodes,
        collect,
        work: files.work,
        notes,
    })
}

fn plan_ids(host: &Host) -> IdMap {
    let root = host.uid == 0;
    IdMap {
        inner_uid: INNER_ID,
        outer_uid: if root { UNPRIVILEGED_ID } else { host.uid },
        inner_gid: INNER_ID,
        outer_gid: if root { UNPRIVILEGED_ID } else { host.gid },
        deny_setgroups: !root,
    }
}

/// The room's steps. `watched` is whether the supervisor looks at processes itself, through init's /proc.
fn plan_room(spec: &Spec, ids: &IdMap, files: &mut rootfs::Files, watched: bool) -> Vec<Step> {
    let mut steps = Vec::with_capacity(files.steps.len() + 12);
    if !ids.deny_setgroups {
        steps.push(Step::BecomeId { uid: ids.inner_uid, gid: ids.inner_gid });
        // The change of uid cleared it.
        steps.push(Step::DieWithParent);
    }
    steps.push(Step::CgroupNamespace);
    let own_network = spec.network == Network::None;
    if own_network {
        steps.push(Step::NetNamespace);
    }
    if !spec.collect.is_empty() {
        steps.push(Step::OpenUserNamespace);
    }
    steps.append(&mut files.steps);
    steps.push(Step::Hostname(
        std::ffi::CString::new(spec.hostname.as_str()).expect("a host name is letters, digits, '-' and '.'"),
    ));
    let mut handed = vec![step::Slot::SCRATCH];
    if watched {
        steps.push(Step::WatchProc);
        handed.push(step::Slot::WATCH);
    }
    if files.kind == "overlay" {
        steps.push(Step::Open { path: c"upper".to_owned(), slot: step::Slot::UPPER });
        handed.push(step::Slot::UPPER);
    }
    if own_network {
        steps.push(Step::EnterNetNamespace);
    }
    steps.push(Step::SealRoot);
    steps.push(Step::Pivot);
    if files.copy_work.is_some() || !spec.collect.is_empty() {
        steps.push(Step::OpenInside { path: c"/box".to_owned(), slot: step::Slot::BOX });
        handed.push(step::Slot::BOX);
    }
    if !spec.collect.is_empty() {
        handed.push(step::Slot::USER_NS);
    }
    steps.push(Step::Hand(handed));
    if files.copy_work.is_some() {
        steps.push(Step::Await);
    }
    steps.push(Step::NotDumpable);
    steps
}

fn plan_isolation(spec: &Spec, host: &Host, work: &str) -> Isolation {
    let mut namespaces = vec!["user", "pid", "mount"];
    if spec.network == Network::None {
        namespaces.push("net");
    }
    namespaces.extend(["ipc", "uts", "cgroup"]);
    let mut missing = Vec::new();
    let landlock_abi = lockdown::landlock_level(host);
    if landlock_abi.is_none() {
        missing.push("Landlock, the second wall around files, is not there on this kernel".to_owned());
    }
    if let crate::host::Fact::Refused { why, .. } = &host.seccomp_notify {
        missing.push(format!("refused system calls are not recorded: {why}"));
    }
    if spec.network == Network::Blocked {
        missing.push("the host's network tables can be read in /proc/net".to_owned());
    }
    Isolation {
        namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        id_map: if host.uid == 0 { "fixed" } else { "self" }.to_owned(),
        landlock_abi,
        policy: spec.policy.name.clone(),
        proc: "own".to_owned(),
        network: match spec.network {
            Network::None => "none",
            Network::Blocked => "blocked",
            Network::Host => "host",
        }
        .to_owned(),
        work: work.to_owned(),
        supplementary_groups: if host.uid == 0 { 0 } else { host.supplementary_groups },
        missing,
    }
}
