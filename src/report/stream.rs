//! A captured stream: small ones in memory, large ones in an anonymous file, so that a launcher stays small.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What a program wrote to a stream, exact to the byte.
#[derive(Debug)]
pub struct Captured {
    bytes: u64,
    truncated: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Memory(Vec<u8>),
    /// A memfd of ours and its length.
    Spooled(File, u64),
}

/// A multiple of 3, so that base64 pieces join without padding.
const PIECE: usize = 48 * 1024;

impl Captured {
    /// `kept` are the first of the `bytes` that were written.
    pub(crate) fn in_memory(kept: Vec<u8>, bytes: u64, truncated: bool) -> Self {
        Captured { bytes, truncated, content: Content::Memory(kept) }
    }

    /// The same, in the first `kept` bytes of a file that nobody else writes.
    pub(crate) fn spooled(file: File, kept: u64, bytes: u64, truncated: bool) -> Self {
        Captured { bytes, truncated, content: Content::Spooled(file, kept) }
    }

    /// How many bytes the program wrote, as far as they were read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them are here.
    pub fn kept(&self) -> u64 {
        match &self.content {
            Content::Memory(kept) => kept.len() as u64,
            Content::Spooled(_, kept) => *kept,
        }
    }

    /// Whether the output limit cut it off.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// All kept bytes.
    ///
    /// # Errors
    /// Reading the spool file failed.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        match &self.content {
            Content::Memory(kept) => Ok(kept.clone()),
            Content::Spooled(file, kept) => {
                let mut all = vec![0; usize::try_from(*kept).map_err(std::io::Error::other)?];
                file.read_exact_at(&mut all, 0)?;
                Ok(all)
            }
        }
    }

    /// Calls `each` with consecutive pieces; all but the last are `PIECE` bytes long.
    fn pieces(&self, mut each: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        match &self.content {
            Content::Memory(kept) => kept.chunks(PIECE).try_for_each(each),
            Content::Spooled(file, kept) => {
                let mut buffer = vec![0; PIECE];
                let mut at = 0;
                while at < *kept {
                    let length = PIECE.min((*kept - at) as usize);
                    file.read_exact_at(&mut buffer[..length], at)?;
                    each(&buffer[..length])?;
                    at += length as u64;
                }
                Ok(())
            }
        }
    }

    /// Calls `each` with consecutive texts; an error of kind `InvalidData` where the bytes are no UTF-8.
    fn texts(&self, mut each: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut pending: Vec<u8> = Vec::new();
        let no_text = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        self.pieces(|piece| {
            pending.extend_from_slice(piece);
            let valid = match std::str::from_utf8(&pending) {
                Ok(_) => pending.len(),
                // A character may go on in the next piece.
                Err(e) if e.error_len().is_none() => e.valid_up_to(),
                Err(_) => return Err(no_text()),
            };
            each(std::str::from_utf8(&pending[..valid]).map_err(|_| no_text())?)?;
            pending.drain(..valid);
            Ok(())
        })?;
        if pending.is_empty() { Ok(()) } else { Err(no_text()) }
    }
}

/// Writes the text piece by piece, so that 16 MiB of output are not held twice.
struct Text<'a>(&'a Captured);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.texts(|text| f.write_str(text).map_err(std::io::Error::other)).map_err(|_| fmt::Error)
    }
}

struct Base64<'a>(&'a Captured);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |piece: &[u8]| f.write_str(&BASE64.encode(piece)).map_err(std::io::Error::other);
        self.0.pieces(write).map_err(|_| fmt::Error)
    }
}

impl Serialize for Captured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Streamed<T>(T);
        impl<T: fmt::Display> Serialize for Streamed<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        let is_text = self.texts(|_| Ok(())).is_ok();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.serialize_entry("kept", &self.kept())?;
        map.serialize_entry("truncated", &self.truncated)?;
        if is_text {
            map.serialize_entry("text", &Streamed(Text(self)))?;
        } else {
            map.serialize_entry("base64", &Streamed(Base64(self)))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Captured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            bytes: u64,
            truncated: bool,
            text: Option<String>,
            base64: Option<String>,
        }
        let raw = Raw::deserialize(deserializer)?;
        let kept = match (raw.text, raw.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => BASE64.decode(base64).map_err(serde::de::Error::custom)?,
            _ => return Err(serde::de::Error::custom("a stream has either text or base64")),
        };
        Ok(Captured::in_memory(kept, raw.bytes, raw.truncated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn spooled(bytes: &[u8]) -> Captured {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Captured::spooled(file, bytes.len() as u64, bytes.len() as u64, false)
    }

    #[test]
    fn text_is_text_even_where_a_character_spans_two_pieces() {
        let mut text = "x".repeat(PIECE - 1);
        text.push('é');
        let json = serde_json::to_string(&spooled(text.as_bytes())).unwrap();
        let back: Captured = serde_json::from_str(&json).unwrap();
        assert_eq!(back.read().unwrap(), text.as_bytes());
        assert!(json.contains("\"text\""));
    }

    #[test]
    fn other_bytes_are_base64_and_exact() {
        for bytes in [vec![0xff; PIECE + 1], vec![0xff, 0xfe], "é".as_bytes()[..1].to_vec()] {
            let json = serde_json::to_string(&spooled(&bytes)).unwrap();
            let back: Captured = serde_json::from_str(&json).unwrap();
            assert_eq!(back.read().unwrap(), bytes);
            assert!(json.contains("\"base64\""));
        }
    }
}
