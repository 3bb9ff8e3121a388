//! The only `unsafe`: typed, owning descriptors, one file per man-page family.

pub(crate) mod query;
pub(crate) mod trial;
