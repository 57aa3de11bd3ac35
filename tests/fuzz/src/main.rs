//! The fuzzer of the target that `EGRESS_FUZZ_TARGET` names. Built and run by `cargo xtask test fuzz`.
#![no_main]

use std::sync::OnceLock;

use egress_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

/// Names the target.
const TARGET: &str = "EGRESS_FUZZ_TARGET";
/// Only says how long the target's inputs may be.
const LONGEST: &str = "EGRESS_FUZZ_LONGEST";

/// The target that is fuzzed.
fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var(TARGET).unwrap_or_default();
        target(&name).unwrap_or_else(|| {
            eprintln!("{TARGET} names no target: \"{name}\"");
            std::process::exit(2)
        })
    })
}

fuzz_target!(
    init: {
        let target = chosen();
        if std::env::var_os(LONGEST).is_some() {
            println!("{}", target.longest);
            std::process::exit(0);
        }
    },
    |input: &[u8]| (chosen().run)(input)
);
