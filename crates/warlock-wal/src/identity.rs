//! The identity of a data directory (P7). FORMAT.md describes the bytes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut};
use warlock_paxos::{Incarnation, NodeId};

use crate::block::{self, HEAD_LENGTH};
use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError};
use crate::limits::{CLUSTER_NAME_BYTES_MAX, PAGE, PAGE_BYTES, PEERS_MAX};
use crate::segment::{self, TEMPORARY_SUFFIX};
use crate::snapshot;
use crate::views;

const FILE: &str = "identity";
const MAGIC: &[u8; 8] = b"WLKident";
const VERSION: u32 = 1;
const FIXED_LENGTH: usize = HEAD_LENGTH + 2 + 16 + 8 + 2 + 2;
const PEER_LENGTH: usize = 2 + 16;
/// More than any file of this version.
const FILE_BYTES_MAX: u64 = 16 * PAGE_BYTES;

/// Who owns a data directory, and whom it has met.
///
/// Every change is durable before the call returns. After an error the file holds either the old
/// or the new state.
#[derive(Debug)]
pub struct Identity<D: Disk> {
    disk: D,
    cluster: String,
    node: NodeId,
    incarnation: Incarnation,
    starts: u64,
    peers: BTreeMap<NodeId, Incarnation>,
}

impl<D: Disk> Identity<D> {
    /// Reads the identity; `None` if the directory has none, because it is new.
    ///
    /// # Errors
    /// [`IdentityError`]; a directory without an identity but with a log is damaged, not new.
    pub fn load(disk: D) -> Result<Option<Self>, IdentityError> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names = disk.list().doing("list", ".")?;
                return match names.iter().any(|name| is_of_used_directory(name)) {
                    true => Err(IdentityError::Damaged),
                    false => Ok(None),
                };
            }
            other => other.doing("open", FILE)?,
        };
        let length = file.length().doing("look at", FILE)?;
        let mut bytes = vec![0; as_index(length.min(FILE_BYTES_MAX))];
        let filled = file.read_at(&mut bytes, 0).doing("read", FILE)?;
        decode(disk, &bytes[..filled]).map(Some)
    }

    /// Makes an identity for a new directory. It has not been started yet.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    ///
    /// # Panics
    /// If the name of the cluster is longer than
    /// [`CLUSTER_NAME_BYTES_MAX`].
    pub fn create(
        disk: D,
        cluster: &str,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<Self, IdentityError> {
        assert!(
            cluster.len() <= CLUSTER_NAME_BYTES_MAX,
            "settings limit the length of the cluster's name"
        );
        let identity = Self {
            disk,
            cluster: cluster.to_owned(),
            node,
            incarnation,
            starts: 0,
            peers: BTreeMap::new(),
        };
        identity.store()?;
        Ok(identity)
    }

    /// Compares the identity with what the settings say.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`] or [`IdentityError::OtherNode`].
    pub fn expect(&self, cluster: &str, node: NodeId) -> Result<(), IdentityError> {
        if self.cluster != cluster {
            return Err(IdentityError::OtherCluster {
                found: self.cluster.clone(),
                expected: cluster.to_owned(),
            });
        }
        if self.node != node {
            return Err(IdentityError::OtherNode { found: self.node, expected: node });
        }
        Ok(())
    }

    /// Counts one more start, durably, and returns the count: 1 for the first start. To be called
    /// once the log is open, so that a directory with a count has a log.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn count_start(&mut self) -> Result<u64, IdentityError> {
        self.starts = self.starts.saturating_add(1);
        self.store()?;
        Ok(self.starts)
    }

    /// Remembers the data directory of a peer, so that another one under its name is noticed.
    ///
    /// # Errors
    /// [`IdentityError::OtherPeer`] if another one is remembered, [`IdentityError::TooManyPeers`],
    /// or [`IdentityError::Io`].
    pub fn remember_peer(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), IdentityError> {
        match self.peers.get(&node) {
            Some(&known) if known != incarnation => {
                Err(IdentityError::OtherPeer { node, known, met: incarnation })
            }
            Some(_) | None => self.remember_member(node, incarnation),
        }
    }

    /// Remembers the data directory of a peer that the membership names. It takes the place of
    /// another one: a node that came under this name before the membership was known.
    ///
    /// # Errors
    /// [`IdentityError::TooManyPeers`], or [`IdentityError::Io`].
    pub fn remember_member(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), IdentityError> {
        match self.peers.get(&node) {
            Some(known) if *known == incarnation => return Ok(()),
            None if self.peers.len() >= PEERS_MAX => return Err(IdentityError::TooManyPeers),
            Some(_) | None => {}
        }
        self.peers.insert(node, incarnation);
        let stored = self.store();
        if stored.is_err() {
            // Whoever asks again must not be told that it is known: it may be forgotten.
            self.peers.remove(&node);
        }
        stored
    }

    /// The name of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The node that owns the directory.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The random number of the directory.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// How often [`count_start`](Self::count_start) was called on this directory.
    #[must_use]
    pub const fn starts(&self) -> u64 {
        self.starts
    }

    /// The data directory of a peer, if it was met before.
    #[must_use]
    pub fn peer(&self, node: NodeId) -> Option<Incarnation> {
        self.peers.get(&node).copied()
    }

    /// All peers met before.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, Incarnation)> {
        self.peers.iter().map(|(node, incarnation)| (*node, *incarnation))
    }

    fn store(&self) -> Result<(), IdentityError> {
        let temporary = format!("{FILE}{TEMPORARY_SUFFIX}");
        let block = self.encode();
        let file = self.disk.create(&temporary).doing("create", &temporary)?;
        // Two copies on pages of their own: one damaged page must not cost the node its identity.
        file.write_at(&mut [IoSlice::new(&block), IoSlice::new(&block)], 0)
            .doing("write", &temporary)?;
        file.sync_data().doing("sync", &temporary)?;
        self.disk.rename(&temporary, FILE).doing("rename", &temporary)?;
        self.disk.sync_directory().doing("sync", ".")?;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        block.put_slice(MAGIC);
        block.put_u32_le(0);
        block.put_u32_le(VERSION);
        block.put_u32_le(0);
        block.put_u16_le(self.node.number());
        block.put_u128_le(self.incarnation.bits());
        block.put_u64_le(self.starts);
        block.put_u16_le(u16::try_from(self.peers.len()).expect("peers are limited"));
        block.put_u16_le(u16::try_from(self.cluster.len()).expect("the name is limited"));
        for (node, incarnation) in &self.peers {
            block.put_u16_le(node.number());
            block.put_u128_le(incarnation.bits());
        }
        block.put_slice(self.cluster.as_bytes());
        block.resize(block.len().next_multiple_of(PAGE), 0);
        let length = u32::try_from(block.len()).expect("a block has few pages");
        block[16..20].copy_from_slice(&length.to_le_bytes());
        let checksum = block::checksum(&block);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

/// Why a data directory cannot be used by this node.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityError {
    /// The disk failed.
    Io(IoError),
    /// The file is missing or unreadable although the directory is in use (P7).
    Damaged,
    /// A later version of the program wrote the file.
    NewerVersion(u32),
    /// The directory belongs to another cluster.
    OtherCluster {
        /// The cluster that it belongs to.
        found: String,
        /// The cluster of the settings.
        expected: String,
    },
    /// The directory belongs to another node.
    OtherNode {
        /// The node that it belongs to.
        found: NodeId,
        /// The node of the settings.
        expected: NodeId,
    },
    /// A peer came back with another data directory than the one remembered (P7).
    OtherPeer {
        /// The peer.
        node: NodeId,
        /// The directory remembered.
        known: Incarnation,
        /// The directory that it has now.
        met: Incarnation,
    },
    /// There is no room for one more peer.
    TooManyPeers,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Damaged => f.write_str(
                "the identity of this data directory is damaged or missing: the node must join \
                 anew (reset)",
            ),
            Self::NewerVersion(version) => write!(
                f,
                "{FILE} has format version {version}, this program knows up to {VERSION}: \
                 upgrade it"
            ),
            Self::OtherCluster { found, expected } => write!(
                f,
                "the data directory belongs to cluster {found:?}, the settings say {expected:?}"
            ),
            Self::OtherNode { found, expected } => {
                write!(f, "the data directory belongs to node {found}, the settings say {expected}")
            }
            Self::OtherPeer { node, known, met } => write!(
                f,
                "{node} has data directory {met}, but {known} is known: it must join anew"
            ),
            Self::TooManyPeers => write!(f, "more than {PEERS_MAX} peers"),
        }
    }
}

impl Error for IdentityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(&error.source),
            Self::Damaged
            | Self::NewerVersion(_)
            | Self::OtherCluster { .. }
            | Self::OtherNode { .. }
            | Self::OtherPeer { .. }
            | Self::TooManyPeers => None,
        }
    }
}

impl From<IoError> for IdentityError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

fn is_of_used_directory(name: &str) -> bool {
    segment::first_in_name(name).is_some()
        || snapshot::slot_in_name(name).is_some()
        || name == views::FILE
}

fn decode<D: Disk>(disk: D, bytes: &[u8]) -> Result<Identity<D>, IdentityError> {
    let mut starts = (0..bytes.len()).step_by(PAGE);
    let Some(block) = starts.find_map(|start| block::good(&bytes[start..], MAGIC, FIXED_LENGTH))
    else {
        return Err(IdentityError::Damaged);
    };
    let mut from = &block[12..];
    let version = from.get_u32_le();
    if version > VERSION {
        return Err(IdentityError::NewerVersion(version));
    }
    from.advance(4);
    let node = NodeId::new(from.get_u16_le());
    let incarnation = Incarnation::new(from.get_u128_le());
    let starts = from.get_u64_le();
    let peer_count = usize::from(from.get_u16_le());
    let name_length = usize::from(from.get_u16_le());
    if from.len() < peer_count * PEER_LENGTH + name_length {
        return Err(IdentityError::Damaged);
    }
    let mut peers = BTreeMap::new();
    for _ in 0..peer_count {
        let peer = NodeId::new(from.get_u16_le());
        peers.insert(peer, Incarnation::new(from.get_u128_le()));
    }
    let cluster = String::from_utf8(from[..name_length].to_vec());
    Ok(Identity {
        disk,
        cluster: cluster.map_err(|_| IdentityError::Damaged)?,
        node,
        incarnation,
        starts,
        peers,
    })
}

fn as_index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the file is limited to a few pages")
}
