//! What other threads published, as HTTP shows it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::seam::Shared;
use crate::status::{State, Status};

/// Number of databases that a client can select.
const DATABASES: u8 = 16;

/// What the pages and metrics are made of.
pub(crate) trait Facts: Send + Sync + 'static {
    /// The cluster as this node sees it.
    fn status(&self) -> Arc<Status>;
    /// Whether this node has recovered from its disk.
    fn recovered(&self) -> bool;
    /// Whether this node is about to end.
    fn stopping(&self) -> bool;
    /// Numbers that are counted elsewhere.
    fn totals(&self) -> Totals;
}

/// Numbers that are counted elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Commands answered since the start.
    pub(crate) commands: u64,
    /// Connections accepted since the start.
    pub(crate) connections: u64,
    /// Connections open now.
    pub(crate) connections_open: u64,
    /// Keys of all databases.
    pub(crate) keys: u64,
    /// Keys that expire.
    pub(crate) keys_with_expiry: u64,
    /// Bytes of keys and values with what the store needs for them.
    pub(crate) used_bytes: u64,
    /// Log time in microseconds since the Unix epoch; zero while unknown.
    pub(crate) log_time_us: u64,
}

impl Facts for Shared {
    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.lock())
    }

    fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn totals(&self) -> Totals {
        Totals {
            commands: self.commands_total.load(Ordering::Relaxed),
            connections: self.connections_total.load(Ordering::Relaxed),
            connections_open: self.connections.load(Ordering::Relaxed),
            keys: (0..DATABASES).map(|db| self.store.keys(db)).sum(),
            keys_with_expiry: (0..DATABASES).map(|db| self.store.keys_with_expiry(db)).sum(),
            used_bytes: self.store.used_bytes(),
            log_time_us: self.log_clock.now().map_or(0, |time| time.micros()),
        }
    }
}

/// Reads the facts at each scrape.
pub(super) struct FactsCollector(pub(super) Arc<dyn Facts>);

impl fmt::Debug for FactsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactsCollector")
    }
}

impl Collector for FactsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (status, totals) = (self.0.status(), self.0.totals());
        let out = &mut encoder;
        standing(out, &status)?;
        gauge(out, "recovered", "Whether the disk is read", u64::from(self.0.recovered()))?;
        gauge(out, "stopping", "Whether the node is about to end", u64::from(self.0.stopping()))?;
        counter(out, "commands", "Commands of clients answered", totals.commands)?;
        counter(out, "connections", "Client connections accepted", totals.connections)?;
        gauge(out, "connections_open", "Client connections open", totals.connections_open)?;
        gauge(out, "keys", "Keys of all databases", totals.keys)?;
        gauge(out, "keys_with_expiry", "Keys that expire", totals.keys_with_expiry)?;
        gauge(out, "used_bytes", "Bytes that keys and values need", totals.used_bytes)?;
        seconds(out, "log_clock_seconds", "Log time since the Unix epoch", totals.log_time_us)
    }
}

/// What the node says of itself and the cluster.
fn standing(out: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let is_master = u64::from(status.master == Some(status.local));
    gauge(out, "is_master", "Whether this node is the master", is_master)?;
    let has_master = u64::from(status.master.is_some());
    gauge(out, "has_master", "Whether a master with a quorum is known", has_master)?;
    gauge(out, "view", "Number of the membership in force", status.view)?;
    let up = status.nodes.iter().filter(|node| node.state == State::Up).count();
    let members = status.nodes.len();
    gauge(out, "members", "Members of the cluster", u64::try_from(members).unwrap_or(u64::MAX))?;
    let up = u64::try_from(up).unwrap_or(u64::MAX);
    gauge(out, "members_up", "Members that answer and are level", up)?;
    let Some(own) = status.nodes.iter().find(|node| node.id == status.local) else {
        return Ok(());
    };
    gauge(out, "applied_slot", "Slots applied by this node", own.applied)?;
    gauge(out, "lag_slots", "Slots that the master has applied and this node not", own.lag)?;
    if let Some(left) = own.lease_ms_left {
        let help = "What remains of the master lease";
        seconds(out, "lease_left_seconds", help, left.saturating_mul(1000))?;
    }
    Ok(())
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn seconds(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, micros: u64) -> fmt::Result {
    let metric = ConstGauge::new(std::time::Duration::from_micros(micros).as_secs_f64());
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}
