//! How a failure reads: what happened, how to see it again, and what the world looked like.

use std::fmt::Write;

use crate::run::{Options, Outcome, Verdict};

/// Lines of the column log in a report, unless asked for more.
pub const LINES: usize = 40;

/// The report of a run; of one that passed, a single line.
#[must_use]
pub fn report(outcome: &Outcome, options: &Options) -> String {
    let mut text = String::new();
    let seconds = outcome.virtual_ns / 1_000_000_000;
    let (seed, hash) = (outcome.seed, outcome.trace_hash);
    if outcome.passed() {
        let _ = writeln!(text, "seed {seed} passed, {seconds} s, trace {hash:016x}");
        return text;
    }
    let _ = writeln!(text, "seed {seed}: {}", sentence(&outcome.verdict));
    let _ = writeln!(text, "\nto see it again:\n  {}", command(seed, options));
    if let Some(scene) = &outcome.scene {
        let _ = write!(text, "\ndrawn options:\n{}", scene.options);
        let _ = writeln!(text, "\nlast lines (ms, node, what):");
        for line in &scene.log {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "\nnodes after {seconds} s, trace {hash:016x}:");
        for line in &scene.nodes {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// What went wrong, in one sentence with its kind in front.
#[must_use]
pub fn sentence(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => String::from("passed"),
        Verdict::Crash(message) => format!("CRASH: {message}"),
        Verdict::Violated(violation) => {
            format!("{:?}: {violation}", violation.severity).replacen("Safety", "SAFETY", 1)
        }
    }
}

/// The command that runs `seed` again.
#[must_use]
pub fn command(seed: u64, options: &Options) -> String {
    let nodes = options.nodes.map_or_else(String::new, |nodes| format!(" --nodes {nodes}"));
    let changes = options.changes.map_or_else(String::new, |it| format!(" --changes {it}"));
    format!("scripts/sim.sh replay {seed}{nodes}{changes}")
}
