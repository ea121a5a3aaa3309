//! The replica: takes commands of clients, learns what is decided, and has it applied in slot order
//! (PMMC 2.1).
//!
//! It must never apply a slot twice, or one before all earlier ones (P5), and must never take an
//! accepted pvalue for decided on another ballot's word.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch::Batch;
use crate::catchup::CatchUp;
use crate::ids::{Ballot, Incarnation, NodeId, Slot};
use crate::limits::{DIGESTS_KEPT, LEARNED_BYTES, LOG_BYTES_KEPT, LOG_BYTES_MAX};
use crate::message::{
    Decision, Declined, Heartbeat, Learn, Learned, Message, ReadIndexed, SnapshotChunk,
    SnapshotFetch, Standing,
};
use crate::output::{Notice, Output, Tell};
use crate::reads::Reads;
use crate::record::PValue;
use crate::route::Input;
use crate::submissions::Submissions;
use crate::time::{Instant, LogTime};
use crate::timing::Timing;

/// What a replica starts from.
#[derive(Clone, Debug, Hash)]
pub struct ReplicaState {
    /// Identity of the data directory.
    pub incarnation: Incarnation,
    /// Higher than every sequence and read id that an earlier process of this data directory used.
    pub first_sequence: u64,
    /// Every slot below is in the restored snapshot; the log starts here.
    pub snapshot: Slot,
    /// Log time of the restored snapshot.
    pub log_time: LogTime,
    /// Decided batches from `snapshot` on, to be applied first.
    pub decided: Vec<Batch>,
}

/// The replica role of one node.
#[derive(Clone, Debug, Hash)]
pub struct Replica {
    node: NodeId,
    applied: Slot,
    log_time: LogTime,
    log: VecDeque<Batch>,
    log_start: Slot,
    log_bytes: usize,
    /// Most bytes of the log in memory if nobody lags, and at all.
    log_bytes_max: (usize, usize),
    snapshot: Option<Slot>,
    /// From here on the host can read decided slots back.
    log_on_disk: Slot,
    accepted: BTreeMap<Slot, (Ballot, Batch)>,
    chosen: BTreeMap<Slot, Batch>,
    watermark: (Ballot, Slot),
    mastership: Option<(Ballot, Slot)>,
    submissions: Submissions,
    reads: Reads,
    catch_up: CatchUp,
    digests: BTreeMap<Slot, u64>,
    retired: bool,
}

impl Replica {
    /// The replica of `node`. [`start`](Self::start) has the recovered log applied.
    #[must_use]
    pub fn new(node: NodeId, timing: Timing, state: ReplicaState) -> Self {
        let ReplicaState { incarnation, first_sequence, snapshot, log_time, decided } = state;
        assert!(first_sequence > 0, "P5: sequence zero means none");
        let chosen = decided
            .into_iter()
            .enumerate()
            .map(|(index, batch)| (Slot::new(snapshot.position() + index as u64), batch))
            .collect();
        Self {
            node,
            applied: snapshot,
            log_time,
            log: VecDeque::new(),
            log_start: snapshot,
            log_bytes: 0,
            log_bytes_max: (LOG_BYTES_KEPT, LOG_BYTES_MAX),
            snapshot: (snapshot > Slot::FIRST).then_some(snapshot),
            log_on_disk: Slot::new(u64::MAX),
            accepted: BTreeMap::new(),
            chosen,
            watermark: (Ballot::ZERO, Slot::FIRST),
            mastership: None,
            submissions: Submissions::new(node, incarnation, first_sequence, timing.lease()),
            reads: Reads::new(first_sequence, timing.heartbeat()),
            catch_up: CatchUp::new(timing.heartbeat()),
            digests: BTreeMap::new(),
            retired: false,
        }
    }

    /// Has everything applied that was recovered; to be called once, before anything else.
    pub fn start(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.advance(now, out);
    }

    /// Handles whatever is routed to the replica.
    #[expect(clippy::wildcard_enum_match_arm, reason = "routing sends nothing else here")]
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Peer { from, message } => match message {
                Message::Learn(learn) => self.handle_learn(from, &learn, out),
                Message::Learned(learned) => self.handle_learned(now, from, learned, out),
                Message::ReadIndexed(answer) => self.handle_read_indexed(now, &answer, out),
                Message::Declined(declined) => self.handle_declined(now, &declined, out),
                Message::SnapshotFetch(fetch) => Self::handle_snapshot_fetch(from, &fetch, out),
                Message::SnapshotChunk(chunk) => self.handle_snapshot_chunk(now, from, chunk, out),
                other => panic!("routing brought {other:?} to the replica"),
            },
            Input::Tell(tell) => match tell {
                Tell::Accepted(pvalue) => self.handle_accepted(now, pvalue, out),
                Tell::Watermark { ballot, decided } => {
                    self.handle_watermark(now, ballot, decided, out);
                }
                Tell::Vouched { to, id, decision } => self.handle_vouched(to, id, decision, out),
                Tell::Ahead { node, decided } => {
                    if node != self.node {
                        self.catch_up.note_decided(node, decided);
                    }
                    self.consider_catching_up(now, out);
                }
                Tell::Members { others, admitted } => self.handle_members(&others, admitted, out),
                Tell::Chosen(pvalue) => self.handle_chosen(now, pvalue, out),
                Tell::Mastership(mastership) => self.handle_mastership(now, mastership, out),
                Tell::Heard { from, heartbeat } => self.handle_heard(now, from, &heartbeat, out),
                other => panic!("routing brought {other:?} to the replica"),
            },
        }
    }

    /// Takes encoded commands of clients; their fate is told with `ticket`, in the order of
    /// tickets.
    pub fn handle_submit(
        &mut self,
        now: Instant,
        ticket: u64,
        commands: Bytes,
        deadline: Instant,
        out: &mut Vec<Output>,
    ) {
        if !self.retired && self.submissions.submit(ticket, commands, deadline) {
            self.submissions.flush(now, self.mastership, self.applied, out);
        } else {
            let fate = crate::output::Fate::NotExecuted;
            out.push(Output::Notify(Notice::Failed { ticket, fate }));
        }
    }

    /// Takes the wish to read linearizably; the answer is [`Notice::ReadReady`] with `ticket`.
    pub fn handle_read(
        &mut self,
        now: Instant,
        ticket: u64,
        deadline: Instant,
        out: &mut Vec<Output>,
    ) {
        if self.retired {
            out.push(Output::Notify(Notice::ReadReady { ticket, allowed: false }));
            return;
        }
        let master = self.mastership.map(|(ballot, _)| ballot);
        self.reads.ask(now, ticket, deadline, master, out);
    }

    /// Handles a new membership. A node that is not part of it answers what waits at once: nobody
    /// will tell it what became of that.
    pub fn handle_members(&mut self, others: &[NodeId], admitted: bool, out: &mut Vec<Output>) {
        self.catch_up.retain(others);
        self.retired = !admitted;
        if self.retired {
            self.submissions.give_up(out);
            self.reads.give_up(out);
        }
    }

    /// Handles what this node's acceptor accepted.
    pub fn handle_accepted(&mut self, now: Instant, pvalue: PValue, out: &mut Vec<Output>) {
        let PValue { ballot, slot, batch } = pvalue;
        if slot < self.applied {
            return;
        }
        let newer = self.accepted.get(&slot).is_none_or(|(known, _)| *known <= ballot);
        if newer {
            self.accepted.insert(slot, (ballot, batch));
        }
        self.advance(now, out);
    }

    /// Handles how far the master of `ballot` says that the log is decided.
    pub fn handle_watermark(
        &mut self,
        now: Instant,
        ballot: Ballot,
        decided: Slot,
        out: &mut Vec<Output>,
    ) {
        if (ballot, decided) <= self.watermark {
            return;
        }
        self.watermark = (ballot, decided);
        if ballot.node != self.node {
            self.catch_up.note_decided(ballot.node, decided);
        }
        self.advance(now, out);
    }

    /// Handles a pvalue that a quorum accepted.
    pub fn handle_chosen(&mut self, now: Instant, pvalue: PValue, out: &mut Vec<Output>) {
        if pvalue.slot >= self.applied {
            self.choose(pvalue.slot, pvalue.batch);
            self.advance(now, out);
        }
    }

    /// Handles a new master, or the loss of one.
    pub fn handle_mastership(
        &mut self,
        now: Instant,
        mastership: Option<(Ballot, Slot)>,
        out: &mut Vec<Output>,
    ) {
        self.mastership = mastership;
        self.submissions.flush(now, mastership, self.applied, out);
        self.reads.ask_again(now, mastership.map(|(ballot, _)| ballot), out);
    }

    /// Handles a heartbeat: how far its sender is, and whether its state equals this node's.
    pub fn handle_heard(
        &mut self,
        now: Instant,
        from: NodeId,
        heartbeat: &Heartbeat,
        out: &mut Vec<Output>,
    ) {
        if from == self.node {
            return;
        }
        self.catch_up.note_decided(from, heartbeat.decided);
        self.catch_up.note_applied(from, heartbeat.applied);
        if let Standing::Master { ballot, .. } = heartbeat.standing {
            self.compare_digest(heartbeat, out);
            out.push(Output::Notify(Notice::Held(heartbeat.held.clone())));
            self.handle_watermark(now, ballot, heartbeat.decided, out);
        }
        self.consider_catching_up(now, out);
    }

    /// Handles the word of the master that it will not propose something.
    pub fn handle_declined(&mut self, now: Instant, declined: &Declined, out: &mut Vec<Output>) {
        self.submissions.decline(declined);
        let elsewhere = self.mastership.filter(|(ballot, _)| *ballot != declined.ballot);
        self.submissions.flush(now, elsewhere, self.applied, out);
    }

    /// Handles a peer's wish for decided slots.
    pub fn handle_learn(&self, from: NodeId, learn: &Learn, out: &mut Vec<Output>) {
        let mut batches = Vec::new();
        let mut bytes = 0;
        if learn.from >= self.log_start {
            let skip = usize::try_from(learn.from.distance_from(self.log_start))
                .expect("the log in memory is shorter than memory");
            for batch in self.log.iter().skip(skip) {
                let length = batch.as_bytes().len();
                if bytes > 0 && bytes + length > LEARNED_BYTES {
                    break;
                }
                bytes += length;
                batches.push(batch.clone());
            }
        }
        if learn.from < self.log_start {
            let from_disk = Notice::ReadLog { to: from, from: learn.from };
            out.push(Output::Notify(from_disk));
            return;
        }
        let snapshot = self.snapshot.filter(|_| mutant!(OlderSnapshotInstalled));
        let learned = Learned { from: learn.from, batches, decided: self.applied, snapshot };
        out.push(Output::Send { to: from, message: Message::Learned(learned) });
    }

    /// Handles what the host read out of its log for a peer; nothing means that the log does not
    /// reach back so far, so that the peer needs a snapshot.
    pub fn handle_log_read(
        &self,
        to: NodeId,
        from: Slot,
        batches: Vec<Batch>,
        out: &mut Vec<Output>,
    ) {
        // From an older snapshot the log could not be followed either.
        let reaches = |slot: Slot| slot >= self.log_start.min(self.log_on_disk);
        let snapshot = self.snapshot.filter(|&slot| {
            (batches.is_empty() && slot > from && reaches(slot)) || mutant!(OlderSnapshotInstalled)
        });
        if batches.is_empty() && snapshot.is_none() {
            out.push(Output::Notify(Notice::SnapshotWanted));
        }
        let learned = Learned { from, batches, decided: self.applied, snapshot };
        out.push(Output::Send { to, message: Message::Learned(learned) });
    }

    /// Handles decided slots that a peer told.
    pub fn handle_learned(
        &mut self,
        now: Instant,
        from: NodeId,
        learned: Learned,
        out: &mut Vec<Output>,
    ) {
        let mut slot = learned.from;
        for batch in &learned.batches {
            if slot >= self.applied {
                self.choose(slot, batch.clone());
            }
            slot = slot.next();
        }
        self.advance(now, out);
        self.catch_up.handle_learned(now, from, &learned, self.applied, out);
    }

    /// Handles the word of this node's leader that it holds the lease: answers a follower's read.
    pub fn handle_vouched(&self, to: NodeId, id: u64, decision: Decision, out: &mut Vec<Output>) {
        let answer = ReadIndexed { id, index: Some(decision), applied: self.applied };
        out.push(Output::Send { to, message: Message::ReadIndexed(answer) });
    }

    /// Handles the master's answer to a question for a read index.
    pub fn handle_read_indexed(
        &mut self,
        now: Instant,
        answer: &ReadIndexed,
        out: &mut Vec<Output>,
    ) {
        let Some(Decision { ballot, decided }) = answer.index else {
            return;
        };
        self.reads.confirm(answer.id, answer.applied);
        if ballot.node != self.node {
            self.catch_up.note_decided(ballot.node, answer.applied);
        }
        self.handle_watermark(now, ballot, decided, out);
        self.reads.release(self.applied, out);
    }

    /// Handles a peer's wish for a part of a snapshot.
    pub fn handle_snapshot_fetch(from: NodeId, fetch: &SnapshotFetch, out: &mut Vec<Output>) {
        let SnapshotFetch { slot, offset } = *fetch;
        out.push(Output::Notify(Notice::ReadSnapshot { to: from, slot, offset }));
    }

    /// Handles a part of a snapshot.
    pub fn handle_snapshot_chunk(
        &mut self,
        now: Instant,
        from: NodeId,
        chunk: SnapshotChunk,
        out: &mut Vec<Output>,
    ) {
        self.catch_up.handle_chunk(now, from, chunk, self.applied, out);
    }

    /// Handles the host's word that it installed a snapshot of everything below `slot`.
    pub fn handle_snapshot_installed(
        &mut self,
        now: Instant,
        slot: Slot,
        log_time: LogTime,
        out: &mut Vec<Output>,
    ) {
        assert!(slot > self.applied, "P5: snapshot {slot} is older than {}", self.applied);
        self.catch_up.handle_install_finished();
        self.applied = slot;
        self.log_time = self.log_time.max(log_time);
        self.log.clear();
        self.log_bytes = 0;
        self.log_start = slot;
        self.snapshot = Some(slot);
        self.accepted = self.accepted.split_off(&slot);
        self.chosen = self.chosen.split_off(&slot);
        self.digests.clear();
        self.submissions.handle_skipped(out);
        out.push(Output::Tell(Tell::Installed(slot)));
        out.push(Output::Tell(Tell::Applied { slot, log_time }));
        // Nothing need follow that would have them looked at.
        self.submissions.flush(now, self.mastership, slot, out);
        self.reads.release(slot, out);
        self.advance(now, out);
    }

    /// Handles the host's word that it has written a snapshot that comes up to `end`.
    pub fn handle_snapshot_written(&mut self, slot: Slot, end: u64, out: &mut Vec<Output>) {
        self.catch_up.note_written(slot, end, out);
    }

    /// Handles the host's word that the snapshot it was given could not be installed.
    pub fn handle_snapshot_refused(&mut self) {
        self.catch_up.handle_install_refused();
    }

    /// Takes note of a snapshot that this node has of everything below `slot`.
    pub fn note_snapshot(&mut self, slot: Slot) {
        self.snapshot = self.snapshot.max(Some(slot));
    }

    /// Takes note that the log on disk holds every slot from `slot` on that is decided.
    pub const fn note_log_start(&mut self, slot: Slot) {
        self.log_on_disk = slot;
    }

    /// Keeps less of the log in memory than usual, or more: so many bytes if nobody lags, and so
    /// many at all.
    pub const fn limit_log(&mut self, kept: usize, max: usize) {
        self.log_bytes_max = (kept, max);
    }

    /// Takes note of the digest of the state before `slot`.
    pub fn note_digest(&mut self, slot: Slot, digest: u64) {
        self.digests.insert(slot, digest);
        while self.digests.len() > DIGESTS_KEPT {
            self.digests.pop_first();
        }
    }

    /// Handles a closed connection.
    pub fn handle_peer_down(&mut self, node: NodeId) {
        self.catch_up.handle_peer_down(node);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.submissions.next_timeout(),
            self.reads.next_timeout(),
            self.catch_up.next_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Gives up what is overdue, and asks again for what does not come.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.submissions.handle_timeout(now, self.mastership, out);
        self.reads.handle_timeout(now, self.mastership.map(|(ballot, _)| ballot), out);
        self.catch_up.handle_timeout(now, out);
        self.consider_catching_up(now, out);
    }

    pub(crate) fn submissions_are_in_order(&self) -> bool {
        self.submissions.are_in_order()
    }

    /// The first slot that is not applied.
    #[must_use]
    pub const fn applied(&self) -> Slot {
        self.applied
    }

    /// The first slot that the log in memory still holds.
    #[must_use]
    pub const fn log_start(&self) -> Slot {
        self.log_start
    }

    /// The decided content of an applied slot, while the log in memory holds it.
    #[must_use]
    pub fn decided(&self, slot: Slot) -> Option<&Batch> {
        if slot < self.log_start {
            return None;
        }
        self.log.get(usize::try_from(slot.distance_from(self.log_start)).ok()?)
    }

    fn choose(&mut self, slot: Slot, batch: Batch) {
        if let Some(known) = self.chosen.get(&slot) {
            assert!(*known == batch, "P3: two contents decided for {slot}: {known} and {batch}");
        }
        self.chosen.insert(slot, batch);
    }

    /// Has every slot applied whose turn has come and whose content is known.
    fn advance(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.catch_up.is_installing() {
            return;
        }
        let before = self.applied;
        let mut contents = Vec::new();
        while let Some(batch) = self.next_decided() {
            let slot = self.applied;
            self.accepted.remove(&slot);
            contents.push((slot, batch.clone()));
            self.apply(now, slot, batch, out);
        }
        assert!(self.applied >= before, "P5: applied fell from {before} to {}", self.applied);
        if self.applied > before {
            let (slot, log_time) = (self.applied, self.log_time);
            out.push(Output::Tell(Tell::Decided { slot, contents }));
            out.push(Output::Tell(Tell::Applied { slot, log_time }));
            self.trim_log();
            self.submissions.flush(now, self.mastership, self.applied, out);
            self.reads.release(self.applied, out);
        }
        self.consider_catching_up(now, out);
    }

    fn next_decided(&mut self) -> Option<Batch> {
        if let Some(batch) = self.chosen.remove(&self.applied) {
            return Some(batch);
        }
        let (ballot, decided) = self.watermark;
        if self.applied >= decided {
            return None;
        }
        // Under one ballot only one content is proposed for a slot; under another it may differ.
        let accepted = self.accepted.get(&self.applied);
        let counts = |under: Ballot| under == ballot || mutant!(AcceptedOfAnyBallotIsDecided);
        accepted.filter(|(under, _)| counts(*under)).map(|(_, batch)| batch.clone())
    }

    fn apply(&mut self, now: Instant, slot: Slot, batch: Batch, out: &mut Vec<Output>) {
        assert!(slot == self.applied, "P5: {slot} applied at {}", self.applied);
        let mut tickets = Vec::new();
        for (index, proposal) in batch.proposals().iter().enumerate() {
            if let Some(ticket) = self.submissions.applied(now, proposal.origin, out) {
                tickets.push((index, ticket));
            }
        }
        self.log_time = self.log_time.max(batch.stamp().log_time);
        self.log_bytes += batch.as_bytes().len();
        self.log.push_back(batch.clone());
        self.applied = slot.next();
        out.push(Output::Notify(Notice::Apply { slot, batch, tickets }));
    }

    /// Drops the oldest batches from memory: those that every node heard of lately has applied, and
    /// beyond a bound also others. Who lacks them gets a snapshot.
    fn trim_log(&mut self) {
        let needed = self.catch_up.lowest_applied();
        let (kept, max) = self.log_bytes_max;
        while self.log_bytes > max
            || (self.log_bytes > kept && needed.is_none_or(|slot| self.log_start < slot))
        {
            let Some(batch) = self.log.pop_front() else { return };
            self.log_bytes -= batch.as_bytes().len();
            self.log_start = self.log_start.next();
        }
    }

    fn consider_catching_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        let missing = self.applied < self.watermark.1;
        let master = self.mastership.map(|(ballot, _)| ballot.node);
        self.catch_up.consider(now, self.applied, missing, master, out);
    }

    fn compare_digest(&self, heartbeat: &Heartbeat, out: &mut Vec<Output>) {
        let Some((slot, digest)) = heartbeat.digest else {
            return;
        };
        if self.digests.get(&slot).is_some_and(|own| *own != digest) {
            out.push(Output::Notify(Notice::Diverged { slot }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Stamp;
    use crate::ids::View;

    const PEER: NodeId = NodeId::new(2);

    fn replica() -> Replica {
        let state = ReplicaState {
            incarnation: Incarnation::new(1),
            first_sequence: 1,
            snapshot: Slot::FIRST,
            log_time: LogTime::ZERO,
            decided: Vec::new(),
        };
        Replica::new(NodeId::new(1), Timing::DEFAULT, state)
    }

    fn ballot(round: u64) -> Ballot {
        Ballot { view: View::new(1), round, node: PEER }
    }

    fn pvalue(round: u64, slot: u64) -> PValue {
        let batch = Batch::no_op(Stamp { log_time: LogTime::ZERO, seed: slot });
        PValue { ballot: ballot(round), slot: Slot::new(slot), batch }
    }

    fn applied(out: &mut Vec<Output>) -> Vec<u64> {
        let mut slots = Vec::new();
        for output in out.drain(..) {
            if let Output::Notify(Notice::Apply { slot, .. }) = output {
                slots.push(slot.position());
            }
        }
        slots
    }

    #[test]
    fn an_accepted_pvalue_counts_only_under_the_ballot_of_the_watermark() {
        let (mut replica, mut out) = (replica(), Vec::new());
        let now = Instant::from_nanos(0);
        replica.handle_accepted(now, pvalue(1, 1), &mut out);
        replica.handle_watermark(now, ballot(2), Slot::new(3), &mut out);
        assert_eq!(applied(&mut out), [0; 0]);
        replica.handle_accepted(now, pvalue(2, 1), &mut out);
        replica.handle_accepted(now, pvalue(1, 1), &mut out);
        assert_eq!(applied(&mut out), [1]);
    }

    #[test]
    fn slots_are_applied_in_order_and_once() {
        let (mut replica, mut out) = (replica(), Vec::new());
        let now = Instant::from_nanos(0);
        for slot in [2, 3, 2, 1, 1, 3] {
            replica.handle_chosen(now, pvalue(1, slot), &mut out);
        }
        assert_eq!(applied(&mut out), [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "P3: two contents decided for s2")]
    fn two_contents_for_a_slot_stop_the_node() {
        let (mut replica, mut out) = (replica(), Vec::new());
        let now = Instant::from_nanos(0);
        replica.handle_chosen(now, pvalue(1, 2), &mut out);
        let other = PValue { slot: Slot::new(2), ..pvalue(1, 7) };
        replica.handle_chosen(now, other, &mut out);
    }

    #[test]
    fn nothing_is_applied_while_a_snapshot_is_installed() {
        let (mut replica, mut out) = (replica(), Vec::new());
        let now = Instant::from_nanos(0);
        let led_by_another = Ballot { node: NodeId::new(3), ..ballot(1) };
        replica.handle_mastership(now, Some((led_by_another, Slot::FIRST)), &mut out);
        replica.handle_watermark(now, ballot(1), Slot::new(9), &mut out);
        let nothing = Learned {
            from: Slot::FIRST,
            batches: Vec::new(),
            decided: Slot::new(9),
            snapshot: Some(Slot::new(4)),
        };
        replica.handle_learned(now, PEER, nothing, &mut out);
        let bytes = Bytes::from_static(b"image");
        let chunk = SnapshotChunk { slot: Slot::new(4), offset: 0, total: 5, bytes };
        replica.handle_snapshot_chunk(now, PEER, chunk, &mut out);
        out.clear();
        for slot in 1..=5 {
            replica.handle_chosen(now, pvalue(1, slot), &mut out);
        }
        assert_eq!(applied(&mut out), [0; 0]);
        replica.handle_snapshot_installed(now, Slot::new(4), LogTime::ZERO, &mut out);
        assert_eq!(applied(&mut out), [4, 5]);
    }
}
