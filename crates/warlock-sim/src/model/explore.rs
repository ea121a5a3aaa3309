//! Visits every state that a small world can reach, each once, the nearest first.

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::bounds::Bounds;
use super::fingerprint::Through;
use super::world::{Action, State, World};

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// Distinct states visited.
    pub states: u64,
    /// Steps taken between them.
    pub steps: u64,
    /// Distinct states of single nodes.
    pub nodes: u64,
    /// Steps from the start to the farthest state.
    pub depth: u64,
    /// Whether every state within the bounds was visited.
    pub complete: bool,
    /// The violation with the shortest history.
    pub violation: Option<Violation>,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one, and where.
    pub found: String,
    /// What happened, a line for each step.
    pub history: Vec<String>,
    /// The nodes before the last step.
    pub nodes: Vec<String>,
}

struct Visit {
    state: State,
    number: u32,
    depth: u64,
}

/// Visits the states within `bounds`, but not more than `states_max`.
#[must_use]
pub fn explore(bounds: Bounds, states_max: u64) -> Exploration {
    let mut world = World::default();
    let start = world.start(bounds);
    let mut seen: HashSet<u64, Through> = HashSet::default();
    seen.insert(start.fingerprint());
    // For each state in the order of finding, the one before it and the step between.
    let mut trail: Vec<(u32, Action)> = vec![(0, Action::Pass)];
    let mut queue = VecDeque::from([Visit { state: start, number: 0, depth: 0 }]);
    let mut found =
        Exploration { states: 1, steps: 0, nodes: 0, depth: 0, complete: true, violation: None };
    let mut actions = Vec::new();
    'visits: while let Some(visit) = queue.pop_front() {
        found.depth = visit.depth;
        actions.clear();
        world.actions(&visit.state, &mut actions);
        for &action in &actions {
            found.steps += 1;
            match world.step(&visit.state, action) {
                Ok(None) => {}
                Ok(Some(state)) => {
                    if !seen.insert(state.fingerprint()) {
                        continue;
                    }
                    if found.states == states_max {
                        found.complete = false;
                        break 'visits;
                    }
                    found.states += 1;
                    let number = u32::try_from(trail.len()).expect("less than 2^32 states");
                    trail.push((visit.number, action));
                    queue.push_back(Visit { state, number, depth: visit.depth + 1 });
                }
                Err(text) => {
                    let history = narrate(&world, &trail, visit.number, action);
                    let nodes = world.describe_state(&visit.state);
                    found.violation = Some(Violation { found: text, history, nodes });
                    found.complete = false;
                    break 'visits;
                }
            }
        }
    }
    found.nodes = world.nodes.count();
    found
}

fn narrate(world: &World, trail: &[(u32, Action)], number: u32, last: Action) -> Vec<String> {
    let mut lines = vec![world.describe(last)];
    let mut number = number;
    while number > 0 {
        let (before, action) = trail[number as usize];
        lines.push(world.describe(action));
        number = before;
    }
    lines.reverse();
    lines
}
