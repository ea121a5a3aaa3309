//! Bytes of a hostile or damaged peer: no panic, no unbounded memory, and what was understood is
//! written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_paxos::{decode, encode};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = decode(data) else { return };
    let mut bytes = Vec::new();
    encode(&message, &mut bytes);
    assert_eq!(decode(&bytes), Ok(message));
});
