//! Incoming connections: who is let in, and what they say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use warlock_node::{JoinReply, JoinWish};
use warlock_paxos::{Charter, Message, NodeId};

use super::frame::FrameBuffer;
use super::handshake::{self, Accept, Hello, Lane, Reply};
use super::limits::{HANDSHAKE_TIME_MAX, STRANGERS_MAX};
use super::retry::LogGate;
use super::{Context, Link, PeerEvent, tune};

/// After a failed `accept`, usually for want of file descriptors, others get time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and serves each in a task of its own.
pub(super) struct Acceptor {
    listener: TcpListener,
    door: Arc<Door>,
}

/// What the tasks of incoming connections share.
struct Door {
    context: Arc<Context>,
    /// Connections in the handshake, oldest first.
    strangers: Mutex<BTreeMap<u64, AbortHandle>>,
    gate: Mutex<LogGate>,
}

/// What a handshake led to.
enum Greeting {
    /// The peer has something to say.
    Stays(Guest),
    /// A node asked whether it may join, and was answered.
    Answered(NodeId),
}

/// A peer after its handshake.
#[derive(Clone)]
struct Guest {
    node: NodeId,
    link: Arc<Link>,
    lane: Lane,
    /// Number of this connection among the peer's on this lane.
    number: u64,
}

/// Why a peer is not let in.
struct Refusal {
    reason: String,
    /// The membership in force, if the peer is not part of it.
    charter: Option<Charter>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, charter: None }
    }
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, context: Arc<Context>) -> Self {
        let door = Door { context, strangers: Mutex::default(), gate: Mutex::new(LogGate::new()) };
        Self { listener, door: Arc::new(door) }
    }

    /// Never returns. Dropping the future ends all incoming connections.
    pub(super) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut next = 0;
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        self.door.admit(&mut connections, next, stream, from);
                        next += 1;
                    }
                    Err(error) => {
                        self.door.log(&format!("cannot accept: {error}"), None);
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Door {
    /// Starts the handshake with a stranger; if there are too many, the oldest has to go.
    fn admit(
        self: &Arc<Self>,
        connections: &mut JoinSet<()>,
        id: u64,
        stream: TcpStream,
        from: SocketAddr,
    ) {
        // Locked over both, so that the task cannot leave the list before it is in.
        let mut strangers = self.strangers.lock();
        if strangers.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = strangers.pop_first()
        {
            oldest.abort();
        }
        let task = connections.spawn(Arc::clone(self).serve(id, stream, from));
        strangers.insert(id, task);
    }

    async fn serve(self: Arc<Self>, id: u64, mut stream: TcpStream, from: SocketAddr) {
        let greeting = timeout(HANDSHAKE_TIME_MAX, self.greet(&mut stream)).await;
        self.strangers.lock().remove(&id);
        let late = |_| Err(format!("no handshake within {HANDSHAKE_TIME_MAX:?}"));
        match greeting.unwrap_or_else(late) {
            Ok(Greeting::Answered(node)) => tracing::info!(%node, %from, "a node asked to join"),
            Ok(Greeting::Stays(guest)) => {
                let (peer, lane) = (guest.node, guest.lane);
                tracing::info!(%peer, %from, ?lane, "the peer connected");
                let reason = match lane {
                    Lane::Main => self.listen_to(guest, &mut stream).await,
                    Lane::Snapshots | Lane::Join => self.listen_elsewhere(guest, stream).await,
                };
                tracing::info!(%peer, ?lane, %reason, "connection from the peer ended");
            }
            Err(reason) => self.log(&reason, Some(from)),
        }
    }

    /// The handshake; an error is the reason for the log.
    async fn greet(&self, stream: &mut TcpStream) -> Result<Greeting, String> {
        tune(stream).map_err(|error| error.to_string())?;
        let body = handshake::read_body(stream).await.map_err(|error| error.to_string())?;
        let hello = Hello::decode(&body).ok_or("malformed handshake")?;
        let node = hello.identity.node;
        if hello.lane == Lane::Join {
            return self.answer_newcomer(stream, hello).await;
        }
        let (version, link) = match self.judge(&hello) {
            Ok(judged) => judged,
            Err(refusal) => {
                let reason = refusal.reason.clone();
                let reply = Reply::Refuse { reason: refusal.reason, charter: refusal.charter };
                // The reason is what matters; whether it arrives is up to the peer.
                let _ = handshake::write(stream, &reply.encode()).await;
                return Err(format!("refused {node}: {reason}"));
            }
        };
        // From here on the peer's older connection delivers nothing: its bytes are never mixed
        // with those that follow the acceptance.
        let (lane, mut number) = (hello.lane, 0);
        link.lane(lane).newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        let local = &self.context.local;
        let accept = Reply::Accept(Accept {
            version,
            incarnation: local.incarnation,
            software: local.version.clone(),
            client_address: local.client_address.clone(),
            lanes: Lane::COUNT,
        });
        handshake::write(stream, &accept.encode()).await.map_err(|error| error.to_string())?;
        link.lane(lane).outbox.peer_was_seen();
        Ok(Greeting::Stays(Guest { node, link, lane, number }))
    }

    fn judge(&self, hello: &Hello) -> Result<(u16, Arc<Link>), Refusal> {
        let local = &self.context.local;
        let version = hello.judge(local)?;
        let node = hello.identity.node;
        self.context.learn(node, hello.charter.clone());
        let Some(link) = self.context.link(node) else {
            return Err(Refusal {
                reason: format!("unknown member: {node} is not a peer of {}", local.node),
                charter: self.context.charter().filter(|_| node != local.node),
            });
        };
        self.context.suits(version)?;
        self.context.check(&link, hello.identity.incarnation)?;
        Ok((version, link))
    }

    /// Has the core say whether a node may join.
    async fn answer_newcomer(
        &self,
        stream: &mut TcpStream,
        hello: Hello,
    ) -> Result<Greeting, String> {
        let node = hello.identity.node;
        let judged = hello.judge(&self.context.local);
        let reply = match judged.and_then(|version| self.context.suits(version)) {
            Err(reason) => JoinReply::Refused(reason),
            Ok(()) => {
                let incarnation = hello.identity.incarnation;
                let Hello { address, observer, .. } = hello;
                let wish = JoinWish { node, incarnation, address, observer };
                let (reply, answer) = oneshot::channel();
                let asked = self.context.inbox.send(PeerEvent::Join { wish, reply });
                asked.map_err(|_| "the node is stopping")?;
                answer.await.map_err(|_| "the node is stopping")?
            }
        };
        let reply = Reply::Join(reply).encode();
        handshake::write(stream, &reply).await.map_err(|error| error.to_string())?;
        Ok(Greeting::Answered(node))
    }

    /// The same on the thread for snapshots.
    async fn listen_elsewhere(self: &Arc<Self>, guest: Guest, stream: TcpStream) -> String {
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        let door = Arc::clone(self);
        // Ends its task when it is dropped.
        let mut tasks = JoinSet::new();
        let listen = async move {
            match TcpStream::from_std(stream) {
                Ok(mut stream) => door.listen_to(guest, &mut stream).await,
                Err(error) => error.to_string(),
            }
        };
        tasks.spawn_on(listen, &self.context.streams);
        match tasks.join_next().await {
            Some(Ok(reason)) => reason,
            _ => "the node is stopping".to_owned(),
        }
    }

    /// Delivers what the guest says until the connection ends; says why it did.
    async fn listen_to(&self, guest: Guest, stream: &mut TcpStream) -> String {
        let Guest { node, link, lane, number } = guest;
        let mut newest = link.lane(lane).newest.subscribe();
        let mut buffer = FrameBuffer::new();
        loop {
            let read = tokio::select! {
                read = stream.read_buf(buffer.space()) => read,
                () = replaced(&mut newest, number) => {
                    return "replaced by a newer connection".to_owned();
                }
            };
            match read {
                Ok(0) if buffer.is_empty() => return "closed by the peer".to_owned(),
                Ok(0) => return "closed by the peer within a frame".to_owned(),
                Ok(count) => {
                    link.metrics.received_bytes.inc_by(count.try_into().unwrap_or(u64::MAX));
                }
                Err(error) => return error.to_string(),
            }
            let messages = match buffer.decode() {
                Ok(messages) => messages,
                Err(error) => return error.to_string(),
            };
            if messages.is_empty() || *newest.borrow() != number {
                continue;
            }
            for message in &messages {
                if let Message::Ack(ack) = message {
                    link.main.outbox.answered(ack.round);
                }
            }
            let count = messages.len().try_into().unwrap_or(u64::MAX);
            link.metrics.received_messages.inc_by(count);
            if self.context.inbox.send(PeerEvent::Messages { from: node, messages }).is_err() {
                return "the node is stopping".to_owned();
            }
        }
    }

    fn log(&self, reason: &str, from: Option<SocketAddr>) {
        if self.gate.lock().lets_through(reason) {
            match from {
                Some(from) => tracing::warn!(%from, %reason, "peer connection closed"),
                None => tracing::warn!(%reason, "peer port"),
            }
        }
    }
}

/// Ends when the peer has a newer connection than `number`.
async fn replaced(newest: &mut watch::Receiver<u64>, number: u64) {
    if newest.wait_for(|newest| *newest != number).await.is_err() {
        // The sender lives as long as the context, which this task holds.
        std::future::pending::<()>().await;
    }
}
