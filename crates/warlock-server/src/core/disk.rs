//! The two threads that touch the disk: one appends and syncs the log, one reads and writes
//! snapshots.
//!
//! The log thread takes everything that queued while it was syncing, and makes it durable with one
//! write and one sync (group commit).

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant as StdInstant;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use warlock_paxos::limits::SNAPSHOT_CHUNK_BYTES;
use warlock_paxos::{NodeId, Record, Slot, SnapshotChunk};
use warlock_store::SnapshotStream;
use warlock_wal::{
    FsDisk, SnapshotError, SnapshotMeta, SnapshotReceiver, Snapshots, Wal, WalError,
};

use crate::metrics::SharedMetrics;

enum LogOp {
    Append(Record),
    Truncate(Slot),
}

/// What the disk threads tell the core.
pub(super) enum DiskEvent {
    /// So many more records are durable.
    Synced(u64),
    /// Writing failed; nothing further will be durable (P8).
    Failed(String),
    /// A snapshot of this node of everything below the slot is complete.
    SnapshotTaken(Slot),
    /// A snapshot of this node could not be written; the log goes on growing.
    SnapshotFailed(String),
    /// A part of a snapshot for a peer.
    SnapshotRead(NodeId, SnapshotChunk),
    /// A snapshot of a peer was verified; these are its chunks.
    SnapshotReceived { meta: SnapshotMeta, chunks: Vec<Vec<u8>> },
    /// A snapshot of a peer was damaged or incomplete.
    SnapshotRefused(String),
}

/// Work for the snapshot thread.
pub(super) enum SnapshotJob {
    /// Write what the stream gives.
    Take { meta: SnapshotMeta, stream: Box<SnapshotStream> },
    /// Read a part for a peer.
    Read { to: NodeId, slot: Option<Slot>, offset: u64 },
    /// Write a part of a peer's snapshot.
    Receive { slot: Slot, offset: u64, total: u64, bytes: Bytes },
    /// The peer's snapshot is complete.
    Install,
}

/// The core's end of the log thread.
#[derive(Clone)]
pub(super) struct LogHandle {
    ops: Sender<LogOp>,
}

impl LogHandle {
    /// Queues a record; [`DiskEvent::Synced`] says when it is durable.
    pub(super) fn append(&self, record: Record) {
        // The thread ends only after it has reported a failure, which stops the node.
        let _ = self.ops.send(LogOp::Append(record));
    }

    /// Has log files dropped that hold only slots below `slot`.
    pub(super) fn truncate(&self, slot: Slot) {
        let _ = self.ops.send(LogOp::Truncate(slot));
    }
}

/// Starts the thread that owns the log. It ends when every handle is dropped.
pub(super) fn start_log(
    wal: Wal<FsDisk>,
    events: UnboundedSender<DiskEvent>,
    metrics: SharedMetrics,
) -> std::io::Result<LogHandle> {
    let (ops, queue) = channel();
    std::thread::Builder::new().name("wal".to_owned()).spawn(move || {
        if let Err(error) = run_log(wal, &queue, &events, &metrics) {
            let _ = events.send(DiskEvent::Failed(error.to_string()));
        }
    })?;
    Ok(LogHandle { ops })
}

fn run_log(
    mut wal: Wal<FsDisk>,
    queue: &Receiver<LogOp>,
    events: &UnboundedSender<DiskEvent>,
    metrics: &SharedMetrics,
) -> Result<(), WalError> {
    while let Ok(first) = queue.recv() {
        let mut records = 0;
        let began = StdInstant::now();
        for op in std::iter::once(first).chain(queue.try_iter()) {
            match op {
                LogOp::Append(record) => {
                    wal.append(&record);
                    records += 1;
                }
                // Also makes durable what was appended before.
                LogOp::Truncate(slot) => wal.truncate_below(slot)?,
            }
        }
        if records > 0 {
            wal.sync()?;
            metrics.synced(began.elapsed());
            let _ = events.send(DiskEvent::Synced(records));
        }
        let written = wal.stats().bytes_written;
        metrics.wal_written_bytes.inc_by(written - metrics.wal_written_bytes.get());
        metrics.wal_bytes.set(wal.bytes().cast_signed());
    }
    Ok(())
}

/// Starts the thread that owns the snapshots. It ends when the sender is dropped.
pub(super) fn start_snapshots(
    snapshots: Snapshots<FsDisk>,
    events: UnboundedSender<DiskEvent>,
) -> std::io::Result<Sender<SnapshotJob>> {
    let (jobs, queue) = channel();
    std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
        let mut worker = SnapshotWorker { snapshots, receiving: None };
        while let Ok(job) = queue.recv() {
            if let Some(event) = worker.work(job) {
                let _ = events.send(event);
            }
        }
    })?;
    Ok(jobs)
}

struct SnapshotWorker {
    snapshots: Snapshots<FsDisk>,
    receiving: Option<SnapshotReceiver<FsDisk>>,
}

impl SnapshotWorker {
    fn work(&mut self, job: SnapshotJob) -> Option<DiskEvent> {
        match job {
            SnapshotJob::Take { meta, stream } => Some(match self.take(&meta, *stream) {
                Ok(()) => DiskEvent::SnapshotTaken(meta.slot),
                Err(error) => DiskEvent::SnapshotFailed(error.to_string()),
            }),
            SnapshotJob::Read { to, slot, offset } => {
                Some(DiskEvent::SnapshotRead(to, self.read(slot, offset)))
            }
            SnapshotJob::Receive { slot, offset, total, bytes } => {
                let received = self.receive(slot, offset, total, &bytes);
                received.err().map(|error| {
                    self.receiving = None;
                    DiskEvent::SnapshotRefused(error.to_string())
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

    fn install(&mut self) -> Option<DiskEvent> {
        let receiving = self.receiving.take()?;
        Some(match self.verify(receiving) {
            Ok((meta, chunks)) => DiskEvent::SnapshotReceived { meta, chunks },
            Err(error) => DiskEvent::SnapshotRefused(error.to_string()),
        })
    }

    fn verify(
        &self,
        receiving: SnapshotReceiver<FsDisk>,
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
