//! Sizes, times, rates and CPU lists, against a plain reading of the same words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::spec::{CpuRate, CpuSet};
use sandbox::{Bytes, Cap, Millis};

/// `12.5` × factor, rounded down, by schoolbook; `None` for what is no number, has too many places, or does not fit.
fn number(digits: &str, factor: u128) -> Option<u128> {
    let (whole, fraction) = match digits.split_once('.') {
        None => (digits, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.trim_start_matches('0').parse().or(if whole.chars().all(|c| c == '0') { Ok(0) } else { Err(()) }).ok()?;
    let places = 10u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    (whole <= u128::from(u64::MAX)).then_some(())?;
    let all = whole * factor + fraction * factor / places;
    (all <= u128::from(u64::MAX)).then_some(all)
}

fn split(words: &str) -> (&str, &str) {
    let end = words.char_indices().find(|(_, c)| !c.is_ascii_digit() && *c != '.').map_or(words.len(), |(at, _)| at);
    (&words[..end], &words[end..])
}

fn size(words: &str) -> Option<u128> {
    let (digits, unit) = split(words);
    let (power, ten) = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => {
            let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
            return number(digits, 1).filter(|_| fraction.chars().all(|c| c == '0'));
        }
        "k" | "kib" => (1, false),
        "m" | "mib" => (2, false),
        "g" | "gib" => (3, false),
        "t" | "tib" => (4, false),
        "kb" => (1, true),
        "mb" => (2, true),
        "gb" => (3, true),
        "tb" => (4, true),
        _ => return None,
    };
    number(digits, if ten { 1000u128.pow(power) } else { 1024u128.pow(power) })
}

fn time(words: &str) -> Option<u128> {
    let (digits, unit) = split(words);
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    let nothing = digits.chars().all(|c| c == '0' || c == '.');
    number(digits, factor).filter(|millis| *millis > 0 || nothing)
}

fuzz_target!(|words: &str| {
    let parsed = words.parse::<Bytes>();
    assert_eq!(parsed.as_ref().ok().map(|bytes| u128::from(bytes.get())), size(words), "size '{words}'");
    if let Ok(bytes) = parsed {
        assert_eq!(bytes.get().to_string().parse(), Ok(bytes));
        assert!(!bytes.to_string().is_empty());
        assert_eq!(words.parse(), Ok(Cap::At(bytes)));
    }
    let parsed = words.parse::<Millis>();
    assert_eq!(parsed.as_ref().ok().map(|time| u128::from(time.get())), time(words), "time '{words}'");
    if let Ok(time) = parsed {
        assert_eq!(format!("{}ms", time.get()).parse(), Ok(time));
        assert!(time.nanos() >= time.get());
    }
    if let Ok(rate) = words.parse::<CpuRate>() {
        assert!(rate.get() >= 10);
        assert_eq!(rate.to_string().parse(), Ok(rate));
    }
    if let Ok(set) = words.parse::<CpuSet>() {
        assert!(set.cpus().windows(2).all(|pair| pair[0] < pair[1]) && !set.cpus().is_empty());
        assert_eq!(set.to_string().parse(), Ok(set));
    }
    if let Ok(Cap::At(count)) = words.parse::<Cap<u64>>() {
        assert_eq!(words.trim_start_matches('0'), count.to_string().trim_start_matches('0'));
    }
    for sentence in [words.parse::<Bytes>().err().map(|e| e.to_string()), words.parse::<Millis>().err().map(|e| e.to_string())] {
        assert!(sentence.is_none_or(|sentence| sentence.contains(words)), "the sentence does not name the words");
    }
});
