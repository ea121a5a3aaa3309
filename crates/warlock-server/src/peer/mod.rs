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

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use warlock_paxos::{Incarnation, Message, NodeId};

use crate::metrics::{Metrics, PeerMetrics};

pub(crate) use handshake::LocalIdentity;
pub(crate) use streams::{ChunkSender, Streams};

use accept::Acceptor;
use dial::Dialler;
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
        /// Where its clients connect.
        client_addr: String,
    },
    /// Messages cannot be sent to the node for now; those that waited are lost.
    Down {
        /// The node.
        node: NodeId,
    },
}

/// Says whether a member may talk with this data directory (P7), else why not. May remember an
/// incarnation that it sees for the first time.
pub(crate) type IncarnationCheck =
    Arc<dyn Fn(NodeId, Incarnation) -> Result<(), String> + Send + Sync>;

/// All connections of this node. Dropping it closes them.
pub(crate) struct Transport {
    outboxes: BTreeMap<NodeId, Arc<Outbox>>,
    chunks: ChunkSender,
    tasks: Vec<AbortHandle>,
    /// Ends with the transport.
    _streams: Streams,
}

/// What the tasks of all connections share.
struct Context {
    local: LocalIdentity,
    links: BTreeMap<NodeId, Link>,
    inbox: mpsc::UnboundedSender<PeerEvent>,
    check: IncarnationCheck,
    /// Where connections for snapshots are served.
    streams: tokio::runtime::Handle,
}

/// One other member.
struct Link {
    address: String,
    main: LaneLink,
    snapshots: LaneLink,
    metrics: PeerMetrics,
    /// How many lanes the peer accepts; zero while nobody knows.
    lanes: watch::Sender<u8>,
}

/// One of the connections with a member.
struct LaneLink {
    outbox: Arc<Outbox>,
    /// Number of the newest incoming connection; an older one delivers no more.
    newest: watch::Sender<u64>,
}

impl Link {
    fn new(address: String, metrics: &PeerMetrics) -> Self {
        let lane = |is_main| LaneLink {
            outbox: Arc::new(Outbox::new(metrics.clone(), is_main)),
            newest: watch::Sender::new(0),
        };
        Self {
            address,
            main: lane(true),
            snapshots: lane(false),
            metrics: metrics.clone(),
            lanes: watch::Sender::new(0),
        }
    }

    const fn lane(&self, lane: Lane) -> &LaneLink {
        match lane {
            Lane::Main => &self.main,
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
        let others = members.iter().filter(|(node, _)| **node != local.node);
        let links: BTreeMap<NodeId, Link> = others
            .map(|(node, address)| (*node, Link::new(address.clone(), metrics.peer(*node))))
            .collect();
        let outboxes =
            links.iter().map(|(node, link)| (*node, Arc::clone(&link.main.outbox))).collect();
        let chunks = ChunkSender::new(&links);
        let runtime = streams.handle();
        let context = Arc::new(Context { local, links, inbox, check, streams: runtime.clone() });
        let mut tasks =
            vec![tokio::spawn(Acceptor::new(listener, Arc::clone(&context)).run()).abort_handle()];
        for node in context.links.keys() {
            let dialler = Dialler::new(*node, Lane::Main, Arc::clone(&context));
            tasks.push(tokio::spawn(dialler.run()).abort_handle());
            let dialler = Dialler::new(*node, Lane::Snapshots, Arc::clone(&context));
            tasks.push(runtime.spawn(dialler.run()).abort_handle());
        }
        Self { outboxes, chunks, tasks, _streams: streams }
    }

    /// Where parts of snapshots are sent from, on any thread.
    pub(crate) fn chunks(&self) -> ChunkSender {
        self.chunks.clone()
    }

    /// Queues `message` for `to`; drops and counts it if that is not connected or its queue full.
    pub(crate) fn send(&self, to: NodeId, message: &Message) {
        self.send_to_many(&[to], message);
    }

    /// Queues `message` for all of `to`, encoded once.
    pub(crate) fn send_to_many(&self, to: &[NodeId], message: &Message) {
        let mut connected = to
            .iter()
            .filter_map(|node| self.outboxes.get(node))
            .filter(|outbox| outbox.is_open_or_count())
            .peekable();
        if connected.peek().is_none() {
            return;
        }
        let Some(frame) = frame::encode(message) else {
            tracing::error!("message above the length limit is not sent");
            return;
        };
        let urgent = queue::is_urgent(message);
        for outbox in connected {
            if let Message::Heartbeat(heartbeat) = message {
                outbox.asked(heartbeat.round);
            }
            outbox.push(frame.clone(), urgent);
        }
    }

    /// Returns when everything queued is given to the operating system, or its connection is gone.
    pub(crate) async fn flush(&self) {
        for outbox in self.outboxes.values() {
            outbox.drained().await;
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
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
mod tests;
