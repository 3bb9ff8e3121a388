//! `sandbox` runs ONE untrusted command without any privilege, under strict caps on time, memory, processes, disk and
//! output, and says truthfully what happened.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic))]

mod child;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod host;
pub mod plan;
pub mod report;
pub mod spec;
mod supervise;
#[allow(unsafe_code)]
mod sys;
pub mod wire;

pub use error::{Error, Kind};
pub use host::Host;
pub use plan::{Plan, plan};
pub use report::{Report, Status};
pub use spec::{Bytes, Cap, Millis, Spec};
pub use supervise::{CancelHandle, Runner, Running};

/// The example in README.md, which `cargo test` compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
