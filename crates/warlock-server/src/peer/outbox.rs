//! Where the core leaves frames for one peer, and the writing task finds them.
//!
//! On the main lane, core and tasks share a thread, so that the lock is never contended.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::queue::SendQueue;
use crate::metrics::PeerMetrics;

/// The queue of one peer with its signals.
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Frames wait for the writer.
    filled: Notify,
    /// The writer has nothing to do.
    emptied: Notify,
    /// The peer showed up: dial now and not after the back-off.
    seen: Notify,
    /// Whether the peer counts as connected while this lane is.
    is_main: bool,
    metrics: PeerMetrics,
}

#[derive(Debug, Default)]
struct State {
    queue: SendQueue,
    /// A connection stands, with this version of the messages.
    version: Option<u8>,
    /// Frames were taken and are not written yet.
    writing: bool,
    /// The latest heartbeat round asked, and when.
    asked: Option<(u64, Instant)>,
}

impl Outbox {
    pub(super) fn new(metrics: PeerMetrics, is_main: bool) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            seen: Notify::new(),
            is_main,
            metrics,
        }
    }

    /// The version in which frames can be queued; without one, counts a message as dropped.
    pub(super) fn version_or_count(&self) -> Option<u8> {
        let version = self.version();
        if version.is_none() {
            self.metrics.dropped_messages.inc();
        }
        version
    }

    /// The version in which frames can be queued; `None` while there is no connection.
    pub(super) fn version(&self) -> Option<u8> {
        self.state.lock().version
    }

    /// Queues one frame, or drops and counts it.
    pub(super) fn push(&self, frame: Bytes, urgent: bool) {
        let mut state = self.state.lock();
        if state.version.is_some() && state.queue.push(frame, urgent) {
            drop(state);
            self.filled.notify_one();
        } else {
            self.metrics.dropped_messages.inc();
        }
    }

    /// Notes that a heartbeat is about to be queued.
    pub(super) fn asked(&self, round: u64) {
        self.state.lock().asked = Some((round, Instant::now()));
    }

    /// Notes the answer to a heartbeat; the time since the question is the round trip.
    pub(super) fn answered(&self, round: u64) {
        let mut state = self.state.lock();
        if let Some((asked, at)) = state.asked
            && asked == round
        {
            state.asked = None;
            self.metrics.rtt_seconds.set(at.elapsed().as_secs_f64());
        }
    }

    /// Opens the queue for a new connection, with this version of the messages. It is empty:
    /// nothing outlives a connection.
    pub(super) fn open(&self, version: u8) {
        *self.state.lock() = State { version: Some(version), ..State::default() };
        if self.is_main {
            self.metrics.up.set(1);
        }
        self.metrics.connections.inc();
    }

    /// Throws everything away that the broken connection did not take.
    pub(super) fn close(&self) {
        *self.state.lock() = State::default();
        if self.is_main {
            self.metrics.up.set(0);
        }
        self.emptied.notify_waiters();
    }

    /// Takes the frames of one write; without any, those taken before count as written.
    pub(super) fn take(&self, out: &mut VecDeque<Bytes>) {
        let mut state = self.state.lock();
        state.queue.take(out);
        state.writing = !out.is_empty();
        if out.is_empty() {
            drop(state);
            self.emptied.notify_waiters();
        }
    }

    /// Waits until frames are queued.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until everything queued is written, or the connection gone.
    pub(super) async fn drained(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            {
                let state = self.state.lock();
                if state.version.is_none() || (state.queue.is_empty() && !state.writing) {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Notes that the peer is alive.
    pub(super) fn peer_was_seen(&self) {
        self.seen.notify_one();
    }

    /// Waits until the peer shows up.
    pub(super) async fn peer_seen(&self) {
        self.seen.notified().await;
    }
}
