//! Mutants: deliberate mistakes in the code under test, each of which some test must find.
//!
//! A site `mutant!(Name)` is the constant `false` in every build that ships. Built with `--cfg
//! warlock_mutants`, a process that starts with `WARLOCK_MUTANT=Name` makes the mistake. `Hunt`
//! starts such processes: one for each mutant and range of seeds, so that a mutant that loops or
//! eats memory harms only itself. `scripts/mutants.sh` builds and runs all of it.

mod hunt;
mod list;
mod prey;
mod report;

pub use hunt::{Hunt, HuntError};
pub use list::{Hunter, MUTANTS, Mutant, draw};
pub use prey::{Catch, run_range};
pub use report::{Row, table};
