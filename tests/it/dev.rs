//! `warlockd dev`, as `scripts/dev` starts it.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;
use warlock_tests::{Client, DevCluster, Process, eventually, warlockd};

/// Writes through a node until that works: an election may be under way.
#[track_caller]
fn set(node: SocketAddr, key: &str, value: &str) {
    eventually("a write works", || {
        let mut client = Client::connect(node).map_err(|error| error.to_string())?;
        let reply = client.call(&["SET", key, value]).map_err(|lost| lost.to_string())?;
        let reply = warlock_tests::text(&reply);
        if reply == "OK" { Ok(()) } else { Err(reply) }
    });
}

#[track_caller]
fn get(node: SocketAddr, key: &str) -> String {
    Client::connect(node).expect("the node is there").text(&["GET", key])
}

#[test]
fn the_ready_line_says_where_everything_is() {
    let mut dev = DevCluster::start(&[]);
    let base = dev.base_port;
    let ports = |list: &[SocketAddr]| list.iter().map(SocketAddr::port).collect::<Vec<_>>();
    assert_eq!(ports(&dev.ready.clients), [base, base + 1, base + 2]);
    assert_eq!(ports(&dev.ready.http), [base + 200, base + 201, base + 202]);
    assert_eq!(dev.survivors(), dev.ready.pids);
    assert_eq!(dev.output().lines().filter(|line| line.starts_with("ready ")).count(), 1);
    // It is ready: the first request on any node works.
    let clients = dev.ready.clients.clone();
    let mut client = Client::connect(clients[1]).unwrap();
    assert_eq!(client.text(&["SET", "k", "v"]), "OK");
    assert_eq!(get(clients[2], "k"), "v");
    let data = dev.ready.data.clone();
    assert!(data.is_dir());
    let finished = dev.interrupt();
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    assert_eq!(dev.survivors(), Vec::<i32>::new());
    assert!(!data.exists(), "temporary data is gone");
}

#[test]
fn a_killed_node_is_reported_and_stays_dead_while_the_cluster_goes_on() {
    let mut dev = DevCluster::start(&[]);
    let victim = eventually("the master is told", || {
        let output = dev.output();
        let line = output.lines().filter_map(|line| line.strip_prefix("master ")).next_back();
        let id = line.and_then(|ballot| ballot.rsplit_once(".n")?.1.parse::<u16>().ok());
        id.ok_or(output)
    });
    let masters = |text: &str| text.lines().filter(|line| line.starts_with("master ")).count();
    let before = masters(&dev.output());
    let pid = dev.ready.pids[usize::from(victim) - 1];
    let survivor = dev.ready.clients[usize::from(victim % 3)];
    dev.kill_node(victim);
    set(survivor, "k", "v");
    let report = format!("node {victim} pid {pid} exited: signal 9");
    eventually("the death is reported and the new master is told", || {
        let output = dev.output();
        let told = output.lines().any(|line| line == report) && masters(&output) > before;
        if told { Ok(()) } else { Err(output) }
    });
    assert!(!dev.output().contains("restarted"));
    assert_eq!(dev.survivors().len(), 2);
    assert_eq!(dev.interrupt().code, Some(0));
    assert_eq!(dev.survivors(), Vec::<i32>::new());
}

#[test]
fn a_killed_node_is_restarted_when_asked_for() {
    let mut dev = DevCluster::start(&["--restart"]);
    set(dev.ready.clients[0], "k", "v");
    dev.kill_node(2);
    let pid = eventually("the node is restarted", || {
        let output = dev.output();
        let line = output.lines().find_map(|line| {
            line.strip_prefix("node 2 pid ")?.strip_suffix(" restarted")?.parse::<i32>().ok()
        });
        line.ok_or(output)
    });
    let node = dev.ready.clients[1];
    eventually("the new process serves", || {
        let mut client = Client::connect(node).map_err(|error| error.to_string())?;
        let reply = client.call(&["GET", "k"]).map_err(|lost| lost.to_string())?;
        let reply = warlock_tests::text(&reply);
        if reply == "v" { Ok(()) } else { Err(reply) }
    });
    dev.ready.pids[1] = pid;
    assert_eq!(dev.interrupt().code, Some(0));
    assert_eq!(dev.survivors(), Vec::<i32>::new());
}

#[test]
fn data_in_a_directory_of_ones_own_is_kept() {
    let directory = TempDir::with_prefix("warlock-kept-").unwrap();
    let place = directory.path().join("new").display().to_string();
    for round in 0..2 {
        let mut dev = DevCluster::start(&["--nodes", "1", "--data-dir", &place]);
        assert_eq!(dev.ready.clients.len(), 1);
        let node = dev.ready.clients[0];
        assert_eq!(get(node, "k"), if round == 0 { "nil" } else { "v" });
        set(node, "k", "v");
        assert_eq!(dev.interrupt().code, Some(0));
    }
    assert!(directory.path().join("new").is_dir());
}

#[test]
fn nodes_end_with_their_parent_however_it_ends() {
    let mut dev = DevCluster::start(&[]);
    dev.kill_parent();
    eventually("no node outlives its cluster", || {
        let survivors = dev.survivors();
        if survivors.is_empty() { Ok(()) } else { Err(format!("{survivors:?}")) }
    });
    // Nobody was left to remove it.
    fs::remove_dir_all(&dev.ready.data).unwrap();
}

#[test]
fn wrong_arguments_of_dev_are_refused() {
    for (arguments, expected) in [
        (["--nodes", "8"], "--nodes 8"),
        (["--nodes", "0"], "--nodes 0"),
        (["--base-port", "65535"], "--base-port 65535"),
        (["--consensus.lease_ms", "1"], "consensus.lease_ms"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ] {
        let finished = Process::run(Command::new(warlockd()).arg("dev").args(arguments));
        assert_eq!(finished.code, Some(2), "{}", finished.log);
        assert!(finished.log.contains(expected), "{expected} is not in {}", finished.log);
    }
}
