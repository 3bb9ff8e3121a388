//! The built-in policies: `policies/*.toml` as constants, written by the build script.

use super::syntax::ShownKind;
use super::table::{Answer, Note, Op, Rule, Table, Test};
use super::{Policy, mount};
use crate::spec::calls::Call;
use crate::spec::{Asked, Bytes, Cap, Millis};
use std::borrow::Cow;

struct Builtin {
    name: &'static str,
    about: &'static str,
    limits: Asked,
    files: &'static [(ShownKind, &'static str)],
    env: &'static [(&'static str, &'static str)],
    local: &'static [Rule],
    network: &'static [Rule],
}

include!(concat!(env!("OUT_DIR"), "/policies.rs"));

fn table(rules: &'static [Rule]) -> Table {
    Table {
        rules: Cow::Borrowed(rules),
        tests: Cow::Borrowed(&TESTS),
        values: Cow::Borrowed(&VALUES),
        notes: Cow::Borrowed(&NOTES),
        text: Cow::Borrowed(TEXT),
    }
}

impl Builtin {
    fn policy(&self) -> Policy {
        Policy {
            name: self.name.to_owned(),
            about: self.about.to_owned(),
            limits: self.limits.clone(),
            // Those that are no mounts would have failed the test of this file.
            mounts: self.files.iter().filter_map(|(kind, words)| mount(*kind, words).ok()).collect(),
            env: self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            local: table(self.local),
            network: table(self.network),
        }
    }
}

pub(super) fn names() -> impl ExactSizeIterator<Item = &'static str> {
    BUILTINS.iter().map(|builtin| builtin.name)
}

pub(super) fn find(name: &str) -> Option<Policy> {
    BUILTINS.iter().find(|builtin| builtin.name == name).map(Builtin::policy)
}

pub(super) fn default() -> Policy {
    BUILTINS[0].policy()
}

pub(super) fn default_limits() -> &'static Asked {
    &BUILTINS[0].limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_built_in_policies_show_are_mounts() {
        for builtin in &BUILTINS {
            for (kind, words) in builtin.files {
                assert_eq!(mount(*kind, words).map(|_| ()), Ok(()), "{}", builtin.name);
            }
        }
        assert_eq!(default().name, "default");
    }
}
