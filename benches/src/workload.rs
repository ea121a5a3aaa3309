//! What a load generator sends, and what it measured: the same for every system, so that a ratio
//! of two systems compares nothing but the systems.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{Result, error::Context as _};

/// Bytes in every key: a prefix of 4 and 12 decimal digits.
pub const KEY_LENGTH: usize = 16;

/// One workload. Every operation outstanding waits for its reply: the loop is closed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Connections, 1 to 10,000.
    pub connections: usize,
    /// Operations that a connection sends before it waits for all their replies, 1 to 10,000.
    pub pipeline: usize,
    /// Number of distinct keys, 1 to 10^12.
    pub keys: u64,
    /// Bytes in every value, all random.
    pub value_length: usize,
    /// Share of reads, 0 to 100 percent; the rest are writes.
    pub reads_percent: u8,
    /// How keys are drawn.
    pub order: KeyOrder,
    /// Seed of keys, values and the mix.
    pub seed: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            connections: 50,
            pipeline: 1,
            keys: 100_000,
            value_length: 64,
            reads_percent: 0,
            order: KeyOrder::Uniform,
            seed: 1,
        }
    }
}

impl Workload {
    /// Writes each of `keys` keys once when run for `keys` operations.
    pub fn preload(keys: u64, value_length: usize) -> Self {
        Self { pipeline: 16, keys, value_length, order: KeyOrder::Sequential, ..Self::default() }
    }
}

/// How keys are drawn from the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Each key equally likely.
    Uniform,
    /// One after the other, from the first, round and round.
    Sequential,
}

/// When a run ends. Operations already sent are always waited for.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Send nothing after this time.
    After(Duration),
    /// Send exactly this many operations.
    Operations(u64),
}

/// A client of some system, connected and ready to put load on it.
pub trait Load {
    /// Runs the workload until `stop`. Fails on the first reply that reports an error.
    fn run(&mut self, stop: Stop) -> Result<Outcome>;
}

/// What one run measured on the side of the client.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Operations answered.
    pub operations: u64,
    /// Reads that found no value.
    pub misses: u64,
    /// From the first operation sent to the last reply.
    pub elapsed: Duration,
    /// Processor time of this process meanwhile.
    pub client_cpu: Duration,
    /// From sending an operation to its reply, in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// Operations per second.
    pub fn throughput(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency in microseconds below which `percent` of the operations stayed.
    pub fn latency_us(&self, percent: f64) -> f64 {
        self.latency.value_at_percentile(percent) as f64 / 1_000.0
    }

    /// Processor microseconds of the client per operation.
    pub fn client_us_per_operation(&self) -> f64 {
        self.client_cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

/// Collects an [`Outcome`] while a run goes on.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    cpu_at_start: Duration,
    misses: u64,
    latency: Histogram<u64>,
}

impl Recorder {
    /// Starts the clocks.
    pub fn start() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .context("cannot make the latency histogram")?;
        Ok(Self { started: Instant::now(), cpu_at_start: process_cpu(), misses: 0, latency })
    }

    /// Moment at which the run began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Notes `count` operations answered after `latency`.
    pub fn record(&mut self, latency: Duration, count: u64) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record_n(nanoseconds.max(1), count);
    }

    /// Notes a read that found no value.
    pub fn record_miss(&mut self) {
        self.misses += 1;
    }

    /// Stops the clocks.
    pub fn finish(self) -> Outcome {
        Outcome {
            operations: self.latency.len(),
            misses: self.misses,
            elapsed: self.started.elapsed(),
            client_cpu: process_cpu().saturating_sub(self.cpu_at_start),
            latency: self.latency,
        }
    }
}

/// Counts down what a run may still send.
#[derive(Debug)]
pub struct Budget {
    deadline: Option<Instant>,
    left: u64,
}

impl Budget {
    /// The budget of a run that began at `started`.
    pub fn new(stop: Stop, started: Instant) -> Self {
        match stop {
            Stop::After(time) => Self { deadline: Some(started + time), left: u64::MAX },
            Stop::Operations(count) => Self { deadline: None, left: count },
        }
    }

    /// Grants up to `wanted` operations at `now`; none once the run is over.
    pub fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return 0;
        }
        let granted = usize::try_from(self.left).unwrap_or(usize::MAX).min(wanted);
        self.left -= granted as u64;
        granted
    }
}

/// One operation to send.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The key.
    pub key: [u8; KEY_LENGTH],
    /// A read if set, a write otherwise.
    pub read: bool,
}

/// Draws operations of a workload, reproducibly.
#[derive(Debug)]
pub struct OperationSource {
    random: SplitMix,
    sequence: u64,
    keys: u64,
    reads_percent: u8,
    order: KeyOrder,
}

impl OperationSource {
    /// The operations of `workload`, from the first.
    pub fn new(workload: &Workload) -> Self {
        Self {
            random: SplitMix { state: workload.seed },
            sequence: 0,
            keys: workload.keys.max(1),
            reads_percent: workload.reads_percent,
            order: workload.order,
        }
    }

    /// The next operation.
    pub fn next_operation(&mut self) -> Operation {
        let number = match self.order {
            KeyOrder::Uniform => self.random.below(self.keys),
            KeyOrder::Sequential => self.sequence % self.keys,
        };
        self.sequence += 1;
        let read = match self.reads_percent {
            0 => false,
            100.. => true,
            percent => self.random.below(100) < u64::from(percent),
        };
        Operation { key: key(number), read }
    }

    /// Appends `length` random bytes.
    pub fn append_value(&mut self, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        while out.len() < end {
            let bytes = self.random.next_u64().to_le_bytes();
            let count = bytes.len().min(end - out.len());
            out.extend_from_slice(&bytes[..count]);
        }
    }
}

/// The key with this number, 0 to 10^12 - 1.
pub fn key(number: u64) -> [u8; KEY_LENGTH] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        // The remainder is below ten, so the sum stays an ASCII digit.
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    key
}

/// Processor time that this process has used so far.
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// Splitmix64: eight bytes of value for a handful of instructions, which is what keeps random
/// values from costing more than sending them.
#[derive(Debug)]
struct SplitMix {
    state: u64,
}

impl SplitMix {
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_have_sixteen_bytes_and_end_in_their_number() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(42), b"key:000000000042");
        assert_eq!(&key(999_999_999_999), b"key:999999999999");
    }

    #[test]
    fn sequential_order_visits_every_key_once_per_round() {
        let mut source = OperationSource::new(&Workload::preload(100, 16));
        let seen: BTreeSet<_> = (0..100).map(|_| source.next_operation().key).collect();
        assert_eq!(seen.len(), 100);
        assert_eq!(source.next_operation().key, key(0));
    }

    #[test]
    fn a_mix_of_thirty_percent_reads_draws_about_thirty_percent() {
        let workload = Workload { reads_percent: 30, ..Workload::default() };
        let mut source = OperationSource::new(&workload);
        let reads = (0..10_000).filter(|_| source.next_operation().read).count();
        assert!((2_700..3_300).contains(&reads), "{reads} reads of 10,000");
    }

    #[test]
    fn values_have_the_length_asked_for_and_differ() {
        let mut source = OperationSource::new(&Workload::default());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        source.append_value(61, &mut first);
        source.append_value(61, &mut second);
        assert_eq!((first.len(), second.len()), (61, 61));
        assert_ne!(first, second);
    }

    #[test]
    fn a_budget_grants_what_is_left_and_then_nothing() {
        let now = Instant::now();
        let mut counted = Budget::new(Stop::Operations(20), now);
        assert_eq!(
            [counted.take(16, now), counted.take(16, now), counted.take(16, now)],
            [16, 4, 0]
        );
        let mut timed = Budget::new(Stop::After(Duration::from_secs(1)), now);
        assert_eq!(timed.take(16, now), 16);
        assert_eq!(timed.take(16, now + Duration::from_secs(1)), 0);
    }
}
