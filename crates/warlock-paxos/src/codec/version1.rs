//! Version 1 of the peer messages: there is one membership, that of the settings, and no view but
//! the first.
//!
//! The layout never changes any more; `tests/fixtures/frames-1.hex` has one message of each kind.
//! What is not named here has the same layout in later versions, and must keep it or be repeated
//! here.

use alloc::vec::Vec;

use wincode::{SchemaRead, SchemaWrite};

use crate::ids::{Ballot, NodeId, Slot, SlotRange, View};
use crate::message::{
    self, Decision, Declined, HandOver, Learn, Learned, P1a, P2a, P2b, Propose, ReadIndex,
    ReadIndexed, Release, SnapshotChunk, SnapshotFetch, Standing,
};
use crate::record::PValue;
use crate::time::LogTime;

/// The only view that there is.
const ONLY_VIEW: View = View::new(1);

/// Everything that a node of version 1 says.
#[derive(Clone, Debug, SchemaRead, SchemaWrite)]
pub(super) enum Message {
    P1a(P1a),
    P1b(P1b),
    P2a(P2a),
    P2b(P2b),
    Decision(Decision),
    Propose(Propose),
    Declined(Declined),
    Heartbeat(Heartbeat),
    Ack(Ack),
    Learn(Learn),
    Learned(Learned),
    ReadIndex(ReadIndex),
    ReadIndexed(ReadIndexed),
    Release(Release),
    HandOver(HandOver),
    SnapshotFetch(SnapshotFetch),
    SnapshotChunk(SnapshotChunk),
}

#[derive(Clone, Debug, SchemaRead, SchemaWrite)]
pub(super) struct P1b {
    asked: Ballot,
    promised: Ballot,
    decided: Slot,
    pvalues: Vec<PValue>,
    unknown: Vec<SlotRange>,
    log_time: Option<LogTime>,
}

#[derive(Clone, Debug, SchemaRead, SchemaWrite)]
pub(super) struct Heartbeat {
    round: u64,
    ballot: Ballot,
    lease: bool,
    standing: Standing,
    applied: Slot,
    decided: Slot,
    held: Vec<(NodeId, Slot)>,
    log_time: Option<LogTime>,
    digest: Option<(Slot, u64)>,
}

#[derive(Clone, Debug, SchemaRead, SchemaWrite)]
pub(super) struct Ack {
    round: u64,
    promised: Ballot,
    granted: bool,
    stalled: bool,
    silent: bool,
}

impl Message {
    /// The same in version 1; `None` if that has no word for it: a change of the membership, or
    /// anything of a later view. Such a peer must not hear of it as if it were of its own view.
    pub(super) fn of(message: &message::Message) -> Option<Self> {
        use message::Message as New;
        match message.clone() {
            New::P1a(m) => is_known(m.ballot).then_some(Self::P1a(m)),
            New::P1b(m) => P1b::of(m).map(Self::P1b),
            New::P2a(m) => is_known(m.ballot).then_some(Self::P2a(m)),
            New::P2b(m) => (is_known(m.asked) && is_known(m.promised)).then_some(Self::P2b(m)),
            New::P2aView(_) | New::P2bView(_) | New::InForce(_) => None,
            New::Decision(m) => is_known(m.ballot).then_some(Self::Decision(m)),
            New::Propose(m) => is_known(m.ballot).then_some(Self::Propose(m)),
            New::Declined(m) => is_known(m.ballot).then_some(Self::Declined(m)),
            New::Heartbeat(m) => Heartbeat::of(m).map(Self::Heartbeat),
            New::Ack(m) => Ack::of(&m).map(Self::Ack),
            New::Learn(m) => Some(Self::Learn(m)),
            New::Learned(m) => Some(Self::Learned(m)),
            New::ReadIndex(m) => Some(Self::ReadIndex(m)),
            New::ReadIndexed(m) => {
                let known = m.index.as_ref().is_none_or(|index| is_known(index.ballot));
                known.then_some(Self::ReadIndexed(m))
            }
            New::Release(m) => is_known(m.ballot).then_some(Self::Release(m)),
            New::HandOver(m) => is_known(m.ballot).then_some(Self::HandOver(m)),
            New::SnapshotFetch(m) => Some(Self::SnapshotFetch(m)),
            New::SnapshotChunk(m) => Some(Self::SnapshotChunk(m)),
        }
    }

    /// What it says in the words of today; `None` if it speaks of views that it cannot know.
    pub(super) fn into_new(self) -> Option<message::Message> {
        use message::Message as New;
        let message = match self {
            Self::P1a(m) => New::P1a(m),
            Self::P1b(m) => New::P1b(m.into_new()),
            Self::P2a(m) => New::P2a(m),
            Self::P2b(m) => New::P2b(m),
            Self::Decision(m) => New::Decision(m),
            Self::Propose(m) => New::Propose(m),
            Self::Declined(m) => New::Declined(m),
            Self::Heartbeat(m) => New::Heartbeat(m.into_new()),
            Self::Ack(m) => New::Ack(m.into_new()),
            Self::Learn(m) => New::Learn(m),
            Self::Learned(m) => New::Learned(m),
            Self::ReadIndex(m) => New::ReadIndex(m),
            Self::ReadIndexed(m) => New::ReadIndexed(m),
            Self::Release(m) => New::Release(m),
            Self::HandOver(m) => New::HandOver(m),
            Self::SnapshotFetch(m) => New::SnapshotFetch(m),
            Self::SnapshotChunk(m) => New::SnapshotChunk(m),
        };
        Self::of(&message).is_some().then_some(message)
    }
}

/// Whether a node of version 1 may hear of this ballot: it is of its view, or of none.
fn is_known(ballot: Ballot) -> bool {
    ballot.view <= ONLY_VIEW
}

impl P1b {
    fn of(p1b: message::P1b) -> Option<Self> {
        let message::P1b {
            asked,
            promised,
            decided,
            pvalues,
            unknown,
            log_time,
            view,
            known: _,
            reconfiguration,
        } = p1b;
        let known = is_known(asked) && is_known(promised) && view == ONLY_VIEW;
        (known && reconfiguration.is_none()).then_some(Self {
            asked,
            promised,
            decided,
            pvalues,
            unknown,
            log_time,
        })
    }

    fn into_new(self) -> message::P1b {
        let Self { asked, promised, decided, pvalues, unknown, log_time } = self;
        let (view, known, reconfiguration) = (ONLY_VIEW, decided, None);
        message::P1b {
            asked,
            promised,
            decided,
            pvalues,
            unknown,
            log_time,
            view,
            known,
            reconfiguration,
        }
    }
}

impl Heartbeat {
    fn of(heartbeat: message::Heartbeat) -> Option<Self> {
        let message::Heartbeat {
            round,
            view,
            ballot,
            lease,
            standing,
            applied,
            decided,
            held,
            log_time,
            digest,
        } = heartbeat;
        let stands = match &standing {
            Standing::Master { ballot, .. } | Standing::Follower { ballot } => is_known(*ballot),
            Standing::Unhappy => true,
        };
        (view == ONLY_VIEW && is_known(ballot) && stands).then_some(Self {
            round,
            ballot,
            lease,
            standing,
            applied,
            decided,
            held,
            log_time,
            digest,
        })
    }

    fn into_new(self) -> message::Heartbeat {
        let Self { round, ballot, lease, standing, applied, decided, held, log_time, digest } =
            self;
        message::Heartbeat {
            round,
            view: ONLY_VIEW,
            ballot,
            lease,
            standing,
            applied,
            decided,
            held,
            log_time,
            digest,
        }
    }
}

impl Ack {
    fn of(ack: &message::Ack) -> Option<Self> {
        let message::Ack { round, view, promised, held: _, granted, stalled, silent } = *ack;
        (view == ONLY_VIEW && is_known(promised)).then_some(Self {
            round,
            promised,
            granted,
            stalled,
            silent,
        })
    }

    fn into_new(self) -> message::Ack {
        let Self { round, promised, granted, stalled, silent } = self;
        // It does not say what it holds, so it holds nothing.
        let held = Slot::FIRST;
        message::Ack { round, view: ONLY_VIEW, promised, held, granted, stalled, silent }
    }
}
