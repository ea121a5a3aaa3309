//! The acceptor: the memory of the protocol (PMMC 2.2).
//!
//! Promises and accepts leave as `then` of a [`Output::Persist`], so that nothing can be said
//! before it is durable (P1). It also grants the master lease, by refusing other ballots while a
//! grant runs (L1), and stays silent to new ballots for a while after a restart, because grants are
//! not durable (L2). It must never answer for a slot that it cannot read as if it had accepted
//! nothing (P6).
//!
//! It also keeps the membership in force, and from then on refuses lower views for ever (M4).

mod views;

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::batch::Batch;
use crate::ids::{Ballot, Incarnation, NodeId, Slot, SlotRange};
use crate::membership::Membership;
use crate::message::{Ack, Heartbeat, Message, P1a, P1b, P2a, P2b, Reconfiguration, Release};
use crate::output::{Output, Tell};
use crate::record::{PValue, Record};
use crate::route::Input;
use crate::time::{Instant, LogTime};
use crate::timing::Timing;

/// What an acceptor starts from.
#[derive(Clone, Debug, Hash)]
pub struct AcceptorState {
    /// The highest ballot promised or accepted, as recovered from disk.
    pub ballot: Ballot,
    /// Accepted pvalues at or above `decided`, the newest for each slot.
    pub pvalues: Vec<PValue>,
    /// Every slot below is decided and held.
    pub decided: Slot,
    /// Slots held once that cannot be read (P6).
    pub unknown: Vec<SlotRange>,
    /// The watermark on record: every slot below is decided, readable here or not.
    pub known: Slot,
    /// Whether the node has ever run before: only then may it have granted a lease (L2).
    pub restarted: bool,
    /// Identity of the data directory (P7).
    pub incarnation: Incarnation,
    /// What was accepted for the reconfiguration slot after the membership in force.
    pub reconfiguration: Option<Reconfiguration>,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Grant {
    ballot: Ballot,
    end: Instant,
}

/// The acceptor role of one node.
#[derive(Clone, Debug, Hash)]
pub struct Acceptor {
    node: NodeId,
    incarnation: Incarnation,
    /// The membership in force.
    membership: Membership,
    reconfiguration: Option<Reconfiguration>,
    timing: Timing,
    ballot: Ballot,
    pvalues: BTreeMap<Slot, (Ballot, Batch)>,
    unknown: Vec<SlotRange>,
    /// Every slot below is decided here, and the newest durable record of each is the decided one.
    decided: Slot,
    /// Every slot below is decided, although what the disk had of it may be damaged.
    known: Slot,
    decided_recorded: Slot,
    /// Every slot below is durable here once everything handed to the disk so far is: recorded as
    /// decided, or accepted under the present ballot. What was accepted under an older one does not
    /// count before it is recorded as decided: M3 rests on this.
    held: Slot,
    /// The same of what is durable already.
    held_durably: Slot,
    grant: Option<Grant>,
    silent_until: Option<Instant>,
    log_time: Option<(Ballot, LogTime, Instant)>,
    persists_waiting: u64,
    waiting_since: Option<Instant>,
}

impl Acceptor {
    /// The acceptor of `node`, started at `now` with what its disk holds: `membership` is the
    /// newest one that it knows to be in force.
    #[must_use]
    pub fn new(
        node: NodeId,
        membership: Membership,
        timing: Timing,
        state: AcceptorState,
        now: Instant,
    ) -> Self {
        let pvalues: BTreeMap<_, _> = state
            .pvalues
            .into_iter()
            .filter(|pvalue| pvalue.slot >= state.decided)
            .map(|pvalue| (pvalue.slot, (pvalue.ballot, pvalue.batch)))
            .collect();
        for (slot, (ballot, _)) in &pvalues {
            assert!(*ballot <= state.ballot, "P2: {slot} accepted at {ballot} above the promise");
        }
        let remembered = if mutant!(PromiseForgottenOnRestart) {
            pvalues.values().map(|(ballot, _)| *ballot).max().unwrap_or(Ballot::ZERO)
        } else {
            state.ballot
        };
        let next = membership.view().next();
        Self {
            node,
            incarnation: state.incarnation,
            reconfiguration: state.reconfiguration.filter(|found| found.charter.view == next),
            membership,
            timing,
            ballot: remembered,
            pvalues,
            unknown: state.unknown,
            decided: state.decided,
            known: state.known,
            decided_recorded: state.decided,
            held: state.decided,
            held_durably: state.decided,
            grant: None,
            silent_until: (state.restarted && !mutant!(NoSilenceAfterRestart))
                .then(|| timing.grant_end(now)),
            log_time: None,
            persists_waiting: 0,
            waiting_since: None,
        }
    }

    /// Handles whatever is routed to the acceptor.
    #[expect(clippy::wildcard_enum_match_arm, reason = "routing sends nothing else here")]
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Peer { from, message } => match message {
                Message::P1a(p1a) => self.handle_p1a(now, from, &p1a, out),
                Message::P2a(p2a) => self.handle_p2a(now, from, p2a, out),
                Message::Heartbeat(heartbeat) => self.handle_heartbeat(now, from, &heartbeat, out),
                Message::Release(release) => self.handle_release(&release),
                Message::P2aView(p2a) => self.handle_p2a_view(now, from, p2a, out),
                Message::InForce(told) => self.handle_in_force(now, told.charter, out),
                other => panic!("routing brought {other:?} to the acceptor"),
            },
            Input::Tell(Tell::Decided { slot, contents }) => {
                self.handle_decided(now, slot, contents, out);
            }
            Input::Tell(Tell::Installed(slot)) => self.handle_snapshot_installed(slot),
            Input::Tell(other) => panic!("routing brought {other:?} to the acceptor"),
        }
    }

    /// Handles a request to promise a ballot.
    pub fn handle_p1a(&mut self, now: Instant, from: NodeId, p1a: &P1a, out: &mut Vec<Output>) {
        if p1a.ballot.node != from || self.answers_lower_view(from, p1a.ballot.view, out) {
            return;
        }
        let ahead = p1a.ballot.view > self.membership.view();
        let takes = self.is_admitted() && self.membership.is_elector(from);
        if !ahead && !takes {
            return;
        }
        if self.refuses_promise(now, p1a.ballot) {
            let p1b = self.p1b(now, p1a);
            out.push(Output::Send { to: from, message: Message::P1b(p1b) });
            return;
        }
        let news = p1a.ballot > self.ballot;
        if news {
            self.persist_decided(now, out);
            self.raise_ballot(p1a.ballot);
            out.push(Output::Tell(Tell::Promised(p1a.ballot)));
        }
        assert!(self.ballot == p1a.ballot, "P2: promising {} at {}", p1a.ballot, self.ballot);
        let p1b = self.p1b(now, p1a);
        let mut then = vec![Output::Send { to: from, message: Message::P1b(p1b) }];
        if mutant!(PromiseBeforeSync) {
            out.append(&mut then);
        }
        let record = news.then_some(Record::Promise { ballot: p1a.ballot });
        self.persist(now, record, then, out);
    }

    /// Handles a request to accept a batch.
    pub fn handle_p2a(&mut self, now: Instant, from: NodeId, p2a: P2a, out: &mut Vec<Output>) {
        let P2a { ballot, slot, batch, decided } = p2a;
        if ballot.node != from || self.answers_lower_view(from, ballot.view, out) {
            return;
        }
        let present = ballot.view == self.membership.view() || mutant!(LowerViewAccepted);
        let takes = present && self.is_admitted();
        if !takes || !self.membership.is_elector(from) {
            return;
        }
        let lower = match mutant!(BallotWithoutNode) {
            false => ballot < self.ballot,
            true => ballot.round < self.ballot.round,
        };
        if lower {
            let p2b = P2b { asked: ballot, promised: self.ballot, slot, held: self.held };
            out.push(Output::Send { to: from, message: Message::P2b(p2b) });
            return;
        }
        self.persist_decided(now, out);
        let raised = ballot > self.ballot;
        if raised {
            self.raise_ballot(ballot);
            out.push(Output::Tell(Tell::Promised(ballot)));
        }
        let again = slot < self.decided
            || self.pvalues.get(&slot).is_some_and(|(accepted, _)| *accepted == ballot);
        // For a slot that is decided here nothing is accepted, but the ballot has risen even so.
        let record = match again {
            false => Some(self.accept(ballot, slot, batch, out)),
            true => raised.then_some(Record::Promise { ballot }),
        };
        assert!(self.ballot == ballot, "P2: accepted {slot} under {ballot} at {}", self.ballot);
        out.push(Output::Tell(Tell::Watermark { ballot, decided }));
        let p2b = P2b { asked: ballot, promised: ballot, slot, held: self.held };
        let mut then = vec![Output::Send { to: from, message: Message::P2b(p2b) }];
        if mutant!(AcceptBeforeSync) {
            out.append(&mut then);
        }
        self.persist(now, record, then, out);
    }

    /// Handles a heartbeat: answers it, and grants the lease if it asks for one that may be
    /// granted.
    pub fn handle_heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        if self.answers_stranger(from, heartbeat.view, out) {
            return;
        }
        let granted = heartbeat.lease && self.grant_lease(now, from, heartbeat.ballot);
        if let Some(theirs) = heartbeat.log_time.filter(|_| granted) {
            // A new master may be slower, and is followed backwards: what it sets to expire must
            // not vanish early under the next. Of one master, what is not above the last reading
            // was long on its way.
            let ballot = heartbeat.ballot;
            let follows = |(last, known, _)| ballot > last || (ballot == last && known < theirs);
            if self.log_time.is_none_or(follows) {
                self.log_time = Some((ballot, theirs, now));
            }
        }
        let ack = Ack {
            round: heartbeat.round,
            view: self.membership.view(),
            promised: self.ballot,
            held: self.held_under(heartbeat.ballot),
            granted,
            stalled: self.is_stalled(now),
            silent: self.is_silent(now),
        };
        out.push(Output::Send { to: from, message: Message::Ack(ack) });
    }

    /// Handles the end of a lease that its master gave up (L5).
    pub fn handle_release(&mut self, release: &Release) {
        if self.grant.is_some_and(|grant| grant.ballot == release.ballot) {
            self.grant = None;
        }
    }

    /// Handles what the replica says to be decided: has those contents written whose newest record
    /// is another one. Only this role knows that, as the replica hears of its accepts late. What is
    /// accepted below a watermark on record need not be the decided content, so that is written
    /// again.
    pub fn handle_decided(
        &mut self,
        now: Instant,
        slot: Slot,
        contents: Vec<(Slot, Batch)>,
        out: &mut Vec<Output>,
    ) {
        let mut learned = false;
        for (slot, batch) in contents {
            let accepted = self.pvalues.get(&slot);
            let held = slot >= self.known && accepted.is_some_and(|(_, it)| it.is_same(&batch));
            if slot >= self.decided && !held {
                self.persist(now, Some(Record::Learn { slot, batch }), Vec::new(), out);
                learned = true;
            }
        }
        if slot <= self.decided {
            return;
        }
        self.decided = slot;
        self.pvalues = self.pvalues.split_off(&slot);
        self.unknown.retain(|range| range.last >= slot);
        if self.held < slot {
            // Something of it was learned, or accepted under an older ballot: only the watermark on
            // record tells a later ballot that it is decided.
            self.persist_decided(now, out);
            self.held = slot;
        }
        self.extend_held();
        if learned {
            self.tell_held(now, slot, out);
        }
    }

    /// Handles the installation of a snapshot that covers every slot below `slot`.
    pub fn handle_snapshot_installed(&mut self, slot: Slot) {
        self.decided = self.decided.max(slot);
        self.decided_recorded = self.decided_recorded.max(slot);
        self.held = self.held.max(slot);
        self.held_durably = self.held_durably.max(slot);
        self.pvalues = self.pvalues.split_off(&self.decided);
        self.unknown.retain(|range| range.last >= slot);
    }

    /// Handles the host's word that `persists` further [`Output::Persist`] of this role are
    /// durable.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn handle_synced(&mut self, now: Instant, persists: u64) {
        assert!(persists <= self.persists_waiting, "P1: more was synced than was written");
        self.persists_waiting -= persists;
        self.waiting_since = (self.persists_waiting > 0).then_some(now);
        if self.persists_waiting == 0 {
            self.held_durably = self.held;
        }
    }

    /// The highest ballot promised or accepted.
    #[must_use]
    pub const fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// The pvalue held for `slot`, unless it is below the decided watermark.
    #[must_use]
    pub fn pvalue(&self, slot: Slot) -> Option<(Ballot, &Batch)> {
        self.pvalues.get(&slot).map(|(ballot, batch)| (*ballot, batch))
    }

    /// Every slot below is known to be decided, and durable here or about to be.
    #[must_use]
    pub const fn decided(&self) -> Slot {
        self.decided
    }

    pub(crate) fn accepted(&self) -> impl Iterator<Item = (Slot, Ballot)> + '_ {
        self.pvalues.iter().map(|(&slot, &(ballot, _))| (slot, ballot))
    }

    /// Slots for which this acceptor abstains (P6).
    #[must_use]
    pub fn unknown(&self) -> &[SlotRange] {
        &self.unknown
    }

    /// The ballot to which a lease is granted at `now`.
    #[must_use]
    pub fn granted_to(&self, now: Instant) -> Option<Ballot> {
        self.grant.filter(|grant| now < grant.end).map(|grant| grant.ballot)
    }

    /// Until when this acceptor refuses the ballots of all nodes but `node`: while a lease runs
    /// that it granted that node (L1), and while it is silent (L2). `None` if it does not. For
    /// observers that compare with what a master trusts.
    #[must_use]
    pub fn refuses_others_than(&self, node: NodeId) -> Option<Instant> {
        let granted = self.grant.filter(|grant| grant.ballot.node == node).map(|grant| grant.end);
        granted.max(self.silent_until)
    }

    /// When what this acceptor refuses now ends: the lease that it granted (L1), and the silence
    /// after its start (L2). For explorers that step from one decisive instant to the next.
    pub fn refusals_end(&self) -> impl Iterator<Item = Instant> + '_ {
        self.grant.map(|grant| grant.end).into_iter().chain(self.silent_until)
    }

    fn refuses_promise(&self, now: Instant, ballot: Ballot) -> bool {
        if ballot.view != self.membership.view() || ballot < self.ballot {
            return true;
        }
        if ballot == self.ballot {
            return false;
        }
        // A master that raises its own ballot has given up the lease of the lower one by that.
        let overridden =
            |granted: Ballot| mutant!(HigherViewEndsGrant) && granted.view < ballot.view;
        let others = |granted: &Ballot| granted.node != ballot.node && !overridden(*granted);
        let leased = self.granted_to(now).is_some_and(|granted| others(&granted));
        self.is_silent(now) || (leased && !mutant!(PromiseDuringGrant))
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|end| now < end)
    }

    fn raise_ballot(&mut self, ballot: Ballot) {
        assert!(ballot > self.ballot, "P2: the ballot would fall from {} to {ballot}", self.ballot);
        self.ballot = ballot;
        // What was accepted under a lower ballot may be proposed anew with another content.
        self.held = self.held.min(self.decided_recorded);
        self.held_durably = Slot::FIRST;
    }

    fn accept(
        &mut self,
        ballot: Ballot,
        slot: Slot,
        batch: Batch,
        out: &mut Vec<Output>,
    ) -> Record {
        assert!(slot >= self.decided, "P5: {slot} is decided, it must not be accepted anew");
        let pvalue = PValue { ballot, slot, batch: batch.clone() };
        self.pvalues.insert(slot, (ballot, batch));
        self.forget_unknown(slot);
        self.extend_held();
        out.push(Output::Tell(Tell::Accepted(pvalue.clone())));
        Record::Accept(pvalue)
    }

    fn extend_held(&mut self) {
        while self.pvalues.get(&self.held).is_some_and(|(under, _)| *under == self.ballot) {
            self.held = self.held.next();
        }
    }

    /// Tells the master, once it is true, what this node holds by learning: it accepts nothing for
    /// those slots any more, so that no other answer would say so.
    fn tell_held(&mut self, now: Instant, decided: Slot, out: &mut Vec<Output>) {
        let (ballot, held) = (self.ballot, self.held);
        // In a view that is over nobody leads, and a node that is left out takes part in none (M4).
        let present = ballot.view >= self.membership.view() && self.is_admitted();
        if ballot == Ballot::ZERO || !present {
            return;
        }
        let slot = Slot::new(decided.position() - 1);
        let p2b = P2b { asked: ballot, promised: ballot, slot, held };
        let then = vec![Output::Send { to: ballot.node, message: Message::P2b(p2b) }];
        self.persist(now, None, then, out);
    }

    /// A slot that was accepted anew under a higher ballot is known again.
    fn forget_unknown(&mut self, slot: Slot) {
        if !self.unknown.iter().any(|range| range.contains(slot)) {
            return;
        }
        let ranges = core::mem::take(&mut self.unknown);
        for range in ranges {
            if !range.contains(slot) {
                self.unknown.push(range);
                continue;
            }
            if range.first < slot {
                let last = Slot::new(slot.position() - 1);
                self.unknown.push(SlotRange { first: range.first, last });
            }
            if slot < range.last {
                self.unknown.push(SlotRange { first: slot.next(), last: range.last });
            }
        }
    }

    fn grant_lease(&mut self, now: Instant, from: NodeId, ballot: Ballot) -> bool {
        if ballot.node != from || ballot.view != self.membership.view() || ballot < self.ballot {
            return false;
        }
        if !self.is_admitted() {
            return false;
        }
        if self.grant.is_some_and(|grant| grant.ballot > ballot && now < grant.end) {
            return false;
        }
        let end = match mutant!(LeaseWithoutMargin) {
            false => self.timing.grant_end(now),
            true => now.after(self.timing.lease()),
        };
        self.grant = Some(Grant { ballot, end });
        true
    }

    fn p1b(&self, now: Instant, p1a: &P1a) -> P1b {
        let from = p1a.decided.max(self.decided);
        let promised = self.ballot == p1a.ballot;
        let pvalues = if promised { self.pvalues_from(from) } else { Vec::new() };
        let unknown = self.unknown.iter().copied().filter(|range| range.last >= from).collect();
        P1b {
            asked: p1a.ballot,
            promised: self.ballot,
            decided: self.decided,
            pvalues,
            unknown,
            log_time: self.log_time(now),
            view: self.membership.view(),
            known: self.known.max(self.decided),
            reconfiguration: self.reconfiguration.clone().filter(|_| promised),
        }
    }

    fn pvalues_from(&self, from: Slot) -> Vec<PValue> {
        self.pvalues
            .range(from..)
            .map(|(&slot, (ballot, batch))| PValue { ballot: *ballot, slot, batch: batch.clone() })
            .collect()
    }

    fn log_time(&self, now: Instant) -> Option<LogTime> {
        self.log_time.map(|(_, time, at)| time.after(now.since(at)))
    }

    fn is_stalled(&self, now: Instant) -> bool {
        self.waiting_since.is_some_and(|since| now.since(since) > self.timing.lease())
    }

    /// Writes the decided watermark, if it is news.
    fn persist_decided(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.decided > self.decided_recorded {
            self.decided_recorded = self.decided;
            let record = Record::Decided { slot: self.decided };
            self.persist(now, Some(record), Vec::new(), out);
        }
    }

    fn persist(
        &mut self,
        now: Instant,
        record: Option<Record>,
        then: Vec<Output>,
        out: &mut Vec<Output>,
    ) {
        self.persists_waiting += 1;
        self.waiting_since.get_or_insert(now);
        out.push(Output::Persist { record, then });
    }
}
