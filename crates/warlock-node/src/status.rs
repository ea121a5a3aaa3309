//! What a node knows of its cluster, as `WARLOCK STATUS`, `INFO`, `ROLE` and the status page show
//! it.

use serde::Serialize;
use warlock_paxos::Instant;

/// The cluster as one node sees it. Its JSON form is a public interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Name of the cluster.
    pub cluster: String,
    /// Number of the membership in force.
    pub view: u64,
    /// Node id of the master, if one with a quorum is known.
    pub master: Option<u16>,
    /// Every member, by node id.
    pub nodes: Vec<NodeStatus>,
    /// The node that says all this; not part of the JSON.
    #[serde(skip)]
    pub local: u16,
    /// The ballot of the master, in its `Display` form; empty if there is none. Not part of the
    /// JSON.
    #[serde(skip)]
    pub ballot: String,
    /// When this was true; not part of the JSON.
    #[serde(skip)]
    pub at: Instant,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Node id.
    pub id: u16,
    /// Address for clients, `host:port`; empty while unknown.
    pub addr: String,
    /// Address for peers, `host:port`.
    pub peer: String,
    /// What the node does.
    pub role: Role,
    /// Whether the node answers.
    pub state: State,
    /// Slots that the node has applied.
    pub applied: u64,
    /// Slots that the master has applied and this node not.
    pub lag: u64,
    /// Milliseconds that remain of the master lease; on the master only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms_left: Option<u64>,
    /// The snapshot that the node receives, as far as the node knows that says all this: it is the
    /// one that receives, or the one that sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotProgress>,
    /// Version of `warlockd`; empty while unknown.
    pub version: String,
}

/// How far a node is with the snapshot of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotProgress {
    /// It covers every slot below.
    pub slot: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
    /// What is being done with it.
    pub stage: SnapshotStage,
}

/// What a node does with the snapshot of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotStage {
    /// It comes.
    Receiving,
    /// All of it came; it is verified and restored.
    Installing,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the master lease.
    Master,
    /// A voter that is not the master.
    Follower,
    /// Applies everything and never votes.
    Observer,
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers and is level, or nearly.
    Up,
    /// It has not answered for an election timeout.
    Down,
    /// It answers but has still to catch up.
    Recovering,
}
