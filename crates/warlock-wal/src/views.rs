//! The membership of a node, beside its log. FORMAT.md describes the bytes.
//!
//! It changes rarely and must outlive every truncation, so it is a file of its own that is replaced
//! as a whole. It is made durable before the frame that depends on it.

use std::io::{self, IoSlice};
use std::path::Path;

use bytes::{Buf, BufMut};
use warlock_paxos::{
    Ballot, Charter, NodeId, Reconfiguration, View, decode_charter, encode_charter,
};

use crate::block::{self, HEAD_LENGTH};
use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError, WalError};
use crate::limits::{MEMBERSHIP_BYTES_MAX, PAGE};
use crate::segment::TEMPORARY_SUFFIX;

pub(crate) const FILE: &str = "membership";
const MAGIC: &[u8; 8] = b"WLKviews";
const VERSION: u32 = 1;
const FIXED_LENGTH: usize = HEAD_LENGTH + 4 + 8 + 8 + 2 + 2 + 4 + 4;
/// More than any file of this version: two blocks with two memberships each.
const FILE_BYTES_MAX: u64 = 4 * (MEMBERSHIP_BYTES_MAX as u64 + PAGE as u64);

/// Whether the data directory at `path` holds a membership: its node belongs, or belonged, to a
/// cluster that it knows by itself. Whether it is in order only reading the directory shows.
#[must_use]
pub fn holds_membership(path: &Path) -> bool {
    path.join(FILE).is_file()
}

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Views {
    /// How often the file was written. The log repeats it, so that a lost file is noticed.
    pub(crate) edition: u32,
    /// The newest membership known to be in force; `None` if it is still the one of the settings.
    pub(crate) in_force: Option<Charter>,
    /// What was accepted for the reconfiguration slot after it.
    pub(crate) accepted: Option<Reconfiguration>,
}

impl Views {
    /// Reads the file; nothing if there is none.
    ///
    /// # Errors
    /// [`WalError::MembershipLost`] if both copies are damaged.
    pub(crate) fn load<D: Disk>(disk: &D) -> Result<Self, WalError> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.doing("open", FILE)?,
        };
        let length = file.length().doing("look at", FILE)?.min(FILE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let filled = file.read_at(&mut bytes, 0).doing("read", FILE)?;
        let bytes = &bytes[..filled];
        let mut starts = (0..bytes.len()).step_by(PAGE);
        let Some(block) =
            starts.find_map(|start| block::good(&bytes[start..], MAGIC, FIXED_LENGTH))
        else {
            return Err(WalError::MembershipLost);
        };
        let views = decode(block)?;
        // A rename whose sync failed once may not be durable whatever a later sync says.
        views.store(disk)?;
        Ok(views)
    }

    /// Replaces the file.
    pub(crate) fn store<D: Disk>(&self, disk: &D) -> Result<(), IoError> {
        let temporary = format!("{FILE}{TEMPORARY_SUFFIX}");
        let block = self.encode();
        let file = disk.create(&temporary).doing("create", &temporary)?;
        file.write_at(&mut [IoSlice::new(&block), IoSlice::new(&block)], 0)
            .doing("write", &temporary)?;
        file.sync_data().doing("sync", &temporary)?;
        disk.rename(&temporary, FILE).doing("rename", &temporary)?;
        disk.sync_directory().doing("sync", ".")
    }

    fn encode(&self) -> Vec<u8> {
        let ballot = self.accepted.as_ref().map_or(Ballot::ZERO, |accepted| accepted.ballot);
        let in_force = self.in_force.as_ref().map(encode_charter).unwrap_or_default();
        let accepted = self.accepted.as_ref().map(|accepted| encode_charter(&accepted.charter));
        let accepted = accepted.unwrap_or_default();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("memberships are limited");
        let mut block = Vec::new();
        block.put_slice(MAGIC);
        block.put_u32_le(0);
        block.put_u32_le(VERSION);
        block.put_u32_le(0);
        block.put_u32_le(self.edition);
        block.put_u64_le(ballot.view.number());
        block.put_u64_le(ballot.round);
        block.put_u16_le(ballot.node.number());
        block.put_u16_le(0);
        block.put_u32_le(length(&in_force));
        block.put_u32_le(length(&accepted));
        block.put_slice(&in_force);
        block.put_slice(&accepted);
        block.resize(block.len().next_multiple_of(PAGE), 0);
        let block_length = length(&block);
        block[16..20].copy_from_slice(&block_length.to_le_bytes());
        let checksum = block::checksum(&block);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

fn decode(block: &[u8]) -> Result<Views, WalError> {
    let mut from = &block[12..];
    let version = from.get_u32_le();
    if version > VERSION {
        return Err(WalError::NewerVersion { file: FILE.to_owned(), version, known: VERSION });
    }
    from.advance(4);
    let edition = from.get_u32_le();
    let ballot = Ballot {
        view: View::new(from.get_u64_le()),
        round: from.get_u64_le(),
        node: NodeId::new(from.get_u16_le()),
    };
    from.advance(2);
    let in_force_length = from.get_u32_le() as usize;
    let accepted_length = from.get_u32_le() as usize;
    let mut charter = |length: usize| -> Result<Option<Charter>, WalError> {
        let bytes = from.get(..length).ok_or(WalError::MembershipLost)?;
        from.advance(length);
        match length {
            0 => Ok(None),
            _ => decode_charter(bytes).map(Some).map_err(|_| WalError::MembershipLost),
        }
    };
    let in_force = charter(in_force_length)?;
    let accepted = charter(accepted_length)?;
    let accepted = accepted.map(|charter| Reconfiguration { ballot, charter });
    Ok(Views { edition, in_force, accepted })
}
