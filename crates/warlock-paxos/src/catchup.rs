//! How a replica that lacks decided slots gets them: from the log of a peer, or by a snapshot when
//! the peer's log no longer reaches back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{NodeId, Slot};
use crate::limits::SNAPSHOT_WINDOW_BYTES;
use crate::message::{Learn, Learned, Message, SnapshotChunk, SnapshotFetch};
use crate::output::{Event, Notice, Output};
use crate::time::{Instant, Span};

/// How many times a part of a snapshot is asked for before the transfer is given up; what came is
/// kept, should the same node offer the same snapshot again.
const FETCH_ATTEMPTS_MAX: u32 = 8;

/// How many of these attempts are left when the connection closed.
const RECONNECTION_ATTEMPTS: u32 = 3;

/// How often a node is asked again that has neither the log nor a snapshot: it is taking one.
const PREPARING_MAX: u32 = 300;

#[derive(Clone, Copy, Debug, Hash)]
struct Learning {
    node: NodeId,
    ask_again_at: Instant,
}

/// A snapshot on its way here. Several parts are asked for at a time, but no more than the disk
/// keeps up with.
#[derive(Clone, Debug, Hash)]
struct Fetching {
    node: NodeId,
    /// Known from the first part on, or from an earlier transfer.
    slot: Option<Slot>,
    /// Length of the whole, known with the slot.
    total: u64,
    /// Everything before this position came.
    received: u64,
    /// Everything before this position came or was asked for.
    requested: u64,
    /// Everything before this position is written.
    written: u64,
    /// Length of the parts that the node sends.
    part: u64,
    /// Parts that came before their turn.
    early: BTreeMap<u64, Bytes>,
    ask_again_at: Instant,
    attempts: u32,
}

/// What came of a snapshot whose transfer broke off.
#[derive(Clone, Copy, Debug, Hash)]
struct Partial {
    node: NodeId,
    slot: Slot,
    total: u64,
    received: u64,
}

/// A peer is known to be ahead.
#[derive(Clone, Copy, Debug, Hash)]
struct Behind {
    /// This node lacks this slot.
    slot: Slot,
    ask_at: Instant,
    /// A peer was asked in vain: asking at once again would only make a storm.
    in_vain: bool,
}

/// Catching up of one replica.
#[derive(Clone, Debug, Hash)]
pub(crate) struct CatchUp {
    retry: Span,
    /// What each peer said to have decided.
    decided: BTreeMap<NodeId, Slot>,
    /// What each peer that is connected said to have applied.
    applied: BTreeMap<NodeId, Slot>,
    learning: Option<Learning>,
    fetching: Option<Fetching>,
    partial: Option<Partial>,
    installing: bool,
    behind: Option<Behind>,
    /// How many nodes were asked in vain.
    turn: usize,
    /// How often the node of this turn was found preparing a snapshot.
    preparing: u32,
    /// Who leads, as far as is known.
    master: Option<NodeId>,
}

impl CatchUp {
    pub(crate) const fn new(retry: Span) -> Self {
        Self {
            retry,
            decided: BTreeMap::new(),
            applied: BTreeMap::new(),
            learning: None,
            fetching: None,
            partial: None,
            installing: false,
            behind: None,
            turn: 0,
            preparing: 0,
            master: None,
        }
    }

    pub(crate) fn note_decided(&mut self, node: NodeId, decided: Slot) {
        let known = self.decided.entry(node).or_insert(decided);
        *known = (*known).max(decided);
    }

    /// A peer may say less than before, if it lost its data.
    pub(crate) fn note_applied(&mut self, node: NodeId, applied: Slot) {
        self.applied.insert(node, applied);
    }

    /// What the connected peer that lags most has applied.
    pub(crate) fn lowest_applied(&self) -> Option<Slot> {
        self.applied.values().copied().min()
    }

    /// Asks a peer for the slot `applied` if one has it and it does not come by itself.
    ///
    /// `missing` says that the master has named the slot decided and this node does not hold it, so
    /// that waiting is in vain; otherwise a peer may just have heard a moment earlier. The master
    /// has enough to do: it is asked when the others were asked in vain.
    pub(crate) fn consider(
        &mut self,
        now: Instant,
        applied: Slot,
        missing: bool,
        master: Option<NodeId>,
        out: &mut Vec<Output>,
    ) {
        self.master = master;
        if self.learning.is_some() || self.fetching.is_some() || self.installing {
            return;
        }
        let mut ahead: Vec<(NodeId, Slot)> = self
            .decided
            .iter()
            .filter(|(_, decided)| **decided > applied)
            .map(|(&node, &decided)| (node, decided))
            .collect();
        ahead.sort_by_key(|(node, _)| master == Some(*node));
        if ahead.is_empty() {
            self.behind = None;
            return;
        }
        let fresh = Behind { slot: applied, ask_at: now.after(self.retry), in_vain: false };
        let behind = self.behind.filter(|behind| behind.slot == applied).unwrap_or(fresh);
        self.behind = Some(behind);
        let urgent = missing && !behind.in_vain;
        if !urgent && now < behind.ask_at {
            return;
        }
        let (node, decided) = ahead[self.turn % ahead.len()];
        let event = Event::CatchingUp { from: applied, to: decided, node };
        out.push(Output::Notify(Notice::Log(event)));
        self.ask(now, node, applied, out);
    }

    /// Takes note of an answer; the replica has already taken its batches. Asks for more if there
    /// is.
    pub(crate) fn handle_learned(
        &mut self,
        now: Instant,
        from: NodeId,
        learned: &Learned,
        applied: Slot,
        out: &mut Vec<Output>,
    ) {
        self.decided.insert(from, learned.decided);
        if self.learning.is_none_or(|learning| learning.node != from) {
            return;
        }
        self.learning = None;
        let newer = learned.snapshot.is_some_and(|slot| slot > applied);
        let any = mutant!(OlderSnapshotInstalled) && learned.snapshot.is_some();
        // By the next heartbeat it is known who leads, and whether anybody else could send as much.
        let may_lead = self.master.is_none_or(|master| master == from);
        let is_spared = may_lead && self.turn == 0 && self.preparing == 0;
        if newer && learned.batches.is_empty() && is_spared {
            self.note_in_vain(now, applied, true);
        } else if (newer && learned.batches.is_empty()) || any {
            self.begin_fetching(now, from, learned.snapshot, out);
        } else if learned.batches.is_empty() {
            let is_preparing = learned.decided > applied && learned.snapshot.is_none();
            self.note_in_vain(now, applied, is_preparing);
        } else {
            (self.turn, self.preparing) = (0, 0);
            if learned.decided > applied {
                self.ask(now, from, applied, out);
            }
        }
    }

    fn note_in_vain(&mut self, now: Instant, applied: Slot, is_preparing: bool) {
        let ask_at = now.after(self.retry);
        self.behind = Some(Behind { slot: applied, ask_at, in_vain: true });
        self.preparing = if is_preparing { self.preparing + 1 } else { PREPARING_MAX };
        if self.preparing >= PREPARING_MAX {
            self.preparing = 0;
            self.turn += 1;
        }
    }

    /// Takes a part of a snapshot, and asks for the next or has the whole installed.
    pub(crate) fn handle_chunk(
        &mut self,
        now: Instant,
        from: NodeId,
        chunk: SnapshotChunk,
        applied: Slot,
        out: &mut Vec<Output>,
    ) {
        let SnapshotChunk { slot, offset, total, bytes } = chunk;
        let Some(fetching) = &mut self.fetching else {
            return;
        };
        if fetching.node == from && bytes.is_empty() {
            // It is gone there, or others are being served.
            (self.fetching, self.partial) = (None, None);
            self.note_in_vain(now, applied, false);
            return;
        }
        let is_ours = fetching.node == from
            && (offset == fetching.received
                || (fetching.received..fetching.requested).contains(&offset))
            && fetching.slot.is_none_or(|known| known == slot);
        if !is_ours {
            return;
        }
        let end = offset + bytes.len() as u64;
        let old = slot <= applied && !mutant!(OlderSnapshotInstalled);
        if end > total || old {
            (self.fetching, self.partial) = (None, None);
            self.note_in_vain(now, applied, false);
            return;
        }
        fetching.slot = Some(slot);
        fetching.total = total;
        fetching.part = fetching.part.max(bytes.len() as u64);
        fetching.requested = fetching.requested.max(end);
        fetching.attempts = 0;
        fetching.ask_again_at = now.after(self.retry).after(self.retry);
        fetching.early.insert(offset, bytes);
        while let Some(bytes) = fetching.early.remove(&fetching.received) {
            let offset = fetching.received;
            fetching.received += bytes.len() as u64;
            out.push(Output::Notify(Notice::WriteSnapshot { slot, offset, total, bytes }));
        }
        if fetching.received < total {
            self.fetch_more(out);
        } else {
            (self.fetching, self.partial) = (None, None);
            self.installing = true;
            out.push(Output::Notify(Notice::InstallSnapshot { slot }));
        }
    }

    /// The host has written everything of the snapshot up to `end`.
    pub(crate) fn note_written(&mut self, slot: Slot, end: u64, out: &mut Vec<Output>) {
        let ours = |fetching: &&mut Fetching| fetching.slot == Some(slot);
        if let Some(fetching) = self.fetching.as_mut().filter(ours) {
            fetching.written = fetching.written.max(end);
            self.fetch_more(out);
        }
    }

    /// Whether the host is about to replace the state by a snapshot: until it has, nothing may be
    /// applied.
    pub(crate) const fn is_installing(&self) -> bool {
        self.installing
    }

    /// The host could not install the snapshot: who sent it may have no better one, so that
    /// another node is asked next.
    pub(crate) fn handle_install_refused(&mut self) {
        let turn = self.turn + 1;
        self.handle_install_finished();
        self.turn = turn;
    }

    /// The host has installed the snapshot.
    pub(crate) fn handle_install_finished(&mut self) {
        self.installing = false;
        (self.turn, self.preparing) = (0, 0);
        self.behind = None;
        self.fetching = None;
        self.partial = None;
    }

    /// Forgets whoever is not part of the membership any more.
    pub(crate) fn retain(&mut self, others: &[NodeId]) {
        let gone: Vec<NodeId> = self.decided.keys().chain(self.applied.keys()).copied().collect();
        for node in gone.into_iter().filter(|node| !others.contains(node)) {
            self.handle_peer_down(node);
        }
    }

    pub(crate) fn handle_peer_down(&mut self, node: NodeId) {
        self.decided.remove(&node);
        self.applied.remove(&node);
        self.learning = self.learning.filter(|learning| learning.node != node);
        // A transfer goes on if the connection is back soon.
        if let Some(fetching) = self.fetching.as_mut().filter(|fetching| fetching.node == node) {
            fetching.attempts = fetching.attempts.max(FETCH_ATTEMPTS_MAX - RECONNECTION_ATTEMPTS);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let behind = match (&self.learning, &self.fetching) {
            (None, None) => self.behind.map(|behind| behind.ask_at),
            _ => None,
        };
        let learning = self.learning.map(|learning| learning.ask_again_at);
        let fetching = self.fetching.as_ref().map(|fetching| fetching.ask_again_at);
        [behind.filter(|_| !self.installing), learning, fetching].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.learning.is_some_and(|learning| learning.ask_again_at <= now) {
            self.learning = None;
            self.turn += 1;
        }
        let Some(fetching) = &mut self.fetching else { return };
        if fetching.ask_again_at > now {
            return;
        }
        fetching.ask_again_at = now.after(self.retry).after(self.retry);
        if fetching.requested > fetching.received {
            fetching.attempts += 1;
        }
        if fetching.attempts > FETCH_ATTEMPTS_MAX {
            self.fetching = None;
            self.turn += 1;
            return;
        }
        // What has not come by now was lost.
        fetching.requested = fetching.received;
        self.fetch_more(out);
    }

    fn ask(&mut self, now: Instant, node: NodeId, from: Slot, out: &mut Vec<Output>) {
        self.learning = Some(Learning { node, ask_again_at: now.after(self.retry) });
        out.push(Output::Send { to: node, message: Message::Learn(Learn { from }) });
    }

    /// Begins to fetch the snapshot that a node offered, or goes on where it broke off.
    fn begin_fetching(
        &mut self,
        now: Instant,
        node: NodeId,
        offered: Option<Slot>,
        out: &mut Vec<Output>,
    ) {
        let same = |partial: &Partial| partial.node == node && offered == Some(partial.slot);
        let partial = self.partial.filter(same);
        let received = partial.map_or(0, |partial| partial.received);
        self.fetching = Some(Fetching {
            node,
            slot: partial.map(|partial| partial.slot),
            total: partial.map_or(0, |partial| partial.total),
            received,
            requested: received,
            written: received,
            part: 0,
            early: BTreeMap::new(),
            ask_again_at: now.after(self.retry).after(self.retry),
            attempts: 0,
        });
        self.fetch_more(out);
    }

    /// Asks for as many parts as may be on their way; for one until it is known how long they are.
    fn fetch_more(&mut self, out: &mut Vec<Output>) {
        let Some(fetching) = &mut self.fetching else { return };
        self.partial = fetching.slot.map(|slot| Partial {
            node: fetching.node,
            slot,
            total: fetching.total,
            received: fetching.received,
        });
        loop {
            let (to, slot, offset) = (fetching.node, fetching.slot, fetching.requested);
            let is_first = fetching.part == 0 && offset == fetching.received;
            let fits = fetching.part > 0
                && offset < fetching.total
                && offset + fetching.part <= fetching.written + SNAPSHOT_WINDOW_BYTES;
            if !is_first && !fits {
                return;
            }
            fetching.requested += fetching.part.max(1);
            if fetching.early.contains_key(&offset) {
                continue;
            }
            let message = Message::SnapshotFetch(SnapshotFetch { slot, offset });
            out.push(Output::Send { to, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId::new(2);
    const MASTER: Option<NodeId> = Some(NodeId::new(1));
    const RETRY: Span = Span::from_millis(100);

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(0).after(Span::from_millis(milliseconds))
    }

    fn questions(out: &mut Vec<Output>) -> usize {
        let asks = |output: &Output| matches!(output, Output::Send { .. });
        out.drain(..).filter(asks).count()
    }

    fn nothing_for(from: u64, decided: u64) -> Learned {
        let (from, decided) = (Slot::new(from), Slot::new(decided));
        Learned { from, batches: Vec::new(), decided, snapshot: None }
    }

    #[test]
    fn what_may_come_by_itself_is_asked_for_after_a_while() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(5));
        catch_up.consider(at(0), Slot::new(3), false, None, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), Some(at(100)));
        catch_up.consider(at(100), Slot::new(3), false, None, &mut out);
        assert_eq!(questions(&mut out), 1);
    }

    #[test]
    fn what_is_missing_is_asked_for_at_once_but_not_again_when_that_was_in_vain() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(5));
        catch_up.consider(at(0), Slot::new(3), true, None, &mut out);
        assert_eq!(questions(&mut out), 1);
        catch_up.handle_learned(at(1), PEER, &nothing_for(3, 5), Slot::new(3), &mut out);
        catch_up.consider(at(1), Slot::new(3), true, None, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), Some(at(101)));
        catch_up.consider(at(101), Slot::new(3), true, None, &mut out);
        assert_eq!(questions(&mut out), 1);
    }

    #[test]
    fn a_peer_that_has_nothing_is_not_ahead() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(5));
        catch_up.consider(at(0), Slot::new(3), true, None, &mut out);
        catch_up.handle_learned(at(1), PEER, &nothing_for(3, 3), Slot::new(3), &mut out);
        out.clear();
        catch_up.consider(at(500), Slot::new(3), true, None, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), None);
    }

    /// Whom the outputs ask for which parts.
    fn fetches(out: &mut Vec<Output>) -> Vec<(NodeId, Option<Slot>, u64)> {
        let fetch = |output| {
            let Output::Send { to, message: Message::SnapshotFetch(fetch) } = output else {
                return None;
            };
            Some((to, fetch.slot, fetch.offset))
        };
        out.drain(..).filter_map(fetch).collect()
    }

    fn part(offset: u64, length: u64, total: u64) -> SnapshotChunk {
        let bytes = Bytes::from(alloc::vec![7; usize::try_from(length).unwrap()]);
        SnapshotChunk { slot: SNAPSHOT, offset, total, bytes }
    }

    /// Catching up that was offered a snapshot.
    fn offered(out: &mut Vec<Output>) -> CatchUp {
        let mut catch_up = CatchUp::new(RETRY);
        catch_up.note_decided(PEER, Slot::new(9));
        catch_up.consider(at(0), Slot::new(3), true, MASTER, out);
        let offer = Learned { snapshot: Some(SNAPSHOT), ..nothing_for(3, 9) };
        catch_up.handle_learned(at(1), PEER, &offer, Slot::new(3), out);
        catch_up
    }

    const SNAPSHOT: Slot = Slot::new(7);
    const PART: u64 = SNAPSHOT_WINDOW_BYTES / 4;
    const TOTAL: u64 = 10 * PART;

    #[test]
    fn parts_are_asked_for_as_far_as_the_disk_keeps_up() {
        let mut out = Vec::new();
        let mut catch_up = offered(&mut out);
        assert_eq!(fetches(&mut out), [(PEER, None, 0)]);
        let slot = Some(SNAPSHOT);
        catch_up.handle_chunk(at(2), PEER, part(0, PART, TOTAL), Slot::new(3), &mut out);
        let ahead = [1, 2, 3].map(|index| (PEER, slot, index * PART));
        assert_eq!(fetches(&mut out), ahead, "as much as fits the window");
        catch_up.handle_chunk(at(3), PEER, part(PART, PART, TOTAL), Slot::new(3), &mut out);
        assert_eq!(fetches(&mut out), [], "nothing is written yet");
        catch_up.note_written(SNAPSHOT, 2 * PART, &mut out);
        assert_eq!(fetches(&mut out), [4, 5].map(|index| (PEER, slot, index * PART)));
    }

    #[test]
    fn parts_out_of_order_are_written_in_order() {
        let mut out = Vec::new();
        let mut catch_up = offered(&mut out);
        catch_up.handle_chunk(at(2), PEER, part(0, PART, 3 * PART), Slot::new(3), &mut out);
        out.clear();
        catch_up.handle_chunk(at(3), PEER, part(2 * PART, PART, 3 * PART), Slot::new(3), &mut out);
        assert!(out.is_empty(), "{out:?}");
        catch_up.handle_chunk(at(4), PEER, part(PART, PART, 3 * PART), Slot::new(3), &mut out);
        let written = out.iter().filter_map(|output| {
            let Output::Notify(Notice::WriteSnapshot { offset, .. }) = output else { return None };
            Some(*offset / PART)
        });
        assert_eq!(written.collect::<Vec<_>>(), [1, 2]);
        assert!(catch_up.is_installing());
    }

    #[test]
    fn a_transfer_that_broke_off_goes_on_where_it_was() {
        let mut out = Vec::new();
        let mut catch_up = offered(&mut out);
        catch_up.handle_chunk(at(2), PEER, part(0, PART, TOTAL), Slot::new(3), &mut out);
        catch_up.handle_peer_down(PEER);
        out.clear();
        catch_up.handle_timeout(at(202), &mut out);
        let again = fetches(&mut out);
        assert_eq!(again[0], (PEER, Some(SNAPSHOT), PART), "the connection may be back");
        for round in 2..10 {
            catch_up.handle_timeout(at(round * 200 + 2), &mut out);
        }
        out.clear();
        catch_up.note_decided(PEER, Slot::new(9));
        catch_up.consider(at(3000), Slot::new(3), true, MASTER, &mut out);
        let offer = Learned { snapshot: Some(SNAPSHOT), ..nothing_for(3, 9) };
        catch_up.handle_learned(at(3001), PEER, &offer, Slot::new(3), &mut out);
        assert_eq!(fetches(&mut out), [(PEER, Some(SNAPSHOT), PART)], "given up and begun again");
        let newer = Learned { snapshot: Some(Slot::new(8)), ..nothing_for(3, 9) };
        let mut other = offered(&mut out);
        other.handle_chunk(at(2), PEER, part(0, PART, TOTAL), Slot::new(3), &mut out);
        other.handle_install_finished();
        other.consider(at(500), Slot::new(3), true, MASTER, &mut out);
        out.clear();
        other.handle_learned(at(501), PEER, &newer, Slot::new(3), &mut out);
        assert_eq!(fetches(&mut out), [(PEER, None, 0)], "another snapshot begins at its start");
    }

    #[test]
    fn the_master_sends_a_snapshot_if_nobody_else_is_ahead_a_heartbeat_later() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(9));
        catch_up.consider(at(0), Slot::new(3), true, Some(PEER), &mut out);
        let offer = Learned { snapshot: Some(SNAPSHOT), ..nothing_for(3, 9) };
        catch_up.handle_learned(at(1), PEER, &offer, Slot::new(3), &mut out);
        assert_eq!(fetches(&mut out), []);
        catch_up.consider(at(101), Slot::new(3), true, Some(PEER), &mut out);
        catch_up.handle_learned(at(102), PEER, &offer, Slot::new(3), &mut out);
        assert_eq!(fetches(&mut out), [(PEER, None, 0)]);
    }

    #[test]
    fn the_master_is_asked_last_and_a_node_that_takes_a_snapshot_is_waited_for() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        let (master, follower) = (MASTER.unwrap(), NodeId::new(3));
        let mut asked = |catch_up: &mut CatchUp, milliseconds| {
            catch_up.consider(at(milliseconds), Slot::new(3), true, Some(master), &mut out);
            let asked = out.drain(..).find_map(|output| {
                let Output::Send { to, .. } = output else { return None };
                Some(to)
            });
            asked.expect("somebody is asked")
        };
        catch_up.note_decided(master, Slot::new(9));
        catch_up.note_decided(follower, Slot::new(9));
        assert_eq!(asked(&mut catch_up, 0), follower);
        let mut none = Vec::new();
        catch_up.handle_learned(at(1), follower, &nothing_for(3, 9), Slot::new(3), &mut none);
        assert_eq!(asked(&mut catch_up, 101), follower, "it takes one");
        catch_up.handle_timeout(at(300), &mut none);
        assert_eq!(asked(&mut catch_up, 300), master, "the follower is silent");
    }

    #[test]
    fn nothing_is_asked_for_while_a_snapshot_is_installed() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(9));
        catch_up.consider(at(0), Slot::new(3), true, MASTER, &mut out);
        let offer = Learned { snapshot: Some(Slot::new(7)), ..nothing_for(3, 9) };
        catch_up.handle_learned(at(1), PEER, &offer, Slot::new(3), &mut out);
        let bytes = Bytes::from_static(b"image");
        let chunk = SnapshotChunk { slot: Slot::new(7), offset: 0, total: 5, bytes };
        catch_up.handle_chunk(at(2), PEER, chunk, Slot::new(3), &mut out);
        assert!(catch_up.is_installing());
        out.clear();
        catch_up.consider(at(900), Slot::new(3), true, None, &mut out);
        assert_eq!(questions(&mut out), 0);
        catch_up.handle_install_finished();
        catch_up.consider(at(901), Slot::new(7), true, None, &mut out);
        assert_eq!(questions(&mut out), 1);
    }
}
