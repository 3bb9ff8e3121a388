//! The one legal order of the lockdown, and what else is true of every plan: a hundred thousand random wishes on random
//! machines, the same ones each time.

#[path = "order/arbitrary.rs"]
mod arbitrary;
#[path = "order/properties.rs"]
mod properties;

use arbitrary::Choices;
use sandbox::plan::Step;

/// How many plans; the fuzz target `plan` looks further.
const PLANS: u64 = 20_000;

/// The bytes of case `number` (splitmix64).
fn bytes(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..64).flat_map(|_| next().to_le_bytes()).collect()
}

#[test]
fn every_plan_locks_down_in_the_one_legal_order() {
    let mut plans = 0;
    for number in 0..PLANS {
        let bytes = bytes(number);
        let mut choices = Choices::new(&bytes);
        let (spec, host) = (choices.spec(), choices.host());
        properties::check(&spec, &host);
        plans += u64::from(sandbox::plan(&spec, &host).is_ok());
    }
    assert!(plans > PLANS / 20, "only {plans} of {PLANS} wishes came to a plan");
}

#[test]
fn every_spec_survives_as_a_job() {
    for number in 0..PLANS {
        properties::check_round_trip(&Choices::new(&bytes(number)).spec());
    }
}

/// The check of the check: a lockdown with any two steps in the other order, or one left out, is noticed.
#[test]
fn a_lockdown_in_another_order_is_noticed() {
    let spec = sandbox::Spec::new(["true"]);
    let mut host = Choices::new(&[]).host();
    (host.landlock_abi, host.uid) = (7, 1000);
    let plan = sandbox::plan(&spec, &host).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(properties::check_lockdown(&plan), Ok(()));
    let noticed = |plan: &sandbox::Plan| properties::check_lockdown(plan).is_err();
    let resource = |step: &Step| matches!(step, Step::Rlimit { .. });
    for index in 0..plan.payload.len() {
        let mut swapped = plan.clone();
        if let (here, Some(next)) = (&plan.payload[index], plan.payload.get(index + 1))
            && !(resource(here) && resource(next))
        {
            swapped.payload.swap(index, index + 1);
            assert!(noticed(&swapped), "steps {index} and the next in the other order are not noticed");
        }
        let mut without = plan.clone();
        let gone = without.payload.remove(index);
        assert!(resource(&gone) || noticed(&without), "step {index} left out is not noticed");
    }
}
