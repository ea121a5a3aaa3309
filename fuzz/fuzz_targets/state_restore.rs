//! Chunks of a snapshot that something wrote into: they are refused and change nothing, or make a
//! state that has the digest its header claims and that can itself be saved and restored.
//!
//! The first byte of the data chooses: changes of a good snapshot (three bytes each: the chunk,
//! where in it, and what is combined with the byte there), or chunks made up (a length byte each).
#![no_main]

use libfuzzer_sys::fuzz_target;
use warlock_resp::{Protocol, ReplyWriter};
use warlock_store::conformance::with_request;
use warlock_store::{Applier, Options, Reader, RestoreError};

fuzz_target!(|data: &[u8]| {
    let [selector, input @ ..] = data else { return };
    let (mut source, _) = filled();
    let mut chunks: Vec<Vec<u8>> = source.snapshot().collect();
    if selector % 2 == 0 {
        input.chunks_exact(3).for_each(|change| damage(&mut chunks, change));
    } else {
        chunks = made_up(input, &chunks[0]);
    }
    let (mut applier, reader) = filled();
    apply(&mut applier, 4, &[b"SET", b"own", b"1"]);
    let before = reader.checkpoint();
    let Ok(()) = restore(&mut applier, &chunks) else {
        assert_eq!(reader.checkpoint(), before, "a refused snapshot changes nothing");
        return;
    };
    let after = reader.checkpoint();
    assert_eq!(chunks[0][HEADER_DIGEST..HEADER_DIGEST + 8], after.digest.to_le_bytes());
    let again: Vec<Vec<u8>> = applier.snapshot().collect();
    let (mut copy, copy_reader) = empty();
    restore(&mut copy, &again).expect("a replica wrote it");
    assert_eq!(copy_reader.checkpoint(), after);
});

fn restore(applier: &mut Applier, chunks: &[Vec<u8>]) -> Result<(), RestoreError> {
    applier.begin_restore();
    for chunk in chunks {
        applier.restore_chunk(chunk)?;
    }
    applier.finish_restore()
}

fn damage(chunks: &mut [Vec<u8>], change: &[u8]) {
    let [chunk, offset, mask] = *change else { return };
    let chunk = usize::from(chunk) % chunks.len();
    let length = chunks[chunk].len();
    chunks[chunk][usize::from(offset) % length] ^= mask;
}

/// A good header, then whatever the data says: a fuzzer does not guess the seed of the hash.
fn made_up(mut input: &[u8], header: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = vec![header.to_vec()];
    while let [length, rest @ ..] = input {
        let (chunk, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        chunks.push(chunk.to_vec());
        input = rest;
    }
    chunks
}

fn filled() -> (Applier, Reader) {
    let (mut applier, reader) = empty();
    apply(&mut applier, 1, &[b"SET", b"key", b"value"]);
    apply(&mut applier, 2, &[b"SET", b"brief", b"", b"PX", b"9000"]);
    apply(&mut applier, 3, &[b"MSET", b"a", b"1", b"b", b"2"]);
    (applier, reader)
}

fn apply(applier: &mut Applier, slot: u64, words: &[&[u8]]) {
    applier.begin_batch(slot, 1_700_000_000_000_000 + slot, slot);
    assert!(applier.admit(1, 9, slot));
    let mut reply = Vec::new();
    let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp2);
    with_request(words, |request| applier.apply(0, request, &mut writer));
    applier.end_batch();
}

fn empty() -> (Applier, Reader) {
    warlock_store::new(Options { hash_seed: 42, shards: 4 })
}

/// Where the digest stands in the chunk of the header: behind kind, version, slot and log time.
const HEADER_DIGEST: usize = 1 + 2 + 8 + 8;
