//! What snapshots cost: taken while clients write, sent to a node that was away, and loaded by a
//! node that starts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Signal;

use crate::client::Client;
use crate::process::{is_listening, resident_bytes, wait_for};
use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System;
use crate::system::redis::Redis;
use crate::system::warlock::{Node, Warlock};
use crate::workload::{Load, Stop, Workload};
use crate::{Error, Result};

/// A snapshot on all nodes at once, of `keys` keys, while 50 connections write to all of them.
pub fn taken(warlock: &Warlock, keys: u64, run: Duration) -> Result<Vec<Bar>> {
    warlock.preload(keys, Workload::default().value_length)?;
    settle(warlock.nodes().iter())?;
    let workload = Workload { keys, ..Workload::default() };
    let mut load = warlock.connect(&workload)?;
    load.run(Stop::After(Duration::from_secs(1)))?;
    let before = load.run(Stop::After(run))?;
    settle(warlock.nodes().iter())?;
    let memory = Memory::watch(&warlock.pids())?;
    let began = Instant::now();
    ask_for_snapshots(warlock.nodes().iter().map(|node| node.client))?;
    let mut during = Latencies::new()?;
    while during.operations() == 0 || is_busy(warlock.nodes().iter())? {
        during.add(&load.run(Stop::After(SLICE))?.latency)?;
    }
    let took = began.elapsed();
    let growth = memory.finish()?;
    let systems = warlock.description();
    let p99 = [before.latency_us(99.0), during.us(99.0)];
    let longest = [before.latency_us(100.0) / 1000.0, during.us(100.0) / 1000.0];
    let worst = growth.iter().copied().fold(f64::MIN, f64::max);
    let of_all: Vec<String> = growth.iter().map(|percent| format!("{percent:.1}")).collect();
    let bar = |figure: String, unit, floor, value| {
        Bar::measured("snapshot", figure, unit, floor, Spread::single(value)).on(systems)
    };
    Ok(vec![
        bar(
            format!("snapshot of {keys} keys under full writes, growth of resident memory"),
            Unit::Percent,
            Floor::AtMost(15.0),
            worst,
        )
        .remark(format!("worst node of {}; all take one at once", of_all.join(", "))),
        bar("p99 of writes meanwhile".to_owned(), Unit::Times, Floor::AtMost(2.0), p99[1] / p99[0])
            .remark(format!("{:.0} us before, {:.0} us during", p99[0], p99[1])),
        bar(
            "longest write meanwhile".to_owned(),
            Unit::Milliseconds,
            Floor::AtMost(20.0),
            longest[1],
        )
        .remark(format!("{:.1} ms in {} s before", longest[0], run.as_secs())),
        bar(
            "time until all nodes have it".to_owned(),
            Unit::Milliseconds,
            Floor::None,
            took.as_secs_f64() * 1000.0,
        )
        .remark(format!("{} writes meanwhile", during.operations())),
    ])
}

/// A new node gets `keys` values of 1 KiB and a vote, while clients go on writing.
pub fn joined(warlock: &mut Warlock, keys: u64, run: Duration) -> Result<Vec<Bar>> {
    warlock.preload(keys, KIB)?;
    forget_the_log(warlock.nodes().iter())?;
    let mut load = Paced::new(warlock.connect(&of_kib(keys))?, RATE);
    load.run(Duration::from_millis(500), || false)?;
    let before = load.run(run, || false)?;
    let began = Instant::now();
    let newcomer = warlock.begin_join()?;
    let during = load.run(PATIENCE, warlock.votes(newcomer))?;
    let took = began.elapsed();
    catch_up_bars("a new node, start to vote", warlock, newcomer, keys, took, [&before, &during])
}

/// A follower that missed everything gets `keys` values of 1 KiB, while clients go on writing.
pub fn caught_up(warlock: &mut Warlock, keys: u64, run: Duration) -> Result<Vec<Bar>> {
    let master = warlock.master()?;
    let away = (0..warlock.nodes().len()).find(|index| *index != master);
    let away = away.ok_or_else(|| Error::new("a cluster of one node"))?;
    let mut load = Paced::new(warlock.connect(&of_kib(keys))?, RATE);
    load.run(Duration::from_millis(500), || false)?;
    let all = load.run(run, || false)?;
    warlock.signal(away, Signal::KILL)?;
    wait_for("the follower to end", PATIENCE, || warlock.has_ended(away))?;
    warlock.preload(keys, KIB)?;
    let others = warlock.nodes().iter().enumerate().filter(|(index, _)| *index != away);
    forget_the_log(others.map(|(_, node)| node))?;
    load.run(Duration::from_millis(500), || false)?;
    let before = load.run(run, || false)?;
    let began = Instant::now();
    warlock.start_again(away)?;
    let during = load.run(PATIENCE, warlock.level(away))?;
    let took = began.elapsed();
    warlock.wait_healthy(PATIENCE)?;
    let mut bars =
        catch_up_bars("a node that was away", warlock, away, keys, took, [&before, &during])?;
    if let Some(bar) = bars.last_mut() {
        bar.remark += &format!("; {:.0} us with all nodes, of few keys", all.us(99.0));
    }
    Ok(bars)
}

/// Has `nodes` take two snapshots, so that the log of none of them reaches back.
fn forget_the_log<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> Result<()> {
    for _ in 0..2 {
        ask_for_snapshots(nodes.clone().map(|node| node.client))?;
        settle(nodes.clone())?;
    }
    Ok(())
}

fn of_kib(keys: u64) -> Workload {
    Workload { keys, value_length: KIB, ..Workload::default() }
}

fn catch_up_bars(
    who: &str,
    warlock: &Warlock,
    index: usize,
    keys: u64,
    took: Duration,
    [before, during]: [&Latencies; 2],
) -> Result<Vec<Bar>> {
    let received = warlock.nodes()[index].metric("warlock_snapshot_received_bytes_total")?;
    let rate = keys as f64 * (KIB as f64) / took.as_secs_f64() / 1e6;
    let p99 = [before.us(99.0), during.us(99.0)];
    let systems = warlock.description();
    let bar = |figure: String, unit, floor, value| {
        Bar::measured("catch-up", figure, unit, floor, Spread::single(value)).on(systems)
    };
    Ok(vec![
        bar(
            format!("catch-up of {who} under 20 k ops/s"),
            Unit::MegabytesPerSecond,
            Floor::AtLeast(100.0),
            rate,
        )
        .remark(format!(
            "{keys} values of 1 KiB in {:.1} s, {:.0} MB of it as a snapshot",
            took.as_secs_f64(),
            received / 1e6
        )),
        bar(format!("p99 of writes, {who}"), Unit::Times, Floor::AtMost(2.0), p99[1] / p99[0])
            .remark(format!(
                "{:.0} us before, {:.0} us during; {:.0} and {:.0} ops/s",
                p99[0],
                p99[1],
                before.rate(),
                during.rate()
            )),
    ])
}

/// A killed node with `keys` keys starts until it serves, and Redis with the same keys in its RDB
/// file until it does.
pub fn restarted(warlock: &mut Warlock, redis: &mut Redis, keys: u64) -> Result<Vec<Bar>> {
    warlock.preload(keys, Workload::default().value_length)?;
    settle(warlock.nodes().iter())?;
    ask_for_snapshots(warlock.nodes().iter().map(|node| node.client))?;
    settle(warlock.nodes().iter())?;
    redis.preload(keys, Workload::default().value_length)?;
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        let master = warlock.master()?;
        let node = (master + 1) % warlock.nodes().len();
        warlock.signal(node, Signal::KILL)?;
        wait_for("the node to end", PATIENCE, || warlock.has_ended(node))?;
        let began = Instant::now();
        warlock.start_again(node)?;
        let address = warlock.nodes()[node].client;
        wait_for("the node to serve", PATIENCE, || Ok(ask(address, &[b"WARLOCK", b"READY"])))?;
        own.push(began.elapsed().as_secs_f64() * 1000.0);
        warlock.wait_healthy(PATIENCE)?;
        others.push(redis.reload()?.as_secs_f64() * 1000.0);
    }
    let (own, others) = (Spread::of(own)?, Spread::of(others)?);
    let ratio = Spread::single(own.median / others.median);
    let systems = format!("{}; {}", warlock.description(), redis.description());
    let figure = format!("restart with {keys} keys to serving vs Redis loading its RDB");
    Ok(vec![
        Bar::measured("restart", figure, Unit::Times, Floor::AtMost(1.5), ratio)
            .on(systems)
            .remark(format!("{RESTARTS} times; {:.0} and {:.0} ms", own.median, others.median)),
        Bar::measured(
            "restart",
            "start of a node to serving",
            Unit::Milliseconds,
            Floor::None,
            own,
        )
        .on(warlock.description()),
    ])
}

/// Load at a fixed rate: in each tick its share of operations, all sent at once.
struct Paced {
    load: Box<dyn Load>,
    rate: u64,
}

impl Paced {
    fn new(load: Box<dyn Load>, rate: u64) -> Self {
        Self { load, rate }
    }

    /// Runs for `span` at most, until `done`, which is asked by another thread: the load waits for
    /// nothing but its answers.
    fn run(&mut self, span: Duration, done: impl Fn() -> bool + Sync) -> Result<Latencies> {
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    thread::sleep(SLICE / 4);
                    ends.fetch_or(done(), Ordering::Relaxed);
                }
            });
            let latencies = self.run_until(span, &ends);
            ends.store(true, Ordering::Relaxed);
            watch.join().map_err(|_| Error::new("the watcher panicked"))?;
            latencies
        })
    }

    fn run_until(&mut self, span: Duration, ends: &AtomicBool) -> Result<Latencies> {
        let mut latencies = Latencies::new()?;
        let began = Instant::now();
        while began.elapsed() < span && !ends.load(Ordering::Relaxed) {
            let elapsed = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let due = elapsed.saturating_mul(self.rate) / 1_000_000;
            let due = due.saturating_sub(latencies.operations());
            if due < 50 {
                thread::sleep(Duration::from_micros(500));
                continue;
            }
            latencies.add(&self.load.run(Stop::Operations(due.min(1000)))?.latency)?;
        }
        latencies.elapsed = began.elapsed();
        Ok(latencies)
    }
}

/// Latencies of several runs.
struct Latencies {
    all: Histogram<u64>,
    elapsed: Duration,
}

impl Latencies {
    fn new() -> Result<Self> {
        let all = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| Error::new(error.to_string()))?;
        Ok(Self { all, elapsed: Duration::ZERO })
    }

    fn add(&mut self, more: &Histogram<u64>) -> Result<()> {
        self.all.add(more).map_err(|error| Error::new(error.to_string()))
    }

    fn operations(&self) -> u64 {
        self.all.len()
    }

    fn us(&self, percent: f64) -> f64 {
        self.all.value_at_percentile(percent) as f64 / 1000.0
    }

    fn rate(&self) -> f64 {
        self.operations() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Watches how far the resident memory of processes grows.
struct Memory {
    before: Vec<u64>,
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<Result<Vec<u64>>>,
}

impl Memory {
    fn watch(pids: &[u32]) -> Result<Self> {
        let before: Vec<u64> =
            pids.iter().map(|&pid| resident_bytes(pid)).collect::<Result<_>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (pids, stopped, mut most) = (pids.to_vec(), Arc::clone(&stop), before.clone());
        let watcher = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (most, &pid) in most.iter_mut().zip(&pids) {
                    *most = (*most).max(resident_bytes(pid)?);
                }
                thread::sleep(Duration::from_millis(20));
            }
            Ok(most)
        });
        Ok(Self { before, stop, watcher })
    }

    /// Percent of growth, by process.
    fn finish(self) -> Result<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        let most = self.watcher.join().map_err(|_| Error::new("the watcher panicked"))??;
        let growth = most.iter().zip(&self.before);
        Ok(growth.map(|(&most, &before)| (most as f64 / before as f64 - 1.0) * 100.0).collect())
    }
}

fn ask_for_snapshots(nodes: impl Iterator<Item = SocketAddr>) -> Result<()> {
    for node in nodes {
        Client::connect(node, PATIENCE)?.request(&[b"WARLOCK", b"SNAPSHOT"])?;
    }
    // The node begins at its next tick.
    thread::sleep(Duration::from_millis(250));
    Ok(())
}

fn is_busy<'a>(nodes: impl Iterator<Item = &'a Node>) -> Result<bool> {
    for node in nodes {
        if node.metric(RUNNING)? > 0.0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until none of `nodes` takes a snapshot.
fn settle<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> Result<()> {
    wait_for("snapshots to end", PATIENCE, || Ok((!is_busy(nodes.clone())?).then_some(())))
}

/// The answer of a node that answers.
fn ask(address: SocketAddr, words: &[&[u8]]) -> Option<String> {
    if !is_listening(address).ok()? {
        return None;
    }
    let mut client = Client::connect(address, Duration::from_secs(5)).ok()?;
    client.request(words).ok().flatten()
}

const RUNNING: &str = "warlock_snapshot_running";

/// Operations per second while a node catches up.
const RATE: u64 = 20_000;

const KIB: usize = 1024;

const RESTARTS: usize = 3;

/// How long load runs between two looks at the nodes.
const SLICE: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_secs(120);
