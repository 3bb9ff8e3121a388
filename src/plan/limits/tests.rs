use super::*;
use crate::host::cgroup::{CgroupFacts, V2};
use crate::host::{Fact, Host};
use crate::spec::{Asked, Bytes, Cap, CpuRate, Millis, Output};
use std::collections::BTreeMap;

/// A host with these cgroups, and nothing else that matters.
fn host(cgroup: CgroupFacts) -> Host {
    Host {
        kernel: "6.18".to_owned(),
        arch: "x86_64".to_owned(),
        uid: 1000,
        gid: 1000,
        supplementary_groups: 0,
        cwd: None,
        home: None,
        cpus: 4,
        ram: 8 << 30,
        user_namespaces: Fact::Works,
        landlock_abi: 7,
        overlay: Fact::Works,
        fresh_proc: Fact::Works,
        seccomp_notify: Fact::Works,
        idmapped_mounts: Fact::Works,
        perf_clock: Fact::Works,
        cgroup,
        hard_rlimits: Vec::new(),
        system: Vec::new(),
    }
}

fn v2(parent: &str, controllers: &[&str]) -> Option<V2> {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Some(V2 { parent: parent.into(), controllers, after_move: Vec::new() })
}

fn v1(controllers: &[&str], below: &str) -> BTreeMap<String, PathBuf> {
    controllers
        .iter()
        .map(|name| ((*name).to_owned(), PathBuf::from(format!("/sys/fs/cgroup/{name}/{below}"))))
        .collect()
}

const USER: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/sandbox";

fn v2_delegated() -> Host {
    host(CgroupFacts { v2: v2(USER, &["memory", "pids"]), ..CgroupFacts::default() })
}

fn v2_root() -> Host {
    let all = ["cpuset", "cpu", "memory", "pids"];
    Host { uid: 0, gid: 0, ..host(CgroupFacts { v2: v2("/sys/fs/cgroup/sandbox", &all), ..CgroupFacts::default() }) }
}

fn v1_root() -> Host {
    let all = ["memory", "pids", "cpu", "cpuacct", "cpuset"];
    Host { uid: 0, gid: 0, ..host(CgroupFacts { v1: v1(&all, "sandbox"), ..CgroupFacts::default() }) }
}

fn hybrid_root() -> Host {
    let unified = v2("/sys/fs/cgroup/unified/sandbox", &[]);
    let mut host = v1_root();
    host.cgroup.v2 = unified;
    host
}

fn nothing_had() -> Host {
    host(CgroupFacts {
        why_weak: Some("uid 1000 was given no cgroup".to_owned()),
        fix: Some("be given one".to_owned()),
        ..CgroupFacts::default()
    })
}

fn spec(asked: Asked) -> Spec {
    // What the default policy says, whatever it comes to say.
    let stock = Asked {
        mem: Some(Cap::At(Bytes::mib(512))),
        cpu_time: Some(Cap::At(Millis::seconds(10))),
        pids: Some(Cap::At(128)),
        output_size: Some(Cap::At(Bytes::mib(16))),
        inodes: Some(Cap::At(16384)),
        open_files: Some(Cap::At(1024)),
        ..Asked::default()
    };
    Spec::new(["./prog"]).limits(asked.over(&stock))
}

fn stock() -> Spec {
    spec(Asked::default())
}

/// The enforcement as one line per limit that is enforced or should be.
fn rows(plan: &LimitPlan) -> String {
    let mut text = String::new();
    for row in &plan.enforcements {
        let Some(mechanism) = row.mechanism.as_deref().or(row.value.map(|_| "nothing")) else { continue };
        let value = row.value.map_or("-".to_owned(), |value| value.to_string());
        let kernel = if row.kernel { ", kernel" } else { "" };
        let clamped = if row.clamped_by.is_some() { ", clamped" } else { "" };
        let evadable = if row.evadable { ", evadable" } else { "" };
        text += &format!("{} {value}: {mechanism}{kernel}{clamped}{evadable}\n", row.limit);
    }
    text
}

/// The directories as one line each.
fn dirs(plan: &LimitPlan) -> String {
    let mut text = String::new();
    for dir in plan.cgroup.v2.iter().chain(&plan.cgroup.v1) {
        let settings: Vec<String> = dir.settings.iter().map(|(file, value)| format!("{file}={value}")).collect();
        let armed: Vec<String> = dir.armed.iter().map(|(file, bytes)| format!("{file}={bytes}")).collect();
        let parent = dir.parent.display();
        text += &format!("{parent} [{}] {} then {}\n", dir.controllers.join(" "), settings.join(" "), armed.join(" "));
    }
    text
}

const REST: &str = "\
wall_time 30000000000: timer
processes 128: PIDS, kernel
output 16777216: counted pipe
file_size 268435456: RLIMIT_FSIZE, kernel
disk 268435456: tmpfs size, kernel
inodes 16384: tmpfs nr_inodes, kernel
open_files 1024: RLIMIT_NOFILE, kernel
stack 536870912: RLIMIT_STACK, kernel
core 1: RLIMIT_CORE, kernel
";

#[track_caller]
fn expect(host: &Host, memory: &str, cpu: &str, pids: &str, directories: &str) {
    let plan = plan_limits(&stock(), host).unwrap();
    let rest = REST.replace("PIDS", pids);
    assert_eq!(rows(&plan), format!("memory 536870912: {memory}\ncpu_time 10000000000: {cpu}\n{rest}"));
    assert_eq!(dirs(&plan), directories);
    let limits: Vec<Limit> = plan.enforcements.iter().map(|row| row.limit).collect();
    assert_eq!(limits, Limit::ALL);
}

#[test]
fn on_v2_one_directory_enforces_all() {
    let plan =
        format!("{USER} [memory pids] memory.swap.max=0 memory.oom.group=1 pids.max=129 then memory.max=536870912\n");
    expect(&v2_delegated(), "cgroup2 memory.max, kernel", "cgroup2 cpu.stat, kernel", "cgroup2 pids.max", &plan);
    let plan = plan.replace(USER, "/sys/fs/cgroup/sandbox");
    expect(&v2_root(), "cgroup2 memory.max, kernel", "cgroup2 cpu.stat, kernel", "cgroup2 pids.max", &plan);
}

#[test]
fn on_v1_each_controller_has_its_directory() {
    let memory = "/sys/fs/cgroup/memory/sandbox [memory]  then memory.limit_in_bytes=536870912 \
                  memory.memsw.limit_in_bytes=536870912\n";
    let cpu = "/sys/fs/cgroup/cpuacct/sandbox [cpuacct]  then \n";
    let pids = "/sys/fs/cgroup/pids/sandbox [pids] pids.max=129 then \n";
    let (by_memory, by_pids) = ("cgroup1 memory.limit_in_bytes, kernel", "cgroup1 pids.max");
    expect(&v1_root(), by_memory, "cgroup1 cpuacct.usage, kernel", by_pids, &format!("{memory}{cpu}{pids}"));
    // Beside it v2 gives the CPU clock, and a birth inside, kill and freeze.
    let unified = "/sys/fs/cgroup/unified/sandbox []  then \n";
    expect(&hybrid_root(), by_memory, "cgroup2 cpu.stat, kernel", by_pids, &format!("{unified}{memory}{pids}"));
}

#[test]
fn without_cgroups_we_look_and_say_so() {
    expect(&nothing_had(), "polling", "wait4 and polling, evadable", "RLIMIT_NPROC", "");
    let plan = plan_limits(&stock(), &nothing_had()).unwrap();
    assert!(plan.refuse_memfd && plan.watch.poll_cpu);
    assert_eq!(plan.watch.poll_memory_bytes, Some(512 << 20));
    for limit in [Limit::Memory, Limit::CpuTime] {
        let row = plan.enforcements.iter().find(|row| row.limit == limit).unwrap();
        assert!(row.note.as_ref().unwrap().starts_with("uid 1000 was given no cgroup"), "{limit}");
    }
    let cgroup = plan_limits(&stock(), &v2_delegated()).unwrap();
    assert!(!cgroup.refuse_memfd && !cgroup.watch.poll_cpu && cgroup.watch.poll_memory_bytes.is_none());
}

#[test]
fn required_kernel_limits_are_had_or_refused() {
    for host in [v2_delegated(), v2_root(), v1_root(), hybrid_root()] {
        assert!(plan_limits(&stock().require_kernel_limits(true), &host).is_ok());
    }
    let error = plan_limits(&stock().require_kernel_limits(true), &nothing_had()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot enforce --mem 512 MiB by the kernel, as required: here only polling would: uid 1000 was given no cgroup"
    );
    assert_eq!((error.exit_code(), error.hint_text()), (125, Some("be given one")));
    let only_pids = Asked { mem: Some(Cap::Unlimited), cpu_time: Some(Cap::Unlimited), ..Asked::default() };
    assert!(plan_limits(&spec(only_pids).require_kernel_limits(true), &nothing_had()).is_ok());
}

#[test]
fn a_named_cpu_rate_without_a_controller_is_refused_with_the_fix() {
    let asked = Asked { cpus: Some(Cap::At(CpuRate::new(1500))), ..Asked::default() };
    for (host, file) in
        [(v2_root(), "cpu.max=150000 100000"), (v1_root(), "cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000")]
    {
        let plan = plan_limits(&spec(asked.clone()), &host).unwrap();
        assert!(dirs(&plan).contains(file), "{}", dirs(&plan));
    }
    for host in [v2_delegated(), nothing_had()] {
        let error = plan_limits(&spec(asked.clone()), &host).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot limit the run to 1.5 CPUs: there is no cpu controller"),
            "{error}"
        );
        assert!(error.hint_text().is_some_and(|hint| hint.ends_with("or leave out --cpus")));
    }
}

#[test]
fn the_smallest_cpu_rate_has_a_quota_that_the_kernel_takes() {
    let asked = Asked { cpus: Some(Cap::At(CpuRate::new(1))), ..Asked::default() };
    assert!(dirs(&plan_limits(&spec(asked), &v2_root()).unwrap()).contains("cpu.max=1000 1000000"));
}

#[test]
fn controllers_that_are_mounted_together_share_a_directory() {
    let mut host = v1_root();
    for name in ["cpu", "cpuacct"] {
        host.cgroup.v1.insert(name.to_owned(), "/sys/fs/cgroup/cpu,cpuacct/sandbox".into());
    }
    let asked = Asked { cpus: Some(Cap::At(CpuRate::new(1000))), ..Asked::default() };
    let plan = plan_limits(&spec(asked), &host).unwrap();
    let shared: Vec<_> = plan.cgroup.v1.iter().filter(|dir| dir.parent.ends_with("cpu,cpuacct/sandbox")).collect();
    assert_eq!(shared.len(), 1);
    assert_eq!(shared[0].controllers, ["cpuacct", "cpu"]);
}

#[test]
fn a_cpu_set_is_a_cpuset_or_an_affinity() {
    let asked = Asked { cpu_set: Some("0,2-3".parse().unwrap()), ..Asked::default() };
    let plan = plan_limits(&spec(asked.clone()), &v2_root()).unwrap();
    assert!(dirs(&plan).contains("cpuset.cpus=0,2,3") && plan.affinity.is_none());
    assert_eq!(plan.watch.cpus, 3);
    let plan = plan_limits(&spec(asked), &nothing_had()).unwrap();
    assert_eq!(plan.affinity, Some(vec![0b1101]));
    assert!(rows(&plan).contains("cpu_set -: sched_setaffinity, evadable"));
    let far = Asked { cpu_set: Some("64".parse().unwrap()), ..Asked::default() };
    assert_eq!(plan_limits(&spec(far), &nothing_had()).unwrap().affinity, Some(vec![0, 1]));
    let many = Asked { cpu_set: Some("0-7".parse().unwrap()), ..Asked::default() };
    assert!(plan_limits(&spec(many), &v2_root()).unwrap_err().to_string().contains("names 8 CPUs"));
}

#[test]
fn lifted_limits_have_no_mechanism_and_the_rest_stays() {
    let asked = Asked {
        mem: Some(Cap::Unlimited),
        cpu_time: Some(Cap::Unlimited),
        wall_time: Some(Cap::Unlimited),
        pids: Some(Cap::Unlimited),
        output_size: Some(Cap::Unlimited),
        inodes: Some(Cap::Unlimited),
        ..Asked::default()
    };
    let plan = plan_limits(&spec(asked.clone()), &v2_delegated()).unwrap();
    assert_eq!(rows(&plan), "open_files 1024: RLIMIT_NOFILE, kernel\ncore 1: RLIMIT_CORE, kernel\n");
    assert_eq!(dirs(&plan), format!("{USER} [memory pids] memory.swap.max=0 memory.oom.group=1 then \n"));
    assert_eq!(plan.scratch, (None, None));
    let plan = plan_limits(&spec(asked), &nothing_had()).unwrap();
    assert!(!plan.refuse_memfd && plan.watch.poll_memory_bytes.is_none());
}

#[test]
fn a_callers_hard_limits_clamp_and_are_named() {
    let mut host = v2_delegated();
    host.hard_rlimits =
        vec![(process::CPU, 5), (process::NPROC, 50), (process::NOFILE, 256), (4, 0), (process::AS, 1 << 20)];
    let plan = plan_limits(&stock(), &host).unwrap();
    let rows = rows(&plan);
    for row in [
        "memory 536870912: cgroup2 memory.max, kernel, clamped",
        "cpu_time 5000000000: cgroup2 cpu.stat, kernel, clamped",
        "processes 49: cgroup2 pids.max, kernel, clamped",
        "open_files 256: RLIMIT_NOFILE, kernel, clamped",
        "core 0: RLIMIT_CORE, kernel, clamped",
    ] {
        assert!(rows.contains(row), "{row}\n{rows}");
    }
    assert_eq!(plan.watch.cpu_ns, Some(5_000_000_000));
    for &(resource, soft, hard) in &plan.rlimits {
        assert!(soft <= hard, "{resource}");
        let most = host.hard_rlimits.iter().find(|(known, _)| *known == resource).map_or(u64::MAX, |&(_, most)| most);
        assert!(hard <= most, "{resource}: {hard} > {most}");
    }
}

#[test]
fn every_resource_is_set_once_and_open_files_last() {
    for host in [v2_delegated(), nothing_had()] {
        let plan = plan_limits(&stock(), &host).unwrap();
        let mut resources: Vec<u32> = plan.rlimits.iter().map(|&(resource, ..)| resource).collect();
        assert_eq!(resources.last(), Some(&process::NOFILE));
        resources.sort_unstable();
        assert_eq!(resources, (0..16).collect::<Vec<u32>>());
    }
}

#[test]
fn the_second_watchdog_is_late_and_ends_what_ignores_it() {
    let asked = Asked { cpu_time: Some(Cap::At(Millis::new(500))), ..Asked::default() };
    let plan = plan_limits(&spec(asked), &v2_delegated()).unwrap();
    assert!(plan.rlimits.contains(&(process::CPU, 2, 3)));
}

#[test]
fn beside_a_cgroup_the_count_of_tasks_is_refused_by_the_cgroup_first() {
    let nproc = |host: &Host| {
        let plan = plan_limits(&stock(), host).unwrap();
        plan.rlimits.iter().find(|&&(resource, ..)| resource == process::NPROC).map(|&(_, soft, _)| soft)
    };
    assert_eq!((nproc(&v2_delegated()), nproc(&nothing_had())), (Some(130), Some(129)));
}

#[test]
fn what_may_surprise_is_noted() {
    let asked = Asked {
        mem: Some(Cap::At(Bytes::mib(16 << 10))),
        disk: Some(Cap::At(Bytes::mib(32 << 10))),
        cpu_time: Some(Cap::At(Millis::seconds(100))),
        wall_time: Some(Cap::At(Millis::seconds(10))),
        ..Asked::default()
    };
    let plan = plan_limits(&spec(asked), &v2_delegated()).unwrap();
    assert_eq!(plan.notes.len(), 3, "{:?}", plan.notes);
    // A stack as large as the memory could not be mapped here.
    assert!(rows(&plan).contains(&format!("stack {}: RLIMIT_STACK", 4u64 << 30)));
    assert!(plan_limits(&stock(), &v2_delegated()).unwrap().notes.is_empty());
}

#[test]
fn the_largest_values_do_not_overflow() {
    let most = Cap::At(u64::MAX);
    let asked = Asked {
        mem: Some(Cap::At(Bytes::new(u64::MAX))),
        cpu_time: Some(Cap::At(Millis::new(u64::MAX))),
        wall_time: Some(Cap::At(Millis::new(u64::MAX))),
        pids: Some(most),
        inodes: Some(most),
        open_files: Some(most),
        ..Asked::default()
    };
    for host in [v2_delegated(), v1_root(), nothing_had()] {
        let plan = plan_limits(&spec(asked.clone()), &host).unwrap();
        for (_, bytes) in plan.cgroup.v2.iter().chain(&plan.cgroup.v1).flat_map(|dir| &dir.armed) {
            assert!(*bytes <= i64::MAX as u64);
        }
    }
}

#[test]
fn handed_over_streams_are_not_counted() {
    let one = stock().stdout(Output::Direct);
    assert!(rows(&plan_limits(&one, &v2_delegated()).unwrap()).contains("output 16777216: counted pipe\n"));
    let both = one.stderr(Output::Direct);
    assert!(rows(&plan_limits(&both, &v2_delegated()).unwrap()).contains("output 16777216: nothing\n"));
}
