//! What a node knows of snapshots on their way: those that it sends, and the one that it receives;
//! and how much of the log must be kept for them.

use std::collections::BTreeMap;

use warlock_paxos::{Instant, NodeId, Slot, SnapshotChunk};

use crate::limits::{
    SNAPSHOT_RECEIVING_IDLE, SNAPSHOT_STREAM_IDLE, SNAPSHOT_STREAM_PAUSE, SNAPSHOT_STREAMS_MAX,
};
use crate::status::{SnapshotProgress, SnapshotStage};

/// Snapshots on their way.
#[derive(Debug)]
pub(crate) struct Transfers {
    streams: BTreeMap<NodeId, Stream>,
    receiving: Option<SnapshotProgress>,
    /// When the newest part of it came.
    received_at: Instant,
}

/// A snapshot that a peer is being sent.
#[derive(Debug)]
struct Stream {
    slot: Option<Slot>,
    sent: u64,
    total: u64,
    asked_at: Instant,
}

impl Stream {
    /// Whether the peer is at it. What it was sent is remembered longer than that, as it needs the
    /// log from there on.
    fn takes_room(&self, now: Instant) -> bool {
        let is_complete = self.total > 0 && self.sent >= self.total;
        !is_complete && now.since(self.asked_at) <= SNAPSHOT_STREAM_PAUSE
    }
}

impl Transfers {
    pub(crate) const fn new() -> Self {
        let received_at = Instant::from_nanos(0);
        Self { streams: BTreeMap::new(), receiving: None, received_at }
    }

    /// A peer asks for a part: whether it may have it, or is one too many.
    pub(crate) fn admit(&mut self, now: Instant, to: NodeId) -> bool {
        if let Some(stream) = self.streams.get_mut(&to) {
            stream.asked_at = now;
            return true;
        }
        let takes_room = |stream: &&Stream| stream.takes_room(now);
        let has_room = self.streams.values().filter(takes_room).count() < SNAPSHOT_STREAMS_MAX;
        if has_room {
            self.streams.insert(to, Stream { slot: None, sent: 0, total: 0, asked_at: now });
        }
        has_room
    }

    /// A part was read and is on its way.
    pub(crate) fn note_sent(&mut self, to: NodeId, chunk: &SnapshotChunk) {
        let Some(stream) = self.streams.get_mut(&to) else { return };
        stream.slot = Some(chunk.slot);
        stream.sent = chunk.offset + chunk.bytes.len() as u64;
        stream.total = chunk.total;
    }

    /// Forgets those that ask no more, and names them.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<NodeId> {
        let is_idle = |stream: &Stream| now.since(stream.asked_at) > SNAPSHOT_STREAM_IDLE;
        let idle = self.streams.extract_if(.., |_, stream| is_idle(stream));
        idle.map(|(node, _)| node).collect()
    }

    /// Who gets a snapshot needs the log from there on next.
    pub(crate) fn lowest_slot(&self) -> Option<Slot> {
        self.streams.values().filter_map(|stream| stream.slot).min()
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Forgets the snapshot that is received, if nothing came of it for long; says whether it did.
    pub(crate) fn give_up(&mut self, now: Instant) -> bool {
        let is_idle = now.since(self.received_at) > SNAPSHOT_RECEIVING_IDLE;
        let is_receiving = |progress: &SnapshotProgress| progress.stage == SnapshotStage::Receiving;
        let is_stale = is_idle && self.receiving.as_ref().is_some_and(is_receiving);
        if is_stale {
            self.receiving = None;
        }
        is_stale
    }

    pub(crate) const fn note_receiving(
        &mut self,
        now: Instant,
        slot: Slot,
        bytes: u64,
        total: u64,
    ) {
        self.received_at = now;
        self.receiving = Some(SnapshotProgress {
            slot: slot.position(),
            bytes,
            total,
            stage: SnapshotStage::Receiving,
        });
    }

    pub(crate) const fn note_installing(&mut self) {
        if let Some(receiving) = &mut self.receiving {
            receiving.stage = SnapshotStage::Installing;
        }
    }

    pub(crate) const fn note_received(&mut self) {
        self.receiving = None;
    }

    pub(crate) const fn receiving(&self) -> Option<SnapshotProgress> {
        self.receiving
    }

    /// How far a peer is with the snapshot that this node sends it.
    pub(crate) fn sending(&self, to: NodeId) -> Option<SnapshotProgress> {
        let stream = self.streams.get(&to).filter(|stream| stream.sent < stream.total)?;
        Some(SnapshotProgress {
            slot: stream.slot?.position(),
            bytes: stream.sent,
            total: stream.total,
            stage: SnapshotStage::Receiving,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use warlock_paxos::Span;

    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(0).after(Span::from_millis(millis))
    }

    fn part(offset: u64, length: usize) -> SnapshotChunk {
        let bytes = Bytes::from(vec![0; length]);
        SnapshotChunk { slot: Slot::new(9), offset, total: 100, bytes }
    }

    /// Two peers that are half way, as of the first instant.
    fn two() -> Transfers {
        let mut transfers = Transfers::new();
        for peer in [node(1), node(2)] {
            assert!(transfers.admit(at(0), peer));
            transfers.note_sent(peer, &part(0, 50));
        }
        transfers
    }

    #[test]
    fn a_third_peer_waits_while_two_are_at_it() {
        let mut transfers = two();
        assert!(!transfers.admit(at(1000), node(3)));
        assert!(transfers.admit(at(1000), node(2)), "who is at it goes on");
    }

    #[test]
    fn who_has_all_of_it_or_is_gone_takes_no_room() {
        let mut transfers = two();
        transfers.note_sent(node(1), &part(50, 50));
        assert!(transfers.admit(at(10), node(3)));
        assert!(!transfers.admit(at(10), node(4)));
        assert_eq!(transfers.lowest_slot(), Some(Slot::new(9)), "its log is still kept");
        assert!(transfers.admit(at(1010), node(4)), "nothing more was heard of the second");
        assert_eq!(transfers.expire(at(10_005)), [node(1), node(2)]);
    }
}
