//! When which fault happens: an endless list of episodes, drawn from the seed alone.
//!
//! ```text
//! quiet ............ |==== first fault ====|
//!                        |==== second fault, of another class or on another node ====|
//!                                                                                     recovery
//! ```

use std::fmt;

use super::fault::{Class, Fault, Kind};
use super::random::Random;

/// Shortest fault: a tenth of a lease.
const FAULT_MS_MIN: u64 = 50;
/// Shortest jump of a wall clock, which a node notices within a second.
const JUMP_MS_MIN: u64 = 1500;
/// Longest pause or outage: ten leases.
const FAULT_MS_MAX: u64 = 5000;
/// Most faults of one episode.
const FAULTS_MAX: usize = 3;
/// In so many of a hundred cases another fault joins in.
const OVERLAP_PERCENT: u64 = 45;

/// A fault, when it begins and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timed {
    /// Milliseconds from the start of the episode.
    pub(super) at_ms: u64,
    /// Milliseconds until it is healed.
    pub(super) for_ms: u64,
    /// What happens.
    pub(super) fault: Fault,
}

/// Some faults that overlap, after a time without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Episode {
    /// Milliseconds without faults before it.
    pub(super) quiet_ms: u64,
    /// The faults, at least one.
    pub(super) faults: Vec<Timed>,
    /// Whether every node must be ready before the next episode; otherwise it may begin while
    /// some still catch up.
    pub(super) settle: bool,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    random: Random,
    nodes: u16,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
}

impl Plan {
    /// The plan that belongs to a seed, with faults of these kinds only.
    pub(super) fn new(seed: u64, nodes: u16, kinds: &[Kind]) -> Self {
        let mut kinds = kinds.to_vec();
        // Rings of three are whole.
        kinds.retain(|kind| nodes > 3 || *kind != Kind::Ring);
        assert!(!kinds.is_empty(), "a plan has faults");
        Self { random: Random::new(seed, 0), nodes, kinds, deck: Vec::new() }
    }

    /// Deals a kind; all others come before it comes again.
    fn deal(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.random.shuffle(&mut self.deck);
        }
        self.deck.pop().expect("the deck was filled")
    }

    /// Another kind that may overlap with these.
    fn companion(&mut self, present: &[Kind]) -> Option<Kind> {
        let mut others = self.kinds.clone();
        others.retain(|kind| can_join(*kind, present));
        if others.is_empty() { None } else { Some(others[self.random.index(others.len())]) }
    }
}

/// Whether a fault of this kind may be in force together with these.
fn can_join(kind: Kind, present: &[Kind]) -> bool {
    // Three nodes that restart within an election are the whole of a cluster of three.
    let hit = present.iter().filter(|other| other.class() == Class::Node).count();
    let leaves_one = kind.class() != Class::Node || hit < 2;
    leaves_one
        && present.iter().all(|other| match (kind.class(), other.class()) {
            (Class::Node, Class::Node) => true,
            (Class::Membership, _) | (_, Class::Membership) => false,
            // Nobody holds the log clock while all nodes are down, so it follows the wall then.
            (Class::Cluster, Class::Clock | Class::Node) => false,
            (Class::Clock | Class::Node, Class::Cluster) => false,
            (one, other) => one != other,
        })
}

impl Iterator for Plan {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        let quiet_ms = self.random.within(1000, 3000);
        let mut kinds = vec![self.deal()];
        while kinds.len() < FAULTS_MAX && self.random.percent(OVERLAP_PERCENT) {
            let Some(kind) = self.companion(&kinds) else { break };
            kinds.push(kind);
        }
        let (random, nodes) = (&mut self.random, self.nodes);
        let faults = kinds.iter().enumerate().map(|(position, kind)| {
            let most = if random.percent(70) { FAULT_MS_MAX / 3 } else { FAULT_MS_MAX };
            let at_ms = if position == 0 { 0 } else { random.within(0, 1500) };
            let least = if *kind == Kind::WallJump { JUMP_MS_MIN } else { FAULT_MS_MIN };
            Timed { at_ms, for_ms: random.within(least, most), fault: kind.draw(random, nodes) }
        });
        let faults = faults.collect();
        Some(Episode { quiet_ms, faults, settle: self.random.percent(50) })
    }
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quiet {} ms", self.quiet_ms)?;
        for Timed { at_ms, for_ms, fault } in &self.faults {
            write!(f, "; +{at_ms} ms {fault} for {for_ms} ms")?;
        }
        f.write_str(if self.settle { "; settle" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Plan, can_join};
    use crate::chaos::fault::{Class, Kind};

    #[test]
    fn a_plan_depends_on_the_seed_alone() {
        let take = |seed| Plan::new(seed, 3, &Kind::ALL).take(50).collect::<Vec<_>>();
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn every_kind_comes_up_before_any_comes_twice() {
        let firsts: BTreeSet<Kind> = Plan::new(9, 5, &Kind::ALL)
            .take(Kind::ALL.len())
            .map(|episode| episode.faults[0].fault.kind())
            .collect();
        assert_eq!(firsts.len(), Kind::ALL.len());
    }

    #[test]
    fn faults_that_would_break_each_other_do_not_overlap() {
        for episode in Plan::new(5, 5, &Kind::ALL).take(2000) {
            let kinds: Vec<Kind> = episode.faults.iter().map(|it| it.fault.kind()).collect();
            for (position, kind) in kinds.iter().enumerate() {
                assert!(can_join(*kind, &kinds[..position]), "{episode}");
            }
        }
        assert!(!can_join(Kind::WallJump, &[Kind::PowerCutAll]));
        assert!(!can_join(Kind::Ring, &[Kind::Loss]));
        assert!(!can_join(Kind::Replace, &[Kind::Loss]));
        assert!(can_join(Kind::Kill, &[Kind::Pause, Kind::Island]));
    }

    #[test]
    fn no_episode_of_a_plan_hits_three_nodes_by_themselves() {
        let troubled = |class: Class| {
            let count = |episode: &super::Episode| {
                episode.faults.iter().filter(|it| it.fault.kind().class() == class).count()
            };
            Plan::new(11, 5, &Kind::ALL).take(1000).filter(|episode| count(episode) > 2).count()
        };
        assert_eq!(troubled(Class::Node), 0);
    }
}
