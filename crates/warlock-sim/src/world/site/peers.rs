//! Messages between nodes, and the connections that carry them.

use bytes::Bytes;
use warlock_paxos::{Message, NodeId, decode, encode};

use super::super::World;
use super::super::network::{Cut, UNACKNOWLEDGED_MAX};
use super::super::queue::{Event, NodeIndex};
use super::super::weather::{MICROSECOND, MILLISECOND};

impl World {
    /// Sends a message, if the connection stands.
    pub(super) fn send(&mut self, from: NodeIndex, to: NodeId, message: &Message) {
        self.observe_sent(from, to, message);
        let to = Self::index_of(to);
        let link = self.network.link(from, to);
        if !self.network.links[link].is_open {
            return;
        }
        let mut bytes = Vec::with_capacity(64);
        encode(message, &mut bytes);
        self.trace.mix_bytes(&bytes);
        self.trace_message(from, to, message);
        self.transmit(link, bytes.into());
    }

    /// Gives a frame to the network.
    pub(in super::super) fn transmit(&mut self, link: usize, frame: Bytes) {
        let time = self.time;
        let state = &mut self.network.links[link];
        let epoch = state.epoch;
        if state.is_held() {
            self.counters.clog += 1;
            if state.hold(frame) {
                let at = time + UNACKNOWLEDGED_MAX;
                self.queue.push(at, Event::Unacknowledged { link, epoch });
            }
            return;
        }
        if state.cut == Some(Cut::Drop) || self.random.rarely(self.now_loss()) {
            self.counters.loss += 1;
            return;
        }
        if self.random.rarely(self.rough(self.weather.corruption)) {
            self.corrupt(link, &frame);
            return;
        }
        if self.random.rarely(self.rough(self.weather.duplication)) {
            self.counters.duplication += 1;
            let at = time + self.latency() * 3;
            self.queue.push(at, Event::Frame { link, epoch, frame: frame.clone() });
        }
        let mut at = time + self.latency();
        if self.random.rarely(self.rough(self.weather.spikes)) {
            self.counters.delay_spike += 1;
            at += self.random.between(1, 1500) * MILLISECOND;
        }
        if self.random.rarely(self.rough(self.weather.reordering)) {
            self.counters.reordering += 1;
            at += self.random.around(5 * MILLISECOND);
        } else {
            at = at.max(self.network.links[link].last_arrival);
            self.network.links[link].last_arrival = at;
        }
        self.queue.push(at, Event::Frame { link, epoch, frame });
    }

    /// A frame arrives with a bit turned over: its checksum does not match, and the receiver closes
    /// the connection. The decoder must bear such bytes all the same.
    fn corrupt(&mut self, link: usize, frame: &Bytes) {
        self.counters.corrupt_frame += 1;
        let mut damaged = frame.to_vec();
        let bit = self.random.index(damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&damaged);
        self.reset(link);
    }

    /// The addressee closes a connection; frames on their way are lost.
    pub(in super::super) fn reset(&mut self, link: usize) {
        let at = self.time + self.latency();
        self.break_at(link, at);
    }

    /// Ends a connection now, which the dialler notices at `at`.
    pub(in super::super) fn break_at(&mut self, link: usize, at: u64) {
        let (dialler, _) = self.network.ends(link);
        let state = &mut self.network.links[link];
        if !state.is_open {
            return;
        }
        // Until it notices, the dialler goes on sending into the void.
        state.abandon();
        let (epoch, start) = (state.epoch, self.sites[dialler].start);
        self.queue.push(at, Event::Broken { link, epoch, start });
    }

    /// The dialler notices that its connection is gone.
    pub(in super::super) fn broken(&mut self, link: usize, epoch: u32, start: u32) {
        let (dialler, other) = self.network.ends(link);
        let state = &mut self.network.links[link];
        if state.epoch != epoch || !state.is_open || self.sites[dialler].start != start {
            return;
        }
        state.close();
        self.dial_later(link);
        let peer = self.sites[other].id;
        self.peer_down(dialler, peer);
    }

    /// Nothing was acknowledged for long: the system gives the connection up.
    pub(in super::super) fn unacknowledged(&mut self, link: usize, epoch: u32) {
        let state = &self.network.links[link];
        if state.epoch == epoch && state.is_open && state.is_held() {
            self.break_at(link, self.time);
        }
    }

    /// Lets frames through that a link held back, in their order.
    pub(in super::super) fn release(&mut self, link: usize) {
        if self.network.links[link].is_held() {
            return;
        }
        for frame in std::mem::take(&mut self.network.links[link].held) {
            self.transmit(link, frame);
        }
    }

    /// A frame arrives.
    pub(in super::super) fn frame(&mut self, link: usize, epoch: u32, frame: &Bytes) {
        let (from, to) = self.network.ends(link);
        let state = &self.network.links[link];
        if state.epoch != epoch || state.accepted_by != self.sites[to].start {
            return;
        }
        let message = decode(frame).expect("frames arrive as they were sent");
        let from = self.sites[from].id;
        let now = self.now(to);
        let Some(process) = &mut self.sites[to].process else { return };
        if let Message::Heartbeat(heartbeat) = &message {
            process.host.note_heartbeat(now.boot, from, heartbeat);
        }
        process.node.receive(from, message);
        self.settle(to);
    }

    /// Has a node try to connect again after a while.
    pub(in super::super) fn dial_later(&mut self, link: usize) {
        let (dialler, _) = self.network.ends(link);
        let wait = self.network.links[link].next_retry();
        let at = self.time + wait / 2 + self.random.below(wait / 2);
        let start = self.sites[dialler].start;
        self.queue.push(at, Event::Dial { link, start });
    }

    /// A node tries to connect with a peer: packets must pass both ways, and both must know each
    /// other's data directory (P7).
    pub(in super::super) fn dial(&mut self, link: usize, start: u32) {
        let (dialler, accepter) = self.network.ends(link);
        // Nobody dials for ever where nodes come and go.
        let is_in_vain = self.weather.changes.every > 0 && self.sites[accepter].lost.is_some();
        if self.sites[dialler].start != start || self.network.links[link].is_open || is_in_vain {
            return;
        }
        let back = self.network.link(accepter, dialler);
        let passes = self.network.links[link].passes() && self.network.links[back].passes();
        let awake =
            self.sites[dialler].is_awake(self.time) && self.sites[accepter].is_awake(self.time);
        if !passes || !awake || !self.shake_hands(dialler, accepter) {
            self.dial_later(link);
            return;
        }
        let accepted_by = self.sites[accepter].start;
        let state = &mut self.network.links[link];
        state.epoch += 1;
        state.is_open = true;
        state.accepted_by = accepted_by;
        state.retry = 0;
        state.last_arrival = self.time;
    }

    /// The handshake: the accepting node looks at the dialler's incarnation, and then the dialler
    /// at the accepter's, as the daemon does.
    fn shake_hands(&mut self, dialler: NodeIndex, accepter: NodeIndex) -> bool {
        self.remembers(accepter, dialler) && self.remembers(dialler, accepter)
    }

    fn remembers(&mut self, index: NodeIndex, peer: NodeIndex) -> bool {
        let (id, incarnation) = (self.sites[peer].id, self.sites[peer].incarnation);
        let recorded = self.recorded_incarnation(index, id);
        let Some(process) = &mut self.sites[index].process else { return false };
        if recorded.is_some_and(|recorded| recorded != incarnation) {
            self.counters.refused_peer += 1;
            return false;
        }
        let known = match recorded {
            Some(_) => process.identity.remember_member(id, incarnation),
            None => process.identity.remember_peer(id, incarnation),
        };
        let known = known.is_ok();
        if known {
            process.node.leader.note_member(id, String::new(), Some(incarnation));
        } else {
            self.counters.refused_peer += 1;
        }
        known
    }

    /// A node that entered a membership has nothing to do any more with whoever came under the name
    /// of a member before (P7).
    pub(super) fn part_with_impostors(&mut self, index: NodeIndex) {
        for other in 0..self.sites.len() {
            let (id, incarnation) = (self.sites[other].id, self.sites[other].incarnation);
            let recorded = self.recorded_incarnation(index, id);
            if recorded.is_some_and(|recorded| recorded != incarnation) {
                self.reset(self.network.link(index, other));
                self.reset(self.network.link(other, index));
            }
        }
    }

    /// A time that one frame takes.
    fn latency(&mut self) -> u64 {
        let (latency, jitter) = match self.is_calm {
            true => (200 * MICROSECOND, 100 * MICROSECOND),
            false => (self.weather.latency, self.weather.jitter),
        };
        latency + self.random.around(jitter) + 1
    }

    /// A chance of the weather, while there is any.
    const fn rough(&self, chance: u64) -> u64 {
        if self.is_calm { 0 } else { chance }
    }

    const fn now_loss(&self) -> u64 {
        self.rough(self.weather.loss)
    }
}
