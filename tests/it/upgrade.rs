//! A cluster that is upgraded one node after the other, under load.

use warlock_tests::{Cluster, Traffic, eventually};

/// Writes before, between and after the restarts.
const SOME: u64 = 300;

/// The program of today, held at version 1 of the peer protocol by the settings.
fn held_at_version_1() -> Cluster {
    Cluster::builder().set("peer.protocol_max", "1").start()
}

/// From its next start on the node speaks what it can.
fn release(cluster: &mut Cluster, id: u16) {
    let wrapper = ["env", "WARLOCK_PEER_PROTOCOL_MAX=2"];
    cluster.node_mut(id).wrap(wrapper.map(str::to_owned).to_vec());
}

/// Waits until the node has agreed on the version with the other since its last start.
fn await_protocol(cluster: &Cluster, id: u16, peer: u16, version: u8) {
    let (peer, version) = (format!("peer=n{peer} "), format!("protocol={version}"));
    eventually("the nodes agree on a version", || {
        let log = cluster.node(id).log_text();
        let mut lines = log.lines().filter(|line| line.contains("connected to the peer"));
        let newest = lines.rfind(|line| line.contains(&peer)).unwrap_or_default();
        if newest.contains(&version) { Ok(()) } else { Err(format!("{newest:?}")) }
    });
}

/// Restarts one node; only its own clients may notice more than a delay.
fn roll(cluster: &mut Cluster, id: u16) {
    let others = cluster.others(id);
    let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
    let traffic = Traffic::start(4, &addresses);
    traffic.await_acknowledged(SOME);
    let finished = cluster.node_mut(id).terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    traffic.await_acknowledged(SOME);
    cluster.node_mut(id).start();
    cluster.await_ready();
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    let [_, refused, unknown] = ledger.counts();
    assert_eq!((refused, unknown), (0, 0), "clients of other nodes notice a delay only");
    ledger.check(&mut cluster.clients());
}

#[test]
fn a_cluster_of_version_1_is_upgraded_node_by_node_under_load() {
    let mut cluster = held_at_version_1();
    let traffic = Traffic::start(3, &cluster.addresses());
    for id in 1..=3 {
        release(&mut cluster, id);
        roll(&mut cluster, id);
        for other in cluster.others(id) {
            let version = if other < id { 2 } else { 1 };
            await_protocol(&cluster, id, other, version);
            await_protocol(&cluster, other, id, version);
        }
    }
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}
