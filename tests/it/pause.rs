//! A master that stands still does not know that time has passed.

use std::thread;
use std::time::{Duration, Instant};

use warlock_tests::{Client, Cluster, Fate, Register, Traffic, eventually};

/// Length of the lease that the clusters of these tests have, by default.
const LEASE: Duration = Duration::from_millis(500);

#[test]
fn a_paused_master_answers_nothing_stale_when_it_runs_on() {
    let mut cluster = Cluster::start();
    let register = Register::new("register");
    for _ in 0..3 {
        let old = cluster.master();
        let mut waiting: Vec<Client> = (0..8).map(|_| cluster.node(old).connect()).collect();
        for client in &mut waiting {
            assert!(matches!(register.raise(client), Fate::Done(_)));
        }
        let began = Instant::now();
        cluster.node_mut(old).pause();
        // Also a connection that the process has not even accepted.
        waiting.push(cluster.node(old).connect());
        let early = ask_twice(&mut waiting, &register);
        let new = cluster.master();
        assert_ne!(new, old);
        let mut writer = cluster.node(new).connect();
        for _ in 0..10 {
            let fate = register.raise(&mut writer);
            assert!(matches!(fate, Fate::Done(_)), "{fate:?}");
        }
        // Requests that lie in the socket of the paused process since after those writes.
        let late = ask_twice(&mut waiting, &register);
        eventually("three leases have passed", || {
            if began.elapsed() > 3 * LEASE { Ok(()) } else { Err("not yet".to_owned()) }
        });
        // The worst case: requests are read before anything else of the process can notice the
        // time.
        let node = cluster.node_mut(old);
        node.favour_threads("client-io");
        node.resume();
        for client in &mut waiting {
            for floor in [early, early, late, late] {
                register.judge(floor, &Fate::of(client.receive()));
            }
        }
        cluster.node(old).treat_threads_alike();
        cluster.await_ready();
    }
}

/// Writes two reads into each socket without waiting for replies. What they may show at least.
fn ask_twice(clients: &mut [Client], register: &Register) -> u64 {
    let floor = register.expect();
    for client in clients {
        client.queue(&["GET", "register"]);
        client.queue(&["GET", "register"]);
        client.flush().expect("the kernel takes requests for a paused process");
    }
    floor
}

#[test]
fn pauses_of_any_length_lose_nothing_and_show_nothing_stale() {
    let mut cluster = Cluster::start();
    let register = Register::new("register");
    let traffic = Traffic::start(3, &cluster.addresses());
    for tenths in [1, 5, 9, 12, 25] {
        let master = cluster.master();
        let mut reader = cluster.node(master).connect();
        let mut writer = cluster.node(cluster.others(master)[0]).connect();
        assert!(matches!(register.raise(&mut writer), Fate::Done(_)));
        let began = Instant::now();
        cluster.node_mut(master).pause();
        thread::scope(|scope| {
            // Asked now, answered when the process runs on; meanwhile others may write.
            scope.spawn(|| register.read(&mut reader));
            scope.spawn(|| register.raise(&mut writer));
            eventually("the pause is long enough", || {
                let over = began.elapsed() > LEASE * tenths / 10;
                if over { Ok(()) } else { Err("not yet".to_owned()) }
            });
            cluster.node_mut(master).resume();
        });
        for (_, mut client) in cluster.clients() {
            register.read(&mut client);
        }
        traffic.await_acknowledged(50);
    }
    cluster.await_ready();
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn writes_in_the_socket_of_a_paused_master_get_an_honest_answer() {
    let mut cluster = Cluster::start();
    let old = cluster.master();
    let mut client = cluster.node(old).connect();
    cluster.node_mut(old).pause();
    client.send(&["SET", "k", "from the past"]).unwrap();
    let new = cluster.master();
    let mut other = cluster.node(new).connect();
    other.ok(&["SET", "k", "new"]);
    cluster.node_mut(old).resume();
    let fate = Fate::of(client.receive());
    let found = other.text(&["GET", "k"]);
    match fate {
        // It began before the other write and ended after it, so it may take effect after it.
        Fate::Done(_) => assert_eq!(found, "from the past"),
        Fate::NotExecuted(text) => assert_eq!(found, "new", "after {text}"),
        Fate::Unknown(_) => assert!(found == "new" || found == "from the past", "{found}"),
    }
}
