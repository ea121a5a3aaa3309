//! What the checkers are told, and what the column log shows.

use warlock_node::RoleStates;
use warlock_paxos::{
    Ballot, Decision, Declined, Event, Heartbeat, Instant, LogTime, Message, NodeId, Notice, P1b,
    P2a, P2aView, P2b, P2bView, ReadIndexed, Record, Slot, View, invariants,
};
use xxhash_rust::xxh3::xxh3_64;

use super::World;
use super::queue::NodeIndex;
use super::site::Site;
use super::weather::{MICROSECOND, MILLISECOND, SECOND};
use crate::check::{Refusal, Violation, lease_cover, may_elect};
use crate::history::{OpId, Outcome};

/// After this time under one master commands that were asked before are done: its node was dialled
/// again after a pause, and they were sent again after a lease.
const SETTLED: u64 = 2 * SECOND;

/// Log clocks that are no further apart, in microseconds, are of one time: so far they may come
/// apart by their errors while a node is cut off.
const AGREED_MICROS: u64 = 300_000;

/// Every so many steps of a node the predicate over all of its roles is asked.
const INVARIANTS_EVERY: u64 = 16;

impl World {
    /// A role notifies its host.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only some notices are watched")]
    pub(super) fn observe_notice(&mut self, index: NodeIndex, notice: &Notice) {
        let id = self.sites[index].id;
        match notice {
            Notice::Apply { slot, batch, tickets } => {
                if !tickets.is_empty() {
                    self.checks.acknowledged.observe_acknowledged(id, *slot);
                }
                let hash = xxh3_64(batch.as_bytes());
                let agreed = self.checks.agreement.observe_decided(id, *slot, hash);
                self.note(agreed);
                let kept = self.checks.immutability.observe_applied(id, *slot, hash);
                self.note(kept);
                self.counters.applied += 1;
                self.trace.mix(hash);
                self.trace_site(index, || format!("applies {slot} {batch}"));
            }
            Notice::ReadReady { ticket, allowed } => self.observe_read(index, *ticket, *allowed),
            Notice::InForce(membership) => self.observe_in_force(index, membership),
            Notice::Serve(Some(end)) => {
                let until = self.sites[index].clock.when(*end);
                self.observe_serving(index, until);
                self.observe_cover(index, *end);
            }
            Notice::Serve(None) => {
                let time = self.time;
                self.checks.exclusion.observe_stopped(id, time);
                self.trace_site(index, || String::from("serves no more"));
            }
            Notice::LogClock(time, _) => self.trace_site(index, || format!("log time is {time}")),
            Notice::Log(event) => {
                if let Event::Leading { ballot, from, barrier } = event {
                    // What a new leader may lack is there a moment later.
                    self.checks.settled |= INVARIANTS_EVERY - 1;
                    self.observe_leading(index, *ballot, *from, *barrier);
                }
                if let Event::Changing(next) = event {
                    self.observe_changing(index, next);
                }
                self.trace_site(index, || format!("{event:?}"));
            }
            Notice::Master(ballot) => {
                let time = self.time;
                if let Some(process) = &mut self.sites[index].process {
                    process.master = (*ballot, time);
                }
            }
            Notice::Failed { ticket, fate } => {
                self.observe_failed(index);
                self.trace_site(index, || format!("ticket {ticket}: {fate:?}"));
            }
            _ => {}
        }
    }

    fn observe_leading(&mut self, index: NodeIndex, ballot: Ballot, from: Slot, barrier: Slot) {
        let site = &self.sites[index];
        if let Some(process) = &site.process {
            let acceptor = &process.node.acceptor;
            // Since its own promise it may have promised more.
            if acceptor.ballot() >= ballot {
                self.checks.readers.observe_promise(site.id, ballot, acceptor.unknown());
            }
        }
        let Some(membership) = self.checks.views.of(ballot.view).cloned() else {
            let sentence = format!("{ballot} leads in a view that nobody entered");
            return self.violate("one membership a view", &[ballot.node], sentence);
        };
        let readable = self.checks.readers.observe_leading(ballot, from, &membership);
        self.note(readable);
        let above = self.checks.watermarks.observe_leading(ballot, from, barrier, &membership);
        self.note(above);
        self.checks.held.observe_leading(ballot, barrier);
    }

    /// A node is about to answer clients: whether it may from its own state is for its lease to
    /// say, however late the timer comes that takes the right away (L3).
    pub(super) fn observe_turn(&mut self, index: NodeIndex) {
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        let now = site.clock.at(self.time);
        let runs = process.serves.is_some_and(|end| now < end);
        if !runs && process.shared.lease.held(|| now).is_some() {
            let id = site.id;
            let sentence = format!("{id} would answer a read though its lease does not run");
            self.violate("lease exclusion", &[id], sentence);
        }
    }

    /// A read that a follower asked the master about may be answered, or not.
    fn observe_read(&mut self, index: NodeIndex, ticket: u64, allowed: bool) {
        let site = &mut self.sites[index];
        let Some(process) = &mut site.process else { return };
        let next = process.node.replica.applied();
        if let Some(asked) = process.reads.remove(&ticket).filter(|_| allowed) {
            let fresh = self.checks.acknowledged.observe_read(site.id, next, asked);
            self.note(fresh);
        }
    }

    /// Commands were given up. In a healthy cluster whose master has been known for a while there
    /// is no reason to: what an earlier master was told goes to this one.
    fn observe_failed(&mut self, index: NodeIndex) {
        let (site, time) = (&self.sites[index], self.time);
        let Some(process) = &site.process else { return };
        let (Some(ballot), since) = process.master else { return };
        let counts = !site.is_replaced && self.is_member(index);
        if self.is_calm && counts && time > since + SETTLED {
            let (id, millis) = (site.id, (time - since) / MILLISECOND);
            let sentence =
                format!("{id} gives commands up though it has known {ballot} for {millis} ms");
            self.note(Err(Violation::liveness("pending commands", &[id], sentence)));
        }
    }

    fn observe_serving(&mut self, index: NodeIndex, until: u64) {
        let (id, time) = (self.sites[index].id, self.time);
        let alone = self.checks.exclusion.observe_serving(id, time, until);
        self.note(alone);
    }

    /// A master was told that it may serve, or a node has started beside it: the others must keep
    /// everybody else away for as long.
    pub(super) fn observe_cover(&mut self, master: NodeIndex, end: Instant) {
        if self.has_frozen {
            // Such clocks are wrong by more than any margin allows for.
            return;
        }
        let (id, now) = (self.sites[master].id, self.now(master).boot);
        let Some(process) = &self.sites[master].process else { return };
        let voters = process.node.leader.membership().voters().iter();
        let voters = voters.map(|&voter| &self.sites[Self::index_of(voter)]);
        let refusals: Vec<Refusal> = voters.map(|site| self.refusal(site, id)).collect();
        let span = end.since(now).nanos();
        let covered = lease_cover(id, span, &refusals, Self::RHO_PER_MILLE);
        self.note(covered);
    }

    /// A process has started. It does not know what it granted before.
    pub(super) fn observe_started(&mut self, index: NodeIndex) {
        for other in 0..self.sites.len() {
            let process = self.sites[other].process.as_ref();
            let serves = process.and_then(|process| process.serves);
            if let Some(end) = serves.filter(|_| other != index) {
                self.observe_cover(other, end);
            }
        }
    }

    /// How long a node refuses the ballots of others than `master`.
    fn refusal(&self, site: &Site, master: NodeId) -> Refusal {
        match &site.process {
            Some(process) if !site.is_replaced => {
                let now = site.clock.at(self.time);
                let end = process.node.acceptor.refuses_others_than(master);
                Refusal::For(end.map_or(0, |end| end.since(now).nanos()))
            }
            Some(_) | None => Refusal::ForLong,
        }
    }

    /// The clock of a node was changed: the end of its lease may be at another true time.
    pub(super) fn observe_clock(&mut self, index: NodeIndex) {
        let now = self.now(index).boot;
        let site = &self.sites[index];
        let serves = site.process.as_ref().and_then(|process| process.serves);
        if let Some(end) = serves.filter(|end| now < *end) {
            let until = site.clock.when(end);
            self.observe_serving(index, until);
        }
    }

    /// The state machine of a node has applied a slot.
    pub(super) fn observe_applied(&mut self, index: NodeIndex, slot: Slot) {
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        let digest = process.shared.store.digest();
        let equal = self.checks.digests.observe_digest(site.id, slot.next(), digest);
        self.note(equal);
    }

    /// A node has replaced its state by a snapshot of a peer.
    pub(super) fn observe_installed(&mut self, index: NodeIndex, slot: Slot) {
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        let (id, digest) = (site.id, process.shared.store.digest());
        let forward = self.checks.immutability.observe_image(id, slot);
        self.note(forward);
        self.checks.held.observe_installed(id, slot);
        let equal = self.checks.digests.observe_digest(id, slot, digest);
        self.note(equal);
        self.trace_site(index, || format!("installs a snapshot of all below {slot}"));
    }

    /// A node sends a message.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only some messages promise something")]
    pub(super) fn observe_sent(&mut self, index: NodeIndex, to: NodeId, message: &Message) {
        let id = self.sites[index].id;
        let verdict = match message {
            // What counts is the highest that was promised or accepted; a refusal may tell of a
            // ballot that is not durable yet, and answers that waited for the disk may come late.
            Message::P1b(P1b { asked, promised, unknown, .. }) if asked == promised => {
                self.observe_promise(index, *promised);
                self.checks.readers.observe_promise(id, *promised, unknown);
                self.observe_told(id, *promised)
            }
            Message::P2b(P2b { asked, promised, slot, held }) if asked == promised => {
                self.observe_acts(index, asked.view, "accepts");
                self.checks.immutability.observe_told_durable(id, *held);
                self.checks.watermarks.observe_accepted(id, *asked, *slot);
                self.observe_accepted(index, *asked, *slot);
                self.observe_told(id, *promised)
            }
            Message::P2bView(P2bView { asked, promised, .. }) if asked == promised => {
                self.observe_acts(index, asked.view, "accepts a membership");
                Ok(())
            }
            Message::Ack(ack) if ack.granted => {
                self.observe_acts(index, ack.view, "grants a lease");
                Ok(())
            }
            Message::P2aView(P2aView { ballot, charter }) => {
                self.checks.views.observe_proposed(*ballot, charter)
            }
            Message::P2a(p2a) => self.observe_proposed(p2a),
            Message::Declined(Declined { ballot, from_sequence }) => {
                self.checks.declines.observe_declined(*ballot, to, *from_sequence)
            }
            Message::Decision(Decision { ballot, decided })
            | Message::Heartbeat(Heartbeat { ballot, decided, lease: true, .. })
            | Message::ReadIndexed(ReadIndexed {
                index: Some(Decision { ballot, decided }), ..
            }) => self.checks.watermarks.observe_watermark(*ballot, *decided),
            _ => Ok(()),
        };
        self.note(verdict);
    }

    fn observe_proposed(&mut self, p2a: &P2a) -> Result<(), Violation> {
        let P2a { ballot, slot, batch, decided } = p2a;
        let hash = xxh3_64(batch.as_bytes());
        self.checks.ballots.observe_proposed(*ballot, *slot, hash)?;
        let proposals = batch.proposals();
        if !proposals.is_empty() {
            self.checks.watermarks.observe_proposed(*ballot, *slot)?;
        }
        for proposal in proposals {
            let origin = proposal.origin;
            self.checks.declines.observe_proposed(*ballot, origin.node, origin.sequence)?;
        }
        self.checks.watermarks.observe_watermark(*ballot, *decided)
    }

    /// A node says that it accepted; for a slot that it knows to be decided that means less.
    fn observe_accepted(&mut self, index: NodeIndex, ballot: Ballot, slot: Slot) {
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        if process.node.acceptor.pvalue(slot).is_some_and(|(under, _)| under == ballot) {
            self.checks.accepts.observe_told(site.id, slot, ballot);
        }
    }

    fn observe_told(&mut self, id: NodeId, ballot: Ballot) -> Result<(), Violation> {
        if self.checks.ballots.told(id).is_some_and(|told| told >= ballot) {
            return Ok(());
        }
        self.checks.ballots.observe_told(id, ballot)
    }

    /// A node has done something.
    pub(super) fn check_node(&mut self, index: NodeIndex) {
        let site = &self.sites[index];
        let Some(process) = &site.process else { return };
        let held = self.checks.ballots.observe_held(site.id, process.node.acceptor.ballot());
        self.checks.settled += 1;
        let broken = match self.checks.settled.is_multiple_of(INVARIANTS_EVERY) {
            true => invariants::check(&process.node).err(),
            false => None,
        };
        let id = site.id;
        self.note(held);
        if let Some(broken) = broken {
            self.violate("invariants of a node", &[id], format!("{id} breaks {broken}"));
        }
    }

    /// A process comes back with what its data directory holds.
    pub(super) fn observe_restart(&mut self, index: NodeIndex, roles: &RoleStates, recorded: Slot) {
        let site = &self.sites[index];
        let id = site.id;
        if site.is_unreliable {
            // What a damaged disk forgot is not held against the node: it abstains (P6).
            self.checks.immutability.observe_wiped(id);
        }
        let remembered = self.checks.ballots.observe_restart(id, roles.acceptor.ballot);
        self.note(remembered);
        let missed = self.checks.accepts.observe_restart(id, &roles.acceptor);
        self.note(missed);
        let next = roles.leader.applied;
        let kept = self.checks.immutability.observe_restart(id, next, recorded);
        self.note(kept);
        self.checks.held.observe_restart(id, &roles.acceptor);
        if let Some(accepted) = &roles.acceptor.reconfiguration {
            let lawful = self.checks.views.observe_accepted(id, accepted);
            self.note(lawful);
        }
    }

    /// A process ends: its right to serve and its knowledge of the log time end with it.
    pub(super) fn observe_end(&mut self, index: NodeIndex) {
        let (id, time) = (self.sites[index].id, self.time);
        self.checks.exclusion.observe_stopped(id, time);
        // A quorum of nodes that have just started may set the log time anew.
        if !self.is_time_known(Some(index)) {
            self.lose_time();
        }
    }

    /// From now on the log time may be set anew.
    pub(super) fn lose_time(&mut self) {
        if self.time_losses.last().is_none_or(|loss| loss.1 < u64::MAX) {
            self.time_losses.push((self.time, u64::MAX));
        }
    }

    /// A clock stands still without seeing it. From then on log clocks may be apart by the length
    /// of the freeze, and a key set by one that lags loses as much of its time when another is
    /// heard: no bound of clock rates covers that.
    pub(super) fn observe_freeze(&mut self) {
        if !self.has_frozen {
            self.has_frozen = true;
            self.time_losses.push((self.time, u64::MAX));
        }
    }

    /// A node knows that the log time was `log_time` at its time `at`.
    pub(super) fn observe_log_time(&mut self, index: NodeIndex, log_time: LogTime, at: Instant) {
        let Some(process) = &mut self.sites[index].process else { return };
        process.log_clock = Some((log_time, at));
        let is_lost = self.time_losses.last().is_some_and(|loss| loss.1 == u64::MAX);
        if !is_lost || self.has_frozen || !self.is_time_known(None) || !self.is_time_agreed() {
            return;
        }
        if let Some(loss) = self.time_losses.last_mut() {
            loss.1 = self.time;
        }
    }

    /// Whether all nodes that know the log time know the same. Where a quorum set it anew, one that
    /// was cut off may still have the old one, and a later master may take it over from there.
    fn is_time_agreed(&self) -> bool {
        let readings = self.sites.iter().filter_map(|site| {
            let (log_time, at) = site.process.as_ref()?.log_clock?;
            let passed = site.clock.at(self.time).since(at).nanos() / MICROSECOND;
            Some(log_time.micros() + passed)
        });
        let (least, most) =
            readings.fold((u64::MAX, 0), |(least, most), it| (least.min(it), most.max(it)));
        most.saturating_sub(least) <= AGREED_MICROS
    }

    /// Whether every quorum has a node that knows the log time, without counting `except`: in the
    /// newest view, and in the one before, of which there may be a leader yet.
    pub(super) fn is_time_known(&self, except: Option<NodeIndex>) -> bool {
        let views = &self.checks.views;
        let newest = views.newest();
        let before = views.of(View::new(newest.view().number() - 1));
        let ignorant = |node: NodeId| {
            let index = Self::index_of(node);
            let process = self.sites[index].process.as_ref();
            Some(index) == except || process.is_none_or(|process| process.log_clock.is_none())
        };
        [Some(newest), before].into_iter().flatten().all(|it| !may_elect(it, ignorant))
    }

    /// The state of a node differs from the master's.
    pub(super) fn diverged(&mut self, index: NodeIndex, slot: Slot) {
        let id = self.sites[index].id;
        let sentence = format!("{id} finds that its state before {slot} is not the master's");
        self.violate("equal replicas", &[id], sentence);
    }

    /// A node whose disk kept its promises refuses to start with it.
    pub(super) fn refusal_without_reason(&mut self, index: NodeIndex, reason: &str) {
        let id = self.sites[index].id;
        let sentence = format!("{id} refuses to start though its disk is sound: {reason}");
        self.note(Err(Violation::liveness("recovery", &[id], sentence)));
    }

    /// A line about a node.
    pub(super) fn trace_site(&mut self, index: NodeIndex, what: impl FnOnce() -> String) {
        self.trace.line(self.time, &self.sites[index].name, what);
    }

    pub(super) fn trace_record(&mut self, index: NodeIndex, record: &Record) {
        self.trace_site(index, || format!("writes {record}"));
    }

    pub(super) fn trace_message(&mut self, from: NodeIndex, to: NodeIndex, message: &Message) {
        let id = self.sites[to].id;
        self.trace_site(from, || format!("-> {id} {message}"));
    }

    pub(super) fn trace_asked(&mut self, client: usize, op: Option<OpId>, request: &[u8]) {
        self.trace.mix_bytes(request);
        let history = &self.history;
        self.trace.line(self.time, "client", || match op {
            Some(op) => format!("asks {}", history.describe(op)),
            None => format!("c{client} asks {:?}", String::from_utf8_lossy(request)),
        });
    }

    pub(super) fn trace_answer(&mut self, client: usize, op: OpId, outcome: &Outcome) {
        let history = &self.history;
        self.trace.line(self.time, "client", || {
            let command = history.command_text(&history.operation(op).command);
            format!("c{client} {op} {command} is {outcome:?}")
        });
    }

    /// One line about the state of a node.
    pub(super) fn describe_site(&self, site: &Site) -> String {
        let Some(process) = &site.process else {
            let why = site.lost.unwrap_or("for now");
            return format!("{} down: {why}", site.name);
        };
        let now = site.clock.at(self.time);
        let node = &process.node;
        let text = |ballot: Option<Ballot>| {
            ballot.map_or_else(|| String::from("-"), |ballot| ballot.to_string())
        };
        let connected: Vec<String> =
            node.leader.connected(now).iter().map(NodeId::to_string).collect();
        format!(
            "{} in {} ballot {} leads {} scouts {} master {} applied {} connected [{}] unsynced \
             {} digest {:016x}{}",
            site.name,
            node.leader.membership(),
            node.acceptor.ballot(),
            text(node.leader.leads()),
            text(node.leader.scouts_with()),
            text(node.leader.master(now)),
            node.replica.applied(),
            connected.join(" "),
            process.log.len() + process.syncing.len(),
            process.shared.store.digest(),
            if site.paused_until > self.time { " paused" } else { "" },
        )
    }
}
