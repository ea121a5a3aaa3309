//! Nodes that come and go while clients work.

use serde_json::Value as Json;
use std::fs;
use std::net::SocketAddr;
use warlock_tests::{Cluster, Node, Traffic, done, eventually, refused};

/// Writes that are acknowledged before, between and after changes.
const SOME: u64 = 300;

/// Voters by number, and the number of the view, as the node knows them.
fn voters(node: &Node) -> Result<(Vec<u64>, u64), String> {
    let membership = node.membership()?;
    let members = membership["members"].as_array().ok_or("no members")?;
    let voters = members.iter().filter(|member| member["seat"] == "voter");
    let voters = voters.filter_map(|member| member["id"].as_u64()).collect();
    let stable = membership["transitional"] == false;
    let view = membership["view"].as_u64().filter(|_| stable).ok_or("in transition")?;
    Ok((voters, view))
}

#[track_caller]
fn await_voters(node: &Node, expected: &[u64]) {
    eventually("the voters are those expected", || {
        let (voters, _) = voters(node)?;
        if voters == expected { Ok(()) } else { Err(format!("{voters:?}")) }
    });
}

/// Starts the node and waits until it votes.
#[track_caller]
fn join(cluster: &mut Cluster, id: u16) {
    cluster.node_mut(id).start();
    eventually("the node votes", || {
        let (voters, _) = voters(cluster.node(id))?;
        if voters.contains(&u64::from(id)) { Ok(()) } else { Err(format!("{voters:?}")) }
    });
}

#[test]
fn one_node_grows_to_five_and_shrinks_again_under_load() {
    let mut cluster = Cluster::builder().nodes(5).founders(0).start();
    let traffic = Traffic::start(3, &[cluster.node(1).client]);
    traffic.await_acknowledged(SOME);
    for id in 2..=5 {
        join(&mut cluster, id);
        traffic.await_acknowledged(SOME);
    }
    for id in [2, 3, 4] {
        done(cluster.node(1), &["remove", &id.to_string()]);
        let finished = cluster.node_mut(id).finish();
        assert_eq!(finished.code, Some(0), "{}", finished.log);
        traffic.await_acknowledged(SOME);
    }
    await_voters(cluster.node(5), &[1, 5]);
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn every_founder_is_replaced_and_no_client_notices() {
    let mut cluster = Cluster::builder().nodes(6).founders(3).start();
    let traffic = Traffic::start(3, &[cluster.node(3).client]);
    traffic.await_acknowledged(SOME);
    for (old, new) in [(1, 4), (2, 5)] {
        // The member by way of whom the settings say to join may be gone.
        let by = cluster.node(3).peer.to_string();
        cluster.node_mut(new).start_with(&["--join", &by, "--cluster.join_as", "observer"]);
        cluster.await_ready();
        done(cluster.node(3), &["replace", &old.to_string(), &new.to_string()]);
        traffic.await_acknowledged(SOME);
        assert_eq!(cluster.node_mut(old).finish().code, Some(0));
    }
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();

    let by = cluster.node(4).peer.to_string();
    cluster.node_mut(6).start_with(&["--join", &by, "--cluster.join_as", "observer"]);
    cluster.await_ready();
    done(cluster.node(3), &["replace", "n3", "n6"]);
    assert_eq!(cluster.node_mut(3).finish().code, Some(0));
    await_voters(cluster.node(6), &[4, 5, 6]);
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
}

#[test]
fn a_master_that_leaves_hands_over_first() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    let others = cluster.others(master);
    let traffic = Traffic::start(3, &[cluster.node(others[0]).client]);
    traffic.await_acknowledged(SOME);
    let text = done(cluster.node(master), &["leave"]);
    assert!(text.contains("done: "), "{text}");
    assert_eq!(cluster.node_mut(master).finish().code, Some(0));
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();
    ledger.check(&mut cluster.clients());
}

#[test]
fn mastership_moves_where_the_operator_wants_it() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    for to in cluster.others(master) {
        let text = done(cluster.node(1), &["transfer-master", &to.to_string()]);
        assert_eq!(text, format!("n{to} is the master\n"));
        assert_eq!(cluster.master(), to);
    }
    let own = cluster.master();
    let text = refused(cluster.node(1), &["transfer_master", &own.to_string()]);
    assert!(text.contains("is the master already"), "{text}");
    let text = refused(cluster.node(1), &["transfer-master", "9"]);
    assert!(text.contains("n9 has no vote"), "{text}");
}

#[test]
fn a_dead_node_is_removed_and_never_comes_back_with_its_disk() {
    let mut cluster = Cluster::builder().nodes(4).founders(3).start();
    let dead = cluster.follower();
    let asked = cluster.others(dead)[0];
    cluster.node_mut(dead).kill();
    done(cluster.node(asked), &["remove", &dead.to_string()]);

    // It does not know yet, and learns it from whoever it disturbs.
    let removed = cluster.node_mut(dead).start_and_fail();
    assert_eq!(removed.code, Some(0), "{}", removed.log);
    assert!(removed.log.contains("not part of the membership any more"), "{}", removed.log);
    let again = cluster.node_mut(dead).start_and_fail();
    assert_eq!(again.code, Some(3), "{}", again.log);
    assert!(again.log.contains("was removed from the cluster"), "{}", again.log);

    // Nor does its number with an empty one.
    let data = cluster.node(dead).data.clone();
    fs::remove_dir_all(&data).unwrap();
    let by = cluster.node(asked).peer.to_string();
    cluster.node_mut(dead).start_with(&["--join", &by]);
    let reused = cluster.node_mut(dead).finish();
    assert_eq!(reused.code, Some(1), "{}", reused.log);
    assert!(reused.log.contains("newcomers have ever higher ids: take n4"), "{}", reused.log);
    cluster.node_mut(4).start_with(&["--join", &by]);
    cluster.await_ready();
    eventually("the newcomer votes", || {
        let (voters, _) = voters(cluster.node(4))?;
        if voters.contains(&4) { Ok(()) } else { Err(format!("{voters:?}")) }
    });
}

#[test]
fn a_member_that_missed_every_view_is_told_by_whoever_calls_it() {
    let mut cluster = Cluster::builder().nodes(5).founders(3).start();
    cluster.node(1).connect().ok(&["SET", "k", "v"]);
    cluster.node_mut(3).kill();
    join(&mut cluster, 4);
    join(&mut cluster, 5);
    for gone in [1, 2] {
        done(cluster.node(4), &["remove", &gone.to_string()]);
        assert_eq!(cluster.node_mut(gone).finish().code, Some(0));
    }
    // All whom it knows are gone.
    cluster.node_mut(3).start();
    cluster.await_ready();
    await_voters(cluster.node(3), &[3, 4, 5]);
    cluster.await_agreement();
}

#[test]
fn a_node_that_moves_is_reached_where_the_operator_says() {
    let mut cluster = Cluster::start();
    let moved = cluster.follower();
    let others = cluster.others(moved);
    let asked = others[0];
    let traffic = Traffic::start(3, &[cluster.node(asked).client]);
    traffic.await_acknowledged(SOME);
    cluster.node_mut(moved).kill();
    let peer = cluster.node(moved).peer;
    // Four nodes further there is none.
    let elsewhere = SocketAddr::new(peer.ip(), peer.port() + 4).to_string();
    cluster.node_mut(moved).start_with(&["--peer.listen", &elsewhere]);
    let words = ["readdress", &moved.to_string(), &elsewhere];
    let text = done(cluster.node(asked), &[&words[..], &["--dry-run"]].concat());
    assert!(text.ends_with(&format!("n{moved} would be reached at {elsewhere}\n")), "{text}");
    let text = done(cluster.node(asked), &words);
    assert!(text.ends_with(&format!("n{moved} is reached at {elsewhere}\n")), "{text}");
    cluster.await_ready();
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.expect_all_acknowledged();

    // Whoever starts later knows it from the membership, whatever its settings say.
    cluster.node_mut(others[1]).kill();
    cluster.node_mut(others[1]).start();
    cluster.await_ready();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
    let text = refused(cluster.node(asked), &words);
    assert!(text.contains("nothing would change"), "{text}");
    let text = refused(cluster.node(asked), &["readdress", "n9", &elsewhere]);
    assert!(text.contains("n9 is no member"), "{text}");
}

#[test]
fn a_lost_disk_is_replaced_by_a_new_member() {
    let mut cluster = Cluster::builder().nodes(4).founders(3).start();
    cluster.node(1).connect().ok(&["SET", "k", "v"]);
    let lost = cluster.follower();
    let asked = cluster.others(lost)[0];
    cluster.node_mut(lost).kill();
    fs::remove_dir_all(&cluster.node(lost).data).unwrap();
    // The settings of a founder do not make it one again (P7).
    cluster.node_mut(lost).start();
    eventually("its peers refuse it", || {
        let log = cluster.node(lost).log_text();
        if log.contains("the peer refuses: ") { Ok(()) } else { Err(log) }
    });
    cluster.node_mut(lost).kill();
    let by = cluster.node(asked).peer.to_string();
    cluster.node_mut(4).start_with(&["--join", &by, "--cluster.join_as", "observer"]);
    cluster.await_ready();
    done(cluster.node(asked), &["replace", &lost.to_string(), "4"]);
    assert_eq!(cluster.node(4).connect().text(&["GET", "k"]), "v");
    cluster.await_agreement();
}

#[test]
fn a_node_waits_until_an_operator_names_a_cluster() {
    let mut cluster = Cluster::builder().nodes(4).founders(3).start();
    cluster.node(2).connect().ok(&["SET", "k", "v"]);
    cluster.node_mut(4).start_with(&["--cluster.join", ""]);
    eventually("the node listens", || cluster.node(4).membership().map(drop));
    let member = cluster.node(2).peer.to_string();
    let text = done(cluster.node(4), &["join", &member, "--observer"]);
    assert!(text.contains("n4 is an observer as of view v2"), "{text}");
    let text = refused(cluster.node(4), &["join", &member]);
    assert!(text.contains("belongs to a cluster already"), "{text}");
    let status: Json = serde_json::from_str(&done(cluster.node(1), &["--json", "status"])).unwrap();
    assert_eq!(status["nodes"][3]["role"], "observer", "{status}");
    assert_eq!(
        cluster.node(4).connect().text(&["GET", "k"]),
        "v",
        "it forwards what it may not do"
    );
    done(cluster.node(1), &["promote", "n4"]);
    await_voters(cluster.node(4), &[1, 2, 3, 4]);
}

#[test]
fn what_would_be_is_shown_and_nothing_done() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower().to_string();
    let text = done(cluster.node(1), &["remove", &follower, "--dry-run"]);
    assert!(text.contains("before  v1, voters n1 n2 n3; survives 1 failure"), "{text}");
    assert!(text.contains("must answer: 2 of n1 n2 n3, then 2 of "), "{text}");
    assert!(text.contains("all would be needed afterwards"), "{text}");
    let json: Json =
        serde_json::from_str(&done(cluster.node(2), &["--json", "leave", "--dry-run"])).unwrap();
    assert_eq!(json["after"]["voters"], serde_json::json!([1, 3]), "{json}");
    assert_eq!(voters(cluster.node(3)), Ok((vec![1, 2, 3], 1)));
    let text = refused(cluster.node(1), &["promote", "9"]);
    assert!(text.contains("n9 is no member"), "{text}");
}

#[test]
fn a_node_that_is_reset_gets_everything_again() {
    let mut cluster = Cluster::builder().set("wal.segment_bytes", "1048576").start();
    let traffic = Traffic::start(3, &cluster.addresses()[..1]);
    traffic.await_acknowledged(10 * SOME);
    let reset = cluster.others(1).into_iter().max().unwrap();
    let text = done(cluster.node(reset), &["reset"]);
    assert_eq!(text, format!("n{reset} has its data again\n"));
    let log = cluster.node(reset).log_text();
    assert!(log.contains("forgetting the state of this node"), "{log}");
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
    // Its vote counts as before: with one of the others gone, the two left are a quorum.
    let gone = cluster.others(reset).into_iter().max().unwrap();
    cluster.node_mut(gone).kill();
    ledger.check(&mut cluster.clients());
    let text = refused(cluster.node(reset), &["reset"]);
    assert!(text.contains("start the nodes that are down first"), "{text}");
}

#[test]
fn what_would_lose_the_majority_is_refused_with_a_way_out() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    let others = cluster.others(master);
    cluster.node_mut(others[0]).kill();
    eventually("the dead node is noticed", || {
        let text = done(cluster.node(master), &["--json", "status"]);
        let status: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let state = &status["nodes"][usize::from(others[0]) - 1]["state"];
        if state == "down" { Ok(()) } else { Err(text) }
    });
    let text = refused(cluster.node(master), &["remove", &others[1].to_string()]);
    assert!(text.contains("of the new voters only 1 can be reached, 2 are needed"), "{text}");
    assert!(text.contains("start the nodes that are down, or join others first"), "{text}");
    // The dead one may go: what is left is as good as before.
    done(cluster.node(master), &["remove", &others[0].to_string()]);
    cluster.node(others[1]).connect().ok(&["SET", "k", "v"]);
}

#[test]
fn of_two_operators_only_one_is_obeyed() {
    let mut cluster = Cluster::builder().nodes(5).start();
    let master = cluster.master();
    let others = cluster.others(master);
    let ask = |node: &Node, who: u16, view: &str| {
        node.connect().call(&["WARLOCK", "REMOVE", &who.to_string(), "VIEW", view]).unwrap()
    };
    let first = ask(cluster.node(master), others[0], "1");
    assert!(!matches!(first, warlock_resp::Value::Error(_)), "{first:?}");
    await_voters(cluster.node(master), &left(&others, master, others[0]));
    // Each view has its election, in which nobody can be asked.
    let text = eventually("an answer of the new view's master", || {
        let second = ask(cluster.node(master), others[1], "1");
        let warlock_resp::Value::Error(text) = second else { panic!("{second:?}") };
        if text.starts_with("CLUSTERDOWN") { Err(text) } else { Ok(text) }
    });
    assert!(text.starts_with("REFUSED v") && text.ends_with("look again"), "{text}");
}

fn left(others: &[u16], master: u16, gone: u16) -> Vec<u64> {
    let mut left: Vec<u64> = others.iter().map(|id| u64::from(*id)).collect();
    left.push(master.into());
    left.retain(|id| *id != u64::from(gone));
    left.sort_unstable();
    left
}

#[test]
fn a_cluster_is_founded_once() {
    let mut cluster = Cluster::builder().nodes(3).founders(0).start();
    join(&mut cluster, 2);
    let bootstrap = ["--bootstrap"];
    assert_eq!(cluster.node_mut(2).terminate().code, Some(0));
    cluster.node_mut(2).start_with(&bootstrap);
    let finished = cluster.node_mut(2).finish();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains("start without --bootstrap"), "{}", finished.log);
    let by = cluster.node(1).peer.to_string();
    cluster.node_mut(3).start_with(&["--join", &by, "--cluster.name", "other"]);
    let finished = cluster.node_mut(3).finish();
    assert_eq!(finished.code, Some(1), "{}", finished.log);
    assert!(finished.log.contains("wrong cluster: "), "{}", finished.log);
    // Its settings still say how to join: they matter no more once it is a member.
    cluster.node_mut(2).start();
    cluster.await_ready();
    await_voters(cluster.node(2), &[1, 2]);
}

#[test]
fn nodes_that_are_started_together_all_join() {
    let mut cluster = Cluster::builder().nodes(4).founders(0).start();
    // In an order in which each shuts out the next, if nobody waits.
    for id in [4, 3, 2] {
        cluster.node_mut(id).start();
    }
    await_voters(cluster.node(1), &[1, 2, 3, 4]);
    cluster.await_agreement();
}

#[test]
fn a_member_starts_whatever_its_settings_say_of_members() {
    let mut cluster = Cluster::builder().nodes(3).founders(0).start();
    join(&mut cluster, 2);
    join(&mut cluster, 3);
    cluster.node(3).connect().ok(&["SET", "k", "v"]);
    for founders in ["1=127.0.0.1:1,2=127.0.0.1:2", ""] {
        assert_eq!(cluster.node_mut(3).terminate().code, Some(0));
        let mut flags = vec!["--cluster.start", "members"];
        if !founders.is_empty() {
            flags.extend(["--cluster.initial_members", founders]);
        }
        cluster.node_mut(3).start_with(&flags);
        cluster.await_ready();
        await_voters(cluster.node(3), &[1, 2, 3]);
        cluster.node(3).connect().ok(&["SET", "k", "w"]);
    }
}

#[test]
fn an_isolated_master_removes_nobody() {
    let mut cluster = Cluster::builder().nodes(5).with_network().start();
    let master = cluster.master();
    let others = cluster.others(master);
    cluster.network().cut(master);
    for other in &others[..3] {
        let reply = cluster.node(master).connect().call(&["WARLOCK", "REMOVE", &other.to_string()]);
        let refused = matches!(&reply, Ok(warlock_resp::Value::Error(_)));
        assert!(refused, "{reply:?}");
    }
    eventually("the others elect a master", || {
        let known = cluster.node(others[0]).known_master()?;
        if known == master { Err("the old one".to_owned()) } else { Ok(()) }
    });
    cluster.node(others[0]).connect().ok(&["SET", "k", "v"]);
    cluster.network().heal(master);
    cluster.await_agreement();
    for node in &cluster.nodes {
        let (voters, _) = voters(node).unwrap();
        assert_eq!(voters, [1, 2, 3, 4, 5], "n{}", node.id);
    }
}
