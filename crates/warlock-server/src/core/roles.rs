//! One task for each role: takes from its mailbox, lets the state machine act, hands on what it
//! returned. No task decides anything itself.

use std::rc::Rc;

use warlock_paxos::{Acceptor, Commander, Leader, NodeId, P1b, P2b, Replica, Scout};

use super::mailbox::Mailbox;
use super::router::{AcceptorItem, LeaderItem, ReplicaItem, Router};
use crate::clock;
use crate::service::Reporter;

pub(super) async fn run_acceptor(mut acceptor: Acceptor, router: Rc<Router>) {
    let mut out = Vec::new();
    while router.acceptor.wait(None).await {
        let now = clock::now();
        while let Some(item) = router.acceptor.pop() {
            match item {
                AcceptorItem::Input(input) => acceptor.handle(now, input, &mut out),
                AcceptorItem::Synced(records) => acceptor.handle_synced(now, records),
            }
            router.carry_out(&mut out);
        }
    }
}

pub(super) async fn run_leader(mut leader: Leader, router: Rc<Router>) {
    let mut out = Vec::new();
    while router.leader.wait(leader.next_timeout()).await {
        let (now, wall) = (clock::now(), clock::wall());
        while let Some(item) = router.leader.pop() {
            match item {
                LeaderItem::Input(input) => leader.handle(now, wall, input, &mut out),
                LeaderItem::PeerUp(node, version) => leader.note_version(node, version),
                LeaderItem::PeerDown(node) => leader.handle_peer_down(now, node, &mut out),
                LeaderItem::Leave(to) => leader.handle_leave(now, to, &mut out),
                LeaderItem::Deadline(deadline) => leader.note_deadline(deadline),
                LeaderItem::Digest(slot, digest) => leader.note_digest(slot, digest),
                LeaderItem::Change { ticket, request, dry_run: true } => {
                    let judged = leader.judge(now, &request);
                    router.with_host(|host, now, out| host.handle_judged(now, ticket, judged, out));
                }
                LeaderItem::Change { ticket, request, dry_run: false } => {
                    leader.handle_change(now, ticket, &request, &mut out);
                }
                LeaderItem::Known(node, address, incarnation) => {
                    leader.note_member(node, address, incarnation);
                }
            }
            router.carry_out(&mut out);
        }
        if leader.next_timeout().is_some_and(|at| at <= now) {
            leader.handle_timeout(now, wall, &mut out);
            router.carry_out(&mut out);
        }
    }
}

pub(super) async fn run_replica(mut replica: Replica, router: Rc<Router>, mut reporter: Reporter) {
    let mut out = Vec::new();
    replica.start(clock::now(), &mut out);
    router.carry_out(&mut out);
    router.with_host(|host, now, _| host.handle_recovered(now));
    while router.replica.wait(replica.next_timeout()).await {
        let now = clock::now();
        while let Some(item) = router.replica.pop() {
            match item {
                ReplicaItem::Input(input) => replica.handle(now, input, &mut out),
                ReplicaItem::Submit { ticket, commands, deadline } => {
                    replica.handle_submit(now, ticket, commands, deadline, &mut out);
                }
                ReplicaItem::Read { ticket, deadline } => {
                    replica.handle_read(now, ticket, deadline, &mut out);
                }
                ReplicaItem::Installed { slot, log_time } => {
                    replica.handle_snapshot_installed(now, slot, log_time, &mut out);
                }
                ReplicaItem::Refused => replica.handle_snapshot_refused(),
                ReplicaItem::Snapshot(slot) => replica.note_snapshot(slot),
                ReplicaItem::Written(slot, end) => {
                    replica.handle_snapshot_written(slot, end, &mut out);
                }
                ReplicaItem::LogRead { to, from, batches } => {
                    replica.handle_log_read(to, from, batches, &mut out);
                }
                ReplicaItem::LogStart(slot) => replica.note_log_start(slot),
                ReplicaItem::Digest(slot, digest) => replica.note_digest(slot, digest),
                ReplicaItem::PeerDown(node) => replica.handle_peer_down(node),
                ReplicaItem::Turn => reporter.turn(now),
            }
            router.carry_out(&mut out);
        }
        if replica.next_timeout().is_some_and(|at| at <= now) {
            replica.handle_timeout(now, &mut out);
            router.carry_out(&mut out);
        }
    }
}

pub(super) async fn run_scout(
    mut scout: Scout,
    mailbox: Rc<Mailbox<(NodeId, P1b)>>,
    router: Rc<Router>,
) {
    let mut out = Vec::new();
    scout.start(clock::now(), &mut out);
    router.carry_out(&mut out);
    while mailbox.wait(scout.next_timeout()).await {
        while let Some((from, p1b)) = mailbox.pop() {
            scout.handle_p1b(clock::now(), from, p1b, &mut out);
        }
        scout.handle_timeout(clock::now(), &mut out);
        router.carry_out(&mut out);
    }
}

pub(super) async fn run_commander(
    mut commander: Commander,
    mailbox: Rc<Mailbox<(NodeId, P2b)>>,
    router: Rc<Router>,
) {
    let mut out = Vec::new();
    commander.start(clock::now(), &mut out);
    router.carry_out(&mut out);
    while mailbox.wait(commander.next_timeout()).await {
        while let Some((from, p2b)) = mailbox.pop() {
            commander.handle_p2b(from, &p2b, &mut out);
        }
        commander.handle_timeout(clock::now(), &mut out);
        router.carry_out(&mut out);
    }
}
