//! Build script: reads `policies/*.toml` with the code that reads everybody's policy files, and writes them as constants,
//! so that a broken built-in policy is a broken build and a start reads no file and parses nothing.

#![allow(dead_code, unreachable_pub, unused_imports)]

use std::fmt::{Display, Write as _};
use std::path::Path;

// The same paths as in the library, so that the shared files need not know where they are.
#[path = "spec"]
mod spec {
    pub mod calls;
    mod limits;
    mod units;
    #[path = "policy"]
    pub mod policy {
        pub mod condition;
        pub mod syntax;
        pub mod table;
        pub mod words;
    }
    pub use limits::{Asked, CpuSet, Limit, Limits};
    pub use units::{BadUnit, Bytes, Cap, CpuRate, Millis};
}

use spec::policy::syntax::{self, File, ShownKind};
use spec::policy::table::{Answer, Decision, Op, Pools, Rule, layer};
use spec::{Asked, Bytes, Cap, CpuRate, Millis};

/// The policies that can be named, in the order in which they are listed; and the layer that opens the network in them.
const NAMES: [&str; 3] = ["default", "run", "tight"];
const NETWORK: &str = "net";

fn main() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let directory = Path::new(&root).join("policies");
    println!("cargo::rerun-if-changed={}", directory.display());
    println!("cargo::rerun-if-changed={root}/src/build.rs");
    println!("cargo::rerun-if-changed={root}/src/spec");
    let out = Path::new(&std::env::var("OUT_DIR").expect("cargo sets it")).join("policies.rs");
    match generate(&directory) {
        Ok(code) => std::fs::write(out, code).expect("OUT_DIR can be written"),
        Err(sentence) => {
            println!("cargo::error={sentence}");
            std::process::exit(1);
        }
    }
}

fn read(directory: &Path, name: &str) -> Result<File, String> {
    let path = directory.join(name).with_extension("toml");
    let shown = path.display();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{shown}: {error}"))?;
    syntax::read(&text).map_err(|fault| {
        let hint = fault.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{shown}:{}: {}{hint}", fault.line, fault.sentence)
    })
}

/// The file with all that it extends beneath it.
fn flatten(directory: &Path, name: &str, depth: usize) -> Result<File, String> {
    let mut file = read(directory, name)?;
    let Some((base, line)) = file.extends.take() else {
        return Ok(file);
    };
    if depth == 0 || !NAMES.contains(&base.as_str()) {
        return Err(format!("{name}.toml:{line}: cannot extend '{base}'"));
    }
    let base = flatten(directory, &base, depth - 1)?;
    let named = |name: &String| file.env.iter().any(|(known, _)| known == name);
    let env = base.env.iter().filter(|(name, _)| !named(name)).chain(&file.env).cloned().collect();
    Ok(File {
        about: file.about,
        extends: None,
        limits: file.limits.over(&base.limits),
        files: base.files.into_iter().chain(file.files).collect(),
        env,
        calls: layer(base.calls, &file.calls),
    })
}

fn generate(directory: &Path) -> Result<String, String> {
    let network = read(directory, NETWORK)?;
    let mut pools = Pools::default();
    let mut code = String::new();
    let mut entries = String::new();
    let default = flatten(directory, NAMES[0], NAMES.len())?;
    for name in NAMES {
        let file = flatten(directory, name, NAMES.len())?;
        let about = file.about.ok_or_else(|| format!("{name}.toml has no 'about'"))?;
        for (kind, calls) in [("LOCAL", file.calls.clone()), ("NETWORK", layer(file.calls, &network.calls))] {
            let rules = pools.add(&calls).map_err(|_| format!("{name}.toml is too large"))?;
            let table = format!("{}_{kind}", name.to_uppercase());
            list(&mut code, &table, "Rule", rules.iter().map(rule));
        }
        let kind = |kind| match kind {
            ShownKind::ReadOnly => "ShownKind::ReadOnly",
            ShownKind::ReadWrite => "ShownKind::ReadWrite",
            ShownKind::Tmpfs => "ShownKind::Tmpfs",
        };
        let files: String =
            file.files.iter().map(|shown| format!("({}, {:?}),", kind(shown.kind), shown.words)).collect();
        let env: String = file.env.iter().map(|(name, value)| format!("({name:?}, {value:?}),")).collect();
        let limits = asked(&file.limits.over(&default.limits))?;
        let upper = name.to_uppercase();
        write(
            &mut entries,
            format_args!(
                "Builtin {{ name: {name:?}, about: {about:?}, limits: {limits}, files: &[{files}], env: &[{env}], \
                 local: &{upper}_LOCAL, network: &{upper}_NETWORK }},\n"
            ),
        );
    }
    let tests = pools.tests.iter().map(|test| {
        let op = match test.op {
            Op::In => "Op::In",
            Op::NotIn => "Op::NotIn",
            Op::AtMost => "Op::AtMost",
            Op::AtLeast => "Op::AtLeast",
        };
        let (mask, arg, first, count) = (test.mask, test.arg, test.first, test.count);
        format!("Test {{ mask: {mask:#x}, arg: {arg}, op: {op}, first: {first}, count: {count} }}")
    });
    list(&mut code, "TESTS", "Test", tests);
    list(&mut code, "VALUES", "u64", pools.values.iter().map(|value| format!("{value:#x}")));
    let notes = pools.notes.iter().map(|note| format!("Note {{ when: {:?}, reason: {:?} }}", note.when, note.reason));
    list(&mut code, "NOTES", "Note", notes);
    write(&mut code, format_args!("static TEXT: &str = {:?};\n", pools.text));
    write(&mut code, format_args!("static BUILTINS: [Builtin; {}] = [\n{entries}];\n", NAMES.len()));
    Ok(code)
}

fn write(code: &mut String, words: std::fmt::Arguments<'_>) {
    code.write_fmt(words).expect("a String takes everything");
}

fn list(code: &mut String, name: &str, kind: &str, items: impl ExactSizeIterator<Item = impl Display>) {
    write(code, format_args!("static {name}: [{kind}; {}] = [\n", items.len()));
    for item in items {
        write(code, format_args!("    {item},\n"));
    }
    code.push_str("];\n");
}

fn rule(rule: &Rule) -> String {
    let answer = match rule.answer {
        Answer::Allow => "Answer::Allow".to_owned(),
        Answer::Kill => "Answer::Kill".to_owned(),
        Answer::Refuse(errno) => format!("Answer::Refuse({errno})"),
        Answer::Errno(errno) => format!("Answer::Errno({errno})"),
    };
    let (line, first, count, note) = (rule.call.line(), rule.first, rule.count, rule.note);
    format!("Rule {{ call: Call::at({line}), answer: {answer}, first: {first}, count: {count}, note: {note} }}")
}

fn cap<T: Copy>(value: Option<Cap<T>>, shown: impl Fn(T) -> String) -> String {
    match value {
        None => "None".to_owned(),
        Some(Cap::Unlimited) => "Some(Cap::Unlimited)".to_owned(),
        Some(Cap::At(value)) => format!("Some(Cap::At({}))", shown(value)),
    }
}

fn asked(limits: &Asked) -> Result<String, String> {
    // Named one by one: a new limit does not compile until it is written here.
    let Asked {
        mem,
        cpu_time,
        wall_time,
        idle_time,
        pids,
        output_size,
        file_size,
        disk,
        inodes,
        open_files,
        stack,
        core,
        cpus,
        cpu_set,
    } = limits;
    if cpu_set.is_some() {
        return Err("a built-in policy cannot know the CPUs of a machine".to_owned());
    }
    let bytes = |value| cap(value, |bytes: Bytes| format!("Bytes::new({})", bytes.get()));
    let millis = |value| cap(value, |time: Millis| format!("Millis::new({})", time.get()));
    let count = |value| cap(value, |count: u64| count.to_string());
    let rate = |value| cap(value, |rate: CpuRate| format!("CpuRate::new({})", rate.get()));
    Ok(format!(
        "Asked {{ mem: {}, cpu_time: {}, wall_time: {}, idle_time: {}, pids: {}, output_size: {}, file_size: {}, \
         disk: {}, inodes: {}, open_files: {}, stack: {}, core: {}, cpus: {}, cpu_set: None }}",
        bytes(*mem),
        millis(*cpu_time),
        millis(*wall_time),
        millis(*idle_time),
        count(*pids),
        bytes(*output_size),
        bytes(*file_size),
        bytes(*disk),
        count(*inodes),
        count(*open_files),
        bytes(*stack),
        bytes(*core),
        rate(*cpus),
    ))
}
