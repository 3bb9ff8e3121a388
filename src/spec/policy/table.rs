//! The rules of a policy, ready to be compiled: flat pools of plain numbers and one text, so that a built-in policy costs
//! neither a relocation nor an allocation at the start, and the direct reading of what a call gets.

use crate::spec::calls::Call;
use std::borrow::Cow;
use std::collections::HashMap;

/// What a call gets. An errno is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is made.
    Allow,
    /// This errno, and a line in the report.
    Refuse(u16),
    /// The end of the run, and a line in the report.
    Kill,
    /// This errno, and no word of it: what programs only probe.
    Errno(u16),
}

/// A call that no rule names.
pub const UNLISTED: Answer = Answer::Refuse(38);
/// A call whose rules all have conditions, none of which holds.
pub const OTHERWISE: Answer = Answer::Refuse(1);

/// How a test compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// The one value, or less, unsigned.
    AtMost,
    /// The one value, or more, unsigned.
    AtLeast,
}

/// One comparison of one argument, as the pool has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which bits of the argument count; the rest is garbage to the kernel.
    pub mask: u64,
    /// 0 to 5.
    pub arg: u8,
    /// How.
    pub op: Op,
    pub(crate) first: u16,
    pub(crate) count: u16,
}

/// One rule, as the table has it: a call, the tests that must all hold, the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The call.
    pub call: Call,
    /// What it gets.
    pub answer: Answer,
    pub(crate) first: u16,
    pub(crate) count: u16,
    pub(crate) note: u16,
}

/// The words of a rule: where its condition and its reason are in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub(crate) when: (u32, u32),
    pub(crate) reason: (u32, u32),
}

/// All rules, by call; those with conditions before the one without. Conditions of one call exclude each other where their
/// answers differ; the parser sees to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(crate) rules: Cow<'static, [Rule]>,
    pub(crate) tests: Cow<'static, [Test]>,
    pub(crate) values: Cow<'static, [u64]>,
    pub(crate) notes: Cow<'static, [Note]>,
    pub(crate) text: Cow<'static, str>,
}

/// A rule as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The call.
    pub call: Call,
    /// All of these must hold.
    pub when: Vec<Clause>,
    /// What it gets.
    pub answer: Answer,
    /// Why.
    pub reason: String,
}

/// A comparison as a file has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clause {
    /// 0 to 5.
    pub arg: u8,
    /// How.
    pub op: Op,
    /// Which bits of the argument count.
    pub mask: u64,
    /// At least one; exactly one for `AtMost` and `AtLeast`.
    pub values: Vec<u64>,
    /// The words.
    pub text: String,
}

impl Op {
    /// Whether it holds for these bits of `argument`.
    pub(crate) fn holds(self, mask: u64, values: &[u64], argument: u64) -> bool {
        let seen = argument & mask;
        match self {
            Op::In => values.contains(&seen),
            Op::NotIn => !values.contains(&seen),
            Op::AtMost => values.iter().all(|&value| seen <= value),
            Op::AtLeast => values.iter().all(|&value| seen >= value),
        }
    }
}

impl Clause {
    /// Whether it holds for these arguments.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        args.get(usize::from(self.arg)).is_some_and(|&argument| self.op.holds(self.mask, &self.values, argument))
    }
}

impl Table {
    /// The table of these rules.
    ///
    /// # Errors
    /// More of them than a table can number.
    pub fn of(decisions: &[Decision]) -> Result<Table, TooLarge> {
        let mut pools = Pools::default();
        let rules = pools.add(decisions)?;
        Ok(pools.table(rules))
    }

    /// All rules, by call.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules of one call, in the order in which they are tried.
    pub fn rules_of(&self, call: Call) -> &[Rule] {
        let start = self.rules.partition_point(|rule| rule.call < call);
        let end = start + self.rules[start..].iter().take_while(|rule| rule.call == call).count();
        &self.rules[start..end]
    }

    /// A rule's tests: all must hold.
    pub fn tests(&self, rule: &Rule) -> &[Test] {
        &self.tests[usize::from(rule.first)..usize::from(rule.first) + usize::from(rule.count)]
    }

    /// What a test compares with.
    pub fn values(&self, test: &Test) -> &[u64] {
        &self.values[usize::from(test.first)..usize::from(test.first) + usize::from(test.count)]
    }

    fn words(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }

    /// Why a rule is as it is.
    pub fn reason(&self, rule: &Rule) -> &str {
        self.words(self.notes[usize::from(rule.note)].reason)
    }

    /// A rule's conditions as they were written, one a line; empty without any.
    pub fn when(&self, rule: &Rule) -> &str {
        self.words(self.notes[usize::from(rule.note)].when)
    }

    /// Whether all tests of a rule hold.
    pub fn applies(&self, rule: &Rule, args: &[u64; 6]) -> bool {
        self.tests(rule).iter().all(|test| {
            args.get(usize::from(test.arg))
                .is_some_and(|&argument| test.op.holds(test.mask, self.values(test), argument))
        })
    }

    /// What a call with these arguments gets.
    pub fn answer(&self, call: Call, args: &[u64; 6]) -> Answer {
        let rules = self.rules_of(call);
        match rules.iter().find(|rule| self.applies(rule, args)) {
            Some(rule) => rule.answer,
            None if rules.is_empty() => UNLISTED,
            None => OTHERWISE,
        }
    }

    /// Whether some arguments make `call` allowed.
    pub fn can_allow(&self, call: Call) -> bool {
        self.rules_of(call).iter().any(|rule| rule.answer == Answer::Allow)
    }

    /// The calls that are allowed, at least with some arguments.
    pub fn allowed(&self) -> Vec<Call> {
        let mut calls: Vec<Call> =
            self.rules.iter().filter(|rule| rule.answer == Answer::Allow).map(|rule| rule.call).collect();
        calls.dedup();
        calls
    }

    /// The rules as a file would have them.
    pub fn decisions(&self) -> Vec<Decision> {
        let decision = |rule: &Rule| Decision {
            call: rule.call,
            when: std::iter::zip(self.tests(rule), self.when(rule).lines())
                .map(|(test, text)| Clause {
                    arg: test.arg,
                    op: test.op,
                    mask: test.mask,
                    values: self.values(test).to_vec(),
                    text: text.to_owned(),
                })
                .collect(),
            answer: rule.answer,
            reason: self.reason(rule).to_owned(),
        };
        self.rules.iter().map(decision).collect()
    }
}

/// `above` laid over `beneath`: a call that `above` names is decided by it alone.
pub fn layer(beneath: Vec<Decision>, above: &[Decision]) -> Vec<Decision> {
    let named: std::collections::HashSet<Call> = above.iter().map(|decision| decision.call).collect();
    let mut all: Vec<Decision> = beneath.into_iter().filter(|decision| !named.contains(&decision.call)).collect();
    all.extend_from_slice(above);
    all
}

/// More rules, tests, values or text than a table can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// The pools under construction; several tables can share them.
#[derive(Default)]
pub struct Pools {
    pub(crate) tests: Vec<Test>,
    pub(crate) values: Vec<u64>,
    pub(crate) notes: Vec<Note>,
    pub(crate) text: String,
    clauses: HashMap<Vec<Clause>, (u16, u16)>,
    words: HashMap<String, (u32, u32)>,
}

fn short(number: usize) -> Result<u16, TooLarge> {
    u16::try_from(number).map_err(|_| TooLarge)
}

impl Pools {
    fn words(&mut self, words: &str) -> Result<(u32, u32), TooLarge> {
        if let Some(&span) = self.words.get(words) {
            return Ok(span);
        }
        let start = u32::try_from(self.text.len()).map_err(|_| TooLarge)?;
        self.text.push_str(words);
        let end = u32::try_from(self.text.len()).map_err(|_| TooLarge)?;
        self.words.insert(words.to_owned(), (start, end));
        Ok((start, end))
    }

    fn clauses(&mut self, clauses: &[Clause]) -> Result<(u16, u16), TooLarge> {
        if let Some(&span) = self.clauses.get(clauses) {
            return Ok(span);
        }
        let span = (short(self.tests.len())?, short(clauses.len())?);
        for clause in clauses {
            let first = short(self.values.len())?;
            self.values.extend_from_slice(&clause.values);
            let count = short(clause.values.len())?;
            self.tests.push(Test { arg: clause.arg, op: clause.op, mask: clause.mask, first, count });
        }
        short(self.values.len())?;
        short(self.tests.len())?;
        self.clauses.insert(clauses.to_vec(), span);
        Ok(span)
    }

    /// Adds these rules and gives them by call, those with conditions first.
    ///
    /// # Errors
    /// More than 65,535 tests, values or reasons.
    pub fn add(&mut self, decisions: &[Decision]) -> Result<Vec<Rule>, TooLarge> {
        let mut rules = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let when: Vec<&str> = decision.when.iter().map(|clause| clause.text.as_str()).collect();
            let note = Note { when: self.words(&when.join("\n"))?, reason: self.words(&decision.reason)? };
            let index = match self.notes.iter().position(|known| *known == note) {
                Some(index) => index,
                None => {
                    self.notes.push(note);
                    self.notes.len() - 1
                }
            };
            let (first, count) = self.clauses(&decision.when)?;
            rules.push(Rule { call: decision.call, answer: decision.answer, first, count, note: short(index)? });
        }
        rules.sort_by_key(|rule| (rule.call, rule.count == 0));
        Ok(rules)
    }

    /// The table of `rules`, with the pools to itself.
    pub fn table(self, rules: Vec<Rule>) -> Table {
        Table {
            rules: Cow::Owned(rules),
            tests: Cow::Owned(self.tests),
            values: Cow::Owned(self.values),
            notes: Cow::Owned(self.notes),
            text: Cow::Owned(self.text),
        }
    }
}
