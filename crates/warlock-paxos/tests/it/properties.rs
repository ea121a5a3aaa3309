//! Properties of the algebra below the roles: ballots, quorums, leases, bytes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use warlock_paxos::{
    Ack, Ballot, Batch, Charter, Decision, Declined, HandOver, Heartbeat, InForce, Incarnation,
    Instant, Learn, Learned, LogTime, Member, Membership, Message, NodeId, Origin, P1a, P1b, P2a,
    P2aView, P2b, P2bView, PValue, Proposal, Propose, ReadIndex, ReadIndexed, Reconfiguration,
    Release, Seat, Slot, SlotRange, SnapshotChunk, SnapshotFetch, Span, Stamp, Standing, Tally,
    Timing, View, decode, decode_charter, encode, encode_charter, encode_in,
};

fn ballots() -> impl Strategy<Value = Ballot> {
    (0..4_u64, 0..5_u64, 0..8_u16).prop_map(|(view, round, node)| Ballot {
        view: View::new(view),
        round,
        node: NodeId::new(node),
    })
}

fn slots() -> impl Strategy<Value = Slot> {
    any::<u64>().prop_map(Slot::new)
}

fn log_times() -> impl Strategy<Value = LogTime> {
    any::<u64>().prop_map(LogTime::from_micros)
}

fn commands() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn origins() -> impl Strategy<Value = Origin> {
    (any::<u16>(), any::<u128>(), any::<u64>()).prop_map(|(node, bits, sequence)| Origin {
        node: NodeId::new(node),
        incarnation: Incarnation::new(bits),
        sequence,
    })
}

fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let proposal = (origins(), commands());
    vec(proposal.prop_map(|(origin, commands)| Proposal { origin, commands }), 0..5)
}

fn batches() -> impl Strategy<Value = Batch> {
    (log_times(), any::<u64>(), proposals())
        .prop_map(|(log_time, seed, proposals)| Batch::new(Stamp { log_time, seed }, &proposals))
}

fn pvalues() -> impl Strategy<Value = PValue> {
    (ballots(), slots(), batches()).prop_map(|(ballot, slot, batch)| PValue { ballot, slot, batch })
}

fn standings() -> impl Strategy<Value = Standing> {
    prop_oneof![
        (ballots(), slots()).prop_map(|(ballot, barrier)| Standing::Master { ballot, barrier }),
        ballots().prop_map(|ballot| Standing::Follower { ballot }),
        Just(Standing::Unhappy),
    ]
}

fn members(transitional: bool) -> impl Strategy<Value = Vec<Member>> {
    let seats = proptest::sample::select(vec![Seat::Voter, Seat::Observer, Seat::Leaving]);
    let member = (seats, any::<bool>(), "[a-z]{0,9}", proptest::option::of(any::<u128>()));
    vec(member, 1..7).prop_map(move |members| {
        let number = |(index, (seat, voted, address, incarnation))| {
            let voted = transitional && (voted || seat == Seat::Leaving);
            let seat = if transitional || seat != Seat::Leaving { seat } else { Seat::Voter };
            let incarnation: Option<u128> = incarnation;
            let incarnation = incarnation.map(Incarnation::new);
            let node = NodeId::new(u16::try_from(index).expect("few") * 3 + 1);
            Member { node, seat, voted, address, incarnation }
        };
        members.into_iter().enumerate().map(number).collect()
    })
}

fn charters() -> impl Strategy<Value = Charter> {
    let parts = any::<bool>()
        .prop_flat_map(|transitional| (1..9_u64, Just(transitional), members(transitional)));
    let charter = parts.prop_map(|(view, transitional, members)| {
        let highest = NodeId::new(99);
        Charter { view: View::new(view), transitional, highest, members }
    });
    charter
        .prop_filter("no membership", |charter| Membership::from_charter(charter.clone()).is_ok())
}

fn reconfigurations() -> impl Strategy<Value = Reconfiguration> {
    (ballots(), charters()).prop_map(|(ballot, charter)| Reconfiguration { ballot, charter })
}

fn heartbeats() -> impl Strategy<Value = Message> {
    let first = (any::<u64>(), ballots(), any::<bool>(), standings(), slots(), slots());
    let held = vec((any::<u16>().prop_map(NodeId::new), slots()), 0..4);
    let rest = (held, proptest::option::of(log_times()));
    (first, rest, proptest::option::of((slots(), any::<u64>()))).prop_map(
        |((round, ballot, lease, standing, applied, decided), (held, log_time), digest)| {
            Message::Heartbeat(Heartbeat {
                round,
                view: ballot.view,
                ballot,
                lease,
                standing,
                applied,
                decided,
                held,
                log_time,
                digest,
            })
        },
    )
}

fn answers() -> impl Strategy<Value = Message> {
    let unknown = vec((slots(), slots()), 0..3).prop_map(|ranges| {
        ranges.into_iter().map(|(first, last)| SlotRange { first, last }).collect()
    });
    let parts = (ballots(), ballots(), slots(), vec(pvalues(), 0..4), unknown);
    let accepted = proptest::option::of(reconfigurations());
    (parts, slots(), proptest::option::of(log_times()), accepted).prop_map(
        |((asked, promised, decided, pvalues, unknown), known, log_time, reconfiguration)| {
            let view = promised.view;
            Message::P1b(P1b {
                asked,
                promised,
                decided,
                pvalues,
                unknown,
                log_time,
                view,
                known,
                reconfiguration,
            })
        },
    )
}

fn decisions() -> impl Strategy<Value = Decision> {
    (ballots(), slots()).prop_map(|(ballot, decided)| Decision { ballot, decided })
}

/// The message as version 1 tells it: an acceptor says neither what it holds nor what it lost.
fn as_told_in_version_1(message: Message) -> Message {
    if let Message::Ack(ack) = message {
        Message::Ack(Ack { held: Slot::FIRST, ..ack })
    } else if let Message::P1b(p1b) = message {
        Message::P1b(P1b { known: p1b.decided, ..p1b })
    } else {
        message
    }
}

fn messages() -> impl Strategy<Value = Message> {
    let previous = proptest::option::of(any::<u64>());
    let phases = prop_oneof![
        (ballots(), slots()).prop_map(|(ballot, decided)| Message::P1a(P1a { ballot, decided })),
        answers(),
        (ballots(), slots(), batches(), slots()).prop_map(|(ballot, slot, batch, decided)| {
            Message::P2a(P2a { ballot, slot, batch, decided })
        }),
        (ballots(), ballots(), slots(), slots()).prop_map(|(asked, promised, slot, held)| {
            Message::P2b(P2b { asked, promised, slot, held })
        }),
        (ballots(), charters())
            .prop_map(|(ballot, charter)| Message::P2aView(P2aView { ballot, charter })),
        (ballots(), ballots(), 0..9_u64).prop_map(|(asked, promised, view)| {
            Message::P2bView(P2bView { asked, promised, view: View::new(view) })
        }),
        charters().prop_map(|charter| Message::InForce(InForce { charter })),
        decisions().prop_map(Message::Decision),
        (ballots(), origins(), previous, commands()).prop_map(
            |(ballot, origin, previous, commands)| {
                Message::Propose(Propose { ballot, origin, previous, commands })
            }
        ),
        (ballots(), any::<u64>()).prop_map(|(ballot, from_sequence)| {
            Message::Declined(Declined { ballot, from_sequence })
        }),
    ];
    let others = prop_oneof![
        heartbeats(),
        (any::<u64>(), ballots(), slots(), any::<[bool; 3]>()).prop_map(
            |(round, promised, held, [granted, stalled, silent])| {
                let view = promised.view;
                Message::Ack(Ack { round, view, promised, held, granted, stalled, silent })
            }
        ),
        slots().prop_map(|from| Message::Learn(Learn { from })),
        (slots(), vec(batches(), 0..4), slots(), proptest::option::of(slots())).prop_map(
            |(from, batches, decided, snapshot)| {
                Message::Learned(Learned { from, batches, decided, snapshot })
            }
        ),
        any::<u64>().prop_map(|id| Message::ReadIndex(ReadIndex { id })),
        (any::<u64>(), proptest::option::of(decisions()), slots()).prop_map(
            |(id, index, applied)| { Message::ReadIndexed(ReadIndexed { id, index, applied }) }
        ),
        ballots().prop_map(|ballot| Message::Release(Release { ballot })),
        ballots().prop_map(|ballot| Message::HandOver(HandOver { ballot })),
        (proptest::option::of(slots()), any::<u64>())
            .prop_map(|(slot, offset)| { Message::SnapshotFetch(SnapshotFetch { slot, offset }) }),
        (slots(), any::<u64>(), any::<u64>(), commands()).prop_map(
            |(slot, offset, total, bytes)| {
                Message::SnapshotChunk(SnapshotChunk { slot, offset, total, bytes })
            }
        ),
    ];
    prop_oneof![phases, others]
}

/// A clock that drifts: its rate changes from stretch to stretch, within the bound.
fn drifting_clock() -> impl Strategy<Value = (u64, Vec<u64>)> {
    (0..1_u64 << 40, vec(950..=1050_u64, 40))
}

/// What a clock shows at `truth`, in nanoseconds, when its rate changes every 25 ms.
fn shown((origin, rates): &(u64, Vec<u64>), truth: u64) -> Instant {
    const STRETCH: u64 = 25_000_000;
    let mut local = *origin;
    let mut left = truth;
    for rate in rates.iter().cycle() {
        let stretch = left.min(STRETCH);
        local += stretch * rate / 1000;
        left -= stretch;
        if left == 0 {
            break;
        }
    }
    Instant::from_nanos(local)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn next_ballot_is_higher_and_the_nodes_own(
        ballot in ballots(), view in 0..4_u64, node in 1..8_u16,
    ) {
        let (view, node) = (View::new(view), NodeId::new(node));
        prop_assume!(view >= ballot.view);
        let next = ballot.next_for(view, node);
        prop_assert!(next > ballot);
        prop_assert!(next > Ballot::ZERO);
        prop_assert_eq!((next.view, next.node), (view, node));
    }

    #[test]
    fn ballots_are_ordered_by_view_then_round_then_node(a in ballots(), b in ballots()) {
        let key = |ballot: Ballot| (ballot.view.number(), ballot.round, ballot.node.number());
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
    }

    #[test]
    fn a_tally_counts_voters_once_and_nobody_else(
        size in 1..=7_u16, answers in vec(1..12_u16, 0..30),
    ) {
        let membership = Membership::new(View::new(1), (1..=size).map(NodeId::new));
        let mut tally = Tally::default();
        for answer in &answers {
            tally.add(&membership, NodeId::new(*answer));
        }
        let distinct: std::collections::BTreeSet<u16> =
            answers.into_iter().filter(|answer| *answer <= size).collect();
        let majority = distinct.len() * 2 > usize::from(size);
        prop_assert_eq!(tally.is_quorum(&membership), majority);
        prop_assert_eq!(tally.is_complete(&membership), distinct.len() == usize::from(size));
    }

    /// L1: whatever the clocks do within rho, the master stops before any grantor lets another in.
    #[test]
    fn a_lease_ends_for_the_master_before_it_ends_for_any_grantor(
        master in drifting_clock(),
        grantor in drifting_clock(),
        sent in 0..2_000_000_000_u64,
        delay in 0..300_000_000_u64,
        late in 0..1_000_000_000_u64,
    ) {
        let timing = Timing::DEFAULT;
        let end = timing.lease_end(shown(&master, sent));
        let grant_end = timing.grant_end(shown(&grantor, sent + delay));
        let truth = sent + late;
        if shown(&master, truth) < end {
            prop_assert!(shown(&grantor, truth) < grant_end);
        }
    }

    #[test]
    fn messages_survive_the_wire(message in messages()) {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    /// Version 1 knows one view: what is of another must never look as if it were of that one.
    #[test]
    fn an_older_version_says_the_same_or_nothing(message in messages()) {
        let mut bytes = Vec::new();
        if encode_in(1, &message, &mut bytes) {
            let told = decode(&bytes).unwrap();
            let mut again = Vec::new();
            prop_assert!(encode_in(1, &told, &mut again));
            prop_assert_eq!(again, bytes);
            prop_assert_eq!(as_told_in_version_1(message), told);
        } else {
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn charters_survive_the_disk(charter in charters(), cut in any::<prop::sample::Index>()) {
        let bytes = encode_charter(&charter);
        prop_assert_eq!(decode_charter(&bytes), Ok(charter));
        prop_assert!(decode_charter(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_cut_or_lengthened_message_is_refused(
        message in messages(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        let length = cut.index(bytes.len());
        prop_assert!(decode(&bytes[..length]).is_err());
        bytes.push(0);
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), version in 0_u8..3) {
        let mut framed = if version > 0 { vec![version] } else { Vec::new() };
        framed.extend(bytes);
        if let Ok(message) = decode(&framed) {
            let mut again = Vec::new();
            prop_assert!(encode_in(framed[0], &message, &mut again));
            prop_assert_eq!(again, framed);
            prop_assert!(!message.to_string().is_empty());
        }
    }

    #[test]
    fn a_batch_holds_what_was_put_into_it(
        time in log_times(), seed in any::<u64>(), proposals in proposals(),
    ) {
        let stamp = Stamp { log_time: time, seed };
        let batch = Batch::new(stamp, &proposals);
        prop_assert_eq!(batch.stamp(), stamp);
        prop_assert_eq!(batch.proposals(), proposals);
        let again = Batch::from_bytes(batch.as_bytes().clone());
        prop_assert_eq!(again, Ok(batch));
    }

    #[test]
    fn bytes_are_a_batch_or_refused(bytes in vec(any::<u8>(), 0..120)) {
        if let Ok(batch) = Batch::from_bytes(Bytes::from(bytes.clone())) {
            let whole = Batch::new(batch.stamp(), &batch.proposals());
            prop_assert_eq!(whole.as_bytes().as_ref(), bytes.as_slice());
        }
    }
}

#[test]
fn any_two_quorums_of_any_membership_share_a_voter() {
    for size in 1..=7_u16 {
        let membership = Membership::new(View::new(1), (1..=size).map(NodeId::new));
        let quorums: Vec<u32> = (0..1_u32 << size)
            .filter(|set| usize::try_from(set.count_ones()) == Ok(membership.quorum()))
            .collect();
        for a in &quorums {
            assert!(quorums.iter().all(|b| a & b != 0), "{size} nodes: {a:b}");
        }
        let minority = usize::from(size) - membership.quorum();
        assert!(minority < membership.quorum(), "the rest of {size} nodes is no quorum");
    }
}

#[test]
fn spans_that_do_not_fit_together_are_refused() {
    use warlock_paxos::TimingError;
    let timing = |lease, heartbeat, error| {
        Timing::new(Span::from_millis(lease), Span::from_millis(heartbeat), error)
    };
    assert_eq!(timing(500, 100, 50), Ok(Timing::DEFAULT));
    assert!(timing(300, 100, 50).is_ok());
    assert_eq!(timing(299, 100, 50), Err(TimingError::LeaseTooShort));
    assert!(timing(3, 1, 199).is_ok());
    assert_eq!(timing(3, 0, 50), Err(TimingError::NoHeartbeat));
    assert_eq!(timing(500, 100, 200), Err(TimingError::ClockErrorTooLarge));
}
