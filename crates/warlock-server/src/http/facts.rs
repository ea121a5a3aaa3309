//! What other threads published, as HTTP shows it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use warlock_node::Shared;
use warlock_node::status::{State, Status};
use warlock_paxos::Instant;

use crate::clock;

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
    /// What the clock says (L1).
    fn now(&self) -> Instant;
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
    /// Times that this node became master.
    pub(crate) masterships: u64,
    /// Elections that this node started.
    pub(crate) elections: u64,
    /// Slots decided, as this node learned of them.
    pub(crate) slots_decided: u64,
    /// Commands applied, from all nodes' clients.
    pub(crate) commands_applied: u64,
    /// Proposals that this node sent to the master or gave to its own leader.
    pub(crate) proposals: u64,
    /// Proposals answered with `-UNKNOWN`.
    pub(crate) proposals_unknown: u64,
    /// Reads that needed an answer of the master, because this node holds no lease.
    pub(crate) reads_confirmed: u64,
    /// Snapshots taken or received.
    pub(crate) snapshots: u64,
    /// Whether this node takes a snapshot.
    pub(crate) snapshot_running: u64,
    /// Bytes of snapshots sent to peers.
    pub(crate) snapshot_sent_bytes: u64,
    /// Bytes of peers' snapshots received.
    pub(crate) snapshot_received_bytes: u64,
    /// Bytes of the log on disk sent to peers.
    pub(crate) log_sent_bytes: u64,
    /// Peers that are being sent a snapshot.
    pub(crate) snapshot_streams: u64,
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

    fn now(&self) -> Instant {
        clock::now()
    }

    fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Totals {
            commands: read(&self.commands_total),
            connections: read(&self.connections_total),
            connections_open: read(&self.connections),
            keys: (0..DATABASES).map(|db| self.store.keys(db)).sum(),
            keys_with_expiry: (0..DATABASES).map(|db| self.store.keys_with_expiry(db)).sum(),
            used_bytes: self.store.used_bytes(),
            log_time_us: self.log_clock.at(clock::now()).map_or(0, |time| time.micros()),
            masterships: read(&counters.masterships),
            elections: read(&counters.elections),
            slots_decided: read(&counters.slots_decided),
            commands_applied: read(&counters.commands_applied),
            proposals: read(&counters.proposals),
            proposals_unknown: read(&counters.proposals_unknown),
            reads_confirmed: read(&counters.reads_confirmed),
            snapshots: read(&counters.snapshots),
            snapshot_running: read(&counters.snapshot_running),
            snapshot_sent_bytes: read(&counters.snapshot_sent_bytes),
            snapshot_received_bytes: read(&counters.snapshot_received_bytes),
            log_sent_bytes: read(&counters.log_sent_bytes),
            snapshot_streams: read(&counters.snapshot_streams),
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
        counted_by_host(out, &totals)?;
        counter(out, "commands", "Commands of clients answered", totals.commands)?;
        counter(out, "connections", "Client connections accepted", totals.connections)?;
        gauge(out, "connections_open", "Client connections open", totals.connections_open)?;
        gauge(out, "keys", "Keys of all databases", totals.keys)?;
        gauge(out, "keys_with_expiry", "Keys that expire", totals.keys_with_expiry)?;
        gauge(out, "used_bytes", "Bytes that keys and values need", totals.used_bytes)?;
        seconds(out, "log_clock_seconds", "Log time since the Unix epoch", totals.log_time_us)
    }
}

/// What the host of the roles counts.
fn counted_by_host(out: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    counter(out, "masterships", "Times that this node became master", totals.masterships)?;
    counter(out, "elections", "Elections that this node started", totals.elections)?;
    counter(out, "slots_decided", "Slots learned as decided", totals.slots_decided)?;
    let help = "Commands applied, of all clients";
    counter(out, "commands_applied", help, totals.commands_applied)?;
    counter(out, "proposals", "Proposals of this node's clients", totals.proposals)?;
    let help = "Proposals answered with -UNKNOWN";
    counter(out, "proposals_unknown", help, totals.proposals_unknown)?;
    let help = "Reads that the master confirmed";
    counter(out, "reads_confirmed", help, totals.reads_confirmed)?;
    counter(out, "snapshots", "Snapshots taken or received", totals.snapshots)?;
    let help = "Whether this node takes a snapshot";
    gauge(out, "snapshot_running", help, totals.snapshot_running)?;
    let help = "Bytes of snapshots sent to peers";
    counter(out, "snapshot_sent_bytes", help, totals.snapshot_sent_bytes)?;
    let help = "Bytes of snapshots received from peers";
    counter(out, "snapshot_received_bytes", help, totals.snapshot_received_bytes)?;
    let help = "Bytes of the log on disk sent to peers that lag";
    counter(out, "log_sent_bytes", help, totals.log_sent_bytes)?;
    gauge(out, "snapshot_streams", "Peers that are being sent a snapshot", totals.snapshot_streams)
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
    if let Some(snapshot) = own.snapshot {
        let help = "Bytes that came of the snapshot being received";
        gauge(out, "snapshot_progress_bytes", help, snapshot.bytes)?;
        let help = "Length of the snapshot being received";
        gauge(out, "snapshot_length_bytes", help, snapshot.total)?;
    }
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
