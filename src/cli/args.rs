//! The options of `sandbox run`, which `sandbox explain` shares. Words only: what they mean is decided in `request`.

use super::value::{self, Variable};
use crate::spec::{
    Bytes, Cap, CgroupChoice, Collect, CpuRate, CpuSet, Hostname, InsidePath, Millis, Mount, Network, Overflow,
    PathPair, Work,
};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Every option that `run` and `explain` share, and the command.
#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) limits: LimitArgs,
    #[command(flatten)]
    pub(super) files: FileArgs,
    #[command(flatten)]
    pub(super) surroundings: SurroundingArgs,
    #[command(flatten)]
    pub(super) streams: StreamArgs,
    #[command(flatten)]
    pub(super) result: ResultArgs,
    #[command(flatten)]
    pub(super) means: MeansArgs,

    // Not `required`: `Spec::validate` says what is missing, in our words.
    #[arg(value_name = "CMD", trailing_var_arg = true, hide = true)]
    pub(super) command: Vec<OsString>,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Limits (a value, 0 for none of it, or 'unlimited')")]
pub(super) struct LimitArgs {
    /// Memory of all processes together [512M]
    #[arg(short, long, visible_alias = "memory", value_name = "SIZE", allow_hyphen_values = true, value_parser = value::size())]
    pub(super) mem: Option<Cap<Bytes>>,

    /// CPU time of all processes together [10s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = value::time())]
    pub(super) cpu_time: Option<Cap<Millis>>,

    /// Time from start to end; alone, it lifts --cpu-time [3 x --cpu-time, at least 10s]
    #[arg(long, visible_alias = "timeout", value_name = "TIME", allow_hyphen_values = true, value_parser = value::time())]
    pub(super) wall_time: Option<Cap<Millis>>,

    /// Time without any use of a CPU [unlimited]
    #[arg(long, value_name = "TIME", hide_short_help = true, allow_hyphen_values = true, value_parser = value::time())]
    pub(super) idle_time: Option<Cap<Millis>>,

    /// Processes and threads at one time [128]
    #[arg(long, visible_alias = "pids-limit", value_name = "N", allow_hyphen_values = true, value_parser = value::count())]
    pub(super) pids: Option<Cap<u64>>,

    /// Output on stdout and on stderr, each [16M]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = value::size())]
    pub(super) output_size: Option<Cap<Bytes>>,

    /// All that is written in throw-away places; counts as memory [half of --mem]
    #[arg(long, value_name = "SIZE", hide_short_help = true, allow_hyphen_values = true, value_parser = value::size())]
    pub(super) disk: Option<Cap<Bytes>>,

    /// Files and directories in throw-away places [16384]
    #[arg(long, value_name = "N", hide_short_help = true, allow_hyphen_values = true, value_parser = value::count())]
    pub(super) inodes: Option<Cap<u64>>,

    /// The length of any one file [as --disk]
    #[arg(long, value_name = "SIZE", hide_short_help = true, allow_hyphen_values = true, value_parser = value::size())]
    pub(super) file_size: Option<Cap<Bytes>>,

    /// Open files of each process [1024]
    #[arg(long, value_name = "N", hide_short_help = true, allow_hyphen_values = true, value_parser = value::count())]
    pub(super) open_files: Option<Cap<u64>>,

    /// Stack of each process [as --mem]
    #[arg(long, value_name = "SIZE", hide_short_help = true, allow_hyphen_values = true, value_parser = value::size())]
    pub(super) stack: Option<Cap<Bytes>>,

    /// Core file [1 byte: none is kept]
    #[arg(long, value_name = "SIZE", hide_short_help = true, allow_hyphen_values = true, value_parser = value::size())]
    pub(super) core: Option<Cap<Bytes>>,

    /// CPU time per time, such as 0.5 or 2 [unlimited]
    #[arg(long, value_name = "N", hide_short_help = true, allow_hyphen_values = true, value_parser = value::cpus())]
    pub(super) cpus: Option<Cap<CpuRate>>,

    /// Run on these CPUs only, such as 0-3 or 0,2
    #[arg(long, value_name = "LIST", hide_short_help = true, allow_hyphen_values = true, value_parser = value::cpu_set())]
    pub(super) cpu_set: Option<CpuSet>,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Files (a colon in a name is \\:)")]
pub(super) struct FileArgs {
    /// This directory at /box, or 'none' for an empty one; writes are thrown away [the current directory]
    #[arg(long, value_name = "PATH", value_parser = value::work())]
    pub(super) dir: Option<Work>,

    /// Show a file or directory, read-only
    #[arg(long, value_name = "PATH[:INSIDE]", value_parser = value::pair())]
    pub(super) ro: Vec<PathPair>,

    /// Show it, and keep every change: --rw . for the current directory
    #[arg(long, value_name = "PATH[:INSIDE]", value_parser = value::pair())]
    pub(super) rw: Vec<PathPair>,

    /// An empty directory, thrown away
    #[arg(long, value_name = "INSIDE[:SIZE]", hide_short_help = true, value_parser = value::tmpfs())]
    pub(super) tmpfs: Vec<Mount>,

    /// Keep this file of /box when the run has ended, here or at DEST
    #[arg(long, value_name = "PATH[:DEST]", value_parser = value::collect())]
    pub(super) out: Vec<Collect>,

    /// The working directory inside [/box]
    #[arg(short, long, value_name = "INSIDE", hide_short_help = true, value_parser = value::inside())]
    pub(super) workdir: Option<InsidePath>,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Surroundings")]
pub(super) struct SurroundingArgs {
    /// Set a variable, or pass yours on; nothing else of yours is inherited
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = value::variable())]
    pub(super) env: Vec<Variable>,

    /// none: a network of its own without anything; blocked: no sockets, fastest; host: the host's [none]
    #[arg(long, visible_alias = "network", value_name = "NET", hide_possible_values = true, value_parser = value::network())]
    pub(super) net: Option<Network>,

    /// The host name inside [sandbox]
    #[arg(long, value_name = "NAME", hide_short_help = true, value_parser = value::hostname())]
    pub(super) hostname: Option<Hostname>,

    /// Which system calls are allowed [default]
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<OsString>,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Streams")]
pub(super) struct StreamArgs {
    /// Read standard input from this file [yours]
    #[arg(long, value_name = "FILE", hide_short_help = true, value_parser = value::file())]
    pub(super) stdin: Option<PathBuf>,

    /// Write standard output to this file [yours; with --json, into the report]
    #[arg(long, value_name = "FILE", hide_short_help = true, value_parser = value::file())]
    pub(super) stdout: Option<PathBuf>,

    /// Write standard error to this file [as stdout]
    #[arg(long, value_name = "FILE", hide_short_help = true, value_parser = value::file())]
    pub(super) stderr: Option<PathBuf>,

    /// inherit: hand your own streams over, uncounted and unlimited [pipe]
    #[arg(long, value_name = "HOW", hide_short_help = true, hide_possible_values = true, value_parser = value::hand_over())]
    pub(super) stdio: Option<bool>,

    /// At --output-size: kill, or truncate and let it run [kill]
    #[arg(long, value_name = "HOW", hide_short_help = true, hide_possible_values = true, value_parser = value::overflow())]
    pub(super) output_over: Option<Overflow>,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Result")]
pub(super) struct ResultArgs {
    /// Print a report on stdout, the command's output in it
    #[arg(long)]
    pub(super) json: bool,

    /// Write the report to this file; the streams stay live
    #[arg(long, value_name = "FILE", value_parser = value::file())]
    pub(super) report: Option<PathBuf>,

    /// Write the report to this open descriptor
    #[arg(long, value_name = "N", hide_short_help = true, allow_hyphen_values = true, value_parser = value::descriptor())]
    pub(super) report_fd: Option<i32>,

    /// Print a short summary on stderr: time, memory, who enforced what
    #[arg(long)]
    pub(super) stats: bool,

    /// Print nothing of ours but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Enforcement")]
pub(super) struct MeansArgs {
    /// kernel-limits: refuse to run where a limit would be enforced by less
    #[arg(long, value_name = "WHAT", hide_short_help = true, hide_possible_values = true, value_parser = value::requirement())]
    pub(super) require: Option<bool>,

    /// auto, own, scope, none, or the directory of a cgroup [auto]
    #[arg(long, value_name = "WHICH", hide_short_help = true, value_parser = value::cgroup())]
    pub(super) cgroup: Option<CgroupChoice>,
}
