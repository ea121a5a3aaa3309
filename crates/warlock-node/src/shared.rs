//! The facts of a node that its workers read without asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use warlock_paxos::{Instant, LogTime, Membership, Span, mutant};
use warlock_store::Reader;

use crate::status::Status;

/// The master lease as workers see it (L3).
///
/// The leader role stores the end of its lease here while its phase 1 is done and everything that
/// it recovered is applied, and zero otherwise; the comparison with the clock is made at each read.
#[derive(Debug, Default)]
pub struct LeaseCell {
    end: AtomicU64,
}

/// Proof that this node held the master lease when it was made; good for one read.
#[derive(Debug)]
pub struct LeaseHeld<'a> {
    _cell: &'a LeaseCell,
}

impl<'a> LeaseHeld<'a> {
    const fn assertion(cell: &'a LeaseCell) -> Self {
        Self { _cell: cell }
    }
}

impl LeaseCell {
    /// The only place where a lease proof is made: compares the clock with the end of the lease.
    #[must_use]
    pub fn held(&self, clock: impl FnOnce() -> Instant) -> Option<LeaseHeld<'_>> {
        // The clock is read after the end: a lease that ran out in between is seen as run out.
        let end = self.end.load(Ordering::Acquire);
        (end != 0 && (clock().nanos() < end || mutant!(ExpiryByTimer)))
            .then(|| LeaseHeld::assertion(self))
    }

    /// Publishes the end of the lease, or that there is none to serve reads under.
    pub fn publish(&self, end: Option<Instant>) {
        self.end.store(end.map_or(0, Instant::nanos), Ordering::Release);
    }
}

/// How fresh the state of this node is known to be.
#[derive(Debug, Default)]
pub struct Freshness {
    confirmed: AtomicU64,
}

impl Freshness {
    /// A master confirmed, to a question asked at this moment, what the state has caught up with
    /// since: nothing that was acknowledged before the moment is missing.
    pub fn note(&self, asked: Instant) {
        self.confirmed.fetch_max(asked.nanos(), Ordering::AcqRel);
    }

    /// Whether the state was fresh at some moment within `bound` before now.
    #[must_use]
    pub fn within(&self, bound: Span, clock: impl FnOnce() -> Instant) -> bool {
        // The clock is read after the moment: it can only look older than it is.
        let confirmed = self.confirmed.load(Ordering::Acquire);
        confirmed != 0 && clock().since(Instant::from_nanos(confirmed)) <= bound
    }
}

/// The log clock as workers see it: the last anchor, and how long ago that was.
#[derive(Debug, Default)]
pub struct LogClockCell {
    anchor: RwLock<Option<(LogTime, Instant)>>,
}

impl LogClockCell {
    /// The estimate of the log time at `now`; `None` before this node has heard of any.
    #[must_use]
    pub fn at(&self, now: Instant) -> Option<LogTime> {
        let (time, at) = (*self.anchor.read())?;
        let elapsed: Span = now.since(at);
        Some(time.after(elapsed))
    }

    /// Moves the anchor.
    pub fn publish(&self, time: LogTime, at: Instant) {
        *self.anchor.write() = Some((time, at));
    }
}

/// Facts of this node that any thread may read.
#[derive(Debug)]
pub struct Shared {
    /// Whether local reads are linearizable now.
    pub lease: LeaseCell,
    /// How fresh local reads without a lease are known to be.
    pub freshness: Freshness,
    /// Estimate of the log time.
    pub log_clock: LogClockCell,
    /// State machine, for readers.
    pub store: Reader,
    /// What `status`, `INFO` and `ROLE` show; replaced by the core a few times per second.
    pub status: Mutex<Arc<Status>>,
    /// The membership in force; replaced by the core when it changes.
    pub membership: Mutex<Arc<Membership>>,
    /// The node has recovered from disk; until then commands get `-LOADING`.
    pub recovered: AtomicBool,
    /// Somebody asked for a snapshot; the core takes it back when it begins one.
    pub snapshot_wanted: AtomicBool,
    /// The node is stopping: no new connections, `/readyz` says no.
    pub stopping: AtomicBool,
    /// Commands answered by this node's front end since its start.
    pub commands_total: AtomicU64,
    /// Client connections accepted since the start.
    pub connections_total: AtomicU64,
    /// Client connections open now.
    pub connections: AtomicU64,
    /// What the host has counted.
    pub counters: Counters,
}

/// What the host of a node has counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Times that this node became master.
    pub masterships: AtomicU64,
    /// Elections that this node started.
    pub elections: AtomicU64,
    /// Slots decided, as this node learned of them.
    pub slots_decided: AtomicU64,
    /// Commands applied, from all nodes' clients.
    pub commands_applied: AtomicU64,
    /// Proposals that this node sent to the master or gave to its own leader.
    pub proposals: AtomicU64,
    /// Proposals answered with `-UNKNOWN`.
    pub proposals_unknown: AtomicU64,
    /// Reads that needed an answer of the master, because this node holds no lease.
    pub reads_confirmed: AtomicU64,
    /// Snapshots taken or received.
    pub snapshots: AtomicU64,
    /// One while this node takes a snapshot, else zero.
    pub snapshot_running: AtomicU64,
    /// Bytes of snapshots sent to peers.
    pub snapshot_sent_bytes: AtomicU64,
    /// Bytes of peers' snapshots written.
    pub snapshot_received_bytes: AtomicU64,
    /// Bytes of the log sent to peers that came from the disk.
    pub log_sent_bytes: AtomicU64,
    /// Peers that are being sent a snapshot; goes up and down.
    pub snapshot_streams: AtomicU64,
}

impl Shared {
    /// The facts of a node that has not recovered yet and serves nobody.
    #[must_use]
    pub fn new(store: Reader, status: Status) -> Self {
        Self {
            lease: LeaseCell::default(),
            freshness: Freshness::default(),
            log_clock: LogClockCell::default(),
            store,
            status: Mutex::new(Arc::new(status)),
            membership: Mutex::new(Arc::new(Membership::unknown())),
            recovered: AtomicBool::new(false),
            snapshot_wanted: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            commands_total: AtomicU64::new(0),
            connections_total: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }
}
