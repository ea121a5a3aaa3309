//! Reading a snapshot back: checked whole before any of it takes effect.

use std::fmt;
use std::hint::black_box;

use parking_lot::Mutex;

use crate::accounts::{Accounts, DatabaseAccount};
use crate::item::{self, Item};
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

/// A snapshot on its way in: a state beside the one that is served. Several threads may share it
/// and take in chunks at the same time, but for the first, which must be there before any other.
#[derive(Debug)]
pub struct Restore {
    hasher: Hasher,
    shards: Box<[Mutex<Shard>]>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    header: Option<Header>,
    origins: Origins,
    sums: [Sum; DATABASES],
    /// The number of items that the last chunk announced.
    announced: Option<u64>,
}

/// What was taken in of one database.
#[derive(Debug, Default)]
struct Sum {
    keys: u64,
    digest: u64,
    bytes: u64,
    /// Deadline and hash of each volatile key.
    deadlines: Vec<(u64, u64)>,
}

/// A snapshot that came through whole, to be put in the place of the state.
#[derive(Debug)]
pub struct Restored {
    pub(crate) hasher: Hasher,
    pub(crate) shards: Vec<Shard>,
    pub(crate) accounts: Accounts,
    pub(crate) origins: Origins,
    pub(crate) checkpoint: Checkpoint,
}

impl Restored {
    /// Where the state stands that it will be.
    #[must_use]
    pub const fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }
}

impl Restore {
    pub(crate) fn new(hasher: Hasher) -> Self {
        let shards = (0..1usize << hasher.shard_bits).map(|_| Mutex::default());
        Self { hasher, shards: shards.collect(), progress: Mutex::default() }
    }

    /// Takes in a chunk. The first comes first; of the others, the order does not matter.
    ///
    /// # Errors
    /// The chunk does not belong to a snapshot, or not here. The restore is to be given up then.
    pub fn chunk(&self, chunk: &[u8]) -> Result<(), RestoreError> {
        let (&kind, body) = chunk.split_first().ok_or(Malformed("empty chunk"))?;
        let has_header = self.progress.lock().header.is_some();
        match (kind, has_header) {
            (HEADER, false) => self.header(body),
            (HEADER, true) => Err(Malformed("two headers")),
            (_, false) => Err(Malformed("it does not start with a header")),
            (DATA, true) => self.items(body),
            (END, true) => self.end(body),
            _ => Err(Malformed("a chunk of unknown kind")),
        }
    }

    /// The state, if it came through whole.
    ///
    /// # Errors
    /// The snapshot is not complete or not what its header says.
    pub fn finish(self) -> Result<Restored, RestoreError> {
        let Progress { header, origins, sums, announced } = self.progress.into_inner();
        let (Some(header), Some(announced)) = (header, announced) else {
            return Err(RestoreError::Incomplete);
        };
        let of = |sum: Sum| DatabaseAccount::of(sum.keys, sum.digest, sum.bytes, sum.deadlines);
        let accounts = Accounts::of(sums.map(of));
        let checkpoint = checkpoint(header.next_slot, header.log_time_us, &accounts, &origins);
        let counts = [announced, header.items];
        if checkpoint.digest != header.digest || counts.iter().any(|n| *n != accounts.keys()) {
            return Err(RestoreError::Digest);
        }
        let shards = self.shards.into_iter().map(Mutex::into_inner).collect();
        Ok(Restored { hasher: self.hasher, shards, accounts, origins, checkpoint })
    }

    fn header(&self, body: &[u8]) -> Result<(), RestoreError> {
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
        let mut progress = self.progress.lock();
        for origin in &header.origins {
            if !progress.origins.admit(*origin) {
                return Err(Malformed("an origin twice"));
            }
        }
        progress.header = Some(header);
        Ok(())
    }

    /// Takes in the items of a chunk, as many at a time as follow each other in one table: a
    /// stream gives them in that order.
    fn items(&self, body: &[u8]) -> Result<(), RestoreError> {
        let records = records(self.hasher, body)?;
        make_room(body.len());
        let mut sums: [Sum; DATABASES] = Default::default();
        let table = |record: &Record<'_>| (self.hasher.shard(record.hash), record.db);
        for run in records.chunk_by(|one, two| table(one) == table(two)) {
            let (shard, db) = table(&run[0]);
            let mut shard = self.shards[shard].lock();
            let (table, sum) = (&mut shard.tables[db], &mut sums[db]);
            table.reserve(self.hasher, run.len());
            for record in run {
                let item =
                    Item::from_bytes(record.bytes).ok_or(Malformed("an item that is none"))?;
                sum.add(record.hash, &item, db);
                if table.put(self.hasher, record.hash, item).is_some() {
                    return Err(Malformed("a key twice"));
                }
            }
        }
        let mut progress = self.progress.lock();
        for (total, sum) in progress.sums.iter_mut().zip(sums) {
            total.merge(sum);
        }
        Ok(())
    }

    fn end(&self, body: &[u8]) -> Result<(), RestoreError> {
        let count = body.try_into().map_err(|_| Malformed("a last chunk of another length"))?;
        match self.progress.lock().announced.replace(u64::from_le_bytes(count)) {
            Some(_) => Err(Malformed("two last chunks")),
            None => Ok(()),
        }
    }
}

impl Sum {
    fn add(&mut self, hash: u64, item: &Item, db: usize) {
        self.keys += 1;
        self.digest = self.digest.wrapping_add(item.digest(db));
        self.bytes += item.bytes().len() as u64;
        self.deadlines.extend(item.deadline_ms().map(|deadline_ms| (deadline_ms, hash)));
    }

    fn merge(&mut self, other: Self) {
        self.keys += other.keys;
        self.digest = self.digest.wrapping_add(other.digest);
        self.bytes += other.bytes;
        self.deadlines.extend(other.deadlines);
    }
}

/// Has the allocator ask for the memory of a chunk at once. For a thread other than the first, that
/// of glibc otherwise asks for each page by a system call, which is a quarter of a restore.
fn make_room(bytes: usize) {
    drop(black_box(Vec::<u8>::with_capacity(bytes.min(ROOM_MAX))));
}

/// Longer chunks are of one long value, which has memory of its own.
const ROOM_MAX: usize = 256 * 1024;

/// One item of a chunk.
#[derive(Debug)]
struct Record<'a> {
    db: usize,
    hash: u64,
    bytes: &'a [u8],
}

fn records(hasher: Hasher, mut body: &[u8]) -> Result<Vec<Record<'_>>, RestoreError> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let (record, rest) =
            body.split_first_chunk::<RECORD_HEADER>().ok_or(Malformed("cut item"))?;
        let [db, length @ ..] = *record;
        let db = usize::from(db);
        if db >= DATABASES {
            return Err(Malformed("an unknown database"));
        }
        let length = u32::from_le_bytes(length) as usize;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(Malformed("cut item"))?;
        let key = item::key_of(bytes).ok_or(Malformed("an item that is none"))?;
        records.push(Record { db, hash: hasher.hash(key), bytes });
        body = rest;
    }
    Ok(records)
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
