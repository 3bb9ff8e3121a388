//! Policies: which system calls a program may make, each with its reason; and the limits, files and environment that go
//! with them. One file format for built-in and own ones.

use super::{Asked, Mount};
use crate::error::Error;

/// A policy, with everything that it extends already merged in.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The built-in name, or the file's path.
    pub name: String,
    /// Its default limits.
    pub limits: Asked,
    /// What it shows besides the default.
    pub mounts: Vec<Mount>,
    /// What it sets in the environment.
    pub env: Vec<(String, String)>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { name: "default".to_owned(), limits: Asked::default(), mounts: Vec::new(), env: Vec::new() }
    }
}

impl Policy {
    /// A built-in policy.
    ///
    /// # Errors
    /// A name that is none of ours; the message lists them.
    pub fn builtin(name: &str) -> Result<Policy, Error> {
        match name {
            "default" => Ok(Policy::default()),
            _ => Err(Error::usage(format!("there is no policy '{name}'"))),
        }
    }
}
