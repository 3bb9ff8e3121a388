//! What was written to throw-away places: how much, and what is lost with them.

use crate::report::ThrownAway;
use nix::dir::{Dir, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// How full the scratch tmpfs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    pub(super) bytes_full: bool,
    pub(super) inodes_full: bool,
}

/// Reads it; `None` where the tmpfs cannot be asked.
pub(super) fn fill(scratch: BorrowedFd<'_>) -> Option<Fill> {
    let stat = nix::sys::statfs::fstatfs(scratch).ok()?;
    let block = u64::try_from(stat.block_size()).ok()?;
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    Some(Fill {
        bytes: used.saturating_mul(block),
        inodes: stat.files().saturating_sub(stat.files_free()),
        bytes_full: stat.blocks() > 0 && stat.blocks_free() == 0,
        inodes_full: stat.files() > 0 && stat.files_free() == 0,
    })
}

/// How many files are looked at, and named.
const MOST_LOOKED_AT: u64 = 10_000;
const MOST_NAMED: usize = 3;
const DEEPEST: usize = 32;

/// What the overlay's upper directory holds: new and changed files. Bounded, for the program made them.
pub(super) fn thrown_away(upper: BorrowedFd<'_>) -> Option<ThrownAway> {
    let mut found = ThrownAway::default();
    let dir = Dir::openat(upper, ".", flags(), Mode::empty()).ok()?;
    walk(dir, "", 0, &mut 0, &mut found);
    Some(found)
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn walk(mut dir: Dir, prefix: &str, depth: usize, looked_at: &mut u64, found: &mut ThrownAway) {
    let mut below = Vec::new();
    for entry in dir.iter().map_while(Result::ok) {
        let name: &CStr = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *looked_at += 1;
        if *looked_at > MOST_LOOKED_AT {
            return;
        }
        let shown = format!("{prefix}{}", name.to_string_lossy());
        match entry.file_type() {
            Some(Type::Directory) if depth < DEEPEST => below.push((name.to_owned(), shown)),
            // An overlay's whiteout: something that was removed.
            Some(Type::CharacterDevice) => {}
            _ => {
                found.files += 1;
                if found.names.len() < MOST_NAMED {
                    found.names.push(shown);
                }
            }
        }
    }
    for (name, shown) in below {
        // One that its owner made unreadable stays unread.
        if let Ok(next) = Dir::openat(&dir, name.as_c_str(), flags(), Mode::empty()) {
            walk(next, &format!("{shown}/"), depth + 1, looked_at, found);
        }
    }
}
