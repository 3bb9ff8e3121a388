//! Limits of each process: `RLIMIT_*`, which every child inherits and none can raise.

use super::{Draft, by_kernel, nothing};
use crate::report::{Enforcement, Scope};
use crate::spec::{Bytes, Limit};

// The numbers of x86-64 and aarch64; libc gives them another type for each C library.
pub(super) const CPU: u32 = 0;
const FSIZE: u32 = 1;
pub(super) const DATA: u32 = 2;
const STACK: u32 = 3;
const CORE: u32 = 4;
const RSS: u32 = 5;
pub(super) const NPROC: u32 = 6;
pub(super) const NOFILE: u32 = 7;
const MEMLOCK: u32 = 8;
pub(super) const AS: u32 = 9;
const LOCKS: u32 = 10;
const SIGPENDING: u32 = 11;
const MSGQUEUE: u32 = 12;
const NICE: u32 = 13;
const RTPRIO: u32 = 14;
const RTTIME: u32 = 15;

/// Suppresses core files and core_pattern's pipe handlers, which run as root on the host; 0 leaves the latter.
const NO_CORE: u64 = 1;
/// The kernel's own ceiling on descriptors, as it is set everywhere.
const MOST_FILES: u64 = 1 << 20;

/// The row of a limit that is one resource.
fn resource(draft: &mut Draft<'_>, limit: Limit, number: u32, asked: Option<u64>, name: &str) -> Enforcement {
    let Some(value) = draft.rlimit(number, asked) else { return nothing(limit, None) };
    let clamped = asked.is_none_or(|asked| value < asked);
    Enforcement { clamped_by: clamped.then(|| "caller".to_owned()), ..by_kernel(limit, value, name, Scope::Process) }
}

/// The largest offset that may be written in a file.
pub(super) fn file_size(draft: &mut Draft<'_>) -> Enforcement {
    let asked = draft.spec.limits.file_size.value().map(Bytes::get);
    resource(draft, Limit::FileSize, FSIZE, asked, "RLIMIT_FSIZE")
}

/// Descriptors.
pub(super) fn open_files(draft: &mut Draft<'_>) -> Enforcement {
    let asked = draft.spec.limits.open_files.value();
    let hard = draft.hard(NOFILE);
    let wanted = asked.or(hard).unwrap_or(MOST_FILES);
    let row = resource(draft, Limit::OpenFiles, NOFILE, Some(wanted), "RLIMIT_NOFILE");
    match asked {
        Some(_) => row,
        // Nobody has more than the kernel's ceiling; that is no clamp of the caller's.
        None => Enforcement { clamped_by: None, ..row },
    }
}

/// The stack of a process's first thread; the C library gives each further thread as much address space.
pub(super) fn stack(draft: &mut Draft<'_>) -> Enforcement {
    let mut asked = draft.spec.limits.stack.value().map(Bytes::get);
    let mut note = None;
    // As much as the memory limit by default; but the kernel refuses to map more than the machine has at once, and no
    // thread could be made.
    let most = draft.host.ram / 2;
    if !draft.spec.asked.names(Limit::Stack) && most > 0 && asked.is_some_and(|asked| asked > most) {
        asked = Some(most);
        note = Some("half of this machine's memory, by default: otherwise no thread could be made".to_owned());
    }
    let row = resource(draft, Limit::Stack, STACK, asked, "RLIMIT_STACK");
    Enforcement { note, ..row }
}

/// Core files.
pub(super) fn core(draft: &mut Draft<'_>) -> Enforcement {
    let asked = draft.spec.limits.core.value().map(|bytes| bytes.get().max(NO_CORE));
    let mut row = resource(draft, Limit::Core, CORE, asked, "RLIMIT_CORE");
    let handler = "a core_pattern handler of the host, which runs as root, would be started on a crash";
    row.note = match row.value {
        Some(NO_CORE) => None,
        Some(0) => Some(format!("the caller's hard RLIMIT_CORE is 0, not 1: {handler}")),
        Some(_) | None => Some(handler.to_owned()),
    };
    row
}

/// Everything else that a caller's own limits would let into the run: as far open as the caller's hard limits allow, so
/// that no soft limit of a shell changes what a program does; real-time priorities shut.
pub(super) fn surroundings(draft: &mut Draft<'_>) {
    let others = [
        // No allocation may fail before the memory limit: then one limit would have two endings.
        (AS, None),
        (DATA, None),
        (RSS, None),
        (LOCKS, None),
        (RTTIME, None),
        // The kernel's defaults; locked memory is counted as any other.
        (MEMLOCK, Some(8 << 20)),
        // Queued signals and timers are kernel memory that polling cannot see.
        (SIGPENDING, Some(4096)),
        (MSGQUEUE, Some(819_200)),
        (NICE, Some(0)),
        (RTPRIO, Some(0)),
    ];
    for (number, wanted) in others {
        draft.rlimit(number, wanted);
    }
}
