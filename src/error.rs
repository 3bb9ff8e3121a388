//! What went wrong on our side, in words a person can act on. A payload that fails is no `Error`: it is an `Outcome`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Which of the documented exit codes an error maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The words of the request are off (exit 2).
    Usage,
    /// The sandbox could not be made, or the report could not be written (exit 125).
    Sandbox,
    /// The command exists and cannot be executed (exit 126).
    NotExecutable,
    /// There is no such command inside the sandbox (exit 127).
    NotFound,
}

impl Kind {
    /// 2, 125, 126 or 127.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Sandbox => 125,
            Kind::NotExecutable => 126,
            Kind::NotFound => 127,
        }
    }
}

/// An error of the sandbox itself: `cannot <verb> <object>: <cause> (<ERRNO>)`, and one hint that can be done.
///
/// `Display` gives the sentence without the `sandbox: ` prefix and without the hint, on one line.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    /// The whole sentence's head, such as `cannot show /srv/in in the sandbox`.
    doing: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    errno: Option<i32>,
    hint: Option<String>,
}

impl Error {
    /// A request that makes no sense; `sentence` says which word is off.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Usage, sentence)
    }

    /// Something the sandbox could not do: `doing` starts with "cannot".
    pub fn sandbox(doing: impl Into<String>) -> Self {
        Self::new(Kind::Sandbox, doing)
    }

    /// An error of `kind`; `doing` starts with "cannot" unless it is a usage error.
    pub fn new(kind: Kind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), cause: None, errno: None, hint: None }
    }

    /// Adds what lies beneath, kept as `source()`; an `io::Error` brings its errno.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            self.errno = io.raw_os_error();
        } else if let Some(errno) = cause.downcast_ref::<nix::errno::Errno>() {
            self.errno = Some(*errno as i32);
        }
        self.cause = Some(cause);
        self
    }

    /// Adds an errno of a system call.
    #[must_use]
    pub fn errno(self, errno: i32) -> Self {
        self.because(io::Error::from_raw_os_error(errno))
    }

    /// Adds one thing the reader can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The hint, one line or several, without the `hint: ` prefix.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The errno beneath, where a system call failed.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno
    }

    /// 2, 125, 126 or 127.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }
}

/// `no such file or directory`: the kernel's text for an errno, without its number, in lower case.
pub(crate) fn errno_text(errno: i32) -> String {
    let mut text = nix::errno::Errno::from_raw(errno).desc().to_owned();
    if let Some(first) = text.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// `ENOENT`; a number the table lacks is `errno 4095`.
pub(crate) fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        match (self.errno, &self.cause) {
            // Words that say more than the kernel's text for the errno.
            (Some(errno), Some(cause)) if !cause.is::<io::Error>() && !cause.is::<nix::errno::Errno>() => {
                write!(f, ": {cause} ({})", errno_name(errno))
            }
            (Some(errno), _) => write!(f, ": {} ({})", errno_text(errno), errno_name(errno)),
            (None, Some(cause)) => write!(f, ": {cause}"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_names_the_cause_and_the_errno_once() {
        let error = Error::sandbox("cannot open /x").errno(libc::ENOENT);
        assert_eq!(error.to_string(), "cannot open /x: no such file or directory (ENOENT)");
        let error = Error::sandbox("cannot open /x").errno(libc::EPERM).because("a filter refuses it");
        assert_eq!(error.to_string(), "cannot open /x: a filter refuses it (EPERM)");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
