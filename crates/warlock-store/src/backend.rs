//! What the log needs from whatever holds the data.
//!
//! The in-memory state of this crate is one back end. All must pass [`check_all`].
//!
//! [`check_all`]: crate::conformance::check_all

use warlock_resp::{ReplyWriter, Request};

use crate::applier::Applier;
use crate::reader::{ReadOutcome, Reader};
use crate::restore::RestoreError;
use crate::shared::Checkpoint;
use crate::snapshot::SnapshotStream;

/// The writing half of a back end. The methods are described at [`Applier`].
pub trait Backend: Send {
    /// The reading half.
    type Reader: BackendReader;
    /// A snapshot on its way out.
    type Snapshot: Iterator<Item = Vec<u8>> + Send;

    /// Starts the batch of `slot`.
    fn begin_batch(&mut self, slot: u64, log_time_us: u64, seed: u64);
    /// Whether the batch with this sequence from this origin is new.
    fn admit(&mut self, node: u16, incarnation: u128, sequence: u64) -> bool;
    /// Executes one command and writes exactly one reply.
    fn apply(&mut self, db: u8, request: &Request<'_>, reply: &mut ReplyWriter<'_>);
    /// Ends the batch.
    fn end_batch(&mut self);
    /// When the next key expires.
    fn next_deadline_us(&self) -> Option<u64>;
    /// Takes an image of the state as it is now.
    fn snapshot(&mut self) -> Self::Snapshot;
    /// Starts to take in a snapshot.
    fn begin_restore(&mut self);
    /// Takes in the next chunk.
    ///
    /// # Errors
    /// The chunk does not belong to a snapshot, or not here.
    fn restore_chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError>;
    /// Replaces the state by the snapshot.
    ///
    /// # Errors
    /// The snapshot is not complete or not what its header says.
    fn finish_restore(&mut self) -> Result<(), RestoreError>;
}

/// The reading half of a back end. The methods are described at [`Reader`].
pub trait BackendReader: Clone + Send + Sync {
    /// Executes a command that changes nothing.
    fn read(
        &self,
        db: u8,
        request: &Request<'_>,
        now_us: u64,
        reply: &mut ReplyWriter<'_>,
    ) -> ReadOutcome;
    /// Next slot, log time and digest that belong together.
    fn checkpoint(&self) -> Checkpoint;
    /// Number of keys in a database.
    fn keys(&self, db: u8) -> u64;
}

impl Backend for Applier {
    type Reader = Reader;
    type Snapshot = SnapshotStream;

    fn begin_batch(&mut self, slot: u64, log_time_us: u64, seed: u64) {
        Self::begin_batch(self, slot, log_time_us, seed);
    }

    fn admit(&mut self, node: u16, incarnation: u128, sequence: u64) -> bool {
        Self::admit(self, node, incarnation, sequence)
    }

    fn apply(&mut self, db: u8, request: &Request<'_>, reply: &mut ReplyWriter<'_>) {
        Self::apply(self, db, request, reply);
    }

    fn end_batch(&mut self) {
        Self::end_batch(self);
    }

    fn next_deadline_us(&self) -> Option<u64> {
        Self::next_deadline_us(self)
    }

    fn snapshot(&mut self) -> SnapshotStream {
        Self::snapshot(self)
    }

    fn begin_restore(&mut self) {
        Self::begin_restore(self);
    }

    fn restore_chunk(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        Self::restore_chunk(self, chunk)
    }

    fn finish_restore(&mut self) -> Result<(), RestoreError> {
        Self::finish_restore(self)
    }
}

impl BackendReader for Reader {
    fn read(
        &self,
        db: u8,
        request: &Request<'_>,
        now_us: u64,
        reply: &mut ReplyWriter<'_>,
    ) -> ReadOutcome {
        Self::read(self, db, request, now_us, reply)
    }

    fn checkpoint(&self) -> Checkpoint {
        Self::checkpoint(self)
    }

    fn keys(&self, db: u8) -> u64 {
        Self::keys(self, db)
    }
}
