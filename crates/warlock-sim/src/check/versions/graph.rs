//! What must come before what, and whether that can be.

use std::collections::{BTreeMap, VecDeque};

use super::PROPERTY;
use crate::check::Violation;
use crate::history::{History, OpId};

/// A directed graph over the operations of a history and further points without a time.
///
/// That what ended comes before what began later is not kept as edges: operations become ready by
/// invocation while those that ended are taken away by response.
pub(super) struct Graph {
    operations: usize,
    points: usize,
    edges: Vec<(u32, u32)>,
}

impl Graph {
    pub(super) fn new(history: &History) -> Self {
        Self { operations: history.len(), points: history.len(), edges: Vec::new() }
    }

    /// A further point.
    pub(super) fn point(&mut self) -> usize {
        self.points += 1;
        self.points - 1
    }

    /// `from` comes before `to`.
    pub(super) fn edge(&mut self, from: usize, to: usize) {
        self.edges.push((number(from), number(to)));
    }

    pub(super) fn edges(&self) -> u64 {
        self.edges.len() as u64
    }

    /// Takes one after the other what can come next; reports a cycle if something is left.
    pub(super) fn cycle(mut self, history: &History) -> Option<Violation> {
        self.edges.sort_unstable();
        let mut starts = vec![0_usize; self.points + 1];
        let mut before = vec![0_u32; self.points];
        for &(from, to) in &self.edges {
            starts[from as usize + 1] += 1;
            before[to as usize] += 1;
        }
        for point in 0..self.points {
            starts[point + 1] += starts[point];
        }
        let mut order = Order::new(history, self.points, before);
        while let Some(point) = order.ready.pop_front() {
            order.done[point as usize] = true;
            order.pass_time(history);
            for &(_, to) in &self.edges[starts[point as usize]..starts[point as usize + 1]] {
                order.before[to as usize] -= 1;
                order.offer(to as usize);
            }
        }
        let stuck = order.by_response.get(order.ended).map(|id| id.index())?;
        Some(self.walk(history, &order, stuck))
    }

    /// Follows what waits for what from `stuck`, which waits for no time, until it comes round.
    fn walk(&self, history: &History, order: &Order, stuck: usize) -> Violation {
        let mut waits_for: BTreeMap<usize, usize> = BTreeMap::new();
        for &(from, to) in self.edges.iter().filter(|edge| !order.done[edge.0 as usize]) {
            waits_for.insert(to as usize, from as usize);
        }
        let mut path = vec![stuck];
        let cycle = loop {
            let last = *path.last().expect("never empty");
            // What waits for nobody in the graph waits for the operation that ended first.
            let next = waits_for.get(&last).copied().unwrap_or(stuck);
            if let Some(at) = path.iter().position(|point| *point == next) {
                break path.split_off(at);
            }
            path.push(next);
        };
        let mut shown: Vec<OpId> =
            cycle.into_iter().filter(|it| *it < self.operations).map(OpId::at).collect();
        shown.reverse();
        let told: Vec<String> = shown.iter().map(|id| history.describe(*id)).collect();
        let sentence = format!("each must come before the next, in a circle: {}", told.join("; "));
        let nodes: Vec<_> = shown.iter().map(|id| history.operation(*id).node).collect();
        Violation::safety(PROPERTY, &nodes, sentence).shown_by(&shown)
    }
}

/// How far the operations have been put in order.
struct Order {
    by_invocation: Vec<OpId>,
    by_response: Vec<OpId>,
    /// How many of `by_invocation` may begin.
    begun: usize,
    /// How many of `by_response` are done without a gap.
    ended: usize,
    before: Vec<u32>,
    may_begin: Vec<bool>,
    done: Vec<bool>,
    ready: VecDeque<u32>,
}

impl Order {
    fn new(history: &History, points: usize, before: Vec<u32>) -> Self {
        let mut by_invocation: Vec<OpId> = history.iter().map(|it| it.0).collect();
        by_invocation.sort_by_key(|id| history.operation(*id).invoked_ns);
        let ended = |id: &OpId| history.operation(*id).reply().is_some();
        let mut by_response: Vec<OpId> =
            history.iter().map(|it| it.0).filter(|id| ended(id)).collect();
        by_response.sort_by_key(|id| history.operation(*id).effect_by_ns());
        let may_begin = (0..points).map(|point| point >= history.len()).collect();
        let mut order = Self {
            by_invocation,
            by_response,
            begun: 0,
            ended: 0,
            before,
            may_begin,
            done: vec![false; points],
            ready: VecDeque::new(),
        };
        (history.len()..points).for_each(|point| order.offer(point));
        order.begin(history);
        order
    }

    /// Queues `point` if nothing keeps it. Called when the last thing that did is gone.
    fn offer(&mut self, point: usize) {
        if self.before[point] == 0 && self.may_begin[point] {
            self.ready.push_back(number(point));
        }
    }

    /// An operation was put in order: others that began after it ended may follow.
    fn pass_time(&mut self, history: &History) {
        let ended = self.ended;
        while self.by_response.get(self.ended).is_some_and(|id| self.done[id.index()]) {
            self.ended += 1;
        }
        if self.ended > ended {
            self.begin(history);
        }
    }

    fn begin(&mut self, history: &History) {
        let next = self.by_response.get(self.ended);
        let limit = next.map_or(u64::MAX, |id| history.operation(*id).effect_by_ns());
        while let Some(&id) = self.by_invocation.get(self.begun)
            && history.operation(id).invoked_ns <= limit
        {
            self.begun += 1;
            self.may_begin[id.index()] = true;
            self.offer(id.index());
        }
    }
}

fn number(point: usize) -> u32 {
    u32::try_from(point).expect("a graph has fewer than 2^32 points")
}
