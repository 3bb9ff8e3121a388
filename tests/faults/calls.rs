//! x
use crate::support::{Place, Test, test};
pub(crate) const TESTS: &[Test] = &[];
