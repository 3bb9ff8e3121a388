//! What the options mean: `RunArgs` to `Spec`.

use super::args::{LimitArgs, RunArgs, StreamArgs};
use super::value::Variable;
use crate::error::Error;
use crate::spec::{Asked, Input, Mount, Output, Overflow, PathPair, Policy, Spec, Work};
use clap::ArgMatches;
use std::ffi::OsStr;

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

fn policy(words: &OsStr) -> Result<Policy, Error> {
    match words.to_str() {
        Some(name) => Policy::builtin(name),
        None => Err(Error::usage(format!("--policy: '{}' is not UTF-8", words.display()))),
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
            spec = spec.policy(policy(words)?);
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
