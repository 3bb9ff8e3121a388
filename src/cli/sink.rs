//! Where reports go: stdout, a file, an open descriptor. All are opened before the start and written at the end.

use super::args::ResultArgs;
use crate::error::Error;
use crate::report::Report;
use crate::supervise::duplicate_inherited;
use clap::Command;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which reports are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) json: bool,
    pub(super) file: Option<PathBuf>,
    pub(super) descriptor: Option<i32>,
}

impl From<&ResultArgs> for Wanted {
    fn from(args: &ResultArgs) -> Self {
        Wanted { json: args.json, file: args.report.clone(), descriptor: args.report_fd }
    }
}

impl Wanted {
    /// Whether a report goes anywhere.
    pub(super) fn any(&self) -> bool {
        self.json || self.file.is_some() || self.descriptor.is_some()
    }

    /// What a command line that does not parse asks for, as far as it can be told: a usage error is reported too. The words
    /// behind `--`, or behind the first word that is no option, are the command's own.
    pub(super) fn guess(grammar: &Command, words: &[OsString]) -> Wanted {
        let mut wanted = Wanted::default();
        let mut words = words.iter();
        // Behind an option that nobody knows, a word may be its value or the command.
        let mut lost = false;
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" || (!bytes.starts_with(b"-") && !lost) {
                break;
            }
            let Some(long) = bytes.strip_prefix(b"--") else {
                lost |= skip_short(grammar, bytes, &mut words).is_none();
                continue;
            };
            let (name, mut value) = match long.iter().position(|&byte| byte == b'=') {
                Some(at) => (&long[..at], Some(OsStr::from_bytes(&long[at + 1..]))),
                None => (long, None),
            };
            let known = grammar.get_arguments().find(|arg| {
                let names = arg.get_long_and_visible_aliases().unwrap_or_default();
                names.iter().any(|known| known.as_bytes() == name)
            });
            match known {
                None => lost = true,
                Some(arg) if arg.get_action().takes_values() && value.is_none() => {
                    value = words.next().map(OsString::as_os_str);
                }
                Some(_) => {}
            }
            match (name, value) {
                (b"json", _) => wanted.json = true,
                (b"report", Some(file)) if !file.is_empty() => wanted.file = Some(file.into()),
                (b"report-fd", Some(number)) => wanted.descriptor = number.to_str().and_then(|n| n.parse().ok()),
                _ => {}
            }
        }
        wanted
    }
}

/// Steps over `-q`, `-m 256M` and `-m256M`; `None` for a letter that nobody knows.
fn skip_short<'a>(grammar: &Command, letters: &[u8], words: &mut impl Iterator<Item = &'a OsString>) -> Option<()> {
    for (at, &letter) in letters.iter().enumerate().skip(1) {
        let arg = grammar.get_arguments().find(|arg| arg.get_short() == Some(char::from(letter)))?;
        if arg.get_action().takes_values() {
            if at + 1 == letters.len() {
                words.next();
            }
            return Some(());
        }
    }
    Some(())
}

/// The open ends.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    stdout: bool,
    file: Option<(PathBuf, File)>,
    descriptor: Option<(i32, File)>,
}

impl Sinks {
    /// Opens what is wanted. What could be opened is there even beside an error, so that the error itself is reported.
    pub(super) fn open(wanted: &Wanted) -> (Sinks, Option<Error>) {
        let mut sinks = Sinks { stdout: wanted.json, ..Sinks::default() };
        let mut trouble = None;
        // The descriptor first: nothing of ours may take its number.
        if let Some(number) = wanted.descriptor {
            match open_descriptor(number) {
                Ok(file) => sinks.descriptor = Some((number, file)),
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(path) = &wanted.file {
            match open_file(path) {
                Ok(file) => sinks.file = Some((path.clone(), file)),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        (sinks, trouble)
    }

    /// Writes the report everywhere.
    ///
    /// # Errors
    /// The first one that could not be written; the others are written all the same.
    pub(super) fn write(self, report: &Report) -> Result<(), Error> {
        let mut first = Ok(());
        if let Some((number, file)) = self.descriptor {
            let written = write_json(file, report);
            first = first.and(written.map_err(|e| cannot_write(&format!("to descriptor {number}"), e)));
        }
        if let Some((path, file)) = self.file {
            first = first.and(write_file(&path, file, report));
        }
        if self.stdout {
            first =
                first.and(stdout().and_then(|file| write_json(file, report)).map_err(|e| cannot_write("to stdout", e)));
        }
        first
    }
}

/// Standard output as a file: std's own handle takes a closed one for a written one.
pub(super) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn cannot_write(place: &str, cause: io::Error) -> Error {
    Error::sandbox(format!("cannot write the report {place}")).because(cause)
}

fn open_descriptor(number: i32) -> Result<File, Error> {
    let cannot = || Error::sandbox(format!("cannot write the report to descriptor {number}"));
    let free = number.max(3);
    let hint = format!("open one in the shell: sandbox run --report-fd {free} … {free}>report.json");
    let copy: OwnedFd = duplicate_inherited(number).map_err(|e| cannot().because(e).hint(&*hint))?;
    let flags = fcntl(&copy, FcntlArg::F_GETFL).map_err(|e| cannot().because(e))?;
    if OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        return Err(cannot().because("it is open for reading only").hint(hint));
    }
    Ok(File::from(copy))
}

/// Opens and empties the file; no link is followed at its end, and a pipe that nobody reads is refused, not waited for.
fn open_file(path: &Path) -> Result<File, Error> {
    let cannot = || Error::sandbox(format!("cannot open the report file {}", path.display()));
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o666).custom_flags(flags.bits());
    let file = options.open(path).map_err(|error| {
        let hint = match error.raw_os_error() {
            Some(libc::ELOOP) => "name the file that the link leads to, or hand over an open one with --report-fd N",
            Some(libc::ENXIO) => "start the reader of this pipe first, or hand over an open one with --report-fd N",
            Some(libc::ENOENT) => "make its directory first",
            Some(libc::EISDIR) => "name a file in it",
            _ => "choose a place that you may write to",
        };
        cannot().because(error).hint(hint)
    })?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|e| cannot().because(e))?;
    Ok(file)
}

fn write_file(path: &Path, file: File, report: &Report) -> Result<(), Error> {
    let place = format!("to {}", path.display());
    let failed = |e| cannot_write(&place, e);
    let metadata = file.metadata().map_err(failed)?;
    if metadata.file_type().is_fifo() || metadata.file_type().is_char_device() {
        return write_json(file, report).map_err(failed);
    }
    // A payload with --rw may have written into it meanwhile.
    file.set_len(0).map_err(failed)?;
    let writer = file.try_clone().map_err(failed)?;
    if let Err(error) = write_json(writer, report) {
        // Nothing is better than half a report.
        file.set_len(0).map_err(failed)?;
        return Err(failed(error));
    }
    // … or have put a file of its own in this one's place: who reads that would believe the program.
    match std::fs::symlink_metadata(path) {
        Ok(now) if (now.dev(), now.ino()) == (metadata.dev(), metadata.ino()) => Ok(()),
        _ => Err(Error::sandbox(format!("cannot leave the report in {}", path.display()))
            .because("the file was replaced during the run")
            .hint("name a file outside of what --rw shows")),
    }
}

fn write_json(file: File, report: &Report) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(64 * 1024, Patient(file));
    serde_json::to_writer(&mut writer, report)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

/// Waits where the caller's descriptor does not block: its flags are the caller's, so they stay.
pub(super) struct Patient(pub(super) File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut ready, PollTimeout::NONE) {
                        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::RunArgs;
    use crate::cli::failure::report_of;
    use crate::cli::parse;

    fn guess(words: &[&str]) -> Wanted {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Wanted::guess(&parse::grammar::<RunArgs>("run"), &words)
    }

    #[test]
    fn a_broken_command_line_still_says_where_its_report_goes() {
        assert!(guess(&["--memm", "1", "--json", "--", "x"]).json);
        assert!(guess(&["--mem", "--json", "--json"]).json);
        assert!(guess(&["-qm1M", "--json", "x"]).json);
        assert_eq!(guess(&["--report=r", "--bad"]).file, Some("r".into()));
        assert_eq!(guess(&["--report-fd", "7", "--bad"]).descriptor, Some(7));
    }

    #[test]
    fn the_commands_own_words_ask_for_nothing() {
        assert!(!guess(&["--bad", "--", "x", "--json"]).any());
        assert!(!guess(&["--memory", "1", "x", "--json"]).any());
        assert!(!guess(&["--mem", "--json", "x", "--report", "r"]).any());
        assert!(!guess(&["-m", "--json", "x"]).any());
    }

    #[test]
    fn a_report_file_that_was_replaced_is_an_error_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let report = report_of(&Error::sandbox("x"), &[]);
        let file = open_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "forged").unwrap();
        let error = write_file(&path, file, &report).unwrap_err();
        assert!(error.to_string().contains("was replaced"), "{error}");

        std::os::unix::fs::symlink("elsewhere", directory.path().join("link")).unwrap();
        let error = open_file(&directory.path().join("link")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        assert!(!directory.path().join("elsewhere").exists());
    }

    #[test]
    fn what_a_payload_wrote_into_the_report_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let file = open_file(&path).unwrap();
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        write_file(&path, file, &report_of(&Error::sandbox("x"), &[])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"schema\":1") && text.ends_with("}\n"), "{text}");
    }
}
