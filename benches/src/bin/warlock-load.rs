//! Puts load on one server and prints what it measured.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use warlock_benches::Result;
use warlock_benches::etcd_load::EtcdLoad;
use warlock_benches::process::cpu_time;
use warlock_benches::resp::RespLoad;
use warlock_benches::workload::{KeyOrder, Load, Stop, Workload};

/// Puts a closed loop of reads and writes on a server and prints throughput, latency and
/// processor time.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the server.
    address: SocketAddr,
    /// What the server speaks.
    #[arg(long, value_enum, default_value = "resp")]
    protocol: Protocol,
    /// Connections.
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Operations in flight on each connection.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pipeline: u16,
    /// Distinct keys.
    #[arg(short, long, default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    keys: u64,
    /// Bytes in a value.
    #[arg(short, long, default_value_t = 64)]
    value_length: usize,
    /// Percent of reads; the rest are writes.
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    reads: u8,
    /// Take keys one after the other instead of at random.
    #[arg(long)]
    sequential: bool,
    /// Seconds to run.
    #[arg(short, long, default_value_t = 5.0)]
    seconds: f64,
    /// Operations to run, instead of a time.
    #[arg(short = 'n', long)]
    operations: Option<u64>,
    /// Seed of keys, values and the mix.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Server processes whose processor time to show.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    /// The Redis protocol.
    Resp,
    /// The gRPC interface of etcd.
    Etcd,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when not even this can be written.
            let _ = writeln!(io::stderr(), "warlock-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let workload = Workload {
        connections: usize::from(arguments.connections),
        pipeline: usize::from(arguments.pipeline),
        keys: arguments.keys,
        value_length: arguments.value_length,
        reads_percent: arguments.reads,
        order: if arguments.sequential { KeyOrder::Sequential } else { KeyOrder::Uniform },
        seed: arguments.seed,
    };
    let mut load: Box<dyn Load> = match arguments.protocol {
        Protocol::Resp => Box::new(RespLoad::connect(arguments.address, &workload)?),
        Protocol::Etcd => Box::new(EtcdLoad::connect(arguments.address, &workload)?),
    };
    let stop = match arguments.operations {
        Some(operations) => Stop::Operations(operations),
        None => Stop::After(Duration::from_secs_f64(arguments.seconds.clamp(0.0, 1e9))),
    };
    let before = cpu_time(&arguments.pids)?;
    let outcome = load.run(stop)?;
    let server = cpu_time(&arguments.pids)?.saturating_sub(before);

    let mut text = format!(
        "{} operations in {:.3} s: {:.0}/s\n",
        outcome.operations,
        outcome.elapsed.as_secs_f64(),
        outcome.throughput()
    );
    for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)] {
        text += &format!("{name:<6} {:>10.1} us\n", outcome.latency_us(percent));
    }
    text += &format!("client {:>10.2} us of CPU/op\n", outcome.client_us_per_operation());
    if !arguments.pids.is_empty() {
        let each = server.as_secs_f64() * 1e6 / outcome.operations.max(1) as f64;
        text += &format!("server {each:>10.2} us of CPU/op\n");
    }
    text += &format!("misses {:>10}\n", outcome.misses);
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
