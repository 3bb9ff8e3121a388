//! Runs a `Spec`.

use crate::error::Error;
use crate::report::Report;
use crate::spec::Spec;
use std::convert::Infallible;

/// Starts runs.
#[derive(Debug)]
pub struct Runner;

/// A run that was started.
#[derive(Debug)]
pub struct Running(Infallible);

impl Runner {
    pub(crate) fn direct() -> Runner {
        Runner
    }

    /// Starts a run.
    ///
    /// # Errors
    /// Always: this build has no engine.
    pub fn launch(&self, spec: &Spec) -> Result<Running, Error> {
        spec.validate()?;
        Err(Error::sandbox("cannot start the command: this build has no engine"))
    }
}

impl Running {
    /// The end of the run.
    pub fn wait(self) -> Report {
        match self.0 {}
    }

    pub(crate) fn heed_signals(&mut self) -> Result<(), Error> {
        match self.0 {}
    }
}
