//! Commands inside a batch of the log.
//!
//! An entry is the database (1 byte), the length of what follows (4 bytes, little-endian) and the
//! request as a RESP array of bulk strings. Entries follow each other without a gap.

use std::fmt;

use warlock_resp::{Progress, Request, RequestLimits, RequestParser, RequestSpans};

/// Appends `request`, to be executed in database `db`, to a batch.
///
/// # Panics
/// If the request takes 4 GiB or more; the limits of the parser keep it below that.
pub fn encode(db: u8, request: &Request<'_>, out: &mut Vec<u8>) {
    out.push(db);
    let length_at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    warlock_resp::encode_request(request.args(), out);
    let length = out.len() - length_at - LENGTH_BYTES;
    let length = u32::try_from(length).expect("limits keep requests below 4 GiB");
    out[length_at..length_at + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Walks the entries of a batch.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Starts at the first entry of `batch`.
    #[must_use]
    pub fn new(batch: &'a [u8]) -> Self {
        Self { rest: batch }
    }

    /// The next database and request, or why there is none; `None` at the end of the batch.
    ///
    /// After an error the walk is over: nobody knows where the next entry starts.
    pub fn next<'s>(
        &mut self,
        spans: &'s mut RequestSpans,
    ) -> Option<Result<(u8, Request<'s>), MalformedEntry>>
    where
        'a: 's,
    {
        if self.rest.is_empty() {
            return None;
        }
        match split(self.rest) {
            Some((db, encoded, rest)) if parses(encoded, spans) => {
                self.rest = rest;
                Some(Ok((db, spans.request(encoded))))
            }
            _ => {
                self.rest = &[];
                Some(Err(MalformedEntry(())))
            }
        }
    }
}

fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&db, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (encoded, rest) = rest.split_at_checked(length)?;
    Some((db, encoded, rest))
}

fn parses(encoded: &[u8], spans: &mut RequestSpans) -> bool {
    let progress = RequestParser::new(RequestLimits::CEILING).parse(encoded, spans);
    let whole = Ok(Progress::Complete { consumed: encoded.len() });
    progress == whole && !spans.is_inline()
}

/// The bytes of a batch are not entries: a bug or corruption that a checksum did not catch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedEntry(());

impl fmt::Display for MalformedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch holds bytes that are not an entry")
    }
}

impl std::error::Error for MalformedEntry {}

const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(db: u8, words: &[&str]) -> Vec<u8> {
        let mut plain = Vec::new();
        warlock_resp::encode_request(words.iter().map(|word| word.as_bytes()), &mut plain);
        let mut spans = RequestSpans::default();
        assert!(parses(&plain, &mut spans));
        let mut out = Vec::new();
        encode(db, &spans.request(&plain), &mut out);
        out
    }

    #[test]
    fn entries_come_back_in_order() {
        let mut batch = encoded(0, &["SET", "k", ""]);
        batch.extend(encoded(15, &["DEL", "k"]));
        let mut spans = RequestSpans::default();
        let mut entries = Entries::new(&batch);
        let (db, request) = entries.next(&mut spans).unwrap().unwrap();
        assert_eq!((db, &request[0], &request[2]), (0, &b"SET"[..], &b""[..]));
        let (db, request) = entries.next(&mut spans).unwrap().unwrap();
        assert_eq!((db, &request[1]), (15, &b"k"[..]));
        assert!(entries.next(&mut spans).is_none());
    }

    #[test]
    fn every_cut_is_malformed_and_ends_the_walk() {
        let batch = encoded(3, &["SET", "key", "value"]);
        for length in 1..batch.len() {
            let mut spans = RequestSpans::default();
            let mut entries = Entries::new(&batch[..length]);
            let first = entries.next(&mut spans).expect("bytes remain");
            assert!(first.is_err(), "cut at {length}");
            assert!(entries.next(&mut spans).is_none());
        }
    }

    #[test]
    fn an_inline_request_is_no_entry() {
        let mut batch = vec![0];
        batch.extend_from_slice(&6u32.to_le_bytes());
        batch.extend_from_slice(b"PING\r\n");
        let mut spans = RequestSpans::default();
        assert!(Entries::new(&batch).next(&mut spans).unwrap().is_err());
    }
}
