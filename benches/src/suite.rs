//! All cases in one run: starts what each needs, and goes on when one fails.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::Result;
use crate::cases::contests::Contest;
use crate::cases::failover::Departure;
use crate::cases::{allocations, counters, failover, footprint, membership, snapshots};
use crate::environment::Environment;
use crate::pairs::Plan;
use crate::report::{Bar, Floor, Report, Runs};
use crate::system::etcd::Etcd;
use crate::system::redis::Redis;
use crate::system::warlock::{Warlock, WarlockOptions};
use crate::workload::Workload;

/// A case of the suite, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// SET against Redis, one operation in flight on each of 50 connections.
    Set,
    /// SET against Redis, 16 in flight on each connection.
    SetPipelined,
    /// GET on the master against Redis.
    Get,
    /// GET on the master against Redis, 16 in flight on each connection.
    GetPipelined,
    /// Half GET, half SET against Redis.
    Mixed,
    /// SET of one connection against Redis.
    SetAlone,
    /// SET against an etcd cluster.
    Etcd,
    /// Syncs per write.
    Fsyncs,
    /// System calls per operation.
    SystemCalls,
    /// Heap allocations per operation.
    Allocations,
    /// Time to the first write after the master was killed.
    Failover,
    /// Pause of writes when the master is asked to stop.
    Handover,
    /// What clients notice when nodes come and go.
    Membership,
    /// Memory per key.
    Memory,
    /// Processor time and syncs at rest.
    Idle,
    /// Snapshots taken while clients write.
    Snapshot,
    /// A node that was away gets a snapshot while clients write.
    CatchUp,
    /// A new node gets a snapshot and a vote while clients write.
    Join,
    /// Start of a node against Redis loading its RDB file.
    Restart,
}

impl Case {
    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::SetPipelined => "set-pipelined",
            Self::Get => "get",
            Self::GetPipelined => "get-pipelined",
            Self::Mixed => "mixed",
            Self::SetAlone => "set-alone",
            Self::Etcd => "etcd",
            Self::Fsyncs => "fsyncs",
            Self::SystemCalls => "system-calls",
            Self::Allocations => "allocations",
            Self::Failover => "failover",
            Self::Handover => "handover",
            Self::Membership => "membership",
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::Snapshot => "snapshot",
            Self::CatchUp => "catch-up",
            Self::Join => "join",
            Self::Restart => "restart",
        }
    }
}

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `warlockd` to measure.
    pub warlockd: PathBuf,
    /// Where all systems keep their data.
    pub data_root: PathBuf,
    /// Pairs and lengths of the contests.
    pub plan: Plan,
    /// Failovers, and handovers.
    pub failovers: usize,
    /// Keys of the memory case.
    pub memory_keys: u64,
    /// Operations of one traced run, and of one run for counting syncs.
    pub counted_operations: u64,
    /// Smallest number of operations under valgrind.
    pub allocating_operations: u64,
    /// How long an idle cluster is watched.
    pub idle: Duration,
    /// Keys of the case of snapshots.
    pub snapshot_keys: u64,
    /// Values of 1 KiB that a node catches up.
    pub catch_up_keys: u64,
    /// Keys that a node starts with.
    pub restart_keys: u64,
}

impl Settings {
    /// The settings behind published figures.
    pub fn full(warlockd: PathBuf, data_root: PathBuf) -> Self {
        Self {
            warlockd,
            data_root,
            plan: Plan {
                pairs: 5,
                run: Duration::from_secs(4),
                warm_up: Duration::from_millis(500),
            },
            failovers: 10,
            memory_keys: 1_000_000,
            counted_operations: 50_000,
            allocating_operations: 5_000,
            idle: Duration::from_secs(10),
            snapshot_keys: 5_000_000,
            catch_up_keys: 1 << 20,
            restart_keys: 1_000_000,
        }
    }

    /// Less of everything: shows that it works and roughly where the figures are.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            plan: Plan {
                pairs: 2,
                run: Duration::from_secs(1),
                warm_up: Duration::from_millis(200),
            },
            failovers: 3,
            memory_keys: 200_000,
            counted_operations: 10_000,
            allocating_operations: 1_000,
            idle: Duration::from_secs(5),
            snapshot_keys: 500_000,
            catch_up_keys: 1 << 17,
            restart_keys: 200_000,
            ..self
        }
    }
}

/// A run of the suite.
#[derive(Debug)]
pub struct Suite {
    settings: Settings,
    bars: Vec<Bar>,
    runs: Vec<Runs>,
    /// Shared by the cases that leave a cluster as it was.
    warlock: Option<Warlock>,
    redis: Option<Redis>,
}

impl Suite {
    /// A suite with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, bars: Vec::new(), runs: Vec::new(), warlock: None, redis: None }
    }

    /// Runs `cases` and reports. A case that fails becomes a row that says why.
    pub fn run(mut self, cases: &[Case], progress: &mut dyn Write) -> Result<Report> {
        std::fs::create_dir_all(&self.settings.data_root)?;
        for &case in cases {
            writeln!(progress, "measuring {}", case.name())?;
            let bars_before = self.bars.len();
            if let Err(error) = self.run_case(case) {
                self.bars.push(Bar::failed(case.name(), &error));
                // What failed may have left them in any state.
                (self.warlock, self.redis) = (None, None);
            }
            for bar in &self.bars[bars_before..] {
                writeln!(progress, "  {}", bar.summary())?;
            }
        }
        let environment = Environment::look(&self.settings.data_root);
        Ok(Report { environment, bars: self.bars, runs: self.runs })
    }

    fn run_case(&mut self, case: Case) -> Result<()> {
        let one = Workload::default();
        let deep = Workload { pipeline: 16, ..Workload::default() };
        let reads = |workload: Workload, percent| Workload { reads_percent: percent, ..workload };
        let half = Floor::AtLeast(0.5);
        let most = Floor::AtLeast(0.8);
        let contest = |name, workload, floor| Contest { case: case.name(), name, workload, floor };
        match case {
            Case::Set => self.contest(&contest("SET vs Redis", one, half)),
            Case::SetPipelined => self.contest(&contest("SET, 16 in flight, vs Redis", deep, half)),
            Case::Get => self.contest(&contest("GET vs Redis", reads(one, 100), most)),
            Case::GetPipelined => {
                self.contest(&contest("GET, 16 in flight, vs Redis", reads(deep, 100), most))
            }
            Case::Mixed => {
                let name = "half GET, half SET, vs Redis";
                self.contest(&contest(name, reads(one, 50), Floor::None))
            }
            Case::SetAlone => {
                let alone = Workload { connections: 1, ..one };
                self.contest(&contest("SET of one connection vs Redis", alone, Floor::None))
            }
            Case::Etcd => self.contest_etcd(&contest("SET vs etcd put", one, Floor::AtLeast(8.0))),
            Case::Fsyncs => self.count_syncs(),
            Case::SystemCalls => self.count_system_calls(),
            Case::Allocations => self.count_allocations(),
            Case::Failover => self.take_away_master(Departure::Killed),
            Case::Handover => self.take_away_master(Departure::Asked),
            Case::Membership => self.change_membership(),
            Case::Memory => self.measure_memory(),
            Case::Idle => self.measure_idle(),
            Case::Snapshot => self.take_snapshots(),
            Case::CatchUp => self.catch_up(),
            Case::Join => self.join(),
            Case::Restart => self.restart(),
        }
    }

    fn contest(&mut self, contest: &Contest) -> Result<()> {
        let plan = self.settings.plan;
        let (warlock, redis) = self.shared()?;
        let (bars, runs) = contest.run(warlock, redis, plan)?;
        self.bars.extend(bars);
        self.runs.push(runs);
        Ok(())
    }

    fn contest_etcd(&mut self, contest: &Contest) -> Result<()> {
        let plan = self.settings.plan;
        let etcd = Etcd::start(&self.settings.data_root)?;
        let (warlock, _) = self.shared()?;
        let (bars, runs) = contest.run(warlock, &etcd, plan)?;
        self.bars.extend(bars);
        self.runs.push(runs);
        Ok(())
    }

    fn count_syncs(&mut self) -> Result<()> {
        let rounds = self.settings.plan.pairs;
        let operations = self.settings.counted_operations;
        let (warlock, _) = self.shared()?;
        let bar = counters::syncs(warlock, rounds, operations)?;
        self.bars.push(bar);
        Ok(())
    }

    fn count_system_calls(&mut self) -> Result<()> {
        let operations = self.settings.counted_operations;
        let (warlock, redis) = self.shared()?;
        let bars = counters::system_calls(warlock, redis, operations)?;
        self.bars.extend(bars);
        Ok(())
    }

    fn count_allocations(&mut self) -> Result<()> {
        self.stop_shared();
        let program = self.settings.warlockd.clone();
        let operations = self.settings.allocating_operations;
        let root = &self.settings.data_root;
        self.bars.extend(allocations::measure(root, &program, operations)?);
        Ok(())
    }

    fn take_away_master(&mut self, departure: Departure) -> Result<()> {
        let mut warlock = self.fresh()?;
        let rounds = self.settings.failovers;
        self.bars.extend(failover::measure(&mut warlock, departure, rounds)?);
        Ok(())
    }

    fn change_membership(&mut self) -> Result<()> {
        let mut warlock = self.fresh()?;
        let rounds = self.settings.failovers.div_ceil(2);
        self.bars.extend(membership::measure(&mut warlock, rounds)?);
        Ok(())
    }

    fn measure_memory(&mut self) -> Result<()> {
        let warlock = self.fresh()?;
        let redis = Redis::start(&self.settings.data_root)?;
        self.bars.extend(footprint::memory(&warlock, &redis, self.settings.memory_keys)?);
        Ok(())
    }

    fn measure_idle(&mut self) -> Result<()> {
        let warlock = self.fresh()?;
        self.bars.extend(footprint::idle(&warlock, self.settings.idle)?);
        Ok(())
    }

    fn take_snapshots(&mut self) -> Result<()> {
        let warlock = self.fresh()?;
        let (keys, run) = (self.settings.snapshot_keys, self.settings.plan.run);
        self.bars.extend(snapshots::taken(&warlock, keys, run)?);
        Ok(())
    }

    fn catch_up(&mut self) -> Result<()> {
        let mut warlock = self.fresh()?;
        let (keys, run) = (self.settings.catch_up_keys, self.settings.plan.run);
        self.bars.extend(snapshots::caught_up(&mut warlock, keys, run)?);
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        let mut warlock = self.fresh()?;
        let (keys, run) = (self.settings.catch_up_keys, self.settings.plan.run);
        self.bars.extend(snapshots::joined(&mut warlock, keys, run)?);
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        let mut warlock = self.fresh()?;
        let mut redis = Redis::start(&self.settings.data_root)?;
        let keys = self.settings.restart_keys;
        self.bars.extend(snapshots::restarted(&mut warlock, &mut redis, keys)?);
        Ok(())
    }

    fn shared(&mut self) -> Result<(&mut Warlock, &Redis)> {
        let root = &self.settings.data_root;
        let warlock = match &mut self.warlock {
            Some(warlock) => warlock,
            empty @ None => {
                let options = WarlockOptions::new(self.settings.warlockd.clone());
                empty.insert(Warlock::start(root, &options)?)
            }
        };
        let redis = match &mut self.redis {
            Some(redis) => redis,
            empty @ None => empty.insert(Redis::start(root)?),
        };
        Ok((warlock, redis))
    }

    fn stop_shared(&mut self) {
        (self.warlock, self.redis) = (None, None);
    }

    /// A new cluster, with the machine to itself.
    fn fresh(&mut self) -> Result<Warlock> {
        self.stop_shared();
        let options = WarlockOptions::new(self.settings.warlockd.clone());
        Warlock::start(&self.settings.data_root, &options)
    }
}
