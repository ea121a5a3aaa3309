//! Bytes of the parts of a snapshot file.

use bytes::{Buf, BufMut};
use warlock_paxos::{Ballot, LogTime, NodeId, Slot, View};

use super::SnapshotMeta;
use crate::limits::MEMBERSHIP_BYTES_MAX;

/// Newest version of the snapshot format that this program knows.
pub(super) const VERSION: u32 = VERSION_WITH_MEMBERSHIP;

/// Version of a snapshot in which the membership of the settings is in force.
const VERSION_ALONE: u32 = 1;

/// Version of a snapshot that says which membership is in force: a program that knows nothing of
/// that must not start from it.
const VERSION_WITH_MEMBERSHIP: u32 = 2;

/// Length of the header without the membership in bytes.
pub(super) const HEADER_LENGTH: usize = 8 + 4 + 4 + 8 + 24 + 8 + 4;
/// Length and checksum before each chunk, in bytes.
pub(super) const CHUNK_HEAD_LENGTH: usize = 4 + 4;
/// Length of the footer in bytes.
pub(super) const FOOTER_LENGTH: usize = 8 + 8 + 8 + 4 + 4;

const MAGIC: &[u8; 8] = b"WLKsnaps";
const FOOTER_MAGIC: &[u8; 8] = b"WLKsnend";

/// Checks that a file holds the chunks that were written, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Bytes from the start of the file.
    pub(super) length: u64,
    chunks: u64,
    /// Checksum over the checksums of header and chunks.
    checksum: u32,
}

impl Tally {
    /// After the header, which has this checksum.
    pub(super) fn new(header_length: u64, header_checksum: u32) -> Self {
        Self {
            length: header_length,
            chunks: 0,
            checksum: crc32c::crc32c(&header_checksum.to_le_bytes()),
        }
    }

    /// The head of the next chunk, and the tally after that chunk.
    pub(super) fn chunk(self, bytes: &[u8]) -> ([u8; CHUNK_HEAD_LENGTH], Self) {
        let length = u32::try_from(bytes.len()).expect("a chunk is limited");
        let mut numbered = [0; 12];
        numbered[..8].copy_from_slice(&self.chunks.to_le_bytes());
        numbered[8..].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&numbered), bytes).to_le_bytes();
        let mut head = [0; CHUNK_HEAD_LENGTH];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&checksum);
        let next = Self {
            length: self.length + (CHUNK_HEAD_LENGTH + bytes.len()) as u64,
            chunks: self.chunks + 1,
            checksum: crc32c::crc32c_append(self.checksum, &checksum),
        };
        (head, next)
    }

    /// The footer after the last chunk, which is an empty one.
    pub(super) fn footer(self) -> [u8; FOOTER_LENGTH] {
        let mut footer = [0; FOOTER_LENGTH];
        let mut out = &mut footer[..];
        out.put_slice(FOOTER_MAGIC);
        out.put_u64_le(self.length + FOOTER_LENGTH as u64);
        out.put_u64_le(self.chunks);
        out.put_u32_le(self.checksum);
        let checksum = crc32c::crc32c(&footer[..FOOTER_LENGTH - 4]);
        footer[FOOTER_LENGTH - 4..].copy_from_slice(&checksum.to_le_bytes());
        footer
    }
}

/// The header, and the tally after it.
pub(super) fn encode_header(meta: &SnapshotMeta) -> (Vec<u8>, Tally) {
    let SnapshotMeta { slot, ballot, log_time, membership } = meta;
    assert!(
        membership.len() <= MEMBERSHIP_BYTES_MAX,
        "an encoded membership has at most {MEMBERSHIP_BYTES_MAX} bytes"
    );
    let mut header = Vec::with_capacity(HEADER_LENGTH + membership.len());
    header.put_slice(MAGIC);
    header.put_u32_le(0);
    header.put_u32_le(match membership.is_empty() {
        true => VERSION_ALONE,
        false => VERSION_WITH_MEMBERSHIP,
    });
    header.put_u64_le(slot.position());
    header.put_u64_le(ballot.view.number());
    header.put_u64_le(ballot.round);
    header.put_u16_le(ballot.node.number());
    header.put_bytes(0, 6);
    header.put_u64_le(log_time.micros());
    header.put_u32_le(u32::try_from(membership.len()).expect("a membership is limited"));
    header.put_slice(membership);
    let checksum = header_checksum(&header);
    header[8..12].copy_from_slice(&checksum.to_le_bytes());
    let tally = Tally::new(header.len() as u64, checksum);
    (header, tally)
}

/// What the first bytes of a file are.
pub(super) enum Header {
    Good(SnapshotMeta, Tally),
    Newer(u32),
    Damaged,
}

/// How long the header is, judged by its fixed part.
pub(super) fn header_length(fixed: &[u8]) -> Option<usize> {
    if fixed.len() < HEADER_LENGTH || fixed[..8] != MAGIC[..] {
        return None;
    }
    let membership = usize::try_from((&fixed[HEADER_LENGTH - 4..]).get_u32_le()).ok()?;
    (membership <= MEMBERSHIP_BYTES_MAX).then_some(HEADER_LENGTH + membership)
}

/// Decodes a header of the right length.
pub(super) fn decode_header(header: &[u8]) -> Header {
    let mut from = &header[8..];
    let checksum = from.get_u32_le();
    if checksum != header_checksum(header) {
        return Header::Damaged;
    }
    let version = from.get_u32_le();
    if version > VERSION {
        return Header::Newer(version);
    }
    let slot = Slot::new(from.get_u64_le());
    let ballot = Ballot {
        view: View::new(from.get_u64_le()),
        round: from.get_u64_le(),
        node: NodeId::new(from.get_u16_le()),
    };
    from.advance(6);
    let log_time = LogTime::from_micros(from.get_u64_le());
    from.advance(4);
    let meta = SnapshotMeta { slot, ballot, log_time, membership: from.to_vec() };
    Header::Good(meta, Tally::new(header.len() as u64, checksum))
}

fn header_checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..8]), &header[12..])
}
