//! The content of one slot: commands of several proposals under one stamp.
//!
//! A batch is encoded once, by the leader that proposes it. The same bytes are the WAL record, the
//! payload to every peer and the in-memory log. Commands stay opaque to this crate.
//!
//! ```text
//! log_time u64 | seed u64 | proposals u32 | { node u16 | incarnation u128 | sequence u64
//!                                            | length u32 | commands }*      (little endian)
//! ```

use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use wincode::{SchemaRead, SchemaWrite};

use crate::ids::{Incarnation, NodeId, Origin};
use crate::time::LogTime;

/// What the master writes into the head of every batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Time of the log when the batch was proposed.
    pub log_time: LogTime,
    /// The only source of randomness that applying the batch may use.
    pub seed: u64,
}

/// Commands of one node, on their way into one slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Who proposed it, and which of its proposals it is.
    pub origin: Origin,
    /// Encoded commands, opaque to consensus.
    pub commands: Bytes,
}

/// The decided or proposed content of one slot.
#[derive(Clone, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct Batch(Bytes);

/// Bytes that are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MalformedBatch;

impl fmt::Display for MalformedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not a batch: a length points outside of them")
    }
}

impl core::error::Error for MalformedBatch {}

const HEAD_LENGTH: usize = 8 + 8 + 4;
const PROPOSAL_HEAD_LENGTH: usize = 2 + 16 + 8 + 4;

impl Batch {
    /// Encodes `proposals` under `stamp`.
    ///
    /// # Panics
    /// If there are 2^32 proposals, or one proposal of 4 GiB: limits refuse both long before.
    #[must_use]
    pub fn new(stamp: Stamp, proposals: &[Proposal]) -> Self {
        let payload: usize =
            proposals.iter().map(|proposal| PROPOSAL_HEAD_LENGTH + proposal.commands.len()).sum();
        let mut bytes = BytesMut::with_capacity(HEAD_LENGTH + payload);
        bytes.put_u64_le(stamp.log_time.micros());
        bytes.put_u64_le(stamp.seed);
        bytes.put_u32_le(u32::try_from(proposals.len()).expect("fewer than 2^32 proposals"));
        for Proposal { origin, commands } in proposals {
            bytes.put_u16_le(origin.node.number());
            bytes.put_u128_le(origin.incarnation.bits());
            bytes.put_u64_le(origin.sequence);
            bytes.put_u32_le(u32::try_from(commands.len()).expect("a proposal is below 4 GiB"));
            bytes.put_slice(commands);
        }
        Self(bytes.freeze())
    }

    /// A batch without commands: fills a gap in the log (P3), or moves the log time on.
    #[must_use]
    pub fn no_op(stamp: Stamp) -> Self {
        Self::new(stamp, &[])
    }

    /// Takes `bytes` for a batch if every length in them is consistent.
    ///
    /// # Errors
    /// [`MalformedBatch`] if not.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, MalformedBatch> {
        let batch = Self(bytes);
        batch.check()?;
        Ok(batch)
    }

    /// Whether every length in the batch is consistent; to be called on what a peer sent.
    ///
    /// # Errors
    /// [`MalformedBatch`] if not.
    pub fn check(&self) -> Result<(), MalformedBatch> {
        let mut rest: &[u8] = &self.0;
        if rest.len() < HEAD_LENGTH {
            return Err(MalformedBatch);
        }
        rest.advance(8 + 8);
        for _ in 0..rest.get_u32_le() {
            if rest.len() < PROPOSAL_HEAD_LENGTH {
                return Err(MalformedBatch);
            }
            rest.advance(2 + 16 + 8);
            let length = rest.get_u32_le() as usize;
            if rest.len() < length {
                return Err(MalformedBatch);
            }
            rest.advance(length);
        }
        if rest.is_empty() { Ok(()) } else { Err(MalformedBatch) }
    }

    /// The stamp in the head.
    ///
    /// # Panics
    /// If the batch came from a peer and was not [checked](Self::check).
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut head: &[u8] = &self.0;
        Stamp { log_time: LogTime::from_micros(head.get_u64_le()), seed: head.get_u64_le() }
    }

    /// The proposals in order; their commands share the memory of the batch.
    ///
    /// # Panics
    /// If the batch came from a peer and was not [checked](Self::check).
    #[must_use]
    pub fn proposals(&self) -> Vec<Proposal> {
        let mut rest = self.0.clone();
        rest.advance(8 + 8);
        let count = rest.get_u32_le();
        (0..count)
            .map(|_| {
                let origin = Origin {
                    node: NodeId::new(rest.get_u16_le()),
                    incarnation: Incarnation::new(rest.get_u128_le()),
                    sequence: rest.get_u64_le(),
                };
                let length = rest.get_u32_le() as usize;
                Proposal { origin, commands: rest.split_to(length) }
            })
            .collect()
    }

    /// Whether the contents are equal; quick when they share their memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let shared = self.0.as_ptr() == other.0.as_ptr() && self.0.len() == other.0.len();
        shared || self == other
    }

    /// The encoded form.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} bytes)", self.0.len())
    }
}

/// Origins and sizes in brackets, `[]` for a no-op.
impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, proposal) in self.proposals().iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", proposal.origin)?;
        }
        f.write_str("]")
    }
}
