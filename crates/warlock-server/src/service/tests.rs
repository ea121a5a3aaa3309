use std::process;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use tempfile::TempDir;
use warlock_node::status::{NodeStatus, State as NodeState};

use super::*;
use crate::http::Totals;

/// What a node says of itself in a test, and its clock.
struct Node {
    now: Mutex<Instant>,
    recovered: AtomicBool,
    stopping: AtomicBool,
    master: Mutex<Option<u16>>,
    applied: AtomicU64,
}

impl Facts for Node {
    fn status(&self) -> Arc<Status> {
        let master = *self.master.lock();
        let node = |id| NodeStatus {
            id,
            addr: String::new(),
            peer: String::new(),
            role: if master == Some(id) { Role::Master } else { Role::Follower },
            state: NodeState::Up,
            applied: if id == 1 { self.applied.load(Ordering::Relaxed) } else { 0 },
            lag: 0,
            lease_ms_left: None,
            snapshot: None,
            version: String::new(),
        };
        Arc::new(Status {
            cluster: "test".to_owned(),
            view: 1,
            master,
            nodes: vec![node(1), node(2)],
            local: 1,
            ballot: String::new(),
            at: self.now(),
        })
    }

    fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Relaxed)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn now(&self) -> Instant {
        *self.now.lock()
    }

    fn totals(&self) -> Totals {
        Totals::default()
    }
}

/// A node with its manager.
struct Scene {
    _directory: TempDir,
    socket: UnixDatagram,
    node: Arc<Node>,
    reporter: Reporter,
}

impl Scene {
    fn new(silence_max: Option<Span>) -> Self {
        let (directory, socket, manager) = manager(silence_max);
        let node = Arc::new(Node {
            now: Mutex::new(Instant::from_nanos(7_000_000_000)),
            recovered: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            master: Mutex::new(None),
            applied: AtomicU64::new(0),
        });
        let reporter = Reporter::new(manager, Arc::clone(&node));
        Self { _directory: directory, socket, node, reporter }
    }

    /// Lets so many milliseconds pass, and the reporter take its turn: what the manager hears.
    fn turn(&mut self, millis: u64) -> Vec<String> {
        let now = self.node.now().after(Span::from_millis(millis));
        *self.node.now.lock() = now;
        self.reporter.turn(now);
        heard(&self.socket)
    }
}

fn manager(silence_max: Option<Span>) -> (TempDir, UnixDatagram, Manager) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let line = Line::to(path.as_os_str()).unwrap();
    (directory, socket, Manager { line: Some(Arc::new(line)), silence_max })
}

/// Every line of every message that waits.
fn heard(socket: &UnixDatagram) -> Vec<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

#[test]
fn ready_is_told_once_and_only_with_a_master() {
    let mut scene = Scene::new(None);
    let waits = "STATUS=n1 waits: no master with a quorum is known, applied s0";
    assert_eq!(scene.turn(0), ["EXTEND_TIMEOUT_USEC=30000000", waits]);
    assert!(scene.turn(4999).is_empty());
    assert_eq!(scene.turn(1), ["EXTEND_TIMEOUT_USEC=30000000"]);
    *scene.node.master.lock() = Some(2);
    scene.node.recovered.store(false, Ordering::Relaxed);
    assert!(!scene.turn(0).contains(&"READY=1".to_owned()));
    scene.node.recovered.store(true, Ordering::Relaxed);
    assert_eq!(scene.turn(0), ["READY=1"]);
    *scene.node.master.lock() = None;
    assert_eq!(scene.turn(60_000), [waits]);
    *scene.node.master.lock() = Some(1);
    assert_eq!(scene.turn(0), ["STATUS=n1 is the master, applied s0"]);
    scene.node.stopping.store(true, Ordering::Relaxed);
    assert_eq!(scene.turn(0), ["STATUS=n1 stops, applied s0"]);
}

#[test]
fn a_new_role_is_told_at_once_and_a_new_slot_now_and_then() {
    let mut scene = Scene::new(None);
    *scene.node.master.lock() = Some(2);
    let follows = |slot: u64| format!("STATUS=n1 follows the master n2, applied s{slot}");
    assert_eq!(scene.turn(0), ["READY=1".to_owned(), follows(0)]);
    scene.node.applied.store(5, Ordering::Relaxed);
    assert!(scene.turn(999).is_empty());
    scene.node.applied.store(6, Ordering::Relaxed);
    assert_eq!(scene.turn(1), [follows(6)]);
    assert!(scene.turn(5000).is_empty());
    *scene.node.master.lock() = Some(1);
    assert_eq!(scene.turn(0), ["STATUS=n1 is the master, applied s6"]);
}

#[test]
fn the_watchdog_is_fed_at_half_of_its_patience() {
    let mut scene = Scene::new(Some(Span::from_millis(600)));
    let feeds = |lines: Vec<String>| lines.contains(&"WATCHDOG=1".to_owned());
    assert!(feeds(scene.turn(0)));
    assert!(!feeds(scene.turn(299)));
    assert!(feeds(scene.turn(1)));
    assert!(!feeds(scene.turn(299)));
    assert!(feeds(scene.turn(10_000)));
    assert!(!feeds(Scene::new(None).turn(10_000)));
}

#[test]
fn what_a_busy_manager_missed_is_told_again_and_nobody_waits() {
    let mut scene = Scene::new(None);
    while scene.reporter.manager.tell("X=1\n") {}
    *scene.node.master.lock() = Some(2);
    scene.reporter.turn(scene.node.now());
    let missed = heard(&scene.socket);
    assert!(missed.iter().all(|line| line == "X=1"), "{missed:?}");
    assert!(scene.turn(0).contains(&"READY=1".to_owned()));
}

#[test]
fn a_start_is_given_more_time_only_while_it_gets_on() {
    let (_directory, socket, manager) = manager(None);
    socket.set_nonblocking(false).unwrap();
    let looks = Arc::new(AtomicU64::new(0));
    let (count, counted) = (Arc::new(AtomicU64::new(7)), Arc::clone(&looks));
    let progress = Arc::clone(&count);
    let look = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let count = progress.load(Ordering::SeqCst);
        Some(Progress { count, text: format!("at {count}") })
    };
    let pause = Duration::from_millis(1);
    let watch = StartWatch::start_with_pause(&manager, pause, look).unwrap();
    let message = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(message(), "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=at 7\n");
    let seen = looks.load(Ordering::SeqCst);
    while looks.load(Ordering::SeqCst) < seen + 3 {
        thread::yield_now();
    }
    count.store(8, Ordering::SeqCst);
    assert_eq!(message(), "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=at 8\n");
    drop(watch);
    socket.set_nonblocking(true).unwrap();
    assert!(heard(&socket).is_empty());
}

#[test]
fn a_failure_is_told_on_one_line() {
    let (_directory, socket, manager) = manager(None);
    manager.tell_failure(&"no disk\nno luck");
    assert_eq!(heard(&socket), ["STATUS=failed: no disk no luck"]);
}

#[test]
fn only_this_process_is_watched() {
    let own = Some(process::id().to_string());
    let usec = |text: &str| Some(text.to_owned());
    assert_eq!(silence_max(usec("3000"), own.clone()), Some(Span::from_nanos(3_000_000)));
    assert_eq!(silence_max(usec("3000"), None), Some(Span::from_nanos(3_000_000)));
    assert_eq!(silence_max(usec("3000"), Some("1".to_owned())), None);
    for wrong in ["0", "", "-1", "soon"] {
        assert_eq!(silence_max(usec(wrong), own.clone()), None, "{wrong}");
    }
    assert_eq!(silence_max(None, own), None);
}

#[test]
fn names_of_sockets_are_paths_or_abstract() {
    for right in ["/run/systemd/notify", "@warlock"] {
        assert!(Line::to(OsStr::new(right)).is_ok(), "{right}");
    }
    for wrong in ["", "notify", "vsock:2:1234"] {
        assert!(Line::to(OsStr::new(wrong)).is_err(), "{wrong}");
    }
}
