//! Carries out what roles and host return: hands messages and words to mailboxes and peers, records
//! to the log, notices to the host, answers to workers. It is the daemon's counterpart of
//! `warlock_paxos::Node`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use warlock_node::{Effect, Fatal, Host, JoinReply, JoinWish};
use warlock_paxos::{
    Ballot, Batch, ChangeRequest, Commander, Incarnation, Input, Instant, LogTime, Membership,
    Message, NodeId, Output, P1b, P2b, PValue, Record, RoleName, Scout, Slot, View, addressee,
    route_message,
};

use super::disk::{LogHandle, SnapshotHandle};
use super::mailbox::Mailbox;
use super::roles;
use crate::clock;
use crate::front::AnswerQueue;
use crate::peer::Transport;

/// What the acceptor's task takes.
#[expect(clippy::large_enum_variant, reason = "nearly all are inputs; a box would cost each")]
pub(super) enum AcceptorItem {
    /// From a role or a node.
    Input(Input),
    /// So many more records are durable.
    Synced(u64),
}

/// What the leader's task takes.
pub(super) enum LeaderItem {
    /// From a role or a node.
    Input(Input),
    /// A connection was made, and this version of the messages agreed on.
    PeerUp(NodeId, u8),
    /// A connection closed.
    PeerDown(NodeId),
    /// The node stops, or an operator wants another master.
    Leave(Option<NodeId>),
    /// The earliest expiry changed.
    Deadline(Option<LogTime>),
    /// The digest of the state before a slot.
    Digest(Slot, u64),
    /// A wish for another membership; only to be judged if it is a dry run.
    Change { ticket: u64, request: ChangeRequest, dry_run: bool },
    /// Address and data directory of a node.
    Known(NodeId, String, Option<Incarnation>),
}

/// What the replica's task takes.
pub(super) enum ReplicaItem {
    /// From a role or a node.
    Input(Input),
    /// Commands of clients.
    Submit { ticket: u64, commands: Bytes, deadline: Instant },
    /// A wish to read linearizably.
    Read { ticket: u64, deadline: Instant },
    /// A snapshot of a peer was installed.
    Installed { slot: Slot, log_time: LogTime },
    /// A snapshot of a peer could not be installed.
    Refused,
    /// A snapshot of this node was written.
    Snapshot(Slot),
    /// A snapshot of a peer is written up to a position.
    Written(Slot, u64),
    /// What the log on disk has for a peer.
    LogRead { to: NodeId, from: Slot, batches: Vec<Batch> },
    /// The log on disk begins here.
    LogStart(Slot),
    /// The digest of the state before a slot.
    Digest(Slot, u64),
    /// A connection closed.
    PeerDown(NodeId),
    /// The turn of whoever tells the service manager that this node applies what is decided.
    Turn,
}

/// Where the host's effects go that are for nobody on the core thread.
pub(super) struct Outlets {
    /// By worker.
    pub(super) queues: Vec<Arc<AnswerQueue>>,
    pub(super) snapshots: SnapshotHandle,
    pub(super) fatal: UnboundedSender<Fatal>,
    pub(super) handed_over: UnboundedSender<()>,
    /// Takes what an operator wants this node to join, and whether without a vote.
    pub(super) joins: UnboundedSender<(String, bool)>,
}

/// Everything that role tasks share; all on the core thread.
pub(super) struct Router {
    node: NodeId,
    pub(super) acceptor: Mailbox<AcceptorItem>,
    pub(super) leader: Mailbox<LeaderItem>,
    pub(super) replica: Mailbox<ReplicaItem>,
    scouts: RefCell<BTreeMap<Ballot, Answers<P1b>>>,
    commanders: RefCell<BTreeMap<(Ballot, Slot), Answers<P2b>>>,
    pub(super) transport: Transport,
    log: LogHandle,
    waiting: RefCell<VecDeque<Waiting>>,
    ballot: Cell<Ballot>,
    host: RefCell<Host>,
    /// What the host wants done; empty between calls, kept for its memory.
    effects: RefCell<Vec<Effect>>,
    outlets: Outlets,
    /// Nodes that want to join, by the number that the host knows them by.
    /// The membership that this node is no part of, and who is known to know that it is in force.
    farewell: RefCell<Option<(Membership, BTreeSet<NodeId>)>>,
    newcomers: RefCell<BTreeMap<u64, oneshot::Sender<JoinReply>>>,
    next_newcomer: Cell<u64>,
    /// Addresses that the settings name.
    addresses: BTreeMap<NodeId, String>,
}

/// Answers of acceptors on their way to one scout or commander.
type Answers<T> = Rc<Mailbox<(NodeId, T)>>;

/// Outputs that wait until what was written before them is durable (P1).
struct Waiting {
    is_record: bool,
    then: Vec<Output>,
}

impl Router {
    /// The router of `node`, whose disk holds promises up to `ballot`.
    pub(super) fn new(
        node: NodeId,
        transport: Transport,
        log: LogHandle,
        host: Host,
        outlets: Outlets,
        ballot: Ballot,
        addresses: BTreeMap<NodeId, String>,
    ) -> Self {
        Self {
            node,
            acceptor: Mailbox::default(),
            leader: Mailbox::default(),
            replica: Mailbox::default(),
            scouts: RefCell::default(),
            commanders: RefCell::default(),
            transport,
            log,
            waiting: RefCell::default(),
            ballot: Cell::new(ballot),
            host: RefCell::new(host),
            effects: RefCell::default(),
            outlets,
            farewell: RefCell::default(),
            newcomers: RefCell::default(),
            next_newcomer: Cell::new(1),
            addresses,
        }
    }

    /// Ends the node when a quorum of `membership`, which it is no part of, is in that view. Until
    /// then it may be the only one that knows of it, and its vote in the view before is missed.
    pub(super) fn retire(&self, membership: Membership) {
        self.transport.enter(&membership, &self.addresses);
        *self.farewell.borrow_mut() = Some((membership, BTreeSet::new()));
    }

    /// Takes note that a node has said which view it is in.
    pub(super) fn note_view(&self, node: NodeId, view: View) {
        let mut farewell = self.farewell.borrow_mut();
        let Some((membership, knowing)) = farewell.as_mut() else { return };
        let news = view >= membership.view() && knowing.insert(node);
        if news && membership.is_quorum(|node| knowing.contains(&node)) {
            self.fail(Fatal::Retired);
        }
    }

    /// Has the host say whether a node may join.
    pub(super) fn ask_to_join(&self, wish: JoinWish, reply: oneshot::Sender<JoinReply>) {
        let question = self.next_newcomer.get();
        self.next_newcomer.set(question + 1);
        let mut newcomers = self.newcomers.borrow_mut();
        newcomers.retain(|_, waiting| !waiting.is_closed());
        newcomers.insert(question, reply);
        drop(newcomers);
        self.with_host(|host, now, out| host.handle_join(now, question, wish, out));
    }

    /// Delivers a message of `from` to the roles that it is for.
    pub(super) fn receive(&self, from: NodeId, message: Message) {
        route_message(from, message, |role, input| self.deliver(role, input));
    }

    /// Lets the host act, and carries out what it returned.
    pub(super) fn with_host<T>(
        &self,
        act: impl FnOnce(&mut Host, Instant, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut effects = self.effects.take();
        let outcome = act(&mut self.host.borrow_mut(), clock::now(), &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out_effect(effect));
        self.effects.replace(effects);
        outcome
    }

    /// Stops the node.
    pub(super) fn fail(&self, fatal: Fatal) {
        let _ = self.outlets.fatal.send(fatal);
    }

    /// Carries out what a role returned, in order.
    pub(super) fn carry_out(self: &Rc<Self>, outputs: &mut Vec<Output>) {
        for output in outputs.drain(..) {
            self.carry_out_one(output);
        }
    }

    /// Carries out what waited for the next `records` records, which are durable now.
    pub(super) fn synced(self: &Rc<Self>, records: u64) {
        let mut released = Vec::new();
        let mut entries = 0;
        let mut left = records;
        {
            let mut waiting = self.waiting.borrow_mut();
            while let Some(front) = waiting.front() {
                if front.is_record && left == 0 {
                    break;
                }
                left -= u64::from(front.is_record);
                entries += 1;
                released.extend(waiting.pop_front().into_iter().flat_map(|front| front.then));
            }
        }
        assert!(left == 0, "P1: more records were synced than written");
        self.acceptor.push(AcceptorItem::Synced(entries));
        self.carry_out(&mut released);
    }

    /// The highest ballot that this node's acceptor ever wrote down.
    pub(super) const fn ballot(&self) -> Ballot {
        self.ballot.get()
    }

    /// Lets all role tasks end.
    pub(super) fn close(&self) {
        self.acceptor.close();
        self.leader.close();
        self.replica.close();
        self.scouts.borrow().values().for_each(|mailbox| mailbox.close());
        self.commanders.borrow().values().for_each(|mailbox| mailbox.close());
    }

    fn carry_out_one(self: &Rc<Self>, output: Output) {
        match output {
            Output::Send { to, message } if to == self.node => self.receive(to, message),
            Output::Send { to, message } => self.transport.send(to, &message),
            Output::Broadcast { to, message } => self.broadcast(&to, message),
            Output::Persist { record, then } => self.persist(record, then),
            Output::Tell(tell) => self.deliver(addressee(&tell), Input::Tell(tell)),
            Output::SpawnScout(scout) => self.spawn_scout(scout),
            Output::SpawnCommander(commander) => self.spawn_commander(commander),
            Output::RetireScout(ballot) => {
                let mailbox = self.scouts.borrow_mut().remove(&ballot);
                mailbox.inspect(|mailbox| mailbox.close());
            }
            Output::RetireCommander(ballot, slot) => {
                let mailbox = self.commanders.borrow_mut().remove(&(ballot, slot));
                mailbox.inspect(|mailbox| mailbox.close());
            }
            Output::Notify(notice) => {
                self.with_host(|host, now, out| host.handle_notice(now, notice, out));
            }
        }
    }

    pub(super) fn carry_out_effect(&self, effect: Effect) {
        match effect {
            Effect::Answer { worker, answer } => self.outlets.queues[worker].push(answer),
            Effect::Submit { ticket, commands, deadline } => {
                self.replica.push(ReplicaItem::Submit { ticket, commands, deadline });
            }
            Effect::Read { ticket, deadline } => {
                self.replica.push(ReplicaItem::Read { ticket, deadline });
            }
            Effect::Expiry(deadline) => self.leader.push(LeaderItem::Deadline(deadline)),
            Effect::Digest(slot, digest) => {
                self.leader.push(LeaderItem::Digest(slot, digest));
                self.replica.push(ReplicaItem::Digest(slot, digest));
            }
            Effect::Snapshot(job) => {
                if !self.outlets.snapshots.order(job) {
                    tracing::error!("the snapshot thread is gone");
                }
            }
            Effect::Stored(slot) => self.replica.push(ReplicaItem::Snapshot(slot)),
            Effect::Truncate(slot) => {
                self.log.truncate(slot);
                self.replica.push(ReplicaItem::LogStart(slot));
            }
            Effect::Written(slot, end) => self.replica.push(ReplicaItem::Written(slot, end)),
            Effect::LogRead { to, from, batches } => {
                self.replica.push(ReplicaItem::LogRead { to, from, batches });
            }
            Effect::Installed { slot, log_time } => {
                self.replica.push(ReplicaItem::Installed { slot, log_time });
            }
            Effect::Refused => self.replica.push(ReplicaItem::Refused),
            Effect::SendChunk { to, chunk } => self.transport.chunks().send(to, chunk),
            Effect::Change { ticket, request, dry_run } => {
                self.leader.push(LeaderItem::Change { ticket, request, dry_run });
            }
            Effect::Transfer(to) => self.leader.push(LeaderItem::Leave(to)),
            Effect::Join { address, observer } => {
                let _ = self.outlets.joins.send((address, observer));
            }
            Effect::Joined(question, reply) => {
                if let Some(waiting) = self.newcomers.borrow_mut().remove(&question) {
                    // Who does not wait any more asks again.
                    let _ = waiting.send(reply);
                }
            }
            Effect::Reset(below) => self.fail(Fatal::Reset(below)),
            Effect::Members(membership) => self.transport.enter(&membership, &self.addresses),
            Effect::Retired(membership) => self.retire(membership),
            Effect::Fatal(fatal) => self.fail(fatal),
            Effect::HandedOver => {
                let _ = self.outlets.handed_over.send(());
            }
        }
    }

    fn broadcast(self: &Rc<Self>, to: &[NodeId], message: Message) {
        self.transport.send_to_many(to, &message);
        if to.contains(&self.node) {
            self.receive(self.node, message);
        }
    }

    fn persist(self: &Rc<Self>, record: Option<Record>, then: Vec<Output>) {
        let is_record = record.is_some();
        if let Some(record) = record {
            if let Record::Promise { ballot } | Record::Accept(PValue { ballot, .. }) = &record {
                self.ballot.set(self.ballot.get().max(*ballot));
            }
            self.log.append(record);
        } else if self.waiting.borrow().is_empty() {
            self.acceptor.push(AcceptorItem::Synced(1));
            then.into_iter().for_each(|output| self.carry_out_one(output));
            return;
        }
        self.waiting.borrow_mut().push_back(Waiting { is_record, then });
    }

    fn deliver(&self, role: RoleName, input: Input) {
        match role {
            RoleName::Acceptor => self.acceptor.push(AcceptorItem::Input(input)),
            RoleName::Leader => self.leader.push(LeaderItem::Input(input)),
            RoleName::Replica => self.replica.push(ReplicaItem::Input(input)),
            RoleName::Scout(ballot) => {
                if let (Some(mailbox), Input::Peer { from, message: Message::P1b(p1b) }) =
                    (self.scouts.borrow().get(&ballot), input)
                {
                    mailbox.push((from, p1b));
                }
            }
            RoleName::Commander(ballot, slot) => {
                let commanders = self.commanders.borrow();
                match (commanders.get(&(ballot, slot)), input) {
                    (Some(mailbox), Input::Peer { from, message: Message::P2b(p2b) }) => {
                        mailbox.push((from, p2b));
                    }
                    (_, input) => self.leader.push(LeaderItem::Input(input)),
                }
            }
        }
    }

    fn spawn_scout(self: &Rc<Self>, scout: Scout) {
        let mailbox = Rc::new(Mailbox::default());
        self.scouts.borrow_mut().insert(scout.ballot(), Rc::clone(&mailbox));
        tokio::task::spawn_local(roles::run_scout(scout, mailbox, Rc::clone(self)));
    }

    fn spawn_commander(self: &Rc<Self>, commander: Commander) {
        let mailbox = Rc::new(Mailbox::default());
        let name = (commander.ballot(), commander.slot());
        self.commanders.borrow_mut().insert(name, Rc::clone(&mailbox));
        tokio::task::spawn_local(roles::run_commander(commander, mailbox, Rc::clone(self)));
    }
}
