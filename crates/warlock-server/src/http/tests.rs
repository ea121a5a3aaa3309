use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use parking_lot::Mutex;
use warlock_paxos::{Instant, NodeId};

use super::facts::Totals;
use super::limited::CONNECTIONS_MAX;
use super::*;
use warlock_node::status::{NodeStatus, Role, State as NodeState, Status};

/// When everything is asked.
const NOW: Instant = Instant::from_nanos(5_000_000_000);

struct Node {
    status: Mutex<Arc<Status>>,
    flags: Mutex<(bool, bool)>,
}

impl Facts for Node {
    fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.lock())
    }

    fn recovered(&self) -> bool {
        self.flags.lock().0
    }

    fn stopping(&self) -> bool {
        self.flags.lock().1
    }

    fn now(&self) -> Instant {
        NOW
    }

    fn totals(&self) -> Totals {
        Totals { commands: 41, elections: 2, keys: 3, log_time_us: 1_500_000, ..Totals::default() }
    }
}

fn status() -> Status {
    let node = |id: u16, role, state, lease_ms_left| NodeStatus {
        id,
        addr: format!("127.0.0.1:700{id}"),
        peer: format!("127.0.0.1:710{id}"),
        role,
        state,
        applied: 100 + u64::from(id),
        lag: 0,
        lease_ms_left,
        snapshot: None,
        version: "0.1.0".into(),
    };
    Status {
        cluster: "blue <script>\"&'".into(),
        view: 1,
        master: Some(2),
        nodes: vec![
            node(1, Role::Follower, NodeState::Up, None),
            node(2, Role::Master, NodeState::Up, Some(431)),
            node(3, Role::Follower, NodeState::Down, None),
        ],
        local: 1,
        ballot: "v1.b3.n2".into(),
        at: NOW,
    }
}

fn serve() -> (HttpServer, SocketAddr, Arc<Node>) {
    let facts =
        Arc::new(Node { status: Mutex::new(Arc::new(status())), flags: Mutex::new((true, false)) });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new([NodeId::new(2)]));
    let server = start(listener, Arc::clone(&facts), metrics).unwrap();
    (server, address, facts)
}

/// The whole response to a GET of `path`.
fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn ready_node_names_the_master() {
    let (_server, address, _) = serve();
    let response = fetch(address, "/readyz");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nready\nmaster n2 v1.b3.n2\n"), "{response}");
}

#[test]
fn node_that_cannot_serve_says_why() {
    let (_server, address, facts) = serve();
    let unready = |reason: &str| {
        let response = fetch(address, "/readyz");
        assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
        assert!(response.ends_with(&format!("\r\n\r\nnot ready: {reason}\n")), "{response}");
        assert!(fetch(address, "/").contains(reason));
        assert!(fetch(address, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    };
    *facts.status.lock() = Arc::new(Status { master: None, ..status() });
    unready("no master with a quorum is known");
    *facts.status.lock() = Arc::new(Status { at: Instant::from_nanos(3_999_999_999), ..status() });
    unready("the core of this node does not answer");
    *facts.flags.lock() = (false, false);
    unready("this node recovers from its disk");
    *facts.flags.lock() = (true, true);
    unready("this node is stopping");
}

#[test]
fn page_shows_every_node_and_escapes_what_others_said() {
    let (_server, address, _) = serve();
    let page = fetch(address, "/");
    assert!(page.contains("content-type: text/html; charset=utf-8"), "{page}");
    assert!(page.contains("<h1>Cluster blue &lt;script&gt;&quot;&amp;&#39;</h1>"), "{page}");
    assert!(page.contains("<tr class=\"master\"><td>n2</td><td>master</td>"), "{page}");
    assert!(page.contains("<td class=\"down\">down</td>"), "{page}");
    assert!(page.contains(">431 ms<"), "{page}");
    assert!(!page.contains("<script"), "{page}");
}

#[test]
fn metrics_join_counters_and_facts() {
    let (_server, address, _) = serve();
    let response = fetch(address, "/metrics");
    assert!(response.contains("content-type: application/openmetrics-text"), "{response}");
    for line in [
        "warlock_is_master 0",
        "warlock_has_master 1",
        "warlock_view 1",
        "warlock_members 3",
        "warlock_members_up 2",
        "warlock_applied_slot 101",
        "warlock_commands_total 41",
        "warlock_elections_total 2",
        "warlock_keys 3",
        "warlock_log_clock_seconds 1.5",
        "warlock_wal_fsync_seconds_count 0",
        "warlock_peer_up{peer=\"2\"} 0",
    ] {
        assert!(response.lines().any(|seen| seen == line), "{line} is not in:\n{response}");
    }
    assert!(response.ends_with("# EOF\n"), "{response}");
    assert_eq!(response.matches("# EOF").count(), 1);
}

#[test]
fn unknown_paths_and_garbage_are_refused() {
    let (_server, address, _) = serve();
    assert!(fetch(address, "/etc/passwd").starts_with("HTTP/1.1 404 Not Found\r\n"));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{response}");
}

#[test]
fn connections_beyond_the_limit_wait_for_others_to_end() {
    let (_server, address, _) = serve();
    let mut idle: Vec<TcpStream> =
        (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    // All idle connections are served, so that the waiting one is the one beyond the limit.
    for stream in &mut idle {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    }
    waiting.set_nonblocking(true).unwrap();
    let early = waiting.read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    idle.pop();
    let mut response = String::new();
    waiting.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

#[test]
fn stopping_ends_the_thread_and_frees_the_port() {
    let (server, address, _) = serve();
    drop(server);
    assert!(TcpListener::bind(address).is_ok());
}
