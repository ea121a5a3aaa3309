//! A replica alone: what it gives to those that lag, and what it does when it lags itself.

use bytes::Bytes;
use warlock_paxos::limits::{LEARNED_BYTES, LOG_BYTES_KEPT, SUBMISSIONS_BYTES_MAX};
use warlock_paxos::{
    Ballot, Batch, Decision, Declined, Fate, Heartbeat, Incarnation, Instant, Learn, Learned,
    LogTime, Message, Notice, Origin, Output, PValue, Proposal, ReadIndexed, Replica, ReplicaState,
    Slot, SnapshotChunk, Span, Stamp, Standing, Timing, View,
};

use crate::support::node;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const MASTER: Ballot = Ballot { view: View::new(1), round: 1, node: warlock_paxos::NodeId::new(2) };
/// Slots of [`with_log`], which do not fit into one answer, nor into what is kept for nobody.
const BATCHES: u64 = 12;

fn batch(slot: u64, length: usize) -> Batch {
    let origin = Origin { node: node(3), incarnation: Incarnation::new(1), sequence: slot };
    let commands = Bytes::from(vec![0; length]);
    let stamp = Stamp { log_time: LogTime::ZERO, seed: slot };
    Batch::new(stamp, &[Proposal { origin, commands }])
}

fn replica(decided: Vec<Batch>) -> Replica {
    let state = ReplicaState {
        incarnation: Incarnation::new(1),
        first_sequence: 1,
        snapshot: Slot::FIRST,
        log_time: LogTime::ZERO,
        decided,
    };
    Replica::new(node(1), Timing::DEFAULT, state)
}

/// A replica that was not started yet, with `BATCHES` large batches.
fn with_log() -> Replica {
    replica((1..=BATCHES).map(|slot| batch(slot, LEARNED_BYTES * 2 / 5)).collect())
}

fn heartbeat(applied: u64, decided: u64, digest: Option<(Slot, u64)>) -> Heartbeat {
    Heartbeat {
        round: 1,
        view: MASTER.view,
        ballot: MASTER,
        lease: false,
        standing: Standing::Master { ballot: MASTER, barrier: Slot::FIRST },
        applied: Slot::new(applied),
        decided: Slot::new(decided),
        held: Vec::new(),
        log_time: None,
        digest,
    }
}

fn learn(replica: &Replica, from: u64) -> (Learned, bool) {
    let mut out = Vec::new();
    replica.handle_learn(node(2), &Learn { from: Slot::new(from) }, &mut out);
    let from = Slot::new(from);
    if out.contains_notice(&Notice::ReadLog { to: node(2), from }) {
        out.clear();
        replica.handle_log_read(node(2), from, Vec::new(), &mut out);
    }
    let wanted = out.contains_notice(&Notice::SnapshotWanted);
    match out.pop() {
        Some(Output::Send { to, message: Message::Learned(learned) }) if to == node(2) => {
            (learned, wanted)
        }
        other => panic!("{other:?}"),
    }
}

trait Notices {
    fn contains_notice(&self, notice: &Notice) -> bool;
}

impl Notices for Vec<Output> {
    fn contains_notice(&self, notice: &Notice) -> bool {
        self.iter().any(|output| matches!(output, Output::Notify(found) if found == notice))
    }
}

/// Whom the replica asks for decided slots, and from which on.
fn asked(out: &mut Vec<Output>) -> Vec<Slot> {
    let learns = out.drain(..).filter_map(|output| {
        let Output::Send { message: Message::Learn(learn), .. } = output else { return None };
        Some(learn.from)
    });
    learns.collect()
}

fn pass(replica: &mut Replica, out: &mut Vec<Output>) -> Instant {
    let now = replica.next_timeout().expect("a replica that lags asks again");
    replica.handle_timeout(now, out);
    now
}

#[test]
fn answer_to_a_learner_is_cut_to_what_a_message_takes() {
    let (mut replica, mut out) = (with_log(), Vec::new());
    replica.handle_heard(NOW, node(3), &heartbeat(1, 1, None), &mut out);
    replica.start(NOW, &mut out);
    let (learned, wanted) = learn(&replica, 1);
    assert_eq!((learned.from, learned.batches.len(), wanted), (Slot::FIRST, 2, false));
    assert_eq!((learned.decided, learned.snapshot), (Slot::new(BATCHES + 1), None));
    let (learned, _) = learn(&replica, BATCHES);
    assert_eq!(learned.batches, [batch(BATCHES, LEARNED_BYTES * 2 / 5)]);
    let (learned, wanted) = learn(&replica, BATCHES + 1);
    assert!(learned.batches.is_empty() && learned.snapshot.is_none() && !wanted);
}

#[test]
fn log_is_kept_for_a_node_that_lags_and_dropped_when_it_caught_up() {
    let (mut replica, mut out) = (with_log(), Vec::new());
    replica.handle_heard(NOW, node(3), &heartbeat(3, 1, None), &mut out);
    replica.start(NOW, &mut out);
    assert_eq!(replica.log_start(), Slot::new(3), "n3 needs s3");
    assert_eq!(replica.decided(Slot::new(2)), None);
    assert!(replica.decided(Slot::new(3)).is_some());

    replica.handle_peer_down(node(3));
    let next = PValue { ballot: MASTER, slot: Slot::new(BATCHES + 1), batch: batch(99, 1) };
    replica.handle_chosen(NOW, next, &mut out);
    let start = replica.log_start();
    assert!(start > Slot::new(3), "nobody is heard of that needs it");
    let kept = (start.position()..=BATCHES).map(|slot| batch(slot, LEARNED_BYTES * 2 / 5));
    let kept: usize = kept.map(|batch| batch.as_bytes().len()).sum();
    assert!(kept <= LOG_BYTES_KEPT, "{kept} bytes are kept");
}

#[test]
fn learner_of_dropped_slots_gets_a_snapshot_as_soon_as_there_is_one() {
    let (mut replica, mut out) = (with_log(), Vec::new());
    replica.start(NOW, &mut out);
    assert!(replica.log_start() > Slot::FIRST);
    let (learned, wanted) = learn(&replica, 1);
    assert!(learned.batches.is_empty() && learned.snapshot.is_none());
    assert!(wanted, "the host must take a snapshot");
    replica.note_snapshot(Slot::new(BATCHES + 1));
    let (learned, wanted) = learn(&replica, 1);
    assert_eq!((learned.snapshot, wanted), (Some(Slot::new(BATCHES + 1)), false));
}

#[test]
fn replica_asks_for_more_until_it_has_all() {
    let (mut replica, mut out) = (replica(Vec::new()), Vec::new());
    replica.handle_watermark(NOW, MASTER, Slot::new(4), &mut out);
    replica.handle_heard(NOW, node(2), &heartbeat(4, 4, None), &mut out);
    assert_eq!(asked(&mut out), [Slot::FIRST]);
    let part = |from: u64, slots: u64| Learned {
        from: Slot::new(from),
        batches: (from..from + slots).map(|slot| batch(slot, 1)).collect(),
        decided: Slot::new(4),
        snapshot: None,
    };
    replica.handle_learned(NOW, node(2), part(1, 2), &mut out);
    assert_eq!(asked(&mut out), [Slot::new(3)]);
    replica.handle_learned(NOW, node(2), part(3, 1), &mut out);
    assert_eq!((asked(&mut out), replica.applied()), (vec![], Slot::new(4)));
}

/// A replica that is being sent a snapshot of everything below s9.
fn fetching() -> Replica {
    let (mut replica, mut out) = (replica(Vec::new()), Vec::new());
    let led_by_another = Ballot { node: node(3), ..MASTER };
    replica.handle_mastership(NOW, Some((led_by_another, Slot::FIRST)), &mut out);
    replica.handle_heard(NOW, node(2), &heartbeat(9, 9, None), &mut out);
    assert_eq!(asked(&mut out), [Slot::FIRST]);
    let slot = Some(Slot::new(9));
    let gone =
        Learned { from: Slot::FIRST, batches: vec![], decided: Slot::new(9), snapshot: slot };
    replica.handle_learned(NOW, node(2), gone, &mut out);
    let fetches = |output: &Output| {
        matches!(output, Output::Send { message: Message::SnapshotFetch(fetch), .. }
            if fetch.offset == 0)
    };
    assert!(out.iter().any(fetches), "{out:?}");
    replica
}

fn chunk(slot: u64, offset: u64, total: u64, bytes: &'static [u8]) -> SnapshotChunk {
    SnapshotChunk { slot: Slot::new(slot), offset, total, bytes: Bytes::from_static(bytes) }
}

#[test]
fn snapshot_that_makes_no_sense_is_given_up_and_asked_for_later() {
    for bad in [chunk(9, 0, 0, b""), chunk(9, 0, 3, b"four"), chunk(1, 0, 4, b"four")] {
        let (mut replica, mut out) = (fetching(), Vec::new());
        replica.handle_snapshot_chunk(NOW, node(2), bad, &mut out);
        assert!(out.is_empty(), "nothing of it is written: {out:?}");
        let later = pass(&mut replica, &mut out);
        assert_eq!(asked(&mut out), [Slot::FIRST], "asked again at {later:?}");
        assert!(later > NOW);
    }
}

#[test]
fn chunk_that_nobody_waits_for_is_dropped() {
    let (mut replica, mut out) = (fetching(), Vec::new());
    replica.handle_snapshot_chunk(NOW, node(3), chunk(9, 0, 8, b"four"), &mut out);
    replica.handle_snapshot_chunk(NOW, node(2), chunk(9, 4, 8, b"four"), &mut out);
    assert!(out.is_empty(), "{out:?}");
    replica.handle_snapshot_chunk(NOW, node(2), chunk(9, 0, 8, b"four"), &mut out);
    let Output::Notify(Notice::WriteSnapshot { offset: 0, total: 8, .. }) = out[0] else {
        panic!("{out:?}")
    };
    out.clear();
    replica.handle_snapshot_chunk(NOW, node(2), chunk(8, 4, 8, b"four"), &mut out);
    assert!(out.is_empty(), "a part of another snapshot: {out:?}");
}

#[test]
fn snapshot_that_cannot_be_installed_is_asked_for_again() {
    let (mut replica, mut out) = (fetching(), Vec::new());
    replica.handle_snapshot_chunk(NOW, node(2), chunk(9, 0, 4, b"four"), &mut out);
    assert!(out.contains_notice(&Notice::InstallSnapshot { slot: Slot::new(9) }));
    out.clear();
    replica.handle_heard(NOW, node(2), &heartbeat(9, 9, None), &mut out);
    assert_eq!(asked(&mut out), [], "the host is busy with it");
    replica.handle_snapshot_refused();
    replica.handle_heard(NOW, node(2), &heartbeat(9, 9, None), &mut out);
    assert_eq!((asked(&mut out), replica.applied()), (vec![Slot::FIRST], Slot::FIRST));
}

#[test]
fn replica_that_differs_from_the_master_says_where() {
    let (mut replica, mut out) = (replica(vec![batch(1, 1), batch(2, 1)]), Vec::new());
    replica.start(NOW, &mut out);
    replica.note_digest(Slot::new(3), 77);
    let diverged = Notice::Diverged { slot: Slot::new(3) };
    for (slot, digest, differs) in [(3, 77, false), (4, 78, false), (3, 78, true)] {
        out.clear();
        let digest = Some((Slot::new(slot), digest));
        replica.handle_heard(NOW, node(2), &heartbeat(3, 3, digest), &mut out);
        assert_eq!(out.contains_notice(&diverged), differs, "{digest:?}");
    }
    let follower = Heartbeat { standing: Standing::Unhappy, ..heartbeat(3, 3, None) };
    let follower = Heartbeat { digest: Some((Slot::new(3), 78)), ..follower };
    out.clear();
    replica.handle_heard(NOW, node(3), &follower, &mut out);
    assert!(!out.contains_notice(&diverged), "only the master is compared with");
}

#[test]
fn submission_without_room_fails_at_once_and_the_others_wait() {
    let (mut replica, mut out) = (replica(Vec::new()), Vec::new());
    let deadline = NOW.after(Span::from_millis(1000));
    let large = Bytes::from(vec![0; SUBMISSIONS_BYTES_MAX]);
    replica.handle_submit(NOW, 1, large, deadline, &mut out);
    assert!(out.is_empty(), "{out:?}");
    replica.handle_submit(NOW, 2, Bytes::from_static(b"x"), deadline, &mut out);
    let failed = Notice::Failed { ticket: 2, fate: Fate::NotExecuted };
    assert!(out.len() == 1 && out.contains_notice(&failed), "{out:?}");
}

#[test]
fn what_waits_for_slots_that_a_snapshot_covers_goes_on_at_once() {
    let mut replica = replica(Vec::new());
    let (mut out, deadline) = (Vec::new(), NOW.after(Span::from_millis(1000)));
    replica.handle_mastership(NOW, Some((MASTER, Slot::FIRST)), &mut out);
    for ticket in [1, 2] {
        replica.handle_submit(NOW, ticket, Bytes::from_static(b"x"), deadline, &mut out);
    }
    let declined = Declined { ballot: MASTER, from_sequence: 2 };
    replica.handle_declined(NOW, &declined, &mut out);
    let next = Ballot { round: 2, ..MASTER };
    replica.handle_mastership(NOW, Some((next, Slot::new(9))), &mut out);
    replica.handle_read(NOW, 3, deadline, &mut out);
    let asked = out.iter().rev().find_map(|output| {
        let Output::Send { message: Message::ReadIndex(ask), .. } = output else { return None };
        Some(ask.id)
    });
    let index = Some(Decision { ballot: next, decided: Slot::new(9) });
    let answer = ReadIndexed { id: asked.expect("a question"), index, applied: Slot::new(9) };
    replica.handle_read_indexed(NOW, &answer, &mut out);
    out.clear();
    replica.handle_snapshot_installed(NOW, Slot::new(9), LogTime::ZERO, &mut out);
    assert!(out.contains_notice(&Notice::Failed { ticket: 1, fate: Fate::Unknown }), "{out:?}");
    assert!(out.contains_notice(&Notice::ReadReady { ticket: 3, allowed: true }), "{out:?}");
    let proposed = |output: &Output| {
        matches!(output, Output::Send { message: Message::Propose(propose), .. }
            if propose.ballot == next)
    };
    assert!(out.iter().any(proposed), "{out:?}");
}
