//! Measures Warlock side by side with other systems and prints every bar.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use warlock_benches::report::Report;
use warlock_benches::suite::{Case, Settings, Suite};
use warlock_benches::{Context as _, Result};

/// Measures Warlock side by side with Redis and etcd and prints a table of all bars.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Cases to run; all when none is named.
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// Measure less of everything: a few minutes instead of half an hour.
    #[arg(long)]
    quick: bool,
    /// Pairs of runs in every comparison.
    #[arg(long)]
    pairs: Option<usize>,
    /// Write the report as JSON to this file too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 when a bar is not met or could not be measured.
    #[arg(long)]
    check: bool,
    /// Measure nothing: print the short table of a report saved with --json.
    #[arg(long, value_name = "FILE", conflicts_with = "cases")]
    render: Option<PathBuf>,
    /// The server to measure [default: the one built next to this program].
    #[arg(long)]
    warlockd: Option<PathBuf>,
    /// Directory for all data, on the disk to measure [default: next to this program].
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do when not even this can be written.
            let _ = writeln!(io::stderr(), "warlock-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(path) = arguments.render {
        let json = fs::read_to_string(&path).context(path.display())?;
        let report: Report = serde_json::from_str(&json).context(path.display())?;
        io::stdout().write_all(report.to_short_markdown().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().context("own path")?;
    let warlockd = arguments.warlockd.unwrap_or_else(|| program.with_file_name("warlockd"));
    let data_root = arguments.data_dir.unwrap_or_else(|| program.with_file_name("bench-data"));
    let mut settings = Settings::full(warlockd, data_root);
    if arguments.quick {
        settings = settings.quick();
    }
    if let Some(pairs) = arguments.pairs {
        settings.plan.pairs = pairs.max(1);
    }
    let cases = match arguments.cases.as_slice() {
        [] => Case::value_variants(),
        cases => cases,
    };
    let report = Suite::new(settings).run(cases, &mut io::stderr())?;
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report).context("report")?;
        fs::write(&path, json + "\n").context(path.display())?;
    }
    io::stdout().write_all(report.to_markdown()?.as_bytes())?;
    let failed = arguments.check && !report.is_met();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
