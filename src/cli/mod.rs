//! Words in, words out. Decides nothing about the kernel.

mod check;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
enum Command {
    Check(check::CheckArgs),
}

/// The `sandbox` command.
pub fn main() -> ExitCode {
    let Command::Check(args) = Command::parse();
    match check::run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
