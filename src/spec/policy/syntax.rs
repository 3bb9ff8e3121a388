//! The text of a policy file: TOML in, decisions out, every complaint with its line. Knows nothing of other policies: what
//! a file extends is laid beneath it elsewhere.

use super::condition;
use super::table::{Answer, Clause, Decision, Op};
use super::words::{self, nearest};
use crate::spec::calls::Call;
use crate::spec::{Asked, Limit};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub sentence: String,
    /// What can be done.
    pub hint: Option<String>,
}

/// Something that the file shows inside, in the words of the flag of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// `ro`, `rw` or `tmpfs`.
    pub kind: ShownKind,
    /// `PATH[:INSIDE]`, or `INSIDE[:SIZE]` for a tmpfs.
    pub words: String,
    /// Where it says so.
    pub line: usize,
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShownKind {
    /// Read-only.
    ReadOnly,
    /// Writable, on the host.
    ReadWrite,
    /// Empty and thrown away.
    Tmpfs,
}

/// One file, as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct File {
    /// One line about it.
    pub about: Option<String>,
    /// The built-in policy beneath, and the line that says so.
    pub extends: Option<(String, usize)>,
    /// Limits that it names.
    pub limits: Asked,
    /// What it shows.
    pub files: Vec<Shown>,
    /// What it sets in the environment.
    pub env: Vec<(String, String)>,
    /// Its rules, in order, one per call.
    pub calls: Vec<Decision>,
}

/// Calls that make or enter a namespace, or mount: in a sandbox inside this one they are the first to fail, and its user is
/// to read why. They are never a reason to kill.
pub(crate) const NAMESPACE_CALLS: [&str; 15] = [
    "clone",
    "clone3",
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "mount_setattr",
];

struct Reader<'a> {
    text: &'a str,
    names: HashMap<&'static str, Call>,
    /// The lines of the rules so far, by call.
    lines: HashMap<Call, Vec<usize>>,
    decided: HashMap<Call, Vec<Decision>>,
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn line(&self, at: Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(at.start);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn fault(&self, at: Range<usize>, sentence: impl Into<String>) -> Fault {
        Fault { line: self.line(at), sentence: sentence.into(), hint: None }
    }

    fn unknown<'k>(&self, key: &Key<'_>, place: &str, known: impl IntoIterator<Item = &'k str>) -> Fault {
        let known: Vec<&str> = known.into_iter().collect();
        let name = key.get_ref();
        let mut fault = self.fault(key.span(), format!("{place} has no key '{}'", name.escape_debug()));
        fault.hint = Some(match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("its keys are {}", known.join(", ")),
        });
        fault
    }

    fn table<'v, 'i>(&self, key: &Key<'i>, value: &'v Value<'i>) -> Result<&'v DeTable<'i>, Fault> {
        let kind = value.get_ref().type_str();
        value.get_ref().as_table().ok_or_else(|| {
            let name = key.get_ref();
            self.fault(key.span(), format!("'{name}' is a table, [{name}], and this is of type {kind}"))
        })
    }

    fn string<'v>(&self, what: &str, value: &'v Value<'_>) -> Result<&'v str, Fault> {
        let kind = value.get_ref().type_str();
        let text = value.get_ref().as_str();
        text.ok_or_else(|| self.fault(value.span(), format!("{what} is a text in quotes, and this is of type {kind}")))
    }

    /// One text, or several in brackets.
    fn strings<'v>(&self, what: &str, value: &'v Value<'_>) -> Result<Vec<(&'v str, Range<usize>)>, Fault> {
        match value.get_ref().as_array() {
            None => Ok(vec![(self.string(what, value)?, value.span())]),
            Some(array) => array.iter().map(|item| Ok((self.string(what, item)?, item.span()))).collect(),
        }
    }

    fn limits(&self, table: &DeTable<'_>) -> Result<Asked, Fault> {
        let keys: Vec<&str> = Limit::ALL.iter().map(|limit| limit.flag().trim_start_matches('-')).collect();
        let mut limits = Asked::default();
        for (key, value) in table {
            if !keys.contains(&key.get_ref().as_ref()) {
                return Err(self.unknown(key, "[limits]", keys.iter().copied()));
            }
            // The value's own text, read again as the limit's type, so that a file and a job agree on every spelling.
            let words = self.text.get(value.span()).unwrap_or_default();
            let one: Asked = toml::from_str(&format!("{} = {words}", key.get_ref())).map_err(|error| {
                let sentence = format!("{}: {}", key.get_ref(), error.message().trim_end());
                self.fault(value.span(), sentence)
            })?;
            limits = limits.over(&one);
        }
        Ok(limits)
    }

    fn files(&self, table: &DeTable<'_>) -> Result<Vec<Shown>, Fault> {
        let mut files = Vec::new();
        for (key, value) in table {
            let kind = match key.get_ref().as_ref() {
                "ro" => ShownKind::ReadOnly,
                "rw" => ShownKind::ReadWrite,
                "tmpfs" => ShownKind::Tmpfs,
                _ => return Err(self.unknown(key, "[files]", ["ro", "rw", "tmpfs"])),
            };
            for (words, at) in self.strings(key.get_ref(), value)? {
                if !words.starts_with('/') {
                    let sentence = format!("'{}' is no absolute path", words.escape_debug());
                    return Err(self.fault(at, sentence));
                }
                files.push((at.start, Shown { kind, words: words.to_owned(), line: self.line(at) }));
            }
        }
        // Keys come sorted; what is shown later covers what is shown earlier, so the file's order counts.
        files.sort_by_key(|(start, _)| *start);
        Ok(files.into_iter().map(|(_, shown)| shown).collect())
    }

    fn env(&self, table: &DeTable<'_>) -> Result<Vec<(String, String)>, Fault> {
        let mut env = Vec::new();
        for (key, value) in table {
            let name = key.get_ref();
            let content = self.string(name, value)?;
            if name.is_empty() || name.contains(['=', '\0']) || content.contains('\0') {
                let sentence = format!("'{}' is no environment variable", name.escape_debug());
                return Err(self.fault(key.span(), sentence));
            }
            env.push((name.to_string(), content.to_owned()));
        }
        Ok(env)
    }

    fn call(&self, name: &str, at: Range<usize>) -> Result<Call, Fault> {
        let Some(&call) = self.names.get(name) else {
            let mut fault = self.fault(at, format!("'{}' is no system call", name.escape_debug()));
            let known = self.names.iter().filter(|(_, call)| !call.is_foreign()).map(|(name, _)| *name);
            fault.hint = nearest(name, known).map(|near| format!("did you mean '{near}'?"));
            return Err(fault);
        };
        if call.is_foreign() {
            let sentence = format!("'{name}' is a call of 32-bit programs, which never run here");
            return Err(self.fault(at, sentence));
        }
        Ok(call)
    }

    fn answer(&self, answer: &Value<'_>, errno: Option<&Value<'_>>) -> Result<Answer, Fault> {
        let number = |value: &Value<'_>| {
            let name = self.string("an errno", value)?;
            words::number(name).ok_or_else(|| {
                let sentence = format!("'{}' is no errno", name.escape_debug());
                let hint = nearest(name, words::names()).map(|near| format!("did you mean {near}?"));
                Fault { hint, ..self.fault(value.span(), sentence) }
            })
        };
        let word = self.string("answer", answer)?;
        if let (Some(errno), false) = (errno, word == "refuse") {
            let sentence = "'errno' goes with answer = \"refuse\" only";
            return Err(self.fault(errno.span(), sentence));
        }
        match word {
            "allow" => Ok(Answer::Allow),
            "kill" => Ok(Answer::Kill),
            "refuse" => Ok(Answer::Refuse(errno.map(number).transpose()?.unwrap_or(1))),
            name if name.starts_with('E') => Ok(Answer::Errno(number(answer)?)),
            name => {
                let sentence = format!("'{}' is no answer", name.escape_debug());
                let hint = match nearest(name, ["allow", "refuse", "kill"]) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "answers are \"allow\", \"refuse\", \"kill\", or an errno such as \"ENOSYS\"".to_owned(),
                };
                Err(Fault { hint: Some(hint), ..self.fault(answer.span(), sentence) })
            }
        }
    }

    /// Whether two rules of one call cannot both be meant; the words of the complaint.
    fn conflict(old: &Decision, new: &Decision) -> Option<String> {
        let name = new.call.name();
        if old.when.is_empty() && new.when.is_empty() {
            return Some(format!("{name} is already decided"));
        }
        if old.answer == new.answer && (old.when.is_empty() || new.when.is_empty()) {
            return Some(format!("{name} gets the same answer with and without the condition"));
        }
        if old.when.is_empty() || new.when.is_empty() || old.answer == new.answer {
            return None;
        }
        overlap(&old.when, &new.when)
            .then(|| format!("{name} gets two answers: some arguments meet this condition and the earlier one"))
    }

    fn rule(&mut self, rule: &Value<'_>) -> Result<(), Fault> {
        let Some(table) = rule.get_ref().as_table() else {
            return Err(self.fault(rule.span(), "each of calls is a table: [[calls]]"));
        };
        let (mut names, mut when, mut answer, mut errno, mut reason) = (None, None, None, None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "names" => names = Some(self.strings("names", value)?),
                "when" => when = Some(self.strings("when", value)?),
                "answer" => answer = Some(value),
                "errno" => errno = Some(value),
                "reason" => reason = Some((self.string("reason", value)?, value.span())),
                _ => return Err(self.unknown(key, "[[calls]]", ["names", "when", "answer", "errno", "reason"])),
            }
        }
        let missing = |key| self.fault(rule.span(), format!("this rule has no '{key}'"));
        let names = names.filter(|names| !names.is_empty()).ok_or_else(|| missing("names"))?;
        let answer = self.answer(answer.ok_or_else(|| missing("answer"))?, errno)?;
        let (reason, at) = reason.ok_or_else(|| missing("reason"))?;
        if reason.trim().is_empty() || reason.contains('\n') {
            return Err(self.fault(at, "a reason is one line that says why"));
        }
        let when = when.unwrap_or_default();
        for (name, at) in names {
            let call = self.call(name, at.clone())?;
            let mut clauses: Vec<Clause> = Vec::new();
            for (text, at) in &when {
                let clause = condition::parse(text, call).map_err(|bad| Fault {
                    line: self.line(at.clone()),
                    sentence: format!("'{}' is no condition on {name}: {}", text.escape_debug(), bad.sentence),
                    hint: bad.hint,
                })?;
                clauses.push(clause);
            }
            if answer == Answer::Kill && NAMESPACE_CALLS.contains(&name) {
                let sentence =
                    format!("{name} cannot be answered with \"kill\": a sandbox inside this one is to say why");
                return Err(Fault {
                    hint: Some("write \"refuse\": it is recorded too".to_owned()),
                    ..self.fault(at, sentence)
                });
            }
            let decision = Decision { call, when: clauses, answer, reason: reason.to_owned() };
            let line = self.line(at.clone());
            let earlier = self.decided.entry(call).or_default();
            let lines = self.lines.entry(call).or_default();
            for (old, old_line) in earlier.iter().zip(lines.iter()) {
                if let Some(sentence) = Self::conflict(old, &decision) {
                    return Err(Fault { line, sentence: format!("{sentence} (line {old_line})"), hint: None });
                }
            }
            earlier.push(decision);
            lines.push(line);
        }
        Ok(())
    }
}

/// Whether some arguments meet both. Exact where values are compared for equality; else by trying every value named, its
/// neighbours and their combinations.
fn overlap(one: &[Clause], other: &[Clause]) -> bool {
    (0..6).all(|arg| {
        let clauses: Vec<&Clause> = one.iter().chain(other).filter(|clause| clause.arg == arg).collect();
        if clauses.is_empty() {
            return true;
        }
        let mut values = vec![0, u64::MAX];
        for clause in &clauses {
            for &value in &clause.values {
                let around = [value.wrapping_sub(1), value, value.wrapping_add(1)];
                values.extend(around.iter().map(|value| value & clause.mask));
            }
        }
        // A value that meets one mask may have to borrow the bits outside it from another value.
        let lent = values.clone();
        for clause in clauses.iter().filter(|clause| clause.op == Op::In) {
            for &value in &clause.values {
                values.extend(lent.iter().map(|other| value | other & !clause.mask));
            }
        }
        values.iter().any(|value| {
            let mut args = [0; 6];
            args[usize::from(arg)] = *value;
            clauses.iter().all(|clause| clause.holds(&args))
        })
    })
}

/// Reads a policy file.
///
/// # Errors
/// The first thing that is wrong with it.
pub(crate) fn read(text: &str) -> Result<File, Fault> {
    let mut reader = Reader {
        text,
        names: Call::all().map(|call| (call.name(), call)).collect(),
        lines: HashMap::new(),
        decided: HashMap::new(),
    };
    let parsed = DeTable::parse(text).map_err(|error| {
        let sentence = format!("it is no TOML: {}", error.message().trim_end().replace('\n', ", "));
        reader.fault(error.span().unwrap_or(text.len()..text.len()), sentence)
    })?;
    let mut file = File::default();
    for (key, value) in parsed.get_ref() {
        match key.get_ref().as_ref() {
            "about" => file.about = Some(reader.string("about", value)?.replace('\n', " ")),
            "extends" => {
                file.extends = Some((reader.string("extends", value)?.to_owned(), reader.line(value.span())));
            }
            "limits" => file.limits = reader.limits(reader.table(key, value)?)?,
            "files" => file.files = reader.files(reader.table(key, value)?)?,
            "env" => file.env = reader.env(reader.table(key, value)?)?,
            "calls" => {
                let Some(rules) = value.get_ref().as_array() else {
                    return Err(reader.fault(key.span(), "'calls' is a list of tables: [[calls]]"));
                };
                for rule in rules {
                    reader.rule(rule)?;
                }
            }
            _ => {
                let known = ["about", "extends", "limits", "files", "env", "calls"];
                return Err(reader.unknown(key, "a policy", known));
            }
        }
    }
    file.calls = reader.decided.into_values().flatten().collect();
    file.calls.sort_by_key(|decision| decision.call);
    Ok(file)
}
