//! An acceptor alone: what it must not answer, and what it says once something is learned.

use bytes::Bytes;
use warlock_paxos::{
    Acceptor, AcceptorState, Ballot, Batch, Change, Heartbeat, Incarnation, Instant, LogTime,
    Membership, Message, NodeId, Origin, Output, P1a, P2a, Proposal, Record, Release, Slot,
    SlotRange, Stamp, Standing, Tell, Timing, View,
};

use crate::support::node;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// The acceptor of a new node in a cluster of three.
fn acceptor() -> Acceptor {
    with_unknown(Vec::new())
}

fn with_unknown(unknown: Vec<SlotRange>) -> Acceptor {
    let membership = Membership::new(View::new(1), (1..=3).map(node));
    restarted_with(Ballot::ZERO, membership, unknown)
}

fn restarted_with(ballot: Ballot, membership: Membership, unknown: Vec<SlotRange>) -> Acceptor {
    let state = AcceptorState {
        ballot,
        pvalues: Vec::new(),
        decided: Slot::FIRST,
        unknown,
        known: Slot::FIRST,
        restarted: false,
        incarnation: Incarnation::new(1),
        reconfiguration: None,
    };
    Acceptor::new(node(1), membership, Timing::DEFAULT, state, NOW)
}

fn ballot(round: u64, number: u16) -> Ballot {
    Ballot { view: View::new(1), round, node: node(number) }
}

fn batch(sequence: u64) -> Batch {
    let stamp = Stamp { log_time: LogTime::ZERO, seed: sequence };
    let origin = Origin { node: node(1), incarnation: Incarnation::new(1), sequence };
    Batch::new(stamp, &[Proposal { origin, commands: Bytes::from_static(b"x") }])
}

fn scout(acceptor: &mut Acceptor, from: NodeId, ballot: Ballot) -> Vec<Output> {
    let mut out = Vec::new();
    acceptor.handle_p1a(NOW, from, &P1a { ballot, decided: Slot::FIRST }, &mut out);
    out
}

fn accept(acceptor: &mut Acceptor, from: NodeId, ballot: Ballot, slot: u64) -> Vec<Output> {
    let mut out = Vec::new();
    let p2a = P2a { ballot, slot: Slot::new(slot), batch: batch(slot), decided: Slot::FIRST };
    acceptor.handle_p2a(NOW, from, p2a, &mut out);
    out
}

/// Whether the lease is granted to `ballot` when `from` asks for it.
fn grants(acceptor: &mut Acceptor, now: Instant, from: NodeId, ballot: Ballot) -> bool {
    let heartbeat = Heartbeat {
        round: 1,
        view: ballot.view,
        ballot,
        lease: true,
        standing: Standing::Unhappy,
        applied: Slot::FIRST,
        decided: Slot::FIRST,
        held: Vec::new(),
        log_time: None,
        digest: None,
    };
    let mut out = Vec::new();
    acceptor.handle_heartbeat(now, from, &heartbeat, &mut out);
    let [Output::Send { to, message: Message::Ack(ack) }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*to, from);
    ack.granted
}

#[test]
fn nothing_is_promised_in_the_name_of_another_node_or_to_a_stranger() {
    let mut acceptor = acceptor();
    assert!(scout(&mut acceptor, node(3), ballot(1, 2)).is_empty());
    assert!(scout(&mut acceptor, node(9), ballot(1, 9)).is_empty());
    assert_eq!(acceptor.ballot(), Ballot::ZERO);
    assert!(!scout(&mut acceptor, node(2), ballot(1, 2)).is_empty());
    assert_eq!(acceptor.ballot(), ballot(1, 2));
}

#[test]
fn nothing_is_accepted_in_the_name_of_another_node_or_of_another_view() {
    let mut acceptor = acceptor();
    let elsewhere = Ballot { view: View::new(2), ..ballot(1, 2) };
    assert!(accept(&mut acceptor, node(3), ballot(1, 2), 1).is_empty());
    assert!(accept(&mut acceptor, node(2), elsewhere, 1).is_empty());
    assert_eq!((acceptor.ballot(), acceptor.pvalue(Slot::FIRST)), (Ballot::ZERO, None));
    assert!(!accept(&mut acceptor, node(2), ballot(1, 2), 1).is_empty());
    assert_eq!(acceptor.pvalue(Slot::FIRST), Some((ballot(1, 2), &batch(1))));
}

#[test]
fn lease_goes_to_one_ballot_at_a_time_and_never_to_a_lower_one() {
    let mut acceptor = acceptor();
    scout(&mut acceptor, node(2), ballot(2, 2));
    assert!(!grants(&mut acceptor, NOW, node(3), ballot(2, 2)), "in the name of another node");
    assert!(!grants(&mut acceptor, NOW, node(1), ballot(2, 1)), "below the promise");
    let elsewhere = Ballot { view: View::new(2), ..ballot(9, 2) };
    assert!(!grants(&mut acceptor, NOW, node(2), elsewhere), "of another view");
    assert_eq!(acceptor.granted_to(NOW), None);

    assert!(grants(&mut acceptor, NOW, node(3), ballot(3, 3)));
    assert!(!grants(&mut acceptor, NOW, node(2), ballot(2, 2)), "L1: another lease runs");
    let ends: Vec<Instant> = acceptor.refusals_end().collect();
    let [end] = ends[..] else { panic!("one lease runs: {ends:?}") };
    let before = Instant::from_nanos(end.nanos() - 1);
    assert!(!grants(&mut acceptor, before, node(2), ballot(2, 2)), "L1: it runs to its end");
    assert!(grants(&mut acceptor, end, node(2), ballot(2, 2)));
}

/// A heartbeat of the node that leads with `ballot`, or of one that does not lead.
fn tell_time(acceptor: &mut Acceptor, millis_ago: u64, ballot: Ballot, leads: bool, micros: u64) {
    let heartbeat = Heartbeat {
        round: 1,
        view: ballot.view,
        ballot,
        lease: leads,
        standing: Standing::Unhappy,
        applied: Slot::FIRST,
        decided: Slot::FIRST,
        held: Vec::new(),
        log_time: Some(LogTime::from_micros(micros)),
        digest: None,
    };
    let at = Instant::from_nanos(NOW.nanos() - millis_ago * 1_000_000);
    acceptor.handle_heartbeat(at, ballot.node, &heartbeat, &mut Vec::new());
}

/// The log time that the answer to a scout with `ballot` carries.
fn answered_time(acceptor: &mut Acceptor, ballot: Ballot) -> Option<LogTime> {
    let mut outputs = scout(acceptor, ballot.node, ballot);
    while let Some(output) = outputs.pop() {
        if let Output::Persist { then, .. } = output {
            outputs.extend(then);
        } else if let Output::Send { message: Message::P1b(p1b), .. } = output {
            return p1b.log_time;
        }
    }
    panic!("a scout is answered")
}

#[test]
fn log_time_is_the_masters_and_nobody_elses() {
    let mut acceptor = acceptor();
    tell_time(&mut acceptor, 90, ballot(2, 2), true, 1000);
    tell_time(&mut acceptor, 80, ballot(3, 3), false, 900_000);
    tell_time(&mut acceptor, 70, ballot(1, 1), true, 800_000);
    let slower = 11_000;
    tell_time(&mut acceptor, 60, ballot(2, 2), true, slower);
    tell_time(&mut acceptor, 50, ballot(2, 2), true, 5000);
    let told = answered_time(&mut acceptor, ballot(4, 2));
    assert_eq!(told, Some(LogTime::from_micros(slower + 60_000)), "on from the last reading");
}

#[test]
fn log_time_goes_back_with_a_slower_master() {
    let mut acceptor = acceptor();
    tell_time(&mut acceptor, 90, ballot(2, 2), true, 100_000);
    acceptor.handle_release(&Release { ballot: ballot(2, 2) });
    tell_time(&mut acceptor, 80, ballot(3, 3), true, 50_000);
    let told = answered_time(&mut acceptor, ballot(4, 3));
    assert_eq!(told, Some(LogTime::from_micros(50_000 + 80_000)), "what it sets to expire counts");
}

#[test]
fn what_is_learned_is_told_to_the_master_once_there_is_one() {
    let mut acceptor = acceptor();
    let contents = |slot: u64| vec![(Slot::new(slot), batch(slot))];
    let mut out = Vec::new();
    acceptor.handle_decided(NOW, Slot::new(2), contents(1), &mut out);
    let learned = |output: &Output, slot: u64| {
        let record = Record::Learn { slot: Slot::new(slot), batch: batch(slot) };
        matches!(output, Output::Persist { record: Some(found), then }
            if *found == record && then.is_empty())
    };
    // A later ballot must know that it is decided, though nothing was accepted for it.
    let recorded = |output: &Output, slot: u64| {
        let record = Record::Decided { slot: Slot::new(slot) };
        matches!(output, Output::Persist { record: Some(found), .. } if *found == record)
    };
    let [content, watermark] = &out[..] else { panic!("nobody to tell: {out:?}") };
    assert!(learned(content, 1) && recorded(watermark, 2), "{out:?}");

    scout(&mut acceptor, node(2), ballot(1, 2));
    out.clear();
    acceptor.handle_decided(NOW, Slot::new(3), contents(2), &mut out);
    let [content, watermark, Output::Persist { record: None, then }] = &out[..] else {
        panic!("{out:?}")
    };
    assert!(learned(content, 2) && recorded(watermark, 3), "M3: {out:?}");
    let [Output::Send { to, message: Message::P2b(p2b) }] = &then[..] else { panic!("{then:?}") };
    assert_eq!((*to, p2b.asked, p2b.promised), (node(2), ballot(1, 2), ballot(1, 2)));
    assert_eq!((p2b.slot, p2b.held), (Slot::new(2), Slot::new(3)));
}

#[test]
fn a_node_that_is_left_out_tells_nobody_what_it_learns() {
    // A snapshot of a peer may bring a ballot of the very view that the node is not part of.
    let view = Membership::new(View::new(1), (2..=3).map(node));
    let mut acceptor = restarted_with(ballot(1, 2), view, Vec::new());
    let mut out = Vec::new();
    acceptor.handle_decided(NOW, Slot::new(2), vec![(Slot::new(1), batch(1))], &mut out);
    let silent = |output: &Output| {
        matches!(output, Output::Tell(_))
            || matches!(output, Output::Persist { then, .. } if then.is_empty())
    };
    assert!(out.iter().all(silent), "M4: {out:?}");
}

#[test]
fn unknown_slot_becomes_known_alone_when_it_is_accepted_anew() {
    let range = |first, last| SlotRange { first: Slot::new(first), last: Slot::new(last) };
    let mut acceptor = with_unknown(vec![range(3, 7), range(9, 9)]);
    for (slot, left) in [
        (5, vec![range(3, 4), range(6, 7), range(9, 9)]),
        (8, vec![range(3, 4), range(6, 7), range(9, 9)]),
        (3, vec![range(4, 4), range(6, 7), range(9, 9)]),
        (7, vec![range(4, 4), range(6, 6), range(9, 9)]),
        (9, vec![range(4, 4), range(6, 6)]),
        (6, vec![range(4, 4)]),
        (4, vec![]),
    ] {
        let out = accept(&mut acceptor, node(2), ballot(1, 2), slot);
        let told = |output: &Output| matches!(output, Output::Tell(Tell::Accepted(_)));
        assert!(out.iter().any(told), "s{slot}: {out:?}");
        assert_eq!(acceptor.unknown(), left, "after s{slot}");
    }
}

/// M5, L1: whatever view the others are in, a lease that was granted is kept.
#[test]
fn a_grant_outlives_the_view_that_it_was_given_in() {
    let mut acceptor = acceptor();
    assert!(grants(&mut acceptor, NOW, node(2), ballot(1, 2)));
    let next = Membership::new(View::new(1), (1..=3).map(node));
    let next = next.changed(&Change::Remove { node: node(2) }).expect("it may go");
    let mut out = Vec::new();
    acceptor.handle_in_force(NOW, next.charter().clone(), &mut out);
    let promises = |acceptor: &mut Acceptor, number: u16| {
        let asked = Ballot { view: next.view(), ..ballot(1, number) };
        let out = scout(acceptor, node(number), asked);
        let promised = |output: &Output| matches!(output, Output::Persist { .. });
        out.iter().any(promised)
    };
    assert!(!promises(&mut acceptor, 3), "the grant runs");
    assert!(promises(&mut acceptor, 2), "the holder itself may raise its ballot");
}

#[test]
fn a_node_with_another_directory_than_is_on_record_grants_no_lease() {
    for (recorded, granted) in [(1, true), (9, false)] {
        let found = Some((String::new(), Some(Incarnation::new(recorded))));
        let membership = Membership::new(View::new(1), (1..=3).map(node))
            .completed(|met| found.clone().filter(|_| met == node(1)));
        let mut acceptor = restarted_with(Ballot::ZERO, membership, Vec::new());
        assert_eq!(grants(&mut acceptor, NOW, node(2), ballot(1, 2)), granted, "P7");
    }
}
