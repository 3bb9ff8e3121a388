//! The compiled filters against two judges of their own: a plain reading of the rules, and the program that another
//! compiler (seccompiler) makes of the same allow-list. Every number to 2^16 on every ABI, every argument boundary.

use sandbox::plan::filter::{Filters, Setting, Verdict, call_name, compile_for, verdict_for};
use sandbox::plan::step::Insn;
use sandbox::plan::step::MAIN_FLAGS;
use sandbox::spec::Network;
use sandbox::spec::calls::{Arch, Call};
use sandbox::spec::policy::table::{Clause, Decision, Op};
use sandbox::spec::policy::{Answer, Policy};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::{BTreeMap, BTreeSet};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;
const X32: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;

const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;

/// `struct seccomp_data`, less the instruction pointer, which no rule looks at.
#[derive(Clone, Copy)]
struct Data {
    number: u32,
    audit: u32,
    args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0x5a5a_5a5a,
            16..64 => {
                let argument = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a load outside of seccomp_data: {offset}"),
        }
    }
}

/// Runs a program as the kernel would; whatever the kernel would refuse to load is a panic.
fn interpret(program: &[(u16, u8, u8, u32)], data: &Data) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let (code, jt, jf, k) = program[at];
        at += 1;
        let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = data.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return k,
            other => panic!("no instruction of ours: {other:#x}"),
        }
    }
}

fn ours(program: &[Insn]) -> Vec<(u16, u8, u8, u32)> {
    program.iter().map(|insn| (insn.code, insn.jt, insn.jf, insn.k)).collect()
}

/// What the kernel makes of two filters' answers: the stricter one.
fn stricter(one: u32, other: u32) -> u32 {
    // KILL_PROCESS is the lowest as a signed number; then ERRNO, USER_NOTIF, ALLOW, as linux/seccomp.h orders them.
    if (one & 0xffff_0000) as i32 <= (other & 0xffff_0000) as i32 { one } else { other }
}

struct Loaded {
    listener: Option<Vec<(u16, u8, u8, u32)>>,
    main: Vec<(u16, u8, u8, u32)>,
}

impl Loaded {
    fn of(filters: &Filters) -> Self {
        for program in filters.listener.iter().chain([&filters.main]) {
            check_as_the_kernel_does(program);
        }
        Loaded { listener: filters.listener.as_deref().map(ours), main: ours(&filters.main) }
    }

    fn answer(&self, data: &Data) -> u32 {
        let main = interpret(&self.main, data);
        match &self.listener {
            Some(listener) => stricter(interpret(listener, data), main),
            None => main,
        }
    }
}

/// bpf_check_classic and seccomp_check_filter: jumps forward and inside, aligned loads, a return at the end.
fn check_as_the_kernel_does(program: &[Insn]) {
    assert!(!program.is_empty() && program.len() <= 4096);
    for (at, insn) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        match insn.code {
            0x20 => assert!(insn.k < 64 && insn.k.is_multiple_of(4)),
            0x05 => assert!((insn.k as usize) < left),
            0x15 | 0x25 | 0x35 | 0x45 => assert!(usize::from(insn.jt) < left && usize::from(insn.jf) < left),
            0x54 | 0x06 => {}
            other => panic!("no instruction of ours: {other:#x}"),
        }
    }
    assert_eq!(program.last().unwrap().code, 0x06);
}

fn clause_holds(clause: &Clause, args: &[u64; 6]) -> bool {
    let seen = args[usize::from(clause.arg)] & clause.mask;
    match clause.op {
        Op::In => clause.values.contains(&seen),
        Op::NotIn => clause.values.iter().all(|value| *value != seen),
        Op::AtMost => seen <= clause.values[0],
        Op::AtLeast => seen >= clause.values[0],
    }
}

/// A policy read plainly: a list of rules for each call, by name.
struct Plain {
    rules: BTreeMap<&'static str, Vec<Decision>>,
}

impl Plain {
    fn of(policy: &Policy, network: Network) -> Self {
        let mut rules: BTreeMap<&'static str, Vec<Decision>> = BTreeMap::new();
        for decision in policy.calls(network).decisions() {
            rules.entry(decision.call.name()).or_default().push(decision);
        }
        Plain { rules }
    }

    fn answer(&self, call: Call, args: &[u64; 6]) -> Answer {
        let Some(rules) = self.rules.get(call.name()) else {
            return Answer::Refuse(ENOSYS as u16);
        };
        // Rules with conditions exclude each other, so the order among them must not matter: look from the end.
        let met = rules
            .iter()
            .rev()
            .find(|rule| !rule.when.is_empty() && rule.when.iter().all(|clause| clause_holds(clause, args)));
        let plain = rules.iter().find(|rule| rule.when.is_empty());
        met.or(plain).map_or(Answer::Refuse(1), |rule| rule.answer)
    }
}

/// What the launcher does between the two filters, as the child is written.
fn launcher_does(name: &str, args: &[u64; 6]) -> bool {
    match name {
        "read" | "write" | "close" | "close_range" | "setrlimit" => true,
        "sendmsg" | "recvmsg" => args[2] & 1 == 0,
        "sendto" | "recvfrom" => args[3] & 1 == 0,
        "exit" | "exit_group" => true,
        "prlimit64" => args[0] as u32 == 0,
        "prctl" => [1, 4, 8, 15, 24, 28, 38, 47].contains(&(args[0] as u32)),
        "seccomp" => args[0] as u32 == 1 && args[1] as u32 == MAIN_FLAGS,
        _ => false,
    }
}

fn expected(arch: Arch, plain: &Plain, setting: Setting, data: &Data) -> u32 {
    let x32 = arch == Arch::X86_64 && data.number >= X32 && data.number != u32::MAX;
    if data.audit != arch.audit() || x32 {
        return if setting.notify { NOTIFY } else { KILL };
    }
    let Some(call) = Call::numbered(arch, data.number) else {
        return ERRNO | ENOSYS;
    };
    if setting.refuse_memfd && call.name() == "memfd_create" {
        return ERRNO | ENOSYS;
    }
    let told = setting.notify && !launcher_does(call.name(), &data.args);
    match plain.answer(call, &data.args) {
        Answer::Allow => ALLOW,
        Answer::Errno(errno) => ERRNO | u32::from(errno),
        Answer::Refuse(_) | Answer::Kill if told => NOTIFY,
        Answer::Refuse(errno) => ERRNO | u32::from(errno),
        Answer::Kill => KILL,
    }
}

/// The arguments at which a call's rules could change their minds.
fn boundaries(rules: &[Decision]) -> Vec<[u64; 6]> {
    let mut interesting: [BTreeSet<u64>; 6] = Default::default();
    for clause in rules.iter().flat_map(|rule| &rule.when) {
        let values = &mut interesting[usize::from(clause.arg)];
        for value in &clause.values {
            for near in [value.wrapping_sub(1), *value, value.wrapping_add(1)] {
                values.extend([near, near ^ 0xdead_beef_0000_0000, near | !clause.mask, near & clause.mask]);
                values.extend([near ^ 1 << 31, near ^ 1 << 32, near ^ 1 << 63]);
            }
        }
        // Every bit of the mask by itself.
        values.extend((0..64).map(|bit| 1u64 << bit));
        values.extend([0, u64::MAX, clause.mask]);
    }
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    for (index, values) in interesting.iter().enumerate() {
        let step = all.clone();
        for value in values {
            // Three arguments at once would be millions; the third is looked at with the first few of the others.
            all.extend(step.iter().take(60).map(|args| {
                let mut args = *args;
                args[index] = *value;
                args
            }));
        }
    }
    all
}

fn settings() -> impl Iterator<Item = Setting> {
    (0..8).map(|bits| Setting {
        network: if bits & 1 == 0 { Network::None } else { Network::Host },
        refuse_memfd: bits & 2 != 0,
        notify: bits & 4 != 0,
    })
}

fn verdict_agrees(arch: Arch, policy: &Policy, setting: Setting, data: &Data, wanted: Answer) {
    let verdict = verdict_for(arch, policy, setting, data.audit, data.number as i32, &data.args);
    let matches = match (wanted, verdict) {
        (Answer::Kill, Verdict::Kill) => true,
        (Answer::Refuse(errno), Verdict::Refuse(answer)) => i32::from(errno) == answer,
        _ => false,
    };
    assert!(matches, "{} gets {verdict:?} for {wanted:?}", call_name(data.audit, data.number as i32));
}

fn agree(arch: Arch, policy: &Policy, setting: Setting) {
    let name = &policy.name;
    let loaded = Loaded::of(&compile_for(arch, policy, setting).unwrap());
    let plain = Plain::of(policy, setting.network);
    let check = |data: Data| {
        let (got, wanted) = (loaded.answer(&data), expected(arch, &plain, setting, &data));
        assert_eq!(got, wanted, "{name} {setting:?} {:#x}:{:#x} {:x?}", data.audit, data.number, data.args);
        if got == NOTIFY {
            let own = data.audit == arch.audit() && (data.number < X32 || arch == Arch::Aarch64);
            let answer = match Call::numbered(arch, data.number).filter(|_| own) {
                Some(call) => plain.answer(call, &data.args),
                None => Answer::Kill,
            };
            verdict_agrees(arch, policy, setting, &data, answer);
        }
    };
    let (native, compat) = match arch {
        Arch::X86_64 => (X86_64, I386),
        Arch::Aarch64 => (AARCH64, ARM),
    };
    // That setting changes one call: the numbers that have names will do.
    let last = if setting.refuse_memfd { 1 << 9 } else { 1 << 16 };
    for number in 0..last {
        for audit in [native, compat] {
            check(Data { number, audit, args: [0; 6] });
        }
        check(Data { number: number | X32, audit: native, args: [0; 6] });
    }
    for number in [X32 - 1, 0x7fff_ffff, 0x8000_0000, 0xc000_0000, u32::MAX - 1, u32::MAX] {
        for audit in [native, compat, 0, u32::MAX, native ^ 1] {
            check(Data { number, audit, args: [u64::MAX; 6] });
        }
    }
    for (call, rules) in &plain.rules {
        if let Some(number) = Call::named(call).unwrap().number(arch) {
            for args in boundaries(rules) {
                check(Data { number, audit: native, args });
            }
        }
    }
}

#[test]
fn filters_say_what_the_rules_say_for_every_number_and_boundary() {
    for name in Policy::names() {
        let policy = Policy::builtin(name).unwrap();
        for arch in Arch::ALL {
            settings().for_each(|setting| agree(arch, &policy, setting));
        }
    }
}

/// The same allow-list as seccompiler has it.
fn other_compiler(arch: Arch, plain: &Plain) -> Vec<(u16, u8, u8, u32)> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (name, decisions) in &plain.rules {
        let Some(number) = Call::named(name).unwrap().number(arch) else { continue };
        let allowed: Vec<&Decision> = decisions.iter().filter(|rule| rule.answer == Answer::Allow).collect();
        if allowed.is_empty() {
            continue;
        }
        let entry = rules.entry(number.into()).or_default();
        for decision in allowed {
            // A call without conditions is an empty list there; with `otherwise` allowed, it cannot be expressed.
            if decision.when.is_empty() {
                assert_eq!(decisions.len(), 1, "{name}: allow with exceptions");
                continue;
            }
            let mut products: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
            for clause in &decision.when {
                let condition = |value: u64, op: SeccompCmpOp| {
                    SeccompCondition::new(clause.arg, SeccompCmpArgLen::Qword, op, value).unwrap()
                };
                products = match clause.op {
                    Op::In => clause
                        .values
                        .iter()
                        .flat_map(|value| {
                            products.iter().map(|product| {
                                let mut product = product.clone();
                                product.push(condition(*value, SeccompCmpOp::MaskedEq(clause.mask)));
                                product
                            })
                        })
                        .collect(),
                    Op::NotIn => {
                        // "Not equal" exists without a mask only: at 32 bits it is the argument's own width.
                        assert_eq!(clause.mask, u64::from(u32::MAX), "{name}");
                        let unlike = |value: &u64| {
                            let (len, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne);
                            SeccompCondition::new(clause.arg, len, op, *value).unwrap()
                        };
                        products
                            .into_iter()
                            .map(|p| p.into_iter().chain(clause.values.iter().map(unlike)).collect())
                            .collect()
                    }
                    Op::AtMost | Op::AtLeast => panic!("{name}: no built-in policy has these"),
                };
            }
            entry.extend(products.into_iter().map(|product| SeccompRule::new(product).unwrap()));
        }
    }
    let target = match arch {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
    };
    let filter = SeccompFilter::new(rules, SeccompAction::Errno(ENOSYS), SeccompAction::Allow, target).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    program.iter().map(|insn| (insn.code, insn.jt, insn.jf, insn.k)).collect()
}

#[test]
fn another_compiler_allows_exactly_the_same() {
    for (name, arch, network) in Policy::names().flat_map(|name| {
        Arch::ALL.into_iter().flat_map(move |arch| [Network::None, Network::Host].map(|network| (name, arch, network)))
    }) {
        let policy = Policy::builtin(name).unwrap();
        let setting = Setting { network, refuse_memfd: false, notify: true };
        let loaded = Loaded::of(&compile_for(arch, &policy, setting).unwrap());
        let mut plain = Plain::of(&policy, network);
        if network == Network::Host {
            // Allowed but for two options of sockets: what that compiler cannot say, the test above does.
            plain.rules.remove("setsockopt");
        }
        let other = other_compiler(arch, &plain);
        let check = |data: Data| {
            if network == Network::Host && call_name(data.audit, data.number as i32) == "setsockopt" {
                return;
            }
            let (got, wanted) = (loaded.answer(&data), interpret(&other, &data));
            assert_eq!(got == ALLOW, wanted == ALLOW, "{name} {:#x}:{:#x} {:x?}", data.audit, data.number, data.args);
        };
        // Its programs are linear, and the network changes what a dozen calls get: once through all numbers will do.
        let last = if network == Network::None { 1 << 16 } else { 1 << 10 };
        for number in 0..last {
            for audit in [X86_64, AARCH64, I386, ARM] {
                check(Data { number, audit, args: [0; 6] });
            }
            check(Data { number: number | X32, audit: arch.audit(), args: [0; 6] });
        }
        for (call, rules) in &plain.rules {
            if let Some(number) = Call::named(call).unwrap().number(arch) {
                boundaries(rules).into_iter().for_each(|args| check(Data { number, audit: arch.audit(), args }));
            }
        }
    }
}

/// xorshift64*: the same policies on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn value(&mut self) -> u64 {
        let bits = self.roll(64);
        let wild = self.roll(1 << 31) << 33 | self.roll(1 << 31);
        wild >> bits
    }
}

fn random_policy(dice: &mut Dice) -> String {
    let mut text = "[[calls]]\nnames=[\"execve\"]\nanswer=\"allow\"\nreason=\"r\"\n".to_owned();
    let answers = ["allow", "refuse", "kill", "ENOSYS", "EPERM"];
    for call in Call::all().filter(|call| !call.is_foreign() && call.name() != "execve") {
        let kills = !["clone", "clone3", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot"]
            .contains(&call.name())
            && !["open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr"]
                .contains(&call.name());
        let mut rule = |dice: &mut Dice, when: &str, answer: usize| {
            let answer = match answers[answer] {
                "kill" if !kills => "refuse",
                answer => answer,
            };
            let errno = match answer {
                "refuse" if dice.roll(2) == 0 => "errno=\"EACCES\"\n",
                _ => "",
            };
            let name = call.name();
            text += &format!("[[calls]]\nnames=[\"{name}\"]\n{when}answer=\"{answer}\"\n{errno}reason=\"r\"\n");
        };
        let otherwise = dice.roll(6) as usize;
        if dice.roll(3) == 0 {
            let comparison = match dice.roll(4) {
                0 => format!("<= {:#x}", dice.value() >> 1),
                1 => format!(">= {:#x}", (dice.value() >> 1).max(1)),
                2 => {
                    let values: Vec<String> = (0..=dice.roll(4)).map(|_| format!("{:#x}", dice.value())).collect();
                    format!("in [{}]", values.join(", "))
                }
                _ => format!("not in [{:#x}, {:#x}]", dice.value(), dice.value()),
            };
            // A raw argument is compared at 64 bits where the signature is not known.
            let argument = format!("arg{}", dice.roll(6));
            if sandbox::spec::calls::args::argument(call, &argument).is_some_and(|argument| argument.bits == 64) {
                let answer = (otherwise + 1 + dice.roll(4) as usize) % 5;
                rule(dice, &format!("when=\"{argument} {comparison}\"\n"), answer);
            }
        }
        if otherwise < 5 {
            rule(dice, "", otherwise);
        }
    }
    text
}

#[test]
fn filters_of_random_policies_say_what_the_rules_say() {
    let mut dice = Dice(20_261_121);
    let mut parsed = 0;
    for _ in 0..40 {
        let text = random_policy(&mut dice);
        // Now and then a condition always holds, or both answers are the same by chance: refused, as it should be.
        let Ok(policy) = Policy::parse(&text, "random") else { continue };
        parsed += 1;
        let bits = dice.roll(4);
        let setting = Setting { network: Network::None, refuse_memfd: bits & 1 != 0, notify: bits & 2 != 0 };
        agree(if parsed % 2 == 0 { Arch::X86_64 } else { Arch::Aarch64 }, &policy, setting);
    }
    assert!(parsed >= 10, "{parsed}");
}

#[test]
fn built_in_policies_and_their_filters_keep_their_size() {
    for (name, most) in [("default", 150), ("run", 120), ("tight", 45)] {
        let policy = Policy::builtin(name).unwrap();
        let allowed = policy.calls(Network::None).allowed();
        assert!(allowed.len() <= most, "{name} allows {}", allowed.len());
        for arch in Arch::ALL {
            for setting in settings() {
                let filters = compile_for(arch, &policy, setting).unwrap();
                let listener = filters.listener.map_or(0, |program| program.len());
                assert!(listener <= 320 && filters.main.len() <= 320, "{name}: {listener} and {}", filters.main.len());
            }
        }
    }
}

#[test]
fn each_policy_allows_what_the_smaller_one_allows() {
    for (small, large) in [("tight", "run"), ("run", "default")] {
        let (small, large) = (Policy::builtin(small).unwrap(), Policy::builtin(large).unwrap());
        let plain = Plain::of(&large, Network::None);
        for (_, rules) in Plain::of(&small, Network::None).rules {
            let call = rules[0].call;
            let few = Plain { rules: [(call.name(), rules.clone())].into() };
            for args in boundaries(&rules) {
                if few.answer(call, &args) == Answer::Allow {
                    assert_eq!(plain.answer(call, &args), Answer::Allow, "{} {args:x?}", call.name());
                }
            }
        }
    }
}

#[test]
fn namespace_calls_are_refused_and_named_and_never_kill() {
    let args = [0x1000_0000, 0, 0, 0, 0, 0];
    for name in Policy::names() {
        let policy = Policy::builtin(name).unwrap();
        for network in [Network::None, Network::Host] {
            for call in
                ["clone", "unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "fsmount", "chroot"]
            {
                let answer = policy.calls(network).answer(Call::named(call).unwrap(), &args);
                assert_eq!(answer, Answer::Refuse(1), "{name} {call}");
            }
            for call in ["clone3", "io_uring_setup"] {
                let answer = policy.calls(network).answer(Call::named(call).unwrap(), &args);
                assert_eq!(answer, Answer::Errno(ENOSYS as u16), "{name} {call}");
            }
        }
    }
}
