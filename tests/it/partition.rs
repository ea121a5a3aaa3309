//! Cut cables: the side with a majority goes on, the other side says so, nobody is shown the past.

use std::time::Duration;

use warlock_tests::{Client, Cluster, Fate, Network, Node, Register, Traffic, eventually};

/// Writes that show that a cluster works.
const SOME: u64 = 200;

fn cluster() -> Cluster {
    Cluster::builder().with_network().set("client.request_timeout_ms", "1500").start()
}

/// Asks the node until it refuses, and judges every answer before.
fn await_refusal(
    node: &Node,
    register: &Register,
    what: &str,
    ask: fn(&Register, &mut Client) -> Fate,
) {
    let mut client = node.connect();
    eventually(what, || match ask(register, &mut client) {
        Fate::Done(_) => Err("it still answers".to_owned()),
        Fate::NotExecuted(text) => {
            assert!(text.starts_with("CLUSTERDOWN "), "{text}");
            Ok(())
        }
        Fate::Unknown(text) => {
            assert!(text.starts_with("UNKNOWN "), "{text}");
            Ok(())
        }
    });
}

/// Cuts a node off, and checks both sides until and after the cable is whole again.
fn a_node_is_cut_off(cluster: &mut Cluster, cut: u16) {
    let register = Register::new("register");
    let others = cluster.others(cut);
    let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
    assert!(matches!(register.raise(&mut cluster.node(cut).connect()), Fate::Done(_)));
    let mut before = cluster.node(cut).connect();
    cluster.network().cut(cut);
    let traffic = Traffic::start(4, &addresses);
    traffic.await_acknowledged(SOME);
    let mut majority = cluster.node(others[0]).connect();
    eventually("the majority raises the register", || register.raise(&mut majority).done());
    // From here on the cut off node must not answer a read with what it has.
    let node = cluster.node(cut);
    await_refusal(node, &register, "a read is refused", Register::read);
    await_refusal(node, &register, "a write is refused", Register::raise);
    register.read(&mut before);
    assert_eq!(node.page("/healthz").expect("it is reached from inside").status, 200);
    eventually("the node says that it is not ready", || {
        let status = node.page("/readyz").map_err(|error| error.to_string())?.status;
        if status == 503 { Ok(()) } else { Err(status.to_string()) }
    });
    traffic.await_acknowledged(SOME);
    cluster.network().heal(cut);
    cluster.await_ready();
    let ledger = traffic.stop();
    for (_, mut client) in cluster.clients() {
        assert!(matches!(register.read(&mut client), Fate::Done(_)));
    }
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_master_cut_off_refuses_everything_and_catches_up_when_healed() {
    let mut cluster = cluster();
    let master = cluster.master();
    a_node_is_cut_off(&mut cluster, master);
}

#[test]
fn a_follower_cut_off_refuses_everything_and_catches_up_when_healed() {
    let mut cluster = cluster();
    let follower = cluster.follower();
    a_node_is_cut_off(&mut cluster, follower);
}

#[test]
fn no_node_serves_while_all_are_apart() {
    let mut cluster = cluster();
    let register = Register::new("register");
    assert!(matches!(register.raise(&mut cluster.node(1).connect()), Fate::Done(_)));
    for id in 1..=3 {
        cluster.network().cut(id);
    }
    for node in &cluster.nodes {
        await_refusal(node, &register, "a write is refused", Register::raise);
        await_refusal(node, &register, "a read is refused", Register::read);
    }
    for id in 1..=3 {
        cluster.network().heal(id);
    }
    cluster.await_ready();
    for (_, mut client) in cluster.clients() {
        assert!(matches!(register.read(&mut client), Fate::Done(_)));
    }
    cluster.await_agreement();
}

/// Breaks every cable of the master in one direction, and checks what its clients were told.
fn a_master_is_half_connected(mute: fn(&Network, u16, u16), unmute: fn(&Network, u16, u16)) {
    let mut cluster = cluster();
    let register = Register::new("register");
    let old = cluster.master();
    let others = cluster.others(old);
    assert!(matches!(register.raise(&mut cluster.node(old).connect()), Fate::Done(_)));
    // Clients of the old master are in the middle of a write when it happens.
    let traffic = Traffic::start(6, &cluster.addresses());
    traffic.await_acknowledged(SOME);
    for other in &others {
        mute(cluster.network(), old, *other);
    }
    let mut new = cluster.node(others[0]).connect();
    eventually("the others have a master", || register.raise(&mut new).done());
    await_refusal(cluster.node(old), &register, "a read is refused", Register::read);
    await_refusal(cluster.node(old), &register, "a write is refused", Register::raise);
    traffic.await_acknowledged(SOME);
    for other in &others {
        unmute(cluster.network(), old, *other);
    }
    cluster.await_ready();
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_master_that_is_not_heard_any_more_steps_down() {
    a_master_is_half_connected(
        |network, master, other| network.mute(master, other),
        |network, master, other| network.unmute(master, other),
    );
}

#[test]
fn a_master_that_hears_nobody_any_more_steps_down() {
    a_master_is_half_connected(
        |network, master, other| network.mute(other, master),
        |network, master, other| network.unmute(other, master),
    );
}

#[test]
fn a_broken_cable_between_two_nodes_stops_nobody_who_sees_a_quorum() {
    let mut cluster = cluster();
    let master = cluster.master();
    let others = cluster.others(master);
    let (blind, middle) = (others[0], others[1]);
    // The middle node sees both; the blind one and the master no longer see each other.
    cluster.network().mute(master, blind);
    cluster.network().mute(blind, master);
    let traffic = Traffic::start(3, &[cluster.node(middle).client]);
    traffic.await_acknowledged(5 * SOME);
    let masterships = |cluster: &Cluster| -> f64 {
        let counts = cluster.nodes.iter().map(|node| node.metric("warlock_masterships_total"));
        counts.map(|count| count.expect("every node answers from inside its network")).sum()
    };
    let settled = masterships(&cluster);
    traffic.await_acknowledged(5 * SOME);
    let later = masterships(&cluster);
    assert!(later - settled <= 1.0, "mastership wanders: {settled} elections, then {later}");
    cluster.network().unmute(master, blind);
    cluster.network().unmute(blind, master);
    cluster.await_ready();
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_client_of_a_cut_off_node_is_answered_before_its_patience_ends() {
    let mut cluster = cluster();
    let follower = cluster.follower();
    cluster.network().cut(follower);
    let mut client = cluster.node(follower).connect();
    // Far beyond the node's own deadline, which must end the wait.
    client.set_timeout(Duration::from_secs(10));
    for command in [["SET", "k", "v"].as_slice(), &["GET", "k"], &["INCR", "n"], &["DBSIZE"]] {
        match client.fate(command) {
            Fate::NotExecuted(text) => assert!(text.starts_with("CLUSTERDOWN "), "{text}"),
            Fate::Unknown(text) => assert!(text.starts_with("UNKNOWN "), "{text}"),
            // It may not know yet that it is cut off, but it cannot have asked a quorum.
            Fate::Done(value) => panic!("{}: {value:?}", command.join(" ")),
        }
    }
    assert_eq!(client.text(&["PING"]), "PONG");
}
