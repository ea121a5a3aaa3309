//! Inside a process that makes a mistake: runs seeds until one shows it.

use std::ops::Range;

use crate::run::{Options, Verdict, run_seed};

/// What a range of seeds led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Catch {
    /// A seed did not pass.
    Caught {
        /// Which one.
        seed: u64,
        /// How many seeds were run, this one included.
        seeds: u64,
        /// The property or assertion that did not hold.
        by: String,
    },
    /// All seeds passed.
    Survived {
        /// How many times the code came to a place of the mistake.
        reached: u64,
    },
}

/// Runs the seeds of `range` in their order until one fails.
#[must_use]
pub fn run_range(range: Range<u64>) -> Catch {
    let first = range.start;
    for seed in range {
        let outcome = run_seed(seed, &Options::default());
        if let Some(by) = finder(&outcome.verdict) {
            return Catch::Caught { seed, seeds: seed - first + 1, by };
        }
    }
    let reached = warlock_paxos::mutants::reached() + warlock_resp::mutants::reached();
    Catch::Survived { reached }
}

/// What found something wrong, in a few words.
fn finder(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Passed => None,
        Verdict::Violated(violation) => Some(violation.property.to_owned()),
        Verdict::Crash(message) => Some(match invariant_of(message) {
            Some(invariant) => format!("assertion {invariant}"),
            None => format!("panic: {}", message.lines().next().unwrap_or_default()),
        }),
    }
}

/// The number that an assertion's message starts with: `P5: ...`.
fn invariant_of(message: &str) -> Option<&str> {
    let (number, _) = message.split_once(": ")?;
    let numbered = number.len() <= 3
        && number.starts_with(|first: char| first.is_ascii_uppercase())
        && number.ends_with(|last: char| last.is_ascii_digit());
    (numbered || number == "Fate").then_some(number)
}

/// One line between the processes.
impl Catch {
    /// The line that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Caught { seed, seeds, by } => format!("caught {seed} {seeds} {by}"),
            Self::Survived { reached } => format!("survived {reached}"),
        }
    }

    /// Reads what [`line`](Self::line) wrote.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("caught ") {
            let (seed, rest) = rest.split_once(' ')?;
            let (seeds, by) = rest.split_once(' ')?;
            let (seed, seeds) = (seed.parse().ok()?, seeds.parse().ok()?);
            return Some(Self::Caught { seed, seeds, by: by.to_owned() });
        }
        let reached = line.strip_prefix("survived ")?.parse().ok()?;
        Some(Self::Survived { reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_understood() {
        let caught = Catch::Caught { seed: 1_000_007, seeds: 7, by: "lease exclusion".to_owned() };
        for catch in [caught, Catch::Survived { reached: 12 }] {
            assert_eq!(Catch::parse(&catch.line()), Some(catch));
        }
        assert_eq!(Catch::parse("thread panicked"), None);
        assert_eq!(Catch::parse("caught x 7 agreement"), None);
    }

    #[test]
    fn assertions_are_known_by_their_numbers() {
        let crash = |message: &str| finder(&Verdict::Crash(message.to_owned()));
        assert_eq!(crash("P5: s7 applied at s8").as_deref(), Some("assertion P5"));
        assert_eq!(crash("W1: s9 is beyond").as_deref(), Some("assertion W1"));
        assert_eq!(crash("Fate: out of order").as_deref(), Some("assertion Fate"));
        assert_eq!(crash("an index: 5").as_deref(), Some("panic: an index: 5"));
        assert_eq!(finder(&Verdict::Passed), None);
    }
}
