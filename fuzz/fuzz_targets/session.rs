//! A client's whole connection, from bytes to bytes: no panic, an answer for everything, and the
//! same replies however the network cuts the requests.
//!
//! The first two bytes of the data choose whether the node has a lease, and the cut; the rest is
//! what the client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;

use desk::Desk;

#[path = "../../crates/warlock-node/tests/it/desk.rs"]
mod desk;

fuzz_target!(|data: &[u8]| {
    let [selector, step, input @ ..] = data else { return };
    let has_lease = selector % 2 == 0;
    let whole = replies(has_lease, [input]);
    if shows_the_cut(input) {
        return;
    }
    let (left, right) = input.split_at(usize::from(*step) % (input.len() + 1));
    assert_eq!(replies(has_lease, [left, right]), whole);
    assert_eq!(replies(has_lease, input.chunks(usize::from(*step % 8) + 1)), whole);
});

fn replies<'a>(has_lease: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let mut desk = Desk::new(has_lease);
    pieces.into_iter().for_each(|piece| desk.receive(piece));
    desk.end()
}

/// Whether something may be in there of which the answer depends on how the bytes came: what was
/// received so far, the number of the slot or a choice by it, or the marks of a browser that was
/// tricked, at which everything is dropped that still waits.
fn shows_the_cut(input: &[u8]) -> bool {
    let upper = input.to_ascii_uppercase();
    let tellers = ["INFO", "CLIENT", "RANDOMKEY", "ROLE", "WARLOCK", "POST", "HOST:", "HTTP/"];
    let holds = |name: &str| upper.windows(name.len()).any(|window| window == name.as_bytes());
    tellers.into_iter().any(holds)
}
