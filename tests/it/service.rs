//! What a node tells its service manager: readiness, state, signs of life, the end.

use serde_json::Value as Json;
use warlock_tests::{Cluster, HeldThread, ServiceManager, eventually};

/// Patience of the watchdog in microseconds; the node is to be heard twice in it.
const PATIENCE_USEC: u64 = 400_000;
/// Signs of life of one node that are long enough for another one to have given some.
const SOME: usize = 10;
const ALIVE: &str = "WATCHDOG=1";
const READY: &str = "READY=1";

/// Three nodes that are not started, each with a manager.
fn prepare() -> (Cluster, [ServiceManager; 3]) {
    let mut cluster = Cluster::builder().prepare();
    let managers =
        [ServiceManager::at_path(), ServiceManager::in_the_abstract(), ServiceManager::at_path()];
    for (node, manager) in cluster.nodes.iter_mut().zip(&managers) {
        node.wrap(manager.wrapper(PATIENCE_USEC));
    }
    (cluster, managers)
}

fn start() -> (Cluster, [ServiceManager; 3]) {
    let (mut cluster, mut managers) = prepare();
    for node in &mut cluster.nodes {
        node.start();
    }
    for manager in &mut managers {
        manager.await_line(READY, 1);
    }
    (cluster, managers)
}

#[test]
fn ready_is_told_when_the_node_serves_and_not_before() {
    let (mut cluster, [mut first, mut second, unread]) = prepare();
    cluster.node_mut(1).start();
    first.await_line(ALIVE, SOME);
    assert_eq!(first.count(READY), 0, "a node without a quorum serves nobody");
    let status = first.status().unwrap().to_owned();
    assert_eq!(status, "n1 waits: no master with a quorum is known, applied s0");
    let heard = first.heard();
    assert!(heard.iter().any(|line| line == "EXTEND_TIMEOUT_USEC=30000000"), "{heard:?}");
    cluster.node_mut(2).start();
    for (id, manager) in [(1, &mut first), (2, &mut second)] {
        manager.await_line(READY, 1);
        cluster.node(id).connect().ok(&["SET", "k", "v"]);
    }
    // A manager that never listens must not hold up its node.
    cluster.node_mut(3).start();
    cluster.await_ready();
    first.forget();
    first.await_line(ALIVE, 3 * SOME);
    cluster.node(3).connect().ok(&["SET", "k", "v"]);
    drop(unread);
    cluster.node(3).connect().ok(&["SET", "k", "w"]);
    assert_eq!(first.count(READY), 0, "ready is told once");
}

#[test]
fn status_follows_role_master_and_applied_slot() {
    let (mut cluster, mut managers) = start();
    for _ in 0..2 {
        let master = cluster.master();
        cluster.node(master).connect().ok(&["SET", "k", "v"]);
        cluster.await_agreement();
        for (node, manager) in cluster.nodes.iter_mut().zip(&mut managers) {
            if !node.is_live() {
                continue;
            }
            let place = match node.id == master {
                true => "is the master".to_owned(),
                false => format!("follows the master n{master}"),
            };
            eventually("the manager knows the state", || {
                let status: Json = node.status()?;
                let applied = &status["nodes"][usize::from(node.id) - 1]["applied"];
                let expected = format!("n{} {place}, applied s{applied}", node.id);
                let told = manager.status().unwrap_or_default();
                if told == expected { Ok(()) } else { Err(format!("{told}, not {expected}")) }
            });
        }
        cluster.node_mut(master).terminate();
    }
}

#[test]
fn stopping_is_told_before_another_node_leads() {
    let (mut cluster, mut managers) = start();
    let master = cluster.master();
    let manager = &mut managers[usize::from(master) - 1];
    manager.forget();
    let finished = cluster.node_mut(master).terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    assert_eq!(manager.count("STOPPING=1"), 1);
    assert_ne!(cluster.master(), master);
    // The reason of a failure is what the manager shows of the node from then on.
    let (node, manager) = (cluster.node_mut(master), &mut managers[usize::from(master) - 1]);
    std::fs::write(node.data.join("identity"), "spoilt").unwrap();
    manager.forget();
    let finished = node.start_and_fail();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    let told = manager.status().unwrap();
    assert!(told.starts_with("failed: cannot use data_dir = "), "{told}");
}

#[test]
fn a_node_whose_apply_loop_hangs_gives_no_sign_of_life() {
    let (cluster, [mut held, mut other, _]) = start();
    let node = cluster.node(1);
    // The core is the first thread of the process: its id is that of the process.
    let thread = HeldThread::hold(node.process_id());
    held.forget();
    other.forget();
    other.await_line(ALIVE, SOME);
    assert_eq!(node.page("/healthz").unwrap().status, 200, "the other threads run");
    eventually("the core does not answer", || {
        let page = node.page("/readyz").map_err(|error| error.to_string())?;
        if page.body.contains("core of this node") { Ok(()) } else { Err(page.body) }
    });
    assert_eq!(held.heard(), [""; 0], "whoever hangs is silent");
    drop(thread);
    held.await_line(ALIVE, SOME);
}

#[test]
fn a_node_that_stands_still_gives_no_sign_of_life() {
    let (mut cluster, [mut held, mut other, _]) = start();
    cluster.node_mut(1).pause();
    held.forget();
    other.forget();
    other.await_line(ALIVE, SOME);
    assert_eq!(held.heard(), [""; 0]);
    cluster.node_mut(1).resume();
    held.await_line(ALIVE, SOME);
}

#[test]
fn the_template_is_the_unit_but_for_names() {
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let named = |line: &str| line.replace(" %i", "").replace("-%i", "").replace("%i", "warlock");
    let unit = keys(include_str!("../../config/warlockd.service"));
    let template = keys(include_str!("../../config/warlock@.service"));
    let template: Vec<String> = template
        .iter()
        .map(|line| named(line).replace(" --data_dir ${STATE_DIRECTORY}", ""))
        .collect();
    assert_eq!(unit, template);
}
