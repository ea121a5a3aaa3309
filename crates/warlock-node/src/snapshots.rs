//! Reads and writes snapshot files, and reads the log back, for whoever owns the disk.
//!
//! Everything is done in steps that take some milliseconds at most, and a long job lets short ones
//! pass, so that a node that takes a snapshot goes on serving another one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use warlock_paxos::limits::{LEARNED_BYTES, SNAPSHOT_CHUNK_BYTES};
use warlock_paxos::{Batch, NodeId, Slot, SnapshotChunk};
use warlock_store::{Replaced, Restore, Restored, SnapshotStep, SnapshotStream};
use warlock_wal::{
    Disk, LogReader, SnapshotError, SnapshotMeta, SnapshotReader, SnapshotReceiver, SnapshotWriter,
    Snapshots,
};

use crate::limits::SNAPSHOT_STREAMS_MAX;

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
    /// Read decided batches out of the log for a peer.
    ReadLog {
        /// Who asked.
        to: NodeId,
        /// The first slot wanted.
        from: Slot,
    },
    /// Forget what was opened for a peer, which asks no more.
    Close(NodeId),
    /// A snapshot of a peer will come.
    Begin {
        /// It covers every slot below.
        slot: Slot,
        /// Length of the whole, in bytes.
        total: u64,
        /// Where its state is built, beside the one that is served.
        restore: Box<Restore>,
    },
    /// Write a part of it, verify and restore what is whole.
    Receive {
        /// The snapshot covers every slot below.
        slot: Slot,
        /// Position of the part, in bytes.
        offset: u64,
        /// The part.
        bytes: Bytes,
    },
    /// Nothing more comes of it: free its space.
    GiveUp,
    /// All of it came: make it durable.
    Install,
    /// Free a state that was replaced.
    Drop(Box<Replaced>),
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
    /// What the log has for a peer; nothing if it does not reach back.
    LogRead {
        /// Who asked.
        to: NodeId,
        /// The first slot wanted.
        from: Slot,
        /// Decided batches from there on.
        batches: Vec<Batch>,
    },
    /// A peer's snapshot is written up to a position.
    Written {
        /// Which snapshot.
        slot: Slot,
        /// The position, in bytes.
        end: u64,
    },
    /// A snapshot of a peer is durable and restored, beside the state that is served.
    Received {
        /// What it covers.
        meta: SnapshotMeta,
        /// The state.
        restored: Box<Restored>,
    },
    /// A snapshot of a peer was damaged or incomplete.
    Refused(String),
}

/// Does the jobs; the daemon gives it a thread of its own, because every step blocks.
#[derive(Debug)]
pub struct SnapshotDesk<D: Disk> {
    snapshots: Snapshots<D>,
    jobs: VecDeque<SnapshotJob>,
    taking: Option<Taking<D>>,
    receiving: Option<Receiving<D>>,
    /// It was refused, as the host knows; the rest of it may still come.
    is_refused: bool,
    /// What peers are being sent. A file stays readable here when it is dropped from the disk.
    serving: BTreeMap<NodeId, Serving<D>>,
    /// The last step was part of a long job, so a short one is next.
    is_turn_of_short: bool,
}

#[derive(Debug)]
struct Taking<D: Disk> {
    slot: Slot,
    stream: Box<SnapshotStream>,
    writer: SnapshotWriter<D>,
}

/// The snapshot of a peer that comes.
#[derive(Debug)]
struct Receiving<D: Disk> {
    file: SnapshotReceiver<D>,
    restore: Box<Restore>,
}

#[derive(Debug)]
struct Serving<D: Disk> {
    snapshot: Option<(Slot, SnapshotReader<D::File>)>,
    log: LogReader<D>,
}

impl<D: Disk> SnapshotDesk<D> {
    /// A desk for the snapshots and the log of one data directory.
    #[must_use]
    pub const fn new(snapshots: Snapshots<D>) -> Self {
        Self {
            snapshots,
            jobs: VecDeque::new(),
            taking: None,
            receiving: None,
            is_refused: false,
            serving: BTreeMap::new(),
            is_turn_of_short: true,
        }
    }

    /// Takes a job, to be done by [`step`](Self::step).
    pub fn give(&mut self, job: SnapshotJob) {
        self.jobs.push_back(job);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.taking.is_none()
    }

    /// Whether there is nothing to do but to take a snapshot, for which nobody waits.
    #[must_use]
    pub fn is_in_no_hurry(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Does a little, and tells what the host has to know of it.
    pub fn step(&mut self) -> Option<SnapshotEvent> {
        let is_short = self.is_turn_of_short || self.taking.is_none();
        self.is_turn_of_short = !is_short;
        if is_short && let Some(job) = self.jobs.pop_front() {
            return self.begin(job);
        }
        self.go_on_taking()
    }

    fn begin(&mut self, job: SnapshotJob) -> Option<SnapshotEvent> {
        match job {
            SnapshotJob::Take { meta, stream } => match self.snapshots.begin(&meta) {
                Ok(writer) => {
                    self.taking = Some(Taking { slot: meta.slot, stream, writer });
                    None
                }
                Err(error) => Some(SnapshotEvent::Failed(error.to_string())),
            },
            SnapshotJob::Read { to, slot, offset } => {
                Some(SnapshotEvent::Read(to, self.read(to, slot, offset)))
            }
            SnapshotJob::ReadLog { to, from } => {
                let batches = self.read_log(to, from);
                Some(SnapshotEvent::LogRead { to, from, batches })
            }
            SnapshotJob::Close(node) => {
                self.serving.remove(&node);
                None
            }
            SnapshotJob::Begin { slot, total, restore } => {
                // The old file goes first: the new one may have its name.
                self.give_up();
                match self.snapshots.receive(slot, total) {
                    Ok(file) => {
                        self.receiving = Some(Receiving { file, restore });
                        None
                    }
                    Err(error) => Some(self.refuse(error.to_string())),
                }
            }
            SnapshotJob::Receive { slot, offset, bytes } => self.receive(slot, offset, &bytes),
            SnapshotJob::GiveUp => {
                self.give_up();
                None
            }
            SnapshotJob::Install => self.install(),
            SnapshotJob::Drop(replaced) => {
                drop(replaced);
                None
            }
        }
    }

    fn go_on_taking(&mut self) -> Option<SnapshotEvent> {
        let taking = self.taking.as_mut()?;
        let outcome = match taking.stream.step() {
            SnapshotStep::More => return None,
            SnapshotStep::Chunk(chunk) => match taking.writer.write_chunk(&chunk) {
                Ok(()) => return None,
                Err(error) => Err(error.to_string()),
            },
            SnapshotStep::Inexact => {
                Err("what was written is not the state that it was to be".to_owned())
            }
            SnapshotStep::End => Ok(()),
        };
        let Taking { slot, writer, .. } = self.taking.take()?;
        let outcome = outcome.and_then(|()| writer.finish().map_err(|error| error.to_string()));
        Some(match outcome {
            Ok(()) => SnapshotEvent::Taken(slot),
            Err(error) => SnapshotEvent::Failed(error),
        })
    }

    /// A part for a peer; empty if there is no such snapshot, so that the peer asks anew.
    fn read(&mut self, to: NodeId, slot: Option<Slot>, offset: u64) -> SnapshotChunk {
        self.read_part(to, slot, offset).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read a snapshot for a peer");
            let slot = slot.unwrap_or(Slot::FIRST);
            SnapshotChunk { slot, offset, total: 0, bytes: Bytes::new() }
        })
    }

    fn read_part(
        &mut self,
        to: NodeId,
        slot: Option<Slot>,
        offset: u64,
    ) -> Result<SnapshotChunk, SnapshotError> {
        let slot = match slot {
            Some(slot) => slot,
            None => self.snapshots.slots()?.last().copied().unwrap_or(Slot::FIRST),
        };
        let snapshots = self.snapshots.clone();
        let serving = &mut self.serving(to).snapshot;
        if serving.as_ref().is_none_or(|(opened, _)| *opened != slot) {
            *serving = Some((slot, snapshots.open_for_peer(slot)?));
        }
        let (_, reader) = serving.as_ref().expect("opened just now");
        let total = reader.length();
        let length = SNAPSHOT_CHUNK_BYTES.min(total.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = reader.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(SnapshotChunk { slot, offset, total, bytes: bytes.into() })
    }

    fn read_log(&mut self, to: NodeId, from: Slot) -> Vec<Batch> {
        self.serving(to).log.read(from, LEARNED_BYTES).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the log for a peer");
            Vec::new()
        })
    }

    /// What is open for a peer. The host lets few in; should it forget one, another has to go.
    fn serving(&mut self, node: NodeId) -> &mut Serving<D> {
        if self.serving.len() >= 2 * SNAPSHOT_STREAMS_MAX && !self.serving.contains_key(&node) {
            self.serving.pop_first();
        }
        let disk = self.snapshots.disk();
        self.serving
            .entry(node)
            .or_insert_with(|| Serving { snapshot: None, log: LogReader::new(disk.clone()) })
    }

    /// Takes a part, unless it is left of a transfer that was replaced or refused.
    fn receive(&mut self, slot: Slot, offset: u64, bytes: &[u8]) -> Option<SnapshotEvent> {
        match &mut self.receiving {
            Some(receiving) if receiving.file.slot() == slot => {
                Some(match receiving.take(offset, bytes) {
                    Ok(end) => SnapshotEvent::Written { slot, end },
                    Err(error) => self.refuse(error),
                })
            }
            // It goes on after a long pause. Without an answer no more would ever be asked for.
            None if !self.is_refused => Some(self.refuse(GIVEN_UP.to_owned())),
            Some(_) | None => None,
        }
    }

    fn install(&mut self) -> Option<SnapshotEvent> {
        match self.receiving.take() {
            Some(receiving) => Some(match receiving.finish() {
                Ok((meta, restored)) => SnapshotEvent::Received { meta, restored },
                Err(error) => SnapshotEvent::Refused(error),
            }),
            None if !self.is_refused => Some(SnapshotEvent::Refused(GIVEN_UP.to_owned())),
            None => None,
        }
    }

    fn refuse(&mut self, reason: String) -> SnapshotEvent {
        self.receiving = None;
        self.is_refused = true;
        SnapshotEvent::Refused(reason)
    }

    fn give_up(&mut self) {
        self.receiving = None;
        self.is_refused = false;
    }
}

const GIVEN_UP: &str = "what came of it before was given up";

impl<D: Disk> Receiving<D> {
    /// Writes a part and restores what is whole; returns how far that is.
    fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<u64, String> {
        self.file.write_at(bytes, offset).map_err(|error| error.to_string())?;
        while let Some(chunk) = self.file.next_chunk().map_err(|error| error.to_string())? {
            self.restore.chunk(&chunk).map_err(|error| error.to_string())?;
        }
        Ok(self.file.received())
    }

    /// Makes the snapshot visible once its content is known to be what it says.
    fn finish(self) -> Result<(SnapshotMeta, Box<Restored>), String> {
        let restored = self.restore.finish().map_err(|error| error.to_string())?;
        let meta = self.file.finish().map_err(|error| error.to_string())?;
        Ok((meta, Box::new(restored)))
    }
}
