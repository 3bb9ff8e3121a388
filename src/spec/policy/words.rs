//! The words of policy files: the errnos that a policy can answer, and the known word nearest to a mistyped one.

/// The known word that `word` was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let near = |known: &str| strsim::damerau_levenshtein(&word, &known.to_ascii_lowercase());
    // A third of the letters may be wrong: `opne`, `getrandm`; not `foo` for `fork`.
    let (distance, best) = known.into_iter().map(|known| (near(known), known)).min()?;
    (word.len() < 64 && distance <= word.len().div_ceil(3)).then_some(best)
}

// The same numbers on every architecture of ours.

const ERRNOS: [(&str, u16); 47] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("ENOEXEC", 8),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("EXDEV", 18),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EISDIR", 21),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("ESPIPE", 29),
    ("EROFS", 30),
    ("EMLINK", 31),
    ("EPIPE", 32),
    ("EDOM", 33),
    ("ERANGE", 34),
    ("ENAMETOOLONG", 36),
    ("ENOSYS", 38),
    ("ELOOP", 40),
    ("ENODATA", 61),
    ("EOVERFLOW", 75),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("ESOCKTNOSUPPORT", 94),
    ("EOPNOTSUPP", 95),
    ("EPFNOSUPPORT", 96),
    ("EAFNOSUPPORT", 97),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
];

/// Its number.
pub(crate) fn number(name: &str) -> Option<u16> {
    ERRNOS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Its name.
pub(crate) fn name(number: u16) -> Option<&'static str> {
    ERRNOS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ERRNOS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        assert_eq!(nearest("opne", ["open", "pipe"]), Some("open"));
        assert_eq!(nearest("einval", names()), Some("EINVAL"));
        assert_eq!(nearest("quux", names()), None);
        assert_eq!(nearest("", names()), None);
    }

    #[test]
    fn errnos_have_the_kernels_numbers() {
        for name in names() {
            assert_eq!(crate::error::errno_name(number(name).unwrap().into()), name);
            assert_eq!(super::name(number(name).unwrap()), Some(name));
        }
    }
}
