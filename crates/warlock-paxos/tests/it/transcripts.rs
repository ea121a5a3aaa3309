//! Runs the protocol scenes of `tests/transcripts/*.txt`.
//!
//! A command, `----`, and what happened because of it, down to an empty line. `UPDATE=1` writes
//! down what happens now; the difference is to be read like code. Commands:
//!
//! | command | does |
//! |---|---|
//! | `cluster 3 [stranger=n3]` | starts as many nodes; nobody has met the stranger |
//! | `meet n3` | has everybody meet it |
//! | `elect n1` | has n1 stand for election at once, and delivers everything, without a trace |
//! | `scout n1` | has n1 stand for election at once, and delivers nothing |
//! | `propose n1 x=1 [deadline=200ms]` | takes a command of a client of n1 |
//! | `read n1 [deadline=200ms]` | asks for a linearizable read on n1 |
//! | `local-read n1` | reads on n1 under its lease |
//! | `deliver n1->n2 [KIND]` | delivers what waits on a link, or only messages of one kind |
//! | `drop`, `duplicate`, `reverse n1->n2 [KIND]` | loses, doubles or reverses what waits there |
//! | `drop all` | loses everything that waits |
//! | `network` | lists what waits |
//! | `stabilize` | delivers until nothing waits |
//! | `tick 100ms` | lets time pass, while messages wait |
//! | `run 100ms` | lets time pass, while messages take none |
//! | `partition n1 n2 \| n3` | cuts all links between the groups |
//! | `cut n1->n2`, `cut n1-n2` | cuts one direction, or both |
//! | `heal` | restores all links |
//! | `crash n1 [kept=2]`, `restart n1` | loses what is not synced, but for the oldest |
//! | `disk n1 stalled`, `fast`, `sync=2` | holds writes back, lets them through |
//! | `corrupt n1 s9` | makes a record of a stopped node unreadable |
//! | `snapshot n1` | takes a snapshot, and drops the log that it covers |
//! | `hand-over n1 [n2]` | has the master leave |
//! | `newcomer n4` | starts a node that knows no membership |
//! | `change n1 [view=v3] add n4` | asks n1 for a membership; also `promote n4`, `remove n4` |
//! | `change n1 readdress n4 a:1` | asks n1 for another address of a node |
//! | `change n1 let n1 n2 vote` | asks n1 for these voters and no others |
//! | `down n1 n2` | tells n1 that its connection to n2 closed |
//! | `status` | one line for each node |
//! | `mute`, `unmute` | ends and begins the trace |
//! | `heartbeats on`, `no-ops on` | shows what is hidden else: it would drown the rest |

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::support::disk::incarnation;
use crate::support::scene::{Scene, Speed};
use warlock_paxos::{Change, NodeId, Slot, Span, View};

/// One command with what is expected of it, and the comments before it.
struct Step {
    comments: String,
    command: String,
    expected: String,
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = text.lines().peekable();
    let mut comments = String::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            comments.push_str(line);
            comments.push('\n');
            continue;
        }
        let mut expected = String::new();
        if lines.peek() == Some(&"----") {
            lines.next();
            while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                expected.push_str(line);
                expected.push('\n');
            }
            lines.next_if_eq(&"");
        }
        let comments = std::mem::take(&mut comments);
        steps.push(Step { comments, command: line.to_owned(), expected });
    }
    steps
}

fn node(text: &str) -> NodeId {
    let number = text.strip_prefix('n').and_then(|number| number.parse().ok());
    NodeId::new(number.unwrap_or_else(|| panic!("{text:?} is no node")))
}

fn link(text: &str) -> (NodeId, NodeId) {
    let (from, to) = text.split_once("->").unwrap_or_else(|| panic!("{text:?} is no link"));
    (node(from), node(to))
}

fn span(text: &str) -> Span {
    let number = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    Span::from_millis(number.unwrap_or_else(|| panic!("{text:?} is no span")))
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn run(scene: &mut Option<Scene>, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let (verb, words) = words.split_first().expect("a command");
    if *verb == "cluster" {
        let stranger = option(words, "stranger").map(node);
        *scene = Some(Scene::new(words[0].parse().expect("a number of nodes"), stranger));
    }
    let scene = scene.as_mut().expect("a transcript starts with `cluster`");
    match *verb {
        "cluster" => {}
        "deliver" | "drop" | "duplicate" | "reverse" => handle_link(scene, verb, words),
        "partition" | "cut" | "heal" => shape_network(scene, verb, words),
        "crash" | "restart" | "disk" | "corrupt" | "snapshot" => harm(scene, verb, words),
        "mute" | "unmute" => scene.mute(*verb == "mute"),
        "no-ops" => scene.show_no_ops(words[0] == "on"),
        "heartbeats" => scene.show_heartbeats(words[0] == "on"),
        _ => drive(scene, verb, words),
    }
    let trace = scene.take_trace();
    if trace.is_empty() { String::from("ok\n") } else { trace }
}

fn change(words: &[&str]) -> Change {
    let incarnation = incarnation(node(words[1]));
    match words[0] {
        "add" => Change::AddObserver { node: node(words[1]), address: String::new(), incarnation },
        "promote" => Change::Promote { node: node(words[1]) },
        "remove" => Change::Remove { node: node(words[1]) },
        "readdress" => Change::Readdress { node: node(words[1]), address: words[2].to_owned() },
        "let" => {
            let voters = words[1..].iter().filter(|word| **word != "vote");
            Change::SetVoters { voters: voters.map(|word| node(word)).collect() }
        }
        other => panic!("{other:?} is no change"),
    }
}

fn drive(scene: &mut Scene, verb: &str, words: &[&str]) {
    let deadline = option(words, "deadline").map(span);
    match verb {
        "elect" => {
            scene.mute(true);
            scene.elect(node(words[0]));
            scene.stabilize();
            scene.mute(false);
            scene.status();
        }
        "scout" => scene.elect(node(words[0])),
        "propose" => scene.propose(node(words[0]), words[1], deadline),
        "read" => scene.read(node(words[0]), deadline),
        "local-read" => scene.read_locally(node(words[0])),
        "stabilize" => scene.stabilize(),
        "tick" => scene.pass(span(words[0]), false),
        "run" => scene.pass(span(words[0]), true),
        "network" => scene.list_network(),
        "newcomer" => scene.newcomer(node(words[0])),
        "meet" => scene.meet(node(words[0])),
        "change" => {
            let view = option(words, "view").and_then(|view| view.strip_prefix('v')?.parse().ok());
            let words: Vec<&str> =
                words.iter().copied().filter(|word| !word.contains('=')).collect();
            scene.change(node(words[0]), view.map(View::new), change(&words[1..]));
        }
        "hand-over" => scene.hand_over(node(words[0]), words.get(1).map(|to| node(to))),
        "down" => scene.peer_down(node(words[0]), node(words[1])),
        "version" => {
            let version = words[2].parse().expect("a version");
            scene.peer_version(node(words[0]), node(words[1]), version);
        }
        "status" => scene.status(),
        _ => panic!("{verb:?} is no command"),
    }
}

fn handle_link(scene: &mut Scene, verb: &str, words: &[&str]) {
    if words[0] == "all" {
        scene.lose_everything();
        return;
    }
    let (from, to) = link(words[0]);
    let messages = scene.take(from, to, words.get(1).copied().unwrap_or(""));
    match verb {
        "deliver" => messages.into_iter().for_each(|message| scene.arrive(from, to, message)),
        "drop" => messages.iter().for_each(|m| scene.say_message(from, to, m, " (lost)")),
        "duplicate" => {
            for message in messages {
                scene.put(from, to, message.clone());
                scene.put(from, to, message);
            }
        }
        _ => messages.into_iter().rev().for_each(|message| scene.put(from, to, message)),
    }
}

fn shape_network(scene: &mut Scene, verb: &str, words: &[&str]) {
    match verb {
        "heal" => scene.heal(),
        "partition" => {
            let groups: Vec<Vec<NodeId>> = words
                .split(|word| *word == "|")
                .map(|group| group.iter().map(|word| node(word)).collect())
                .collect();
            let group_of = |id: NodeId| groups.iter().position(|group| group.contains(&id));
            for from in scene.members() {
                for to in scene.members() {
                    if group_of(from) != group_of(to) {
                        scene.block(from, to);
                    }
                }
            }
        }
        _ if words[0].contains("->") => {
            let (from, to) = link(words[0]);
            scene.block(from, to);
        }
        _ => {
            let (a, b) = words[0].split_once('-').expect("two nodes");
            scene.block(node(a), node(b));
            scene.block(node(b), node(a));
        }
    }
}

fn harm(scene: &mut Scene, verb: &str, words: &[&str]) {
    let id = node(words[0]);
    match verb {
        "crash" => {
            let kept = option(words, "kept").map_or(0, |kept| kept.parse().expect("a number"));
            scene.crash(id, kept);
        }
        "restart" => scene.start(id),
        "snapshot" => scene.snapshot(id),
        "corrupt" => {
            let position = words[1].strip_prefix('s').and_then(|number| number.parse().ok());
            scene.corrupt(id, Slot::new(position.expect("a slot")));
        }
        _ => match (words[1], option(words, "sync")) {
            (_, Some(writes)) => scene.complete(id, writes.parse().expect("a number")),
            ("fast", None) => scene.set_disk(id, Speed::Fast),
            ("stalled", None) => scene.set_disk(id, Speed::Stalled),
            (other, None) => panic!("{other:?} is no disk"),
        },
    }
}

#[test]
fn transcripts_tell_what_happens() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let files = std::fs::read_dir(&folder).expect("the folder of transcripts");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let mut differing = String::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a readable transcript");
        let (mut scene, mut written) = (None, String::new());
        for step in parse(&text) {
            let Step { comments, command, expected } = step;
            let found = run(&mut scene, &command);
            if found != expected {
                let name = path.file_name().expect("a name").display();
                let _ = writeln!(differing, "{name}: {command}\n{expected}became\n{found}");
            }
            let _ = write!(written, "{comments}{command}\n----\n{found}\n");
        }
        if update {
            std::fs::write(path, written.trim_end().to_owned() + "\n").expect("a writable file");
        }
    }
    assert!(paths.len() >= 50, "only {} transcripts", paths.len());
    assert!(update || differing.is_empty(), "UPDATE=1 would accept this:\n{differing}");
}
