//! Bytes of a hostile or damaged peer: no panic, no unbounded memory, and what was understood is
//! written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_paxos::{decode, encode_in};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = decode(data) else { return };
    let mut bytes = Vec::new();
    assert!(encode_in(data[0], &message, &mut bytes), "its version has it");
    assert_eq!(bytes, data, "there is one encoding in each version");
    assert_eq!(decode(&bytes), Ok(message));
});
