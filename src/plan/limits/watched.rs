//! Limits that the supervisor keeps itself (time, output), and those of the throw-away tmpfs.

use super::{Draft, by_kernel, by_us, nothing};
use crate::report::{Enforcement, Scope};
use crate::spec::{Bytes, Limit, Millis, Output};

/// Time since the payload's exec.
pub(super) fn wall_time(draft: &mut Draft<'_>) -> Enforcement {
    let limit = draft.spec.limits.wall_time.value().map(Millis::nanos);
    draft.plan.watch.wall_ns = limit;
    match limit {
        Some(value) => by_us(Limit::WallTime, value, "timer", Scope::Tree),
        None => nothing(Limit::WallTime, None),
    }
}

/// Time without any use of a CPU.
pub(super) fn idle_time(draft: &mut Draft<'_>) -> Enforcement {
    let limit = draft.spec.limits.idle_time.value().map(Millis::nanos);
    draft.plan.watch.idle_ns = limit;
    match limit {
        Some(value) => by_us(Limit::IdleTime, value, "timer and CPU time", Scope::Tree),
        None => nothing(Limit::IdleTime, None),
    }
}

/// Bytes on each stream.
pub(super) fn output(draft: &mut Draft<'_>) -> Enforcement {
    let limit = draft.spec.limits.output.value().map(Bytes::get);
    draft.plan.watch.output_bytes = limit;
    let Some(value) = limit else { return nothing(Limit::Output, None) };
    let spec = draft.spec;
    let direct = [("stdout", &spec.stdout), ("stderr", &spec.stderr)]
        .into_iter()
        .filter(|(_, output)| **output == Output::Direct)
        .map(|(name, _)| name)
        .collect::<Vec<_>>();
    let handed = || Some(format!("{}: the caller's own descriptor, which nobody counts", direct.join(" and ")));
    match direct.len() {
        0 => by_us(Limit::Output, value, "counted pipe", Scope::Stream),
        1 => Enforcement { note: handed(), ..by_us(Limit::Output, value, "counted pipe", Scope::Stream) },
        _ => Enforcement { note: handed(), ..nothing(Limit::Output, Some(value)) },
    }
}

/// Bytes in throw-away places.
pub(super) fn disk(draft: &mut Draft<'_>) -> Enforcement {
    let limit = draft.spec.limits.disk.value().map(Bytes::get);
    draft.plan.scratch.0 = limit;
    match limit {
        Some(value) => by_kernel(Limit::Disk, value, "tmpfs size", Scope::Tree),
        None => nothing(Limit::Disk, None),
    }
}

/// Files in throw-away places.
pub(super) fn inodes(draft: &mut Draft<'_>) -> Enforcement {
    let limit = draft.spec.limits.inodes.value();
    draft.plan.scratch.1 = limit;
    match limit {
        Some(value) => by_kernel(Limit::Inodes, value, "tmpfs nr_inodes", Scope::Tree),
        None => nothing(Limit::Inodes, None),
    }
}

/// What the limits mean together, where that may surprise.
pub(super) fn notes(draft: &mut Draft<'_>) {
    let limits = &draft.spec.limits;
    let mut notes = Vec::new();
    if let (Some(memory), Some(disk)) = (limits.memory.value(), limits.disk.value())
        && disk > memory
    {
        notes.push(format!(
            "files in throw-away places count as memory: the memory limit of {memory} comes before the {disk} of --disk"
        ));
    }
    if let (Some(cpu), Some(wall)) = (draft.plan.watch.cpu_ns, draft.plan.watch.wall_ns) {
        let cpus = u64::from(draft.plan.watch.cpus).saturating_mul(1000);
        let usable = limits.cpus.value().map_or(cpus, |rate| cpus.min(u64::from(rate.get())));
        if u128::from(cpu) * 1000 > u128::from(wall) * u128::from(usable) {
            notes.push(format!(
                "the CPU time limit of {} cannot be reached in {} of wall time on what CPUs there are",
                Millis::new(cpu / 1_000_000),
                Millis::new(wall / 1_000_000)
            ));
        }
    }
    if let (Some(memory), ram) = (limits.memory.value(), draft.host.ram)
        && ram > 0
        && memory.get() > ram
    {
        notes.push(format!("the memory limit of {memory} is more than this machine has ({})", Bytes::new(ram)));
    }
    draft.plan.notes.extend(notes);
}
