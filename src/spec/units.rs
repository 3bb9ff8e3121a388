//! Units of what is asked for: bytes, milliseconds, CPU rates. Parsed once, at the border.

use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A number of bytes. `256M`, `256m` and `256MiB` are 2^28; `256MB` is 256 × 10^6; a bare number is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

/// A duration in milliseconds. `1s`, `500ms`, `1.5s`, `2m`, `1h`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

/// A share of CPU time in thousandths of one CPU: `1.5` is 1500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuRate(u32);

/// A limit that may be lifted: `unlimited`, or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap<T> {
    /// At most this much.
    At(T),
    /// No limit of ours.
    Unlimited,
}

/// Why words are no quantity; `Display` is a sentence that names the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUnit(String);

impl fmt::Display for BadUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUnit {}

impl Bytes {
    /// `count` bytes.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// `count` × 2^10 bytes, at most 2^64 − 1.
    pub const fn kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// `count` × 2^20 bytes, at most 2^64 − 1.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Millis {
    /// `count` milliseconds.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// `count` seconds, at most 2^64 − 1 milliseconds.
    pub const fn seconds(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }

    /// The number of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of nanoseconds, at most 2^64 − 1.
    pub const fn nanos(self) -> u64 {
        self.0.saturating_mul(1_000_000)
    }
}

impl CpuRate {
    /// `thousandths` of one CPU.
    pub const fn new(thousandths: u32) -> Self {
        Self(thousandths)
    }

    /// Thousandths of one CPU.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<T: Copy> Cap<T> {
    /// The value, `None` where there is no limit.
    pub fn value(self) -> Option<T> {
        match self {
            Cap::At(value) => Some(value),
            Cap::Unlimited => None,
        }
    }
}

/// A decimal number with at most nine digits after the point, as (whole, billionths).
fn decimal(digits: &str) -> Option<(u64, u64)> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    if digits.contains('.') && fraction.is_empty() {
        return None;
    }
    let billionths = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    Some((whole.parse().ok()?, billionths))
}

/// `number × factor`, rounded down; `None` when it does not fit.
fn scaled((whole, billionths): (u64, u64), factor: u64) -> Option<u64> {
    let total = u128::from(whole) * u128::from(factor) + u128::from(billionths) * u128::from(factor) / 1_000_000_000;
    u64::try_from(total).ok()
}

/// Splits `12.5MiB` into `12.5` and `MiB`.
fn split_suffix(words: &str) -> (&str, &str) {
    let end = words.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(words.len());
    words.split_at(end)
}

impl FromStr for Bytes {
    type Err = BadUnit;

    fn from_str(words: &str) -> Result<Self, BadUnit> {
        let bad = || {
            BadUnit(format!(
                "'{words}' is no size: write a number with K, M, G or T (2^10 …), or KB, MB, GB, TB (10^3 …)"
            ))
        };
        let (digits, suffix) = split_suffix(words);
        let factor: u64 = match suffix.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(bad()),
        };
        let number = decimal(digits).ok_or_else(bad)?;
        if factor == 1 && number.1 != 0 {
            return Err(bad());
        }
        scaled(number, factor).map(Bytes).ok_or_else(|| BadUnit(format!("'{words}' is more than 2^64 - 1 bytes")))
    }
}

impl FromStr for Millis {
    type Err = BadUnit;

    fn from_str(words: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit(format!("'{words}' is no time: write a number of seconds, or one with ms, s, m or h"));
        let (digits, suffix) = split_suffix(words);
        let factor: u64 = match suffix {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        let number = decimal(digits).ok_or_else(bad)?;
        let millis = scaled(number, factor).ok_or_else(|| BadUnit(format!("'{words}' is too long a time")))?;
        if millis == 0 && number != (0, 0) {
            return Err(BadUnit(format!("'{words}' is shorter than one millisecond")));
        }
        Ok(Millis(millis))
    }
}

impl FromStr for CpuRate {
    type Err = BadUnit;

    fn from_str(words: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit(format!("'{words}' is no number of CPUs: write one such as 1, 0.5 or 2"));
        let number = decimal(words).ok_or_else(bad)?;
        let thousandths = scaled(number, 1000).and_then(|n| u32::try_from(n).ok()).ok_or_else(bad)?;
        // The kernel's smallest quota is 1 ms in a period of at most 1 s.
        if thousandths < 10 {
            Err(BadUnit(format!("'{words}' is less than 0.01 CPUs")))
        } else {
            Ok(CpuRate(thousandths))
        }
    }
}

macro_rules! cap_from_str {
    ($($unit:ty),*) => {$(
        impl FromStr for Cap<$unit> {
            type Err = BadUnit;

            fn from_str(words: &str) -> Result<Self, BadUnit> {
                if words == "unlimited" { Ok(Cap::Unlimited) } else { words.parse().map(Cap::At) }
            }
        }
    )*};
}
cap_from_str!(Bytes, Millis, CpuRate);

impl FromStr for Cap<u64> {
    type Err = BadUnit;

    fn from_str(words: &str) -> Result<Self, BadUnit> {
        if words == "unlimited" {
            return Ok(Cap::Unlimited);
        }
        match words.parse() {
            Ok(count) if words.bytes().all(|b| b.is_ascii_digit()) => Ok(Cap::At(count)),
            _ => Err(BadUnit(format!("'{words}' is no count: write a whole number, or 'unlimited'"))),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            let size = 1u64 << shift;
            if self.0 >= size {
                let tenths = (u128::from(self.0) * 10 + u128::from(size) / 2) / u128::from(size);
                return match tenths % 10 {
                    0 => write!(f, "{} {unit}", tenths / 10),
                    tenth => write!(f, "{}.{tenth} {unit}", tenths / 10),
                };
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (0, ms) => write!(f, "{ms} ms"),
            (s, 0) => write!(f, "{s} s"),
            (s, ms) => write!(f, "{s}.{} s", format!("{ms:03}").trim_end_matches('0')),
        }
    }
}

impl fmt::Display for CpuRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => write!(f, "{}.{}", self.0 / 1000, format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Cap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cap::At(value) => value.fmt(f),
            Cap::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// A number in this unit's base as JSON and TOML have it.
trait Number: Copy + FromStr<Err = BadUnit> {
    fn from_number(number: f64, whole: Option<u64>) -> Option<Self>;
    fn number(self) -> serde_json::Number;
}

impl Number for Bytes {
    fn from_number(_: f64, whole: Option<u64>) -> Option<Self> {
        whole.map(Bytes)
    }
    fn number(self) -> serde_json::Number {
        self.0.into()
    }
}

/// In JSON a bare time is seconds, as on the command line.
impl Number for Millis {
    fn from_number(number: f64, whole: Option<u64>) -> Option<Self> {
        match whole {
            Some(seconds) => seconds.checked_mul(1000).map(Millis),
            None => format!("{number}").parse().ok(),
        }
    }
    fn number(self) -> serde_json::Number {
        if self.0.is_multiple_of(1000) {
            (self.0 / 1000).into()
        } else {
            // `unwrap_or` cannot happen: a finite division of a finite number.
            serde_json::Number::from_f64(self.0 as f64 / 1000.0).unwrap_or_else(|| 0.into())
        }
    }
}

impl Number for CpuRate {
    fn from_number(number: f64, _: Option<u64>) -> Option<Self> {
        format!("{number}").parse().ok()
    }
    fn number(self) -> serde_json::Number {
        serde_json::Number::from_f64(f64::from(self.0) / 1000.0).unwrap_or_else(|| 0.into())
    }
}

struct Quantity<T>(std::marker::PhantomData<T>);

impl<T: Number> de::Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text with a unit")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number as f64, Some(number)).ok_or_else(|| E::custom(format!("{number} is out of range")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let whole = u64::try_from(number).map_err(|_| E::custom(format!("{number} is negative")))?;
        self.visit_u64(whole)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        T::from_number(number, None).ok_or_else(|| E::custom(format!("{number} is not allowed here")))
    }

    fn visit_str<E: de::Error>(self, words: &str) -> Result<T, E> {
        words.parse().map_err(E::custom)
    }
}

macro_rules! serde_as_number {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.number().serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Quantity(std::marker::PhantomData))
            }
        }
    )*};
}
serde_as_number!(Bytes, Millis, CpuRate);

impl<T: Serialize> Serialize for Cap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cap::At(value) => value.serialize(serializer),
            Cap::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

struct CapVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for CapVisitor<T> {
    type Value = Cap<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or 'unlimited'")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cap<T>, E> {
        T::deserialize(number.into_deserializer()).map(Cap::At)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cap<T>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(format!("{number} is negative"))),
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cap<T>, E> {
        T::deserialize(number.into_deserializer()).map(Cap::At)
    }

    fn visit_str<E: de::Error>(self, words: &str) -> Result<Cap<T>, E> {
        match words {
            "unlimited" => Ok(Cap::Unlimited),
            _ => T::deserialize(words.into_deserializer()).map(Cap::At),
        }
    }
}

/// `"unlimited"`, or whatever `T` takes; what it does not take is its own complaint.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Cap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CapVisitor(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_unless_they_end_in_b() {
        for (words, bytes) in [
            ("256M", 1 << 28),
            ("256m", 1 << 28),
            ("256MiB", 1 << 28),
            ("256MB", 256_000_000),
            ("7", 7),
            ("1.5k", 1536),
        ] {
            assert_eq!(words.parse(), Ok(Bytes(bytes)), "{words}");
        }
        for words in ["", "M", "-1", "1.", ".5M", "1e3", "1 M", "0.5", "99999999999T", "+1"] {
            assert!(words.parse::<Bytes>().is_err(), "{words}");
        }
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        for (words, ms) in [("1s", 1000), ("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("3", 3000), ("0.25", 250)] {
            assert_eq!(words.parse(), Ok(Millis(ms)), "{words}");
        }
        for words in ["", "s", "-1", "1.5.5", "0.0001s", "1d", "1M"] {
            assert!(words.parse::<Millis>().is_err(), "{words}");
        }
    }

    #[test]
    fn json_numbers_and_texts_mean_what_the_command_line_means() {
        assert_eq!(serde_json::from_str::<Cap<Bytes>>("\"256M\"").unwrap(), Cap::At(Bytes::mib(256)));
        assert_eq!(serde_json::from_str::<Cap<Bytes>>("1024").unwrap(), Cap::At(Bytes(1024)));
        assert_eq!(serde_json::from_str::<Cap<Millis>>("1.5").unwrap(), Cap::At(Millis(1500)));
        assert_eq!(serde_json::from_str::<Cap<Millis>>("\"unlimited\"").unwrap(), Cap::Unlimited);
        assert_eq!(serde_json::to_string(&Millis(1500)).unwrap(), "1.5");
        assert!(serde_json::from_str::<Cap<Bytes>>("-1").is_err());
    }

    #[test]
    fn quantities_read_as_a_person_writes_them() {
        assert_eq!(Bytes::mib(256).to_string(), "256 MiB");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Millis(1500).to_string(), "1.5 s");
        assert_eq!(CpuRate(500).to_string(), "0.5");
    }
}
