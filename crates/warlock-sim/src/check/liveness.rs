//! Once the faults are over, a master serves within a bound and all nodes converge (section 4 of
//! the design, "election").
//!
//! The host tells when the faults ended and what it sees; it asks after each event, or at least
//! after the bound, whether something is overdue.

use std::collections::BTreeMap;

use warlock_paxos::{NodeId, Slot};

use super::Violation;
use crate::history::seconds;

const PROPERTY: &str = "liveness";

/// How long a healthy cluster may take, in nanoseconds after the faults ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessBounds {
    /// Until a master serves.
    pub serve_ns: u64,
    /// Until every running node has applied what was decided when it served, and all hold the
    /// same state. At least `serve_ns`.
    pub converge_ns: u64,
}

/// What happened since the faults ended.
#[derive(Clone, Debug)]
pub struct Liveness {
    bounds: LivenessBounds,
    healed_ns: u64,
    served: Option<(NodeId, u64)>,
    target: Slot,
    /// The nodes that must come along: their next slot and digest.
    nodes: BTreeMap<NodeId, (Slot, u64)>,
    converged_ns: Option<u64>,
}

impl Liveness {
    /// All faults ended at `healed_ns`; `nodes` run and can talk to each other, and must come to
    /// hold all slots below `target`.
    #[must_use]
    pub fn healed(bounds: LivenessBounds, healed_ns: u64, nodes: &[NodeId], target: Slot) -> Self {
        let nodes = nodes.iter().map(|&node| (node, (Slot::FIRST, 0))).collect();
        Self { bounds, healed_ns, served: None, target, nodes, converged_ns: None }
    }

    /// `node` answers a linearizable request at `now_ns`.
    pub fn observe_served(&mut self, node: NodeId, now_ns: u64) {
        self.served.get_or_insert((node, now_ns));
    }

    /// At `now_ns` `node` has applied all slots below `next`, and `digest` is that of its state.
    pub fn observe_applied(&mut self, node: NodeId, next: Slot, digest: u64, now_ns: u64) {
        if let Some(known) = self.nodes.get_mut(&node) {
            *known = (next, digest);
        }
        let mut states = self.nodes.values();
        let first = states.next().copied();
        let same = first.is_some_and(|it| it.0 >= self.target && states.all(|other| *other == it));
        if same {
            self.converged_ns.get_or_insert(now_ns);
        }
    }

    /// Whether everything that must happen has happened.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.served.is_some() && self.converged_ns.is_some()
    }

    /// What has not happened though it is time.
    ///
    /// # Errors
    /// When no node served, or not all hold the same state, within the bounds.
    pub fn check(&self, now_ns: u64) -> Result<(), Violation> {
        let after = now_ns.saturating_sub(self.healed_ns);
        let took = |at: u64| at.saturating_sub(self.healed_ns);
        let served = self.served.map_or(after, |(_, at)| took(at));
        if served > self.bounds.serve_ns {
            let sentence = match self.served {
                Some((node, _)) => format!(
                    "{node} was the first to serve, {} after all faults ended; the bound is {}",
                    seconds(served),
                    seconds(self.bounds.serve_ns)
                ),
                None => format!("no node serves {} after all faults ended", seconds(after)),
            };
            let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
            return Err(Violation::liveness(PROPERTY, &nodes, sentence));
        }
        if self.converged_ns.map_or(after, took) > self.bounds.converge_ns {
            return Err(self.not_converged(after));
        }
        Ok(())
    }

    fn not_converged(&self, after: u64) -> Violation {
        let ahead = self.nodes.values().map(|it| it.0).max().unwrap_or(Slot::FIRST);
        let ahead = ahead.max(self.target);
        let behind: Vec<NodeId> =
            self.nodes.iter().filter(|(_, it)| it.0 < ahead).map(|(&node, _)| node).collect();
        let states: Vec<String> = self
            .nodes
            .iter()
            .map(|(node, (next, digest))| format!("{node} {next} {digest:016x}"))
            .collect();
        let sentence = format!(
            "the nodes have not come together {} after all faults ended (bound {}, target {}): {}",
            seconds(after),
            seconds(self.bounds.converge_ns),
            self.target,
            states.join(", ")
        );
        Violation::liveness(PROPERTY, &behind, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const BOUNDS: LivenessBounds = LivenessBounds { serve_ns: 100, converge_ns: 300 };

    fn healed() -> Liveness {
        Liveness::healed(BOUNDS, 1000, &[N1, N2], Slot::new(5))
    }

    #[test]
    fn a_cluster_within_its_bounds_lives() {
        let mut checker = healed();
        checker.check(1100).unwrap();
        checker.observe_served(N1, 1100);
        checker.observe_applied(N1, Slot::new(5), 9, 1150);
        assert!(!checker.is_done());
        checker.observe_applied(N2, Slot::new(5), 9, 1300);
        assert!(checker.is_done());
        checker.check(9000).unwrap();
    }

    #[test]
    fn no_master_is_found() {
        let found = healed().check(1101).unwrap_err();
        assert_eq!(found.severity, Severity::Liveness);
        assert_eq!(found.nodes, [N1, N2]);
    }

    #[test]
    fn a_late_master_is_found() {
        let mut checker = healed();
        checker.observe_served(N2, 1101);
        assert!(checker.check(1101).is_err());
    }

    #[test]
    fn a_node_that_stays_behind_is_found() {
        let mut checker = healed();
        checker.observe_served(N1, 1001);
        checker.observe_applied(N1, Slot::new(7), 9, 1002);
        checker.observe_applied(N2, Slot::new(6), 9, 1002);
        checker.check(1300).unwrap();
        assert_eq!(checker.check(1301).unwrap_err().nodes, [N2]);
    }

    #[test]
    fn equal_slots_with_different_states_do_not_converge() {
        let mut checker = healed();
        checker.observe_served(N1, 1001);
        checker.observe_applied(N1, Slot::new(7), 9, 1002);
        checker.observe_applied(N2, Slot::new(7), 8, 1002);
        assert!(checker.check(1301).is_err());
    }

    #[test]
    fn a_decided_slot_that_nobody_applies_is_found() {
        let mut checker = healed();
        checker.observe_served(N1, 1001);
        checker.observe_applied(N1, Slot::new(4), 9, 1002);
        checker.observe_applied(N2, Slot::new(4), 9, 1002);
        assert_eq!(checker.check(1400).unwrap_err().nodes, [N1, N2]);
    }
}
