//! Counters of this node, as `/metrics` shows them.
//!
//! A counter costs its writer one relaxed atomic addition, a histogram one uncontended lock; facts
//! that live elsewhere (status, store, what the host counted) are read when somebody asks. No label
//! ever holds a key name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use warlock_paxos::NodeId;

/// The counters as several threads hold them.
pub(crate) type SharedMetrics = Arc<Metrics>;

/// A gauge of seconds or another fraction.
type FloatGauge = Gauge<f64, AtomicU64>;

/// Labels of a metric that exists once for each peer.
type PeerLabels = Vec<(&'static str, String)>;

/// What every name starts with.
pub(crate) const PREFIX: &str = "warlock";

/// All counters of one node.
pub(crate) struct Metrics {
    registry: Registry,
    /// Syncs of the WAL.
    pub(crate) wal_syncs: Counter,
    /// Duration of the WAL's syncs in seconds.
    pub(crate) wal_fsync: Histogram,
    /// Bytes appended to the WAL.
    pub(crate) wal_written_bytes: Counter,
    /// Bytes that the WAL's files hold now.
    pub(crate) wal_bytes: Gauge,
    peers: PeerFamilies,
}

/// Counters of the connections with one peer.
#[derive(Clone)]
pub(crate) struct PeerMetrics {
    /// One while messages can be sent to the peer, else zero.
    pub(crate) up: Gauge,
    /// Latest heartbeat round trip.
    pub(crate) rtt_seconds: FloatGauge,
    /// Connections made to the peer.
    pub(crate) connections: Counter,
    /// Messages given to the operating system.
    pub(crate) sent_messages: Counter,
    /// Bytes given to the operating system, frames included.
    pub(crate) sent_bytes: Counter,
    /// Messages received.
    pub(crate) received_messages: Counter,
    /// Bytes received, frames included.
    pub(crate) received_bytes: Counter,
    /// Messages dropped because the queue was full or no connection stood.
    pub(crate) dropped_messages: Counter,
}

impl Metrics {
    /// Counters for a node with these `peers`, all zero.
    pub(crate) fn new(peers: impl IntoIterator<Item = NodeId>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of this warlockd", Info::new(build));
        let families = PeerFamilies::register(&mut registry);
        // A peer that was never met shows with zeros.
        peers.into_iter().for_each(|peer| drop(families.of(peer)));
        let mut counter = |name: &str, help: &str| {
            let counter: Counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let wal_written_bytes = counter("wal_written_bytes", "Bytes appended to the WAL");
        let wal_syncs = counter("wal_syncs", "Syncs of the WAL");
        let wal_bytes = Gauge::default();
        registry.register("wal_bytes", "Bytes that the WAL's files hold", wal_bytes.clone());
        // From 16 us, a fast disk, to 8 s, one that stalls.
        let wal_fsync = Histogram::new(exponential_buckets(16e-6, 2.0, 20));
        let help = "Duration of the WAL's syncs";
        registry.register_with_unit("wal_fsync", help, Unit::Seconds, wal_fsync.clone());
        Self { registry, wal_syncs, wal_fsync, wal_written_bytes, wal_bytes, peers: families }
    }

    /// Counters of the connections with `peer`.
    pub(crate) fn peer(&self, peer: NodeId) -> PeerMetrics {
        self.peers.of(peer)
    }

    /// Notes how long one sync of the WAL took.
    pub(crate) fn synced(&self, duration: Duration) {
        self.wal_syncs.inc();
        self.wal_fsync.observe(duration.as_secs_f64());
    }

    /// Everything, and what `more` collects at this moment, in the OpenMetrics text format.
    ///
    /// # Errors
    /// If a collector fails.
    pub(crate) fn encode(&self, more: &Registry) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(16 * 1024);
        text::encode_registry(&mut out, more)?;
        text::encode_registry(&mut out, &self.registry)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// The metrics that exist once for each peer.
struct PeerFamilies {
    up: Family<PeerLabels, Gauge>,
    rtt: Family<PeerLabels, FloatGauge>,
    connections: Family<PeerLabels, Counter>,
    sent_messages: Family<PeerLabels, Counter>,
    sent_bytes: Family<PeerLabels, Counter>,
    received_messages: Family<PeerLabels, Counter>,
    received_bytes: Family<PeerLabels, Counter>,
    dropped_messages: Family<PeerLabels, Counter>,
}

impl PeerFamilies {
    fn register(registry: &mut Registry) -> Self {
        let up: Family<PeerLabels, Gauge> = Family::default();
        registry.register("peer_up", "Whether messages can be sent to the peer", up.clone());
        let rtt: Family<PeerLabels, FloatGauge> = Family::default();
        let help = "Latest heartbeat round trip";
        registry.register_with_unit("peer_rtt", help, Unit::Seconds, rtt.clone());
        let mut family = |name: &str, help: &str| {
            let family: Family<PeerLabels, Counter> = Family::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            up,
            rtt,
            connections: family("peer_connections", "Connections made to the peer"),
            sent_messages: family("peer_sent_messages", "Messages sent to the peer"),
            sent_bytes: family("peer_sent_bytes", "Bytes sent to the peer"),
            received_messages: family("peer_received_messages", "Messages received from the peer"),
            received_bytes: family("peer_received_bytes", "Bytes received from the peer"),
            dropped_messages: family("peer_dropped_messages", "Messages that were not sent"),
        }
    }

    fn of(&self, peer: NodeId) -> PeerMetrics {
        let labels = vec![("peer", peer.number().to_string())];
        PeerMetrics {
            up: self.up.get_or_create_owned(&labels),
            rtt_seconds: self.rtt.get_or_create_owned(&labels),
            connections: self.connections.get_or_create_owned(&labels),
            sent_messages: self.sent_messages.get_or_create_owned(&labels),
            sent_bytes: self.sent_bytes.get_or_create_owned(&labels),
            received_messages: self.received_messages.get_or_create_owned(&labels),
            received_bytes: self.received_bytes.get_or_create_owned(&labels),
            dropped_messages: self.dropped_messages.get_or_create_owned(&labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_openmetrics_with_prefix_and_units() {
        let metrics = Metrics::new([NodeId::new(2), NodeId::new(3)]);
        metrics.wal_written_bytes.inc_by(7);
        metrics.wal_bytes.set(4096);
        metrics.synced(Duration::from_micros(20));
        metrics.peer(NodeId::new(2)).rtt_seconds.set(0.25);
        let text = metrics.encode(&Registry::default()).unwrap();
        for line in [
            "warlock_wal_written_bytes_total 7",
            "warlock_wal_bytes 4096",
            "warlock_wal_fsync_seconds_count 1",
            "warlock_wal_fsync_seconds_bucket{le=\"0.000016\"} 0",
            "warlock_peer_rtt_seconds{peer=\"2\"} 0.25",
            "warlock_peer_up{peer=\"3\"} 0",
            concat!("warlock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
