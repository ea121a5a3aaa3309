//! What the core does for the roles and for the workers of the front end: applies, answers,
//! publishes, logs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::UnboundedSender;
use warlock_paxos::{
    Ballot, Batch, Event, Fate, Heartbeat, Instant, LogTime, NodeId, Notice, Slot, Span,
};
use warlock_store::RestoreError;
use warlock_wal::SnapshotMeta;

use super::disk::SnapshotJob;
use super::machine::Machine;
use super::overview;
use super::overview::{Overview, PeerFacts};
use super::router::{LeaderItem, ReplicaItem, Router};
use crate::clock;
use crate::metrics::SharedMetrics;
use crate::seam::{Answer, Ask, ConnectionId, Shared};
use crate::settings::Settings;

/// The state of all replicas is compared at slots that are a multiple of this.
const DIGEST_INTERVAL: u64 = 1024;

/// Commands on their way through the log, in bytes, from which on further ones wait.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The reply to a command that was certainly not executed; clients try again by themselves.
const NOT_EXECUTED: &str =
    "CLUSTERDOWN no master with a quorum could be reached in time; the command was not executed";

/// The reply to a command whose fate is open.
const UNKNOWN: &str = "UNKNOWN the command was proposed but not confirmed in time; it may or may \
    not take effect";

/// Why the core ends before it is asked to.
#[derive(Clone, Debug)]
pub(crate) enum Fatal {
    /// Writing or syncing failed; the node must not go on (P8).
    Disk(String),
    /// The state of this node differs from the master's.
    Diverged(Slot),
}

struct Wait {
    worker: usize,
    connection: ConnectionId,
    slot: Slot,
    replicas: u64,
    deadline: Option<Instant>,
}

/// How the core tells the rest of the process what happened.
pub(super) struct Signals {
    pub(super) fatal: UnboundedSender<Fatal>,
    pub(super) handed_over: UnboundedSender<()>,
    pub(super) snapshots: std::sync::mpsc::Sender<SnapshotJob>,
}

/// The host of the role tasks of one node.
pub(super) struct Host {
    node: NodeId,
    shared: Arc<Shared>,
    metrics: SharedMetrics,
    pub(super) machine: Machine,
    request_timeout: Span,
    applied: Slot,
    deadline_told: Option<u64>,
    /// Tickets of reads: who asked, and with which ticket of theirs.
    reads: HashMap<u64, (usize, u64)>,
    next_read: u64,
    waits: Vec<Wait>,
    held: BTreeMap<NodeId, Slot>,
    overview: Overview,
    signals: Signals,
    snapshots: SnapshotPlan,
}

/// When to take the next snapshot.
#[derive(Default)]
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
    pub(super) fn new(
        settings: &Settings,
        shared: Arc<Shared>,
        metrics: SharedMetrics,
        machine: Machine,
        signals: Signals,
    ) -> Self {
        let timeout = u64::try_from(settings.client.request_timeout.as_nanos());
        Self {
            node: settings.node_id,
            shared,
            metrics,
            machine,
            request_timeout: Span::from_nanos(timeout.unwrap_or(u64::MAX)),
            applied: Slot::FIRST,
            deadline_told: None,
            reads: HashMap::new(),
            next_read: 1,
            waits: Vec::new(),
            held: BTreeMap::new(),
            overview: overview(settings),
            signals,
            snapshots: SnapshotPlan::default(),
        }
    }

    /// Everything on disk is applied.
    pub(super) fn handle_recovered(&self) {
        self.shared.recovered.store(true, Ordering::Release);
        tracing::info!(applied = %self.applied, "recovered from disk");
        self.publish_status();
    }

    /// Takes the wish of a worker.
    pub(super) fn handle_ask(&mut self, router: &Router, ask: Ask) {
        let now = clock::now();
        let deadline = now.after(self.request_timeout);
        match ask {
            Ask::Write(chunk) => {
                self.metrics.proposals.inc();
                let (ticket, commands) = self.machine.admit(chunk);
                let commands = commands.into();
                router.replica.push(ReplicaItem::Submit { ticket, commands, deadline });
            }
            Ask::Index { worker, ticket } => {
                self.metrics.reads_confirmed.inc();
                let read = self.next_read;
                self.next_read += 1;
                self.reads.insert(read, (worker, ticket));
                router.replica.push(ReplicaItem::Read { ticket: read, deadline });
            }
            Ask::Wait { worker, connection, replicas, deadline } => {
                let slot = self.applied;
                self.waits.push(Wait { worker, connection, slot, replicas, deadline });
                self.answer_waits(now);
            }
            Ask::Forget { worker, connection } => {
                self.waits.retain(|wait| (wait.worker, wait.connection) != (worker, connection));
            }
        }
    }

    /// Does what a role notified; called in the order of the role's outputs.
    pub(super) fn handle_notice(&mut self, router: &Router, notice: Notice) {
        match notice {
            Notice::Apply { slot, batch, tickets } => self.apply(router, slot, &batch, &tickets),
            Notice::Failed { ticket, fate } => {
                let error = match fate {
                    Fate::NotExecuted => NOT_EXECUTED,
                    Fate::Unknown => {
                        self.metrics.proposals_unknown.inc();
                        UNKNOWN
                    }
                };
                self.machine.fail(ticket, error);
            }
            Notice::ReadReady { ticket, allowed } => {
                if let Some((worker, ticket)) = self.reads.remove(&ticket) {
                    self.machine.queue(worker).push(Answer::Indexed { ticket, allowed });
                }
            }
            Notice::Serve(end) => {
                self.shared.lease.publish(end);
                self.overview.note_lease(end);
            }
            Notice::Master(master) => self.handle_master(master),
            Notice::Held(held) => {
                self.held = held.into_iter().collect();
                self.answer_waits(clock::now());
            }
            Notice::LogClock(time, at) => self.shared.log_clock.publish(time, at),
            Notice::SnapshotWanted => self.snapshots.wanted = true,
            Notice::ReadSnapshot { to, slot, offset } => {
                self.order(SnapshotJob::Read { to, slot, offset });
            }
            Notice::WriteSnapshot { slot, offset, total, bytes } => {
                self.order(SnapshotJob::Receive { slot, offset, total, bytes });
            }
            Notice::InstallSnapshot { .. } => self.order(SnapshotJob::Install),
            Notice::Diverged { slot } => {
                tracing::error!(%slot, "the state differs from the master's: this node stops");
                self.fail(Fatal::Diverged(slot));
            }
            Notice::HandedOver => {
                let _ = self.signals.handed_over.send(());
            }
            Notice::Log(event) => {
                self.count_event(&event);
                log_event(&event);
            }
        }
    }

    /// Takes note of what a peer's heartbeat says of itself.
    pub(super) fn note_heartbeat(&mut self, from: NodeId, heartbeat: &Heartbeat) {
        self.overview.note_heartbeat(clock::now(), from, heartbeat.applied);
    }

    pub(super) fn note_peer(&mut self, node: NodeId, facts: Option<PeerFacts>) {
        self.overview.note_peer(node, facts);
        self.publish_status();
    }

    /// Replaces what `status` shows, and answers waits whose time is up.
    pub(super) fn handle_tick(&mut self) {
        self.answer_waits(clock::now());
        self.publish_status();
    }

    pub(super) fn fail(&self, fatal: Fatal) {
        let _ = self.signals.fatal.send(fatal);
    }

    /// Replaces the state by a verified snapshot of a peer; all of it or nothing.
    pub(super) fn install(
        &mut self,
        meta: &SnapshotMeta,
        chunks: Vec<Vec<u8>>,
    ) -> Result<(Slot, LogTime), RestoreError> {
        let applier = self.machine.applier();
        applier.begin_restore();
        for chunk in chunks {
            applier.restore_chunk(&chunk)?;
        }
        applier.finish_restore()?;
        self.applied = meta.slot;
        self.machine.restored(meta.log_time);
        self.metrics.snapshots.inc();
        tracing::info!(slot = %meta.slot, "installed a snapshot of a peer");
        Ok((meta.slot, meta.log_time))
    }

    /// Has a snapshot taken if a node needs one, or if the log has grown by `after_bytes` since the
    /// last; by more if the state is larger, so that snapshots never outweigh the log.
    pub(super) fn consider_snapshot(&mut self, ballot: Ballot, after_bytes: u64) {
        let written = self.metrics.wal_written_bytes.get();
        let plan = &mut self.snapshots;
        let grown = plan.recovered_bytes + written - plan.written_before;
        let due = grown >= after_bytes.max(self.shared.store.used_bytes());
        if plan.running || self.applied == Slot::FIRST || !(due || plan.wanted) {
            return;
        }
        *plan = SnapshotPlan { running: true, written_before: written, ..SnapshotPlan::default() };
        let stream = Box::new(self.machine.applier().snapshot());
        let (slot, log_time) = (self.applied, self.machine.log_time());
        let meta = SnapshotMeta { slot, ballot, log_time, membership: Vec::new() };
        tracing::info!(slot = %self.applied, log_bytes = grown, "taking a snapshot");
        self.order(SnapshotJob::Take { meta, stream });
    }

    pub(super) fn note_snapshot_done(&mut self) {
        self.snapshots.running = false;
        self.metrics.snapshots.inc();
    }

    /// The snapshot on disk is in the state machine.
    pub(super) const fn restored(&mut self, slot: Slot, log_bytes: u64) {
        self.applied = slot;
        self.snapshots.recovered_bytes = log_bytes;
    }

    /// Whether another node leads, or there is none that could.
    pub(super) fn is_succeeded(&self) -> bool {
        let master = self.overview.master();
        self.overview.members() == 1 || master.is_some_and(|ballot| ballot.node != self.node)
    }

    /// Whether so many commands wait for the log that no more should be given to it.
    pub(super) const fn is_crowded(&self) -> bool {
        self.machine.pending_bytes() > PENDING_BYTES_MAX
    }

    fn apply(&mut self, router: &Router, slot: Slot, batch: &Batch, tickets: &[(usize, u64)]) {
        let commands = self.machine.apply(slot, batch, tickets);
        self.metrics.commands_applied.inc_by(commands);
        self.applied = slot.next();
        self.metrics.slots_decided.inc();
        let deadline = self.machine.applier().next_deadline_us();
        if deadline != self.deadline_told {
            self.deadline_told = deadline;
            router.leader.push(LeaderItem::Deadline(deadline.map(LogTime::from_micros)));
        }
        if self.applied.position().is_multiple_of(DIGEST_INTERVAL) {
            let digest = self.shared.store.digest();
            router.leader.push(LeaderItem::Digest(self.applied, digest));
            router.replica.push(ReplicaItem::Digest(self.applied, digest));
        }
    }

    fn count_event(&self, event: &Event) {
        match event {
            Event::Scouting(_) => self.metrics.elections.inc(),
            Event::LeaseHeld(_) => self.metrics.masterships.inc(),
            Event::Leading { .. } | Event::SteppedDown(..) | Event::CatchingUp { .. } => 0,
        };
    }

    fn handle_master(&mut self, master: Option<Ballot>) {
        match master {
            Some(ballot) => tracing::info!(master = %ballot.node, %ballot, "master"),
            None => tracing::warn!("no master with a quorum in sight"),
        }
        self.held.clear();
        self.overview.note_master(master);
        self.publish_status();
    }

    fn answer_waits(&mut self, now: Instant) {
        if self.waits.is_empty() {
            return;
        }
        let waits = std::mem::take(&mut self.waits);
        for wait in waits {
            let replicas = self.followers_holding(wait.slot);
            let overdue = wait.deadline.is_some_and(|deadline| deadline <= now);
            if replicas >= wait.replicas || overdue {
                let Wait { worker, connection, .. } = wait;
                self.machine.queue(worker).push(Answer::Held { connection, replicas });
            } else {
                self.waits.push(wait);
            }
        }
    }

    /// What is applied was accepted by a quorum, of which at most one is the master.
    fn followers_holding(&self, slot: Slot) -> u64 {
        let master = self.overview.master().map_or(self.node, |ballot| ballot.node);
        let known = self.held.iter().filter(|(node, held)| **node != master && **held >= slot);
        let certain = self.overview.members() / 2;
        known.count().max(certain) as u64
    }

    fn publish_status(&self) {
        let status = self.overview.status(clock::now(), self.applied);
        *self.shared.status.lock() = Arc::new(status);
    }

    fn order(&self, job: SnapshotJob) {
        if self.signals.snapshots.send(job).is_err() {
            tracing::error!("the snapshot thread is gone");
        }
    }
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
    }
}
