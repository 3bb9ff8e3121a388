//! What SECURITY.md and the README name as the proof of a promise exists: a function, an attack, a stock plan or a fuzz target.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Words in backticks of the form `program::name` or `program::subject::name`, where `program` is one of our test programs.
fn named(text: &str) -> Vec<String> {
    let is_name = |word: &str| {
        let mut parts = word.split("::").peekable();
        let known = parts.peek().is_some_and(|first| home(first).is_some());
        let plain = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        known && word.contains("::") && parts.all(plain)
    };
    text.split('`').skip(1).step_by(2).filter(|word| is_name(word)).map(str::to_owned).collect()
}

/// Where the tests of a program are: a file, or a directory with all that is in it.
fn home(program: &str) -> Option<PathBuf> {
    let places = match program {
        "fuzz" => vec![root().join("fuzz/fuzz_targets")],
        "side_by_side" => vec![root().join("tests/attacks/side_by_side.rs")],
        _ => vec![root().join("tests").join(program), root().join(format!("tests/{program}.rs"))],
    };
    places.into_iter().find(|place| place.exists())
}

/// Every source of a test program, with its path.
fn sources(program: &str) -> Vec<(PathBuf, String)> {
    let mut files = vec![root().join(format!("tests/{program}.rs"))];
    if let Some(home) = home(program) {
        files.extend(fs::read_dir(&home).into_iter().flatten().flatten().map(|entry| entry.path()));
        files.push(home);
    }
    files.into_iter().filter_map(|file| Some((file.clone(), fs::read_to_string(&file).ok()?))).collect()
}

fn exists(name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let (Some(program), Some(test)) = (parts.first(), parts.last()) else { return false };
    let file_of = |end: &str| home(program).is_some_and(|home| home.join(format!("{test}.{end}")).is_file());
    match *program {
        "fuzz" => file_of("rs"),
        "attacks" => file_of("c"),
        _ => sources(program).into_iter().any(|(file, text)| {
            // With a subject, the function is in the file of that subject.
            let fits = parts.len() < 3 || file.file_stem().is_some_and(|stem| stem == parts[1]);
            let function = format!("fn {test}(");
            // One that no table lists and no attribute marks is never run.
            let is_run = text.contains(&format!("test!({test}")) || text.contains(&format!("#[test]\n{function}"));
            fits && text.contains(&function) && (is_run || file_uses(program, test))
        }),
    }
}

/// A function that is run for each of a list, such as each stock plan.
fn file_uses(program: &str, test: &str) -> bool {
    let uses = |text: &str| text.matches(test).count() - text.matches(&format!("fn {test}(")).count() > 0;
    sources(program).iter().any(|(_, text)| uses(text))
}

#[test]
fn every_test_that_a_promise_names_exists() {
    let mut count = 0;
    for page in [".github/SECURITY.md", "README.md"] {
        let Ok(text) = fs::read_to_string(root().join(page)) else { continue };
        for name in named(&text) {
            assert!(exists(&name), "{page} names the test {name}, which does not exist");
            count += 1;
        }
    }
    assert!(count > 80, "only {count} tests are named");
}

#[test]
fn every_threat_has_a_test() {
    let text = read(".github/SECURITY.md");
    let threats = text.split("\n## ").find(|part| part.starts_with("Threats")).expect("a part about threats");
    let rows: Vec<&str> =
        threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| vector")).collect();
    assert!(rows.len() > 45, "only {} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!((3..=4).contains(&cells.len()), "{row}");
        assert!(!named(row).is_empty() || row.contains("out of scope"), "no test: {row}");
    }
}

#[test]
fn every_attack_is_a_threat_of_the_table() {
    let text = read(".github/SECURITY.md");
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("tests/attacks")).expect("attacks").flatten() {
        let path = entry.path();
        let is_attack = path.extension().is_some_and(|end| end == "c")
            && fs::read_to_string(&path).is_ok_and(|source| source.contains("// expect: "));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if is_attack && !text.contains(&format!("attacks::{name}`")) {
            missing.push(name);
        }
    }
    missing.sort();
    assert!(missing.is_empty(), "not in SECURITY.md: {missing:?}");
}

#[test]
fn a_promise_without_a_test_is_noticed() {
    assert_eq!(
        named("`behaviour::files::x` and `std::io::Error` and `attacks::y`"),
        ["behaviour::files::x", "attacks::y"]
    );
    assert!(exists("attacks::escape_mounts") && exists("promises::a_promise_without_a_test_is_noticed"));
    for wrong in
        ["attacks::escape_to_mars", "behaviour::files::no_such", "behaviour::limits::writes_to_box_are_thrown_away"]
    {
        assert!(!exists(wrong), "{wrong}");
    }
}
