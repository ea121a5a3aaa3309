//! What a node does for its roles and for the workers of its clients: applies, answers, publishes,
//! plans snapshots.
//!
//! It decides what is to be done and changes only what is in memory; everything else it returns
//! as [`Effect`]s, in the order in which they are to be carried out.

mod operating;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use warlock_paxos::{
    Ballot, Batch, ChangeRequest, Event, Fate, Heartbeat, Incarnation, Instant, LogTime,
    Membership, NodeId, Notice, Slot, SnapshotChunk, Span, View, encode_charter, mutant,
};
use warlock_store::Restored;
use warlock_wal::SnapshotMeta;

use crate::limits::LOG_KEPT_FACTOR;
use crate::machine::Machine;
use crate::overview::{Overview, PeerFacts};
use crate::seam::{Answer, Ask, Chunk, ConnectionId};
use crate::shared::Shared;
use crate::snapshots::{SnapshotEvent, SnapshotJob};
use crate::transfers::Transfers;
use operating::Operations;

/// The state of all replicas is compared at slots that are a multiple of this.
const DIGEST_INTERVAL: u64 = 1024;

/// Commands on their way through the log, in bytes, from which on further ones wait.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How often [`Host::handle_tick`] is to be called.
pub const TICK: Span = Span::from_millis(100);

/// The reply to a command that was certainly not executed; clients try again by themselves.
const NOT_EXECUTED: &str =
    "CLUSTERDOWN no master with a quorum could be reached in time; the command was not executed";

/// The reply to a command whose fate is open.
const UNKNOWN: &str = "UNKNOWN the command was proposed but not confirmed in time; it may or may \
    not take effect";

/// Why a node ends before it is asked to.
#[derive(Clone, Debug)]
pub enum Fatal {
    /// Writing or syncing failed; the node must not go on (P8).
    Disk(String),
    /// The state of this node differs from the master's.
    Diverged(Slot),
    /// The node is no member any more.
    Retired,
    /// No cluster takes the node.
    NotAdmitted(String),
    /// An operator wants the node to forget its state below this slot.
    Reset(Slot),
}

/// A node that wants to belong to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinWish {
    /// Its name.
    pub node: NodeId,
    /// Its data directory (P7).
    pub incarnation: Incarnation,
    /// Where it listens for peers.
    pub address: String,
    /// It wants no vote.
    pub observer: bool,
}

/// The answer to a [`JoinWish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinReply {
    /// The node is part of this membership; if it has no vote and wants one, it must ask again.
    Member(Membership),
    /// Only the master can tell, which listens for peers here.
    Elsewhere(String),
    /// Not now: ask again. Says why, and the membership that the node is part of so far.
    Later(String, Option<Membership>),
    /// No, and asking again does not help.
    Refused(String),
}

/// What the owner of a [`Host`] has to do.
#[derive(Debug)]
pub enum Effect {
    /// The owner must hand the answer to the worker; for one worker in order.
    Answer {
        /// Index of the worker.
        worker: usize,
        /// The answer.
        answer: Answer,
    },
    /// The owner must give the commands to the replica.
    Submit {
        /// Names the submission until it is applied or failed.
        ticket: u64,
        /// Encoded with `warlock_store::entry`.
        commands: Bytes,
        /// When the replica gives up.
        deadline: Instant,
    },
    /// The owner must give a wish to read linearizably to the replica.
    Read {
        /// Repeated in the answer.
        ticket: u64,
        /// When the replica gives up.
        deadline: Instant,
    },
    /// The owner must tell the leader the earliest expiry of a key, which changed.
    Expiry(Option<LogTime>),
    /// The owner must tell leader and replica the digest of the state before the slot.
    Digest(Slot, u64),
    /// The owner must give the job to the [`SnapshotDesk`](crate::SnapshotDesk), let that make its
    /// steps beside everything else, and give what comes of them to
    /// [`Host::handle_snapshot_event`].
    Snapshot(SnapshotJob),
    /// The owner must tell the replica that a snapshot of everything below the slot is stored.
    Stored(Slot),
    /// The owner must have log files dropped that hold only slots below this one, and tell the
    /// replica that the log on disk begins there.
    Truncate(Slot),
    /// The owner must tell the replica that a snapshot of a peer is written up to a position.
    Written(Slot, u64),
    /// The owner must tell the replica what the log on disk has for a peer.
    LogRead {
        /// Who asked.
        to: NodeId,
        /// The first slot wanted.
        from: Slot,
        /// Decided batches from there on.
        batches: Vec<Batch>,
    },
    /// The owner must tell the replica that a snapshot of a peer is the state now.
    Installed {
        /// It covers every slot below.
        slot: Slot,
        /// Log time of the state.
        log_time: LogTime,
    },
    /// The owner must tell the replica that a snapshot of a peer could not be installed.
    Refused,
    /// The owner must send a part of a snapshot to the node.
    SendChunk {
        /// Who asked.
        to: NodeId,
        /// The part.
        chunk: SnapshotChunk,
    },
    /// The owner must have the leader handle the wish for another membership or, for a `dry_run`,
    /// have it judged and give the outcome to [`Host::handle_judged`].
    Change {
        /// Names the wish until it is answered.
        ticket: u64,
        /// The wish.
        request: ChangeRequest,
        /// Only judge it.
        dry_run: bool,
    },
    /// The owner must have the leader, which is master, hand over to the node, or to the fittest.
    Transfer(Option<NodeId>),
    /// The owner must have this node, which is no member of anything, join a cluster.
    Join {
        /// A member's address for peers.
        address: String,
        /// Without a vote.
        observer: bool,
    },
    /// The owner must end the node in order, and start it again after
    /// [`Recovery::forget`](crate::Recovery::forget) with this slot.
    Reset(Slot),
    /// The owner must answer a node that wants to join; names who asked.
    Joined(u64, JoinReply),
    /// The membership in force is another: the owner must connect with its nodes and no others.
    Members(Membership),
    /// This node is not part of the membership in force: the owner must serve no clients any more,
    /// and end the node once a quorum of that membership knows that it is in force. Until then the
    /// others may need its word.
    Retired(Membership),
    /// The owner must stop the node.
    Fatal(Fatal),
    /// The orderly hand-over is complete: an owner that is stopping may exit.
    HandedOver,
}

#[derive(Debug)]
struct Wait {
    worker: usize,
    connection: ConnectionId,
    slot: Slot,
    replicas: u64,
    deadline: Option<Instant>,
}

/// What a [`Host`] is started with.
#[derive(Debug)]
pub struct HostOptions {
    /// The node.
    pub node: NodeId,
    /// How long a command or a read may take before it is answered with an error.
    pub request_timeout: Span,
    /// Log bytes from which on a snapshot is taken, at least.
    pub snapshot_after_bytes: u64,
    /// The log on disk counts from here on.
    pub log_start: Slot,
    /// The cluster as known from the settings.
    pub overview: Overview,
}

/// The host of the roles of one node.
#[derive(Debug)]
pub struct Host {
    options: HostOptions,
    shared: Arc<Shared>,
    machine: Machine,
    applied: Slot,
    deadline_told: Option<u64>,
    /// Tickets of reads: who asked, and with which ticket of theirs.
    reads: BTreeMap<u64, (usize, u64)>,
    next_read: u64,
    /// Commands that wait because too many are on their way through the log.
    held_back: VecDeque<Chunk>,
    waits: Vec<Wait>,
    operations: Operations,
    held: BTreeMap<NodeId, Slot>,
    snapshots: SnapshotPlan,
    transfers: Transfers,
    log: LogPlan,
}

/// What the log of a node takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogUse {
    /// Bytes that this process has written to it.
    pub written: u64,
    /// Bytes that its files take on the disk.
    pub held: u64,
}

/// How much of the log to keep.
#[derive(Debug)]
struct LogPlan {
    /// A snapshot on disk covers every slot below.
    covered: Slot,
    /// The log counts from here on.
    start: Slot,
    /// Bytes beyond which what is covered is dropped, whoever needs it.
    bytes_max: u64,
}

/// When to take the next snapshot.
#[derive(Debug, Default)]
struct SnapshotPlan {
    running: bool,
    /// A node needs one.
    wanted: bool,
    /// What the log held above the snapshot when the process started, in bytes.
    recovered_bytes: u64,
    /// Bytes written to the log by this process when the last snapshot began.
    written_before: u64,
}

impl Host {
    /// The host of a node whose `machine` holds every slot below `applied`, above which the log
    /// holds `log_bytes`.
    #[must_use]
    pub fn new(
        options: HostOptions,
        shared: Arc<Shared>,
        machine: Machine,
        applied: Slot,
        log_bytes: u64,
    ) -> Self {
        let bytes_max = LOG_KEPT_FACTOR.saturating_mul(options.snapshot_after_bytes);
        *shared.membership.lock() = Arc::new(options.overview.membership().clone());
        let start = options.log_start;
        Self {
            options,
            shared,
            machine,
            applied,
            deadline_told: None,
            transfers: Transfers::new(),
            log: LogPlan { covered: applied, start, bytes_max },
            reads: BTreeMap::new(),
            next_read: 1,
            held_back: VecDeque::new(),
            waits: Vec::new(),
            operations: Operations::default(),
            held: BTreeMap::new(),
            snapshots: SnapshotPlan { recovered_bytes: log_bytes, ..SnapshotPlan::default() },
        }
    }

    /// Everything on disk is applied.
    pub fn handle_recovered(&self, now: Instant) {
        self.shared.recovered.store(true, Ordering::Release);
        tracing::info!(applied = %self.applied, "recovered from disk");
        self.publish_status(now);
    }

    /// Takes the wish of a worker.
    pub fn handle_ask(&mut self, now: Instant, ask: Ask, out: &mut Vec<Effect>) {
        match ask {
            Ask::Write(chunk) => {
                self.held_back.push_back(chunk);
                self.admit(now, out);
            }
            Ask::Index { worker, ticket } => {
                count(&self.shared.counters.reads_confirmed);
                let read = self.next_read;
                self.next_read += 1;
                self.reads.insert(read, (worker, ticket));
                let deadline = now.after(self.options.request_timeout);
                out.push(Effect::Read { ticket: read, deadline });
            }
            Ask::Wait { worker, connection, replicas, deadline } => {
                let slot = self.applied;
                self.waits.push(Wait { worker, connection, slot, replicas, deadline });
                self.answer_waits(now, out);
            }
            Ask::Operate { worker, connection, operation } => {
                self.operate(now, (worker, connection), operation, out);
            }
            Ask::Forget { worker, connection } => {
                self.operations.forget((worker, connection));
                self.waits.retain(|wait| (wait.worker, wait.connection) != (worker, connection));
            }
        }
    }

    /// Does what a role notified; to be called in the order of the role's outputs.
    pub fn handle_notice(&mut self, now: Instant, notice: Notice, out: &mut Vec<Effect>) {
        match notice {
            Notice::Apply { slot, batch, tickets } => {
                self.apply(slot, &batch, &tickets, out);
                self.admit(now, out);
            }
            Notice::Failed { ticket, fate } => {
                self.fail(ticket, fate, out);
                self.admit(now, out);
            }
            Notice::ReadReady { ticket, allowed } => {
                if let Some((worker, ticket)) = self.reads.remove(&ticket) {
                    let answer = Answer::Indexed { ticket, allowed };
                    out.push(Effect::Answer { worker, answer });
                }
            }
            Notice::Serve(end) => {
                self.shared.lease.publish(end);
                self.options.overview.note_lease(end);
            }
            Notice::Master(master) => self.handle_master(now, master),
            Notice::Held(held) => {
                self.held = held.into_iter().collect();
                self.answer_waits(now, out);
            }
            Notice::LogClock(time, at) => self.shared.log_clock.publish(time, at),
            Notice::SnapshotWanted => self.snapshots.wanted = true,
            Notice::ReadLog { to, from } => self.read_log(to, from, out),
            Notice::ReadSnapshot { to, slot, offset } => {
                self.read_snapshot(now, to, slot, offset, out);
            }
            Notice::WriteSnapshot { slot, offset, total, bytes } => {
                let end = offset + bytes.len() as u64;
                self.transfers.note_receiving(now, slot, end, total);
                self.write_snapshot(slot, offset, total, bytes, out);
            }
            Notice::InstallSnapshot { .. } => {
                self.transfers.note_installing();
                out.push(Effect::Snapshot(SnapshotJob::Install));
            }
            Notice::Diverged { slot } => {
                tracing::error!(%slot, "the state differs from the master's: this node stops");
                out.push(Effect::Fatal(Fatal::Diverged(slot)));
            }
            Notice::HandedOver => out.push(Effect::HandedOver),
            Notice::ChangeAnswered { ticket, verdict } => {
                tracing::info!(ticket, %verdict, "change of the membership");
                self.handle_verdict(now, ticket, &verdict, out);
            }
            Notice::InForce(membership) => {
                tracing::info!(%membership, "membership");
                self.options.overview.enter(&membership);
                self.publish_membership(&membership);
                self.publish_status(now);
                out.push(Effect::Members(membership));
            }
            Notice::Retired => {
                tracing::warn!("this node is not part of the membership any more");
                self.shared.stopping.store(true, Ordering::Release);
                out.push(Effect::Retired(self.options.overview.membership().clone()));
            }
            Notice::Log(event) => {
                self.count_event(&event);
                log_event(&event);
            }
        }
    }

    /// Does what follows from a step of the [`SnapshotDesk`](crate::SnapshotDesk).
    pub fn handle_snapshot_event(
        &mut self,
        now: Instant,
        event: SnapshotEvent,
        out: &mut Vec<Effect>,
    ) {
        let counters = &self.shared.counters;
        match event {
            SnapshotEvent::Taken(slot) => {
                self.snapshots.running = false;
                counters.snapshot_running.store(0, Ordering::Relaxed);
                count(&counters.snapshots);
                tracing::info!(%slot, "took a snapshot");
                out.push(Effect::Stored(slot));
                self.log.covered = self.log.covered.max(slot);
                self.truncate(now, LogUse::default(), out);
            }
            SnapshotEvent::Failed(error) => {
                tracing::error!(%error, "cannot write a snapshot; the log goes on growing");
                counters.snapshot_running.store(0, Ordering::Relaxed);
                self.snapshots.running = false;
            }
            SnapshotEvent::Read(to, chunk) => {
                self.note_sent(to, &chunk);
                out.push(Effect::SendChunk { to, chunk });
            }
            SnapshotEvent::LogRead { to, from, batches } => {
                let bytes: usize = batches.iter().map(|batch| batch.as_bytes().len()).sum();
                counters.log_sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                out.push(Effect::LogRead { to, from, batches });
            }
            SnapshotEvent::Written { slot, end } => out.push(Effect::Written(slot, end)),
            SnapshotEvent::Received { meta, restored } => self.install(&meta, *restored, out),
            SnapshotEvent::Refused(error) => {
                tracing::error!(%error, "a snapshot of a peer cannot be used");
                self.transfers.note_received();
                out.push(Effect::Refused);
            }
        }
    }

    /// Takes note of a part of a snapshot that goes to a peer, if the owner sends it without
    /// [`SnapshotEvent::Read`].
    pub fn note_sent(&mut self, to: NodeId, chunk: &SnapshotChunk) {
        let sent = &self.shared.counters.snapshot_sent_bytes;
        sent.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        self.transfers.note_sent(to, chunk);
    }

    /// Takes note of what a peer's heartbeat says of itself.
    pub fn note_heartbeat(&mut self, now: Instant, from: NodeId, heartbeat: &Heartbeat) {
        self.options.overview.note_heartbeat(now, from, heartbeat.applied);
    }

    /// A connection to a peer came up with these facts, or went down.
    pub fn note_peer(&mut self, now: Instant, node: NodeId, facts: Option<PeerFacts>) {
        self.options.overview.note_peer(node, facts);
        self.publish_status(now);
    }

    /// Replaces what `status` shows, answers waits whose time is up, and has a snapshot taken if
    /// one is due. To be called every [`TICK`].
    ///
    /// `ballot` is the highest that the acceptor has ever written down.
    pub fn handle_tick(
        &mut self,
        now: Instant,
        log: LogUse,
        ballot: Ballot,
        out: &mut Vec<Effect>,
    ) {
        self.answer_waits(now, out);
        for node in self.transfers.expire(now) {
            out.push(Effect::Snapshot(SnapshotJob::Close(node)));
        }
        if self.transfers.give_up(now) {
            out.push(Effect::Snapshot(SnapshotJob::GiveUp));
        }
        let streams = self.transfers.streams() as u64;
        self.shared.counters.snapshot_streams.store(streams, Ordering::Relaxed);
        self.publish_status(now);
        self.consider_snapshot(log.written, ballot, out);
        self.truncate(now, log, out);
    }

    /// Whether another node leads, or there is none that could.
    #[must_use]
    pub fn is_succeeded(&self) -> bool {
        let master = self.options.overview.master();
        self.options.overview.voters() == 1
            || master.is_some_and(|ballot| ballot.node != self.options.node)
    }

    /// Log time of the newest batch applied.
    #[must_use]
    pub const fn log_time(&self) -> LogTime {
        self.machine.log_time()
    }

    /// The first slot that is not applied.
    #[must_use]
    pub const fn applied(&self) -> Slot {
        self.applied
    }

    /// Submits commands, as long as not too many are on their way through the log.
    fn admit(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while self.machine.pending_bytes() <= PENDING_BYTES_MAX
            && let Some(chunk) = self.held_back.pop_front()
        {
            count(&self.shared.counters.proposals);
            let (ticket, commands) = self.machine.admit(chunk);
            let deadline = now.after(self.options.request_timeout);
            out.push(Effect::Submit { ticket, commands: commands.into(), deadline });
        }
    }

    fn apply(
        &mut self,
        slot: Slot,
        batch: &Batch,
        tickets: &[(usize, u64)],
        out: &mut Vec<Effect>,
    ) {
        let commands = self.machine.apply(slot, batch, tickets, out);
        self.shared.counters.commands_applied.fetch_add(commands, Ordering::Relaxed);
        self.applied = slot.next();
        count(&self.shared.counters.slots_decided);
        let deadline = self.machine.applier().next_deadline_us();
        if deadline != self.deadline_told {
            self.deadline_told = deadline;
            out.push(Effect::Expiry(deadline.map(LogTime::from_micros)));
        }
        if self.applied.position().is_multiple_of(DIGEST_INTERVAL) {
            out.push(Effect::Digest(self.applied, self.shared.store.digest()));
        }
    }

    fn fail(&mut self, ticket: u64, fate: Fate, out: &mut Vec<Effect>) {
        let error = match fate {
            Fate::NotExecuted => NOT_EXECUTED,
            Fate::Unknown => {
                count(&self.shared.counters.proposals_unknown);
                UNKNOWN
            }
        };
        self.machine.fail(ticket, error, out);
    }

    /// Has a part of a peer's snapshot written and restored.
    fn write_snapshot(
        &mut self,
        slot: Slot,
        offset: u64,
        total: u64,
        bytes: Bytes,
        out: &mut Vec<Effect>,
    ) {
        let received = &self.shared.counters.snapshot_received_bytes;
        received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if offset == 0 {
            let restore = Box::new(self.machine.applier().restore());
            out.push(Effect::Snapshot(SnapshotJob::Begin { slot, total, restore }));
        }
        out.push(Effect::Snapshot(SnapshotJob::Receive { slot, offset, bytes }));
    }

    /// Replaces the state by a verified snapshot of a peer; all of it or nothing.
    fn install(&mut self, meta: &SnapshotMeta, restored: Restored, out: &mut Vec<Effect>) {
        self.transfers.note_received();
        let covered = restored.checkpoint().next_slot;
        if covered != meta.slot.position() {
            tracing::error!(slot = %meta.slot, covered, "a snapshot contradicts itself");
            out.push(Effect::Refused);
            return;
        }
        // Before anything is recorded on top of it.
        (self.log.covered, self.log.start) = (meta.slot, meta.slot);
        out.push(Effect::Truncate(meta.slot));
        let replaced = Box::new(self.machine.applier().install(restored));
        out.push(Effect::Snapshot(SnapshotJob::Drop(replaced)));
        self.applied = meta.slot;
        self.machine.restored(meta.log_time);
        count(&self.shared.counters.snapshots);
        tracing::info!(slot = %meta.slot, "installed a snapshot of a peer");
        out.push(Effect::Installed { slot: meta.slot, log_time: meta.log_time });
    }

    /// Has decided slots read out of the log, as far as that counts.
    fn read_log(&self, to: NodeId, from: Slot, out: &mut Vec<Effect>) {
        out.push(if from >= self.log.start {
            Effect::Snapshot(SnapshotJob::ReadLog { to, from })
        } else {
            Effect::LogRead { to, from, batches: Vec::new() }
        });
    }

    /// Has a part of a snapshot read for a peer, unless too many are being sent one.
    fn read_snapshot(
        &mut self,
        now: Instant,
        to: NodeId,
        slot: Option<Slot>,
        offset: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.transfers.admit(now, to) {
            out.push(Effect::Snapshot(SnapshotJob::Read { to, slot, offset }));
        } else {
            let slot = slot.unwrap_or(Slot::FIRST);
            let chunk = SnapshotChunk { slot, offset, total: 0, bytes: Bytes::new() };
            out.push(Effect::SendChunk { to, chunk });
        }
    }

    /// Drops what a snapshot covers and nobody needs who answers; when the log takes too much, all
    /// that a snapshot covers.
    fn truncate(&mut self, now: Instant, log: LogUse, out: &mut Vec<Effect>) {
        let LogPlan { covered, start, bytes_max } = self.log;
        if covered <= start {
            return;
        }
        let needed = self.options.overview.lowest_needed(now, start);
        let needed = needed.into_iter().chain(self.transfers.lowest_slot()).min();
        let kept = needed.filter(|_| log.held <= bytes_max);
        let slot = covered.min(kept.unwrap_or(covered));
        if slot > start {
            self.log.start = slot;
            out.push(Effect::Truncate(slot));
        }
    }

    /// Has a snapshot taken if a node needs one, or if the log has grown enough since the last; by
    /// more if the state is larger, so that snapshots never outweigh the log.
    fn consider_snapshot(&mut self, written: u64, ballot: Ballot, out: &mut Vec<Effect>) {
        let plan = &mut self.snapshots;
        if plan.running || self.applied == Slot::FIRST {
            return;
        }
        let after = self.options.snapshot_after_bytes;
        let grown = plan.recovered_bytes + written - plan.written_before;
        // Looking through the whole state costs more than all else here.
        let mut due = grown >= after;
        if due {
            let used = self.shared.store.used_bytes();
            self.log.bytes_max = LOG_KEPT_FACTOR.saturating_mul(used.max(after));
            due = grown >= used;
        }
        let wanted = plan.wanted || self.shared.snapshot_wanted.load(Ordering::Relaxed);
        if !due && !wanted {
            return;
        }
        self.shared.snapshot_wanted.store(false, Ordering::Relaxed);
        self.shared.counters.snapshot_running.store(1, Ordering::Relaxed);
        *plan = SnapshotPlan { running: true, written_before: written, ..SnapshotPlan::default() };
        let stream = Box::new(self.machine.applier().snapshot());
        let covered = self.applied.position() + u64::from(mutant!(SnapshotSlotAhead))
            - u64::from(mutant!(SnapshotSlotBehind));
        let (slot, log_time) = (Slot::new(covered), self.machine.log_time());
        // The first view is that of the settings, and the snapshot as version 1 reads it.
        let charter = self.options.overview.membership().charter();
        let changed = charter.view > View::new(1);
        let membership = if changed { encode_charter(charter) } else { Vec::new() };
        let meta = SnapshotMeta { slot, ballot, log_time, membership };
        tracing::info!(slot = %self.applied, log_bytes = grown, "taking a snapshot");
        out.push(Effect::Snapshot(SnapshotJob::Take { meta, stream }));
    }

    fn count_event(&self, event: &Event) {
        match event {
            Event::Scouting(_) => count(&self.shared.counters.elections),
            Event::LeaseHeld(_) => count(&self.shared.counters.masterships),
            Event::Leading { .. }
            | Event::SteppedDown(..)
            | Event::CatchingUp { .. }
            | Event::Changing(_)
            | Event::Lost(_) => {}
        }
    }

    fn handle_master(&mut self, now: Instant, master: Option<Ballot>) {
        match master {
            Some(ballot) => tracing::info!(master = %ballot.node, %ballot, "master"),
            None => tracing::warn!("no master with a quorum in sight"),
        }
        self.held.clear();
        self.options.overview.note_master(master);
        self.publish_status(now);
    }

    fn answer_waits(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.waits.is_empty() {
            return;
        }
        let waits = std::mem::take(&mut self.waits);
        for wait in waits {
            let replicas = self.followers_holding(wait.slot);
            let overdue = wait.deadline.is_some_and(|deadline| deadline <= now);
            if replicas >= wait.replicas || overdue {
                let Wait { worker, connection, .. } = wait;
                let answer = Answer::Held { connection, replicas };
                out.push(Effect::Answer { worker, answer });
            } else {
                self.waits.push(wait);
            }
        }
    }

    /// What is applied was accepted by a quorum, of which at most one is the master.
    fn followers_holding(&self, slot: Slot) -> u64 {
        let master = self.options.overview.master().map_or(self.options.node, |ballot| ballot.node);
        let known = self.held.iter().filter(|(node, held)| **node != master && **held >= slot);
        let certain = self.options.overview.voters() / 2;
        known.count().max(certain) as u64
    }

    fn publish_status(&self, now: Instant) {
        let mut status = self.options.overview.status(now, self.applied);
        for node in &mut status.nodes {
            node.snapshot = match node.id == self.options.node.number() {
                true => self.transfers.receiving(),
                false => self.transfers.sending(NodeId::new(node.id)),
            };
        }
        *self.shared.status.lock() = Arc::new(status);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn log_event(event: &Event) {
    match event {
        Event::Scouting(ballot) => tracing::info!(%ballot, "standing for election"),
        Event::Leading { ballot, from, barrier } => {
            tracing::info!(%ballot, %from, %barrier, "leading");
        }
        Event::LeaseHeld(ballot) => tracing::info!(%ballot, "holding the master lease"),
        Event::SteppedDown(ballot, reason) => tracing::warn!(%ballot, %reason, "stepped down"),
        Event::CatchingUp { from, to, node } => {
            tracing::debug!(%from, %to, %node, "catching up");
        }
        Event::Changing(membership) => tracing::info!(%membership, "proposing a membership"),
        Event::Lost(slot) => tracing::error!(
            %slot,
            "decided, and no member can read it: restore a data directory that has it"
        ),
    }
}
