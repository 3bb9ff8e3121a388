//! Every command block of README.md prints what it says, and what it says to type in a place is what `sandbox check`
//! says there. Its example in Rust is compiled as a documentation test.
//!
//! Blocks run in order, in one directory, with the tested binary in PATH as `sandbox`:
//!
//! * a fenced block marked `console` holds commands behind `$ ` (further lines of one behind `> `), each followed by
//!   its output, stdout and stderr together;
//! * in the output `…` stands for anything within a line, and a line `…` for any lines;
//! * `<!-- figures differ -->` before it: any number fits any number, and any space any space;
//! * `<!-- file: NAME -->` before a fenced block of any kind writes the block to that file;
//! * `<!-- not run: REASON -->` before a block leaves it alone.

#[path = "support/mod.rs"]
mod support;

use nix::errno::Errno;
use sandbox::host::{CgroupFacts, Place as HostPlace, Stage, Traces, diagnose, diagnose_weak_limits};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use support::{Case, Place, Test, needs, test};

const TESTS: &[Test] = &[
    test!(every_command_block_prints_what_it_says, needs!(Cc, Gxx, Python3)),
    test!(what_to_type_in_a_place_is_what_check_says),
];

/// A fenced block, the comment before it, and its line in the file.
#[derive(Debug)]
struct Block {
    line: usize,
    kind: String,
    comment: Option<String>,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut comment: Option<String> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            let body = lines.by_ref().take_while(|(_, line)| line.trim_start() != "```");
            found.push(Block {
                line: number + 1,
                kind: kind.trim().to_owned(),
                comment: comment.take(),
                lines: body.map(|(_, line)| line.to_owned()).collect(),
            });
        } else if let Some(words) = line.trim().strip_prefix("<!--").and_then(|words| words.strip_suffix("-->")) {
            comment = Some(words.trim().to_owned());
        } else if !line.trim().is_empty() {
            comment = None;
        }
    }
    found
}

/// A command and the output that it is said to have.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ").or((line == ">").then_some("")) {
                Some(more) if step.output.is_empty() => step.command = format!("{}\n{more}", step.command),
                _ => step.output.push(line.clone()),
            }
        } else {
            panic!("README.md:{}: a console block starts with a command behind '$ '", block.line);
        }
    }
    steps
}

/// Whether the line is as the pattern says, `…` standing for anything.
fn line_fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether the lines are as the patterns say, a pattern `…` standing for any number of lines.
fn output_fits(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((pattern, rest)) if pattern.trim() == "…" => {
            (0..=lines.len()).any(|skip| output_fits(rest, &lines[skip..]))
        }
        Some((pattern, rest)) => {
            lines.split_first().is_some_and(|(line, more)| line_fits(pattern, line) && output_fits(rest, more))
        }
    }
}

/// The line with `0` for every number and one space for many: a column is as wide as its figures.
fn without_figures(line: &str) -> String {
    let mut plain = String::new();
    for c in line.chars() {
        match c {
            c if c.is_whitespace() && plain.ends_with(' ') => {}
            c if c.is_whitespace() => plain.push(' '),
            c if c.is_ascii_digit() && (plain.ends_with('0') || plain.ends_with("0.")) => {
                plain.truncate(plain.trim_end_matches('.').len());
            }
            c if c.is_ascii_digit() => plain.push('0'),
            c => plain.push(c),
        }
    }
    plain
}

/// Stands between the outputs of two commands; no command prints it.
const BETWEEN: &str = "\u{1e}";

/// All commands of a block in one shell, so that `$?` and `cd` mean what they say.
fn outputs(place: &Place, steps: &[Step]) -> Vec<String> {
    let mut script = "exec 2>&1; status=0\n".to_owned();
    for step in steps {
        script.push_str(&format!("(exit $status)\n{}\nstatus=$?; printf '{BETWEEN}'\n", step.command));
    }
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", place.tool.parent().expect("a directory").display());
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(&place.dir)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    String::from_utf8_lossy(&done.stdout).split(BETWEEN).map(str::to_owned).collect()
}

fn every_command_block_prints_what_it_says(place: &Place) {
    let text = fs::read_to_string(place.sources.join("README.md")).expect("README.md was copied");
    let mut wrong = Vec::new();
    let mut run = 0;
    for block in blocks(&text) {
        let comment = block.comment.as_deref().unwrap_or("");
        if let Some(name) = comment.strip_prefix("file:") {
            place.write(name.trim(), block.lines.join("\n") + "\n");
        }
        if block.kind != "console" || comment.starts_with("not run:") {
            continue;
        }
        let steps = steps(&block);
        let outputs = outputs(place, &steps);
        let seen = |line: &str| if comment == "figures differ" { without_figures(line) } else { line.to_owned() };
        for (step, output) in steps.iter().zip(&outputs) {
            run += 1;
            let said: Vec<String> = step.output.iter().map(|line| seen(line)).collect();
            let printed: Vec<String> = output.lines().map(seen).collect();
            let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
            if !output_fits(&said, &printed) {
                wrong.push(format!(
                    "README.md:{}: $ {}\n--- says\n{}\n--- prints\n{output}",
                    block.line,
                    step.command,
                    step.output.join("\n")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(run > 0, "README.md has no command block that is run");
}

/// Text as one line, so that a command may be broken where a shell or YAML allows it.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn what_to_type_in_a_place_is_what_check_says(place: &Place) {
    let page = one_line(&fs::read_to_string(place.sources.join("README.md")).expect("README.md was copied"));
    let traces = |change: fn(&mut Traces)| {
        let mut traces = Traces {
            mountinfo: "27 1 254:0 / / rw - ext4 /dev/vda rw\n".to_owned(),
            status: "NoNewPrivs:\t0\nSeccomp:\t0\n".to_owned(),
            uid_map: "         0          0 4294967295\n".to_owned(),
            dumpable: true,
            uid: 1000,
            program: PathBuf::from("/path/to/sandbox"),
            ..Traces::default()
        };
        change(&mut traces);
        HostPlace::told_by(&traces)
    };
    let weak = CgroupFacts { why_weak: Some("none is given".to_owned()), ..CgroupFacts::default() };
    let limits = |place: &HostPlace| diagnose_weak_limits(&weak, place);
    let refused = |stage, place: &HostPlace| Some(diagnose(stage, Errno::EPERM as i32, place));

    let docker = traces(|t| t.container = "docker".to_owned());
    let pod = traces(|t| t.kubernetes = true);
    let podman = traces(|t| t.containerenv = true);
    let ubuntu = traces(|t| t.apparmor_restrict = Some(1));
    let told = [
        limits(&traces(|t| {
            t.systemd = true;
            t.cgroup = "0::/user.slice/user-1000.slice/session-3.scope\n".to_owned();
        })),
        limits(&traces(|t| {
            t.systemd = true;
            t.cgroup = "0::/system.slice/judge.service\n".to_owned();
        })),
        limits(&traces(|_| ())),
        refused(Stage::Clone, &ubuntu),
        refused(Stage::Mount, &ubuntu),
        limits(&docker),
        refused(Stage::Clone, &docker),
        refused(Stage::Proc, &docker),
        refused(Stage::IdMappedMount, &docker),
        limits(&pod),
        refused(Stage::Clone, &pod),
        refused(Stage::IdMappedMount, &pod),
        limits(&podman),
        refused(Stage::IdMappedMount, &podman),
        limits(&traces(|t| {
            t.github_actions = true;
            t.systemd = true;
        })),
        limits(&traces(|t| t.version = "Linux version 6.6.87.2-microsoft-standard-WSL2".to_owned())),
    ];
    for found in told {
        let fix = found.and_then(|found| found.fix).expect("every one of them can be mended");
        for line in fix.lines() {
            // From which version on, the page says in words of its own.
            let line = line.split("   (").next().unwrap_or(line);
            let line = line.rsplit("or newer: ").next().unwrap_or(line);
            assert!(page.contains(&one_line(line)), "README.md does not say: {line}");
        }
    }
}

/// The reader itself, on a page of its own.
fn check_the_reader() {
    let text =
        "words\n<!-- file: a.txt -->\n```text\nx\n```\n\n```console\n$ echo 1\n1\n$ cat <<E\n> 2\n> E\n2\n…\n```\n";
    let found = blocks(text);
    assert_eq!((found.len(), found[0].comment.as_deref(), found[1].line), (2, Some("file: a.txt"), 7));
    let steps = steps(&found[1]);
    assert_eq!(steps[1].command, "cat <<E\n2\nE");
    assert!(output_fits(&steps[1].output, &["2", "3", "4"]) && !output_fits(&steps[1].output, &["3"]));
    assert!(line_fits("took … ms, … kB", "took 12 ms, 9 kB") && !line_fits("took … ms", "took 12 s"));
    assert_eq!(without_figures("a  12.75 MiB of 64 MiB, v1.x"), "a 0 MiB of 0 MiB, v0.x");
    assert!(line_fits("exact", "exact") && !line_fits("exact", "exactly") && !line_fits("a…a", "a"));
}

fn cases(_sources: &Path) -> Vec<Case> {
    Case::of_table("readme", TESTS)
}

fn main() -> ExitCode {
    check_the_reader();
    support::run_all(&[".."], cases)
}
