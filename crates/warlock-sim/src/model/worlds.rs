//! The small worlds that are explored, and the report about them.

use std::io::{self, Write};

use super::bounds::{Bounds, First};
use super::explore::{Exploration, explore};

/// A small world with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// How it is called.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What may happen in it.
    pub bounds: Bounds,
}

/// Worlds small enough for every change: together some ten million states.
pub const WORLDS: &[Named] = &[
    Named {
        name: "election",
        about: "one ballot of either of two nodes, all links, a restart of any node",
        bounds: Bounds { elections: 1, restarts: 1, ..Bounds::NONE },
    },
    Named {
        name: "ballots",
        about: "two ballots that share one acceptor, two writes, two reads",
        bounds: Bounds { apart: true, elections: 2, writes: 2, reads: 2, ..Bounds::NONE },
    },
    Named {
        name: "thrice",
        about: "three ballots that share one acceptor, the end of a lease",
        bounds: Bounds { apart: true, rounds: 3, elections: 3, passes: 1, ..Bounds::NONE },
    },
    Named {
        name: "expiry",
        about: "a lease ends between clocks that err, two ballots, two writes, two reads",
        bounds: Bounds { elections: 1, writes: 2, reads: 2, passes: 1, ..LEASED },
    },
    Named {
        name: "restart",
        about: "a lease ends, two ballots, a write, a restart of any node and its silence",
        bounds: Bounds { elections: 1, writes: 1, restarts: 1, passes: 2, ..LEASED },
    },
    Named {
        name: "hand-over",
        about: "a master leaves and the node that it asked is elected",
        bounds: Bounds { leaves: 1, ..LEASED },
    },
    Named {
        name: "renewal",
        about: "a lease is renewed and ends while another node stands, a write",
        bounds: Bounds { elections: 1, writes: 1, passes: 3, timeouts: 1, ..LEASED },
    },
    Named {
        name: "copies",
        about: "a packet arrives twice, two ballots, a write, a read",
        bounds: Bounds {
            apart: true,
            elections: 2,
            writes: 1,
            reads: 1,
            copies: 1,
            ..Bounds::NONE
        },
    },
    Named {
        name: "change",
        about: "a master lets an observer vote in the place of the other voter, all links",
        bounds: Bounds { changes: 1, first: First::Observed, view_max: 3, ..MASTER },
    },
    Named {
        name: "transition",
        about: "a transition is ended, a ballot of the master or of the voter that goes, all links",
        bounds: Bounds { elections: 1, first: First::InTransition, view_max: 4, ..MASTER },
    },
];

/// Everything at once; larger than any machine: explored as far as asked.
pub const EVERYTHING: Named = Named {
    name: "everything",
    about: "two ballots, two writes, two reads, expiry, a restart and its silence, a copy",
    bounds: Bounds {
        elections: 1,
        writes: 2,
        reads: 2,
        restarts: 1,
        passes: 3,
        copies: 1,
        ..LEASED
    },
};

/// The first node holds the lease, by a slow clock, and only the third hears both others.
const LEASED: Bounds = Bounds { settled: true, apart: true, clock_error: 50, ..Bounds::NONE };

/// The first node holds the lease, and all hear each other.
const MASTER: Bounds = Bounds { settled: true, ..Bounds::NONE };

/// Explores every world of [`WORLDS`], and [`EVERYTHING`] up to `more` states, or the one that is
/// called `only`, up to `more` states if that is not zero; writes a line for each, and a history
/// for a violation. Says whether all properties hold.
///
/// # Errors
/// Only those of writing.
pub fn explore_all(more: u64, only: Option<&str>, out: &mut impl Write) -> io::Result<bool> {
    let mut states = 0;
    let mut good = true;
    let everything = (more > 0 && only.is_none()).then_some((&EVERYTHING, more));
    let wanted = WORLDS.iter().filter(|world| only.is_none_or(|name| name == world.name));
    let states_max = if only.is_some() && more > 0 { more } else { u64::MAX };
    let worlds = wanted.map(|world| (world, states_max)).chain(everything);
    for (world, states_max) in worlds {
        let found = explore(world.bounds, states_max);
        report(world, &found, out)?;
        states += found.states;
        good &= found.violation.is_none();
    }
    writeln!(out, "{states} states in all")?;
    Ok(good)
}

/// Writes what the exploration of one world found.
///
/// # Errors
/// Only those of writing.
pub fn report(world: &Named, found: &Exploration, out: &mut impl Write) -> io::Result<()> {
    let Exploration { states, steps, nodes, depth, complete, violation } = found;
    let extent = if *complete { "complete" } else { "not complete" };
    writeln!(
        out,
        "{:<10} {states:>9} states {steps:>10} steps {nodes:>6} of one node  depth {depth:>2}  \
         {extent}: {}",
        world.name, world.about
    )?;
    let Some(violation) = violation else { return Ok(()) };
    writeln!(out, "violation in world {}: {}", world.name, violation.found)?;
    for (number, line) in violation.history.iter().enumerate() {
        writeln!(out, "{:>4} {line}", number + 1)?;
    }
    for line in &violation.nodes {
        writeln!(out, "     {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds_of(name: &str) -> Bounds {
        let found = WORLDS.iter().find(|world| world.name == name);
        found.expect("a world of that name").bounds
    }

    #[test]
    fn every_property_holds_in_smaller_worlds() {
        let ballots = Bounds { writes: 1, reads: 1, ..bounds_of("ballots") };
        let expiry = Bounds { writes: 1, reads: 1, ..bounds_of("expiry") };
        let restart = Bounds { writes: 0, ..bounds_of("restart") };
        let worlds = [ballots, expiry, restart, bounds_of("hand-over")];
        for bounds in worlds {
            let found = explore(bounds, u64::MAX);
            assert!(found.complete, "{:?}", found.violation);
            assert!(found.states > 1000, "{bounds:?} has only {} states", found.states);
        }
    }

    #[test]
    fn an_exploration_is_the_same_each_time() {
        let bounds = Bounds { reads: 0, ..bounds_of("ballots") };
        let numbers = || {
            let found = explore(bounds, 20_000);
            (found.states, found.steps, found.nodes, found.depth, found.complete)
        };
        assert_eq!(numbers(), numbers());
        assert_eq!(numbers().0, 20_000);
    }
}
