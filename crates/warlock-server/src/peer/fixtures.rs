//! Bytes that earlier versions sent, kept for ever in `tests/fixtures`: each is understood as what
//! it meant, and said again in the same bytes. A file is added for a new version and never changed.

use bytes::Bytes;
use warlock_paxos::{
    Ack, Ballot, Batch, CHANGES_VERSION, Charter, Decision, Declined, HandOver, Heartbeat, InForce,
    Learn, Learned, LogTime, MESSAGE_VERSION, MESSAGE_VERSION_MIN, Member, Origin, P1a, P1b, P2a,
    P2aView, P2b, P2bView, PValue, Proposal, Propose, ReadIndex, ReadIndexed, Reconfiguration,
    Release, Seat, Slot, SlotRange, SnapshotChunk, SnapshotFetch, Span, Stamp, Standing, View,
};

use super::frame::{self, FrameBuffer};
use super::handshake::{self, Accept, Hello, Lane, Reply};
use super::*;

const FRAMES: [(u8, &str); 2] = [
    (1, include_str!("../../../../tests/fixtures/frames-1.hex")),
    (2, include_str!("../../../../tests/fixtures/frames-2.hex")),
];

const HANDSHAKES: [(u16, &str); 2] = [
    (1, include_str!("../../../../tests/fixtures/handshakes-1.hex")),
    (2, include_str!("../../../../tests/fixtures/handshakes-2.hex")),
];

const fn node(number: u16) -> NodeId {
    NodeId::new(number)
}

const fn slot(position: u64) -> Slot {
    Slot::new(position)
}

const fn ballot(view: u64) -> Ballot {
    Ballot { view: View::new(view), round: 9, node: node(2) }
}

fn batch() -> Batch {
    let origin = Origin { node: node(3), incarnation: Incarnation::new(0xabcd), sequence: 41 };
    let commands = Bytes::from_static(b"some commands");
    let stamp = Stamp { log_time: LogTime::from_micros(1_700_000_000_000_001), seed: 77 };
    Batch::new(stamp, &[Proposal { origin, commands }])
}

fn charter(view: u64) -> Charter {
    let member = |number: u16, seat, voted| Member {
        node: node(number),
        seat,
        voted,
        address: format!("host-{number}:7379"),
        incarnation: (number > 1).then(|| Incarnation::new(number.into())),
    };
    let members = vec![
        member(1, Seat::Leaving, true),
        member(2, Seat::Voter, true),
        member(3, Seat::Voter, true),
        member(4, Seat::Voter, false),
        member(5, Seat::Observer, false),
    ];
    Charter { view: View::new(view), transitional: true, highest: node(5), members }
}

/// One message of each kind, and of each shape where a part may be missing, as `version` says it
/// in this view.
fn messages(version: u8, view: u64) -> Vec<Message> {
    let knows_views = version >= CHANGES_VERSION;
    let mut messages = phases(knows_views, view);
    messages.extend(proposals(view));
    messages.extend(heartbeats(knows_views, view));
    messages.extend(catching_up());
    messages.extend(reads(view));
    if knows_views {
        let (asked, promised) = (ballot(view), higher(view));
        messages.extend([
            Message::P2aView(P2aView { ballot: asked, charter: charter(view + 1) }),
            Message::P2bView(P2bView { asked, promised, view: View::new(view + 1) }),
            Message::InForce(InForce { charter: charter(view) }),
        ]);
    }
    messages
}

const fn higher(view: u64) -> Ballot {
    Ballot { round: 11, ..ballot(view) }
}

const fn decision(view: u64) -> Decision {
    Decision { ballot: ballot(view), decided: slot(6) }
}

fn phases(knows_views: bool, view: u64) -> Vec<Message> {
    let accepted = Reconfiguration { ballot: ballot(view), charter: charter(view + 1) };
    let (asked, promised) = (ballot(view), higher(view));
    let pvalue = PValue { ballot: asked, slot: slot(7), batch: batch() };
    vec![
        Message::P1a(P1a { ballot: asked, decided: slot(6) }),
        Message::P1b(P1b {
            asked,
            promised: asked,
            decided: slot(6),
            pvalues: vec![pvalue],
            unknown: vec![SlotRange { first: slot(8), last: slot(9) }],
            log_time: Some(LogTime::from_micros(2)),
            view: View::new(view),
            known: if knows_views { slot(9) } else { slot(6) },
            reconfiguration: knows_views.then_some(accepted),
        }),
        Message::P1b(P1b {
            asked,
            promised,
            decided: slot(1),
            pvalues: vec![],
            unknown: vec![],
            log_time: None,
            view: View::new(view),
            known: slot(1),
            reconfiguration: None,
        }),
        Message::P2a(P2a { ballot: asked, slot: slot(7), batch: batch(), decided: slot(6) }),
        Message::P2b(P2b { asked, promised, slot: slot(7), held: slot(6) }),
        Message::Decision(decision(view)),
    ]
}

fn proposals(view: u64) -> Vec<Message> {
    let ballot = ballot(view);
    let origin = Origin { node: node(3), incarnation: Incarnation::new(0xabcd), sequence: 42 };
    let propose = |previous, commands: &'static [u8]| {
        let commands = Bytes::from_static(commands);
        Message::Propose(Propose { ballot, origin, previous, commands })
    };
    let declined = Message::Declined(Declined { ballot, from_sequence: 42 });
    vec![propose(Some(41), b"more commands"), propose(None, b""), declined]
}

fn heartbeats(knows_views: bool, view: u64) -> Vec<Message> {
    let ballot = ballot(view);
    let heartbeat = |standing| Heartbeat {
        round: 5,
        view: View::new(view),
        ballot,
        lease: true,
        standing,
        applied: slot(6),
        decided: slot(7),
        held: vec![(node(1), slot(7)), (node(3), slot(5))],
        log_time: Some(LogTime::from_micros(3)),
        digest: Some((slot(4), 99)),
    };
    vec![
        Message::Heartbeat(heartbeat(Standing::Master { ballot, barrier: slot(3) })),
        Message::Heartbeat(heartbeat(Standing::Follower { ballot })),
        Message::Heartbeat(Heartbeat {
            lease: false,
            held: vec![],
            log_time: None,
            digest: None,
            ..heartbeat(Standing::Unhappy)
        }),
        Message::Ack(Ack {
            round: 5,
            view: View::new(view),
            promised: higher(view),
            held: if knows_views { slot(6) } else { Slot::FIRST },
            granted: true,
            stalled: false,
            silent: true,
        }),
    ]
}

fn catching_up() -> Vec<Message> {
    let (from, decided) = (slot(2), slot(6));
    let batches = vec![batch(), Batch::no_op(batch().stamp())];
    let snapshot = Some(slot(5));
    vec![
        Message::Learn(Learn { from }),
        Message::Learned(Learned { from, batches, decided, snapshot: None }),
        Message::Learned(Learned { from, batches: vec![], decided, snapshot }),
    ]
}

fn reads(view: u64) -> Vec<Message> {
    let (ballot, applied) = (ballot(view), slot(6));
    let index = Some(decision(view));
    let bytes = Bytes::from_static(b"part");
    vec![
        Message::ReadIndex(ReadIndex { id: 13 }),
        Message::ReadIndexed(ReadIndexed { id: 13, index, applied }),
        Message::ReadIndexed(ReadIndexed { id: 14, index: None, applied }),
        Message::Release(Release { ballot }),
        Message::HandOver(HandOver { ballot }),
        Message::SnapshotFetch(SnapshotFetch { slot: Some(slot(5)), offset: 4096 }),
        Message::SnapshotFetch(SnapshotFetch { slot: None, offset: 0 }),
        Message::SnapshotChunk(SnapshotChunk { slot: slot(5), offset: 4096, total: 4100, bytes }),
    ]
}

/// In which view the messages of the file are.
const fn view_of(version: u8) -> u64 {
    if version < CHANGES_VERSION { 1 } else { 3 }
}

fn identity() -> LocalIdentity {
    LocalIdentity {
        cluster: "blue".into(),
        node: node(1),
        incarnation: Incarnation::new(77),
        lease: Span::from_millis(500),
        clock_error_per_mille: 50,
        version: "0.1.0".into(),
        client_address: "127.0.0.1:6379".into(),
        protocol_max: 0,
    }
}

/// What a node of `version` says first, and what it answers.
fn handshakes(version: u16) -> (Hello, [Reply; 2]) {
    let has_lanes = version >= CHANGES_VERSION.into();
    let lane = if has_lanes { Lane::Snapshots } else { Lane::Main };
    let identity = LocalIdentity { protocol_max: version, ..identity() };
    let hello = Hello { version_min: 1, ..Hello::new(&identity, node(2), lane) };
    let accept = Accept {
        version,
        incarnation: Incarnation::new(5),
        software: "0.1.0".into(),
        client_address: "a:1".into(),
        lanes: if has_lanes { Lane::COUNT } else { 1 },
    };
    (hello, [Reply::Accept(accept), Reply::Refuse { reason: "because".into(), charter: None }])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes in the lines of a file, in each behind what they say in words.
fn lines(file: &str) -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(text, 16).expect("hexadecimal digits")
    };
    let bytes = |line: &str| {
        let digits = line.rsplit(' ').next().expect("a line has a word");
        digits.as_bytes().chunks(2).map(byte).collect()
    };
    file.lines().filter(|line| !line.starts_with('#')).map(bytes).collect()
}

#[test]
fn frames_of_every_version_are_understood_and_said_alike() {
    assert_eq!(FRAMES.map(|(version, _)| version), [MESSAGE_VERSION_MIN, MESSAGE_VERSION]);
    for (version, file) in FRAMES {
        let expected = messages(version, view_of(version));
        let frames = lines(file);
        for (frame, message) in frames.iter().zip(&expected) {
            let mut buffer = FrameBuffer::new();
            buffer.space().extend_from_slice(frame);
            assert_eq!(
                buffer.decode().unwrap(),
                std::slice::from_ref(message),
                "version {version}"
            );
            let again = frame::encode(version, message).unwrap();
            assert_eq!(hex(&again), hex(frame), "version {version}: {message}");
        }
        assert_eq!(frames.len(), expected.len(), "version {version}");
    }
}

#[test]
fn no_kind_of_message_is_without_a_frame_in_the_file_of_its_version() {
    let kinds = |messages: Vec<Message>| {
        let kinds: std::collections::HashSet<_> =
            messages.iter().map(std::mem::discriminant).collect();
        kinds.len()
    };
    // Every variant of `Message` of today; version 1 lacks the three of changes.
    assert_eq!(kinds(messages(2, 3)), 20);
    assert_eq!(kinds(messages(1, 1)), 17);
}

#[test]
fn what_a_version_cannot_say_has_no_frame_in_it() {
    for message in messages(2, 3) {
        let speaks_of_views = !matches!(
            message,
            Message::Learn(_)
                | Message::Learned(_)
                | Message::ReadIndex(_)
                | Message::ReadIndexed(ReadIndexed { index: None, .. })
                | Message::SnapshotFetch(_)
                | Message::SnapshotChunk(_)
        );
        let framed = frame::encode(1, &message);
        assert_eq!(framed == Err(NoFrame::Unknown), speaks_of_views, "{message}");
    }
}

#[test]
fn frames_of_an_unknown_version_are_refused_by_name() {
    let mut payload = vec![9];
    payload.extend_from_slice(b"whatever version 9 says");
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), &payload);
    let mut buffer = FrameBuffer::new();
    buffer.space().extend_from_slice(&length);
    buffer.space().extend_from_slice(&checksum.to_le_bytes());
    buffer.space().extend_from_slice(&payload);
    assert_eq!(
        buffer.decode().unwrap_err().to_string(),
        "frame without a message: message version 9 is newer than 2, the newest that this node \
         speaks: upgrade it"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn handshakes_of_every_version_are_understood_and_said_alike() {
    for (version, file) in HANDSHAKES {
        let (hello, replies) = handshakes(version);
        let mut bodies = Vec::new();
        for line in lines(file) {
            bodies.push(handshake::read_body(&mut line.as_slice()).await.unwrap());
        }
        assert_eq!(Hello::decode(&bodies[0]), Some(hello.clone()));
        let understood: Vec<_> = bodies[1..].iter().map(|body| Reply::decode(body)).collect();
        assert_eq!(understood, replies.clone().map(Some));
        let local = LocalIdentity { node: node(2), protocol_max: 2, ..identity() };
        assert_eq!(hello.judge(&local), Ok(version));
        if version == u16::from(MESSAGE_VERSION) {
            let said = [hello.encode(), replies[0].encode(), replies[1].encode()];
            assert_eq!(said.map(|bytes| hex(&bytes)).to_vec(), said_in(file));
        }
    }
}

fn said_in(file: &str) -> Vec<String> {
    lines(file).iter().map(|bytes| hex(bytes)).collect()
}

#[test]
fn a_handshake_of_an_unknown_version_is_refused_by_name() {
    let (hello, _) = handshakes(2);
    let local = LocalIdentity { node: node(2), protocol_max: 2, ..identity() };
    let newer = LocalIdentity { protocol_max: 9, ..hello.identity.clone() };
    let newer = Hello { version_min: 9, identity: newer, ..hello };
    assert_eq!(
        newer.judge(&local),
        Err("version mismatch: you speak 9 to 9 of the peer protocol, this node 1 to 2: upgrade \
             the older"
            .to_owned())
    );
}
