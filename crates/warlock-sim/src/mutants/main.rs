//! `warlock-mutants`: hunts deliberate mistakes, and writes the table of what caught them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "which mutants are drawn by chance depends on the time of day"
)]

use std::env;
use std::error::Error;
use std::num::NonZero;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use warlock_sim::mutants::{Hunt, Hunter, MUTANTS, Mutant, Row, draw, run_range, table};

const USAGE: &str = "usage: warlock-mutants [--seeds N] [--ranges N] [--random K] [NAME...]
Hunts all mutants and writes MUTANTS.md; with --random or names only those, and writes nothing.";

/// Seeds that a mutant may outlive in one range at most.
const SEEDS_MAX: u64 = 10_000;

/// Independent ranges of seeds, for the median.
const RANGES: usize = 3;

/// What the median may be: a mutant that is found later is as good as not found.
const MEDIAN_MAX: u64 = 2_000;

/// Where the table is written.
const TABLE: &str = "MUTANTS.md";

/// What the command line asks for.
struct Arguments {
    seeds: u64,
    ranges: usize,
    random: Option<usize>,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [mode, from, to] = &words[..]
        && mode == "seeds"
        && let (Ok(from), Ok(to)) = (from.parse(), to.parse())
    {
        // What a mistake brings about is told in one line; where it panicked is of no interest.
        panic::set_hook(Box::new(|_| {}));
        println!("{}", run_range(from..to).line());
        return ExitCode::SUCCESS;
    }
    if cfg!(not(warlock_mutants)) {
        eprintln!("built without mutants: use scripts/mutants.sh");
        return ExitCode::from(2);
    }
    let Some(arguments) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn parse(words: &[String]) -> Option<Arguments> {
    let mut arguments =
        Arguments { seeds: SEEDS_MAX, ranges: RANGES, random: None, names: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => arguments.seeds = words.next()?.parse().ok().filter(|it| *it > 0)?,
            "--ranges" => arguments.ranges = words.next()?.parse().ok().filter(|it| *it > 0)?,
            "--random" => arguments.random = Some(words.next()?.parse().ok()?),
            name if name.starts_with('-') => return None,
            name => arguments.names.push(name.to_owned()),
        }
    }
    Some(arguments)
}

/// Hunts; says whether every mutant was caught.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let mutants = chosen(arguments)?;
    let partial = mutants.len() < MUTANTS.len();
    let hunt = Hunt {
        program: env::current_exe()?,
        ranges: if arguments.random.is_some() { 1 } else { arguments.ranges },
        seeds_max: arguments.seeds,
        jobs: thread::available_parallelism().map_or(1, NonZero::get),
    };
    let done = AtomicUsize::new(0);
    let rows = hunt.run(&mutants, &|row| {
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        tell(&format!("{number:>3}/{}", mutants.len()), row);
    })?;
    let controls = hunt.control(&rows)?;
    let soon = |row: &&Row| row.is_caught() && row.median().is_none_or(|it| it <= MEDIAN_MAX);
    let caught = rows.iter().filter(soon).count();
    println!("{caught} of {} mutants caught; {controls} seeds pass without them", rows.len());
    if !partial && caught == rows.len() {
        std::fs::write(PathBuf::from(TABLE), table(&rows, hunt.ranges, controls))?;
        println!("wrote {TABLE}");
    }
    Ok(caught == rows.len())
}

fn chosen(arguments: &Arguments) -> Result<Vec<Mutant>, String> {
    for name in &arguments.names {
        if MUTANTS.iter().all(|mutant| mutant.name != name) {
            return Err(format!("there is no mutant {name}"));
        }
    }
    let named = |mutant: &&Mutant| {
        arguments.names.is_empty() || arguments.names.iter().any(|name| name == mutant.name)
    };
    let mut mutants: Vec<Mutant> = MUTANTS.iter().filter(named).copied().collect();
    if let Some(count) = arguments.random {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = clock.map_or(0, |since| since.as_nanos());
        draw(&mut mutants, count, u64::try_from(nanos % (1 << 63)).unwrap_or(0));
    }
    Ok(mutants)
}

fn tell(number: &str, row: &Row) {
    let name = row.mutant.name;
    if !row.is_caught() {
        println!("{number} {name:<30} SURVIVED {:?}", row.catches);
        return;
    }
    let finders = row.finders().join(", ");
    match row.mutant.hunter {
        Hunter::Simulator => {
            let median = row.median().unwrap_or(0);
            println!("{number} {name:<30} {median:>6} seeds  {finders}");
        }
        Hunter::Tests { .. } => println!("{number} {name:<30}      - seeds  {finders}"),
    }
}
