//! `OUTSIDE[:INSIDE]` and paths inside: no way upward, one spelling, and what is escaped comes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::spec::{InsidePath, PathPair};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

fn escape(path: &[u8]) -> Vec<u8> {
    path.iter().flat_map(|&byte| if matches!(byte, b':' | b'\\') { vec![b'\\', byte] } else { vec![byte] }).collect()
}

fn check_inside(path: &InsidePath) {
    let bytes = path.as_path().as_os_str().as_bytes();
    assert!(bytes.starts_with(b"/") && !bytes.contains(&0));
    for part in bytes[1..].split(|&byte| byte == b'/') {
        assert!(part != b".." && part != b"." && (!part.is_empty() || bytes == b"/"), "{path:?}");
    }
    assert_eq!(InsidePath::new(path.as_path()).as_ref(), Ok(path));
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(path) = InsidePath::new(OsStr::from_bytes(bytes)) {
        check_inside(&path);
    }
    if let Ok(pair) = PathPair::parse(OsStr::from_bytes(bytes)) {
        assert!(!pair.outside.as_os_str().is_empty());
        let mut words = escape(pair.outside.as_os_str().as_bytes());
        if let Some(inside) = &pair.inside {
            check_inside(inside);
            words.push(b':');
            words.extend(escape(inside.as_path().as_os_str().as_bytes()));
        }
        assert_eq!(PathPair::parse(&OsString::from_vec(words)), Ok(pair));
    }
    // A whole path, escaped, is that path.
    if !bytes.is_empty() {
        let pair = PathPair::parse(&OsString::from_vec(escape(bytes))).expect("an escaped path");
        assert_eq!((pair.outside.as_os_str().as_bytes(), pair.inside), (bytes, None));
    }
});
