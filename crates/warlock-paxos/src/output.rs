//! What roles want done. Roles never see each other: they return these, and the host routes them.
//!
//! The host's contract: outputs of one call are carried out in order; what one role tells another
//! role of its node arrives in the order of telling, while different pairs may overtake each other;
//! messages to this node's own id are delivered like any other, without encoding.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::Batch;
use crate::change::Verdict;
use crate::commander::Commander;
use crate::ids::{Ballot, NodeId, Slot};
use crate::membership::{Charter, Membership};
use crate::message::{Decision, Heartbeat, Message};
use crate::record::{PValue, Record};
use crate::scout::Scout;
use crate::time::{Instant, LogTime};

/// One thing that the host must do for a role.
#[derive(Clone, Debug, Hash)]
pub enum Output {
    /// The host must send the message to the node, or deliver it here if `to` is this node.
    Send {
        /// The addressee.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// The host must send the message to all of these nodes, encoding it once.
    Broadcast {
        /// The addressees; may include this node.
        to: Arc<[NodeId]>,
        /// What to say.
        message: Message,
    },
    /// The host must write the record, and carry out `then` after it and everything before it is
    /// durable, not earlier (P1). Without a record only the order matters.
    Persist {
        /// What to write.
        record: Option<Record>,
        /// What waits for it.
        then: Vec<Self>,
    },
    /// The host must put this into the mailbox of a role of this node.
    Tell(Tell),
    /// The host must start a scout, and ask it for its first outputs.
    SpawnScout(Scout),
    /// The host must start a commander, and ask it for its first outputs.
    SpawnCommander(Commander),
    /// The host must drop the scout of this ballot.
    RetireScout(Ballot),
    /// The host must drop the commander of this slot.
    RetireCommander(Ballot, Slot),
    /// The host must act on this itself.
    Notify(Notice),
}

/// What one role tells another of the same node.
#[derive(Clone, Debug, Hash)]
pub enum Tell {
    /// Tells the acceptor that every slot below `slot` is decided, and the contents that were
    /// applied since it was last told.
    Decided {
        /// The watermark, exclusive.
        slot: Slot,
        /// Decided contents; what the acceptor holds otherwise, or not at all, it has to write.
        contents: Vec<(Slot, Batch)>,
    },
    /// Tells the acceptor that a snapshot of everything below the slot was installed.
    Installed(Slot),
    /// Tells the leader that a membership came into force, which is durable here.
    InForce {
        /// The membership.
        membership: Membership,
        /// Whether this node is part of it, by its id and its data directory (P7).
        admitted: bool,
    },
    /// Tells the replica who else there is, and whether this node is one of them.
    Members {
        /// The other nodes.
        others: Arc<[NodeId]>,
        /// Whether this node is part of the membership; if not it answers no client any more (M4).
        admitted: bool,
    },
    /// Tells the replica what the acceptor accepted.
    Accepted(PValue),
    /// Tells the replica how far the master says that the log is decided.
    Watermark {
        /// The master's ballot.
        ballot: Ballot,
        /// Every slot below is decided.
        decided: Slot,
    },
    /// Tells the replica that a quorum accepted this pvalue.
    Chosen(PValue),
    /// Tells the replica that this node is master under its lease, so that what the replica has
    /// applied answers a follower's question for a read index. Only the replica knows how far
    /// clients were answered.
    Vouched {
        /// Who asks.
        to: NodeId,
        /// The question.
        id: u64,
        /// The master's ballot and watermark.
        decision: Decision,
    },
    /// Tells the replica that a node has decided everything below a slot.
    Ahead {
        /// The node.
        node: NodeId,
        /// What it has decided.
        decided: Slot,
    },
    /// Tells the replica who leads, and from which slot on it leads alone; `None` while nobody
    /// does.
    Mastership(Option<(Ballot, Slot)>),
    /// Tells the leader how far this node has applied the log, and the log time there.
    Applied {
        /// Every slot below is applied.
        slot: Slot,
        /// Log time of the newest batch applied.
        log_time: LogTime,
    },
    /// Tells the leader that the acceptor promised or accepted under a ballot.
    Promised(Ballot),
    /// Tells the leader that its scout has a quorum.
    Adopted(Adopted),
    /// Tells the leader that a scout or commander met a higher ballot.
    Preempted {
        /// The ballot that lost.
        ballot: Ballot,
        /// The ballot that it met.
        by: Ballot,
    },
    /// Tells the leader that a quorum accepted the slot, and when this node's own acceptor had.
    Accomplished {
        /// Under this ballot.
        ballot: Ballot,
        /// The slot chosen.
        slot: Slot,
    },
    /// Tells the leader how far the log is durable on a node.
    Held {
        /// The node.
        node: NodeId,
        /// Under this ballot.
        ballot: Ballot,
        /// Every slot below is durable there.
        held: Slot,
    },
    /// Tells leader and replica what a node's heartbeat said.
    Heard {
        /// The sender.
        from: NodeId,
        /// What it said.
        heartbeat: Arc<Heartbeat>,
    },
}

/// What a quorum of acceptors told a scout (P3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adopted {
    /// The ballot that the quorum promised.
    pub ballot: Ballot,
    /// Every slot below this one is known to be decided by one of the quorum.
    pub decided: Slot,
    /// For each slot at or above `decided` the pvalue of the highest ballot.
    pub pvalues: Vec<PValue>,
    /// The latest log time by any running clock of the quorum.
    pub log_time: Option<LogTime>,
    /// A voter that reported the highest `decided`.
    pub informant: NodeId,
    /// For the next reconfiguration slot the membership of the highest ballot, if any was accepted.
    pub reconfiguration: Option<Charter>,
}

/// What a role tells the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The host must apply the batch to the state machine. Slots come without gaps, each once (P5).
    Apply {
        /// The slot.
        slot: Slot,
        /// Its content.
        batch: Batch,
        /// For proposals of this node whose clients still wait: index in the batch, and the ticket.
        tickets: Vec<(usize, u64)>,
    },
    /// The submission with this ticket will not be applied here in time.
    Failed {
        /// As given at submission.
        ticket: u64,
        /// What is known of it.
        fate: Fate,
    },
    /// A read asked for with this ticket may run now on the applied state, or must be refused.
    ReadReady {
        /// As given when asking.
        ticket: u64,
        /// Whether a master confirmed it.
        allowed: bool,
    },
    /// Local reads are linearizable until the instant; not at all with `None` (L3).
    Serve(Option<Instant>),
    /// Who is master changed, as far as this node can see.
    Master(Option<Ballot>),
    /// Nodes on which every slot below is durable, as the master knows (for `WAIT`).
    Held(Vec<(NodeId, Slot)>),
    /// Anchor of the log clock: this log time was true at this instant.
    LogClock(LogTime, Instant),
    /// A node lacks slots that this one no longer has: the host should take a snapshot.
    SnapshotWanted,
    /// The host must read decided batches from `from` on out of the log on disk, as many as one
    /// `Learned` may hold, and give them to the replica; none if the log does not reach back.
    ReadLog {
        /// Who asks.
        to: NodeId,
        /// The first slot wanted.
        from: Slot,
    },
    /// The host must send a part of the newest snapshot (or of that one, if given) to the node.
    ReadSnapshot {
        /// Who asks.
        to: NodeId,
        /// Which one.
        slot: Option<Slot>,
        /// First byte wanted.
        offset: u64,
    },
    /// The host must write a part of a snapshot that is being received, and tell the replica when
    /// it has; a part that begins at zero begins a new file.
    WriteSnapshot {
        /// The snapshot covers every slot below.
        slot: Slot,
        /// Position of the part.
        offset: u64,
        /// Length of the whole.
        total: u64,
        /// The part.
        bytes: bytes::Bytes,
    },
    /// The snapshot is complete: the host must verify and install it, and then tell the replica.
    InstallSnapshot {
        /// The snapshot covers every slot below.
        slot: Slot,
    },
    /// The state of this node differs from the master's at the same slot: the node must stop
    /// serving.
    Diverged {
        /// Where.
        slot: Slot,
    },
    /// The orderly hand-over is complete; a stopping host may exit.
    HandedOver,
    /// A change of the membership asked for with this ticket is decided, refused, or given up.
    ChangeAnswered {
        /// As given when asking.
        ticket: u64,
        /// What became of it.
        verdict: Verdict,
    },
    /// This membership is in force from now on, and durable: the host must connect to its nodes at
    /// their addresses, and to no others.
    InForce(Membership),
    /// This node is not part of the membership in force and never will be again (M4): the host must
    /// stop serving clients. It must go on answering peers, also after a further start, which
    /// finds out the same: it may be the only one that knows of the view, and without its vote
    /// those that are left could elect nobody in the one before. Its machine may go when a quorum
    /// of the members is in the view.
    Retired,
    /// Worth a line in the log.
    Log(Event),
}

/// What is known of a submission that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was not executed and never will be.
    NotExecuted,
    /// It may or may not take effect.
    Unknown,
}

/// Facts for the log of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An election began here.
    Scouting(Ballot),
    /// Phase 1 is done: recovered slots from the first to before the second.
    Leading {
        /// With this ballot.
        ballot: Ballot,
        /// First slot not known to be decided.
        from: Slot,
        /// First slot of its own.
        barrier: Slot,
    },
    /// The master lease was acquired.
    LeaseHeld(Ballot),
    /// The master stepped down, and why.
    SteppedDown(Ballot, Reason),
    /// The replica is behind and learns from a node.
    CatchingUp {
        /// From this slot.
        from: Slot,
        /// To this one.
        to: Slot,
        /// Asking this node.
        node: NodeId,
    },
    /// The master proposes a membership.
    Changing(Membership),
    /// The slot is decided, every voter answered, and none can read it: nobody can lead.
    Lost(Slot),
}

/// Why a master stepped down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It could not renew its lease for a whole lease.
    LeaseLost,
    /// Its own log has not synced for a whole lease.
    DiskStalled,
    /// A higher ballot was promised elsewhere.
    Preempted,
    /// It could not recover the decided slots in time.
    RecoveryStalled,
    /// It was asked to.
    HandedOver,
    /// A new membership came into force, under which it goes on with a new ballot.
    ViewChanged,
    /// It is not part of the new membership.
    Retired,
    /// It goes on with a higher ballot, to which no node of an older version has answered.
    Upgraded,
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::LeaseLost => "no quorum renewed its lease",
            Self::DiskStalled => "its own log has not synced for a whole lease",
            Self::Preempted => "a higher ballot was promised",
            Self::RecoveryStalled => "it could not learn what is decided",
            Self::HandedOver => "it was asked to hand over",
            Self::ViewChanged => "a new membership is in force",
            Self::Retired => "it is not part of the new membership",
            Self::Upgraded => "nodes of an older version have answered to its ballot",
        })
    }
}
