//! Frames that wait for one peer: bounded, in order, and with a lane for what must not wait.

use std::collections::VecDeque;

use bytes::Bytes;
use warlock_paxos::Message;

use super::limits::{
    OVERTAKE_BYTES, QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX, WRITE_BYTES_MAX, WRITE_FRAMES_MAX,
};

/// Two lanes. Each keeps its order; together they keep it too, until so much bulk waits that a
/// heartbeat behind it would come too late.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    urgent: VecDeque<(u64, Bytes)>,
    bulk: VecDeque<(u64, Bytes)>,
    bulk_bytes: usize,
    next: u64,
}

/// Whether `message` is small and useless when late.
pub(super) const fn is_urgent(message: &Message) -> bool {
    match message {
        Message::Heartbeat(_)
        | Message::Ack(_)
        | Message::Release(_)
        | Message::HandOver(_)
        | Message::P1a(_)
        | Message::P2aView(_)
        | Message::P2bView(_)
        | Message::InForce(_)
        | Message::ReadIndex(_)
        | Message::ReadIndexed(_) => true,
        Message::P1b(_)
        | Message::P2a(_)
        | Message::P2b(_)
        | Message::Decision(_)
        | Message::Propose(_)
        | Message::Declined(_)
        | Message::Learn(_)
        | Message::Learned(_)
        | Message::SnapshotFetch(_)
        | Message::SnapshotChunk(_) => false,
    }
}

impl SendQueue {
    /// Appends `frame`, unless its lane is full: roles repeat what stays unanswered. Says whether
    /// there was room.
    #[must_use]
    pub(super) fn push(&mut self, frame: Bytes, urgent: bool) -> bool {
        let lane = if urgent { &mut self.urgent } else { &mut self.bulk };
        let too_long = !urgent && self.bulk_bytes + frame.len() > QUEUE_BYTES_MAX;
        if lane.len() >= QUEUE_FRAMES_MAX || too_long {
            return false;
        }
        if !urgent {
            self.bulk_bytes += frame.len();
        }
        lane.push_back((self.next, frame));
        self.next += 1;
        true
    }

    /// Takes the frames of one write.
    pub(super) fn take(&mut self, out: &mut VecDeque<Bytes>) {
        let mut bytes = 0;
        while out.len() < WRITE_FRAMES_MAX && bytes < WRITE_BYTES_MAX {
            let Some(frame) = self.pop() else {
                break;
            };
            bytes += frame.len();
            out.push_back(frame);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.bulk.is_empty()
    }

    fn pop(&mut self) -> Option<Bytes> {
        let urgent_first = match (self.urgent.front(), self.bulk.front()) {
            (Some((urgent, _)), Some((bulk, _))) => {
                urgent < bulk || self.bulk_bytes > OVERTAKE_BYTES
            }
            (urgent, _) => urgent.is_some(),
        };
        if urgent_first {
            return self.urgent.pop_front().map(|(_, frame)| frame);
        }
        let (_, frame) = self.bulk.pop_front()?;
        self.bulk_bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, mark: u8) -> Bytes {
        Bytes::from(vec![mark; length])
    }

    fn marks(queue: &mut SendQueue) -> Vec<u8> {
        let mut marks = Vec::new();
        while !queue.is_empty() {
            let mut out = VecDeque::new();
            queue.take(&mut out);
            marks.extend(out.iter().map(|frame| frame[0]));
        }
        marks
    }

    #[test]
    fn order_is_kept_while_little_waits() {
        let mut queue = SendQueue::default();
        for mark in 0..10 {
            assert!(queue.push(frame(100, mark), mark % 3 == 0));
        }
        assert_eq!(marks(&mut queue), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn urgent_frames_overtake_when_much_waits() {
        let mut queue = SendQueue::default();
        for mark in 0..3 {
            assert!(queue.push(frame(OVERTAKE_BYTES, mark), false));
        }
        assert!(queue.push(frame(10, 8), true));
        assert!(queue.push(frame(10, 9), true));
        assert_eq!(marks(&mut queue), [8, 9, 0, 1, 2]);
    }

    #[test]
    fn lanes_are_full_at_their_limits() {
        let mut queue = SendQueue::default();
        for _ in 0..QUEUE_FRAMES_MAX {
            assert!(queue.push(frame(1, 0), false));
            assert!(queue.push(frame(1, 1), true));
        }
        assert!(!queue.push(frame(1, 0), false));
        assert!(!queue.push(frame(1, 1), true));
        queue = SendQueue::default();
        assert!(queue.push(frame(QUEUE_BYTES_MAX - 1, 0), false));
        assert!(queue.push(frame(1, 0), false));
        assert!(!queue.push(frame(1, 0), false));
        assert!(queue.push(frame(1, 1), true), "bulk does not shut urgent frames out");
    }

    #[test]
    fn one_write_is_bounded() {
        let mut queue = SendQueue::default();
        for _ in 0..2 * WRITE_FRAMES_MAX {
            assert!(queue.push(frame(1, 0), false));
        }
        let mut out = VecDeque::new();
        queue.take(&mut out);
        assert_eq!(out.len(), WRITE_FRAMES_MAX);
        queue = SendQueue::default();
        for _ in 0..3 {
            assert!(queue.push(frame(WRITE_BYTES_MAX, 0), false));
        }
        out.clear();
        queue.take(&mut out);
        assert_eq!(out.len(), 1);
    }
}
