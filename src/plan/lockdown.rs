//! What the payload may do: the steps from descriptors to exec, in the one legal order (DESIGN §5).

use super::filter::{self, Setting};
use super::limits::LimitPlan;
use super::rootfs::{Files, c_path};
use super::step::{Beneath, PathRule, Step};
use crate::error::Error;
use crate::host::Host;
use crate::spec::{Network, Spec};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `LANDLOCK_ACCESS_FS_*`
mod access {
    pub(super) const EXECUTE: u64 = 1;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const MAKE_CHAR: u64 = 1 << 6;
    pub(super) const MAKE_BLOCK: u64 = 1 << 11;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEV: u64 = 1 << 15;
}

/// The lowest Landlock level that is used: level 1 refuses every rename to another directory.
const LEAST_LANDLOCK: u32 = 2;
/// The level that scopes abstract sockets and signals.
const SCOPE_LANDLOCK: u32 = 6;

/// What the filters hang on besides the policy.
pub(super) fn plan_setting(spec: &Spec, host: &Host, limits: &LimitPlan) -> Setting {
    Setting { network: spec.network, refuse_memfd: limits.refuse_memfd, notify: host.seccomp_notify.works() }
}

/// The payload's steps.
pub(super) fn plan_payload(spec: &Spec, host: &Host, limits: &LimitPlan, files: &Files) -> Result<Vec<Step>, Error> {
    let filters = filter::compile(&spec.policy, plan_setting(spec, host, limits))?;
    let mut steps = vec![Step::Stdio, Step::Session, Step::Defaults];
    if let Some(mask) = &limits.affinity {
        steps.push(Step::Affinity(mask.clone()));
    }
    steps.push(Step::ChangeDir(c_path(spec.workdir.as_path())?));
    steps.push(Step::DropCapabilities);
    steps.push(Step::NoNewPrivileges);
    steps.extend(plan_landlock(spec, host, files)?);
    steps.extend(filters.listener.map(Step::Listener));
    steps.push(Step::CloseOnExec);
    steps.extend(limits.rlimits.iter().map(|&(resource, soft, hard)| Step::Rlimit { resource, soft, hard }));
    steps.push(Step::Ready);
    steps.push(Step::Filter(filters.main));
    steps.push(plan_exec(spec)?);
    Ok(steps)
}

/// The Landlock level that is used; `None` below the least.
pub(super) fn landlock_level(host: &Host) -> Option<u32> {
    (host.landlock_abi >= LEAST_LANDLOCK).then_some(host.landlock_abi)
}

fn plan_landlock(spec: &Spec, host: &Host, files: &Files) -> Result<Option<Step>, Error> {
    if spec.network == Network::Host && host.landlock_abi < SCOPE_LANDLOCK {
        return Err(Error::sandbox(
            "cannot share the host's network: this kernel's Landlock cannot keep the program off the host's abstract sockets",
        )
        .hint("use --net none, or a kernel from 6.12 on with Landlock"));
    }
    let Some(abi) = landlock_level(host) else { return Ok(None) };
    let mut handled = (1 << 14) - 1;
    if abi >= 3 {
        handled |= access::TRUNCATE;
    }
    if abi >= 5 {
        handled |= access::IOCTL_DEV;
    }
    let read = access::EXECUTE | access::READ_FILE | access::READ_DIR;
    let write = handled & !(access::MAKE_CHAR | access::MAKE_BLOCK | access::IOCTL_DEV);
    debug_assert!(write & access::REFER != 0);
    let to_device = handled & (access::READ_FILE | access::WRITE_FILE | access::TRUNCATE);
    let mut rules = vec![PathRule { beneath: Beneath::Path(c"/".to_owned()), access: read }];
    for place in &files.writable {
        rules.push(PathRule { beneath: Beneath::Path(c_path(place)?), access: write });
    }
    for device in [c"/dev/null", c"/dev/zero", c"/dev/full", c"/dev/random", c"/dev/urandom"] {
        rules.push(PathRule { beneath: Beneath::Path(device.to_owned()), access: to_device });
    }
    rules.push(PathRule { beneath: Beneath::Descriptor(0), access: access::READ_FILE });
    for stream in [1, 2] {
        rules.push(PathRule { beneath: Beneath::Descriptor(stream), access: access::WRITE_FILE });
    }
    let access_net = if abi >= 4 && spec.network != Network::Host { 3 } else { 0 };
    let scoped = if abi >= SCOPE_LANDLOCK { 3 } else { 0 };
    Ok(Some(Step::Landlock { access_fs: handled, access_net, scoped, rules }))
}

fn c_word(word: &OsStr) -> Result<CString, Error> {
    CString::new(word.as_bytes()).map_err(|_| Error::usage("the command holds a NUL byte"))
}

/// The environment inside: ours, then the policy's, then the caller's.
pub(crate) fn environment(spec: &Spec) -> Vec<(OsString, OsString)> {
    let own = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/tmp"),
        ("TMPDIR", "/tmp"),
        ("USER", "sandbox"),
        ("LANG", "C.UTF-8"),
    ];
    let mut all: Vec<(OsString, OsString)> = own.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let policy = spec.policy.env.iter().map(|(name, value)| (name.into(), value.into()));
    for (name, value) in policy.chain(spec.env.iter().cloned()) {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all
}

/// Where a command is looked for inside: itself if it has a slash, else in each directory of `PATH`.
pub(crate) fn candidates(program: &OsStr, env: &[(OsString, OsString)]) -> Vec<std::path::PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str()).unwrap_or_default();
    path.as_bytes()
        .split(|&byte| byte == b':')
        // An empty element means the current directory, as execvp has it.
        .map(|dir| Path::new(if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) }).join(program))
        .collect()
}

fn plan_exec(spec: &Spec) -> Result<Step, Error> {
    let env = environment(spec);
    let program = spec.command.first().map(OsString::as_os_str).unwrap_or_default();
    let mut variables = Vec::with_capacity(env.len());
    for (name, value) in &env {
        let mut variable = name.clone();
        variable.push("=");
        variable.push(value);
        variables.push(c_word(&variable)?);
    }
    Ok(Step::Exec {
        candidates: candidates(program, &env).iter().map(|path| c_path(path)).collect::<Result<_, _>>()?,
        argv: spec.command.iter().map(|word| c_word(word)).collect::<Result<_, _>>()?,
        envp: variables,
    })
}
