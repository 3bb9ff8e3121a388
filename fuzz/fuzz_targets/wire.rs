//! Records of a hostile init: what decodes is spelt in one way only, and what is encoded decodes to itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::wire::{Phase, RECORD_SIZE, Reaped, Record};

/// A record of these words.
fn record(words: [u64; 8]) -> Record {
    let [kind, a, b, c, d, e, f, g] = words;
    let reaped = Reaped { user_us: a, system_us: b, maxrss_kib: c, voluntary: d, involuntary: e };
    match kind % 7 {
        0 => Record::Failed {
            phase: [Phase::Init, Phase::Room, Phase::Payload][(a % 3) as usize],
            step: b as u16,
            detail: c as u16,
            errno: 1 + (d % 4095) as i32,
        },
        1 => Record::Room,
        2 => Record::Listener,
        3 => Record::Ready,
        4 => Record::Exited { wait_status: f as i32, reaped },
        5 => Record::Finished { left_running: g as u32, reaped },
        _ => Record::Watchdog,
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes, "two spellings of {record:?}");
    }
    if let Ok(whole) = <[u8; RECORD_SIZE]>::try_from(bytes) {
        let words = std::array::from_fn(|at| u64::from_le_bytes(std::array::from_fn(|byte| whole[at * 8 + byte])));
        let record = record(words);
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    } else {
        assert!(Record::decode(bytes).is_err(), "another length");
    }
});
