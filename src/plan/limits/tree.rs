//! Limits of the whole tree that cgroups enforce best: memory, CPU time, processes, CPU rate, CPU set.

use super::process::{AS, CPU, DATA, NPROC};
use super::{Draft, by_kernel, by_us, nothing};
use crate::error::Error;
use crate::report::{Enforcement, Scope};
use crate::spec::{Bytes, CpuSet, Limit, Millis};

/// The most that every kernel takes for a byte limit.
const MOST_BYTES: u64 = i64::MAX as u64 & !0xfff;
/// The kernel's usual period for CPU rates, and its smallest quota, in microseconds.
const PERIOD_US: u64 = 100_000;
const LONGEST_PERIOD_US: u64 = 1_000_000;
const LEAST_QUOTA_US: u64 = 1_000;
/// Init is a task of the tree as well, and the payload's limit does not count it.
const INIT: u64 = 1;

/// Memory of the tree.
pub(super) fn memory(draft: &mut Draft<'_>) -> Result<Enforcement, Error> {
    let limit = draft.spec.limits.memory.value().map(Bytes::get);
    draft.plan.watch.memory_bytes = limit;
    let in_force = limit.map(|bytes| bytes.min(MOST_BYTES));
    // A directory is made even without a limit: the peak is read there.
    let mechanism = if let Some(dir) = draft.v2("memory") {
        // Swapping would only put off the end and spoil the figures; one kill ends all, so that none is left half dead.
        dir.set("memory.swap.max", 0);
        dir.set("memory.oom.group", 1);
        dir.armed.extend(in_force.map(|bytes| ("memory.max".to_owned(), bytes)));
        Some("cgroup2 memory.max")
    } else if let Some(dir) = draft.v1("memory") {
        // The kernel's killer stays on, and its notice makes us kill the rest. With oom_control 1 the tree would wait for
        // us, but only at a page fault: a system call that needs memory (write to a memfd, read into fresh pages)
        // would get ENOMEM without any notice, and the limit would look like the program's own failure.
        let files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        dir.armed.extend(in_force.iter().flat_map(|&bytes| files.map(|file| (file.to_owned(), bytes))));
        Some("cgroup1 memory.limit_in_bytes")
    } else {
        None
    };
    let Some(value) = limit else { return Ok(nothing(Limit::Memory, None)) };
    let mut row = match mechanism {
        Some(mechanism) => by_kernel(Limit::Memory, value, mechanism, Scope::Tree),
        None => {
            draft.plan.watch.poll_memory_bytes = Some(value);
            draft.plan.refuse_memfd = true;
            let note = format!(
                "{}; looking at processes does not see the buffers of pipes and sockets, nor what was mapped and given up \
                 between two looks, and memfd_create is refused",
                draft.why_weak()
            );
            Enforcement { note: Some(note), ..by_us(Limit::Memory, value, "polling", Scope::Tree) }
        }
    };
    for (resource, name) in [(AS, "RLIMIT_AS"), (DATA, "RLIMIT_DATA")] {
        if let Some(hard) = draft.hard(resource).filter(|&hard| hard < value) {
            row.clamped_by = Some("caller".to_owned());
            let bytes = Bytes::new(hard);
            row.note =
                Some(format!("the caller's hard {name} of {bytes} lets allocations of a process fail before that"));
        }
    }
    draft.required(row, &Bytes::new(value))
}

/// CPU time of the tree.
pub(super) fn cpu_time(draft: &mut Draft<'_>) -> Result<Enforcement, Error> {
    let asked = draft.spec.limits.cpu_time.value().map(Millis::nanos);
    let hard = draft.hard(CPU).map(|seconds| seconds.saturating_mul(1_000_000_000));
    let limit = [asked, hard].into_iter().flatten().min();
    draft.plan.watch.cpu_ns = limit;
    let mechanism = if draft.plan.cgroup.v2.is_some() {
        Some("cgroup2 cpu.stat")
    } else {
        draft.v1("cpuacct").map(|_| "cgroup1 cpuacct.usage")
    };
    draft.plan.watch.poll_cpu = mechanism.is_none();
    let Some(value) = limit else { return Ok(nothing(Limit::CpuTime, None)) };
    second_watchdog(draft, value);
    let mut row = match mechanism {
        Some(mechanism) => by_kernel(Limit::CpuTime, value, mechanism, Scope::Tree),
        None => {
            let note =
                format!("{}; children that nobody waits for can hide a part between two looks", draft.why_weak());
            let row = by_us(Limit::CpuTime, value, "wait4 and polling", Scope::Tree);
            Enforcement { note: Some(note), evadable: true, ..row }
        }
    };
    if asked.is_none_or(|asked| value < asked) {
        row.clamped_by = Some("caller".to_owned());
    }
    draft.required(row, &Millis::new(value / 1_000_000))
}

/// RLIMIT_CPU, for the case that the supervisor is stopped: late enough that it never comes before us. SIGXCPU ends a
/// process that does not heed it one second later.
fn second_watchdog(draft: &mut Draft<'_>, limit_ns: u64) {
    let soft = limit_ns.div_ceil(1_000_000_000).saturating_add(1);
    let hard = soft.saturating_add(1);
    let most = draft.hard(CPU).unwrap_or(u64::MAX);
    draft.plan.rlimits.push((CPU, soft.min(most), hard.min(most)));
}

/// Tasks of the payload.
pub(super) fn processes(draft: &mut Draft<'_>) -> Result<Enforcement, Error> {
    let asked = draft.spec.limits.processes.value();
    let own = draft.hard(NPROC).map(|hard| hard.saturating_sub(INIT).max(1));
    let limit = [asked, own].into_iter().flatten().min();
    let all = limit.map(|tasks| tasks.saturating_add(INIT));
    let mechanism = if let Some(dir) = draft.v2("pids") {
        // The kernel's own ceiling is 2^22.
        all.inspect(|&all| dir.set("pids.max", all.min(1 << 22)));
        Some("cgroup2 pids.max")
    } else if let Some(dir) = draft.v1("pids") {
        all.inspect(|&all| dir.set("pids.max", all.min(1 << 22)));
        Some("cgroup1 pids.max")
    } else {
        None
    };
    // Beside a cgroup it is a second wall, one step further out: the kernel asks it first, and only the cgroup tells of
    // a refused fork. The user namespace has one id, so what it counts is the tree.
    draft.rlimit(NPROC, all.map(|all| if mechanism.is_some() { all.saturating_add(1) } else { all }));
    let Some(value) = limit else { return Ok(nothing(Limit::Processes, None)) };
    let mut row = by_kernel(Limit::Processes, value, mechanism.unwrap_or("RLIMIT_NPROC"), Scope::Tree);
    if asked.is_none_or(|asked| value < asked) {
        row.clamped_by = Some("caller".to_owned());
    }
    draft.required(row, &value)
}

/// CPU time per time.
pub(super) fn cpus(draft: &mut Draft<'_>) -> Result<Enforcement, Error> {
    let Some(rate) = draft.spec.limits.cpus.value() else { return Ok(nothing(Limit::Cpus, None)) };
    let value = u64::from(rate.get());
    if value == 0 {
        return Err(
            Error::usage("--cpus 0 leaves no CPU to run on").hint("write a number such as 0.5, or --cpus unlimited")
        );
    }
    let quota = |period: u64| value.saturating_mul(period) / 1000;
    let period = if quota(PERIOD_US) < LEAST_QUOTA_US { LONGEST_PERIOD_US } else { PERIOD_US };
    let quota = quota(period).max(LEAST_QUOTA_US);
    if let Some(dir) = draft.v2("cpu") {
        dir.set("cpu.max", format!("{quota} {period}"));
        return Ok(by_kernel(Limit::Cpus, value, "cgroup2 cpu.max", Scope::Tree));
    }
    if let Some(dir) = draft.v1("cpu") {
        dir.set("cpu.cfs_period_us", period);
        dir.set("cpu.cfs_quota_us", quota);
        return Ok(by_kernel(Limit::Cpus, value, "cgroup1 cpu.cfs_quota_us", Scope::Tree));
    }
    if draft.spec.asked.names(Limit::Cpus) {
        return Err(no_controller(draft, format!("cannot limit the run to {rate} CPUs"), "cpu"));
    }
    Ok(Enforcement { note: Some(no_controller_words("cpu")), ..nothing(Limit::Cpus, Some(value)) })
}

/// Which CPUs.
pub(super) fn cpu_set(draft: &mut Draft<'_>) -> Result<Enforcement, Error> {
    let host = draft.host.cpus.max(1);
    let cpus = draft.spec.limits.cpu_set.as_ref().map(|set| u32::try_from(set.cpus().len()).unwrap_or(u32::MAX));
    let tasks = draft.spec.limits.processes.value().map(|tasks| u32::try_from(tasks).unwrap_or(u32::MAX));
    draft.plan.watch.cpus = [cpus, tasks].into_iter().flatten().fold(host, u32::min).max(1);
    let Some(set) = draft.spec.limits.cpu_set.clone() else { return Ok(nothing(Limit::CpuSet, None)) };
    if set.cpus().len() > host as usize {
        let error = format!("--cpu-set {set} names {} CPUs, and this caller may use {host}", set.cpus().len());
        return Err(Error::usage(error));
    }
    let row = |mechanism: &str, kernel| Enforcement {
        mechanism: Some(mechanism.to_owned()),
        scope: Scope::Tree,
        kernel,
        ..nothing(Limit::CpuSet, None)
    };
    if let Some(dir) = draft.v2("cpuset") {
        dir.set("cpuset.cpus", &set);
        return Ok(row("cgroup2 cpuset.cpus", true));
    }
    if let Some(dir) = draft.v1("cpuset") {
        dir.set("cpuset.cpus", &set);
        return Ok(row("cgroup1 cpuset.cpus", true));
    }
    draft.plan.affinity = Some(mask(&set));
    let note = "a program can widen its own affinity where the policy allows sched_setaffinity";
    Ok(Enforcement { note: Some(note.to_owned()), evadable: true, ..row("sched_setaffinity", false) })
}

fn mask(set: &CpuSet) -> Vec<u64> {
    let mut mask = vec![0; set.cpus().last().map_or(1, |&last| usize::from(last) / 64 + 1)];
    for &cpu in set.cpus() {
        if let Some(word) = mask.get_mut(usize::from(cpu) / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    mask
}

fn no_controller_words(controller: &str) -> String {
    format!("there is no {controller} controller for this caller here")
}

fn no_controller(draft: &Draft<'_>, doing: String, controller: &str) -> Error {
    let host = &draft.host.cgroup;
    let error = Error::sandbox(doing).because(match &host.why_weak {
        Some(why) => format!("{}: {why}", no_controller_words(controller)),
        None => no_controller_words(controller),
    });
    let flag = Limit::Cpus.flag();
    match (&host.fix, &host.v2) {
        (Some(fix), _) => error.hint(format!("{fix}\nor leave out {flag}")),
        (None, Some(_)) if host.v1.is_empty() => error.hint(format!(
            "sudo sh -c 'mkdir -p /etc/systemd/system/user@.service.d && printf \"[Service]\\nDelegate=cpu cpuset io memory \
             pids\\n\" > /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload', then log in \
             again\nor leave out {flag}"
        )),
        (None, _) => {
            let uid = draft.host.uid;
            let dir = format!("/sys/fs/cgroup/{controller}/sandbox/uid-{uid}");
            error.hint(format!("sudo sh -c 'mkdir -p {dir} && chown {uid} {dir}'\nor leave out {flag}"))
        }
    }
}
