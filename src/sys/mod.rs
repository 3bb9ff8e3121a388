//! The only `unsafe`: typed, owning calls, one file per man-page family.
#![allow(unsafe_code)]

#[cfg(feature = "cli")]
pub(crate) mod inherited;
