//! How rough a run is: options drawn from its seed (swarm testing). Most faults are off in most
//! runs, so that each can do its worst without others in its way.

use std::fmt;

use super::operator::Changes;
use crate::random::Random;
use crate::run::Options;

/// Nanoseconds.
pub(super) const MICROSECOND: u64 = 1_000;
/// Nanoseconds.
pub(super) const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Kinds of faults that happen one by one, each with its weight in this run; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weights {
    pub(super) kill: u64,
    pub(super) power_loss: u64,
    pub(super) power_loss_of_all: u64,
    pub(super) pause: u64,
    pub(super) freeze: u64,
    pub(super) suspend: u64,
    pub(super) leave: u64,
    pub(super) wipe: u64,
    pub(super) old_image: u64,
    pub(super) partition: u64,
    pub(super) clog: u64,
    pub(super) swizzle: u64,
    pub(super) one_way: u64,
    pub(super) reset: u64,
    pub(super) disk_error: u64,
    pub(super) disk_full: u64,
    pub(super) disk_stall: u64,
    pub(super) disk_lie: u64,
    pub(super) misdirect: u64,
    pub(super) rot: u64,
    pub(super) wall_step: u64,
    pub(super) clock_rate: u64,
    pub(super) client_reset: u64,
}

/// What clients do, each with its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) registers: u64,
    pub(super) counters: u64,
    pub(super) locks: u64,
    pub(super) texts: u64,
    pub(super) pairs: u64,
    pub(super) expiring: u64,
    pub(super) waits: u64,
}

/// The options of one run. Spans are in nanoseconds, chances in parts of a million.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) nodes: usize,
    pub(super) clients: usize,
    pub(super) storm: u64,
    pub(super) latency: u64,
    pub(super) jitter: u64,
    pub(super) sync: u64,
    pub(super) step: u64,
    pub(super) loss: u64,
    pub(super) duplication: u64,
    pub(super) reordering: u64,
    pub(super) corruption: u64,
    pub(super) spikes: u64,
    pub(super) fault_every: u64,
    pub(super) think: u64,
    pub(super) pipeline: u64,
    pub(super) keys: u64,
    pub(super) value_bytes: u64,
    pub(super) request_timeout: u64,
    pub(super) segment_bytes: u64,
    pub(super) snapshot_after: u64,
    /// Bytes of the log that a node keeps in memory for others.
    pub(super) log_kept: usize,
    pub(super) unreliable: usize,
    pub(super) crash_in_recovery: u64,
    /// In parts of a thousand: how often another client looks while one writes, and after it.
    pub(super) gossip: u64,
    pub(super) weights: Weights,
    pub(super) mix: Mix,
    /// What becomes of the membership.
    pub(super) changes: Changes,
}

impl Weather {
    /// Draws the options of a run.
    pub(super) fn drawn(seed: u64, random: &mut Random, options: &Options) -> Self {
        let mut weather = Self::drawn_without_changes(random, options);
        weather.changes = Changes::drawn(seed, options);
        if weather.changes.every > 0 {
            // Whoever is a minority of one membership may be all of another: no disk breaks its
            // promises where nodes come and go, but for directories that are lost whole.
            weather.unreliable = 0;
            weather.weights = weather.weights.without_broken_promises();
        }
        weather
    }

    fn drawn_without_changes(random: &mut Random, options: &Options) -> Self {
        let drawn = random.pick(&[3, 3, 3, 3, 3, 3, 5, 5, 5, 7, 4, 2, 1]);
        let nodes = options.nodes.map_or(drawn, usize::from);
        let minority = (nodes - 1) / 2;
        let unreliable = match random.chance(400) && minority > 0 {
            true => 1 + random.index(minority),
            false => 0,
        };
        let rough = random.chance(600);
        let rate = |random: &mut Random, choices: &[u64]| {
            if rough { random.pick(choices) } else { 0 }
        };
        let (clients, pipeline) = (random.index(5) + 2, random.pick(&[1, 1, 2, 4, 10]));
        // So many operations per second, all clients together: enough to see what happens, few
        // enough that their order can be found again.
        let rate_of_all = random.pick(&[8, 20, 40, 80]);
        Self {
            nodes,
            clients,
            storm: random.between(3, 16) * SECOND,
            latency: random.pick(&[50, 200, 500, 2_000, 10_000, 30_000]) * MICROSECOND,
            jitter: random.pick(&[10, 100, 1_000, 10_000]) * MICROSECOND,
            sync: random.pick(&[50, 500, 500, 2_000, 10_000, 40_000]) * MICROSECOND,
            step: random.pick(&[0, 0, 20, 200]) * MICROSECOND,
            loss: rate(random, &[0, 0, 1_000, 20_000, 200_000, 400_000]),
            duplication: rate(random, &[0, 0, 10_000, 300_000, 500_000]),
            reordering: rate(random, &[0, 0, 5_000, 200_000]),
            corruption: rate(random, &[0, 0, 300, 3_000]),
            spikes: rate(random, &[0, 0, 2_000, 20_000]),
            fault_every: random.pick(&[60, 150, 400, 400, 1_000]) * MILLISECOND,
            think: clients as u64 * (pipeline + 1) / 2 * SECOND / rate_of_all,
            pipeline,
            keys: random.between(1, 6),
            value_bytes: random.pick(&[0, 0, 20, 300, 2_000]),
            request_timeout: random.pick(&[300, 1_000, 3_000]) * MILLISECOND,
            segment_bytes: random.pick(&[12, 16, 32, 64]) * 1024,
            snapshot_after: random.pick(&[8, 40, 200, 1_000]) * 1024,
            log_kept: random.pick(&[0, 1, 64]) * 1024,
            unreliable,
            crash_in_recovery: random.pick(&[0, 0, 100_000, 400_000]),
            weights: Weights::drawn(random, unreliable > 0),
            mix: Mix::drawn(random),
            gossip: random.pick(&[0, 0, 0, 300, 1000]),
            changes: Changes::default(),
        }
    }
}

impl Weights {
    /// `unreliable`: some disk may break its promises.
    fn drawn(random: &mut Random, unreliable: bool) -> Self {
        // Each kind is there in about half of the runs, and none at all in a few.
        let all = if random.chance(40) { 0 } else { 500 };
        // Nothing is promised of times to live where clocks freeze: not in every second run.
        let freezes = random.chance(500);
        let mut weight = |often: u64| match random.chance(all) {
            true => random.between(1, often),
            false => 0,
        };
        let mut drawn = Self {
            kill: weight(12),
            power_loss: weight(8),
            power_loss_of_all: weight(3),
            pause: weight(12),
            freeze: if freezes { weight(6) } else { 0 },
            suspend: weight(4),
            leave: weight(8),
            partition: weight(14),
            clog: weight(8),
            swizzle: weight(4),
            one_way: weight(8),
            reset: weight(8),
            disk_error: weight(4),
            disk_full: weight(3),
            disk_stall: weight(5),
            wall_step: weight(6),
            clock_rate: weight(6),
            client_reset: weight(8),
            ..Self::default()
        };
        if unreliable {
            drawn.wipe = weight(3);
            drawn.old_image = weight(3);
            drawn.disk_lie = weight(5);
            drawn.misdirect = weight(5);
            drawn.rot = weight(8);
        }
        drawn
    }
}

impl Weights {
    const fn without_broken_promises(self) -> Self {
        Self { wipe: 0, old_image: 0, disk_lie: 0, misdirect: 0, rot: 0, ..self }
    }
}

impl Mix {
    fn drawn(random: &mut Random) -> Self {
        let mut weight = || random.pick(&[0, 1, 3, 10]);
        Self {
            registers: 2 + weight(),
            counters: weight(),
            locks: weight(),
            texts: weight(),
            pairs: weight(),
            expiring: weight(),
            waits: random.pick(&[0, 0, 1]),
        }
    }
}

/// The options as a failure reports them: one fact a line.
impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        let inner = text.trim_start_matches("Weather { ").trim_end_matches(" }");
        for part in inner.split(", ") {
            writeln!(f, "  {part}")?;
        }
        Ok(())
    }
}
