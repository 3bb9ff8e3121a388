//! The header of an attack: `// key: value` lines at its top.
//!
//! | key | value |
//! |---|---|
//! | `technique`, `layer` | words, for the reader; required |
//! | `run` | options of `sandbox run` |
//! | `needs` | features, by comma |
//! | `arch` | the one architecture it is for |
//! | `takes` | whole seconds within which the call must end, as `5s`; 15 s unless said |
//! | `expect` | `status=A\|B` or `exit=N`, then `refused=CALL,…`; a file without it is no attack by itself |

use crate::support::Feature;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) struct Attack {
    pub(crate) name: String,
    pub(crate) options: Vec<String>,
    pub(crate) needs: Vec<Feature>,
    pub(crate) takes: Duration,
    pub(crate) statuses: Vec<String>,
    pub(crate) exit: Option<i32>,
    pub(crate) refused: Vec<String>,
}

/// Every attack for this machine, by name.
pub(crate) fn read_all(sources: &Path) -> Vec<Attack> {
    let mut files: Vec<_> =
        fs::read_dir(sources).expect("the sources").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files.iter().filter(|file| file.extension().is_some_and(|end| end == "c")).filter_map(|file| parse(file)).collect()
}

fn parse(file: &Path) -> Option<Attack> {
    let text = fs::read_to_string(file).expect("a readable source");
    let name = file.file_stem().expect("a named file").to_string_lossy().into_owned();
    let header = || text.lines().map_while(|line| line.strip_prefix("// ")).filter_map(|line| line.split_once(": "));
    let value = |key: &str| header().find(|(known, _)| *known == key).map(|(_, value)| value.trim());
    let expect = value("expect")?;
    for (key, _) in header() {
        let keys = ["technique", "layer", "run", "needs", "arch", "takes", "expect"];
        assert!(keys.contains(&key), "{name}.c: unknown key '{key}'");
    }
    assert!(value("technique").is_some() && value("layer").is_some(), "{name}.c says neither technique nor layer");
    if value("arch").is_some_and(|arch| arch != std::env::consts::ARCH) {
        return None;
    }
    let needs = value("needs").map_or_else(Vec::new, |words| {
        let feature = |word: &str| Feature::named(word).unwrap_or_else(|| panic!("{name}.c: no feature '{word}'"));
        words.split(',').map(str::trim).map(feature).collect()
    });
    let takes = value("takes").map_or(15, |words| {
        words
            .strip_suffix('s')
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or_else(|| panic!("{name}.c: '{words}'"))
    });
    let mut attack = Attack {
        options: value("run").map_or_else(Vec::new, |words| words.split_whitespace().map(str::to_owned).collect()),
        needs,
        takes: Duration::from_secs(takes),
        statuses: Vec::new(),
        exit: None,
        refused: Vec::new(),
        name,
    };
    for token in expect.split_whitespace() {
        match token.split_once('=') {
            Some(("status", words)) => attack.statuses = words.split('|').map(str::to_owned).collect(),
            Some(("exit", code)) => {
                let code: i32 = code.parse().unwrap_or_else(|_| panic!("{}.c: exit={code}", attack.name));
                attack.exit = Some(code);
                attack.statuses = vec![if code == 0 { "ok" } else { "nonzero-exit" }.to_owned()];
            }
            Some(("refused", calls)) => attack.refused = calls.split(',').map(str::to_owned).collect(),
            _ => panic!("{}.c: unknown expectation '{token}'", attack.name),
        }
    }
    assert!(!attack.statuses.is_empty(), "{}.c expects no outcome", attack.name);
    Some(attack)
}
