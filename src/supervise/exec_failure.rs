//! Why a command could not be executed, found out afterwards by looking at the host's side of what is shown.

use crate::error::{Kind, errno_name, errno_text};
use crate::plan::{Plan, rootfs};
use crate::spec::{Spec, Work};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What to say.
pub(super) struct Explained {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Explains `errno` for the spec's command.
pub(super) fn explain(spec: &Spec, plan: &Plan, errno: i32) -> Explained {
    let program = spec.command.first().map(|word| word.as_os_str()).unwrap_or_default();
    let shown = program.display();
    let inside = inside_path(spec, program);
    let outside = inside.as_ref().and_then(|inside| rootfs::outside_of(&plan.shown, inside));
    let file = outside.as_deref().filter(|path| path.exists());
    match errno {
        libc::ENOENT | libc::ENOTDIR => match file.and_then(missing_interpreter) {
            Some(interpreter) => Explained {
                kind: Kind::NotFound,
                message: format!(
                    "cannot execute {shown}: its interpreter {} is not inside the sandbox (ENOENT)",
                    interpreter.display()
                ),
                hint: Some(show_interpreter(&interpreter)),
            },
            None => not_found(spec, plan, program),
        },
        libc::EACCES => {
            let (message, hint) = match file {
                Some(path) if path.is_dir() => (format!("cannot execute {shown}: it is a directory (EACCES)"), None),
                Some(path) if !executable(path) => (
                    format!("cannot execute {shown}: it is not marked executable (EACCES)"),
                    Some(format!("chmod +x {}", path.display())),
                ),
                _ => (format!("cannot execute {shown}: permission denied (EACCES)"), None),
            };
            Explained { kind: Kind::NotExecutable, message, hint }
        }
        libc::ENOEXEC => {
            let (message, hint) = match file.map(machine_of) {
                Some(Some(machine)) if machine != OWN_MACHINE => (
                    format!("cannot execute {shown}: it is a program for {} (ENOEXEC)", machine_name(machine)),
                    Some(format!("build it for {}", std::env::consts::ARCH)),
                ),
                _ => (
                    format!("cannot execute {shown}: it is neither a program nor a script with a #! line (ENOEXEC)"),
                    Some(format!("name its interpreter: sh {shown}, or python3 {shown}")),
                ),
            };
            Explained { kind: Kind::NotExecutable, message, hint }
        }
        libc::E2BIG => Explained {
            kind: Kind::NotExecutable,
            message: format!("cannot execute {shown}: its arguments and environment are too long (E2BIG)"),
            hint: Some("give long input on stdin or in a file; a larger --stack allows more".to_owned()),
        },
        errno => Explained {
            kind: Kind::NotExecutable,
            message: format!("cannot execute {shown}: {} ({})", errno_text(errno), errno_name(errno)),
            hint: None,
        },
    }
}

/// Where a command with a slash is inside.
fn inside_path(spec: &Spec, program: &OsStr) -> Option<PathBuf> {
    if !program.as_bytes().contains(&b'/') {
        return None;
    }
    let mut path = PathBuf::new();
    for component in spec.workdir.as_path().join(program).components() {
        match component {
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::CurDir => {}
            other => path.push(other),
        }
    }
    Some(path)
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

fn not_found(spec: &Spec, plan: &Plan, program: &OsStr) -> Explained {
    let shown = program.display();
    let message = format!("cannot execute {shown}: there is no such command inside the sandbox (ENOENT)");
    let hint = if program.as_bytes().contains(&b'/') {
        let path = Path::new(program);
        if path.is_absolute() && path.exists() {
            Some(match plan.work.as_ref().and_then(|work| path.strip_prefix(work).ok()) {
                Some(within) => format!("it lies in the work directory: run ./{}", within.display()),
                None => show_outside(path),
            })
        } else if path.is_relative() && plan.work.is_none() {
            Some(match spec.work {
                Work::Current => {
                    "nothing of the current directory is shown, since it is a home directory or /: change to the program's own \
                     directory, or show it with --dir ."
                        .to_owned()
                }
                Work::Dir(_) | Work::Empty => "/box is empty: show the program's directory with --dir".to_owned(),
            })
        } else {
            None
        }
    } else {
        let here = Path::new(program);
        if plan.work.as_ref().is_some_and(|work| work.join(here).is_file()) {
            Some(format!("a command in the work directory is written ./{shown}"))
        } else {
            in_callers_path(program).map(|path| show_outside(&path))
        }
    };
    Explained { kind: Kind::NotFound, message, hint }
}

/// The caller's own PATH has it, perhaps.
fn in_callers_path(program: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file() && executable(path))
}

/// How to show a program that lies elsewhere on the host: its installation, where it looks like one.
fn show_outside(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let dir = real.parent().unwrap_or(Path::new("/"));
    let root = if dir.file_name() == Some(OsStr::new("bin")) { dir.parent().unwrap_or(dir) } else { dir };
    let root = if root.components().count() > 2 { root } else { dir };
    format!("it is {} outside: show it with --ro {} and run {}", path.display(), root.display(), real.display())
}

fn show_interpreter(interpreter: &Path) -> String {
    if interpreter.exists() {
        show_outside(interpreter)
    } else {
        format!("{} is not on this machine either: install it, or mend the file's first line", interpreter.display())
    }
}

/// The `#!` or ELF interpreter of a file, where that is not shown inside.
fn missing_interpreter(path: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(64 * 1024).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?;
        let word = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
        // A line written on Windows ends in a carriage return, which the kernel takes as part of the name.
        let word = if line.ends_with(b"\r") && !word.ends_with(b"\r") { &line[..line.len()] } else { word };
        return Some(PathBuf::from(OsStr::from_bytes(word)));
    }
    elf_interpreter(&head)
}

/// `PT_INTERP` of a 64-bit little-endian ELF file.
fn elf_interpreter(head: &[u8]) -> Option<PathBuf> {
    let word = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    for index in 0..count.min(64) {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if word(at, 4)? == 3 {
            let offset = usize::try_from(word(at + 8, 8)?).ok()?;
            let length = usize::try_from(word(at + 32, 8)?).ok()?.min(4096);
            let name = head.get(offset..offset.checked_add(length)?)?;
            let name = name.split(|&byte| byte == 0).next()?;
            return Some(PathBuf::from(OsStr::from_bytes(name)));
        }
    }
    None
}

/// `EM_X86_64`, `EM_AARCH64`
const OWN_MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// The architecture of an `e_machine`, as far as it is likely to be met.
fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "i386",
        8 => "mips",
        20 | 21 => "powerpc",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => "another kind of processor",
    }
}

/// The `e_machine` of an ELF file.
fn machine_of(path: &Path) -> Option<u16> {
    let mut head = [0; 20];
    File::open(path).ok()?.read_exact(&mut head).ok()?;
    let little = head[5] == 1;
    let machine = [head[18], head[19]];
    (head[..4] == *b"\x7fELF").then(|| if little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_elf_file() {
        for head in [&b""[..], b"\x7fELF", &[0xff; 64], b"\x7fELF\x02\x01"] {
            assert_eq!(elf_interpreter(head), None);
        }
        let mut hostile = b"\x7fELF\x02\x01".to_vec();
        hostile.resize(64, 0xff);
        assert_eq!(elf_interpreter(&hostile), None);
    }

    #[test]
    fn our_own_test_binary_has_an_interpreter_or_is_static() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(machine_of(&own), Some(OWN_MACHINE));
        let dynamic = missing_interpreter(&own);
        assert!(dynamic.is_none_or(|path| path.is_absolute()));
    }
}
