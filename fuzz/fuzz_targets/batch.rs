//! A batch that a peer or a disk made up: refused, or walked to its end without a panic, and what
//! was understood is written again as the same bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use warlock_paxos::Batch;
use warlock_resp::RequestSpans;
use warlock_store::entry::{self, Entries};

fuzz_target!(|data: &[u8]| {
    check_entries(data);
    let Ok(batch) = Batch::from_bytes(Bytes::copy_from_slice(data)) else { return };
    let proposals = batch.proposals();
    let again = Batch::new(batch.stamp(), &proposals);
    assert!(again.is_same(&batch), "one encoding for one content");
    assert!(batch.to_string().starts_with('['));
    for proposal in &proposals {
        check_entries(&proposal.commands);
    }
});

/// Walks `bytes` as the commands of a proposal.
fn check_entries(bytes: &[u8]) {
    let mut spans = RequestSpans::default();
    let mut entries = Entries::new(bytes);
    let mut again = Vec::new();
    let mut is_malformed = false;
    while let Some(next) = entries.next(&mut spans) {
        assert!(!is_malformed, "nothing follows what is malformed");
        match next {
            Ok((db, request)) => entry::encode(db, &request, &mut again),
            Err(_) => is_malformed = true,
        }
    }
    assert!(bytes.starts_with(&again), "one encoding for one entry");
    assert_eq!(again.len() == bytes.len(), !is_malformed);
}
