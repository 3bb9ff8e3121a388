//! Any `Spec` and any `Host`, made of bytes: by a fuzzer that looks for new paths, or by a generator of random ones.

use sandbox::host::cgroup::{CgroupFacts, V2};
use sandbox::host::{Fact, Host, SYSTEM, SystemEntry, SystemKind};
use sandbox::spec::{
    Asked, CgroupChoice, Collect, CpuRate, Input, InsidePath, Mount, Network, Output, Overflow, PathPair, Policy, Work,
};
use sandbox::{Bytes, Cap, Millis, Spec};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A stream of choices; zeros once the bytes are used up.
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Choices(bytes)
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 1
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() & 1 == 1).then(|| make(self))
    }

    /// Small, large, and on the edges.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => u64::from(self.byte()),
            5 => 1 << self.below(64),
            6 => (1u64 << self.below(64)).wrapping_sub(1),
            _ => u64::from(self.byte()) << self.below(56),
        }
    }

    fn cap<T>(&mut self, make: impl FnOnce(u64) -> T) -> Option<Cap<T>> {
        match self.below(4) {
            0 | 1 => None,
            2 => Some(Cap::Unlimited),
            _ => Some(Cap::At(make(self.number()))),
        }
    }

    /// A word, which may hold anything but NUL bytes, and rarely those.
    fn word(&mut self) -> OsString {
        const WORDS: [&[u8]; 14] = [
            b"true",
            b"./prog",
            b"/usr/bin/python3",
            b"a b",
            b"",
            b"\xff\xfe",
            b"a\nb",
            b"..",
            b"/",
            b"none",
            b".",
            b"a:b",
            b"a\\b",
            b"a\0b",
        ];
        OsString::from_vec(self.of(&WORDS).to_vec())
    }

    fn path(&mut self) -> PathBuf {
        const PARTS: [&[u8]; 16] = [
            b"/",
            b"/srv/in",
            b"/box",
            b"/box/sub",
            b"/tmp",
            b"/usr",
            b"/etc/passwd",
            b"/proc",
            b"/dev/null",
            b".",
            b"..",
            b"sub/file",
            b"/srv/in/../out",
            b"/\xff",
            b"/home/user/work",
            b"//x//y/./z",
        ];
        PathBuf::from(OsString::from_vec(self.of(&PARTS).to_vec()))
    }

    fn inside(&mut self) -> Option<InsidePath> {
        let path = self.path();
        InsidePath::new(path).ok()
    }

    fn pair(&mut self) -> PathPair {
        let outside = self.path();
        let inside = self.some(Self::inside).flatten();
        PathPair { outside, inside }
    }

    fn fact(&mut self) -> Fact {
        if self.one_in(4) {
            Fact::Refused { errno: i32::from(self.byte()), why: "it was tried".to_owned() }
        } else {
            Fact::Works
        }
    }

    fn asked(&mut self) -> Asked {
        Asked {
            mem: self.cap(Bytes::new),
            cpu_time: self.cap(Millis::new),
            wall_time: self.cap(Millis::new),
            idle_time: self.cap(Millis::new),
            pids: self.cap(|count| count),
            output_size: self.cap(Bytes::new),
            file_size: self.cap(Bytes::new),
            disk: self.cap(Bytes::new),
            inodes: self.cap(|count| count),
            open_files: self.cap(|count| count),
            stack: self.cap(Bytes::new),
            core: self.cap(Bytes::new),
            cpus: if self.one_in(4) { self.cap(|rate| CpuRate::new((rate as u32).max(10))) } else { None },
            cpu_set: if self.one_in(4) { self.of(&["0", "0-3", "1,3", "8191"]).parse().ok() } else { None },
        }
    }

    /// Any spec that its builder can make.
    pub(crate) fn spec(&mut self) -> Spec {
        let words = self.below(4);
        let mut command: Vec<OsString> = (0..words).map(|_| self.word()).collect();
        if !self.one_in(8) {
            command.insert(0, "prog".into());
        }
        let names: Vec<&str> = Policy::names().collect();
        let policy = Policy::builtin(self.of(&names)).expect("a built-in name");
        let mut spec = Spec::new(command).policy(policy).interactive(self.one_in(4)).limits(self.asked());
        let work = self.path();
        spec = spec.work(self.of(&[Work::Empty, Work::Current, Work::Dir(work)]));
        for _ in 0..self.below(6) {
            let mount = match self.below(3) {
                0 => Some(Mount::ReadOnly(self.pair())),
                1 => Some(Mount::ReadWrite(self.pair())),
                _ => self.inside().map(|inside| {
                    let size = self.some(|one| Bytes::new(one.number()));
                    Mount::Tmpfs { inside, size }
                }),
            };
            if let Some(mount) = mount {
                spec = spec.mount(mount);
            }
        }
        for _ in 0..self.below(3) {
            let (from, to) = (self.path(), self.some(Self::path));
            // Others are refused where words become a spec.
            if InsidePath::new(&from).is_ok() {
                spec = spec.collect(Collect { from, to });
            }
        }
        if let Some(inside) = self.some(Self::inside).flatten() {
            spec = spec.workdir(inside);
        }
        // In the order of names, which a job does not keep otherwise.
        for name in ["", "A", "A=B", "HOME", "PATH", "ä"] {
            if self.one_in(6) {
                spec = spec.env(name, self.word());
            }
        }
        if let Ok(name) = self.of(&["sandbox", "a.b-c", "x"]).parse() {
            spec = spec.hostname(name);
        }
        spec = spec.network(self.of(&[Network::None, Network::Blocked, Network::Host]));
        let (input, output) = (self.path(), self.path());
        spec = spec.stdin(self.of(&[
            Input::Empty,
            Input::Caller,
            Input::Direct,
            Input::File(input),
            Input::Bytes(b"in\xff".to_vec()),
        ]));
        let outputs = [Output::Capture, Output::Caller, Output::Discard, Output::Direct, Output::File(output)];
        spec = spec.stdout(self.of(&outputs)).stderr(self.of(&outputs));
        spec = spec.overflow(self.of(&[Overflow::Kill, Overflow::Truncate]));
        let choices = [
            CgroupChoice::Auto,
            CgroupChoice::Own,
            CgroupChoice::Scope,
            CgroupChoice::Dir("/sys/fs/cgroup/x".into()),
            CgroupChoice::None,
        ];
        spec.cgroup(self.of(&choices)).require_kernel_limits(self.one_in(6))
    }

    /// Any host, sensible or not: facts can come from another machine's file.
    pub(crate) fn host(&mut self) -> Host {
        const CONTROLLERS: [&str; 6] = ["memory", "pids", "cpu", "cpuacct", "cpuset", "io"];
        let mut some_controllers =
            || CONTROLLERS.into_iter().filter(|_| self.byte() & 1 == 1).map(str::to_owned).collect();
        let (on_v2, after_move): (Vec<String>, Vec<String>) = (some_controllers(), some_controllers());
        let on_v1: Vec<String> = some_controllers();
        let v2 = self.some(|one| V2 { parent: one.path(), controllers: on_v2, after_move });
        let v1 =
            on_v1.into_iter().map(|name| (name.clone(), PathBuf::from(format!("/sys/fs/cgroup/{name}")))).collect();
        let uid = self.of(&[0, 1000, 54321, u32::MAX - 1]);
        let kinds = [SystemKind::Directory, SystemKind::File, SystemKind::Link("usr/lib".into())];
        let system = SYSTEM.iter().filter_map(|path| {
            let entry = SystemEntry { path: path.into(), kind: self.of(&kinds) };
            (self.byte() & 3 != 0).then_some(entry)
        });
        let system = system.collect();
        Host {
            kernel: "6.1.0".to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            uid,
            gid: self.of(&[0, 1000, 54321]),
            supplementary_groups: u32::from(self.byte()),
            cwd: self.some(Self::path),
            home: self.some(Self::path),
            cpus: self.of(&[0, 1, 2, 128, u32::MAX]),
            ram: self.number(),
            user_namespaces: self.fact(),
            landlock_abi: u32::from(self.byte()) % 12,
            overlay: self.fact(),
            fresh_proc: self.fact(),
            seccomp_notify: self.fact(),
            idmapped_mounts: self.fact(),
            perf_clock: self.fact(),
            cgroup: CgroupFacts { v2, v1, why_weak: Some("it was tried".to_owned()), fix: None, scope: self.one_in(4) },
            hard_rlimits: (0..16).filter_map(|number| Some((number, self.some(Self::number)?))).collect(),
            system,
        }
    }
}
