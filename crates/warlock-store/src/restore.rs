//! Reading a snapshot back: checked whole before any of it takes effect.

use std::fmt;

use crate::accounts::{Accounts, Share};
use crate::item::Item;
use crate::limits::{DATABASES, ORIGINS_MAX};
use crate::map::{Hasher, Shard};
use crate::origins::Origins;
use crate::shared::Checkpoint;
use crate::snapshot::{DATA, END, HEADER, Header, RECORD_HEADER, SNAPSHOT_VERSION};

/// Why a snapshot was refused. The state is as it was before the restore began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// The snapshot was written in another version of the format.
    Version(u16),
    /// The bytes do not hold together; says what is wrong with them.
    Malformed(&'static str),
    /// It comes from a replica with another hash seed or another number of shards.
    Foreign,
    /// It ends before its last chunk.
    Incomplete,
    /// The items are not those that were saved.
    Digest,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(
                f,
                "snapshot version {version}, this node reads {SNAPSHOT_VERSION}: upgrade the older"
            ),
            Self::Malformed(what) => write!(f, "malformed snapshot: {what}"),
            Self::Foreign => f.write_str("snapshot of a cluster with another hash seed"),
            Self::Incomplete => f.write_str("snapshot ends before its last chunk"),
            Self::Digest => f.write_str("snapshot does not have the digest that it claims"),
        }
    }
}

impl std::error::Error for RestoreError {}

/// A snapshot on its way in.
#[derive(Debug)]
pub(crate) struct Restore {
    hasher: Hasher,
    /// New segments count as part of this image.
    image_number: u64,
    header: Option<Header>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) accounts: Accounts,
    pub(crate) origins: Origins,
    ended: bool,
}

impl Restore {
    pub(crate) fn new(hasher: Hasher, image_number: u64) -> Self {
        let shards = (0..1usize << hasher.shard_bits).map(|_| Shard::default());
        Self {
            hasher,
            image_number,
            header: None,
            shards: shards.collect(),
            accounts: Accounts::default(),
            origins: Origins::default(),
            ended: false,
        }
    }

    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        let (&kind, body) = chunk.split_first().ok_or(Malformed("empty chunk"))?;
        if self.ended {
            return Err(Malformed("a chunk follows the last"));
        }
        match (kind, self.header.is_some()) {
            (HEADER, false) => self.header(body),
            (HEADER, true) => Err(Malformed("two headers")),
            (_, false) => Err(Malformed("it does not start with a header")),
            (DATA, true) => self.items(body),
            (END, true) => self.end(body),
            _ => Err(Malformed("a chunk of unknown kind")),
        }
    }

    /// Where the state stands that the snapshot restores, if it came through whole.
    pub(crate) fn finish(&self) -> Result<Checkpoint, RestoreError> {
        let Some(header) = self.header.as_ref().filter(|_| self.ended) else {
            return Err(RestoreError::Incomplete);
        };
        let checkpoint =
            checkpoint(header.next_slot, header.log_time_us, &self.accounts, &self.origins);
        if checkpoint.digest == header.digest && self.accounts.keys() == header.items {
            Ok(checkpoint)
        } else {
            Err(RestoreError::Digest)
        }
    }

    fn header(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        let (version, body) = body.split_first_chunk().ok_or(Malformed("cut header"))?;
        let version = u16::from_le_bytes(*version);
        if version != SNAPSHOT_VERSION {
            return Err(RestoreError::Version(version));
        }
        let header: Header =
            wincode::deserialize_exact(body).map_err(|_| Malformed("cut header"))?;
        let hasher = Hasher { seed: header.hash_seed, shard_bits: header.shard_bits };
        if hasher != self.hasher {
            return Err(RestoreError::Foreign);
        }
        if header.origins.len() > ORIGINS_MAX || header.next_slot == 0 {
            return Err(Malformed("a header that no replica writes"));
        }
        for origin in &header.origins {
            if !self.origins.admit(*origin) {
                return Err(Malformed("an origin twice"));
            }
        }
        self.header = Some(header);
        Ok(())
    }

    fn items(&mut self, mut body: &[u8]) -> Result<(), RestoreError> {
        while !body.is_empty() {
            let (record, rest) =
                body.split_first_chunk::<RECORD_HEADER>().ok_or(Malformed("cut item"))?;
            let [db, length @ ..] = *record;
            let length = u32::from_le_bytes(length) as usize;
            let (bytes, rest) = rest.split_at_checked(length).ok_or(Malformed("cut item"))?;
            let item = Item::from_bytes(bytes).ok_or(Malformed("an item that is none"))?;
            self.item(usize::from(db), item)?;
            body = rest;
        }
        Ok(())
    }

    fn item(&mut self, db: usize, item: Item) -> Result<(), RestoreError> {
        if db >= DATABASES {
            return Err(Malformed("an unknown database"));
        }
        let hash = self.hasher.hash(item.key());
        let shard = &mut self.shards[self.hasher.shard(hash)];
        self.accounts.added(db, hash, Share::of(&item, db));
        let replaced = shard.tables[db].put(self.hasher, hash, item, self.image_number);
        match replaced {
            Some(_) => Err(Malformed("a key twice")),
            None => Ok(()),
        }
    }

    fn end(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        let items = self.accounts.keys().to_le_bytes();
        if body != items {
            return Err(Malformed("a number of items other than announced"));
        }
        self.ended = true;
        Ok(())
    }
}

/// Where a replica with this state stands.
pub(crate) fn checkpoint(
    next_slot: u64,
    log_time_us: u64,
    accounts: &Accounts,
    origins: &Origins,
) -> Checkpoint {
    let parts = [next_slot, log_time_us, accounts.digest(), origins.digest()];
    let mut bytes = [0; 32];
    for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    Checkpoint { next_slot, log_time_us, digest: xxhash_rust::xxh3::xxh3_64(&bytes) }
}

use RestoreError::Malformed;
