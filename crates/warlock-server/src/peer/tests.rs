use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use warlock_paxos::{Learn, MESSAGE_LENGTH_MAX, Membership, Slot, SnapshotChunk, Span};

use super::handshake::{Hello, Lane, Reply};
use super::limits::{QUEUE_BYTES_MAX, STRANGERS_MAX};
use super::*;

/// Nothing in these tests takes longer, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = timeout(DEADLINE, future).await else {
        panic!("waited {DEADLINE:?} for {what}");
    };
    value
}

fn node(number: u16) -> NodeId {
    NodeId::new(number)
}

fn identity(number: u16) -> LocalIdentity {
    LocalIdentity {
        cluster: "blue".into(),
        node: node(number),
        incarnation: Incarnation::new(number.into()),
        lease: Span::from_millis(500),
        clock_error_per_mille: 50,
        version: format!("0.{number}"),
        client_address: format!("client-{number}:6379"),
        protocol_max: limits::VERSION_MAX,
    }
}

fn message(position: u64) -> Message {
    Message::Learn(Learn { from: Slot::new(position) })
}

fn frames(positions: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let frame = |n| frame::encode(MESSAGE_VERSION, &message(n)).unwrap().to_vec();
    positions.into_iter().flat_map(frame).collect()
}

/// A port of this machine, and its address.
async fn port() -> (TcpListener, String) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

struct Node {
    transport: Transport,
    events: mpsc::UnboundedReceiver<PeerEvent>,
    metrics: Arc<Metrics>,
}

impl Node {
    fn start(number: u16, listener: TcpListener, members: &BTreeMap<NodeId, String>) -> Self {
        let check: IncarnationCheck = Arc::new(|node, incarnation, _| {
            if incarnation == Incarnation::new(node.number().into()) {
                Ok(())
            } else {
                Err(format!("wrong incarnation of {node}"))
            }
        });
        Self::start_as(identity(number), listener, members, check)
    }

    fn start_as(
        local: LocalIdentity,
        listener: TcpListener,
        members: &BTreeMap<NodeId, String>,
        check: IncarnationCheck,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(members.keys().copied()));
        let (inbox, events) = mpsc::unbounded_channel();
        let streams = Streams::start().expect("a thread");
        let transport = Transport::start(listener, local, members, inbox, check, &metrics, streams);
        Self { transport, events, metrics }
    }

    async fn event(&mut self) -> PeerEvent {
        soon("an event", self.events.recv()).await.expect("the transport runs")
    }

    async fn up(&mut self) -> NodeId {
        loop {
            if let PeerEvent::Up { node, .. } = self.event().await {
                return node;
            }
        }
    }

    /// The next `count` messages.
    async fn messages(&mut self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            if let PeerEvent::Messages { messages, .. } = self.event().await {
                all.extend(messages);
            }
        }
        all
    }

    /// The next `count` positions that `from` says.
    async fn positions(&mut self, from: NodeId, count: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < count {
            let PeerEvent::Messages { from: sender, messages } = self.event().await else {
                continue;
            };
            assert_eq!(sender, from);
            positions.extend(messages.iter().map(|message| {
                let Message::Learn(learn) = message else {
                    panic!("nobody sends {message:?}");
                };
                learn.from.position()
            }));
        }
        positions
    }
}

/// Node 1 with a dead end for its peer 2, whose part the test plays.
async fn node_and_address() -> (Node, String) {
    let (listener, address) = port().await;
    let (closed, dead_end) = port().await;
    drop(closed);
    let members = BTreeMap::from([(node(1), address.clone()), (node(2), dead_end)]);
    (Node::start(1, listener, &members), address)
}

/// Connects as node 2.
async fn introduce(address: &str, hello: &Hello) -> (TcpStream, Reply) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hello.encode()).await.unwrap();
    let body = soon("the reply", handshake::read_body(&mut stream)).await.unwrap();
    (stream, Reply::decode(&body).expect("a whole reply"))
}

async fn guest(address: &str) -> TcpStream {
    let (stream, reply) = introduce(address, &Hello::new(&identity(2), node(1), Lane::Main)).await;
    assert!(matches!(reply, Reply::Accept(_)), "{reply:?}");
    stream
}

/// Waits for the other end to close, whatever it sends before.
async fn closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    soon("the connection to close", async {
        while !matches!(stream.read(&mut bytes).await, Ok(0) | Err(_)) {}
    })
    .await;
}

async fn two_nodes() -> (Node, Node) {
    let ((one, one_address), (two, two_address)) = (port().await, port().await);
    let members = BTreeMap::from([(node(1), one_address), (node(2), two_address)]);
    let mut one = Node::start(1, one, &members);
    let mut two = Node::start(2, two, &members);
    assert_eq!(one.up().await, node(2));
    assert_eq!(two.up().await, node(1));
    (one, two)
}

#[tokio::test(flavor = "current_thread")]
async fn messages_arrive_in_order_in_both_directions() {
    let (mut one, mut two) = two_nodes().await;
    for position in 0..5000 {
        one.transport.send(node(2), &message(position));
        two.transport.send_to_many(&[node(1), node(2)], &message(2 * position));
        if position % 100 == 0 {
            one.transport.flush().await;
            two.transport.flush().await;
        }
    }
    assert_eq!(two.positions(node(1), 5000).await, (0..5000).collect::<Vec<_>>());
    assert_eq!(
        one.positions(node(2), 5000).await,
        (0..5000).map(|position| 2 * position).collect::<Vec<_>>()
    );
    assert_eq!(one.metrics.peer(node(2)).sent_messages.get(), 5000);
    assert_eq!(two.metrics.peer(node(1)).received_messages.get(), 5000);
}

#[tokio::test(flavor = "current_thread")]
async fn answered_heartbeats_measure_the_round_trip() {
    let (one, two) = two_nodes().await;
    let rtt = one.metrics.peer(node(2)).rtt_seconds.clone();
    assert_eq!(rtt.get(), 0.0);
    let outbox = Arc::clone(&one.transport.outboxes.borrow()[&node(2)]);
    outbox.asked(7);
    outbox.answered(6);
    assert_eq!(rtt.get(), 0.0, "the answer to another round says nothing");
    let ack = |round| {
        let promised = warlock_paxos::Ballot::ZERO;
        let (view, held) = (promised.view, Slot::FIRST);
        Message::Ack(warlock_paxos::Ack {
            round,
            view,
            promised,
            held,
            granted: false,
            stalled: false,
            silent: false,
        })
    };
    two.transport.send(node(1), &ack(7));
    soon("a round trip", async {
        while rtt.get() == 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(rtt.get() > 0.0);
}

#[tokio::test(flavor = "current_thread")]
async fn large_messages_pass() {
    let (one, mut two) = two_nodes().await;
    let chunk = |mark: u8| {
        Message::SnapshotChunk(SnapshotChunk {
            slot: Slot::FIRST,
            offset: 0,
            total: 9,
            bytes: Bytes::from(vec![mark; 12 << 20]),
        })
    };
    for mark in 0..4 {
        one.transport.send(node(2), &chunk(mark));
    }
    let mut seen = Vec::new();
    while seen.len() < 4 {
        if let PeerEvent::Messages { messages, .. } = two.event().await {
            seen.extend(messages);
        }
    }
    assert!(seen == (0..4).map(chunk).collect::<Vec<_>>(), "chunks arrive whole and in order");
}

#[tokio::test(flavor = "current_thread")]
async fn introductions_tell_version_and_client_address() {
    let (listener, address) = port().await;
    let (two, two_address) = port().await;
    let members = BTreeMap::from([(node(1), address), (node(2), two_address)]);
    let mut one = Node::start(1, listener, &members);
    let _two = Node::start(2, two, &members);
    let up = one.event().await;
    let PeerEvent::Up { node: peer, version, client_addr, protocol, .. } = up else {
        panic!("the first event is a connection");
    };
    assert_eq!(peer, node(2));
    assert_eq!((version.as_str(), client_addr.as_str()), ("0.2", "client-2:6379"));
    assert_eq!(protocol, MESSAGE_VERSION);
}

#[tokio::test(flavor = "current_thread")]
async fn an_older_peer_is_told_what_it_knows_in_its_own_words() {
    let ports = [port().await, port().await, port().await];
    let members: BTreeMap<NodeId, String> =
        (1..).zip(&ports).map(|(number, (_, address))| (node(number), address.clone())).collect();
    let [(one, _), (two, _), (three, _)] = ports;
    let old = LocalIdentity { protocol_max: limits::VERSION_MIN, ..identity(2) };
    let mut one = Node::start(1, one, &members);
    let mut two = Node::start_as(old, two, &members, Arc::new(|_, _, _| Ok(())));
    let mut three = Node::start(3, three, &members);
    let mut agreed = BTreeMap::new();
    while agreed.len() < 2 {
        if let PeerEvent::Up { node, protocol, .. } = one.event().await {
            agreed.insert(node, protocol);
        }
    }
    assert_eq!(agreed, BTreeMap::from([(node(2), 1), (node(3), MESSAGE_VERSION)]));
    let charter = Membership::new(View::new(2), [node(1)]);
    let told = Message::InForce(InForce { charter: charter.charter().clone() });
    let both = [node(2), node(3)];
    one.transport.send_to_many(&both, &told);
    one.transport.send_to_many(&both, &message(7));
    assert_eq!(two.messages(1).await, [message(7)], "nothing else has words in version 1");
    assert_eq!(three.messages(2).await, [told, message(7)]);
}

#[tokio::test(flavor = "current_thread")]
async fn wrong_introductions_are_refused_with_the_reason() {
    let (mut one, address) = node_and_address().await;
    let refused = async |hello: Hello| {
        let (mut stream, reply) = introduce(&address, &hello).await;
        closed(&mut stream).await;
        match reply {
            Reply::Refuse { reason, .. } => reason,
            other @ (Reply::Accept(_) | Reply::Join(_)) => panic!("not refused: {other:?}"),
        }
    };
    let hello = || Hello::new(&identity(2), node(1), Lane::Main);

    let mut wrong = hello();
    wrong.identity.cluster = "red".into();
    assert!(refused(wrong).await.starts_with("wrong cluster: you belong to \"red\""));
    let mut wrong = hello();
    wrong.to = node(3);
    assert!(refused(wrong).await.starts_with("wrong node: you want n3, this is n1"));
    let mut wrong = hello();
    wrong.identity.node = node(9);
    assert_eq!(refused(wrong).await, "unknown member: n9 is not a peer of n1");
    let mut wrong = hello();
    wrong.identity.node = node(1);
    assert_eq!(refused(wrong).await, "unknown member: n1 is not a peer of n1");
    let mut wrong = hello();
    wrong.identity.incarnation = Incarnation::new(99);
    assert_eq!(refused(wrong).await, "wrong incarnation of n2");
    let mut wrong = hello();
    wrong.version_min = 7;
    wrong.identity.protocol_max = 8;
    assert!(refused(wrong).await.starts_with("version mismatch: you speak 7 to 8"));
    let membership = Membership::new(View::new(2), [node(1), node(2)]);
    one.transport.enter(&membership, &BTreeMap::new());
    let mut wrong = hello();
    wrong.identity.protocol_max = 1;
    assert_eq!(
        refused(wrong).await,
        "version mismatch: v2 is in force, which version 1 of the peer protocol does not know: \
         upgrade the older"
    );

    let mut stream = guest(&address).await;
    stream.write_all(&frames([5])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [5]);
}

#[tokio::test(flavor = "current_thread")]
async fn garbage_is_closed_and_disturbs_nobody() {
    let (mut one, address) = node_and_address().await;
    let mut good = guest(&address).await;
    let over = [&b"WLCKPEER"[..], &[0xff; 2]].concat();
    let bad_body = [&b"WLCKPEER"[..], &[1, 0, 7], &crc32c::crc32c(&[7]).to_le_bytes()].concat();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        &[0; 100_000],
        &[0xff; 9],
        b"WLCKPEEX",
        &over,
        &bad_body,
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The node may close before it has read everything.
        let _ = stream.write_all(garbage).await;
        closed(&mut stream).await;
    }
    good.write_all(&frames([1])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [1]);
}

#[tokio::test(flavor = "current_thread")]
async fn silent_strangers_are_closed_and_shut_nobody_out() {
    let (mut one, address) = node_and_address().await;
    let mut strangers = Vec::new();
    for _ in 0..2 * STRANGERS_MAX {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"WLCK").await.unwrap();
        strangers.push(stream);
    }
    let mut stream = guest(&address).await;
    stream.write_all(&frames([1])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [1]);
    for stream in &mut strangers {
        closed(stream).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn broken_frames_end_the_connection() {
    let (mut one, address) = node_and_address().await;
    let mut bad_checksum = frames([2]);
    *bad_checksum.last_mut().unwrap() ^= 1;
    let over = u32::try_from(MESSAGE_LENGTH_MAX + 1).unwrap().to_le_bytes();
    let mut not_a_message = vec![3, 0, 0, 0];
    not_a_message.extend(crc32c::crc32c(&[3, 0, 0, 0, 1, 0xff, 0xff]).to_le_bytes());
    not_a_message.extend([1, 0xff, 0xff]);
    for bad in [&bad_checksum[..], &[&over[..], &[0; 4]].concat(), &[0; 8], &not_a_message] {
        let mut stream = guest(&address).await;
        stream.write_all(&frames([1])).await.unwrap();
        assert_eq!(one.positions(node(2), 1).await, [1]);
        stream.write_all(bad).await.unwrap();
        let _ = stream.write_all(&frames([3])).await;
        closed(&mut stream).await;
    }
    let mut stream = guest(&address).await;
    stream.write_all(&frames([4])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [4], "what followed a broken frame is lost");
}

#[tokio::test(flavor = "current_thread")]
async fn newer_connection_ends_the_older_and_shares_no_bytes() {
    let (mut one, address) = node_and_address().await;
    let bytes = frames([1, 2]);
    let middle = bytes.len() / 2 + 3;
    let mut older = guest(&address).await;
    older.write_all(&bytes[..middle]).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [1]);

    let mut newer = guest(&address).await;
    // Whatever the older connection still says comes too late.
    let _ = older.write_all(&bytes[middle..]).await;
    let _ = older.write_all(&frames([3])).await;
    closed(&mut older).await;
    newer.write_all(&frames([4])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [4]);
}

/// Plays node 2 for a dialling node 1: accepts one connection and its introduction.
async fn accept_dialler(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = soon("the dialler", listener.accept()).await.unwrap();
    let body = soon("the hello", handshake::read_body(&mut stream)).await.unwrap();
    let hello = Hello::decode(&body).unwrap();
    assert_eq!((hello.identity, hello.to), (identity(1), node(2)));
    let accept = handshake::Accept {
        version: limits::VERSION_MAX,
        incarnation: Incarnation::new(2),
        software: "0.2".into(),
        client_address: "client-2:6379".into(),
        lanes: 1,
    };
    stream.write_all(&Reply::Accept(accept).encode()).await.unwrap();
    stream
}

/// Node 1, and the port on which the test plays its peer 2.
async fn node_and_port() -> (Node, TcpListener) {
    let ((one, one_address), (two, two_address)) = (port().await, port().await);
    let members = BTreeMap::from([(node(1), one_address), (node(2), two_address)]);
    (Node::start(1, one, &members), two)
}

#[tokio::test(flavor = "current_thread")]
async fn queue_is_bounded_and_dies_with_its_connection() {
    let (mut one, port) = node_and_port().await;
    let dropped = one.metrics.peer(node(2)).dropped_messages.clone();
    one.transport.send(node(2), &message(1));
    assert_eq!(dropped.get(), 1, "nothing waits for a connection");

    let stream = accept_dialler(&port).await;
    assert_eq!(one.up().await, node(2));
    let chunk = Message::SnapshotChunk(SnapshotChunk {
        slot: Slot::FIRST,
        offset: 0,
        total: 9,
        bytes: Bytes::from(vec![7; 8 << 20]),
    });
    // The peer reads nothing, so that the queue fills up behind the socket.
    for _ in 0..=QUEUE_BYTES_MAX / (8 << 20) {
        one.transport.send(node(2), &chunk);
    }
    assert!(dropped.get() > 1, "a full queue drops");
    drop(stream);
    let PeerEvent::Down { node: down } = one.event().await else {
        panic!("the connection is gone");
    };
    assert_eq!(down, node(2));

    let mut stream = accept_dialler(&port).await;
    assert_eq!(one.up().await, node(2));
    one.transport.send(node(2), &message(5));
    let expected = frames([5]);
    let mut received = vec![0; expected.len()];
    soon("the frame", stream.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, expected, "the new connection starts with a whole new frame");
}

#[tokio::test(flavor = "current_thread")]
async fn peer_that_talks_back_on_a_dialled_connection_is_cut_off() {
    let (mut one, port) = node_and_port().await;
    let mut stream = accept_dialler(&port).await;
    assert_eq!(one.up().await, node(2));
    stream.write_all(b"x").await.unwrap();
    closed(&mut stream).await;
    assert!(matches!(one.event().await, PeerEvent::Down { .. }));
}

#[tokio::test(flavor = "current_thread")]
async fn dialler_checks_who_answers() {
    let (one, port) = node_and_port().await;
    let (mut stream, _) = soon("the dialler", port.accept()).await.unwrap();
    soon("the hello", handshake::read_body(&mut stream)).await.unwrap();
    let impostor = handshake::Accept {
        version: limits::VERSION_MAX,
        incarnation: Incarnation::new(99),
        software: String::new(),
        client_address: String::new(),
        lanes: 1,
    };
    stream.write_all(&Reply::Accept(impostor).encode()).await.unwrap();
    closed(&mut stream).await;
    assert_eq!(one.metrics.peer(node(2)).up.get(), 0);
    assert_eq!(one.metrics.peer(node(2)).connections.get(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn who_came_under_the_name_of_a_member_is_parted_with_when_the_record_says_so() {
    let ((one, address), (two, two_address)) = (port().await, port().await);
    let members = BTreeMap::from([(node(1), address.clone()), (node(2), two_address)]);
    let anybody: IncarnationCheck = Arc::new(|_, _, _| Ok(()));
    let mut one = Node::start_as(identity(1), one, &members, anybody);
    let mut dialled = accept_dialler(&two).await;
    assert_eq!(one.up().await, node(2));
    let mut guest = guest(&address).await;
    guest.write_all(&frames([7])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [7]);

    let naming = |view: u64, bits: u128| {
        let incarnation = move |met| (met == node(2)).then(|| Incarnation::new(bits));
        Membership::new(View::new(view), [node(1), node(2)])
            .completed(|met| Some((String::new(), incarnation(met))))
    };
    one.transport.enter(&naming(2, 2), &members);
    guest.write_all(&frames([8])).await.unwrap();
    assert_eq!(one.positions(node(2), 1).await, [8], "it is who the record says");

    one.transport.enter(&naming(3, 99), &members);
    closed(&mut dialled).await;
    closed(&mut guest).await;
    assert!(matches!(one.event().await, PeerEvent::Down { .. }));
    let (mut again, reply) =
        introduce(&address, &Hello::new(&identity(2), node(1), Lane::Main)).await;
    closed(&mut again).await;
    let Reply::Refuse { reason, .. } = reply else { panic!("not refused: {reply:?}") };
    assert!(reason.starts_with("n2 comes with another data directory"), "{reason}");
}

#[tokio::test(flavor = "current_thread")]
async fn nodes_find_each_other_again_after_a_restart() {
    let ((one, one_address), (two, two_address)) = (port().await, port().await);
    let two_socket = two.local_addr().unwrap();
    let members = BTreeMap::from([(node(1), one_address), (node(2), two_address)]);
    let mut one = Node::start(1, one, &members);
    let mut first = Node::start(2, two, &members);
    assert_eq!(one.up().await, node(2));
    assert_eq!(first.up().await, node(1));
    drop(first);
    while !matches!(one.event().await, PeerEvent::Down { .. }) {}

    let listener = soon("the port", async {
        loop {
            if let Ok(listener) = listen(two_socket).await {
                return listener;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut second = Node::start(2, listener, &members);
    assert_eq!(second.up().await, node(1));
    assert_eq!(one.up().await, node(2));
    one.transport.send(node(2), &message(8));
    assert_eq!(second.positions(node(1), 1).await, [8]);
}
