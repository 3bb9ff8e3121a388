//! The `sandbox` command.

use std::process::ExitCode;

// Parsing the command line took 175 µs with musl's allocator and takes 63 µs with this one (static build, medians of 300).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    sandbox::cli::main()
}
