//! `sandbox` runs ONE untrusted command without any privilege, under strict caps on time, memory, processes, disk and
//! output, and says truthfully what happened.
//!
//! A [`Spec`] says what is wanted. With the facts of a [`Host`] it becomes a [`Plan`]: steps, limits, what enforces them. A
//! [`Runner`] starts it, a [`Running`] ends as a [`Report`].
//!
//! ```no_run
//! use sandbox::{Bytes, Millis, Runner, Spec, Status};
//!
//! let runner = Runner::new()?;
//! let spec = Spec::new(["/bin/echo", "hello"]).memory(Bytes::mib(256)).cpu_time(Millis::seconds(1));
//! let report = runner.run(&spec)?;
//! assert_eq!(report.status, Status::Ok);
//! # Ok::<(), sandbox::Error>(())
//! ```
//!
//! # How a run goes
//!
//! The *supervisor* (this library, in its caller) makes pipes and cgroups and has *init* cloned, PID 1 of new user, PID,
//! mount, IPC and UTS namespaces: by itself where it is small and single-threaded, else by the *spawner*, a process of the
//! `sandbox` binary. Init runs the room's steps (namespaces, root file system), then vforks the *payload*, which runs its own
//! (streams, capabilities, Landlock, two seccomp filters, limits) and execs. Between clone and exec nothing allocates, panics
//! or formats: a failed step comes back as a number and an errno, and the supervisor finds the words. Limits are armed and
//! clocks start when the payload says that it is ready. Then one poll loop pumps streams, hears of refused calls and looks at
//! counters when a limit can next be reached. At the end init kills and reaps what is left, the counters are read, files are
//! brought out, and everything is dropped in reverse.
//!
//! # Decisions
//!
//! Where the code departs from what one would expect, and why.
//!
//! 1. **/proc hides init** (`hidepid=invisible`). Init is a fork of the launcher: its command line, with what `--env` set, is
//!    readable even where its memory is not. The supervisor looks at processes through a second, unattached procfs.
//! 2. **Init reaps what it kills.** When a limit ends a run, init is told to kill and reap everything, and is killed itself
//!    only when it has not within 200 ms: what orphans used is then counted.
//! 3. **v1 keeps the kernel's own killer.** With `oom_control 1` a write to a memfd or a read into fresh pages past the limit
//!    answered ENOMEM without any event, so that a memory limit looked like the program's own failure.
//! 4. **Armed memory limits have what set-up used added, and the reported peak has it subtracted**, so that `--mem 4M` means
//!    4 MiB of the program's.
//! 5. **RLIMIT_NPROC stands two above a pids cgroup's cap**, because the kernel asks it first and only the cgroup tells of a
//!    refused fork.
//! 6. **System directories are not id-mapped for a caller who is root.** What is root's alone in `/usr` stays so; only the
//!    work directory and what `--ro` and `--rw` name appear as the payload's own.
//! 7. **The network namespace is made by a process beside init's mounts**: it takes longer than all others together, and what
//!    waits for all CPUs is done in parallel. Where that process fails, init makes it and has the kernel's answer.
//! 8. **A foreign ABI is told, then killed by us**, where refused calls are told at all: killed by the filter it would have no
//!    name in the report. After 1,000 refusals it answers ENOSYS as the rest does; it is never let through.
//! 9. **The caller's streams are opened again, never borrowed**: a pipe or terminal gets a description of our own, so that
//!    neither we nor the payload change a flag of the caller's.
//! 10. **A reader that does not read is waited for, unless we ended the run**: then for a second of no progress, and the report
//!     says how much was dropped.
//! 11. **A launch that fails can teach**: where an overlay or a listener is refused, the plan is made anew with that fact, and
//!     the report says so. Nothing else falls back.
//! 12. **The static binary is built for size.** A start is system calls and page faults; the small one was not slower.
//!
//! Not built yet, and so claimed nowhere: a synthetic /proc where the kernel refuses a fresh one, the perf task clock, entering
//! a systemd scope by ourselves, sub-uids, terminals, images, networks but none, blocked and host.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::panic))]

mod child;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod host;
pub mod plan;
pub mod report;
pub mod spec;
mod supervise;
#[allow(unsafe_code)]
mod sys;
pub mod wire;

pub use error::{Error, Kind};
pub use host::Host;
pub use plan::{Plan, plan};
pub use report::{Report, Status};
pub use spec::{Bytes, Cap, Millis, Spec};
pub use supervise::{CancelHandle, Runner, Running};

/// The example in README.md, which `cargo test` compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
