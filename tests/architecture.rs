//! What the sources themselves must look like: which way imports run, where `unsafe` and signals may be sent from, that
//! descriptors close on exec, that each file says what it owns. Reads tokens, not lines, so that a comment is no code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom; `x::y` allows that module of `x` alone. `lib` and `main` are the roof and may name all; the build
/// script is a program of its own.
const IMPORTS: [(&str, &[&str]); 9] = [
    ("cli", &["error", "host", "plan", "report", "spec", "supervise"]),
    ("plan", &["error", "spec", "host", "report"]),
    ("child", &["plan::step", "wire", "sys"]),
    ("supervise", &["error", "spec", "host", "plan", "child", "wire", "report", "sys"]),
    ("host", &["error", "spec", "sys"]),
    ("report", &["error", "spec"]),
    ("spec", &["error"]),
    ("error", &[]),
    ("wire", &[]),
];

/// `sys` has nothing of ours beneath it.
const NOTHING: &[&str] = &[];

struct Source {
    path: PathBuf,
    /// `src/plan/step.rs` is `plan::step`.
    module: Vec<String>,
    text: String,
    tokens: Vec<String>,
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(&root).expect("it was found there").to_owned();
            let mut module: Vec<String> =
                path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            let text = fs::read_to_string(&file).expect("sources are text");
            let tokens = without_tests(tokens(&text));
            Source { path, module, text, tokens }
        })
        .collect()
}

/// Words, numbers, `::` and single marks; a string is one token that starts with `"`. No comments, no lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let bytes: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while at < bytes.len() {
        let (here, next) = (bytes[at], bytes.get(at + 1).copied().unwrap_or(' '));
        if here.is_whitespace() {
            at += 1;
        } else if here == '/' && next == '/' {
            while at < bytes.len() && bytes[at] != '\n' {
                at += 1;
            }
        } else if here == '/' && next == '*' {
            while at + 1 < bytes.len() && !(bytes[at] == '*' && bytes[at + 1] == '/') {
                at += 1;
            }
            at += 2;
        } else if let Some(length) = string_length(&bytes[at..]) {
            found.push(format!("\"{}", bytes[at..at + length].iter().collect::<String>()));
            at += length;
        } else if here == '\'' {
            // A character, or the mark of a lifetime.
            let escaped = next == '\\';
            let close = if escaped { (at + 3..bytes.len()).find(|&i| bytes[i] == '\'') } else { Some(at + 2) };
            match close.filter(|&close| bytes.get(close) == Some(&'\'')) {
                Some(close) => at = close + 1,
                None => at += 1,
            }
        } else if is_word(here) {
            let start = at;
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            found.push(bytes[start..at].iter().collect());
        } else if here == ':' && next == ':' {
            found.push("::".to_owned());
            at += 2;
        } else {
            found.push(here.to_string());
            at += 1;
        }
    }
    found
}

/// How long the string literal is that starts here, its prefix and marks included.
fn string_length(text: &[char]) -> Option<usize> {
    let mut at = 0;
    while matches!(text.get(at), Some('b' | 'c' | 'r')) && at < 2 {
        at += 1;
    }
    let raw = text[..at].contains(&'r');
    let mut marks = 0;
    while raw && text.get(at) == Some(&'#') {
        marks += 1;
        at += 1;
    }
    if text.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < text.len() {
        match text[at] {
            '\\' if !raw => at += 2,
            '"' if text[at + 1..].iter().take(marks).filter(|c| **c == '#').count() == marks => {
                return Some(at + 1 + marks);
            }
            _ => at += 1,
        }
    }
    None
}

/// Cuts out every module behind `#[cfg(test)]`, in its own file or here: tests may use what they test.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(marker.len()).map(String::as_str).eq(marker) {
            while tokens[at] != "{" && tokens[at] != ";" {
                at += 1;
            }
            let mut depth = 0;
            loop {
                match tokens[at].as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Whether the file is the body of a test module (`#[cfg(test)] mod tests;` elsewhere).
fn is_tests(source: &Source) -> bool {
    source.module.last().is_some_and(|last| last == "tests")
}

/// Every path that the tokens name below `from`, with `{…}` unfolded: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths_at(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    if tokens[at] == "," {
                        at += 1;
                    } else {
                        at = paths_at(tokens, at, &path, found);
                    }
                }
                return at + 1;
            }
            Some(word) if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                path.push(word.to_owned());
                at += 1;
            }
            // A `*`, or anything that cannot be part of a path.
            _ => {
                found.push(path);
                return at + 1;
            }
        }
        if tokens.get(at).is_some_and(|token| token == "as") {
            at += 2;
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            at += 1;
        } else {
            found.push(path);
            return at;
        }
    }
}

/// What the crate's root re-exports: `Spec` is of `spec`.
fn reexports(sources: &[Source]) -> BTreeMap<String, String> {
    let root = sources.iter().find(|source| source.path == Path::new("lib.rs")).expect("there is a lib.rs");
    let mut found = BTreeMap::new();
    for (at, window) in root.tokens.windows(2).enumerate() {
        if window == ["pub", "use"] {
            let mut paths = Vec::new();
            paths_at(&root.tokens, at + 2, &[], &mut paths);
            // `plan` is a module, whatever else has that name.
            for path in paths.iter().filter(|path| path.len() > 1 && path[0] != path[1]) {
                found.insert(path[path.len() - 1].clone(), path[0].clone());
            }
        }
    }
    found
}

/// Paths of ours that a source names, from the crate's root.
fn named(source: &Source, reexports: &BTreeMap<String, String>) -> BTreeSet<Vec<String>> {
    let mut paths = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let starts = at == 0 || source.tokens[at - 1] != "::";
        if !starts || source.tokens.get(at + 1).is_none_or(|next| next != "::") {
            continue;
        }
        if token == "crate" {
            paths_at(&source.tokens, at + 2, &[], &mut paths);
        } else if token == "super" {
            let mut base = source.module.clone();
            let mut next = at;
            while source.tokens.get(next).is_some_and(|token| token == "super") {
                base.pop();
                next += 2;
            }
            paths_at(&source.tokens, next, &base, &mut paths);
        }
    }
    paths
        .into_iter()
        .filter(|path| !path.is_empty())
        .map(|mut path| {
            if let Some(home) = reexports.get(&path[0]) {
                path.insert(0, home.clone());
            }
            path
        })
        .collect()
}

#[test]
fn imports_run_one_way() {
    let sources = sources();
    let reexports = reexports(&sources);
    let modules: BTreeSet<&str> =
        sources.iter().filter_map(|source| source.module.first()).map(String::as_str).collect();
    let table: BTreeMap<&str, &[&str]> = IMPORTS.into_iter().chain([("sys", NOTHING)]).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources.iter().filter(|source| !is_tests(source)) {
        let home = source.module[0].as_str();
        if ["lib", "main", "build"].contains(&home) {
            continue;
        }
        let Some(allowed) = table.get(home) else {
            wrong.push(format!("src/{}: the module {home} is not in the table of imports", source.path.display()));
            continue;
        };
        for path in named(source, &reexports) {
            if path[0] == home || !modules.contains(path[0].as_str()) {
                continue;
            }
            seen += 1;
            let words = path.join("::");
            let fits = |rule: &&&str| words == **rule || words.starts_with(&format!("{rule}::"));
            if !allowed.iter().any(|rule| fits(&rule)) {
                wrong.push(format!("src/{} must not import {words}", source.path.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were found: this test reads the sources wrongly");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_is_only_in_sys() {
    let sources = sources();
    let has = |source: &&Source| source.tokens.iter().any(|token| token == "unsafe");
    assert!(sources.iter().any(|source| source.module[0] == "sys" && has(&source)), "no unsafe was found at all");
    let wrong: Vec<_> =
        sources.iter().filter(|source| source.module[0] != "sys").filter(has).map(|source| &source.path).collect();
    assert!(wrong.is_empty(), "unsafe in {wrong:?}");
}

/// Where `words` occur one after the other.
fn occurrences(tokens: &[String], words: &[&str]) -> Vec<usize> {
    tokens.windows(words.len()).enumerate().filter(|(_, window)| *window == words).map(|(at, _)| at).collect()
}

#[test]
fn processes_are_ended_by_descriptor_and_never_by_number() {
    let sources = sources();
    let mut wrong = Vec::new();
    // Functions that signal everybody: from a PID 1 that is everybody inside and nobody outside, from anyone else all.
    let mut to_everybody = BTreeSet::new();
    for source in &sources {
        for words in [&["signal", "::", "kill"][..], &["killpg"], &["SYS_kill"], &["SYS_tkill"], &["SYS_tgkill"]] {
            if !occurrences(&source.tokens, words).is_empty() {
                wrong.push(format!("src/{}: {}", source.path.display(), words.concat()));
            }
        }
        for at in occurrences(&source.tokens, &["libc", "::", "kill"]) {
            let function = source.tokens[..at].iter().rposition(|token| token == "fn").map(|at| &source.tokens[at + 1]);
            match function {
                Some(name) if source.tokens[at + 3..].iter().take(4).map(String::as_str).eq(["(", "-", "1", ","]) => {
                    to_everybody.insert(name.clone());
                }
                _ => wrong.push(format!("src/{}: libc::kill of a number", source.path.display())),
            }
        }
    }
    assert!(!to_everybody.is_empty(), "init ends the rest by kill(-1): this test reads the sources wrongly");
    for source in sources.iter().filter(|source| !["child", "sys"].contains(&source.module[0].as_str())) {
        for name in &to_everybody {
            if source.tokens.contains(name) {
                wrong.push(format!("src/{}: {name} is for init alone", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_descriptor_closes_on_exec() {
    // Calls that make a descriptor, and do not close it on exec unless told; `std` tells them itself.
    let makers = [
        &["libc", "::", "open"][..],
        &["libc", "::", "openat"],
        &["libc", "::", "socket"],
        &["libc", "::", "socketpair"],
        &["libc", "::", "memfd_create"],
        &["libc", "::", "pipe2"],
        &["libc", "::", "SYS_fsopen"],
        &["libc", "::", "SYS_fsmount"],
        &["fcntl", "::", "open"],
        &["unistd", "::", "pipe2"],
    ];
    let never = [
        &["libc", "::", "pipe"][..],
        &["libc", "::", "dup"],
        &["libc", "::", "dup2"],
        &["libc", "::", "accept"],
        &["libc", "::", "F_DUPFD"],
        &["unistd", "::", "pipe"],
        &["unistd", "::", "dup"],
        &["unistd", "::", "dup2"],
    ];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for words in never {
            if occurrences(&source.tokens, words)
                .iter()
                .any(|at| source.tokens.get(at + 3).is_some_and(|t| t == "(" || t == ","))
            {
                wrong.push(format!("src/{}: {}", source.path.display(), words.concat()));
            }
        }
        for words in makers {
            for at in occurrences(&source.tokens, words) {
                seen += 1;
                // The statement that the call is in, and the two lines before: flags may be put together there.
                let from = at.saturating_sub(60);
                let near = source.tokens[from..].iter().take(120);
                if !near.into_iter().any(|token| token.contains("CLOEXEC")) {
                    wrong.push(format!("src/{}: {} without CLOEXEC", source.path.display(), words.concat()));
                }
            }
        }
    }
    assert!(seen > 3, "only {seen} calls were found: this test reads the sources wrongly");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let mut wrong: Vec<PathBuf> =
        sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    wrong.retain(|path| path.file_name().is_none_or(|name| name != "tests.rs"));
    assert!(wrong.is_empty(), "no //! header in {wrong:?}");
}

#[test]
fn nothing_is_printed_in_the_form_for_debugging() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_tests(source) && source.module != ["build"]) {
        // `errno_name` is the one place: nix's Debug of an errno is its name.
        let texts = source.tokens.iter().filter(|token| token.starts_with('"') && token.contains(":?}"));
        let count = texts.count();
        if count > usize::from(source.module == ["error"]) {
            wrong.push(format!("src/{}: {count} × {{:?}}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_knows_comments_strings_and_tests() {
    let text = "use crate::a::{b, c::{d, e as f}}; // unsafe\n/* unsafe */ let x = \"unsafe \\\" \"; let y: &'a str = r#\"un\"safe\"#;\n\
        let q = '\\''; let z = 'u'; #[cfg(test)] mod tests { unsafe { super::x() } } fn last() {}";
    let tokens = without_tests(tokens(text));
    assert!(!tokens.contains(&"unsafe".to_owned()) && tokens.contains(&"last".to_owned()), "{tokens:?}");
    let mut paths = Vec::new();
    paths_at(&tokens, 3, &[], &mut paths);
    let words: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(words, ["a::b", "a::c::d", "a::c::e"]);
}
