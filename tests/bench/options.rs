//! The words behind `cargo bench --bench start --`.

use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
Usage: cargo bench --target $(uname -m)-unknown-linux-musl --bench start -- [OPTIONS] [PART]…

Parts (all but `calls` by default):
  start        wall time of one run of /bin/true: every candidate once per round
  throughput   runs per second of 1, 2 and 8 clients at once
  cpu          CPU time per run, of the whole machine: teardown goes on after a run's end
  memory       resident set of the launcher, size of the binary
  inside       what costs a program time inside: the same program bare and in the sandbox
  calls        system calls of one run, beside tests/bench/baseline.json; see tests/bench/guard (needs strace)

Options:
  --rounds N            how often each candidate runs (400)
  --pause MS            between two runs, for what is torn down after a run's end (2)
  --seconds S           of each throughput figure (10)
  --only WORD[,WORD]…   candidates whose name holds one of these words; `plain` always runs
  --binary PATH         the sandbox to measure, instead of the one just built
  --sandbox NAME=PATH   one more sandbox binary, beside the one just built; may be given several times
  --json FILE           the figures as JSON, too
  --baseline FILE       what `calls` compares with (tests/bench/baseline.json)
  --write-baseline      make `calls` write it instead
  --tolerance PERCENT   how much more `calls` lets pass (10)

On a busy machine, give its program real-time priority, and with it all that it starts: chrt -r 5 target/…/start-…
";

/// One group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Throughput,
    Cpu,
    Memory,
    Inside,
    Calls,
}

impl Part {
    const ALL: [Part; 6] = [Part::Start, Part::Throughput, Part::Cpu, Part::Memory, Part::Inside, Part::Calls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Start => "start",
            Part::Throughput => "throughput",
            Part::Cpu => "cpu",
            Part::Memory => "memory",
            Part::Inside => "inside",
            Part::Calls => "calls",
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: usize,
    pub(crate) pause: Duration,
    pub(crate) seconds: u64,
    pub(crate) only: Vec<String>,
    pub(crate) binary: PathBuf,
    /// Names and paths of more sandbox binaries.
    pub(crate) sandboxes: Vec<(String, PathBuf)>,
    pub(crate) json: Option<String>,
    pub(crate) baseline: PathBuf,
    pub(crate) write_baseline: bool,
    pub(crate) tolerance: u64,
}

impl Options {
    /// `None`: the help was asked for and is said.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Options>, String> {
        let mut options = Options {
            parts: Vec::new(),
            rounds: 400,
            pause: Duration::from_millis(2),
            seconds: 10,
            only: Vec::new(),
            binary: env!("CARGO_BIN_EXE_sandbox").into(),
            sandboxes: Vec::new(),
            json: None,
            baseline: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/baseline.json").into(),
            write_baseline: false,
            tolerance: 10,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value")).cloned();
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("'{text}' is no whole number"));
            match word.as_str() {
                // Cargo says it to every bench.
                "--bench" => {}
                "-h" | "--help" => {
                    print!("{HELP}");
                    return Ok(None);
                }
                "--rounds" => options.rounds = number(value()?)?.max(1) as usize,
                "--pause" => options.pause = Duration::from_millis(number(value()?)?),
                "--seconds" => options.seconds = number(value()?)?.max(1),
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--binary" => options.binary = value()?.into(),
                "--sandbox" => {
                    let value = value()?;
                    let (name, path) = value.split_once('=').ok_or("--sandbox is written NAME=PATH")?;
                    options.sandboxes.push((name.to_owned(), path.into()));
                }
                "--json" => options.json = Some(value()?),
                "--baseline" => options.baseline = value()?.into(),
                "--write-baseline" => options.write_baseline = true,
                "--tolerance" => options.tolerance = number(value()?)?,
                name => match Part::ALL.into_iter().find(|part| part.name() == name) {
                    Some(part) => options.parts.push(part),
                    None => return Err(format!("'{name}' is neither an option nor a part; --help names them")),
                },
            }
        }
        if options.parts.is_empty() {
            options.parts = Part::ALL.into_iter().filter(|part| *part != Part::Calls).collect();
        }
        Ok(Some(options))
    }
}
