//! The exit code of a run, from its report alone.

use crate::error::Kind;
use crate::report::{Report, Status};

/// Whatever the sandbox ended: any limit, a refused call.
const ENDED: u8 = 124;

/// The program's own code; 128 + N for a signal; 124 whatever the sandbox ended; 125 the sandbox could not; 126 and 127
/// not executable and not found; 2 usage; a cancelled run 128 + the signal that came.
pub(super) fn exit_code(report: &Report) -> u8 {
    match report.status {
        // What was asked for is not there: a script must not go on with an old file.
        Status::Ok if report.collected.iter().any(|collected| collected.error.is_some()) => Kind::Sandbox.exit_code(),
        Status::Ok => 0,
        Status::NonzeroExit | Status::CompileError => own_code(report.exit_code),
        Status::Signaled => by_signal(report.signal).unwrap_or(ENDED),
        Status::CpuTimeLimit
        | Status::WallTimeLimit
        | Status::MemoryLimit
        | Status::IdleLimit
        | Status::OutputLimit
        | Status::FileSizeLimit
        | Status::SyscallRefused => ENDED,
        Status::ExecFailed => report.failure.unwrap_or(Kind::NotExecutable).exit_code(),
        Status::SandboxFailed => report.failure.unwrap_or(Kind::Sandbox).exit_code(),
        Status::Cancelled => by_signal(report.signal).unwrap_or(130),
    }
}

/// A wait status has 8 bits of it.
fn own_code(code: Option<i32>) -> u8 {
    code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
}

fn by_signal(signal: Option<i32>) -> Option<u8> {
    signal.and_then(|signal| u8::try_from(128 + signal).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::report_of;
    use crate::error::Error;
    use crate::report::Collected;

    fn ended(status: Status, code: Option<i32>, signal: Option<i32>) -> Report {
        Report { status, exit_code: code, signal, failure: None, ..report_of(&Error::sandbox("x"), &[]) }
    }

    #[test]
    fn the_programs_own_124_and_ours_differ_only_in_the_report() {
        assert_eq!(exit_code(&ended(Status::NonzeroExit, Some(124), None)), 124);
        for status in [
            Status::CpuTimeLimit,
            Status::WallTimeLimit,
            Status::MemoryLimit,
            Status::IdleLimit,
            Status::OutputLimit,
            Status::FileSizeLimit,
            Status::SyscallRefused,
        ] {
            assert_eq!(exit_code(&ended(status, None, Some(9))), 124, "{}", status.name());
            assert_eq!(exit_code(&ended(status, Some(0), None)), 124, "{}", status.name());
        }
    }

    #[test]
    fn a_programs_own_end_keeps_its_code_or_signal() {
        assert_eq!(exit_code(&ended(Status::Ok, Some(0), None)), 0);
        assert_eq!(exit_code(&ended(Status::NonzeroExit, Some(255), None)), 255);
        assert_eq!(exit_code(&ended(Status::Signaled, None, Some(9))), 137);
        assert_eq!(exit_code(&ended(Status::Signaled, None, Some(64))), 192);
        assert_eq!(exit_code(&ended(Status::CompileError, Some(1), None)), 1);
    }

    #[test]
    fn a_cancelled_run_has_the_code_of_the_signal_that_came() {
        assert_eq!(exit_code(&ended(Status::Cancelled, None, Some(2))), 130);
        assert_eq!(exit_code(&ended(Status::Cancelled, None, Some(15))), 143);
        assert_eq!(exit_code(&ended(Status::Cancelled, None, None)), 130);
    }

    #[test]
    fn failures_of_ours_have_the_documented_codes() {
        for (kind, code) in [(Kind::Usage, 2), (Kind::Sandbox, 125), (Kind::NotExecutable, 126), (Kind::NotFound, 127)]
        {
            assert_eq!(exit_code(&report_of(&Error::new(kind, "x"), &[])), code);
        }
        assert_eq!(exit_code(&ended(Status::ExecFailed, None, None)), 126);
    }

    #[test]
    fn a_file_that_could_not_be_brought_out_is_no_success() {
        let lost =
            Collected { from: "a".to_owned(), to: "a".to_owned(), bytes: None, error: Some("it is gone".to_owned()) };
        let report = Report { collected: vec![lost], ..ended(Status::Ok, Some(0), None) };
        assert_eq!(exit_code(&report), 125);
        assert_eq!(exit_code(&Report { status: Status::NonzeroExit, exit_code: Some(3), ..report }), 3);
    }
}
