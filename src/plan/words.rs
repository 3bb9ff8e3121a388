//! Steps in words: one verb phrase each, which `explain` lists and a failure completes ("cannot …").

use super::HostTree;
use super::step::{Attr, Beneath, Slot, Source, Step};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a step does, such as `mount a fresh /proc at /proc` or `show /srv/in at /box/in (read-only)`.
pub fn describe(step: &Step) -> String {
    describe_with(step, &[])
}

/// The same, with the trees that the supervisor opens by their paths.
pub fn describe_with(step: &Step, trees: &[HostTree]) -> String {
    match step {
        Step::BecomeId { uid, gid } => format!("become uid {uid} and gid {gid} inside, without supplementary groups"),
        Step::Fault { step, .. } => describe_with(step, trees),
        Step::DieWithParent => "tie our life to the launcher's".to_owned(),
        Step::CgroupNamespace => "make a cgroup namespace".to_owned(),
        Step::NetNamespace => "begin to make a network namespace".to_owned(),
        Step::EnterNetNamespace => "enter the network namespace".to_owned(),
        Step::Scratch { bytes, inodes } => {
            format!("mount a tmpfs for all throw-away places ({})", size(*bytes, *inodes))
        }
        Step::ScratchDir { path, .. } => format!("make the throw-away directory {}", shown(path)),
        Step::Root => "mount a tmpfs for the new root".to_owned(),
        Step::Dir { path, .. } => format!("make the directory {}", inside(path)),
        Step::Link { target, path } => format!("make {} a link to {}", inside(path), shown(target)),
        Step::File { path, .. } => format!("write {}", inside(path)),
        Step::Show { path, directory, attr } => {
            format!("show {} at {} ({})", shown(path), shown(path), attr_words(*attr, *directory))
        }
        Step::Bind { source, target, attr, recursive } => {
            format!("show {} at {} ({})", source_words(source, trees), inside(target), attr_words(*attr, *recursive))
        }
        Step::Tmpfs { target, bytes, inodes } => {
            format!("mount an empty tmpfs at {} ({})", inside(target), size(*bytes, *inodes))
        }
        Step::Overlay { source, target } => {
            format!("show {} at {} (writes are thrown away)", source_words(source, trees), inside(target))
        }
        Step::Proc { target } => format!("mount a fresh /proc at {}", inside(target)),
        Step::LoopbackUp => "bring the loopback interface up".to_owned(),
        Step::Hostname(name) => format!("set the host name {}", shown(name)),
        Step::SealRoot => "make the new root read-only".to_owned(),
        Step::Pivot => "make it the root, and let go of the host's".to_owned(),
        Step::Open { path, slot } => format!("open the throw-away {} as {}", shown(path), slot_words(*slot)),
        Step::OpenInside { path, slot } => format!("open {} inside as {}", inside(path), slot_words(*slot)),
        Step::WatchProc => "mount a /proc of its own for the supervisor to look at".to_owned(),
        Step::OpenUserNamespace => "open the user namespace for the supervisor".to_owned(),
        Step::Hand(slots) => {
            let what: Vec<_> = slots.iter().map(|slot| slot_words(*slot)).collect();
            format!("hand {} to the supervisor", list(&what))
        }
        Step::Await => "wait for the supervisor's copy of the work directory".to_owned(),
        Step::NotDumpable => "close init to everybody else".to_owned(),
        Step::Stdio => "put the standard streams in place".to_owned(),
        Step::Session => "start a session without a terminal".to_owned(),
        Step::Defaults => "reset signals, priority and file mode mask".to_owned(),
        Step::Affinity(mask) => format!("stay on the CPUs {}", cpus(mask)),
        Step::ChangeDir(path) => format!("enter the working directory {}", inside(path)),
        Step::DropCapabilities => "drop all capabilities for good".to_owned(),
        Step::NoNewPrivileges => "rule out new privileges".to_owned(),
        Step::Landlock { rules, access_net, scoped, .. } => {
            let mut also = String::new();
            if *access_net != 0 {
                also.push_str(", no TCP");
            }
            if *scoped != 0 {
                also.push_str(", no signals or abstract sockets to the outside");
            }
            let descriptors = rules.iter().filter(|rule| matches!(rule.beneath, Beneath::Descriptor(_))).count();
            let paths = rules.len() - descriptors;
            format!(
                "restrict files with Landlock ({} and {} allowed{also})",
                count(paths, "path"),
                count(descriptors, "stream")
            )
        }
        Step::Listener(program) => {
            format!("install the filter that tells of refused calls ({})", count(program.len(), "instruction"))
        }
        Step::CloseOnExec => "close every other descriptor".to_owned(),
        Step::Rlimit { resource, soft, hard } => rlimit(*resource, *soft, *hard),
        Step::Ready => "wait until limits and clocks are armed".to_owned(),
        Step::Filter(program) => format!("install the system-call filter ({})", count(program.len(), "instruction")),
        Step::Exec { candidates, .. } => match candidates.as_slice() {
            [] => "execute the command".to_owned(),
            [one] => format!("execute {}", shown(one)),
            [first, ..] => {
                let name = Path::new(OsStr::from_bytes(first.to_bytes())).file_name().unwrap_or_default();
                let places: Vec<String> = candidates.iter().map(directory).collect();
                format!("execute {}, looked for in {}", name.display(), places.join(", "))
            }
        },
    }
}

fn shown(path: &CStr) -> String {
    OsStr::from_bytes(path.to_bytes()).display().to_string()
}

/// A path of the new root.
fn inside(path: &CStr) -> String {
    let path = shown(path);
    if path.starts_with('/') { path } else { format!("/{}", if path == "." { "" } else { &path }) }
}

fn directory(path: &CString) -> String {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    path.parent().unwrap_or(Path::new("/")).display().to_string()
}

fn source_words(source: &Source, trees: &[HostTree]) -> String {
    match source {
        Source::Path(path) if path.to_bytes().starts_with(b"/") => shown(path),
        Source::Path(path) => format!("the throw-away {}", shown(path)),
        Source::Tree(slot) => match trees.iter().find(|tree| tree.slot == *slot) {
            Some(tree) => format!("{} (id-mapped)", tree.path.display()),
            None => "an id-mapped tree of the host".to_owned(),
        },
    }
}

fn attr_words(attr: Attr, recursive: bool) -> String {
    let mut words = vec![if attr.read_only { "read-only" } else { "writable" }];
    if attr.devices {
        words.push("a device");
    }
    if !attr.exec && !attr.devices {
        words.push("nothing in it can be executed");
    }
    if recursive {
        words.push("with the mounts in it");
    }
    words.join(", ")
}

fn slot_words(slot: Slot) -> String {
    match slot {
        Slot::SCRATCH => "the throw-away tmpfs".to_owned(),
        Slot::ROOT => "the new root".to_owned(),
        Slot::BOX => "the work directory".to_owned(),
        Slot::WATCH => "the supervisor's /proc".to_owned(),
        Slot::USER_NS => "the user namespace".to_owned(),
        Slot::UPPER => "the overlay's upper directory".to_owned(),
        Slot(number) => format!("slot {number}"),
    }
}

fn size(bytes: u64, inodes: u64) -> String {
    let bytes = if bytes == 0 { "any size".to_owned() } else { crate::spec::Bytes::new(bytes).to_string() };
    if inodes == 0 { bytes } else { format!("{bytes}, {inodes} files") }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn list(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn cpus(mask: &[u64]) -> String {
    let set = |cpu: usize| mask.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
    let all: Vec<String> = (0..mask.len() * 64).filter(|&cpu| set(cpu)).map(|cpu| cpu.to_string()).collect();
    all.join(", ")
}

/// By number: the same on x86-64 and aarch64 (include/uapi/asm-generic/resource.h).
const RESOURCES: [&str; 16] = [
    "CPU seconds",
    "file size",
    "data segment",
    "stack size",
    "core file size",
    "resident set",
    "processes",
    "open files",
    "locked memory",
    "address space",
    "file locks",
    "queued signals",
    "message queue bytes",
    "nice ceiling",
    "real-time priority",
    "real-time CPU time",
];

fn rlimit(resource: u32, soft: u64, hard: u64) -> String {
    let name = usize::try_from(resource).ok().and_then(|number| RESOURCES.get(number));
    match name {
        Some(name) => format!("limit {name} to {}", value(soft, hard)),
        None => format!("limit resource {resource} to {}", value(soft, hard)),
    }
}

fn value(soft: u64, hard: u64) -> String {
    let one = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    if soft == hard { one(soft) } else { format!("{} (hard limit {})", one(soft), one(hard)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_as_a_verb_phrase_with_both_sides_of_a_path() {
        let bind = Step::Bind {
            source: Source::Path(c"/srv/in".into()),
            target: c"box/in".into(),
            attr: Attr::READ_ONLY,
            recursive: false,
        };
        assert_eq!(describe(&bind), "show /srv/in at /box/in (read-only)");
        assert_eq!(describe(&Step::Proc { target: c"proc".into() }), "mount a fresh /proc at /proc");
        let scratch = Step::Scratch { bytes: 256 << 20, inodes: 16384 };
        assert_eq!(describe(&scratch), "mount a tmpfs for all throw-away places (256 MiB, 16384 files)");
        assert_eq!(describe(&Step::Affinity(vec![0b101, 1])), "stay on the CPUs 0, 2, 64");
        assert_eq!(describe(&Step::Rlimit { resource: 7, soft: 1024, hard: 1024 }), "limit open files to 1024");
    }

    #[test]
    fn a_tree_of_the_supervisor_has_its_path_where_it_is_known() {
        let slot = Slot::FIRST_HOST_TREE;
        let overlay = Step::Overlay { source: Source::Tree(slot), target: c"box".into() };
        let tree = HostTree { path: "/root/work".into(), slot, recursive: true };
        assert_eq!(describe(&overlay), "show an id-mapped tree of the host at /box (writes are thrown away)");
        assert_eq!(describe_with(&overlay, &[tree]), "show /root/work (id-mapped) at /box (writes are thrown away)");
    }

    #[test]
    fn a_command_without_a_slash_names_where_it_is_looked_for() {
        let exec = |candidates: &[&CStr]| {
            let candidates = candidates.iter().map(|&path| path.to_owned()).collect();
            describe(&Step::Exec { candidates, argv: Vec::new(), envp: Vec::new() })
        };
        assert_eq!(exec(&[c"/usr/bin/gcc", c"/bin/gcc"]), "execute gcc, looked for in /usr/bin, /bin");
        assert_eq!(exec(&[c"./prog"]), "execute ./prog");
    }
}
