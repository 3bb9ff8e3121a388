//! Policy files: a sentence with a line, or a policy whose filters can be compiled, or are refused in a sentence.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::plan::filter::{Setting, compile_for};
use sandbox::spec::calls::Arch;
use sandbox::spec::{Network, Policy};

fuzz_target!(|text: &str| {
    let policy = match Policy::parse(text, "fuzzed.toml") {
        Ok(policy) => policy,
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            let sentence = error.to_string();
            assert!(sentence.starts_with("the policy fuzzed.toml"), "{sentence}");
            assert!(!sentence.contains('\n') && !sentence.contains('\x1b'), "{sentence:?}");
            return;
        }
    };
    for arch in Arch::ALL {
        for network in [Network::None, Network::Blocked, Network::Host] {
            let setting = Setting { network, refuse_memfd: true, notify: true };
            if let Err(error) = compile_for(arch, &policy, setting) {
                assert_eq!(error.exit_code(), 2, "{error}");
            }
        }
    }
    for network in [Network::None, Network::Host] {
        for decision in policy.calls(network).decisions() {
            assert!(!decision.reason.trim().is_empty(), "{} has no reason", decision.call.name());
        }
    }
});
