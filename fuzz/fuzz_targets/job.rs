//! Jobs in JSON: a sentence, or a spec that is written and read again as the same; and every spec is a job.

#![no_main]

#[path = "../../tests/order/arbitrary.rs"]
mod arbitrary;
#[path = "../../tests/order/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use sandbox::Spec;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(spec) = serde_json::from_slice::<Spec>(bytes) {
        properties::check_round_trip(&spec);
    }
    properties::check_round_trip(&arbitrary::Choices::new(bytes).spec());
});
