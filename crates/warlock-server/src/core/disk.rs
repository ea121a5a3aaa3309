//! The two threads that touch the disk: one appends and syncs the log, one reads and writes
//! snapshots, and reads the log for peers that lag.
//!
//! The log thread takes everything that queued while it was syncing, and makes it durable with one
//! write and one sync (group commit).

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant as StdInstant};

use tokio::sync::mpsc::UnboundedSender;
use warlock_node::{SnapshotDesk, SnapshotEvent, SnapshotJob};
use warlock_paxos::{NodeId, Record, Slot, SnapshotChunk};
use warlock_wal::{Freed, FsDisk, Snapshots, Wal, WalError};

use crate::metrics::SharedMetrics;
use crate::peer::ChunkSender;

/// How long a step towards a snapshot is rested from, as a multiple of what it took. Clients wait
/// for what a snapshot takes from processors and disk; but the longer it takes, the more of the
/// state changes before the stream has passed, and must be kept twice.
const REST: u32 = 5;

/// How long to rest between two steps that give the space of removed files back.
const FREE_REST: Duration = Duration::from_millis(5);

/// How long the thread of the snapshots waits before it looks for removed files again: it is not
/// told of those of the log.
const FREE_LOOK: Duration = Duration::from_secs(1);

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
    /// A part of a snapshot was sent to a peer.
    Sent(NodeId, SnapshotChunk),
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

/// Where jobs for the snapshot files go.
pub(super) struct SnapshotHandle {
    takes: Sender<SnapshotJob>,
    others: Sender<SnapshotJob>,
}

impl SnapshotHandle {
    /// Queues a job; false if its thread is gone.
    pub(super) fn order(&self, job: SnapshotJob) -> bool {
        let takes = matches!(job, SnapshotJob::Take { .. });
        let jobs = if takes { &self.takes } else { &self.others };
        jobs.send(job).is_ok()
    }
}

/// Starts the threads that own the snapshots. They end when the handle is dropped.
///
/// Two, because of their priorities. Taking a snapshot holds locks that the core may wait for, so
/// that thread runs like all others and rests; what peers are sent and what comes from them holds
/// none, and is done with what processors have to spare.
pub(super) fn start_snapshots(
    snapshots: Snapshots<FsDisk>,
    events: UnboundedSender<DiskEvent>,
    chunks: ChunkSender,
) -> std::io::Result<SnapshotHandle> {
    let (takes, queue) = channel();
    let (desk, disk) = (SnapshotDesk::new(snapshots.clone()), snapshots.disk().clone());
    let (to, sender) = (events.clone(), chunks.clone());
    std::thread::Builder::new()
        .name("snapshots".to_owned())
        .spawn(move || run_desk(desk, &queue, &to, &sender, Some(&disk)))?;
    let (others, queue) = channel();
    let desk = SnapshotDesk::new(snapshots);
    std::thread::Builder::new().name("transfers".to_owned()).spawn(move || {
        crate::priority::lower();
        run_desk(desk, &queue, &events, &chunks, None);
    })?;
    Ok(SnapshotHandle { takes, others })
}

fn run_desk(
    mut desk: SnapshotDesk<FsDisk>,
    queue: &Receiver<SnapshotJob>,
    events: &UnboundedSender<DiskEvent>,
    chunks: &ChunkSender,
    frees: Option<&FsDisk>,
) {
    while take_jobs(&mut desk, queue, frees) {
        let (began, in_no_hurry) = (StdInstant::now(), desk.is_in_no_hurry());
        if let Some(event) = desk.step() {
            let _ = events.send(match event {
                // The core need not carry the bytes.
                SnapshotEvent::Read(to, chunk) => {
                    chunks.send(to, chunk.clone());
                    DiskEvent::Sent(to, chunk)
                }
                event @ (SnapshotEvent::Taken(_)
                | SnapshotEvent::Failed(_)
                | SnapshotEvent::LogRead { .. }
                | SnapshotEvent::Written { .. }
                | SnapshotEvent::Received { .. }
                | SnapshotEvent::Refused(_)) => DiskEvent::Snapshot(event),
            });
        }
        if in_no_hurry {
            // Snapshots can follow each other closely; what they replace must not pile up.
            let _ = frees.map(FsDisk::free_some);
            match queue.recv_timeout(began.elapsed() * REST) {
                Ok(job) => desk.give(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Takes over what waits, and waits if there is nothing to do. False when nothing more comes.
fn take_jobs(
    desk: &mut SnapshotDesk<FsDisk>,
    queue: &Receiver<SnapshotJob>,
    frees: Option<&FsDisk>,
) -> bool {
    while desk.is_idle() {
        let job = match frees.map(FsDisk::free_some) {
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(Freed::Some) => queue.recv_timeout(FREE_REST),
            Some(Freed::InUse | Freed::Nothing) => queue.recv_timeout(FREE_LOOK),
        };
        match job {
            Ok(job) => desk.give(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    queue.try_iter().for_each(|job| desk.give(job));
    true
}
