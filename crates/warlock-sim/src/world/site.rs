//! One machine of the cluster: its clocks, its disk, and the process on it, if one runs.

pub(super) mod effects;
pub(super) mod front;
pub(super) mod log;
pub(super) mod peers;
pub(super) mod start;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use warlock_node::{Host, Shared, SnapshotDesk};
use warlock_paxos::{Ballot, Incarnation, Instant, LogTime, Node, NodeId, Slot};
use warlock_wal::{FaultyDisk, Identity, Wal};

use super::World;
use super::clock::Clock;
use super::queue::Event;
use front::Front;
use log::LogOp;

/// A machine.
pub(super) struct Site {
    pub(super) id: NodeId,
    /// The name in the column log.
    pub(super) name: String,
    pub(super) clock: Clock,
    pub(super) disk: FaultyDisk,
    /// Counts starts and ends of processes: events of an earlier process are for nobody.
    pub(super) start: u32,
    pub(super) process: Option<Box<Process>>,
    /// Nothing happens here before this time.
    pub(super) paused_until: u64,
    /// What happened to a paused process, in order: it will notice when it goes on.
    pub(super) deferred: Vec<Event>,
    /// When the earliest timer event that counts comes.
    pub(super) timer_at: u64,
    /// The core looks at its timers from this time on: after a pause its thread may come last.
    pub(super) timers_after: u64,
    /// A start is on its way.
    pub(super) is_starting: bool,
    /// Why the node never comes back.
    pub(super) lost: Option<&'static str>,
    /// The disk may break its promises.
    pub(super) is_unreliable: bool,
    /// Mean time of a sync in nanoseconds.
    pub(super) sync: u64,
    /// A sync that begins before this time ends after it.
    pub(super) stalled_until: u64,
    /// Its directory was lost or replaced: peers refuse it.
    pub(super) is_replaced: bool,
    /// The next process forgets what was decided below.
    pub(super) forgets: Option<Slot>,
    /// When a freeze ended that its clock did not see.
    pub(super) frozen_at: Option<u64>,
    /// What became of the promises of the disk.
    pub(super) trust: Trust,
    /// The data directory of now, as peers know it.
    pub(super) incarnation: Incarnation,
}

/// Syncs after which damage is so far from the end of the log that more may come.
const SYNCS_BETWEEN_DAMAGE: u64 = 4;

/// What a disk that breaks promises has done since it last kept one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust {
    /// It says "synced" without doing it now.
    pub(super) is_lying: bool,
    /// It lied since the process started.
    pub(super) lied: bool,
    /// It lost power and has not started since: the last frame of the log may lack its seal.
    pub(super) lost_power: bool,
    /// Syncs since the last damage; damage on damage could hide itself from any reader.
    pub(super) syncs_since_damage: u64,
}

/// A running `warlockd`, without its sockets and threads.
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) host: Host,
    pub(super) shared: Arc<Shared>,
    pub(super) wal: Wal<FaultyDisk>,
    pub(super) desk: SnapshotDesk<FaultyDisk>,
    pub(super) identity: Identity<FaultyDisk>,
    pub(super) front: Front,
    /// Writes that the log thread has not taken.
    pub(super) log: VecDeque<LogOp>,
    /// Writes that the log thread is about to make durable.
    pub(super) syncing: Vec<LogOp>,
    /// Since when the log thread is at it and the process was not paused.
    pub(super) syncing_since: u64,
    /// The master that it knows, and since when it has and nothing hinders it.
    pub(super) master: (Option<Ballot>, u64),
    /// When the snapshot thread will have made the step that it is at.
    pub(super) desk_at: Option<u64>,
    /// The highest ballot given to the log.
    pub(super) ballot: Ballot,
    /// Mailboxes wait for an event.
    pub(super) has_work: bool,
    /// What the log clock showed at which time of this node, once it has been heard of.
    pub(super) log_clock: Option<(LogTime, Instant)>,
    /// Reads that the master was asked about, and which slots held acknowledged writes then.
    pub(super) reads: BTreeMap<u64, Slot>,
    /// Until when local reads are allowed, by this node's clock.
    pub(super) serves: Option<Instant>,
}

impl Site {
    /// Whether a place near the end of the log may be damaged: together with a seal behind it that
    /// is lost it could look like a clean end, to any reader.
    pub(super) const fn is_hurt_at_the_end(&self) -> bool {
        self.is_unreliable && self.trust.syncs_since_damage < SYNCS_BETWEEN_DAMAGE
    }

    /// Whether a process runs and is not paused.
    pub(super) fn is_awake(&self, time: u64) -> bool {
        self.process.is_some() && self.paused_until <= time
    }
}

impl World {
    /// Lets the process of a node act: whatever its roles and its host want done follows.
    pub(super) fn act(&mut self, index: usize, act: impl FnOnce(&mut Node, Now)) {
        let now = self.now(index);
        let Some(process) = &mut self.sites[index].process else { return };
        act(&mut process.node, now);
        self.settle(index);
    }

    /// The clocks of a node.
    pub(super) fn now(&self, index: usize) -> Now {
        let clock = &self.sites[index].clock;
        Now { boot: clock.at(self.time), wall: clock.wall(self.time) }
    }
}

/// What the clocks of a node show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) boot: Instant,
    pub(super) wall: LogTime,
}
