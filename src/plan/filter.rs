//! Compiles a policy's calls into the two seccomp programs: range-compressed binary search trees over call numbers.
//!
//! The *listener* says USER_NOTIF for what is refused or killed; *main* says ALLOW for that and an errno for the rest that
//! is not allowed. The kernel takes the stricter answer, and an errno beats a notification, so where main says an errno
//! the listener may say anything: that is what makes both trees small. Main says ALLOW or an errno whatever the arguments
//! are wherever it can, because the kernel keeps a bitmap of constant ALLOWs and then runs neither program.
//!
//! Between the listener and `execve` the launcher still makes calls of its own ([`LAUNCHER`]). The listener lets them
//! through, and where the policy refuses them main does so itself: such a refusal has no line in the report.

mod program;

use super::step::{Insn, MAIN_FLAGS};
use crate::error::Error;
use crate::spec::calls::{Arch, Call, NUMBERS, X32_BIT, name_of};
use crate::spec::policy::table::{Answer, OTHERWISE, Op, Rule, Table, UNLISTED};
use crate::spec::{Network, Policy};
use program::{Comparison, Label, Program};

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const ENOSYS: u16 = 38;

/// BPF_MAXINSNS.
const LONGEST_PROGRAM: usize = 4096;

/// What the filters hang on besides the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `none` and `blocked` refuse every socket that is not local.
    pub network: Network,
    /// The memory mechanism cannot see memfds.
    pub refuse_memfd: bool,
    /// The kernel can tell us what it refuses.
    pub notify: bool,
}

/// The two programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Notifies us of refused and killing calls, allows the rest; `None` where the kernel cannot tell us.
    pub listener: Option<Vec<Insn>>,
    /// The allow-list.
    pub main: Vec<Insn>,
}

/// What a notified call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This errno.
    Refuse(i32),
    /// The end of the run.
    Kill,
}

const fn call(name: &str) -> Call {
    Call::known(name)
}

const LOW: u64 = u32::MAX as u64;
const EXECVE: Call = call("execve");
const MEMFD_CREATE: Call = call("memfd_create");
const SOCKET: Call = call("socket");
const AF_UNIX: u64 = 1;
const MSG_OOB: u64 = 1;

/// What the launcher calls between the listener and `execve`, and with which arguments.
const LAUNCHER: [(Call, &[Comparison<'static>]); 14] = [
    (call("sendmsg"), &[Comparison { arg: 2, op: Op::In, mask: MSG_OOB, values: &[0] }]),
    (call("recvmsg"), &[Comparison { arg: 2, op: Op::In, mask: MSG_OOB, values: &[0] }]),
    (call("sendto"), &[Comparison { arg: 3, op: Op::In, mask: MSG_OOB, values: &[0] }]),
    (call("recvfrom"), &[Comparison { arg: 3, op: Op::In, mask: MSG_OOB, values: &[0] }]),
    (call("read"), &[]),
    (call("write"), &[]),
    (call("close"), &[]),
    (call("close_range"), &[]),
    (call("setrlimit"), &[]),
    (call("prlimit64"), &[Comparison { arg: 0, op: Op::In, mask: LOW, values: &[0] }]),
    // PR_SET_PDEATHSIG, DUMPABLE, KEEPCAPS, NAME; PR_CAPBSET_DROP, SECUREBITS, NO_NEW_PRIVS, CAP_AMBIENT.
    (call("prctl"), &[Comparison { arg: 0, op: Op::In, mask: LOW, values: &[1, 4, 8, 15, 24, 28, 38, 47] }]),
    (
        call("seccomp"),
        &[
            Comparison { arg: 0, op: Op::In, mask: LOW, values: &[1] },
            Comparison { arg: 1, op: Op::In, mask: LOW, values: &[MAIN_FLAGS as u64] },
        ],
    ),
    (call("exit"), &[]),
    (call("exit_group"), &[]),
];

/// What the rules of a call come to in one program: the first whose comparisons all hold decides. `None` means that the
/// other program decides and this one may say anything.
struct Chain<'a> {
    tried: Vec<(Vec<Comparison<'a>>, Option<u32>)>,
    otherwise: Option<u32>,
}

/// What one program says to a call number.
#[derive(PartialEq)]
enum Class<'a> {
    Constant(u32),
    Tried(Vec<(Vec<Comparison<'a>>, u32)>, u32),
}

impl<'a> Chain<'a> {
    /// Leaves out what makes no difference; `None` where this program need not decide at all.
    fn simplify(self) -> Option<Class<'a>> {
        let mut tried: Vec<(Vec<Comparison<'a>>, u32)> =
            self.tried.into_iter().filter_map(|(tests, value)| Some((tests, value?))).collect();
        let otherwise = self.otherwise.or(tried.last().map(|(_, value)| *value))?;
        while tried.last().is_some_and(|(_, value)| *value == otherwise) {
            tried.pop();
        }
        Some(if tried.is_empty() { Class::Constant(otherwise) } else { Class::Tried(tried, otherwise) })
    }
}

/// Which of the two programs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Listener,
    Main,
}

impl Role {
    fn value(self, answer: Answer, notify: bool) -> Option<u32> {
        match (self, answer) {
            (_, Answer::Allow) => Some(RET_ALLOW),
            (Role::Listener, Answer::Refuse(_) | Answer::Kill) => Some(RET_USER_NOTIF),
            (Role::Listener, Answer::Errno(_)) => None,
            (Role::Main, Answer::Errno(errno)) => Some(RET_ERRNO | u32::from(errno)),
            (Role::Main, Answer::Refuse(_) | Answer::Kill) if notify => Some(RET_ALLOW),
            (Role::Main, Answer::Refuse(errno)) => Some(RET_ERRNO | u32::from(errno)),
            (Role::Main, Answer::Kill) => Some(RET_KILL_PROCESS),
        }
    }
}

fn notified(answer: Answer) -> bool {
    matches!(answer, Answer::Refuse(_) | Answer::Kill)
}

/// Whether two comparisons with lists of values can never both hold.
fn contradictory(tests: &[Comparison<'_>]) -> bool {
    let lists = || tests.iter().filter(|test| test.op == Op::In);
    lists().any(|one| {
        lists().any(|other| {
            let common = one.mask & other.mask;
            let unlike = |a: &u64, b: &u64| (a ^ b) & common != 0;
            one.arg == other.arg && one.values.iter().all(|a| other.values.iter().all(|b| unlike(a, b)))
        })
    })
}

struct Compiler<'a> {
    arch: Arch,
    table: &'a Table,
    setting: Setting,
    role: Role,
}

impl<'a> Compiler<'a> {
    fn tests(&self, rule: &Rule) -> Vec<Comparison<'a>> {
        let comparison = |test: &'a crate::spec::policy::table::Test| Comparison {
            arg: test.arg,
            op: test.op,
            mask: test.mask,
            values: self.table.values(test),
        };
        self.table.tests(rule).iter().map(comparison).collect()
    }

    /// What the launcher itself does with this call while the policy would refuse it; `None` where nothing is special.
    fn own_use(&self, call: Call) -> Option<&'static [Comparison<'static>]> {
        let own = LAUNCHER.iter().find(|(known, _)| *known == call).map(|(_, tests)| *tests);
        own.filter(|_| self.setting.notify)
    }

    /// A call whose one answer hangs on nothing: most of them.
    fn constant(&self, call: Call, rules: &[Rule]) -> Option<Option<Class<'a>>> {
        let answer = match rules {
            _ if call == MEMFD_CREATE && self.setting.refuse_memfd => Answer::Errno(ENOSYS),
            [] => UNLISTED,
            [Rule { answer, count: 0, .. }] => *answer,
            _ => return None,
        };
        let told = notified(answer) && !self.own_use(call).is_some_and(|tests| tests.is_empty());
        if told && self.own_use(call).is_some() {
            return None;
        }
        Some(match self.role {
            Role::Listener if notified(answer) && !told => Some(Class::Constant(RET_ALLOW)),
            _ => self.role.value(answer, self.setting.notify && told).map(Class::Constant),
        })
    }

    fn class_of(&self, call: Call, rules: &[Rule]) -> Option<Class<'a>> {
        if let Some(class) = self.constant(call, rules) {
            return class;
        }
        let notify = self.setting.notify;
        let own = self.own_use(call);
        let mut tried: Vec<(Vec<Comparison<'a>>, Option<u32>)> = Vec::with_capacity(rules.len() + 2);
        let mut add = |tests: Vec<Comparison<'a>>, answer: Answer| {
            if let Some(own) = own.filter(|_| notified(answer)) {
                let both: Vec<Comparison<'a>> = own.iter().chain(&tests).copied().collect();
                let earlier =
                    |(earlier, _): &(Vec<Comparison<'a>>, Option<u32>)| earlier.iter().all(|test| both.contains(test));
                if !contradictory(&both) && !tried.iter().any(earlier) {
                    let value = match self.role {
                        Role::Listener => Some(RET_ALLOW),
                        Role::Main => self.role.value(answer, false),
                    };
                    tried.push((both, value));
                }
            }
            tried.push((tests, self.role.value(answer, notify)));
        };
        for rule in rules {
            add(self.tests(rule), rule.answer);
        }
        match rules.last() {
            None => add(Vec::new(), UNLISTED),
            Some(rule) if rule.count != 0 => add(Vec::new(), OTHERWISE),
            Some(_) => {}
        }
        // What follows a rule without tests is never reached; there is always one.
        let last = tried.iter().position(|(tests, _)| tests.is_empty()).unwrap_or(0);
        let otherwise = tried.get(last).and_then(|(_, value)| *value);
        tried.truncate(last);
        Chain { tried, otherwise }.simplify()
    }

    /// What is said to numbers that no table knows.
    fn unknown(&self) -> Option<Class<'a>> {
        self.role.value(Answer::Errno(ENOSYS), self.setting.notify).map(Class::Constant)
    }

    /// What is said to other ABIs.
    fn foreign(&self) -> u32 {
        self.role.value(Answer::Kill, self.setting.notify).unwrap_or(RET_KILL_PROCESS)
    }

    /// The first number of each range that gets one class, ascending, from 0.
    fn ranges(&self) -> Vec<(u32, Class<'a>)> {
        let mut ranges: Vec<(u32, Class<'a>)> = Vec::with_capacity(128);
        let mut add = |number: u32, class: Option<Class<'a>>| {
            let Some(class) = class else { return };
            match ranges.last() {
                // Nobody before it cares either.
                None => ranges.push((0, class)),
                Some((_, last)) if *last == class => {}
                Some(_) => ranges.push((number, class)),
            }
        };
        let rules = self.table.rules();
        let mut first_rule = [0u16; Call::COUNT + 1];
        for rule in rules {
            first_rule[usize::from(rule.call.line()) + 1] += 1;
        }
        for line in 0..Call::COUNT {
            first_rule[line + 1] += first_rule[line];
        }
        for number in 0..NUMBERS as u32 {
            let Some(call) = Call::numbered(self.arch, number) else {
                add(number, self.unknown());
                continue;
            };
            let line = usize::from(call.line());
            let rules = &rules[usize::from(first_rule[line])..usize::from(first_rule[line + 1])];
            add(number, self.class_of(call, rules));
        }
        add(NUMBERS as u32, self.unknown());
        if self.arch == Arch::X86_64 {
            add(X32_BIT, Some(Class::Constant(self.foreign())));
            // Not an x32 call but no call at all: what a tracer or `syscall(-1)` asks for.
            add(u32::MAX, self.unknown());
        }
        ranges
    }

    fn class(&self, program: &mut Program, class: &Class<'a>) -> Label {
        match class {
            Class::Constant(value) => program.ret(*value),
            Class::Tried(tried, otherwise) => {
                let mut no = program.ret(*otherwise);
                for (tests, value) in tried.iter().rev() {
                    let mut yes = program.ret(*value);
                    for test in tests.iter().rev() {
                        yes = program.compare(test, yes, no);
                    }
                    no = yes;
                }
                no
            }
        }
    }

    fn tree(&self, program: &mut Program, ranges: &[(u32, Class<'a>)]) -> Label {
        match ranges {
            // Never asked: there is always a range.
            [] => program.ret(RET_KILL_PROCESS),
            [(_, class)] => self.class(program, class),
            [(_, around), (number, class), (next, after)] if around == after && number + 1 == *next => {
                let no = self.class(program, around);
                let yes = self.class(program, class);
                program.equal(*number, yes, no)
            }
            _ => {
                let (below, above) = ranges.split_at(ranges.len() / 2);
                let yes = self.tree(program, above);
                let no = self.tree(program, below);
                program.at_least(above[0].0, yes, no)
            }
        }
    }

    fn compile(&self) -> Vec<Insn> {
        let mut program = Program::default();
        let foreign = program.ret(self.foreign());
        let tree = self.tree(&mut program, &self.ranges());
        let number = program.load(program::NUMBER, tree);
        let own = program.equal(self.arch.audit(), number, foreign);
        let entry = program.load(program::ARCH, own);
        program.finish(entry)
    }
}

/// Whether some socket that is not AF_UNIX could be had.
fn opens_sockets(table: &Table) -> bool {
    let rules = table.rules_of(SOCKET);
    (0..64).filter(|family| *family != AF_UNIX).any(|family| {
        let may = |rule: &Rule, only_family: bool| {
            table.tests(rule).iter().all(|test| match test.arg {
                0 => Comparison { arg: 0, op: test.op, mask: test.mask, values: table.values(test) }.holds(family),
                _ => !only_family,
            })
        };
        let decided = rules.iter().position(|rule| may(rule, true)).unwrap_or(rules.len());
        rules.iter().take(decided + 1).any(|rule| rule.answer == Answer::Allow && may(rule, false))
    })
}

/// Compiles the two programs for this machine's architecture.
///
/// # Errors
/// A policy that cannot run anything (no execve), one of one's own that opens sockets under `blocked`, or a program over
/// the kernel's 4096 instructions.
pub fn compile(policy: &Policy, setting: Setting) -> Result<Filters, Error> {
    compile_for(Arch::NATIVE, policy, setting)
}

/// Compiles the two programs for any architecture of ours: what `policy check` and the tests look at.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(arch: Arch, policy: &Policy, setting: Setting) -> Result<Filters, Error> {
    let table = policy.calls(setting.network);
    let name = &policy.name;
    if !matches!(table.rules_of(EXECVE), [Rule { answer: Answer::Allow, count: 0, .. }]) {
        return Err(Error::usage(format!("the policy {name} does not allow execve, so it cannot start anything"))
            .hint("allow execve whatever its arguments are, or extend a built-in policy: extends = \"default\""));
    }
    if setting.network == Network::Blocked && opens_sockets(table) {
        return Err(Error::usage(format!(
            "the policy {name} allows sockets, and --net blocked relies on their refusal"
        ))
        .hint("use --net none, or leave socket to the built-in policies"));
    }
    let program = |role| {
        let insns = Compiler { arch, table, setting, role }.compile();
        match insns.len() {
            0..=LONGEST_PROGRAM => Ok(insns),
            length => Err(Error::usage(format!(
                "the policy {name} needs {length} instructions, and the kernel takes {LONGEST_PROGRAM}"
            ))
            .hint("name fewer values in its conditions")),
        }
    };
    Ok(Filters {
        listener: if setting.notify { Some(program(Role::Listener)?) } else { None },
        main: program(Role::Main)?,
    })
}

/// What to answer a notified call, by its architecture (`AUDIT_ARCH_*`), number and arguments, as the kernel gives them.
/// Never "let it be made".
pub fn verdict(policy: &Policy, setting: Setting, audit: u32, number: i32, args: &[u64; 6]) -> Verdict {
    verdict_for(Arch::NATIVE, policy, setting, audit, number, args)
}

/// The same on any architecture of ours.
pub fn verdict_for(arch: Arch, policy: &Policy, setting: Setting, audit: u32, number: i32, args: &[u64; 6]) -> Verdict {
    let number = number as u32;
    let x32 = arch == Arch::X86_64 && (X32_BIT..u32::MAX).contains(&number);
    if audit != arch.audit() || x32 {
        return Verdict::Kill;
    }
    let answer = Call::numbered(arch, number).map(|call| policy.calls(setting.network).answer(call, args));
    match answer {
        Some(Answer::Kill) => Verdict::Kill,
        Some(Answer::Refuse(errno) | Answer::Errno(errno)) => Verdict::Refuse(errno.into()),
        // Not what the filter notifies of.
        Some(Answer::Allow) | None => Verdict::Refuse(ENOSYS.into()),
    }
}

/// The name of a call by its architecture (`AUDIT_ARCH_*`) and number; `syscall_N` for one without. A foreign one has its
/// ABI before it: `i386:open`, `x32:read`.
pub fn call_name(audit: u32, number: i32) -> String {
    name_of(audit, number as u32)
}
