//! Bytes of peer messages: one version byte, then the message in bincode's fixed format.
//!
//! The frame around it (length and checksum) belongs to the transport, which also agrees with each
//! peer on the version: a node speaks every version that it ever spoke, so that a cluster can be
//! upgraded one node after the other.

mod version1;

use alloc::vec::Vec;
use core::fmt;

use bytes::BufMut;
use wincode::config::{self, Configuration};

use crate::batch::Batch;
use crate::membership::{Charter, Membership};
use crate::message::{InForce, Learned, Message, P1b, P2aView};

/// Newest version of the message encoding that this build speaks.
pub const MESSAGE_VERSION: u8 = 2;

/// Oldest version of the message encoding that this build speaks.
pub const MESSAGE_VERSION_MIN: u8 = 1;

/// The version from which on nodes know changes of the membership. While a member speaks an older
/// one the master refuses them.
pub const CHANGES_VERSION: u8 = 2;

/// Version of the encoding of charters.
const CHARTER_VERSION: u8 = 1;

/// The longest encoded message in bytes; the transport refuses longer frames.
pub const MESSAGE_LENGTH_MAX: usize = 128 * 1024 * 1024;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// There is not even a version byte.
    Empty,
    /// The bytes are of a version that this node does not know.
    Version(u8),
    /// The bytes do not hold together.
    Malformed,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty message"),
            Self::Version(version) if *version > MESSAGE_VERSION => write!(
                f,
                "message version {version} is newer than {MESSAGE_VERSION}, the newest that this \
                 node speaks: upgrade it"
            ),
            Self::Version(version) => write!(
                f,
                "message version {version} is older than {MESSAGE_VERSION_MIN}, the oldest that \
                 this node speaks"
            ),
            Self::Malformed => f.write_str("malformed message"),
        }
    }
}

impl core::error::Error for DecodeError {}

type WireConfiguration = Configuration<true, MESSAGE_LENGTH_MAX>;

const CONFIGURATION: WireConfiguration = Configuration::new();

/// Appends the `message` to `out`, encoded in the newest version.
///
/// # Panics
/// Never in practice: the messages of this crate have no unencodable values.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    out.put_u8(MESSAGE_VERSION);
    config::serialize_into(out, message, CONFIGURATION)
        .expect("every message value has an encoding");
}

/// Appends the `message` to `out`, encoded in `version`. False, and nothing appended, if that
/// version has no such message: then a peer of that version must not be sent it.
///
/// # Panics
/// If this build does not speak the version.
pub fn encode_in(version: u8, message: &Message, out: &mut Vec<u8>) -> bool {
    match version {
        MESSAGE_VERSION => encode(message, out),
        1 => {
            let Some(message) = version1::Message::of(message) else {
                return false;
            };
            out.put_u8(version);
            config::serialize_into(out, &message, CONFIGURATION)
                .expect("every message value has an encoding");
        }
        unknown => panic!("nobody agreed on version {unknown} of the messages"),
    }
    true
}

/// Decodes what [`encode`] or [`encode_in`] wrote, and checks every batch and every membership in
/// it.
///
/// # Errors
/// [`DecodeError`] for anything that they did not write.
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    let malformed = |_| DecodeError::Malformed;
    let message = match version {
        MESSAGE_VERSION => config::deserialize_exact(body, CONFIGURATION).map_err(malformed)?,
        1 => config::deserialize_exact::<version1::Message, _>(body, CONFIGURATION)
            .map_err(malformed)?
            .into_new()
            .ok_or(DecodeError::Malformed)?,
        unknown => return Err(DecodeError::Version(unknown)),
    };
    if contents_are_well_formed(&message) { Ok(message) } else { Err(DecodeError::Malformed) }
}

/// The bytes of a charter, as files keep them: one version byte, then the content.
///
/// # Panics
/// Never in practice: a charter has no unencodable values.
#[must_use]
pub fn encode_charter(charter: &Charter) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u8(CHARTER_VERSION);
    config::serialize_into(&mut out, charter, CONFIGURATION)
        .expect("every charter has an encoding");
    out
}

/// Decodes what [`encode_charter`] wrote, if it is a membership.
///
/// # Errors
/// [`DecodeError`] for anything else.
pub fn decode_charter(bytes: &[u8]) -> Result<Charter, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != CHARTER_VERSION {
        return Err(DecodeError::Version(version));
    }
    let charter =
        config::deserialize_exact(body, CONFIGURATION).map_err(|_| DecodeError::Malformed)?;
    if is_membership(&charter) { Ok(charter) } else { Err(DecodeError::Malformed) }
}

fn is_membership(charter: &Charter) -> bool {
    Membership::from_charter(charter.clone()).is_ok()
}

fn contents_are_well_formed(message: &Message) -> bool {
    let well_formed = |batch: &Batch| batch.check().is_ok();
    match message {
        Message::P1b(P1b { pvalues, reconfiguration, .. }) => {
            let accepted = reconfiguration.as_ref().map(|accepted| &accepted.charter);
            accepted.is_none_or(is_membership)
                && pvalues.iter().all(|pvalue| well_formed(&pvalue.batch))
        }
        Message::P2aView(P2aView { charter, .. }) | Message::InForce(InForce { charter }) => {
            is_membership(charter)
        }
        Message::P2a(p2a) => well_formed(&p2a.batch),
        Message::Learned(Learned { batches, .. }) => batches.iter().all(well_formed),
        Message::P1a(_)
        | Message::P2b(_)
        | Message::P2bView(_)
        | Message::Decision(_)
        | Message::Propose(_)
        | Message::Declined(_)
        | Message::Heartbeat(_)
        | Message::Ack(_)
        | Message::Learn(_)
        | Message::ReadIndex(_)
        | Message::ReadIndexed(_)
        | Message::Release(_)
        | Message::HandOver(_)
        | Message::SnapshotFetch(_)
        | Message::SnapshotChunk(_) => true,
    }
}
