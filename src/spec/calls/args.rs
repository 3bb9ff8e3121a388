//! The arguments of calls as conditions name them, with the width at which the kernel reads them; and the constants of
//! the man pages. Text, read only when somebody's policy file is: a table of pointers would be relocated at every start.

use super::Call;

/// `call name:bits …`, first argument first. The kernel drops what lies above these bits, so a condition must not look at
/// it: a filter that compared all 64 bits of an `int` was how TIOCSTI got past other sandboxes.
const SIGNATURES: &str = "\
accept4 fd:32 addr:64 addrlen:64 flags:32
arch_prctl op:32 addr:64
bpf cmd:32 attr:64 size:32
clock_adjtime clockid:32 buf:64
clock_getres clockid:32 res:64
clock_gettime clockid:32 tp:64
clock_nanosleep clockid:32 flags:32 t:64 remain:64
clock_settime clockid:32 tp:64
clone flags:64
close_range first:32 last:32 flags:32
fchmod fd:32 mode:16
fchmodat dirfd:32 path:64 mode:16
fchmodat2 dirfd:32 path:64 mode:16 flags:32
fcntl fd:32 op:32 arg:64
futex uaddr:64 op:32 val:32
getsockopt fd:32 level:32 optname:32
ioctl fd:32 op:32 argp:64
ioprio_set which:32 who:32 ioprio:32
keyctl op:32
kill pid:32 sig:32
madvise addr:64 length:64 advice:32
memfd_create name:64 flags:32
mkdir path:64 mode:16
mkdirat dirfd:32 path:64 mode:16
mknod path:64 mode:16 dev:32
mknodat dirfd:32 path:64 mode:16 dev:32
mmap addr:64 length:64 prot:64 flags:64 fd:64 offset:64
mprotect addr:64 len:64 prot:64
chmod path:64 mode:16
creat path:64 mode:16
open path:64 flags:32 mode:16
openat dirfd:32 path:64 flags:32 mode:16
personality persona:32
pidfd_open pid:32 flags:32
pidfd_send_signal pidfd:32 sig:32 info:64 flags:32
prctl op:32 arg2:64 arg3:64 arg4:64 arg5:64
prlimit64 pid:32 resource:32 new_limit:64 old_limit:64
ptrace op:64 pid:64 addr:64 data:64
recvfrom fd:32 buf:64 len:64 flags:32 src_addr:64 addrlen:64
recvmsg fd:32 msg:64 flags:32
rt_sigqueueinfo tgid:32 sig:32 info:64
sched_setaffinity pid:32 cpusetsize:32 mask:64
sched_setattr pid:32 attr:64 flags:32
sched_setparam pid:32 param:64
sched_setscheduler pid:32 policy:32 param:64
seccomp op:32 flags:32 args:64
sendmsg fd:32 msg:64 flags:32
sendto fd:32 buf:64 len:64 flags:32 dest_addr:64 addrlen:32
setitimer which:32 new_value:64 old_value:64
setns fd:32 nstype:32
setpriority which:32 who:32 prio:32
setrlimit resource:32 rlim:64
setsockopt fd:32 level:32 optname:32
socket domain:32 type:32 protocol:32
socketpair domain:32 type:32 protocol:32 sv:64
tgkill tgid:32 tid:32 sig:32
timer_create clockid:32 sevp:64 timerid:64
timerfd_create clockid:32 flags:32
unshare flags:64
userfaultfd flags:32
waitid idtype:32 id:32 infop:64 options:32
";

/// `name value`; the same on every architecture of ours.
const CONSTANTS: &str = include_str!("constants.txt");

/// An argument of a call: which one, and how many of its low bits the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// 16, 32 or 64.
    pub bits: u8,
}

impl Argument {
    /// The bits that count.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - u32::from(self.bits))
    }
}

fn signature(call: Call) -> Option<impl Iterator<Item = (&'static str, u8)>> {
    let line = SIGNATURES.lines().find_map(|line| line.strip_prefix(call.name())?.strip_prefix(' '))?;
    Some(line.split(' ').filter_map(|word| {
        let (name, bits) = word.split_once(':')?;
        Some((name, bits.parse().ok()?))
    }))
}

/// The argument of this name; `arg0` to `arg5` name those of every call, at 64 bits where the signature is not known.
pub fn argument(call: Call, name: &str) -> Option<Argument> {
    let known = |index: usize| signature(call).and_then(|mut words| words.nth(index));
    let by_position = match name.as_bytes() {
        [b'a', b'r', b'g', digit @ b'0'..=b'5'] => Some(usize::from(digit - b'0')),
        _ => None,
    };
    // prctl's own names for its second to fifth argument count from one and win, as in its man page.
    let by_name = signature(call).and_then(|words| words.enumerate().find(|(_, (known, _))| *known == name));
    match (by_name, by_position) {
        (Some((index, (_, bits))), _) => Some(Argument { index: index as u8, bits }),
        (None, Some(index)) => Some(Argument { index: index as u8, bits: known(index).map_or(64, |(_, bits)| bits) }),
        (None, None) => None,
    }
}

/// The names that conditions on this call may use.
pub fn argument_names(call: Call) -> Vec<&'static str> {
    match signature(call) {
        Some(words) => words.map(|(name, _)| name).collect(),
        None => vec!["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"],
    }
}

fn constants() -> impl Iterator<Item = (&'static str, &'static str)> {
    CONSTANTS.lines().filter_map(|line| line.split_once(' '))
}

/// The value of a constant.
pub fn constant(name: &str) -> Option<u64> {
    let (_, digits) = constants().find(|(known, _)| *known == name)?;
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The names of all constants.
pub fn constant_names() -> impl Iterator<Item = &'static str> {
    constants().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_and_constant_is_readable() {
        for line in SIGNATURES.lines() {
            let (name, words) = line.split_once(' ').unwrap();
            let call = Call::named(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(signature(call).unwrap().count(), words.split(' ').count(), "{name}");
            assert!(signature(call).unwrap().all(|(_, bits)| [16, 32, 64].contains(&bits)), "{name}");
        }
        let mut names: Vec<_> = constant_names().collect();
        assert_eq!(names.len(), CONSTANTS.lines().count());
        for name in &names {
            assert!(constant(name).is_some(), "{name}");
        }
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn constants_are_the_c_librarys() {
        for (name, value) in [
            ("CLONE_NEWUSER", libc::CLONE_NEWUSER as u64),
            ("CLONE_NEWTIME", 0x80),
            ("TIOCSTI", libc::TIOCSTI),
            ("TIOCGWINSZ", libc::TIOCGWINSZ),
            ("TCGETS", libc::TCGETS),
            ("AF_VSOCK", libc::AF_VSOCK as u64),
            ("FUTEX_LOCK_PI2", libc::FUTEX_LOCK_PI2 as u64),
            ("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS as u64),
            ("PR_SET_VMA", libc::PR_SET_VMA as u64),
            ("ADDR_NO_RANDOMIZE", libc::ADDR_NO_RANDOMIZE as u64),
            ("CLOCK_BOOTTIME", libc::CLOCK_BOOTTIME as u64),
            ("MSG_OOB", libc::MSG_OOB as u64),
            ("FICLONE", libc::FICLONE),
            ("SO_ATTACH_BPF", libc::SO_ATTACH_BPF as u64),
            ("S_IFMT", libc::S_IFMT.into()),
        ] {
            assert_eq!(constant(name), Some(value), "{name}");
        }
    }

    #[test]
    fn arguments_have_the_width_that_the_kernel_reads() {
        let call = |name| Call::named(name).unwrap();
        assert_eq!(argument(call("ioctl"), "op"), Some(Argument { index: 1, bits: 32 }));
        assert_eq!(argument(call("ioctl"), "arg1"), Some(Argument { index: 1, bits: 32 }));
        assert_eq!(argument(call("prctl"), "arg2"), Some(Argument { index: 1, bits: 64 }));
        assert_eq!(argument(call("sync"), "arg3"), Some(Argument { index: 3, bits: 64 }));
        assert_eq!(argument(call("sync"), "flags"), None);
        assert_eq!(argument(call("mknod"), "mode").unwrap().mask(), 0xffff);
    }
}
