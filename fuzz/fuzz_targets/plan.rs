//! Any wish on any machine: the plan keeps the one order, has a row for every limit, shows nothing that nobody asked for;
//! or it is refused in a sentence.

#![no_main]

#[path = "../../tests/order/arbitrary.rs"]
mod arbitrary;
#[path = "../../tests/order/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = arbitrary::Choices::new(bytes);
    let (spec, host) = (choices.spec(), choices.host());
    properties::check(&spec, &host);
});
