//! How a replica that lacks decided slots gets them: from the log of a peer, or by a snapshot when
//! the peer's log no longer reaches back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ids::{NodeId, Slot};
use crate::message::{Learn, Learned, Message, SnapshotChunk, SnapshotFetch};
use crate::output::{Event, Notice, Output};
use crate::time::{Instant, Span};

/// How many times a part of a snapshot is asked for before the transfer is given up.
const FETCH_ATTEMPTS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, Hash)]
struct Learning {
    node: NodeId,
    ask_again_at: Instant,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Fetching {
    node: NodeId,
    slot: Option<Slot>,
    offset: u64,
    ask_again_at: Instant,
    attempts: u32,
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
    installing: bool,
    behind: Option<Behind>,
    turn: usize,
}

impl CatchUp {
    pub(crate) const fn new(retry: Span) -> Self {
        Self {
            retry,
            decided: BTreeMap::new(),
            applied: BTreeMap::new(),
            learning: None,
            fetching: None,
            installing: false,
            behind: None,
            turn: 0,
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
    /// that waiting is in vain; otherwise a peer may just have heard a moment earlier.
    pub(crate) fn consider(
        &mut self,
        now: Instant,
        applied: Slot,
        missing: bool,
        out: &mut Vec<Output>,
    ) {
        if self.learning.is_some() || self.fetching.is_some() || self.installing {
            return;
        }
        let ahead: Vec<(NodeId, Slot)> = self
            .decided
            .iter()
            .filter(|(_, decided)| **decided > applied)
            .map(|(&node, &decided)| (node, decided))
            .collect();
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
        self.turn += 1;
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
        if (newer && learned.batches.is_empty()) || any {
            self.fetch(now, from, None, 0, out);
        } else if learned.batches.is_empty() {
            self.note_in_vain(now, applied);
        } else if learned.decided > applied {
            self.ask(now, from, applied, out);
        }
    }

    fn note_in_vain(&mut self, now: Instant, applied: Slot) {
        let ask_at = now.after(self.retry);
        self.behind = Some(Behind { slot: applied, ask_at, in_vain: true });
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
        let Some(fetching) = self.fetching else {
            return;
        };
        let expected = fetching.node == from
            && fetching.offset == offset
            && fetching.slot.is_none_or(|known| known == slot);
        if !expected {
            return;
        }
        let end = offset + bytes.len() as u64;
        let old = slot <= applied && !mutant!(OlderSnapshotInstalled);
        if bytes.is_empty() || end > total || old {
            self.fetching = None;
            self.note_in_vain(now, applied);
            return;
        }
        out.push(Output::Notify(Notice::WriteSnapshot { slot, offset, total, bytes }));
        if end < total {
            self.fetch(now, from, Some(slot), end, out);
        } else {
            self.fetching = None;
            self.installing = true;
            out.push(Output::Notify(Notice::InstallSnapshot { slot }));
        }
    }

    /// Whether the host is about to replace the state by a snapshot: until it has, nothing may be
    /// applied.
    pub(crate) const fn is_installing(&self) -> bool {
        self.installing
    }

    /// The host has installed the snapshot, or could not.
    pub(crate) const fn handle_install_finished(&mut self) {
        self.installing = false;
        self.behind = None;
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
        self.fetching = self.fetching.filter(|fetching| fetching.node != node);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let behind = match (&self.learning, &self.fetching) {
            (None, None) => self.behind.map(|behind| behind.ask_at),
            _ => None,
        };
        let learning = self.learning.map(|learning| learning.ask_again_at);
        let fetching = self.fetching.map(|fetching| fetching.ask_again_at);
        [behind.filter(|_| !self.installing), learning, fetching].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.learning.is_some_and(|learning| learning.ask_again_at <= now) {
            self.learning = None;
        }
        let Some(fetching) = self.fetching.filter(|fetching| fetching.ask_again_at <= now) else {
            return;
        };
        self.fetching = None;
        if fetching.attempts < FETCH_ATTEMPTS_MAX {
            self.fetch(now, fetching.node, fetching.slot, fetching.offset, out);
            if let Some(again) = &mut self.fetching {
                again.attempts = fetching.attempts + 1;
            }
        }
    }

    fn ask(&mut self, now: Instant, node: NodeId, from: Slot, out: &mut Vec<Output>) {
        self.learning = Some(Learning { node, ask_again_at: now.after(self.retry) });
        out.push(Output::Send { to: node, message: Message::Learn(Learn { from }) });
    }

    fn fetch(
        &mut self,
        now: Instant,
        node: NodeId,
        slot: Option<Slot>,
        offset: u64,
        out: &mut Vec<Output>,
    ) {
        let ask_again_at = now.after(self.retry).after(self.retry);
        self.fetching = Some(Fetching { node, slot, offset, ask_again_at, attempts: 0 });
        let message = Message::SnapshotFetch(SnapshotFetch { slot, offset });
        out.push(Output::Send { to: node, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId::new(2);
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
        catch_up.consider(at(0), Slot::new(3), false, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), Some(at(100)));
        catch_up.consider(at(100), Slot::new(3), false, &mut out);
        assert_eq!(questions(&mut out), 1);
    }

    #[test]
    fn what_is_missing_is_asked_for_at_once_but_not_again_when_that_was_in_vain() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(5));
        catch_up.consider(at(0), Slot::new(3), true, &mut out);
        assert_eq!(questions(&mut out), 1);
        catch_up.handle_learned(at(1), PEER, &nothing_for(3, 5), Slot::new(3), &mut out);
        catch_up.consider(at(1), Slot::new(3), true, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), Some(at(101)));
        catch_up.consider(at(101), Slot::new(3), true, &mut out);
        assert_eq!(questions(&mut out), 1);
    }

    #[test]
    fn a_peer_that_has_nothing_is_not_ahead() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(5));
        catch_up.consider(at(0), Slot::new(3), true, &mut out);
        catch_up.handle_learned(at(1), PEER, &nothing_for(3, 3), Slot::new(3), &mut out);
        out.clear();
        catch_up.consider(at(500), Slot::new(3), true, &mut out);
        assert_eq!(questions(&mut out), 0);
        assert_eq!(catch_up.next_timeout(), None);
    }

    #[test]
    fn nothing_is_asked_for_while_a_snapshot_is_installed() {
        let (mut catch_up, mut out) = (CatchUp::new(RETRY), Vec::new());
        catch_up.note_decided(PEER, Slot::new(9));
        catch_up.consider(at(0), Slot::new(3), true, &mut out);
        let offer = Learned { snapshot: Some(Slot::new(7)), ..nothing_for(3, 9) };
        catch_up.handle_learned(at(1), PEER, &offer, Slot::new(3), &mut out);
        let bytes = bytes::Bytes::from_static(b"image");
        let chunk = SnapshotChunk { slot: Slot::new(7), offset: 0, total: 5, bytes };
        catch_up.handle_chunk(at(2), PEER, chunk, Slot::new(3), &mut out);
        assert!(catch_up.is_installing());
        out.clear();
        catch_up.consider(at(900), Slot::new(3), true, &mut out);
        assert_eq!(questions(&mut out), 0);
        catch_up.handle_install_finished();
        catch_up.consider(at(901), Slot::new(7), true, &mut out);
        assert_eq!(questions(&mut out), 1);
    }
}
