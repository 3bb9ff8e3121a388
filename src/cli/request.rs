//! What the options mean: `RunArgs` to `Spec`.

use super::args::{LimitArgs, RunArgs, StreamArgs};
use super::value::Variable;
use crate::error::Error;
use crate::spec::{Asked, Input, Mount, Output, Overflow, PathPair, Policy, Spec, Work};
use clap::ArgMatches;

/// `--ro`, `--rw` and `--tmpfs` in the order in which they were written: a later one covers an earlier one.
pub(super) fn mounts_in_order(matches: &ArgMatches) -> Vec<Mount> {
    let mut mounts: Vec<(usize, Mount)> = Vec::new();
    let pairs = |id: &str| matches.get_many::<PathPair>(id).into_iter().flatten().cloned();
    let places = |id: &str| matches.indices_of(id).into_iter().flatten();
    mounts.extend(places("ro").zip(pairs("ro").map(Mount::ReadOnly)));
    mounts.extend(places("rw").zip(pairs("rw").map(Mount::ReadWrite)));
    let tmpfs = matches.get_many::<Mount>("tmpfs").into_iter().flatten().cloned();
    mounts.extend(places("tmpfs").zip(tmpfs));
    mounts.sort_by_key(|(place, _)| *place);
    mounts.into_iter().map(|(_, mount)| mount).collect()
}

impl From<LimitArgs> for Asked {
    fn from(args: LimitArgs) -> Asked {
        Asked {
            mem: args.mem,
            cpu_time: args.cpu_time,
            wall_time: args.wall_time,
            idle_time: args.idle_time,
            pids: args.pids,
            output_size: args.output_size,
            file_size: args.file_size,
            disk: args.disk,
            inodes: args.inodes,
            open_files: args.open_files,
            stack: args.stack,
            core: args.core,
            cpus: args.cpus,
            cpu_set: args.cpu_set,
        }
    }
}

fn streams(args: StreamArgs, json: bool) -> Result<(Input, Output, Output), Error> {
    let hand_over = args.stdio.unwrap_or(false);
    if hand_over && json {
        return Err(Error::usage(
            "--json puts the output into the report, and --stdio inherit hands your streams over",
        )
        .hint("write --report FILE for a report that leaves the streams alone"));
    }
    let output = |file| match file {
        Some(file) => Output::File(file),
        None if hand_over => Output::Direct,
        None if json => Output::Capture,
        None => Output::Caller,
    };
    let input = match args.stdin {
        Some(file) => Input::File(file),
        None if hand_over => Input::Direct,
        None => Input::Caller,
    };
    Ok((input, output(args.stdout), output(args.stderr)))
}

impl RunArgs {
    /// The `Spec` of these options; `mounts` are [`mounts_in_order`] of the same words.
    ///
    /// # Errors
    /// A usage error that names the option.
    pub(super) fn into_spec(self, mounts: Vec<Mount>) -> Result<Spec, Error> {
        let mut spec = Spec::new(self.command);
        if let Some(words) = &self.surroundings.policy {
            spec = spec.policy(Policy::named(words)?);
        }
        spec = spec.limits(self.limits.into()).work(self.files.dir.unwrap_or(Work::Current));
        for mount in mounts {
            spec = spec.mount(mount);
        }
        for collect in self.files.out {
            spec = spec.collect(collect);
        }
        if let Some(inside) = self.files.workdir {
            spec = spec.workdir(inside);
        }
        for variable in self.surroundings.env {
            spec = match variable {
                Variable::Set(name, value) => spec.env(name, value),
                // A variable that the caller lacks stays unset inside, too.
                Variable::PassOn(name) => match std::env::var_os(&name) {
                    Some(value) => spec.env(name, value),
                    None => spec,
                },
            };
        }
        if let Some(name) = self.surroundings.hostname {
            spec = spec.hostname(name);
        }
        if let Some(network) = self.surroundings.net {
            spec = spec.network(network);
        }
        spec = spec.overflow(self.streams.output_over.unwrap_or(Overflow::Kill));
        let (stdin, stdout, stderr) = streams(self.streams, self.result.json)?;
        spec = spec.stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(choice) = self.means.cgroup {
            spec = spec.cgroup(choice);
        }
        spec = spec.require_kernel_limits(self.means.require.unwrap_or(false));
        spec.validate()?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;
    use clap::FromArgMatches;
    use serde_json::{Value, json};
    use std::ffi::OsStr;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStrExt;

    fn spec(words: &[&str]) -> Result<Spec, Error> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut matches = parse::split(&mut parse::grammar::<RunArgs>("run"), &words)?;
        let mounts = mounts_in_order(&matches);
        RunArgs::from_arg_matches_mut(&mut matches).unwrap().into_spec(mounts)
    }

    fn job(words: &[&str]) -> Value {
        serde_json::to_value(spec(words).unwrap()).unwrap()
    }

    #[test]
    fn every_limit_has_its_flag() {
        let words = "--mem 256M --cpu-time 2 --wall-time 9s --idle-time 500ms --pids 5 --output-size 1K --file-size 2K \
            --disk 1M --inodes 7 --open-files 8 --stack unlimited --core 0 --cpus 1.5 --cpu-set 0-1 ./prog";
        let limits = json!({
            "mem": 256 << 20, "cpu-time": 2, "wall-time": 9, "idle-time": 0.5, "pids": 5, "output-size": 1024,
            "file-size": 2048, "disk": 1 << 20, "inodes": 7, "open-files": 8, "stack": "unlimited", "core": 0,
            "cpus": 1.5, "cpu-set": "0,1",
        });
        assert_eq!(job(&words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())["limits"], limits);
    }

    #[test]
    fn borrowed_names_mean_the_same_and_the_last_one_counts() {
        let own = [
            "--mem",
            "1M",
            "--wall-time",
            "1m",
            "--pids",
            "9",
            "--net",
            "host",
            "--env",
            "A=b",
            "--workdir",
            "/w",
            "x",
        ];
        let borrowed =
            ["-m1m", "--timeout=60", "--pids-limit", "9", "--network", "host", "-e", "A=b", "-w", "/w", "--", "x"];
        assert_eq!(job(&own), job(&borrowed));
        assert_eq!(job(&["-m", "64M", "--memory", "1M", "x"]), job(&["--mem", "1M", "x"]));
        assert_eq!(job(&["--net", "host", "--network", "none", "x"]), job(&["x"]));
    }

    #[test]
    fn what_is_shown_keeps_the_order_of_the_words() {
        let words = ["--rw", "b", "--ro", "a:/x", "--tmpfs", "/x/t:1M", "--ro", "c", "--rw=d", "x"];
        let mounts = json!([{"rw": "b"}, {"ro": "a:/x"}, {"tmpfs": "/x/t:1048576"}, {"ro": "c"}, {"rw": "d"}]);
        assert_eq!(job(&words)["mounts"], mounts);
    }

    #[test]
    fn streams_are_the_callers_unless_something_else_is_said() {
        let streams = |words: &[&str]| {
            let job = job(words);
            [job["stdin"].clone(), job["stdout"].clone(), job["stderr"].clone()]
        };
        assert_eq!(streams(&["x"]), ["caller", "caller", "caller"]);
        assert_eq!(streams(&["--json", "x"]), ["caller", "capture", "capture"]);
        assert_eq!(streams(&["--report", "r", "x"]), ["caller", "caller", "caller"]);
        assert_eq!(streams(&["--stdio", "inherit", "x"]), ["direct", "direct", "direct"]);
        let mixed = streams(&["--json", "--stdin", "i", "--stderr", "e", "x"]);
        assert_eq!(mixed, [json!({"file": "i"}), json!("capture"), json!({"file": "e"})]);
        assert!(spec(&["--json", "--stdio", "inherit", "x"]).is_err());
        assert!(spec(&["--json", "--stdio", "inherit", "--stdio", "pipe", "x"]).is_ok());
    }

    #[test]
    fn the_work_directory_is_the_current_one_unless_it_is_named() {
        assert_eq!(spec(&["x"]).unwrap().work, Work::Current);
        assert_eq!(spec(&["--dir", ".", "x"]).unwrap().work, Work::Dir(".".into()));
        assert_eq!(spec(&["--dir", "none", "x"]).unwrap().work, Work::Empty);
    }

    #[test]
    fn a_variable_is_passed_on_only_if_there_is_one() {
        let spec = spec(&["-e", "PATH", "-e", "SANDBOX_TEST_NOT_SET", "-e", "A=1", "-e", "A=2", "x"]).unwrap();
        let names: Vec<_> = spec.env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "A"]);
        assert_eq!(spec.env[1].1, "2");
    }

    #[test]
    fn words_need_not_be_text() {
        let odd = OsStr::from_bytes(b"a\xff\n").to_owned();
        let words = ["--ro".into(), odd.clone(), "--stdin".into(), odd.clone(), "--".into(), odd.clone()];
        let mut matches = parse::split(&mut parse::grammar::<RunArgs>("run"), &words).unwrap();
        let mounts = mounts_in_order(&matches);
        let spec = RunArgs::from_arg_matches_mut(&mut matches).unwrap().into_spec(mounts).unwrap();
        assert_eq!(spec.command(), std::slice::from_ref(&odd));
        assert_eq!(spec.stdin, Input::File(odd.into()));
    }
}
