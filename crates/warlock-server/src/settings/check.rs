//! Relations between settings: each value is fine by itself, but together they are not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use warlock_paxos::NodeId;

use super::problem::Problem;
use super::value::Values;
use super::{Durability, Settings};

/// Heartbeats that must fit into a lease, so that one lost message does not end it.
const HEARTBEATS_PER_LEASE_MIN: u64 = 4;

/// Every relation that does not hold. Needs a value for every key, but for the members of a node
/// that is one already: what the settings say of them has no meaning any more.
pub(super) fn relations(values: &Values, is_member: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_member {
        membership(values, &mut problems);
    }
    listeners(values, &mut problems);
    let lease = values.number("consensus.lease_ms");
    let heartbeat = values.number("consensus.heartbeat_ms");
    if heartbeat * HEARTBEATS_PER_LEASE_MIN > lease {
        let most = lease / HEARTBEATS_PER_LEASE_MIN;
        problems.push(values.problem(
            "consensus.heartbeat_ms",
            format!("must be at most {most}, a quarter of consensus.lease_ms = {lease}"),
        ));
    }
    let segment = values.number("wal.segment_bytes");
    if values.number("wal.snapshot_after_bytes") < segment {
        problems.push(values.problem(
            "wal.snapshot_after_bytes",
            format!("must be at least wal.segment_bytes = {segment}: only whole files are dropped"),
        ));
    }
    problems
}

fn membership(values: &Values, problems: &mut Vec<Problem>) {
    if !values.starts_from_members() {
        return newcomer(values, problems);
    }
    if !values.text("cluster.join").is_empty() {
        let complaint = "has a meaning only with cluster.start = \"join\"".to_owned();
        problems.push(values.problem("cluster.join", complaint));
    }
    let node = NodeId::new(values.small("node_id"));
    let members = values.members("cluster.initial_members");
    let mut seen: BTreeMap<&str, NodeId> = BTreeMap::new();
    for (member, address) in &members {
        if let Some(other) = seen.insert(address, *member) {
            problems.push(values.problem(
                "cluster.initial_members",
                format!(
                    "{other} and {member} have the same address {address:?}: each needs its own"
                ),
            ));
        }
    }
    let Some(own) = members.get(&node) else {
        let known: Vec<String> = members.keys().map(|id| id.number().to_string()).collect();
        problems.push(values.problem(
            "node_id",
            format!("is not in cluster.initial_members, which has {}", known.join(", ")),
        ));
        return;
    };
    let advertised = values.text("peer.advertise");
    if !advertised.is_empty() && advertised != own {
        problems.push(values.problem(
            "peer.advertise",
            format!("cluster.initial_members says {own:?} for this node: make them the same"),
        ));
    }
}

/// A node that starts from no list of members is known to others by what it advertises.
fn newcomer(values: &Values, problems: &mut Vec<Problem>) {
    let listen = values.socket("peer.listen");
    if values.text("peer.advertise").is_empty() && listen.ip().is_unspecified() {
        problems.push(values.problem(
            "peer.advertise",
            format!("must be the address that others reach, as peer.listen = {listen} is none"),
        ));
    }
}

fn listeners(values: &Values, problems: &mut Vec<Problem>) {
    let paths = ["client.listen", "peer.listen", "http.listen"];
    for (position, later) in paths.iter().enumerate() {
        for earlier in &paths[..position] {
            if collide(values.socket(earlier), values.socket(later)) {
                let complaint =
                    format!("{earlier} already takes that address: choose another port");
                problems.push(values.problem(later, complaint));
            }
        }
    }
}

/// Whether two listeners cannot be open at the same time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_ip
}

/// What is allowed but probably not meant.
pub(super) fn doubts(settings: &Settings) -> Vec<String> {
    let mut doubts = Vec::new();
    let members = &settings.cluster.initial_members;
    match members.len() {
        0 => {}
        1 => doubts.push("one node survives no failure: use 3, 5 or 7".to_owned()),
        even if even % 2 == 0 => doubts.push(format!(
            "{even} nodes survive no more failures than {}, and wait for more answers",
            even - 1
        )),
        _ => {}
    }
    if settings.durability != Durability::Fsync {
        doubts.push(format!(
            "durability.mode = \"{}\": a node that loses power has lost its disk, and a cluster \
             that loses power has lost acknowledged writes",
            settings.durability
        ));
    }
    let elsewhere = members.iter().any(|(node, address)| {
        let loopback = address.parse::<SocketAddr>().is_ok_and(|parsed| parsed.ip().is_loopback())
            || address.starts_with("localhost:");
        *node != settings.node_id && !loopback
    });
    if elsewhere && settings.peer.listen.ip().is_loopback() {
        doubts.push(format!(
            "peer.listen = {}: other members are on other machines and cannot reach it",
            settings.peer.listen
        ));
    }
    if settings.client.listen.ip().is_unspecified()
        && settings.client.advertise == settings.client.listen.to_string()
    {
        doubts.push(format!(
            "client.advertise is empty, so that status shows {}, where nobody can connect",
            settings.client.listen
        ));
    }
    doubts
}
