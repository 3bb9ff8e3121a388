//! Paths inside the sandbox, and the `OUTSIDE[:INSIDE]` words of the command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// An absolute path inside the sandbox, in normal form: no `.`, no `..`, no repeated slash, no NUL byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InsidePath(PathBuf);

/// Why words are no path; `Display` is a sentence that names the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPath(String);

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPath {}

impl InsidePath {
    /// `/box`, the work directory.
    pub fn work() -> Self {
        InsidePath(PathBuf::from("/box"))
    }

    /// Parses an absolute path; a relative one is taken from `/box`.
    ///
    /// # Errors
    /// A `..`, a NUL byte, or an empty path.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, BadPath> {
        let path = path.as_ref();
        let shown = path.display();
        if path.as_os_str().is_empty() {
            return Err(BadPath("a path inside the sandbox cannot be empty".to_owned()));
        }
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(BadPath(format!("'{shown}' holds a NUL byte")));
        }
        let mut clean = PathBuf::from(if path.is_absolute() { "/" } else { "/box" });
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => return Err(BadPath(format!("'{shown}' goes up: write it without '..'"))),
            }
        }
        Ok(InsidePath(clean))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// `OUTSIDE[:INSIDE]`, with `\:` for a colon and `\\` for a backslash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPair {
    /// The host path, as written.
    pub outside: PathBuf,
    /// The path inside, where one was written.
    pub inside: Option<InsidePath>,
}

impl PathPair {
    /// Parses the words.
    ///
    /// # Errors
    /// More than one unescaped colon, an empty half, or a bad inside path.
    pub fn parse(words: &OsStr) -> Result<Self, BadPath> {
        let mut halves = split_colon(words)?.into_iter();
        // `split_colon` gives one or two halves.
        let outside = halves.next().unwrap_or_default();
        if outside.is_empty() {
            return Err(BadPath(format!("'{}' names no path", words.display())));
        }
        let inside = halves.next().map(InsidePath::new).transpose()?;
        Ok(PathPair { outside: outside.into(), inside })
    }
}

/// Splits at the one unescaped colon.
pub(crate) fn split_colon(words: &OsStr) -> Result<Vec<OsString>, BadPath> {
    let mut halves = vec![Vec::new()];
    let mut bytes = words.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(&next @ (b':' | b'\\'))) => {
                halves.last_mut().expect("starts with one half").push(next);
                bytes.next();
            }
            (b':', _) => halves.push(Vec::new()),
            (other, _) => halves.last_mut().expect("starts with one half").push(other),
        }
    }
    if halves.len() > 2 {
        return Err(BadPath(format!("'{}' has more than one colon: write \\: for one in a name", words.display())));
    }
    Ok(halves.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_paths_are_absolute_and_clean() {
        assert_eq!(InsidePath::new("/a//b/./c/").unwrap().as_path(), Path::new("/a/b/c"));
        assert_eq!(InsidePath::new("data").unwrap().as_path(), Path::new("/box/data"));
        assert!(InsidePath::new("/a/../b").is_err());
        assert!(InsidePath::new("").is_err());
    }

    #[test]
    fn a_backslash_keeps_a_colon() {
        let pair = PathPair::parse(OsStr::new("/a\\:b:/c")).unwrap();
        assert_eq!(pair.outside, Path::new("/a:b"));
        assert_eq!(pair.inside.unwrap().as_path(), Path::new("/c"));
        assert_eq!(PathPair::parse(OsStr::new("/a")).unwrap().inside, None);
        assert!(PathPair::parse(OsStr::new("a:b:c")).is_err());
        assert!(PathPair::parse(OsStr::new(":b")).is_err());
        assert!(PathPair::parse(OsStr::new("a:")).is_err());
    }
}
