//! The table of what was caught by what.

use std::fmt::Write as _;

use super::list::{Hunter, Mutant};
use super::prey::Catch;

/// What was found out about one mutant.
#[derive(Clone, Debug)]
pub struct Row {
    /// The mutant.
    pub mutant: Mutant,
    /// What each range of seeds led to; for tests one entry.
    pub catches: Vec<Catch>,
}

impl Row {
    /// Whether every range caught it.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        !self.catches.is_empty() && self.catches.iter().all(|it| matches!(it, Catch::Caught { .. }))
    }

    /// What caught it, each once, the most frequent first.
    #[must_use]
    pub fn finders(&self) -> Vec<&str> {
        let mut counts: Vec<(usize, &str)> = Vec::new();
        for catch in &self.catches {
            if let Catch::Caught { by, .. } = catch {
                match counts.iter_mut().find(|(_, known)| known == by) {
                    Some((count, _)) => *count += 1,
                    None => counts.push((1, by)),
                }
            }
        }
        counts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        counts.into_iter().map(|(_, by)| by).collect()
    }

    /// The median of how many seeds it took; `None` if tests caught it, or nothing did.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        if self.mutant.hunter != Hunter::Simulator || !self.is_caught() {
            return None;
        }
        let mut seeds: Vec<u64> = self.catches.iter().filter_map(seeds_of).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied()
    }
}

fn seeds_of(catch: &Catch) -> Option<u64> {
    match catch {
        Catch::Caught { seeds, .. } => Some(*seeds),
        Catch::Survived { .. } => None,
    }
}

/// The document with all `rows`.
#[must_use]
pub fn table(rows: &[Row], ranges: usize, controls: usize) -> String {
    let caught = rows.iter().filter(|row| row.is_caught()).count();
    let mut text = format!(
        "# Mutants\n\n\
         Deliberate mistakes, and what finds them. `scripts/mutants.sh` wrote this; TESTING.md \
         says how.\nSeeds: the median, over {ranges} independent ranges, of how many seeds the \
         simulator ran until\none failed. The same {controls} seeds pass without the mistake.\n\n\
         {caught} of {} are caught.\n\n\
         | mutant | of | what is wrong | found by | seeds |\n|---|---|---|---|---|\n",
        rows.len()
    );
    for row in rows {
        let Mutant { name, origin, breaks, .. } = row.mutant;
        let finders = row.finders().join(", ").replace('|', "/");
        let seeds = row.median().map_or_else(|| "-".to_owned(), |median| median.to_string());
        let found = if row.is_caught() { finders.as_str() } else { "**nothing**" };
        writeln!(text, "| `{name}` | {origin} | {breaks} | {found} | {seeds} |")
            .expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::MUTANTS;

    fn caught(seeds: u64, by: &str) -> Catch {
        Catch::Caught { seed: seeds, seeds, by: by.to_owned() }
    }

    fn row(catches: &[Catch]) -> Row {
        Row { mutant: MUTANTS[0], catches: catches.to_vec() }
    }

    #[test]
    fn the_median_is_of_all_ranges() {
        let row = row(&[caught(9, "a"), caught(1, "b"), caught(5, "b")]);
        assert_eq!(row.median(), Some(5));
        assert_eq!(row.finders(), ["b", "a"]);
        assert!(row.is_caught());
    }

    #[test]
    fn one_range_without_a_catch_is_a_survival() {
        let row = row(&[caught(9, "a"), Catch::Survived { reached: 3 }]);
        assert!(!row.is_caught());
        assert_eq!(row.median(), None);
        assert!(table(&[row], 2, 0).contains("**nothing**"));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
