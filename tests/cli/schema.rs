//! Reports against `tests/schema/report.json`: the schema file is the contract, and the types may not drift from it.

use crate::snapshots::{sandbox, workplace};
use libtest_mimic::{Failed, Trial};
use sandbox::{Report, Status};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("reports_of_errors_fit_the_schema", errors_fit),
        Trial::test("a_report_with_every_field_fits_the_schema_and_the_schema_has_every_field", everything_fits),
        Trial::test("the_schema_knows_every_status", statuses),
        Trial::test("the_schema_check_finds_what_is_wrong", check_finds),
    ]
}

/// The schema.
fn schema() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/report.json");
    serde_json::from_str(&fs::read_to_string(file).expect("the schema file")).expect("the schema is JSON")
}

/// What `value` breaks of `rule`, each with its place. The keywords that the schema file uses, and no other; a field that the
/// schema does not name is a fault here, though readers must bear it.
fn faults(root: &Value, rule: &Value, value: &Value, place: &str, faults_: &mut Vec<String>) {
    for (keyword, wanted) in rule.as_object().expect("a rule is an object") {
        let mut fault = |text: String| faults_.push(format!("{place}: {text}"));
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "properties" => {}
            "$ref" => {
                let name = wanted.as_str().and_then(|name| name.strip_prefix("#/$defs/")).expect("a local reference");
                faults(root, &root["$defs"][name], value, place, faults_);
            }
            "const" if value != wanted => fault(format!("{value} is not {wanted}")),
            "enum" if !wanted.as_array().expect("an array").contains(value) => {
                fault(format!("{value} is none of {wanted}"))
            }
            "const" | "enum" => {}
            "type" => {
                let allowed = match wanted {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    other => vec![other.as_str().expect("a type is a text")],
                };
                let is = |wanted: &str| match wanted {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("the type {other} is not known to this check"),
                };
                if !allowed.into_iter().any(is) {
                    fault(format!("{value} is no {wanted}"));
                }
            }
            "minimum" if value.as_i64().is_some_and(|number| number < wanted.as_i64().expect("a number")) => {
                fault(format!("{value} is less than {wanted}"));
            }
            "maximum" if value.as_i64().is_some_and(|number| number > wanted.as_i64().expect("a number")) => {
                fault(format!("{value} is more than {wanted}"));
            }
            "minLength"
                if value.as_str().is_some_and(|text| (text.len() as u64) < wanted.as_u64().expect("a number")) =>
            {
                fault("is too short".to_owned());
            }
            "minimum" | "maximum" | "minLength" => {}
            "required" => {
                for name in wanted.as_array().expect("an array").iter().filter_map(Value::as_str) {
                    if value.as_object().is_some_and(|object| !object.contains_key(name)) {
                        fault(format!("{name} is missing"));
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(root, wanted, item, &format!("{place}[{index}]"), faults_);
                }
            }
            "anyOf" | "oneOf" => {
                let fits = |rule: &&Value| {
                    let mut inner = Vec::new();
                    faults(root, rule, value, place, &mut inner);
                    inner.is_empty()
                };
                let fitting = wanted.as_array().expect("an array").iter().filter(fits).count();
                if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
                    fault(format!("{value} fits {fitting} of {keyword}"));
                }
            }
            other => panic!("the keyword {other} is not known to this check"),
        }
    }
    if let (Some(properties), Some(object)) = (rule.get("properties").and_then(Value::as_object), value.as_object()) {
        for (name, item) in object {
            match properties.get(name) {
                Some(rule) => faults(root, rule, item, &format!("{place}.{name}"), faults_),
                None => faults_.push(format!("{place}.{name}: the schema does not name it")),
            }
        }
    }
}

/// What a report breaks.
pub(crate) fn check(report: &Value) -> Result<(), Failed> {
    let root = schema();
    let mut found = Vec::new();
    faults(&root, &root, report, "report", &mut found);
    if found.is_empty() { Ok(()) } else { Err(format!("{}\n{report}", found.join("\n")).into()) }
}

fn errors_fit() -> Result<(), Failed> {
    let place = workplace();
    let cases: &[&[&str]] = &[
        &["run", "--json"],
        &["run", "--json", "--bad"],
        &["run", "--json", "--mem", "1", "./prog"],
        &["run", "--json", "--report", "link", "./prog"],
    ];
    for words in cases {
        let output = sandbox(place.path(), words).output()?;
        check(&serde_json::from_slice(&output.stdout)?)?;
    }
    Ok(())
}

/// Every optional field present; the figures are any.
const EVERYTHING: &str = r##"{
    "schema": 1, "status": "memory-limit", "exit_code": null, "signal": 9, "signal_name": "SIGKILL",
    "limit": {"name": "memory", "value": 268435456, "measured": 268435456, "unit": "bytes", "evidence": "memory.events"},
    "usage": {"wall_ns": 1, "cpu_ns": 2, "user_ns": 3, "system_ns": 4, "memory_peak_bytes": 5, "memory_source": "cgroup2",
        "cpu_source": "cgroup2", "processes_peak": 1, "voluntary_switches": 0, "involuntary_switches": 0, "disk_bytes": 0,
        "disk_inodes": null},
    "touched": {"processes": false, "disk": true, "inodes": false, "file_size": false, "open_files": null},
    "enforcement": [{"limit": "memory", "value": 268435456, "mechanism": "cgroup2 memory.max", "scope": "tree", "kernel": true,
        "note": "n", "clamped_by": "caller", "evadable": true},
        {"limit": "cpu_set", "value": null, "mechanism": null, "scope": "none", "kernel": false}],
    "isolation": {"namespaces": ["user", "pid", "mount", "net", "ipc", "uts", "cgroup"], "id_map": "self", "landlock_abi": 7,
        "policy": "default", "proc": "own", "network": "none", "work": "overlay", "supplementary_groups": 0, "missing": ["m"]},
    "refused": [{"syscall": "socket", "args": ["0x2", "0x1", "0x0"], "count": 1, "count_at_least": true}],
    "limits_hit": ["memory"], "killed_by": "kernel", "left_running": 0,
    "stdout": {"bytes": 6, "kept": 6, "truncated": false, "text": "hello\n"},
    "stderr": {"bytes": 2, "kept": 2, "truncated": false, "base64": "//4="},
    "collected": [{"from": "a.out", "to": "a.out", "bytes": null, "error": "it is no regular file"}],
    "thrown_away": {"files": 1, "names": ["a"]},
    "timings": {"setup_ns": 1, "teardown_ns": 1}, "command": ["./prog", {"base64": "/w=="}], "host": {"kernel": "6.18"},
    "message": "m", "hint": "h", "failure": "usage", "teardown": "complete", "notes": ["n"]
}"##;

fn everything_fits() -> Result<(), Failed> {
    let written: Value = serde_json::from_str(EVERYTHING)?;
    let report: Report = serde_json::from_str(EVERYTHING)?;
    let again = serde_json::to_value(&report)?;
    if again != written {
        return Err(format!("a report does not survive a round trip:\n{written}\n{again}").into());
    }
    check(&again)?;
    // Every field of the schema is in this report: so a field that the types lost is found here, and one that they gained
    // is found above.
    let root = schema();
    let mut named = BTreeSet::new();
    fields(&root, "", &mut named);
    let mut there = BTreeSet::new();
    keys(&again, &mut there);
    let lost: Vec<_> = named.difference(&there).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("only the schema has {lost:?}").into()) }
}

fn fields(rule: &Value, name: &str, found: &mut BTreeSet<String>) {
    match rule {
        Value::Object(object) => {
            for (key, value) in object {
                if name == "properties" {
                    found.insert(key.clone());
                }
                fields(value, if name == "properties" { "" } else { key }, found);
            }
        }
        Value::Array(rules) => rules.iter().for_each(|rule| fields(rule, "", found)),
        _ => {}
    }
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

fn statuses() -> Result<(), Failed> {
    let schema = schema();
    let known = schema["properties"]["status"]["enum"].as_array().expect("an array").clone();
    let mut seen = BTreeSet::new();
    for word in &known {
        let status: Status = serde_json::from_value(word.clone())?;
        if status.name() != word {
            return Err(format!("{word} is called {}", status.name()).into());
        }
        // A new variant does not compile until it is written here, and then the count is off until the schema has it.
        seen.insert(match status {
            Status::Ok => 1,
            Status::NonzeroExit => 2,
            Status::Signaled => 3,
            Status::CpuTimeLimit => 4,
            Status::WallTimeLimit => 5,
            Status::MemoryLimit => 6,
            Status::IdleLimit => 7,
            Status::OutputLimit => 8,
            Status::FileSizeLimit => 9,
            Status::SyscallRefused => 10,
            Status::CompileError => 11,
            Status::ExecFailed => 12,
            Status::SandboxFailed => 13,
            Status::Cancelled => 14,
        });
    }
    if seen.len() == 14 { Ok(()) } else { Err("the schema lacks a status".into()) }
}

fn check_finds() -> Result<(), Failed> {
    let broken: &[(&str, Value)] = &[
        ("/schema", 2.into()),
        ("/status", "fine".into()),
        ("/signal", "9".into()),
        ("/usage/cpu_ns", (-1).into()),
        ("/enforcement/0/scope", "all".into()),
        ("/stdout", serde_json::json!({"bytes": 1, "kept": 1, "truncated": false})),
        ("/command/1", serde_json::json!({"bytes": 1})),
    ];
    for (place, value) in broken {
        let mut report: Value = serde_json::from_str(EVERYTHING)?;
        *report.pointer_mut(place).expect("a place in the report") = value.clone();
        if check(&report).is_ok() {
            return Err(format!("{value} at {place} was not found").into());
        }
    }
    Ok(())
}
