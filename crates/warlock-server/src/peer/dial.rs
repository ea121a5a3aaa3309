//! The outgoing connection to one peer: dial, introduce, write, and again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, timeout};
use warlock_node::{JoinReply, JoinWish};

use super::handshake::{self, Accept, Hello, Lane, LocalIdentity, Reply};
use super::limits::{
    HANDSHAKE_TIME_MAX, JOIN_TIME_MAX, RETRY_MAX, VERSION_MIN, WRITE_FRAMES_MAX, WRITE_STALL_MAX,
};
use super::outbox::Outbox;
use super::retry::{LogGate, Retry};
use super::{Context, Link, PeerEvent, tune};

/// Keeps a connection to one peer.
pub(super) struct Dialler {
    link: Arc<Link>,
    lane: Lane,
    context: Arc<Context>,
    retry: Retry,
    gate: LogGate,
}

impl Dialler {
    pub(super) fn new(link: Arc<Link>, lane: Lane, context: Arc<Context>) -> Self {
        Self { link, lane, context, retry: Retry::new(), gate: LogGate::new() }
    }

    /// Never returns, unless nobody takes events any more.
    pub(super) async fn run(mut self) {
        loop {
            if self.lane != Lane::Main {
                self.wait_for_lane().await;
            }
            match self.connect().await {
                Ok((stream, accept)) => {
                    self.gate.reset();
                    let since = Instant::now();
                    if !self.serve(stream, accept).await {
                        return;
                    }
                    // A peer that lets in and throws out again and again is not dialled faster
                    // than one that refuses.
                    if since.elapsed() >= RETRY_MAX {
                        self.retry.reset();
                    }
                }
                Err(reason) => {
                    if self.lane == Lane::Main && self.gate.lets_through(&reason) {
                        let (peer, address) = (self.link.node, &self.link.address);
                        tracing::warn!(%peer, %address, %reason, "no connection to the peer");
                    }
                }
            }
            let wait = self.retry.next_wait();
            tokio::select! {
                () = sleep(wait) => {}
                () = self.outbox().peer_seen() => {}
            }
        }
    }

    /// Uses a connection until it breaks. Says whether the node still wants events.
    async fn serve(&self, mut stream: TcpStream, accept: Accept) -> bool {
        let (peer, link) = (self.link.node, &*self.link);
        let (address, lane) = (&link.address, self.lane);
        link.lanes.send_replace(accept.lanes);
        let protocol = u8::try_from(accept.version).expect("the version was checked");
        let version = &accept.software;
        tracing::info!(%peer, %address, ?lane, %version, protocol, "connected to the peer");
        self.outbox().open(protocol);
        let is_main = lane == Lane::Main;
        let up = PeerEvent::Up {
            node: peer,
            version: accept.software,
            protocol,
            client_addr: accept.client_address,
            incarnation: accept.incarnation,
            address: link.address.clone(),
        };
        let wanted = !is_main || self.context.inbox.send(up).is_ok();
        let reason = pump(&mut stream, link, self.outbox()).await;
        self.outbox().close();
        tracing::info!(%peer, ?lane, %reason, "connection to the peer ended");
        if !is_main {
            return wanted;
        }
        // The next version may not know what this one did.
        link.lanes.send_replace(0);
        wanted && self.context.inbox.send(PeerEvent::Down { node: peer }).is_ok()
    }

    /// Returns when the peer is connected and has said that it accepts this lane.
    async fn wait_for_lane(&self) {
        let mut lanes = self.link.lanes.subscribe();
        if lanes.wait_for(|lanes| *lanes > self.lane as u8).await.is_err() {
            // The sender lives as long as the context, which this task holds.
            std::future::pending::<()>().await;
        }
    }

    async fn connect(&self) -> Result<(TcpStream, Accept), String> {
        timeout(HANDSHAKE_TIME_MAX, self.introduce())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {HANDSHAKE_TIME_MAX:?}")))
    }

    async fn introduce(&self) -> Result<(TcpStream, Accept), String> {
        let address = self.link.address.as_str();
        let unreachable = |error: io::Error| format!("cannot connect: {error}");
        let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
        tune(&stream).map_err(unreachable)?;
        let hello = Hello {
            charter: self.context.charter(),
            ..Hello::new(&self.context.local, self.link.node, self.lane)
        };
        let hello = hello.encode();
        handshake::write(&mut stream, &hello).await.map_err(|error| error.to_string())?;
        let body = handshake::read_body(&mut stream).await.map_err(|error| error.to_string())?;
        match Reply::decode(&body) {
            Some(Reply::Accept(accept)) => {
                if !(VERSION_MIN..=self.context.local.protocol_max).contains(&accept.version) {
                    return Err(format!(
                        "the peer chose version {}, this node offered {VERSION_MIN} to {}",
                        accept.version, self.context.local.protocol_max
                    ));
                }
                self.context.suits(accept.version)?;
                self.context.check(&self.link, accept.incarnation)?;
                Ok((stream, accept))
            }
            Some(Reply::Refuse { reason, charter }) => {
                // Whoever is not part of it must know.
                self.context.learn(self.link.node, charter);
                Err(format!("the peer refuses: {reason}"))
            }
            Some(Reply::Join(_)) | None => Err("malformed answer to the handshake".to_owned()),
        }
    }

    fn outbox(&self) -> &Outbox {
        &self.link.lane(self.lane).outbox
    }
}

/// Asks the member that listens for peers at `address` whether this node may belong to its cluster.
///
/// # Errors
/// Why there was no answer.
pub(crate) async fn ask_to_join(
    address: &str,
    local: &LocalIdentity,
    wish: &JoinWish,
) -> Result<JoinReply, String> {
    let ask = async {
        let unreachable = |error: io::Error| format!("cannot connect to {address}: {error}");
        let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
        let hello = Hello::join(local, wish).encode();
        handshake::write(&mut stream, &hello).await.map_err(|error| error.to_string())?;
        let body = handshake::read_body(&mut stream).await.map_err(|error| error.to_string())?;
        match Reply::decode(&body) {
            Some(Reply::Join(reply)) => Ok(reply),
            Some(Reply::Refuse { reason, .. }) => Ok(JoinReply::Refused(reason)),
            Some(Reply::Accept(_)) | None => Err(format!("{address} does not know how to answer")),
        }
    };
    timeout(JOIN_TIME_MAX, ask)
        .await
        .unwrap_or_else(|_| Err(format!("{address} gave no answer within {JOIN_TIME_MAX:?}")))
}

/// Writes what is queued, each time all of it, until the connection breaks; says why it did.
async fn pump(stream: &mut TcpStream, link: &Link, outbox: &Outbox) -> String {
    let (mut input, mut output) = stream.split();
    let mut frames = VecDeque::new();
    loop {
        outbox.take(&mut frames);
        if frames.is_empty() {
            tokio::select! {
                () = outbox.filled() => continue,
                reason = silence(&mut input) => return reason,
            }
        }
        let (count, bytes) = (frames.len(), frames.iter().map(Bytes::len).sum::<usize>());
        if let Err(error) = write_all(&mut output, &mut frames).await {
            return error.to_string();
        }
        link.metrics.sent_messages.inc_by(count.try_into().unwrap_or(u64::MAX));
        link.metrics.sent_bytes.inc_by(bytes.try_into().unwrap_or(u64::MAX));
    }
}

/// Ends when the peer closes; after the handshake it has nothing to say on this connection.
async fn silence(input: &mut ReadHalf<'_>) -> String {
    match input.read(&mut [0]).await {
        Ok(0) => "closed by the peer".to_owned(),
        Ok(_) => "the peer wrote on a connection that it only reads".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Writes all frames with as few system calls as the socket allows.
async fn write_all(output: &mut WriteHalf<'_>, frames: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !frames.is_empty() {
        let mut slices = [IoSlice::new(&[]); WRITE_FRAMES_MAX];
        let mut filled = 0;
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = IoSlice::new(frame);
            filled += 1;
        }
        let write = output.write_vectored(&slices[..filled]);
        let stalled = || io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes");
        let mut written = timeout(WRITE_STALL_MAX, write).await.map_err(|_| stalled())??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = frames.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            frames.pop_front();
        }
    }
    Ok(())
}
