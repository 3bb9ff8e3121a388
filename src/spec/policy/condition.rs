//! The words of an argument condition: `ARGUMENT [& MASK] COMPARISON`, where the comparison is one of `== != < <= > >=`
//! with a value, or `in [ … ]` or `not in [ … ]`. A value is a number, a constant of the man pages, or several joined by `|`.

use super::table::{Clause, Op};
use super::words::nearest;
use crate::spec::calls::{Call, args};

/// Why words are no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadCondition {
    pub(crate) sentence: String,
    pub(crate) hint: Option<String>,
}

fn bad(sentence: impl Into<String>) -> BadCondition {
    BadCondition { sentence: sentence.into(), hint: None }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
}

const SIGNS: [&str; 13] = ["==", "!=", "<=", ">=", "<", ">", "&", "|", "[", "]", ",", "(", ")"];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, BadCondition> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(next) = rest.chars().next() {
        let taken = if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let first = if next == '-' { 1 } else { 0 };
            let end = rest[first..].find(|c| !part_of_word(c)).map_or(rest.len(), |at| at + first);
            if end == first {
                return Err(bad(format!("'{}' means nothing in a condition", next.escape_debug())));
            }
            tokens.push(Token::Word(&rest[..end]));
            end
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    call: Call,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'a>>>,
    mask: u64,
}

impl<'a> Parser<'a> {
    fn sign(&mut self, sign: &str) -> bool {
        self.tokens.next_if(|token| *token == Token::Sign(sign)).is_some()
    }

    fn word(&mut self, wanted: &str) -> Result<&'a str, BadCondition> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(Token::Sign(sign)) => Err(bad(format!("'{sign}' stands where {wanted} is expected"))),
            None => Err(bad(format!("it ends where {wanted} is expected"))),
        }
    }

    fn atom(&mut self) -> Result<u64, BadCondition> {
        let word = self.word("a value")?;
        let (negative, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word),
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return match args::constant(word) {
                Some(value) => Ok(value),
                None => Err(BadCondition {
                    sentence: format!("'{word}' is no constant that conditions know"),
                    hint: Some(match nearest(word, args::constant_names()) {
                        Some(name) => format!("did you mean {name}? a number always works"),
                        None => "write its number, such as 0x5412".to_owned(),
                    }),
                }),
            };
        }
        let number = match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(&digits[1..], 8),
            None => digits.parse(),
        };
        let number = number.map_err(|_| bad(format!("'{word}' is no number of 64 bits")))?;
        if negative && number > (self.mask >> 1) + 1 {
            return Err(bad(format!("{word} does not fit the argument")));
        }
        Ok(if negative { number.wrapping_neg() & self.mask } else { number })
    }

    fn value(&mut self) -> Result<u64, BadCondition> {
        let grouped = self.sign("(");
        let mut value = self.atom()?;
        while self.sign("|") {
            value |= self.atom()?;
        }
        if grouped && !self.sign(")") {
            return Err(bad("a ')' is missing"));
        }
        Ok(value)
    }

    fn list(&mut self) -> Result<Vec<u64>, BadCondition> {
        if !self.sign("[") {
            return Err(bad("a list such as [1, 2] is missing behind 'in'"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            let comma = self.sign(",");
            if self.sign("]") {
                break;
            }
            if !comma {
                return Err(bad("a ']' is missing"));
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn comparison(&mut self) -> Result<(Op, Vec<u64>), BadCondition> {
        let sign = match self.tokens.next() {
            Some(Token::Word("in")) => return Ok((Op::In, self.list()?)),
            Some(Token::Word("not")) => {
                return match self.tokens.next() {
                    Some(Token::Word("in")) => Ok((Op::NotIn, self.list()?)),
                    _ => Err(bad("'in' is missing behind 'not'")),
                };
            }
            Some(Token::Sign(sign)) => sign,
            Some(Token::Word(word)) => return Err(bad(format!("'{word}' is no comparison"))),
            None => return Err(bad("a comparison is missing")),
        };
        let wanted = match sign {
            "==" => Op::In,
            "!=" => Op::NotIn,
            "<=" | "<" => Op::AtMost,
            ">=" | ">" => Op::AtLeast,
            other => return Err(bad(format!("'{other}' is no comparison"))),
        };
        let value = self.value()?;
        let moved = match sign {
            "<" => value.checked_sub(1).ok_or_else(|| bad("nothing is below 0"))?,
            ">" => value.checked_add(1).ok_or_else(|| bad("nothing is above 2^64 - 1"))?,
            _ => value,
        };
        Ok((wanted, vec![moved]))
    }
}

/// Parses a condition on the arguments of `call`.
///
/// # Errors
/// Words that are no condition, an argument that the call does not have, or a comparison that always or never holds.
pub(crate) fn parse(text: &str, call: Call) -> Result<Clause, BadCondition> {
    let mut parser = Parser { call, tokens: tokens(text)?.into_iter().peekable(), mask: u64::MAX };
    let name = parser.word("an argument")?;
    let Some(argument) = args::argument(parser.call, name) else {
        let names = args::argument_names(call);
        return Err(BadCondition {
            sentence: format!("{} has no argument '{name}'", call.name()),
            hint: Some(format!("its arguments are {}", names.join(", "))),
        });
    };
    parser.mask = argument.mask();
    if parser.sign("&") {
        let mask = parser.value()?;
        if mask & !argument.mask() != 0 || mask == 0 {
            let sentence = match mask {
                0 => "a mask of 0 leaves nothing to compare".to_owned(),
                _ => {
                    format!("the mask {mask:#x} is wider than {name}, of which the kernel reads {} bits", argument.bits)
                }
            };
            return Err(bad(sentence));
        }
        parser.mask = mask;
    }
    let mask = parser.mask;
    let (op, values) = parser.comparison()?;
    if parser.tokens.peek().is_some() {
        return Err(bad("there are words behind the condition"));
    }
    match op {
        Op::In | Op::NotIn => {
            if let Some(value) = values.iter().find(|value| **value & !mask != 0) {
                return Err(bad(format!("{value:#x} can never be met: only the bits {mask:#x} are compared")));
            }
        }
        Op::AtMost if values.iter().any(|value| *value >= mask) => return Err(bad("it always holds")),
        Op::AtLeast if values.iter().any(|value| *value > mask) => return Err(bad("it can never hold")),
        Op::AtLeast if values.contains(&0) => return Err(bad("it always holds")),
        Op::AtMost | Op::AtLeast => {}
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Clause { arg: argument.index, op, mask, values, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(call: &str, text: &str) -> Result<(u8, Op, u64, Vec<u64>), String> {
        let clause = parse(text, Call::named(call).unwrap()).map_err(|e| e.sentence)?;
        Ok((clause.arg, clause.op, clause.mask, clause.values))
    }

    #[test]
    fn conditions_compare_what_the_kernel_reads() {
        assert_eq!(parsed("ioctl", "op == TIOCSTI"), Ok((1, Op::In, 0xffff_ffff, vec![0x5412])));
        assert_eq!(parsed("futex", "op & 0x7f in [FUTEX_WAKE, FUTEX_WAIT,]"), Ok((1, Op::In, 0x7f, vec![0, 1])));
        assert_eq!(
            parsed("clone", "flags & (CLONE_NEWUSER | CLONE_NEWNS) == 0"),
            Ok((0, Op::In, 0x1002_0000, vec![0]))
        );
        assert_eq!(parsed("socket", "domain not in [2, 10]"), Ok((0, Op::NotIn, 0xffff_ffff, vec![2, 10])));
        assert_eq!(parsed("kill", "pid != -1"), Ok((0, Op::NotIn, 0xffff_ffff, vec![0xffff_ffff])));
        assert_eq!(parsed("setpriority", "prio < 010"), Ok((2, Op::AtMost, 0xffff_ffff, vec![7])));
        assert_eq!(parsed("mmap", "length > 0xfffffffff"), Ok((1, Op::AtLeast, u64::MAX, vec![0x10_0000_0000])));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_a_sentence() {
        for text in [
            "",
            "op",
            "op ==",
            "== 1",
            "op == ",
            "op = 1",
            "op in",
            "op in []",
            "op in [1",
            "op in [1 2]",
            "op not 1",
            "op == 1 2",
            "op == NONSENSE",
            "nope == 1",
            "op & 0 == 0",
            "op & 0x1ffffffff == 0",
            "op == 0x100000000",
            "op & 1 == 2",
            "op < 0",
            "op >= 0",
            "op <= 0xffffffff",
            "op == 99999999999999999999",
            "op == (1|2",
            "op ? 1",
            "op == 1é",
            "op == -2147483649",
            "op == -",
            "op == 08",
        ] {
            assert!(parsed("ioctl", text).is_err(), "{text}");
        }
    }
}
