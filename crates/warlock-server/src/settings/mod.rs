//! What a file, the environment and flags configure, checked before anything starts.
//!
//! A flag beats an environment variable, that beats the file, and the file beats the default. Every
//! key stands once, in [`keys()`]: flags, environment names, defaults, `config/warlock.toml` and
//! the messages about wrong values follow from there.

mod check;
mod keys;
mod layers;
mod problem;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use warlock_paxos::{NodeId, Span};

pub use keys::{Key, keys, sample};
pub use layers::Layers;
pub use problem::{Place, Problem, Problems};

use value::Values;

/// Settings of one node. Made by [`Layers::settings`], which refuses what does not fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Names this node in its cluster.
    pub node_id: NodeId,
    /// Holds the log and the snapshots of this node, and nothing else.
    pub data_dir: PathBuf,
    /// The cluster that the node belongs to.
    pub cluster: ClusterSettings,
    /// How clients are served.
    pub client: ClientSettings,
    /// How other nodes reach this one.
    pub peer: PeerSettings,
    /// Metrics, health and the status page.
    pub http: HttpSettings,
    /// Spans of the protocol.
    pub consensus: ConsensusSettings,
    /// What a node has written before it says so.
    pub durability: Durability,
    /// Where the state machine keeps its data.
    pub backend: BackendKind,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Sizes of the write-ahead log.
    pub wal: WalSettings,
}

/// Section `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Nodes of clusters with different names refuse each other.
    pub name: String,
    /// Address for peers, `host:port`, of every member including this node; 1 to 7 of them, none
    /// unless the node starts from them, nor need it if its data directory knows them.
    pub initial_members: BTreeMap<NodeId, String>,
    /// What a node with a new data directory starts.
    pub start: ClusterStart,
}

/// Keys `cluster.start`, `cluster.join` and `cluster.join_as`: what a new data directory starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterStart {
    /// The cluster of `cluster.initial_members`.
    Members,
    /// A cluster of this node alone.
    Bootstrap,
    /// A part of a cluster that exists.
    Join {
        /// A member's address for peers; without one the node waits for an operator to name it.
        address: Option<String>,
        /// Without a vote.
        observer: bool,
    },
}

/// Section `[client]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The address for clients that other nodes and `status` show, `host:port`.
    pub advertise: String,
    /// Most client connections at the same time.
    pub connections_max: usize,
    /// I/O threads.
    pub workers: usize,
    /// Longest request in bytes as sent.
    pub request_bytes_max: usize,
    /// Most bytes of replies that wait for one connection; more closes it.
    pub output_bytes_max: usize,
    /// Most commands of one connection that are read but not answered.
    pub pipeline_max: usize,
    /// After this long a command is answered with `-UNKNOWN` or `-CLUSTERDOWN`.
    pub request_timeout: Duration,
}

/// Section `[peer]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where other nodes connect.
    pub listen: SocketAddr,
    /// The address at which other nodes reach this one, `host:port`.
    pub advertise: String,
    /// Newest version of the peer protocol that the node speaks: for tests of upgrades, which hold
    /// a node at an older one.
    pub protocol_max: u16,
}

/// Section `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where `/metrics`, `/healthz`, `/readyz` and the status page are served.
    pub listen: SocketAddr,
}

/// Section `[consensus]`. Every node of a cluster must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsensusSettings {
    /// Length of the master lease.
    pub lease: Span,
    /// Time between two heartbeats; at most a quarter of the lease.
    pub heartbeat: Span,
    /// Bound of the error of a node's clock rate, in thousandths.
    pub clock_error_per_mille: u64,
}

/// Key `durability.mode`: what a node has done with a record before it answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk (`fdatasync`).
    Fsync,
    /// The operating system has it: survives a crash of the process, not of the machine.
    Os,
    /// Nothing is asked of the disk, as for a directory that is in memory itself (tmpfs): survives
    /// no more than that directory does.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::Memory => "memory",
        })
    }
}

/// Key `backend.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// A sharded map in memory.
    Memory,
}

/// Section `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// Key `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed, and the node or a client suffers from it.
    Error,
    /// Something is wrong, and the cluster copes.
    Warn,
    /// Changes that an operator wants to see.
    Info,
    /// Every decision of a role.
    Debug,
    /// Every message.
    Trace,
}

/// Key `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object in a line.
    Json,
}

/// Section `[wal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalSettings {
    /// Size of one file of the log in bytes.
    pub segment_bytes: u64,
    /// A snapshot is taken, and the log below it dropped, when the log is this many bytes longer
    /// than the last snapshot needs.
    pub snapshot_after_bytes: u64,
}

impl Settings {
    /// Takes settings out of checked values; every key has one.
    fn from_values(values: &Values) -> Self {
        let listen = values.socket("client.listen");
        let peer_listen = values.socket("peer.listen");
        let node_id = NodeId::new(values.small("node_id"));
        let start = cluster_start(values);
        let members = match start {
            ClusterStart::Members if values.has("cluster.initial_members") => {
                values.members("cluster.initial_members")
            }
            ClusterStart::Members | ClusterStart::Bootstrap | ClusterStart::Join { .. } => {
                BTreeMap::new()
            }
        };
        let own = members.get(&node_id).cloned();
        Self {
            node_id,
            data_dir: PathBuf::from(values.text("data_dir")),
            cluster: ClusterSettings {
                name: values.text("cluster.name").to_owned(),
                initial_members: members,
                start,
            },
            client: ClientSettings {
                listen,
                advertise: given_or(values.text("client.advertise"), listen.to_string()),
                connections_max: values.size("client.connections_max"),
                workers: workers_or_default(values.size("client.workers")),
                request_bytes_max: values.size("client.request_bytes_max"),
                output_bytes_max: values.size("client.output_bytes_max"),
                pipeline_max: values.size("client.pipeline_max"),
                request_timeout: Duration::from_millis(values.number("client.request_timeout_ms")),
            },
            peer: PeerSettings {
                listen: peer_listen,
                advertise: given_or(
                    values.text("peer.advertise"),
                    own.unwrap_or_else(|| peer_listen.to_string()),
                ),
                protocol_max: values.small("peer.protocol_max"),
            },
            http: HttpSettings { listen: values.socket("http.listen") },
            consensus: ConsensusSettings {
                lease: Span::from_millis(values.number("consensus.lease_ms")),
                heartbeat: Span::from_millis(values.number("consensus.heartbeat_ms")),
                clock_error_per_mille: values.per_mille("consensus.clock_error_max"),
            },
            durability: match values.text("durability.mode") {
                "os" => Durability::Os,
                "memory" => Durability::Memory,
                _ => Durability::Fsync,
            },
            backend: BackendKind::Memory,
            log: LogSettings {
                level: log_level(values.text("log.level")),
                format: match values.text("log.format") {
                    "json" => LogFormat::Json,
                    _ => LogFormat::Text,
                },
            },
            wal: WalSettings {
                segment_bytes: values.number("wal.segment_bytes"),
                snapshot_after_bytes: values.number("wal.snapshot_after_bytes"),
            },
        }
    }

    /// How many nodes may fail while the others go on.
    #[must_use]
    pub fn failures_survived(&self) -> usize {
        self.cluster.initial_members.len().saturating_sub(1) / 2
    }

    /// What is allowed but probably not meant, in one sentence each.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        check::doubts(self)
    }
}

fn cluster_start(values: &Values) -> ClusterStart {
    match values.text("cluster.start") {
        "bootstrap" => ClusterStart::Bootstrap,
        "join" => ClusterStart::Join {
            address: Some(values.text("cluster.join").to_owned()).filter(|text| !text.is_empty()),
            observer: values.text("cluster.join_as") == "observer",
        },
        _ => ClusterStart::Members,
    }
}

fn given_or(given: &str, otherwise: String) -> String {
    if given.is_empty() { otherwise } else { given.to_owned() }
}

/// Zero asks for as many workers as pay off: the core and the WAL need a processor too.
fn workers_or_default(given: usize) -> usize {
    if given != 0 {
        return given;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, 4)
}

fn log_level(name: &str) -> LogLevel {
    match name {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => LogLevel::Info,
    }
}

#[cfg(test)]
mod tests;
