//! What every test program that needs a kernel shares: trials by name, what they need, who they run as, a place to work
//! in, and what must not be left behind.
//!
//! A test program started as root runs everything twice, as root and as an ordinary numeric uid; each trial is a process
//! of its own (this very program, started again), so that a trial can hang, crash or change its uid without harm.

// Each test program uses its own part of this.
#![allow(dead_code, unused_imports)]

pub(crate) mod call;
pub(crate) mod feature;
pub(crate) mod harness;
pub(crate) mod leftovers;
pub(crate) mod place;
pub(crate) mod programs;
mod raw;

pub(crate) use call::{Call, Output};
pub(crate) use feature::Feature;
pub(crate) use harness::{Case, Test, Who, run_all};
pub(crate) use place::Place;

/// What a test needs besides user namespaces, which every run needs.
macro_rules! needs {
    ($($feature:ident),+) => { &[$($crate::support::Feature::$feature),+] };
}

/// One line of a table of tests: a function, then `root` or `user` where it is for that one only, then its `needs!`.
macro_rules! test {
    ($name:ident) => {
        test!($name, &[])
    };
    ($name:ident, root, $needs:expr) => {
        $crate::support::Test { name: stringify!($name), who: $crate::support::Who::Root, needs: $needs, run: $name }
    };
    ($name:ident, user, $needs:expr) => {
        $crate::support::Test { name: stringify!($name), who: $crate::support::Who::User, needs: $needs, run: $name }
    };
    ($name:ident, $needs:expr) => {
        $crate::support::Test { name: stringify!($name), who: $crate::support::Who::Both, needs: $needs, run: $name }
    };
}

pub(crate) use needs;
pub(crate) use test;
