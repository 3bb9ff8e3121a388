//! Decisions, pure: what exactly will be done for a `Spec` on a `Host`. Every question about the kernel was asked before.

pub mod filter;
pub mod limits;
mod lockdown;
mod rootfs;
pub mod step;
pub mod words;

pub use limits::{CgroupPlan, Watch};
pub use step::Step;

use crate::error::Error;
use crate::host::Host;
use crate::report::{Enforcement, Isolation};
use crate::spec::{Collect, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Exactly what will be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `CLONE_NEW*` of the first clone.
    pub namespaces: u64,
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
    /// One row per limit.
    pub enforcements: Vec<Enforcement>,
    /// What isolation this is.
    pub isolation: Isolation,
    /// Where host paths appear inside, outermost first: to put a failed exec and results into words.
    pub shown: Vec<Shown>,
    /// What is brought out.
    pub collect: Vec<Collect>,
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

/// Decides.
///
/// # Errors
/// A usage error in the `Spec`, or a refusal: isolation that this host cannot give, or a limit that the caller named and
/// that nothing here can enforce.
pub fn plan(spec: &Spec, host: &Host) -> Result<Plan, Error> {
    let _ = (spec, host);
    Err(Error::sandbox("cannot plan yet"))
}
