//! Every node takes every command, and all nodes together behave like one Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use warlock_resp::Value;
use warlock_tests::{Client, Cluster, Fate, Register, text};

/// A conversation with one Redis: `command => reply`. Each line goes to another node.
const CONVERSATION: &str = "
    SET greeting hello => OK
    GET greeting => hello
    STRLEN greeting => 5
    APPEND greeting -world => 11
    GET greeting => hello-world
    SET greeting again NX => nil
    SET greeting again XX GET => hello-world
    GETSET greeting more => again
    GETDEL greeting => more
    EXISTS greeting => 0
    SETNX once 1 => 1
    SETNX once 2 => 0
    GET once => 1
    MSET a 1 b 2 c 3 => OK
    MGET a b c nothing => [1 2 3 nil]
    MSETNX c 9 d 9 => 0
    EXISTS d => 0
    MSETNX d 4 e 5 => 1
    INCR a => 2
    INCRBY a 40 => 42
    DECR a => 41
    DECRBY a 1 => 40
    INCRBYFLOAT a 0.5 => 40.5
    INCR once => 2
    TYPE a => string
    TYPE nothing => none
    EXISTS a b c nothing => 3
    RENAME a z => OK
    EXISTS a => 0
    GET z => 40.5
    RENAMENX z b => 0
    RENAMENX z y => 1
    DEL y b => 2
    UNLINK c nothing => 1
    DBSIZE => 3
    KEYS o* => [once]
    SCAN 0 MATCH d* COUNT 1000 => [0 [d]]
    SETEX short 1000 v => OK
    TTL short => 1000
    PERSIST short => 1
    TTL short => -1
    EXPIRE short 100 => 1
    EXPIRE short 50 GT => 0
    EXPIREAT short 99999999999 => 1
    EXPIRETIME short => 99999999999
    PEXPIREAT short 99999999999123 => 1
    PEXPIRETIME short => 99999999999123
    GETEX short PERSIST => v
    PTTL short => -1
    PSETEX short 1000000 w => OK
    GETEX short => w
    DEL short => 1
    TTL short => -2
    SELECT 3 => OK
    DBSIZE => 3
    FLUSHDB => OK
    DBSIZE => 0
    RANDOMKEY => nil
    ECHO spoken => spoken
    PING => PONG
";

#[test]
fn a_conversation_spread_over_all_nodes_reads_like_one_redis() {
    let mut cluster = Cluster::start();
    let mut clients = cluster.clients();
    let lines = CONVERSATION.lines().map(str::trim).filter(|line| !line.is_empty());
    for (number, line) in lines.enumerate() {
        let (command, expected) = line.split_once(" => ").expect("`command => reply`");
        let words: Vec<&str> = command.split(' ').collect();
        let turn = number % clients.len();
        let (node, client) = &mut clients[turn];
        let reply = text(&client.call(&words).unwrap());
        assert_eq!(reply, expected, "{command} at n{node}");
    }
    cluster.await_agreement();
}

#[test]
fn errors_are_the_same_on_every_node() {
    let mut cluster = Cluster::start();
    let mut clients = cluster.clients();
    clients[0].1.ok(&["SET", "word", "no number"]);
    for (command, start) in [
        ("INCR word", "ERR value is not an integer or out of range"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("NOSUCH 1", "ERR unknown command 'NOSUCH', with args beginning with: '1' "),
        ("SET word v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET word v NX XX", "ERR syntax error"),
        ("SELECT 16", "ERR DB index is out of range"),
        ("RENAME nothing other", "ERR no such key"),
        ("EXPIRE word x", "ERR value is not an integer or out of range"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        for (node, client) in &mut clients {
            let reply = client.call(&words).unwrap();
            assert_eq!(text(&reply), format!("-{start}"), "{command} at n{node}");
        }
    }
    for (_, client) in &mut clients {
        assert_eq!(client.text(&["GET", "word"]), "no number");
    }
}

#[test]
fn values_of_any_bytes_and_any_size_arrive_everywhere() {
    let mut cluster = Cluster::start();
    let mut clients = cluster.clients();
    let all_bytes: String = (0..=255_u8).map(char::from).collect();
    let large = "0123456789abcdef".repeat(256 * 1024);
    for (number, value) in ["", "\r\n$3\r\n", &all_bytes, &large].into_iter().enumerate() {
        let key = format!("key {number}");
        let writer = number % clients.len();
        clients[writer].1.ok(&["SET", &key, value]);
        for (node, client) in &mut clients {
            let found = client.ok(&["GET", &key]);
            assert!(found == Value::Bulk(value.into()), "n{node} has another value for {key}");
        }
    }
}

#[test]
fn databases_are_apart_on_every_node() {
    let mut cluster = Cluster::start();
    let mut clients = cluster.clients();
    for database in ["0", "7", "15"] {
        clients[0].1.ok(&["SELECT", database]);
        clients[0].1.ok(&["SET", "k", database]);
    }
    for (_, client) in &mut clients {
        for database in ["15", "0", "7"] {
            client.ok(&["SELECT", database]);
            assert_eq!(client.text(&["GET", "k"]), database);
        }
        client.ok(&["SELECT", "1"]);
        assert_eq!(client.text(&["GET", "k"]), "nil");
    }
    clients[1].1.ok(&["FLUSHALL"]);
    for (_, client) in &mut clients {
        client.ok(&["SELECT", "15"]);
        assert_eq!(client.text(&["DBSIZE"]), "0");
    }
}

#[test]
fn reads_on_any_node_never_go_back_in_time() {
    const RAISES: usize = 1500;
    let mut cluster = Cluster::start();
    let register = Register::new("register");
    let done = AtomicBool::new(false);
    let readers = cluster.clients();
    let mut writers = cluster.clients();
    thread::scope(|scope| {
        for (_, mut client) in readers {
            let (register, done) = (&register, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let fate = register.read(&mut client);
                    assert!(matches!(fate, Fate::Done(_)), "{fate:?}");
                }
            });
        }
        for number in 0..RAISES {
            let turn = number % writers.len();
            let fate = register.raise(&mut writers[turn].1);
            assert!(matches!(fate, Fate::Done(_)), "{fate:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(writers[0].1.text(&["GET", "register"]), RAISES.to_string());
}

#[test]
fn pipelined_replies_belong_to_their_commands_while_neighbours_vanish() {
    const CONNECTIONS: usize = 200;
    const COMMANDS: usize = 20;
    const ROUNDS: usize = 5;
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    for round in 0..ROUNDS {
        let mut clients: Vec<Client> =
            (0..CONNECTIONS).map(|_| cluster.node(follower).connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            for command in 0..COMMANDS {
                let nonce = format!("{round}.{number}.{command}");
                let key = format!("nonce:{nonce}");
                client.queue(&["SET", &key, &nonce]);
                client.queue(&["ECHO", &nonce]);
                client.queue(&["GET", &key]);
            }
            client.flush().unwrap();
        }
        // Every third vanishes with its replies unread, which resets its connection.
        let staying = clients.into_iter().enumerate().filter(|(number, _)| number % 3 != 0);
        for (number, mut client) in staying.collect::<Vec<_>>() {
            for command in 0..COMMANDS {
                let nonce = format!("{round}.{number}.{command}");
                assert_eq!(text(&client.receive().unwrap()), "OK");
                assert_eq!(text(&client.receive().unwrap()), nonce);
                assert_eq!(text(&client.receive().unwrap()), nonce);
            }
        }
    }
}

#[test]
fn wait_counts_the_followers_that_hold_the_write() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    let follower = cluster.follower();
    for (node, mut client) in cluster.clients() {
        client.ok(&["SET", "k", "1"]);
        let held = client.text(&["WAIT", "2", "10000"]);
        assert_eq!(held, "2", "at n{node}");
    }
    cluster.node_mut(follower).pause();
    let mut client = cluster.node(master).connect();
    client.ok(&["SET", "k", "2"]);
    assert_eq!(client.text(&["WAIT", "1", "10000"]), "1");
    assert_eq!(client.text(&["WAIT", "2", "300"]), "1");
    cluster.node_mut(follower).resume();
    assert_eq!(client.text(&["WAIT", "2", "20000"]), "2");
}
