//! Processes that die: what was acknowledged stays, what was refused never appears.

use warlock_tests::{Cluster, Traffic};

/// Writes that are acknowledged before, between and after faults.
const SOME: u64 = 400;

#[test]
fn killing_the_master_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(4, &cluster.addresses());
    for _ in 0..3 {
        traffic.await_acknowledged(SOME);
        let master = cluster.master();
        cluster.node_mut(master).kill();
        // Two of three are a quorum: writes go on without the third.
        traffic.await_acknowledged(SOME);
        let survivor = cluster.master();
        assert_ne!(survivor, master);
        cluster.node_mut(master).start();
        cluster.await_ready();
    }
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn killing_a_follower_disturbs_no_client_of_other_nodes() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let others: Vec<_> = cluster.others(follower);
    let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
    let traffic = Traffic::start(4, &addresses);
    traffic.await_acknowledged(SOME);
    cluster.node_mut(follower).kill();
    traffic.await_acknowledged(SOME);
    cluster.node_mut(follower).start();
    cluster.await_ready();
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();
    ledger.check(&mut cluster.clients());
}

#[test]
fn killing_all_nodes_at_once_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(4, &cluster.addresses());
    for _ in 0..2 {
        traffic.await_acknowledged(SOME);
        for node in &mut cluster.nodes {
            node.kill();
        }
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.await_ready();
        traffic.await_acknowledged(SOME);
    }
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn two_of_three_nodes_restart_and_go_on_without_the_third() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(2, &cluster.addresses());
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    let master = cluster.master();
    for node in &mut cluster.nodes {
        node.kill();
    }
    for id in cluster.others(master) {
        cluster.node_mut(id).start();
    }
    cluster.await_ready();
    ledger.check(&mut cluster.clients());
}

#[test]
fn a_node_killed_over_and_over_always_comes_back() {
    let mut cluster = Cluster::start();
    let traffic = Traffic::start(2, &cluster.addresses());
    let follower = cluster.follower();
    for _ in 0..10 {
        traffic.await_acknowledged(20);
        cluster.node_mut(follower).kill();
        cluster.node_mut(follower).start();
    }
    cluster.await_ready();
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}
