//! Reads and writes snapshot files, one job at a time, for whoever owns the disk.

use bytes::Bytes;
use warlock_paxos::limits::SNAPSHOT_CHUNK_BYTES;
use warlock_paxos::{NodeId, Slot, SnapshotChunk};
use warlock_store::SnapshotStream;
use warlock_wal::{Disk, SnapshotError, SnapshotMeta, SnapshotReceiver, Snapshots};

/// Work for the snapshot files.
#[derive(Debug)]
pub enum SnapshotJob {
    /// Write what the stream gives.
    Take {
        /// What the snapshot covers.
        meta: SnapshotMeta,
        /// Its content.
        stream: Box<SnapshotStream>,
    },
    /// Read a part for a peer.
    Read {
        /// Who asked.
        to: NodeId,
        /// Which snapshot; the newest with `None`.
        slot: Option<Slot>,
        /// First byte wanted.
        offset: u64,
    },
    /// Write a part of a peer's snapshot.
    Receive {
        /// The snapshot covers every slot below.
        slot: Slot,
        /// Position of the part, in bytes.
        offset: u64,
        /// Length of the whole, in bytes.
        total: u64,
        /// The part.
        bytes: Bytes,
    },
    /// The peer's snapshot is complete.
    Install,
}

/// What became of a [`SnapshotJob`].
#[derive(Debug)]
pub enum SnapshotEvent {
    /// A snapshot of this node of everything below the slot is complete.
    Taken(Slot),
    /// A snapshot of this node could not be written; the log goes on growing.
    Failed(String),
    /// A part of a snapshot for a peer.
    Read(NodeId, SnapshotChunk),
    /// A snapshot of a peer was verified; these are its chunks.
    Received {
        /// What it covers.
        meta: SnapshotMeta,
        /// Its content.
        chunks: Vec<Vec<u8>>,
    },
    /// A snapshot of a peer was damaged or incomplete.
    Refused(String),
}

/// Does the jobs; the daemon gives it a thread of its own, because every job blocks.
#[derive(Debug)]
pub struct SnapshotDesk<D: Disk> {
    snapshots: Snapshots<D>,
    receiving: Option<SnapshotReceiver<D>>,
}

impl<D: Disk> SnapshotDesk<D> {
    /// A desk for the snapshots of one data directory.
    #[must_use]
    pub const fn new(snapshots: Snapshots<D>) -> Self {
        Self { snapshots, receiving: None }
    }

    /// Does one job, and tells what the host has to know of it.
    pub fn work(&mut self, job: SnapshotJob) -> Option<SnapshotEvent> {
        match job {
            SnapshotJob::Take { meta, stream } => Some(match self.take(&meta, *stream) {
                Ok(()) => SnapshotEvent::Taken(meta.slot),
                Err(error) => SnapshotEvent::Failed(error.to_string()),
            }),
            SnapshotJob::Read { to, slot, offset } => {
                Some(SnapshotEvent::Read(to, self.read(slot, offset)))
            }
            SnapshotJob::Receive { slot, offset, total, bytes } => {
                let received = self.receive(slot, offset, total, &bytes);
                received.err().map(|error| {
                    self.receiving = None;
                    SnapshotEvent::Refused(error.to_string())
                })
            }
            SnapshotJob::Install => self.install(),
        }
    }

    fn take(&self, meta: &SnapshotMeta, mut stream: SnapshotStream) -> Result<(), SnapshotError> {
        let mut writer = self.snapshots.begin(meta)?;
        while let Some(chunk) = stream.next_chunk() {
            writer.write_chunk(&chunk)?;
        }
        writer.finish()
    }

    /// A part for a peer; empty if there is no such snapshot, so that the peer asks anew.
    fn read(&self, slot: Option<Slot>, offset: u64) -> SnapshotChunk {
        self.read_part(slot, offset).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read a snapshot for a peer");
            let slot = slot.unwrap_or(Slot::FIRST);
            SnapshotChunk { slot, offset, total: 0, bytes: Bytes::new() }
        })
    }

    fn read_part(&self, slot: Option<Slot>, offset: u64) -> Result<SnapshotChunk, SnapshotError> {
        let slot = match slot {
            Some(slot) => slot,
            None => self.snapshots.slots()?.last().copied().unwrap_or(Slot::FIRST),
        };
        let reader = self.snapshots.open(slot)?;
        let total = reader.length();
        let length = SNAPSHOT_CHUNK_BYTES.min(total.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = reader.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(SnapshotChunk { slot, offset, total, bytes: bytes.into() })
    }

    fn receive(
        &mut self,
        slot: Slot,
        offset: u64,
        total: u64,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        if offset == 0 {
            self.receiving = Some(self.snapshots.receive(slot, total)?);
        }
        match &mut self.receiving {
            Some(receiving) if receiving.slot() == slot => receiving.write_at(bytes, offset),
            _ => Ok(()),
        }
    }

    fn install(&mut self) -> Option<SnapshotEvent> {
        let receiving = self.receiving.take()?;
        Some(match self.verify(receiving) {
            Ok((meta, chunks)) => SnapshotEvent::Received { meta, chunks },
            Err(error) => SnapshotEvent::Refused(error.to_string()),
        })
    }

    fn verify(
        &self,
        receiving: SnapshotReceiver<D>,
    ) -> Result<(SnapshotMeta, Vec<Vec<u8>>), SnapshotError> {
        let meta = receiving.finish()?;
        let mut reader = self.snapshots.open(meta.slot)?;
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            chunks.push(chunk);
        }
        Ok((meta, chunks))
    }
}
