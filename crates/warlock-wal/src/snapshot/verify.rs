//! Verifying the bytes of a snapshot as they come, from a disk or from a peer.

use bytes::Bytes;

use super::format::{self, CHUNK_HEAD_LENGTH, FOOTER_LENGTH, HEADER_LENGTH, Header, Tally};
use super::{SnapshotError, SnapshotMeta};
use crate::limits::SNAPSHOT_CHUNK_BYTES_MAX;

/// Says how many bytes it needs next, takes them, and gives the chunks among them.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Length of the whole, in bytes.
    length: u64,
    meta: Option<SnapshotMeta>,
    tally: Tally,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    /// The rest of the header, of which this came.
    Header(Vec<u8>),
    Head,
    /// The chunk with this head.
    Chunk([u8; CHUNK_HEAD_LENGTH]),
    Footer,
    Nothing,
}

/// What is wrong with the bytes.
#[derive(Debug)]
pub(super) enum Flaw {
    /// They are not what was written, from here on.
    Damaged(u64),
    /// They are of a later version of the format.
    Newer(u32),
}

impl Flaw {
    pub(super) fn of(self, file: &str) -> SnapshotError {
        let file = file.to_owned();
        match self {
            Self::Damaged(offset) => SnapshotError::Damaged { file, offset },
            Self::Newer(version) => SnapshotError::NewerVersion { file, version },
        }
    }
}

impl Verifier {
    /// For a snapshot of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        let next = Next::Header(Vec::with_capacity(HEADER_LENGTH));
        Self { length, meta: None, tally: Tally::new(0, 0), next }
    }

    /// What the snapshot says about itself, once its header is verified.
    pub(super) const fn meta(&self) -> Option<&SnapshotMeta> {
        self.meta.as_ref()
    }

    /// How far it is verified, in bytes.
    pub(super) const fn verified(&self) -> u64 {
        self.tally.length
    }

    /// Whether all of it is verified.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// How many bytes have to come next; none once all of it is verified.
    pub(super) fn needs(&self) -> usize {
        match &self.next {
            Next::Header(part) => {
                format::header_length(part).unwrap_or(HEADER_LENGTH).saturating_sub(part.len())
            }
            Next::Head => CHUNK_HEAD_LENGTH,
            Next::Chunk(head) => length(*head),
            Next::Footer => FOOTER_LENGTH,
            Next::Nothing => 0,
        }
    }

    /// Takes the bytes that it needs; gives them back if they are a chunk in order.
    ///
    /// # Panics
    /// If there are fewer or more of them.
    pub(super) fn take(&mut self, bytes: Bytes) -> Result<Option<Bytes>, Flaw> {
        assert_eq!(bytes.len(), self.needs(), "bytes of a snapshot are taken as they are needed");
        match &mut self.next {
            Next::Header(part) => {
                part.extend_from_slice(&bytes);
                self.take_header()?;
            }
            Next::Head => {
                let head = *bytes.first_chunk().ok_or(Flaw::Damaged(self.tally.length))?;
                self.take_head(head)?;
            }
            Next::Chunk(head) => {
                let (expected, after) = self.tally.chunk(&bytes);
                if *head != expected {
                    return Err(Flaw::Damaged(self.tally.length));
                }
                (self.tally, self.next) = (after, Next::Head);
                return Ok(Some(bytes));
            }
            Next::Footer => {
                let end = self.tally.length + FOOTER_LENGTH as u64;
                if *bytes != self.tally.footer() || end != self.length {
                    return Err(Flaw::Damaged(self.tally.length));
                }
                self.next = Next::Nothing;
            }
            Next::Nothing => {}
        }
        Ok(None)
    }

    fn take_header(&mut self) -> Result<(), Flaw> {
        let Next::Header(part) = &self.next else { return Ok(()) };
        let length = format::header_length(part).ok_or(Flaw::Damaged(0))?;
        if part.len() == length {
            (self.meta, self.tally) = match format::decode_header(part) {
                Header::Good(meta, tally) => (Some(meta), tally),
                Header::Newer(version) => return Err(Flaw::Newer(version)),
                Header::Damaged => return Err(Flaw::Damaged(0)),
            };
            self.next = Next::Head;
        }
        Ok(())
    }

    /// The head of an empty chunk comes last, before the footer.
    fn take_head(&mut self, head: [u8; CHUNK_HEAD_LENGTH]) -> Result<(), Flaw> {
        let (start, length) = (self.tally.length, length(head));
        let end = start + (CHUNK_HEAD_LENGTH + length) as u64;
        if length > SNAPSHOT_CHUNK_BYTES_MAX || end > self.length {
            return Err(Flaw::Damaged(start));
        }
        if length > 0 {
            self.next = Next::Chunk(head);
            return Ok(());
        }
        let (expected, after) = self.tally.chunk(&[]);
        if head != expected {
            return Err(Flaw::Damaged(start));
        }
        (self.tally, self.next) = (after, Next::Footer);
        Ok(())
    }
}

/// The length of the chunk with this head.
const fn length(head: [u8; CHUNK_HEAD_LENGTH]) -> usize {
    let [a, b, c, d, ..] = head;
    u32::from_le_bytes([a, b, c, d]) as usize
}
