//! The two threads that touch the disk: one appends and syncs the log, one reads and writes
//! snapshots.
//!
//! The log thread takes everything that queued while it was syncing, and makes it durable with one
//! write and one sync (group commit).

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant as StdInstant;

use tokio::sync::mpsc::UnboundedSender;
use warlock_node::{SnapshotDesk, SnapshotEvent, SnapshotJob};
use warlock_paxos::{Record, Slot};
use warlock_wal::{FsDisk, Snapshots, Wal, WalError};

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
    /// What became of a snapshot job.
    Snapshot(SnapshotEvent),
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
        let mut desk = SnapshotDesk::new(snapshots);
        while let Ok(job) = queue.recv() {
            if let Some(event) = desk.work(job) {
                let _ = events.send(DiskEvent::Snapshot(event));
            }
        }
    })?;
    Ok(jobs)
}
