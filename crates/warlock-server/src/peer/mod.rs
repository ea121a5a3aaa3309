//! Connections with the other nodes.
//!
//! Each node dials every other one, twice: parts of snapshots have a connection and a thread of
//! their own, so that nothing waits behind them. A connection carries messages only from the
//! dialler to the acceptor, so each direction of a pair has its own connection, order is that of
//! one TCP stream, and two nodes that dial at the same time do not meet. Messages may be lost,
//! because a queue is full or a connection breaks, and never repeated or mixed: what waits for a
//! broken connection is thrown away, and a new connection of a peer ends the delivery of its older
//! one before it is accepted. Consensus repeats what it needs.

mod accept;
mod dial;
pub mod frame;
mod handshake;
mod limits;
mod outbox;
mod queue;
mod retry;
mod streams;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use warlock_node::{JoinReply, JoinWish};
use warlock_paxos::{
    CHANGES_VERSION, Charter, InForce, Incarnation, MESSAGE_VERSION, Member, Membership, Message,
    NodeId, View,
};

use crate::metrics::{Metrics, PeerMetrics};

pub(crate) use dial::ask_to_join;
pub(crate) use handshake::LocalIdentity;
pub(crate) use streams::{ChunkSender, Streams};

use accept::Acceptor;
use dial::Dialler;
use frame::NoFrame;
use handshake::Lane;
use outbox::Outbox;

/// What happens on connections, in order for each peer and direction.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// One read of a connection brought these messages.
    Messages {
        /// The sender.
        from: NodeId,
        /// At least one.
        messages: Vec<Message>,
    },
    /// Messages can be sent to the node.
    Up {
        /// The node.
        node: NodeId,
        /// Its version of `warlockd`.
        version: String,
        /// The version of the messages agreed on with it.
        protocol: u8,
        /// Where its clients connect.
        client_addr: String,
        /// Its data directory.
        incarnation: Incarnation,
        /// Where it listens for peers.
        address: String,
    },
    /// A node wants to belong to the cluster. Whoever waits for the answer does not for long.
    Join {
        /// Who, and as what.
        wish: JoinWish,
        /// Takes the answer.
        reply: oneshot::Sender<JoinReply>,
    },
    /// Messages cannot be sent to the node for now; those that waited are lost.
    Down {
        /// The node.
        node: NodeId,
    },
}

/// Says whether a member may talk with this data directory (P7), else why not. May remember an
/// incarnation that it sees for the first time. The last argument says whether the membership names
/// this directory.
pub(crate) type IncarnationCheck =
    Arc<dyn Fn(NodeId, Incarnation, bool) -> Result<(), String> + Send + Sync>;

/// All connections of this node. Dropping it closes them.
pub(crate) struct Transport {
    outboxes: RefCell<BTreeMap<NodeId, Arc<Outbox>>>,
    chunks: ChunkSender,
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    door: AbortHandle,
    diallers: RefCell<BTreeMap<NodeId, [AbortHandle; 2]>>,
    /// Nodes that are no members any more, and when their connections end.
    leaving: RefCell<BTreeMap<NodeId, Instant>>,
    /// Ends with the transport.
    _streams: Streams,
}

/// What the tasks of all connections share.
struct Context {
    local: LocalIdentity,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    /// The membership in force; of no view while the node knows none but that of its settings.
    membership: Mutex<Membership>,
    inbox: mpsc::UnboundedSender<PeerEvent>,
    check: IncarnationCheck,
    /// Where connections for snapshots are served.
    streams: tokio::runtime::Handle,
}

impl Context {
    fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.read().get(&node).cloned()
    }

    /// Whether two nodes can work together in this version, else why not: once the membership has
    /// changed, older ones have no words for the view that is in force.
    fn suits(&self, version: u16) -> Result<(), String> {
        let view = self.membership.lock().view();
        if view <= View::new(1) || version >= CHANGES_VERSION.into() {
            return Ok(());
        }
        Err(format!(
            "version mismatch: {view} is in force, which version {version} of the peer protocol \
             does not know: upgrade the older"
        ))
    }

    /// The membership in force, if it ever changed.
    fn charter(&self) -> Option<Charter> {
        let membership = self.membership.lock();
        let charter = membership.charter();
        (!charter.members.is_empty()).then(|| charter.clone())
    }

    /// Takes what a peer said of the membership in force: that it knows the view is news to a node
    /// that is no part of it, too.
    fn learn(&self, from: NodeId, charter: Option<Charter>) {
        let known = self.membership.lock().view();
        if let Some(charter) = charter.filter(|charter| charter.view >= known) {
            let messages = vec![Message::InForce(InForce { charter })];
            // Nobody takes events any more if the node is stopping.
            let _ = self.inbox.send(PeerEvent::Messages { from, messages });
        }
    }

    /// Whether the node may talk with this data directory (P7), else why not.
    fn check(&self, link: &Link, incarnation: Incarnation) -> Result<(), String> {
        let node = link.node;
        let is_recorded = |membership: &Membership| {
            let recorded = membership.member(node).and_then(|member| member.incarnation);
            match recorded {
                Some(recorded) if recorded != incarnation => Err(format!(
                    "{node} comes with another data directory than it joined with: a node that \
                     lost its data must be removed, and join as a new one"
                )),
                Some(_) | None => Ok(recorded.is_some()),
            }
        };
        let recorded = is_recorded(&self.membership.lock())?;
        (self.check)(node, incarnation, recorded)?;
        // Whoever changes the membership from here on knows whom to part with.
        let membership = self.membership.lock();
        is_recorded(&membership)?;
        *link.met.lock() = Some(incarnation);
        drop(membership);
        Ok(())
    }
}

/// One other member.
struct Link {
    node: NodeId,
    address: String,
    main: LaneLink,
    snapshots: LaneLink,
    metrics: PeerMetrics,
    /// How many lanes the peer accepts; zero while nobody knows.
    lanes: watch::Sender<u8>,
    /// The data directory with which the node came last.
    met: Mutex<Option<Incarnation>>,
}

/// One of the connections with a member.
struct LaneLink {
    outbox: Arc<Outbox>,
    /// Number of the newest incoming connection; an older one delivers no more.
    newest: watch::Sender<u64>,
}

impl Link {
    fn new(node: NodeId, address: String, metrics: &PeerMetrics) -> Self {
        let lane = |is_main| LaneLink {
            outbox: Arc::new(Outbox::new(metrics.clone(), is_main)),
            newest: watch::Sender::new(0),
        };
        Self {
            node,
            address,
            main: lane(true),
            snapshots: lane(false),
            metrics: metrics.clone(),
            lanes: watch::Sender::new(0),
            met: Mutex::default(),
        }
    }

    const fn lane(&self, lane: Lane) -> &LaneLink {
        match lane {
            // A newcomer's question is answered before it could get here.
            Lane::Main | Lane::Join => &self.main,
            Lane::Snapshots => &self.snapshots,
        }
    }
}

/// Opens the port for peers.
///
/// # Errors
/// If the address is in use or not of this machine.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

impl Transport {
    /// Starts dialling all `members` but this node, and accepts those that dial.
    ///
    /// Must be called within the runtime of the core; every task lives there.
    pub(crate) fn start(
        listener: TcpListener,
        local: LocalIdentity,
        members: &BTreeMap<NodeId, String>,
        inbox: mpsc::UnboundedSender<PeerEvent>,
        check: IncarnationCheck,
        metrics: &Arc<Metrics>,
        streams: Streams,
    ) -> Self {
        let context = Arc::new(Context {
            local,
            links: RwLock::default(),
            membership: Mutex::new(Membership::unknown()),
            inbox,
            check,
            streams: streams.handle().clone(),
        });
        let door = Acceptor::new(listener, Arc::clone(&context));
        let transport = Self {
            outboxes: RefCell::default(),
            chunks: ChunkSender::default(),
            context,
            metrics: Arc::clone(metrics),
            door: tokio::spawn(door.run()).abort_handle(),
            diallers: RefCell::default(),
            leaving: RefCell::default(),
            _streams: streams,
        };
        members.iter().for_each(|(node, address)| transport.connect(*node, address));
        transport
    }

    /// Connects with the nodes of a membership and, a little later, with no others: who is no
    /// member any more has to be told so. `addresses` are those of nodes whose address it lacks.
    /// Connections end at once with a node that came with another data directory than is on record
    /// from now on (P7).
    pub(crate) fn enter(&self, membership: &Membership, addresses: &BTreeMap<NodeId, String>) {
        *self.context.membership.lock() = membership.clone();
        for member in membership.members() {
            if self.is_impostor(member) {
                self.disconnect(member.node);
            }
            let known = addresses.get(&member.node);
            let address = if member.address.is_empty() { known } else { Some(&member.address) };
            if let Some(address) = address {
                self.connect(member.node, address);
            }
        }
        let mut leaving = self.leaving.borrow_mut();
        leaving.retain(|node, _| !membership.is_member(*node));
        let gone = self.diallers.borrow();
        let gone = gone.keys().filter(|node| !membership.is_member(**node));
        gone.for_each(|node| {
            leaving.entry(*node).or_insert_with(|| Instant::now() + limits::FAREWELL);
        });
    }

    fn is_impostor(&self, member: &Member) -> bool {
        let met = self.context.link(member.node).and_then(|link| *link.met.lock());
        member.incarnation.zip(met).is_some_and(|(recorded, met)| recorded != met)
    }

    /// Ends the connections with nodes that were told that they are no members any more. To be
    /// called from time to time.
    pub(crate) fn part(&self) {
        let now = Instant::now();
        let mut leaving = self.leaving.borrow_mut();
        let due: Vec<NodeId> =
            leaving.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            leaving.remove(&node);
            self.disconnect(node);
        }
    }

    /// Dials a node, unless it is dialled there already.
    fn connect(&self, node: NodeId, address: &str) {
        if node == self.context.local.node {
            return;
        }
        let known = self.context.link(node);
        if known.is_some_and(|link| link.address == address) {
            return;
        }
        self.disconnect(node);
        let link = Arc::new(Link::new(node, address.to_owned(), &self.metrics.peer(node)));
        self.outboxes.borrow_mut().insert(node, Arc::clone(&link.main.outbox));
        self.chunks.add(&link);
        self.context.links.write().insert(node, Arc::clone(&link));
        let dialler = |lane| Dialler::new(Arc::clone(&link), lane, Arc::clone(&self.context));
        let main = tokio::spawn(dialler(Lane::Main).run()).abort_handle();
        let snapshots = dialler(Lane::Snapshots).run();
        let snapshots = self.context.streams.spawn(snapshots).abort_handle();
        self.diallers.borrow_mut().insert(node, [main, snapshots]);
    }

    /// Ends all connections with a node.
    fn disconnect(&self, node: NodeId) {
        let Some(link) = self.context.links.write().remove(&node) else { return };
        self.outboxes.borrow_mut().remove(&node);
        self.chunks.remove(node);
        let diallers = self.diallers.borrow_mut().remove(&node);
        diallers.iter().flatten().for_each(AbortHandle::abort);
        for lane in [&link.main, &link.snapshots] {
            // No incoming connection has this number: all of them are replaced.
            lane.newest.send_modify(|newest| *newest += 1);
            lane.outbox.close();
        }
        // Nobody takes events any more if the node is stopping.
        let _ = self.context.inbox.send(PeerEvent::Down { node });
    }

    /// Where parts of snapshots are sent from, on any thread.
    pub(crate) fn chunks(&self) -> ChunkSender {
        self.chunks.clone()
    }

    /// Queues `message` for `to`; drops and counts it if that is not connected or its queue full.
    pub(crate) fn send(&self, to: NodeId, message: &Message) {
        self.send_to_many(&[to], message);
    }

    /// Queues `message` for all of `to`, encoded once for each version among them.
    pub(crate) fn send_to_many(&self, to: &[NodeId], message: &Message) {
        let outboxes = self.outboxes.borrow();
        let urgent = queue::is_urgent(message);
        let mut frames = Frames::new(message);
        for outbox in to.iter().filter_map(|node| outboxes.get(node)) {
            let Some(version) = outbox.version_or_count() else { continue };
            let Some(frame) = frames.of(version) else { continue };
            if let Message::Heartbeat(heartbeat) = message {
                outbox.asked(heartbeat.round);
            }
            outbox.push(frame, urgent);
        }
    }

    /// Returns when everything queued is given to the operating system, or its connection is gone.
    pub(crate) async fn flush(&self) {
        let outboxes: Vec<_> = self.outboxes.borrow().values().map(Arc::clone).collect();
        for outbox in outboxes {
            outbox.drained().await;
        }
    }
}

/// The frames of one message, each encoded when a peer of its version is met first.
struct Frames<'a> {
    message: &'a Message,
    /// By version; `None` inside if it has none.
    encoded: [Option<Option<Bytes>>; MESSAGE_VERSION as usize + 1],
}

impl<'a> Frames<'a> {
    fn new(message: &'a Message) -> Self {
        Self { message, encoded: [const { None }; MESSAGE_VERSION as usize + 1] }
    }

    fn of(&mut self, version: u8) -> Option<Bytes> {
        let encode = || match frame::encode(version, self.message) {
            Ok(frame) => Some(frame),
            Err(NoFrame::TooLong) => {
                tracing::error!("message above the length limit is not sent");
                None
            }
            Err(NoFrame::Unknown) => None,
        };
        self.encoded[usize::from(version)].get_or_insert_with(encode).clone()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.door.abort();
        self.diallers.borrow().values().flatten().for_each(AbortHandle::abort);
    }
}

/// Sets what every connection between nodes needs.
fn tune(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;

    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, limits::KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, limits::KEEPALIVE / 5)?;
    sockopt::set_tcp_keepcnt(stream, 5)?;
    let patience = u32::try_from(limits::UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, patience)?;
    Ok(())
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
