//! The kernel's system calls by name and number: Linux 6.18, x86-64 and aarch64, and i386 and x32 to name what comes in by
//! those doors. Data only; what a call may do is a policy's matter.

pub mod args;

use std::fmt;

/// One line per call: its name and its numbers on x86-64, aarch64, i386 and x32 (without the x32 bit), `-` where it has
/// none. Lines with an x86-64 number come first, ascending.
const TABLE: &str = include_str!("table.txt");

/// Set in every x32 call number.
pub const X32_BIT: u32 = 0x4000_0000;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// An architecture that filters are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// This machine's.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Arch = Arch::X86_64;
    /// This machine's.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Arch = Arch::Aarch64;

    /// `AUDIT_ARCH_*`: what the kernel tells a filter.
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 => AUDIT_ARCH_X86_64,
            Arch::Aarch64 => AUDIT_ARCH_AARCH64,
        }
    }

    /// The name as `uname -m` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    const fn column(self) -> usize {
        match self {
            Arch::X86_64 => 0,
            Arch::Aarch64 => 1,
        }
    }

    fn by_number(self) -> &'static [u16; NUMBERS] {
        match self {
            Arch::X86_64 => &X86_64,
            Arch::Aarch64 => &AARCH64,
        }
    }
}

const I386: usize = 2;
const X32: usize = 3;

/// A call that the table knows, by its line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(u16);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// Offsets instead of `&str`s: 470 pointers would be 470 relocations at every start of a position-independent binary.
#[derive(Clone, Copy)]
struct Line {
    start: u16,
    length: u8,
    numbers: [u16; 4],
}

const ABSENT: u16 = u16::MAX;

/// Above every number in the table.
pub const NUMBERS: usize = 512;

const COUNT: usize = count_lines();
static LINES: [Line; COUNT] = read_lines();
static X86_64: [u16; NUMBERS] = invert(Arch::X86_64);
static AARCH64: [u16; NUMBERS] = invert(Arch::Aarch64);

const fn count_lines() -> usize {
    let text = TABLE.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < text.len() {
        count += (text[at] == b'\n') as usize;
        at += 1;
    }
    count
}

const fn read_lines() -> [Line; COUNT] {
    let text = TABLE.as_bytes();
    let mut lines = [Line { start: 0, length: 0, numbers: [ABSENT; 4] }; COUNT];
    let (mut at, mut line) = (0, 0);
    while line < COUNT {
        let start = at;
        while text[at] != b' ' {
            at += 1;
        }
        lines[line].start = start as u16;
        lines[line].length = (at - start) as u8;
        let mut column = 0;
        while column < 4 {
            at += 1;
            if text[at] == b'-' {
                at += 1;
            } else {
                let mut number = 0;
                while text[at].is_ascii_digit() {
                    number = number * 10 + (text[at] - b'0') as u16;
                    at += 1;
                }
                lines[line].numbers[column] = number;
            }
            column += 1;
        }
        at += 1;
        line += 1;
    }
    lines
}

const fn invert(arch: Arch) -> [u16; NUMBERS] {
    let mut calls = [ABSENT; NUMBERS];
    let mut line = 0;
    while line < COUNT {
        let number = LINES[line].numbers[arch.column()];
        if number != ABSENT {
            calls[number as usize] = line as u16;
        }
        line += 1;
    }
    calls
}

impl Call {
    /// The call at this line of the table.
    ///
    /// # Panics
    /// At compile time, where there is no such line.
    pub(crate) const fn at(line: u16) -> Call {
        assert!((line as usize) < COUNT, "a call is a line of the table");
        Call(line)
    }

    /// How many there are.
    pub(crate) const COUNT: usize = COUNT;

    /// The call of this name.
    ///
    /// # Panics
    /// At compile time, where there is none: for constants only.
    pub(crate) const fn known(name: &str) -> Call {
        let (text, name) = (TABLE.as_bytes(), name.as_bytes());
        let mut line = 0;
        while line < COUNT {
            let (start, length) = (LINES[line].start as usize, LINES[line].length as usize);
            let mut same = 0;
            while length == name.len() && same < length && text[start + same] == name[same] {
                same += 1;
            }
            if same == name.len() {
                return Call(line as u16);
            }
            line += 1;
        }
        // No call has this name: there is no such line.
        Call::at(line as u16)
    }

    /// Its line in the table.
    pub(crate) const fn line(self) -> u16 {
        self.0
    }

    /// Every call, in the table's order.
    pub fn all() -> impl Iterator<Item = Call> {
        (0..COUNT as u16).map(Call)
    }

    /// The call of this name on any architecture.
    pub fn named(name: &str) -> Option<Call> {
        Call::all().find(|call| call.name() == name)
    }

    /// The call with this number.
    pub fn numbered(arch: Arch, number: u32) -> Option<Call> {
        match arch.by_number().get(number as usize) {
            Some(&line) if line != ABSENT => Some(Call(line)),
            _ => None,
        }
    }

    fn entry(self) -> &'static Line {
        // A `Call` is only made from a line of the table.
        &LINES[self.0 as usize]
    }

    /// Its name, as in the kernel's table.
    pub fn name(self) -> &'static str {
        let line = self.entry();
        &TABLE[line.start as usize..line.start as usize + line.length as usize]
    }

    fn in_column(self, column: usize) -> Option<u32> {
        match self.entry().numbers[column] {
            ABSENT => None,
            number => Some(number.into()),
        }
    }

    /// Its number, where the architecture has it.
    pub fn number(self, arch: Arch) -> Option<u32> {
        self.in_column(arch.column())
    }

    /// Whether no architecture of ours has it: a call of 32-bit programs only.
    pub fn is_foreign(self) -> bool {
        Arch::ALL.into_iter().all(|arch| self.number(arch).is_none())
    }
}

/// The name of what a filter saw: `read`, `i386:open`, `x32:read`; `syscall_N` for a number that the table lacks.
pub fn name_of(audit: u32, number: u32) -> String {
    let own = Arch::ALL.into_iter().find(|arch| arch.audit() == audit);
    let column = |column, number| Call::all().find(|call| call.in_column(column) == Some(number));
    let (prefix, number, call) = match own {
        Some(Arch::X86_64) if (X32_BIT..u32::MAX).contains(&number) => {
            let number = number - X32_BIT;
            ("x32:", number, column(X32, number))
        }
        Some(arch) => ("", number, Call::numbered(arch, number)),
        None if audit == AUDIT_ARCH_I386 => ("i386:", number, column(I386, number)),
        None if audit == AUDIT_ARCH_ARM => ("arm:", number, None),
        None => ("foreign:", number, None),
    };
    match call {
        Some(call) => format!("{prefix}{}", call.name()),
        None => format!("{prefix}syscall_{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_to_each_other() {
        for arch in Arch::ALL {
            let mut known = 0;
            for number in 0..NUMBERS as u32 {
                if let Some(call) = Call::numbered(arch, number) {
                    assert_eq!(call.number(arch), Some(number));
                    assert_eq!(Call::named(call.name()), Some(call));
                    known += 1;
                }
            }
            assert_eq!(known, Call::all().filter(|call| call.number(arch).is_some()).count());
        }
        assert_eq!(Call::named("nonsense"), None);
    }

    #[test]
    fn the_table_has_the_c_librarys_numbers() {
        for (name, number) in [
            ("read", libc::SYS_read),
            ("execve", libc::SYS_execve),
            ("clone3", libc::SYS_clone3),
            ("seccomp", libc::SYS_seccomp),
            ("statx", libc::SYS_statx),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
        ] {
            assert_eq!(Call::named(name).unwrap().number(Arch::NATIVE), Some(number as u32), "{name}");
        }
    }

    #[test]
    fn foreign_calls_have_names_of_their_own_abi() {
        assert_eq!(name_of(AUDIT_ARCH_I386, 5), "i386:open");
        assert_eq!(name_of(AUDIT_ARCH_X86_64, X32_BIT | 520), "x32:execve");
        assert_eq!(name_of(AUDIT_ARCH_X86_64, 5000), "syscall_5000");
        assert_eq!(name_of(AUDIT_ARCH_X86_64, u32::MAX), "syscall_4294967295");
        assert_eq!(name_of(AUDIT_ARCH_AARCH64, 221), "execve");
        assert!(Call::named("stat64").unwrap().is_foreign());
    }
}
