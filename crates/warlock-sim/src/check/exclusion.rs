//! At most one node serves local reads at any moment of true time (L1, L2, L3, L5).
//!
//! A node serves from the moment it may answer a read from its own state until its lease ends,
//! both as its own clock reads them, translated to true time by whoever knows the clocks. Whether
//! a client asks at that moment does not matter: the right to serve alone must be exclusive. A
//! paused node keeps its right: it can wake up in the middle of an answer.

use std::collections::BTreeMap;

use warlock_paxos::NodeId;

use super::Violation;
use crate::history::seconds;

const PROPERTY: &str = "lease exclusion";

/// Who may serve, and when.
#[derive(Clone, Debug, Default)]
pub struct LeaseExclusion {
    /// The latest span of each node in nanoseconds of true time, its end excluded.
    serving: BTreeMap<NodeId, (u64, u64)>,
    spans: u64,
}

impl LeaseExclusion {
    /// At true time `from_ns`, not before any other call, `node` may serve, and may go on until
    /// `until_ns` (excluded) unless it stops. A renewed lease is told again.
    ///
    /// # Errors
    /// When another node may serve at a moment of that span.
    pub fn observe_serving(
        &mut self,
        node: NodeId,
        from_ns: u64,
        until_ns: u64,
    ) -> Result<(), Violation> {
        if until_ns <= from_ns {
            return Ok(());
        }
        for (&other, &(other_from, other_until)) in &self.serving {
            let (from, until) = (from_ns.max(other_from), until_ns.min(other_until));
            if other != node && from < until {
                let sentence = format!(
                    "{other} and {node} may both serve reads from {} to {}",
                    seconds(from),
                    seconds(until)
                );
                return Err(Violation::safety(PROPERTY, &[node, other], sentence));
            }
        }
        self.spans += 1;
        let known = self.serving.entry(node).or_insert((from_ns, until_ns));
        // A renewal carries on what runs; after a gap the span starts anew.
        *known =
            if from_ns <= known.1 { (known.0, known.1.max(until_ns)) } else { (from_ns, until_ns) };
        Ok(())
    }

    /// From true time `at_ns` on `node` does not serve: it gave the lease up, or its process died.
    pub fn observe_stopped(&mut self, node: NodeId, at_ns: u64) {
        if let Some((_, until)) = self.serving.get_mut(&node) {
            *until = (*until).min(at_ns);
        }
    }

    /// How many spans were told: a run without any has not tested anything.
    #[must_use]
    pub const fn spans(&self) -> u64 {
        self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);

    fn serving(spans: &[(NodeId, u64, u64)]) -> Result<LeaseExclusion, Violation> {
        let mut checker = LeaseExclusion::default();
        for &(node, from, until) in spans {
            checker.observe_serving(node, from, until)?;
        }
        Ok(checker)
    }

    #[test]
    fn one_after_the_other_is_right() {
        let checker = serving(&[(N1, 0, 500), (N1, 100, 600), (N2, 600, 900), (N1, 900, 950)]);
        assert_eq!(checker.unwrap().spans(), 4);
    }

    #[test]
    fn an_empty_span_serves_nobody() {
        serving(&[(N1, 0, 500), (N2, 100, 100), (N2, 200, 150)]).unwrap();
    }

    #[test]
    fn a_lease_given_up_lets_the_next_start_at_once() {
        let mut checker = serving(&[(N1, 0, 500)]).unwrap();
        checker.observe_stopped(N1, 200);
        checker.observe_serving(N2, 200, 700).unwrap();
        assert!(checker.observe_serving(N1, 300, 400).is_err());
    }

    #[test]
    fn a_lease_taken_before_the_other_ended_is_found() {
        let found = serving(&[(N1, 0, 500_000_000), (N2, 499_999_000, 900_000_000)]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "lease exclusion: n1 and n2 may both serve reads from 0.499999s to 0.500000s"
        );
    }

    #[test]
    fn a_deposed_node_that_renews_is_found() {
        assert!(serving(&[(N1, 0, 100), (N2, 100, 600), (N1, 150, 160)]).is_err());
    }

    #[test]
    fn a_renewal_does_not_hide_the_first_span() {
        let found = serving(&[(N1, 0, 500), (N1, 100, 200), (N3, 400, 450)]).unwrap_err();
        assert_eq!(found.nodes, [N1, N3]);
    }

    #[test]
    fn a_stop_told_late_does_not_lengthen_a_lease() {
        let mut checker = serving(&[(N1, 0, 100)]).unwrap();
        checker.observe_stopped(N1, 300);
        checker.observe_serving(N2, 100, 200).unwrap();
    }
}
