//! Reports that come back from elsewhere: a word that is no report is an error, and a report is written as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::Report;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(report) = serde_json::from_slice::<Report>(bytes) else { return };
    let written: Value = serde_json::to_value(&report).expect("a report is JSON");
    let again: Report = serde_json::from_value(written.clone()).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("a report is JSON"), written);
});
