//! Faults of the network.

use super::super::World;
use super::super::network::Cut;
use super::super::queue::{Event, Mend, NodeIndex};
use super::super::weather::MILLISECOND;

impl World {
    /// Cuts links in one of four shapes, for a while.
    pub(super) fn partition(&mut self, index: NodeIndex) {
        self.end_partition();
        let open = match self.random.below(4) {
            0 => self.halves(),
            1 => self.island(index),
            2 => self.bridge(index),
            _ => self.graph(),
        };
        let cut = self.random.pick(&[Cut::Drop, Cut::Hold]);
        for (from, to) in self.network.pairs() {
            if !open[from * self.sites.len() + to] {
                let link = self.network.link(from, to);
                self.network.links[link].cut = Some(cut);
            }
        }
        self.trace_partition("cuts links");
        self.end_partition_later();
    }

    /// Cuts one link, or all that lead to or from a node, in one direction only.
    pub(super) fn cut_one_way(&mut self, index: NodeIndex) {
        self.counters.one_way += 1;
        let incoming = self.random.chance(500);
        let all = self.random.chance(400);
        let other = self.random.index(self.sites.len());
        let cut = self.random.pick(&[Cut::Drop, Cut::Drop, Cut::Hold]);
        for (from, to) in self.network.pairs() {
            let (near, far) = if incoming { (to, from) } else { (from, to) };
            if near == index && (all || far == other) {
                let link = self.network.link(from, to);
                self.network.links[link].cut = Some(cut);
            }
        }
        self.trace_partition("cuts one way");
        self.end_partition_later();
    }

    /// Cuts one node off, in place of what was cut before.
    pub(in super::super) fn isolate(&mut self, alone: NodeIndex, cut: Cut) {
        self.end_partition();
        for (from, to) in self.network.pairs() {
            if from == alone || to == alone {
                let link = self.network.link(from, to);
                self.network.links[link].cut = Some(cut);
            }
        }
        self.trace_partition("makes an island");
        self.end_partition_later();
    }

    fn end_partition_later(&mut self) {
        self.network.partition += 1;
        let number = self.network.partition;
        let at = self.time + self.random.between(50, 4000) * MILLISECOND;
        self.queue.push(at, Event::Mend(Mend::Partition(number)));
    }

    /// Opens all links that a partition cut.
    pub(super) fn end_partition(&mut self) {
        for link in 0..self.network.links.len() {
            if self.network.links[link].cut.take().is_some() {
                self.release(link);
            }
        }
    }

    /// Two groups of any size.
    fn halves(&mut self) -> Vec<bool> {
        self.counters.partition_halves += 1;
        let mask = self.random.bits();
        self.matrix(|from, to| mask >> from & 1 == mask >> to & 1)
    }

    /// One node, more often than not the one that serves, alone.
    fn island(&mut self, index: NodeIndex) -> Vec<bool> {
        self.counters.partition_isolate += 1;
        let serving = self.serving();
        let alone = if self.random.chance(700) { serving.unwrap_or(index) } else { index };
        self.matrix(|from, to| from != alone && to != alone)
    }

    /// A line, or two groups that only one node can talk to both of.
    fn bridge(&mut self, index: NodeIndex) -> Vec<bool> {
        self.counters.partition_bridge += 1;
        let mut order: Vec<NodeIndex> = (0..self.sites.len()).collect();
        self.random.shuffle(&mut order);
        if self.random.chance(500) {
            return self.matrix(|from, to| order[from].abs_diff(order[to]) == 1);
        }
        let mask = self.random.bits();
        self.matrix(|from, to| from == index || to == index || mask >> from & 1 == mask >> to & 1)
    }

    /// A ring, or any directed graph.
    fn graph(&mut self) -> Vec<bool> {
        self.counters.partition_graph += 1;
        let nodes = self.sites.len();
        if self.random.chance(300) {
            let both = self.random.chance(500);
            return self
                .matrix(|from, to| (from + 1) % nodes == to || (both && (to + 1) % nodes == from));
        }
        let density = self.random.between(200, 900);
        let mut random = self.random.fork();
        self.matrix(|_, _| random.chance(density))
    }

    fn matrix(&self, mut open: impl FnMut(NodeIndex, NodeIndex) -> bool) -> Vec<bool> {
        let nodes = self.sites.len();
        (0..nodes * nodes).map(|link| open(link / nodes, link % nodes)).collect()
    }

    fn trace_partition(&mut self, what: &str) {
        let cut = self
            .network
            .pairs()
            .filter(|&(from, to)| self.network.links[self.network.link(from, to)].cut.is_some());
        let cut: Vec<(usize, usize)> = cut.collect();
        self.trace.line(self.time, "network", || {
            let pairs = cut.iter().map(|(from, to)| format!("n{}->n{}", from + 1, to + 1));
            format!("{what}: {}", pairs.collect::<Vec<_>>().join(" "))
        });
    }

    /// Holds one link back for a while; then everything comes at once.
    pub(super) fn clog(&mut self, index: NodeIndex) {
        let other = self.random.index(self.sites.len());
        if other == index {
            return;
        }
        let link = self.network.link(index, other);
        self.network.links[link].clogs += 1;
        let at = self.time + self.random.between(1, 1800) * MILLISECOND;
        self.queue.push(at, Event::Mend(Mend::Link(link)));
    }

    pub(super) fn unclog(&mut self, link: usize) {
        let clogs = &mut self.network.links[link].clogs;
        *clogs = clogs.saturating_sub(1);
        self.release(link);
    }

    /// Clogs some nodes one after the other, and opens them in another order.
    pub(super) fn swizzle(&mut self, _index: NodeIndex) {
        let mut nodes: Vec<NodeIndex> = (0..self.sites.len()).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(1 + self.random.index(nodes.len()));
        let mut at = self.time;
        for &node in &nodes {
            at += self.random.between(1, 600) * MILLISECOND;
            self.queue.push(at, Event::Mend(Mend::ClogNode(node)));
        }
        self.random.shuffle(&mut nodes);
        for &node in &nodes {
            at += self.random.between(1, 600) * MILLISECOND;
            self.queue.push(at, Event::Mend(Mend::UnclogNode(node)));
        }
    }

    pub(super) fn clog_node(&mut self, node: NodeIndex) {
        if self.is_calm {
            return;
        }
        for (from, to) in self.network.pairs() {
            if from == node || to == node {
                self.counters.swizzle_clog += 1;
                let link = self.network.link(from, to);
                self.network.links[link].clogs += 1;
            }
        }
    }

    pub(super) fn unclog_node(&mut self, node: NodeIndex) {
        for (from, to) in self.network.pairs() {
            if from == node || to == node {
                let link = self.network.link(from, to);
                self.unclog(link);
            }
        }
    }

    /// Resets some connections of a node, with whatever was on its way.
    pub(super) fn reset_some(&mut self, index: NodeIndex) {
        for other in 0..self.sites.len() {
            if other != index && self.random.chance(500) {
                self.counters.connection_reset += 1;
                let pairs = [(index, other), (other, index)];
                let (from, to) = self.random.pick(&pairs);
                self.reset(self.network.link(from, to));
            }
        }
    }
}
