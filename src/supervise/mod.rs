//! Outside: start, watch, measure, kill, clean.

#![allow(dead_code)]

pub(crate) mod cgroup;
pub(crate) mod meter;
