//! Policy files that are broken in every way we could think of, and in some that nobody thought of: each is a sentence that
//! names the line, never a panic, and never a policy.

use sandbox::Kind;
use sandbox::plan::filter::{Setting, compile};
use sandbox::spec::policy::Policy;
use sandbox::spec::{Limit, Network};

/// A file, the line that is at fault, a part of the sentence, a part of the hint.
const BROKEN: &[(&str, usize, &str, &str)] = &[
    // The text.
    ("extends = \"default", 1, "no TOML", ""),
    ("\n\nextends = default", 3, "no TOML", ""),
    ("[limits\nmem = 1", 1, "no TOML", ""),
    ("extends = \"run\"\nextends = \"run\"", 2, "no TOML", ""),
    ("a = 1\n\u{0}", 2, "no TOML", ""),
    // Keys.
    ("extend = \"run\"", 1, "no key 'extend'", "did you mean 'extends'?"),
    ("\n[limit]\nmem = 1", 2, "no key 'limit'", "did you mean 'limits'?"),
    ("\nfrobnicate = 1", 2, "no key 'frobnicate'", "its keys are"),
    ("[limits]\nmemory = \"1G\"", 2, "[limits] has no key 'memory'", ""),
    ("[limits]\ncpu_time = 1", 2, "[limits] has no key 'cpu_time'", "did you mean 'cpu-time'?"),
    ("[files]\nrx = \"/a\"", 2, "[files] has no key 'rx'", "did you mean 'r"),
    ("[[calls]]\nname = [\"read\"]\n", 2, "[[calls]] has no key 'name'", "did you mean 'names'?"),
    // Kinds of values.
    ("about = 1", 1, "about is a text in quotes, and this is of type integer", ""),
    ("extends = [\"run\"]", 1, "extends is a text", ""),
    ("limits = 3", 1, "[limits]", ""),
    ("calls = 3", 1, "[[calls]]", ""),
    ("calls = [3]", 1, "[[calls]]", ""),
    ("[[calls]]\nnames = 3", 2, "names is a text", ""),
    ("[env]\nA = 3", 2, "A is a text", ""),
    // Values.
    ("\nextends = \"defalt\"", 2, "'defalt'", "did you mean 'default'?"),
    ("extends = \"./mine.toml\"", 1, "'./mine.toml'", "the built-in ones are default, run, tight"),
    ("[limits]\npids = 1\nmem = \"lots\"", 3, "'lots' is no size", ""),
    ("[limits]\nmem = -1", 2, "negative", ""),
    ("[limits]\npids = \"many\"", 2, "pids", ""),
    ("[limits]\ncpu-time = \"soon\"", 2, "'soon'", ""),
    ("[limits]\ncpu-set = \"3-1\"", 2, "'3-1'", ""),
    ("[limits]\nmem = []", 2, "mem", ""),
    ("[files]\nro = \"etc\"", 2, "'etc' is no absolute path", ""),
    ("[files]\nro = [\n  \"/a\",\n  \"b\",\n]", 4, "'b' is no absolute path", ""),
    ("[files]\nro = \"/a:b:c\"", 2, "more than one colon", ""),
    ("[files]\nro = \"/a:/b/../c\"", 2, "goes up", ""),
    ("[files]\ntmpfs = \"/a:big\"", 2, "'big' is no size", ""),
    ("[env]\n\"\" = \"x\"", 2, "no environment variable", ""),
    ("[env]\n\"A=B\" = \"x\"", 2, "no environment variable", ""),
    ("[env]\nA = \"\\u0000\"", 2, "no environment variable", ""),
    // Rules.
    ("[[calls]]\nanswer = \"allow\"\nreason = \"r\"", 1, "no 'names'", ""),
    ("[[calls]]\nnames = []\nanswer = \"allow\"\nreason = \"r\"", 1, "no 'names'", ""),
    ("[[calls]]\nnames = [\"read\"]\nreason = \"r\"", 1, "no 'answer'", ""),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"allow\"", 1, "no 'reason'", ""),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"allow\"\nreason = \" \"", 4, "a reason is one line", ""),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"alow\"\nreason = \"r\"", 3, "'alow' is no answer", "\"allow\""),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"ENOSIS\"\nreason = \"r\"", 3, "'ENOSIS' is no errno", "ENOSYS"),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"trap\"\nreason = \"r\"", 3, "'trap' is no answer", "answers are"),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"kill\"\nerrno = \"EPERM\"\nreason = \"r\"", 4, "'errno' goes with", ""),
    ("[[calls]]\nnames = [\"read\"]\nanswer = \"refuse\"\nerrno = \"1\"\nreason = \"r\"", 4, "'1' is no errno", ""),
    // Calls.
    ("[[calls]]\nnames = [\n  \"read\",\n  \"opne\",\n]\nanswer = \"allow\"\nreason = \"r\"", 4, "'opne'", "'open'"),
    ("[[calls]]\nnames = \"getrandm\"\nanswer = \"allow\"\nreason = \"r\"", 2, "'getrandm'", "'getrandom'"),
    ("[[calls]]\nnames = \"stat64\"\nanswer = \"allow\"\nreason = \"r\"", 2, "32-bit programs", ""),
    ("[[calls]]\nnames = \"READ\"\nanswer = \"allow\"\nreason = \"r\"", 2, "'READ'", "'read'"),
    ("[[calls]]\nnames = \"\"\nanswer = \"allow\"\nreason = \"r\"", 2, "'' is no system call", ""),
    (
        "[[calls]]\nnames = \"unshare\"\nanswer = \"kill\"\nreason = \"r\"",
        2,
        "cannot be answered with \"kill\"",
        "refuse",
    ),
    // Conditions.
    ("[[calls]]\nnames = \"ioctl\"\nwhen = \"op = 1\"\nanswer = \"allow\"\nreason = \"r\"", 3, "means nothing", ""),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = \"opp == 1\"\nanswer = \"allow\"\nreason = \"r\"",
        3,
        "no argument 'opp'",
        "fd, op, argp",
    ),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = \"op == TIOCSTY\"\nanswer = \"kill\"\nreason = \"r\"",
        3,
        "'TIOCSTY'",
        "TIOCSTI",
    ),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = [\n\"op == 1\",\n\"op == 1 2\"]\nanswer = \"kill\"\nreason = \"r\"",
        5,
        "words behind",
        "",
    ),
    (
        "[[calls]]\nnames = [\"read\", \"socket\"]\nwhen = \"domain == 1\"\nanswer = \"kill\"\nreason = \"r\"",
        3,
        "read has no argument",
        "",
    ),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = \"op == 0x100000000\"\nanswer = \"kill\"\nreason = \"r\"",
        3,
        "never be met",
        "",
    ),
    // Conflicts.
    (
        "[[calls]]\nnames = \"read\"\nanswer = \"allow\"\nreason = \"r\"\n[[calls]]\nnames = \"read\"\nanswer = \"kill\"\nreason = \"r\"",
        6,
        "read is already decided (line 2)",
        "",
    ),
    ("[[calls]]\nnames = [\"read\", \"read\"]\nanswer = \"allow\"\nreason = \"r\"", 2, "already decided (line 2)", ""),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = \"op in [1, 2]\"\nanswer = \"allow\"\nreason = \"r\"\n\
         [[calls]]\nnames = \"ioctl\"\nwhen = \"op in [2, 3]\"\nanswer = \"kill\"\nreason = \"r\"",
        7,
        "ioctl gets two answers",
        "",
    ),
    (
        "[[calls]]\nnames = \"ioctl\"\nwhen = \"op & 1 == 1\"\nanswer = \"allow\"\nreason = \"r\"\n\
         [[calls]]\nnames = \"ioctl\"\nwhen = \"op & 2 == 2\"\nanswer = \"kill\"\nreason = \"r\"",
        7,
        "ioctl gets two answers",
        "",
    ),
    (
        "[[calls]]\nnames = \"mmap\"\nwhen = \"length > 10\"\nanswer = \"ENOMEM\"\nreason = \"r\"\n\
         [[calls]]\nnames = \"mmap\"\nwhen = \"length <= 11\"\nanswer = \"allow\"\nreason = \"r\"",
        7,
        "mmap gets two answers",
        "",
    ),
    (
        "[[calls]]\nnames = \"ioctl\"\nanswer = \"allow\"\nreason = \"r\"\n\
         [[calls]]\nnames = \"ioctl\"\nwhen = \"op == 3\"\nanswer = \"allow\"\nreason = \"r\"",
        6,
        "the same answer with and without",
        "",
    ),
];

#[test]
fn every_broken_file_is_a_sentence_that_names_the_line() {
    for (text, line, sentence, hint) in BROKEN {
        let error = Policy::parse(text, "mine.toml").expect_err(text);
        let words = error.to_string();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(words.starts_with(&format!("the policy mine.toml, line {line}: ")), "{text}\n{words}");
        assert!(words.contains(sentence), "{text}\n{words}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{text}\n{:?}", error.hint_text());
        assert!(!words.contains('\n') && !words.contains("Some("), "{words}");
    }
}

#[test]
fn conditions_that_exclude_each_other_are_no_conflict() {
    let text = "[[calls]]\nnames = \"execve\"\nanswer = \"allow\"\nreason = \"r\"\n\
                [[calls]]\nnames = \"mmap\"\nwhen = [\"length > 10\", \"prot & PROT_EXEC == 0\"]\nanswer = \"ENOMEM\"\nreason = \"r\"\n\
                [[calls]]\nnames = \"mmap\"\nwhen = \"length <= 10\"\nanswer = \"allow\"\nreason = \"r\"\n\
                [[calls]]\nnames = \"mmap\"\nwhen = [\"length > 10\", \"prot & PROT_EXEC == PROT_EXEC\"]\nanswer = \"kill\"\nreason = \"r\"\n";
    let setting = Setting { network: Network::None, refuse_memfd: false, notify: true };
    assert!(compile(&Policy::parse(text, "mine").unwrap(), setting).is_ok());
}

#[test]
fn what_a_file_leaves_open_comes_from_what_it_extends_and_limits_from_the_default() {
    let plain = Policy::parse("[limits]\nmem = \"1G\"", "plain").unwrap();
    assert_eq!(plain.limits.pids, Policy::default().limits.pids);
    assert_ne!(plain.limits.mem, Policy::default().limits.mem);
    assert!(plain.limits.names(Limit::CpuTime) && plain.calls(Network::None).rules().is_empty());
    let own = Policy::parse("extends = \"run\"", "own").unwrap();
    let run = Policy::builtin("run").unwrap();
    for network in [Network::None, Network::Host] {
        assert_eq!(own.calls(network).decisions(), run.calls(network).decisions());
    }
}

#[test]
fn a_policy_that_cannot_start_anything_or_opens_sockets_where_none_may_be_is_refused() {
    let setting = |network| Setting { network, refuse_memfd: false, notify: true };
    let words =
        |text: &str, network| compile(&Policy::parse(text, "mine").unwrap(), setting(network)).unwrap_err().to_string();
    assert!(words("", Network::None).contains("does not allow execve"));
    let when = "[[calls]]\nnames = \"execve\"\nwhen = \"arg0 == 1\"\nanswer = \"allow\"\nreason = \"r\"";
    assert!(words(when, Network::None).contains("does not allow execve"));
    let sockets = "extends = \"default\"\n[[calls]]\nnames = \"socket\"\nwhen = \"domain == AF_INET\"\nanswer = \"allow\"\nreason = \"r\"";
    assert!(words(sockets, Network::Blocked).contains("--net blocked"));
    assert!(compile(&Policy::parse(sockets, "mine").unwrap(), setting(Network::None)).is_ok());
    let local = "extends = \"default\"\n[[calls]]\nnames = \"socket\"\nwhen = \"domain == AF_UNIX\"\nanswer = \"allow\"\nreason = \"r\"";
    assert!(compile(&Policy::parse(local, "mine").unwrap(), setting(Network::Blocked)).is_ok());
    // Three arguments with many values each.
    let values: Vec<String> = (0..6000).map(|value| (value * 3).to_string()).collect();
    let large = format!(
        "extends = \"default\"\n[[calls]]\nnames = \"mmap\"\nwhen = \"flags in [{}]\"\nanswer = \"allow\"\nreason = \"r\"",
        values.join(", ")
    );
    assert!(words(&large, Network::None).contains("the kernel takes 4096"));
}

#[test]
fn files_that_are_no_text_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.toml");
    let words = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Policy::from_file(&path).unwrap_err().to_string()
    };
    assert!(words(b"\n\xff").contains("line 2: it is no UTF-8"));
    assert!(words(&vec![b'\n'; (1 << 20) + 1]).contains("larger than 1 MiB"));
    assert!(words(b"\x7fELF\x02\x01\x01\0").contains("line 1: it is no TOML"));
    assert!(Policy::from_file(directory.path()).unwrap_err().to_string().contains("EISDIR"));
    assert!(Policy::named("nope".as_ref()).unwrap_err().hint_text().unwrap().contains("default, run, tight"));
    std::fs::write(&path, "extends = \"tight\"").unwrap();
    assert_eq!(Policy::named(path.as_os_str()).unwrap().name, path.display().to_string());
}

/// xorshift64*: the same files on every machine.
fn roll(state: &mut u64, sides: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
}

#[test]
fn a_damaged_file_is_a_policy_or_a_sentence_with_a_line_of_it() {
    let whole = [
        Policy::builtin("tight").unwrap().to_toml(Network::Host),
        "extends = \"run\"\n[limits]\nmem = \"1G\"\ncpu-time = 1.5\n[files]\nro = [\"/a:/b\"]\ntmpfs = \"/t:4M\"\n[env]\nA = \"b\"\n\
         [[calls]]\nnames = [\"ioctl\"]\nwhen = [\"op & 0xff in [TIOCSTI, 1|2, -1]\", \"fd not in [0, 1]\"]\nanswer = \"refuse\"\nerrno = \"EIO\"\nreason = \"r\"\n"
            .to_owned(),
    ];
    let parts = [
        "\"",
        "[",
        "]",
        "=",
        "\n",
        "0x",
        "|",
        "&",
        "when",
        "in",
        "[[calls]]",
        "é",
        "-",
        "99999999999999999999",
        "\\u0000",
    ];
    let mut state = 42;
    for round in 0..600 {
        let mut text: Vec<char> = whole[usize::from(round % 10 != 0)].chars().collect();
        for _ in 0..=roll(&mut state, 3) {
            let at = roll(&mut state, text.len());
            match roll(&mut state, 4) {
                0 => text.truncate(at),
                1 => drop(text.remove(at)),
                2 => drop(text.splice(at..at, parts[roll(&mut state, parts.len())].chars())),
                _ => {
                    let end = (at + roll(&mut state, 40)).min(text.len());
                    drop(text.drain(at..end));
                }
            }
            if text.is_empty() {
                text.push('\n');
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Policy::parse(&text, "m") {
            let words = error.to_string();
            let line = words.strip_prefix("the policy m, line ").and_then(|rest| rest.split_once(": "));
            let line: usize = line.unwrap_or_else(|| panic!("{words}")).0.parse().unwrap();
            assert!(line >= 1 && line <= text.split('\n').count(), "{text}\n{words}");
            assert!(!words.contains('\n'), "{words}");
        }
    }
}
