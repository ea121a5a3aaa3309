//! The network between nodes: for each ordered pair one connection that carries frames in order,
//! as the daemon's transport has it.
//!
//! What a connection has not delivered when it breaks is lost, and nothing of an old connection
//! comes out of a new one. On top of that, weather may lose, double and reorder single frames,
//! which no stream does but the protocol has to bear ("any message may be lost, doubled, delayed
//! and reordered").

use bytes::Bytes;

use super::queue::NodeIndex;
use super::weather::MILLISECOND;

/// The longest wait before the next attempt to connect.
const RETRY_MAX: u64 = 1000 * MILLISECOND;
/// The shortest wait before the next attempt to connect.
pub(super) const RETRY_MIN: u64 = 10 * MILLISECOND;
/// How long a connection lives on which nothing is acknowledged.
pub(super) const UNACKNOWLEDGED_MAX: u64 = 2000 * MILLISECOND;
/// Frames that one connection holds back before it drops further ones.
const HELD_MAX: usize = 8192;

/// What happens to frames of a link that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// They vanish.
    Drop,
    /// They wait for the link, until the connection breaks.
    Hold,
}

/// One direction between two nodes.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Counts connections; frames of an older one go nowhere.
    pub(super) epoch: u32,
    /// The dialler believes that the connection stands.
    pub(super) is_open: bool,
    /// The start of the addressee's process that accepted the connection.
    pub(super) accepted_by: u32,
    /// When the latest frame that keeps its order arrives.
    pub(super) last_arrival: u64,
    /// A partition cuts the link.
    pub(super) cut: Option<Cut>,
    /// How many faults hold the link back.
    pub(super) clogs: u32,
    /// Frames held back.
    pub(super) held: Vec<Bytes>,
    /// The wait before the next attempt to connect.
    pub(super) retry: u64,
}

/// All links.
#[derive(Debug)]
pub(super) struct Network {
    /// The nodes that there are.
    nodes: usize,
    /// The nodes that there may be.
    nodes_max: usize,
    pub(super) links: Vec<Link>,
    /// Counts partitions, so that the end of an old one does not end a new one.
    pub(super) partition: u32,
}

impl Link {
    /// Whether nothing passes now.
    pub(super) const fn is_held(&self) -> bool {
        self.clogs > 0 || matches!(self.cut, Some(Cut::Hold))
    }

    /// Whether packets of a new connection pass.
    pub(super) const fn passes(&self) -> bool {
        self.clogs == 0 && self.cut.is_none()
    }

    /// The addressee ends the connection: what is on its way and what follows goes nowhere.
    pub(super) fn abandon(&mut self) {
        self.epoch += 1;
        self.accepted_by = u32::MAX;
        self.held.clear();
    }

    /// Keeps a frame until the link opens; says whether it is the first.
    pub(super) fn hold(&mut self, frame: Bytes) -> bool {
        if self.held.len() < HELD_MAX {
            self.held.push(frame);
        }
        self.held.len() == 1
    }

    /// Ends the connection: what was on its way goes nowhere.
    pub(super) fn close(&mut self) {
        self.epoch += 1;
        self.is_open = false;
        self.held.clear();
    }

    /// The wait before the next attempt to connect; doubles from one to the next.
    pub(super) fn next_retry(&mut self) -> u64 {
        let wait = self.retry.max(RETRY_MIN);
        self.retry = (wait * 2).min(RETRY_MAX);
        wait
    }
}

impl Network {
    /// A network without connections, and with room for further nodes.
    pub(super) fn new(nodes: usize, nodes_max: usize) -> Self {
        let links = (0..nodes_max * nodes_max).map(|_| Link::default()).collect();
        Self { nodes, nodes_max, links, partition: 0 }
    }

    /// One node more.
    pub(super) const fn grow(&mut self) {
        self.nodes += 1;
    }

    /// The link from one node to another.
    pub(super) const fn link(&self, from: NodeIndex, to: NodeIndex) -> usize {
        from * self.nodes_max + to
    }

    /// The ends of a link: the dialler, which sends, and the node that accepts.
    pub(super) const fn ends(&self, link: usize) -> (NodeIndex, NodeIndex) {
        (link / self.nodes_max, link % self.nodes_max)
    }

    /// All ordered pairs of different nodes.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> + use<> {
        let nodes = self.nodes;
        (0..nodes * nodes).map(move |link| (link / nodes, link % nodes)).filter(|(a, b)| a != b)
    }
}
