//! Outside of the processes that make mistakes: starts them, waits, and gathers what they found.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::list::{Hunter, Mutant};
use super::prey::Catch;
use super::report::Row;

/// How far apart ranges of seeds begin.
const RANGE_DISTANCE: u64 = 1_000_000;

/// How to hunt.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// This program, which runs seeds when it is started with `seeds FROM TO`.
    pub program: PathBuf,
    /// How many independent ranges of seeds, at least 1.
    pub ranges: usize,
    /// Seeds in each range, at least 1: a mutant that outlives them has survived.
    pub seeds_max: u64,
    /// How many processes at a time, at least 1.
    pub jobs: usize,
}

/// Why there is no result.
#[derive(Debug)]
pub enum HuntError {
    /// A process could not be started.
    Start(io::Error),
    /// A process said nothing that makes sense.
    Silent {
        /// What it was started for.
        name: String,
        /// What it wrote instead.
        text: String,
    },
    /// Seeds or tests fail without any mistake.
    Control(String),
}

impl fmt::Display for HuntError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "cannot start a process: {error}"),
            Self::Silent { name, text } => write!(f, "{name} gave no result:\n{text}"),
            Self::Control(what) => write!(f, "without any mistake {what} fails as well"),
        }
    }
}

impl std::error::Error for HuntError {}

/// What one process is to do.
#[derive(Clone, Copy, Debug)]
struct Task {
    mutant: usize,
    range: usize,
}

/// What the workers share.
struct Board {
    tasks: VecDeque<Task>,
    /// Results that are to come, by mutant.
    open: Vec<usize>,
    rows: Vec<Row>,
    error: Option<HuntError>,
}

impl Board {
    fn next(&mut self) -> Option<(Task, Mutant)> {
        let task = self.tasks.pop_front()?;
        Some((task, self.rows[task.mutant].mutant))
    }

    /// Takes a result; gives the row of the mutant if that is complete.
    fn note(&mut self, mutant: usize, catch: Result<Catch, HuntError>) -> Option<Row> {
        self.open[mutant] -= 1;
        match catch {
            Err(error) => {
                self.tasks.clear();
                self.error = Some(error);
                return None;
            }
            Ok(catch) => {
                if matches!(catch, Catch::Survived { .. }) {
                    let before = self.tasks.len();
                    self.tasks.retain(|task| task.mutant != mutant);
                    self.open[mutant] -= before - self.tasks.len();
                }
                self.rows[mutant].catches.push(catch);
            }
        }
        (self.open[mutant] == 0).then(|| self.rows[mutant].clone())
    }
}

impl Hunt {
    /// Hunts each of `mutants`; tells `progress` whenever one is done.
    ///
    /// # Errors
    /// [`HuntError`] if the processes do not work.
    pub fn run(
        &self,
        mutants: &[Mutant],
        progress: &(dyn Fn(&Row) + Sync),
    ) -> Result<Vec<Row>, HuntError> {
        let open: Vec<usize> = mutants.iter().map(|mutant| self.ranges_of(mutant)).collect();
        let tasks = open
            .iter()
            .enumerate()
            .flat_map(|(mutant, &ranges)| (0..ranges).map(move |range| Task { mutant, range }));
        let tasks = tasks.collect();
        let rows = mutants.iter().map(|&mutant| Row { mutant, catches: Vec::new() }).collect();
        let board = Mutex::new(Board { tasks, open, rows, error: None });
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| self.work(&board, progress));
            }
        });
        let Board { rows, error, .. } = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        error.map_or(Ok(rows), Err)
    }

    fn work(&self, board: &Mutex<Board>, progress: &(dyn Fn(&Row) + Sync)) {
        let lock = || board.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = lock().next();
            let Some((Task { mutant, range }, hunted)) = next else { return };
            let catch = self.catch(&hunted, range);
            let done = lock().note(mutant, catch);
            done.iter().for_each(progress);
        }
    }

    fn ranges_of(&self, mutant: &Mutant) -> usize {
        match mutant.hunter {
            Hunter::Simulator => self.ranges,
            Hunter::Tests { .. } => 1,
        }
    }

    fn catch(&self, mutant: &Mutant, range: usize) -> Result<Catch, HuntError> {
        match mutant.hunter {
            Hunter::Simulator => {
                let from = range as u64 * RANGE_DISTANCE;
                self.run_seeds(Some(mutant.name), from, from + self.seeds_max)
            }
            Hunter::Tests { package, arguments } => run_tests(mutant.name, package, arguments),
        }
    }

    fn run_seeds(&self, mutant: Option<&str>, from: u64, to: u64) -> Result<Catch, HuntError> {
        let mut command = Command::new(&self.program);
        command.args(["seeds", &from.to_string(), &to.to_string()]);
        let output = run(command, mutant)?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().last().and_then(Catch::parse).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            let name = mutant.unwrap_or("the control").to_owned();
            HuntError::Silent { name, text: format!("{}\n{text}{said}", output.status) }
        })
    }

    /// Runs, without any mistake, each seed that caught one; returns how many.
    ///
    /// # Errors
    /// [`HuntError::Control`] with the seed that fails.
    pub fn control(&self, rows: &[Row]) -> Result<usize, HuntError> {
        let simulated = rows.iter().filter(|row| row.mutant.hunter == Hunter::Simulator);
        let catches = simulated.flat_map(|row| &row.catches);
        let mut seeds: Vec<u64> = catches
            .filter_map(|catch| match catch {
                Catch::Caught { seed, .. } => Some(*seed),
                Catch::Survived { .. } => None,
            })
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        for &seed in &seeds {
            if let Catch::Caught { by, .. } = self.run_seeds(None, seed, seed + 1)? {
                return Err(HuntError::Control(format!("seed {seed} ({by})")));
            }
        }
        Ok(seeds.len())
    }
}

/// Runs tests under the mistake and without.
fn run_tests(mutant: &str, package: &str, arguments: &[&str]) -> Result<Catch, HuntError> {
    let command = || {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--quiet", "--profile", "sim", "--package", package]).args(arguments);
        command
    };
    let what = format!("tests of {package}");
    if !run(command(), None)?.status.success() {
        return Err(HuntError::Control(what));
    }
    Ok(match run(command(), Some(mutant))?.status.success() {
        false => Catch::Caught { seed: 0, seeds: 0, by: what },
        true => Catch::Survived { reached: 0 },
    })
}

fn run(mut command: Command, mutant: Option<&str>) -> Result<Output, HuntError> {
    command.env("WARLOCK_MUTANT", mutant.unwrap_or_default());
    command.stdin(Stdio::null()).output().map_err(HuntError::Start)
}
