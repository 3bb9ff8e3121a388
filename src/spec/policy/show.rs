//! A policy in words: as the file that would make it, and against another one.

use super::table::{Answer, Rule, Table};
use super::{Policy, words};
use crate::spec::{Bytes, Cap, Limit, Millis, Mount, Network};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An answer as the file has it: the word, and the errno that goes with `refuse`.
fn answer_words(answer: Answer) -> (String, Option<String>) {
    let errno = |number| match words::name(number) {
        Some(name) => name.to_owned(),
        None => format!("errno {number}"),
    };
    match answer {
        Answer::Allow => ("allow".to_owned(), None),
        Answer::Kill => ("kill".to_owned(), None),
        Answer::Refuse(1) => ("refuse".to_owned(), None),
        Answer::Refuse(number) => ("refuse".to_owned(), Some(errno(number))),
        Answer::Errno(number) => (errno(number), None),
    }
}

/// `"…"`, as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A number as it is, or `"unlimited"`.
fn plain<T: std::fmt::Display>(cap: Cap<T>) -> String {
    match cap {
        Cap::At(value) => value.to_string(),
        Cap::Unlimited => quoted("unlimited"),
    }
}

/// `"512M"`; bytes where no larger unit is exact.
fn size(cap: Cap<Bytes>) -> String {
    let Cap::At(bytes) = cap else { return quoted("unlimited") };
    let exact =
        [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')].into_iter().find(|(shift, _)| bytes.get() % (1 << shift) == 0);
    match exact {
        Some((shift, unit)) if bytes.get() > 0 => quoted(&format!("{}{unit}", bytes.get() >> shift)),
        _ => bytes.get().to_string(),
    }
}

/// `"10s"`, `"1500ms"`.
fn time(cap: Cap<Millis>) -> String {
    let Cap::At(time) = cap else { return quoted("unlimited") };
    quoted(&match time.get() % 1000 {
        0 => format!("{}s", time.get() / 1000),
        _ => format!("{}ms", time.get()),
    })
}

fn list(items: &[String]) -> String {
    let line = items.join(", ");
    if line.len() <= 100 {
        return format!("[{line}]");
    }
    let mut lines = vec![String::new()];
    for item in items {
        if lines.last().is_some_and(|line| !line.is_empty() && line.len() + item.len() > 108) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let gap = if line.is_empty() { "    " } else { " " };
            line.push_str(gap);
            line.push_str(item);
            line.push(',');
        }
    }
    format!("[\n{}\n]", lines.join("\n"))
}

impl Policy {
    /// The limits that the policy names, each by its flag's name without the dashes, with its value as a file has it.
    pub(crate) fn limit_words(&self) -> Vec<(&'static str, String)> {
        let limits = &self.limits;
        let words = |limit| match limit {
            Limit::Memory => limits.mem.map(size),
            Limit::CpuTime => limits.cpu_time.map(time),
            Limit::WallTime => limits.wall_time.map(time),
            Limit::IdleTime => limits.idle_time.map(time),
            Limit::Processes => limits.pids.map(plain),
            Limit::Output => limits.output_size.map(size),
            Limit::FileSize => limits.file_size.map(size),
            Limit::Disk => limits.disk.map(size),
            Limit::Inodes => limits.inodes.map(plain),
            Limit::OpenFiles => limits.open_files.map(plain),
            Limit::Stack => limits.stack.map(size),
            Limit::Core => limits.core.map(size),
            Limit::Cpus => limits.cpus.map(plain),
            Limit::CpuSet => limits.cpu_set.as_ref().map(|set| quoted(&set.to_string())),
        };
        let name = |limit: Limit| limit.flag().trim_start_matches('-');
        Limit::ALL.into_iter().filter_map(|limit| Some((name(limit), words(limit)?))).collect()
    }

    /// What the policy shows besides the default, each as its key and words in a policy file.
    pub(crate) fn file_words(&self) -> Vec<String> {
        let words = self.mounts.iter().map(mount_words);
        words.map(|(kind, words)| format!("{kind} {words}")).collect()
    }

    /// The file that makes this policy without extending another; under `network`.
    pub fn to_toml(&self, network: Network) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        if !self.about.is_empty() {
            line(format_args!("about = {}", quoted(&self.about)));
        }
        let limits = self.limit_words();
        if !limits.is_empty() {
            line(format_args!("\n[limits]"));
        }
        for (name, value) in limits {
            line(format_args!("{name} = {value}"));
        }
        let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for mount in &self.mounts {
            let (kind, words) = mount_words(mount);
            files.entry(kind).or_default().push(quoted(&words));
        }
        if !files.is_empty() {
            line(format_args!("\n[files]"));
        }
        for (kind, words) in files {
            line(format_args!("{kind} = {}", list(&words)));
        }
        if !self.env.is_empty() {
            line(format_args!("\n[env]"));
        }
        for (name, value) in &self.env {
            line(format_args!("{} = {}", quoted(name), quoted(value)));
        }
        for (rule, names) in groups(self.calls(network)) {
            let names: Vec<String> = names.into_iter().map(quoted).collect();
            line(format_args!("\n[[calls]]\nnames = {}", list(&names)));
            let when: Vec<String> = rule.when.lines().map(quoted).collect();
            match when.as_slice() {
                [] => {}
                [one] => line(format_args!("when = {one}")),
                several => line(format_args!("when = {}", list(several))),
            }
            let (answer, errno) = answer_words(rule.answer);
            line(format_args!("answer = {}", quoted(&answer)));
            if let Some(errno) = errno {
                line(format_args!("errno = {}", quoted(&errno)));
            }
            line(format_args!("reason = {}", quoted(rule.reason)));
        }
        text
    }
}

fn escaped(path: &std::path::Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

/// The key and the words of a mount in a policy file.
fn mount_words(mount: &Mount) -> (&'static str, String) {
    let inside = |inside: &Option<crate::spec::InsidePath>| match inside {
        Some(inside) => format!(":{}", escaped(inside.as_path())),
        None => String::new(),
    };
    match mount {
        Mount::ReadOnly(pair) => ("ro", escaped(&pair.outside) + &inside(&pair.inside)),
        Mount::ReadWrite(pair) => ("rw", escaped(&pair.outside) + &inside(&pair.inside)),
        Mount::Tmpfs { inside, size } => {
            let size = size.map(|size| format!(":{}", size.get())).unwrap_or_default();
            ("tmpfs", escaped(inside.as_path()) + &size)
        }
    }
}

/// What the rules of several calls have in common.
struct Common<'a> {
    when: &'a str,
    answer: Answer,
    reason: &'a str,
}

/// Rules that differ in the call only, together; in the order of their first call, allowed ones first.
fn groups(table: &Table) -> Vec<(Common<'_>, Vec<&'static str>)> {
    let mut groups: Vec<(Common<'_>, Vec<&'static str>)> = Vec::new();
    for rule in table.rules() {
        let common = Common { when: table.when(rule), answer: rule.answer, reason: table.reason(rule) };
        let same = |(known, _): &&mut (Common<'_>, Vec<&'static str>)| {
            known.when == common.when && known.answer == common.answer && known.reason == common.reason
        };
        match groups.iter_mut().find(same) {
            Some((_, names)) => names.push(rule.call.name()),
            None => groups.push((common, vec![rule.call.name()])),
        }
    }
    let rank = |answer| match answer {
        Answer::Allow => 0,
        Answer::Errno(_) => 1,
        Answer::Refuse(_) => 2,
        Answer::Kill => 3,
    };
    groups.sort_by_key(|(common, _)| rank(common.answer));
    groups
}

/// What a call gets, in one line: `allow`, `refuse EACCES`, `allow if flags == 0, else refuse`.
pub(crate) fn call_words(table: &Table, rules: &[Rule]) -> String {
    let words = |answer| match answer_words(answer) {
        (word, Some(errno)) => format!("{word} {errno}"),
        (word, None) => word,
    };
    if rules.is_empty() {
        return format!("{} (not listed)", words(super::table::UNLISTED));
    }
    let mut parts: Vec<String> = Vec::new();
    for rule in rules {
        let when = table.when(rule).lines().collect::<Vec<_>>().join(" and ");
        parts.push(match (when.is_empty(), parts.is_empty()) {
            (true, true) => words(rule.answer),
            (true, false) => format!("else {}", words(rule.answer)),
            (false, _) => format!("{} if {when}", words(rule.answer)),
        });
    }
    if rules.last().is_some_and(|rule| !table.when(rule).is_empty()) {
        parts.push(format!("else {}", words(super::table::OTHERWISE)));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_makes_the_same_policy() {
        let own = "extends = \"run\"\n[limits]\nmem = \"unlimited\"\ncpu-time = 1.5\ncpus = 0.5\nstack = 4097\ncpu-set = \"0-3\"\n\
                   pids = 0\ncore = 0\n[files]\nro = [\"/a\\\\:b\", \"/c:/d\"]\ntmpfs = \"/t:4M\"\n[env]\n\"A B\" = \"c\\nd\\\"\"\n";
        let policies = Policy::names().map(|name| Policy::builtin(name).unwrap());
        for policy in policies.chain([Policy::parse(own, "own").unwrap()]) {
            for network in [Network::None, Network::Host] {
                let again = Policy::parse(&policy.to_toml(network), "again").unwrap();
                // Rules of one call exclude each other: their order means nothing.
                let rules = |policy: &Policy, network| {
                    let mut rules = policy.calls(network).decisions();
                    rules.sort_by_key(|rule| (rule.call, rule.when.iter().map(|c| c.text.clone()).collect::<Vec<_>>()));
                    rules
                };
                assert!(rules(&again, Network::None) == rules(&policy, network), "{}", policy.name);
                assert_eq!(
                    (again.limits, again.mounts, again.env, again.about),
                    (policy.limits.clone(), policy.mounts.clone(), policy.env.clone(), policy.about.clone())
                );
            }
        }
    }
}
