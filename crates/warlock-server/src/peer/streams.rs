//! The thread on which parts of snapshots are sent and received, and who gives it some to send.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use warlock_paxos::{Message, NodeId, SnapshotChunk};

use super::outbox::Outbox;
use super::{Link, frame};

/// The thread; it ends when this is dropped.
pub(crate) struct Streams {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Streams {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses one.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("snapshot-streams".to_owned()).spawn(move || {
            crate::priority::lower();
            // An error means that the sender is gone, which is the point.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _end: end })
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Sends parts of snapshots, from whatever thread read them.
#[derive(Clone, Default)]
pub(crate) struct ChunkSender {
    lanes: Arc<RwLock<BTreeMap<NodeId, Lanes>>>,
}

/// The lane for snapshots, and the one that serves while that is not there: a peer of an older
/// version has no other.
type Lanes = [Arc<Outbox>; 2];

impl ChunkSender {
    pub(super) fn add(&self, link: &Link) {
        let lanes = [&link.snapshots, &link.main].map(|lane| Arc::clone(&lane.outbox));
        self.lanes.write().insert(link.node, lanes);
    }

    pub(super) fn remove(&self, node: NodeId) {
        self.lanes.write().remove(&node);
    }

    /// Queues a part for `to`; drops and counts it if that is not connected.
    pub(crate) fn send(&self, to: NodeId, chunk: SnapshotChunk) {
        let lanes = self.lanes.read();
        let Some([own, main]) = lanes.get(&to) else { return };
        let outbox = if own.version().is_some() { own } else { main };
        let Some(version) = outbox.version_or_count() else { return };
        match frame::encode(version, &Message::SnapshotChunk(chunk)) {
            Ok(frame) => outbox.push(frame, false),
            Err(_) => tracing::error!("part of a snapshot above the length limit is not sent"),
        }
    }
}
