//! `warlock-sim`: runs seeds of the simulator on all cores, and one of them again.

mod batch;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use warlock_sim::{Options, model, report, run_seed};

/// Deterministic simulator of whole Warlock clusters.
#[derive(Debug, Parser)]
#[command(name = "warlock-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds; stops at the first that fails.
    Run(RunArgs),
    /// Runs one seed and shows the column log.
    Replay(ReplayArgs),
    /// Explores small worlds exhaustively.
    Model(ModelArgs),
}

/// What `run` takes.
#[derive(Debug, Args)]
struct RunArgs {
    /// How many seeds; without, until the time is up.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stop after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Nodes of each cluster, from 1 to 7; drawn from the seed if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: Option<u16>,
    /// Whether nodes come and go; drawn from the seed if not given.
    #[arg(long)]
    changes: Option<bool>,
    /// Threads, each with seeds of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Run each seed twice, and require the same trace.
    #[arg(long)]
    twice: bool,
    /// Go on after a seed failed, and report all of them.
    #[arg(long)]
    keep_going: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// What `replay` takes.
#[derive(Debug, Args)]
struct ReplayArgs {
    /// The seed.
    seed: u64,
    /// How many of the last lines to show.
    #[arg(long, default_value_t = report::LINES)]
    lines: usize,
    /// Nodes of the cluster, if they were given to `run`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: Option<u16>,
    /// Whether nodes come and go, if that was given to `run`.
    #[arg(long)]
    changes: Option<bool>,
}

/// What `model` takes.
#[derive(Debug, Args)]
struct ModelArgs {
    /// After the worlds that are small enough, explore one with everything in it up to so many
    /// states.
    #[arg(long, default_value_t = 0)]
    states: u64,
    /// Only the world of this name.
    #[arg(long)]
    world: Option<String>,
}

fn main() -> ExitCode {
    batch::keep_panics_quiet();
    match Cli::parse().command {
        Command::Run(args) => batch::run(&args),
        Command::Replay(args) => replay(&args),
        Command::Model(args) => explore(&args),
    }
}

#[expect(clippy::print_stdout, reason = "the report is what was asked for")]
fn replay(args: &ReplayArgs) -> ExitCode {
    let options = Options { nodes: args.nodes, changes: args.changes, trace_lines: args.lines };
    let outcome = run_seed(args.seed, &options);
    print!("{}", report::report(&outcome, &options));
    if outcome.passed() {
        print!("{}", outcome.counters);
    }
    ExitCode::from(outcome.verdict.exit_code())
}

/// Exit codes as everywhere here: 3 is a broken property.
fn explore(args: &ModelArgs) -> ExitCode {
    let out = &mut std::io::stdout().lock();
    match model::explore_all(args.states, args.world.as_deref(), out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(_) => ExitCode::from(2),
    }
}
