//! What the store costs in memory, counted by the allocator.
//!
//! A program of its own, because its allocator counts.

use allocation_counter::measure;
use warlock_resp::{Protocol, ReplyWriter};
use warlock_store::conformance::with_request;
use warlock_store::{Applier, Options, ReadOutcome, Reader};

const NOW_US: u64 = 1_700_000_000_000_000;
const KEYS: u64 = 1_000_000;
/// Bytes of a key and its value.
const PAYLOAD: u64 = 16 + 16;
/// Bytes beyond key and value that a key may cost.
const OVERHEAD_MAX: u64 = 80;
/// The system allocator puts 8 bytes before each block and rounds to 16.
const BLOCK_HEADER: u64 = 8;
const BLOCK_UNIT: u64 = 16;

fn store() -> (Applier, Reader) {
    warlock_store::new(Options { hash_seed: 1, ..Options::default() })
}

/// Applies a batch of one command and gives its reply to `look`.
fn apply(applier: &mut Applier, slot: u64, words: &[&[u8]], out: &mut Vec<u8>) {
    applier.begin_batch(slot, NOW_US, slot);
    with_request(words, |request| {
        applier.apply(0, request, &mut ReplyWriter::new(out, Protocol::Resp2));
    });
    applier.end_batch();
}

fn fill(applier: &mut Applier, keys: u64, deadline: &[&[u8]]) {
    let mut out = Vec::with_capacity(1024);
    for key in 0..keys {
        let (name, value) = (format!("key:{key:012}"), format!("value:{key:010}"));
        let mut words: Vec<&[u8]> = vec![b"SET", name.as_bytes(), value.as_bytes()];
        words.extend(deadline);
        apply(applier, key + 1, &words, &mut out);
        assert_eq!(out, b"+OK\r\n");
        out.clear();
    }
}

/// Bytes that the allocator takes for the items of `keys` keys, each of `length` bytes.
fn blocks(keys: u64, length: u64) -> u64 {
    keys * (length + BLOCK_HEADER).next_multiple_of(BLOCK_UNIT)
}

#[test]
fn a_key_costs_at_most_eighty_bytes_beyond_key_and_value() {
    let mut held = None;
    let empty = measure(|| held = Some(store()));
    let (mut applier, reader) = held.take().expect("just made");
    let full = measure(|| fill(&mut applier, KEYS, &[]));
    assert_eq!(reader.keys(0), KEYS);

    let total = u64::try_from(empty.bytes_current + full.bytes_current).expect("memory is held");
    // A header of 4 bytes makes the item; what is not items is tables.
    let item = PAYLOAD + 4;
    let tables = total - KEYS * item;
    let overhead = (tables + blocks(KEYS, item) - KEYS * PAYLOAD) / KEYS;
    println!("{overhead} bytes beyond key and value, {} of them tables", tables / KEYS);
    assert!(overhead <= OVERHEAD_MAX, "{overhead} bytes beyond key and value");

    let reported = reader.used_bytes();
    let difference = total.abs_diff(reported);
    assert!(difference < total / 50, "{reported} bytes reported, {total} held");
}

#[test]
fn a_deadline_costs_no_more_than_another_key() {
    let (mut applier, reader) = store();
    let full = measure(|| fill(&mut applier, 100_000, &[b"EX", b"100"]));
    assert_eq!(reader.keys_with_expiry(0), 100_000);
    let each = u64::try_from(full.bytes_current).expect("memory is held") / 100_000;
    println!("{each} bytes for a volatile key");
    assert!(each < PAYLOAD + 2 * OVERHEAD_MAX, "{each} bytes for a volatile key");
}

#[test]
fn what_is_deleted_is_given_back() {
    let (mut applier, reader) = store();
    let all = measure(|| {
        fill(&mut applier, 50_000, &[b"EX", b"100"]);
        let mut out = Vec::new();
        for key in 0..50_000u64 {
            let name = format!("key:{key:012}");
            apply(&mut applier, 50_001 + key, &[b"DEL", name.as_bytes()], &mut out);
            out.clear();
        }
    });
    assert_eq!(reader.keys(0), 0);
    assert!(all.bytes_current < 1024, "{} bytes are left", all.bytes_current);
}

#[test]
fn a_get_allocates_nothing_and_a_set_its_item() {
    let (mut applier, reader) = store();
    fill(&mut applier, 1_000, &[]);
    let mut out = Vec::with_capacity(1024);
    let mut slot = 1_001;
    let mut count = |words: &[&[u8]]| {
        out.clear();
        with_request(words, |request| {
            applier.begin_batch(slot, NOW_US, slot);
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            let applied = measure(|| {
                applier.apply(0, request, &mut reply);
                applier.end_batch();
            });
            slot += 1;
            applied.count_total
        })
    };
    assert_eq!(count(&[b"SET", b"key:000000000007", b"value:0000000007"]), 0, "in place");
    assert_eq!(count(&[b"SET", b"key:000000000007", b"longer than it was"]), 1, "the item");
    assert_eq!(count(&[b"INCR", b"number"]), 1, "the item");
    assert_eq!(count(&[b"INCR", b"number"]), 0, "in place");
    assert_eq!(count(&[b"GET", b"key:000000000008"]), 0);

    for words in [[&b"GET"[..], b"key:000000000008"], [b"GET", b"missing"], [b"TTL", b"number"]] {
        let mut out = Vec::with_capacity(1024);
        with_request(&words, |request| {
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            let read = measure(|| {
                let outcome = reader.read(0, request, NOW_US, &mut reply);
                assert_eq!(outcome, ReadOutcome::Done);
            });
            assert_eq!(read.count_total, 0, "{words:?}");
        });
    }
}
