//! Classic BPF, written from the end to the start: whatever an instruction jumps to is already there, so its distance is
//! known, and one `ret` serves everybody within reach.

use crate::plan::step::Insn;
use crate::spec::policy::table::Op;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RET: u16 = 0x06;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const JSET: u16 = 0x45;

/// `offsetof(struct seccomp_data, …)`
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// How far a conditional jump reaches, less the two unconditional ones that may have to be put in between.
const REACH: usize = 253;

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// One comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison<'a> {
    pub(super) arg: u8,
    pub(super) op: Op,
    pub(super) mask: u64,
    pub(super) values: &'a [u64],
}

impl Comparison<'_> {
    /// Whether it holds for this value of its argument.
    pub(super) fn holds(&self, argument: u64) -> bool {
        self.op.holds(self.mask, self.values, argument)
    }
}

/// The half of a 64-bit argument that one load gets.
#[derive(Clone, Copy)]
enum Half {
    Low,
    High,
}

impl Half {
    fn of(self, value: u64) -> u32 {
        match self {
            Half::Low => value as u32,
            Half::High => (value >> 32) as u32,
        }
    }

    /// Little-endian, as both architectures are.
    fn offset(self, arg: u8) -> u32 {
        ARGS + 8 * u32::from(arg)
            + match self {
                Half::Low => 0,
                Half::High => 4,
            }
    }
}

/// A program under construction.
#[derive(Default)]
pub(super) struct Program {
    reversed: Vec<Insn>,
    returns: Vec<(u32, Label)>,
}

impl Program {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Insn { code, jt, jf, k });
        Label(self.reversed.len())
    }

    /// How many instructions the next one pushed would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = self.distance(label) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    /// Puts what comes next in front of `label`.
    fn fall_into(&mut self, label: Label) {
        if self.distance(label) > 0 {
            self.jump(label);
        }
    }

    pub(super) fn within_reach(&self, label: Label) -> bool {
        self.distance(label) <= REACH
    }

    /// The end: this value.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        let near = self.returns.iter().rev().find(|(known, label)| *known == value && self.within_reach(*label));
        if let Some((_, label)) = near {
            return *label;
        }
        let label = self.push(RET, 0, 0, value);
        self.returns.push((value, label));
        label
    }

    fn branch(&mut self, code: u16, k: u32, mut yes: Label, mut no: Label) -> Label {
        if !self.within_reach(yes) {
            yes = self.jump(yes);
        }
        if !self.within_reach(no) {
            no = self.jump(no);
        }
        if yes == no {
            return yes;
        }
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, jt, jf, k)
    }

    /// `number >= k`
    pub(super) fn at_least(&mut self, k: u32, yes: Label, no: Label) -> Label {
        self.branch(JGE, k, yes, no)
    }

    /// `number == k`
    pub(super) fn equal(&mut self, k: u32, yes: Label, no: Label) -> Label {
        self.branch(JEQ, k, yes, no)
    }

    /// Loads a word of `struct seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(LOAD, 0, 0, offset)
    }

    fn load_half(&mut self, half: Half, comparison: &Comparison<'_>, next: Label) -> Label {
        self.fall_into(next);
        let mask = half.of(comparison.mask);
        if mask != u32::MAX {
            self.push(AND, 0, 0, mask);
        }
        self.push(LOAD, 0, 0, half.offset(comparison.arg))
    }

    /// Whether the half is one of `values`, ascending: a chain of tests, or one `jset` for "none of these bits".
    fn one_of(&mut self, half: Half, comparison: &Comparison<'_>, values: &[u32], yes: Label, no: Label) -> Label {
        let mask = half.of(comparison.mask);
        if values == [0] && mask != u32::MAX {
            let test = self.branch(JSET, mask, no, yes);
            self.fall_into(test);
            return self.push(LOAD, 0, 0, half.offset(comparison.arg));
        }
        let mut test = no;
        let mut rest = values;
        while let Some((&last, before)) = rest.split_last() {
            // Values that follow each other are one range: two instructions for any number of them.
            let run = 1 + std::iter::zip(before.iter().rev(), 1..)
                .take_while(|(value, back)| last - **value == *back)
                .count();
            rest = &rest[..rest.len() - run];
            test = match run {
                1 => self.branch(JEQ, last, yes, test),
                _ => {
                    let at_least = self.branch(JGE, last - (run as u32 - 1), yes, test);
                    self.branch(JGT, last, test, at_least)
                }
            };
        }
        self.load_half(half, comparison, test)
    }

    fn member(&mut self, comparison: &Comparison<'_>, yes: Label, no: Label) -> Label {
        let low = |value: &u64| Half::Low.of(*value);
        if Half::High.of(comparison.mask) == 0 {
            let values: Vec<u32> = comparison.values.iter().map(low).collect();
            return self.one_of(Half::Low, comparison, &values, yes, no);
        }
        let mut next = no;
        // By the high half, then the low halves that go with it.
        let mut highs: Vec<u32> = comparison.values.iter().map(|value| Half::High.of(*value)).collect();
        highs.sort_unstable();
        highs.dedup();
        for high in highs.into_iter().rev() {
            let with_it = comparison.values.iter().filter(|value| Half::High.of(**value) == high);
            let lows: Vec<u32> = with_it.map(low).collect();
            let inner = match Half::Low.of(comparison.mask) {
                0 => yes,
                _ => self.one_of(Half::Low, comparison, &lows, yes, next),
            };
            next = self.one_of(Half::High, comparison, &[high], inner, next);
        }
        next
    }

    /// Whether the argument is above `bound`.
    fn above(&mut self, comparison: &Comparison<'_>, bound: u64, yes: Label, no: Label) -> Label {
        let test = self.branch(JGT, Half::Low.of(bound), yes, no);
        let low = self.load_half(Half::Low, comparison, test);
        if Half::High.of(comparison.mask) == 0 {
            return low;
        }
        let high = Half::High.of(bound);
        let equal = self.branch(JEQ, high, low, no);
        let test = self.branch(JGT, high, yes, equal);
        self.load_half(Half::High, comparison, test)
    }

    /// A comparison, and where it leads.
    pub(super) fn compare(&mut self, comparison: &Comparison<'_>, yes: Label, no: Label) -> Label {
        let bound = comparison.values.first().copied().unwrap_or_default();
        match comparison.op {
            Op::In => self.member(comparison, yes, no),
            Op::NotIn => self.member(comparison, no, yes),
            Op::AtMost => self.above(comparison, bound, no, yes),
            // `> bound - 1`; the parser refuses `>= 0`, which always holds.
            Op::AtLeast => match bound.checked_sub(1) {
                Some(below) => self.above(comparison, below, yes, no),
                None => yes,
            },
        }
    }

    /// The program that starts at `entry`.
    pub(super) fn finish(mut self, entry: Label) -> Vec<Insn> {
        self.fall_into(entry);
        self.reversed.reverse();
        self.reversed
    }
}
