//! What will happen, in the order of virtual time; at the same time in the order of scheduling.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;

/// Index of a node in the world, from 0.
pub(super) type NodeIndex = usize;

/// Something that happens at one moment.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame reaches the end of a link.
    Frame { link: usize, epoch: u32, frame: Bytes },
    /// A node tries to connect with a peer.
    Dial { link: usize, start: u32 },
    /// A node notices that its connection with a peer is gone.
    Broken { link: usize, epoch: u32, start: u32 },
    /// A clogged link has nothing been acknowledged on for too long.
    Unacknowledged { link: usize, epoch: u32 },
    /// Something that a node asked to be woken for may be due.
    Timer { node: NodeIndex },
    /// A node goes on with what its roles told each other.
    Work { node: NodeIndex, start: u32 },
    /// The log thread of a node has written and synced.
    LogDone { node: NodeIndex, start: u32 },
    /// The snapshot thread of a node has done a part of its work.
    JobDone { node: NodeIndex, start: u32 },
    /// A node does what it does every tenth of a second.
    Tick { node: NodeIndex, start: u32 },
    /// The I/O worker of a node looks at its connections.
    Turn { node: NodeIndex, start: u32 },
    /// The process of a node starts.
    Start { node: NodeIndex },
    /// A client acts, or gives up waiting.
    Client { client: usize, serial: u32 },
    /// Bytes of a client reach its node.
    ToNode { client: usize, connection: u32, bytes: Bytes },
    /// Bytes of a node reach its client.
    ToClient { client: usize, connection: u32, bytes: Bytes },
    /// A client notices that its connection is closed.
    ClientClosed { client: usize, connection: u32 },
    /// A node notices that the connection of a client is closed.
    NodeClosed { client: usize, connection: u32 },
    /// Something goes wrong.
    Fault,
    /// Operators do something with the membership.
    Operate,
    /// Something goes right again.
    Mend(Mend),
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// All links of a partition are open again, if it is still the same one.
    Partition(u32),
    /// A paused process goes on.
    Wake(NodeIndex),
    /// A link is no longer clogged.
    Link(usize),
    /// All links of a node are clogged.
    ClogNode(NodeIndex),
    /// All links of a node are no longer clogged.
    UnclogNode(NodeIndex),
    /// A disk has space again.
    Disk(NodeIndex),
    /// A disk tells the truth again.
    Honest(NodeIndex),
}

struct Entry {
    at: u64,
    serial: u64,
    event: Event,
}

/// The events to come.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    serial: u64,
}

impl Queue {
    /// Has `event` happen at `at`, in nanoseconds of virtual time.
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.heap.push(Entry { at, serial: self.serial, event });
    }

    /// Takes the next event and its time.
    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, because the heap gives the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_scheduled() {
        let mut queue = Queue::default();
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3), (4, 4)] {
            queue.push(at, Event::Timer { node });
        }
        let mut order = Vec::new();
        while let Some((at, Event::Timer { node })) = queue.pop() {
            order.push((at, node));
        }
        assert_eq!(order, [(3, 1), (3, 3), (4, 4), (5, 0), (5, 2)]);
    }
}
