//! The compiled programs against the rules that they were compiled from, for policies and calls of the fuzzer's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::plan::filter::{MAIN_FLAGS, Setting, compile_for};
use sandbox::plan::step::Insn;
use sandbox::spec::calls::args::argument_names;
use sandbox::spec::calls::{Arch, Call, X32_BIT};
use sandbox::spec::policy::Answer;
use sandbox::spec::{Network, Policy};
use std::fmt::Write as _;

const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % count
    }

    fn value(&mut self) -> u64 {
        let small = u64::from(self.byte());
        match self.byte() % 6 {
            0 => small,
            1 => small << 16,
            2 => small << 32,
            3 => u64::MAX - small,
            4 => (1 << 31) + small,
            _ => (1 << 32) + small,
        }
    }
}

/// A policy file of up to eight rules over a built-in one.
fn policy(bytes: &mut Bytes<'_>) -> String {
    let names: Vec<&str> = Policy::names().collect();
    let mut text = format!("about = \"x\"\nextends = \"{}\"\n", names[bytes.below(names.len())]);
    let calls: Vec<Call> = Call::all().collect();
    for _ in 0..bytes.below(8) {
        let call = calls[bytes.below(calls.len())];
        let answer = ["allow", "EPERM", "kill", "ENOSYS"][bytes.below(4)];
        let _ = write!(text, "[[calls]]\nnames = [\"{}\"]\nanswer = \"{answer}\"\nreason = \"r\"\n", call.name());
        let arguments = argument_names(call);
        if !arguments.is_empty() && bytes.byte() & 1 == 1 {
            let argument = arguments[bytes.below(arguments.len())];
            let (one, other) = (bytes.value() as u32, bytes.value() as u32);
            let test = match bytes.byte() % 4 {
                0 => format!("{argument} == {one}"),
                1 => format!("{argument} & {one} == 0"),
                2 => format!("{argument} in [{one}, {other}]"),
                _ => format!("{argument} <= {one}"),
            };
            let _ = writeln!(text, "when = [\"{test}\"]");
        }
    }
    text
}

fn interpret(program: &[Insn], number: u32, audit: u32, args: &[u64; 6]) -> u32 {
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let insn = program[at];
        at += 1;
        let mut jump = |taken: bool| at += usize::from(if taken { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => {
                accumulator = match insn.k {
                    0 => number,
                    4 => audit,
                    offset @ 16..64 => (args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
                    other => panic!("a load of {other}"),
                }
            }
            0x54 => accumulator &= insn.k,
            0x05 => at += insn.k as usize,
            0x15 => jump(accumulator == insn.k),
            0x25 => jump(accumulator > insn.k),
            0x35 => jump(accumulator >= insn.k),
            0x45 => jump(accumulator & insn.k != 0),
            0x06 => return insn.k,
            other => panic!("no instruction of ours: {other:#x}"),
        }
    }
}

/// What the launcher itself calls behind the listener: refused without a notice.
fn launcher_calls(name: &str, args: &[u64; 6]) -> bool {
    match name {
        "read" | "write" | "close" | "close_range" | "setrlimit" | "exit" | "exit_group" => true,
        // MSG_OOB
        "sendmsg" | "recvmsg" => args[2] & 1 == 0,
        "sendto" | "recvfrom" => args[3] & 1 == 0,
        "prlimit64" => args[0] as u32 == 0,
        "prctl" => [1, 4, 8, 15, 24, 28, 38, 47].contains(&(args[0] as u32)),
        "seccomp" => args[0] as u32 == 1 && args[1] as u32 == MAIN_FLAGS,
        _ => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let arch = Arch::ALL[bytes.below(2)];
    let network = [Network::None, Network::Blocked, Network::Host][bytes.below(3)];
    let setting = Setting { network, refuse_memfd: bytes.byte() & 1 == 1, notify: bytes.byte() & 1 == 1 };
    let Ok(policy) = Policy::parse(&policy(&mut bytes), "fuzzed") else { return };
    let Ok(filters) = compile_for(arch, &policy, setting) else { return };
    for program in filters.listener.iter().chain([&filters.main]) {
        assert!((1..=4096).contains(&program.len()));
    }
    for _ in 0..16 {
        let number = if bytes.byte() & 7 == 0 { bytes.value() as u32 } else { bytes.below(520) as u32 };
        let audit = if bytes.byte() & 15 == 0 { 0x4000_0003 } else { arch.audit() };
        let args = std::array::from_fn(|_| bytes.value());
        let main = interpret(&filters.main, number, audit, &args);
        let listener = filters.listener.as_ref().map_or(ALLOW, |program| interpret(program, number, audit, &args));
        // As linux/seccomp.h orders them: KILL_PROCESS is the lowest as a signed number.
        let answer = if (listener as i32) < (main & 0xffff_0000) as i32 { listener } else { main };
        let x32 = arch == Arch::X86_64 && number >= X32_BIT && number != u32::MAX;
        let call = Call::numbered(arch, number);
        let wanted = match call {
            _ if audit != arch.audit() || x32 => if setting.notify { NOTIFY } else { KILL },
            None => ERRNO | 38,
            Some(call) if setting.refuse_memfd && call.name() == "memfd_create" => ERRNO | 38,
            Some(call) => {
                let told = setting.notify && !launcher_calls(call.name(), &args);
                match policy.calls(network).answer(call, &args) {
                    Answer::Allow => ALLOW,
                    Answer::Errno(errno) => ERRNO | u32::from(errno),
                    Answer::Refuse(_) | Answer::Kill if told => NOTIFY,
                    Answer::Refuse(errno) => ERRNO | u32::from(errno),
                    Answer::Kill => KILL,
                }
            }
        };
        assert!(answer == wanted, "{call:?} ({number:#x}) {args:x?} on {}: {answer:#x} for {wanted:#x}", arch.name());
    }
});
