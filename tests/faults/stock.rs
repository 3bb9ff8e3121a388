//! The stock plans: what people run, one of each kind of set-up.

use crate::support::{Case, Feature, Place, Who, needs};
use sandbox::host::Fact;
use sandbox::spec::{Asked, CgroupChoice, Collect, Input, InsidePath, Mount, Network, Output, PathPair, Work};
use sandbox::{Bytes, Cap, Host, Millis, Plan, Spec};
use std::fs;
use std::path::PathBuf;

/// One kind of run.
pub(crate) struct Stock {
    pub(crate) name: &'static str,
    needs: &'static [Feature],
    /// What is asked for, beyond the command and its stdout.
    ask: fn(Spec, &Place) -> Spec,
    /// What this machine is made to lack.
    lack: fn(&mut Host),
}

const fn stock(name: &'static str, ask: fn(Spec, &Place) -> Spec) -> Stock {
    Stock { name, needs: &[], ask, lack: |_| {} }
}

pub(crate) const STOCK: &[Stock] = &[
    stock("current_directory", |spec, _| spec.work(Work::Current)),
    stock("no_directory", |spec, _| spec.work(Work::Empty)),
    stock("net_blocked", |spec, _| spec.network(Network::Blocked)),
    stock("net_host", |spec, _| spec.network(Network::Host)),
    stock("rw_current_directory", |spec, _| spec.work(Work::Current).mount(Mount::ReadWrite(pair(".")))),
    stock("ro_directory_elsewhere", |spec, place| {
        spec.mount(Mount::ReadOnly(pair(&format!("{}:/srv/in", place.path("shown").display()))))
    }),
    stock("rw_directory_and_a_file", |spec, place| {
        spec.mount(Mount::ReadWrite(pair(&format!("{}:/srv/out", place.path("written").display()))))
            .mount(Mount::ReadOnly(pair(&format!("{}:/srv/one", place.path("work/input").display()))))
    }),
    stock("tmpfs", |spec, _| {
        spec.mount(Mount::Tmpfs { inside: inside("/srv/small"), size: Some(Bytes::mib(1)) })
            .mount(Mount::Tmpfs { inside: inside("/srv/any"), size: None })
    }),
    stock("out", |spec, place| {
        let to = Some(place.path("written"));
        spec.work(Work::Current)
            .collect(Collect { from: PathBuf::from("input"), to: to.clone() })
            .collect(Collect { from: PathBuf::from("/tmp/made"), to })
    }),
    stock("streams_in_files", |spec, place| {
        spec.stdin(Input::File(place.path("work/input"))).stderr(Output::File(place.path("stderr")))
    }),
    stock("streams_as_they_are", |spec, _| spec.stdin(Input::Direct).stderr(Output::Direct)),
    stock("input_from_memory", |spec, _| spec.stdin(Input::Bytes(vec![b'x'; 200_000]))),
    Stock { needs: needs!(KernelLimits), ..stock("cgroup_own", |spec, _| spec.cgroup(CgroupChoice::Own)) },
    stock("cgroup_none", |spec, _| spec.cgroup(CgroupChoice::None)),
    Stock {
        lack: |host| host.overlay = refused(libc::EINVAL),
        ..stock("directory_copied", |spec, _| spec.work(Work::Current))
    },
    Stock { lack: |host| host.seccomp_notify = refused(libc::EBUSY), ..stock("no_notification", |spec, _| spec) },
    Stock { lack: |host| host.landlock_abi = 0, ..stock("no_landlock", |spec, _| spec.work(Work::Current)) },
    stock("nothing_to_write", |spec, _| {
        spec.work(Work::Current).limits(Asked { disk: Some(Cap::At(Bytes::new(0))), ..Asked::default() })
    }),
    stock("every_limit", |spec, _| {
        let at = |bytes| Some(Cap::At(Bytes::mib(bytes)));
        let asked = Asked {
            mem: at(64),
            cpu_time: Some(Cap::At(Millis::seconds(2))),
            wall_time: Some(Cap::At(Millis::seconds(20))),
            idle_time: Some(Cap::At(Millis::seconds(20))),
            pids: Some(Cap::At(16)),
            output_size: at(1),
            file_size: at(2),
            disk: at(16),
            inodes: Some(Cap::At(100)),
            open_files: Some(Cap::At(32)),
            stack: at(4),
            core: Some(Cap::At(Bytes::new(0))),
            cpus: None,
            cpu_set: "0".parse().ok(),
        };
        spec.limits(asked)
    }),
    stock("no_limit", |spec, _| {
        let asked = Asked {
            mem: Some(Cap::Unlimited),
            cpu_time: Some(Cap::Unlimited),
            wall_time: Some(Cap::Unlimited),
            pids: Some(Cap::Unlimited),
            disk: Some(Cap::Unlimited),
            inodes: Some(Cap::Unlimited),
            output_size: Some(Cap::Unlimited),
            ..Asked::default()
        };
        spec.limits(asked)
    }),
];

/// Writes its word to stdout and, where that is shown, to a host directory.
const COMMAND: [&str; 3] =
    ["sh", "-c", "echo ran; test ! -d /srv/out || echo ran >/srv/out/witness; echo x >/tmp/made || true"];

fn pair(words: &str) -> PathPair {
    PathPair::parse(words.as_ref()).expect("a pair")
}

fn inside(path: &str) -> InsidePath {
    InsidePath::new(path).expect("a path inside")
}

fn refused(errno: i32) -> Fact {
    Fact::Refused { errno, why: "a test says so".to_owned() }
}

/// A trial of every stock plan.
pub(crate) fn cases(subject: &str, run: fn(&Stock, &Place)) -> Vec<Case> {
    let case = |stock: &'static Stock| Case {
        name: format!("{subject}::{}", stock.name),
        who: Who::Both,
        needs: stock.needs.to_vec(),
        programs: Vec::new(),
        run: Box::new(move |place| run(stock, place)),
    };
    STOCK.iter().map(case).collect()
}

impl Stock {
    /// The spec, the host and the plan; `None` where this machine refuses it in plain words, as it must.
    pub(crate) fn plan(&self, place: &Place) -> Option<(Spec, Host, Plan)> {
        let command = (self.ask)(Spec::new(COMMAND), place).stdout(Output::File(place.path("stdout")));
        self.plan_of(command)
    }

    /// The same for a spec that was made of this one's.
    pub(crate) fn plan_of(&self, spec: Spec) -> Option<(Spec, Host, Plan)> {
        let mut host = Host::probe_for(&spec).unwrap_or_else(|e| panic!("{e}"));
        (self.lack)(&mut host);
        match sandbox::plan(&spec, &host) {
            Ok(plan) => Some((spec, host, plan)),
            Err(error) if self.name == "net_host" && host.landlock_abi < 6 => {
                assert!(error.to_string().contains("abstract sockets"), "{error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// This kind of run with another command.
    #[allow(dead_code, reason = "each of the two test programs uses its own part")]
    pub(crate) fn with_command(&self, place: &Place, command: &[&str]) -> Option<(Spec, Host, Plan)> {
        self.plan_of((self.ask)(Spec::new(command), place).stdout(Output::File(place.path("stdout"))))
    }
}

/// The directories and files that the stock plans speak of; the current directory is one of them.
pub(crate) fn prepare(place: &Place) {
    for dir in ["work", "work/below", "shown", "written"] {
        place.mkdir(dir);
    }
    for file in ["work/input", "work/below/more", "shown/file", "stdout", "stderr"] {
        place.write(file, if file.starts_with("std") { "" } else { "some input\n" });
    }
    std::env::set_current_dir(place.path("work")).expect("a directory just made");
}

/// What the command wrote, if it ran.
#[allow(dead_code, reason = "each of the two test programs uses its own part")]
pub(crate) fn witness(place: &Place) -> String {
    let stdout = fs::read_to_string(place.path("stdout")).unwrap_or_default();
    stdout + &fs::read_to_string(place.path("written/witness")).unwrap_or_default()
}
