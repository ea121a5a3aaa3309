//! Both versions of the protocol, as clients open connections today.

use warlock_resp::Value;
use warlock_tests::{Cluster, text};

/// The value of a field of a map, in either protocol version.
fn field<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let is_name = |value: &Value| text(value) == name;
    let found = if let Value::Map(pairs) = reply {
        pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value)
    } else if let Value::Array(words) = reply {
        words.chunks(2).find(|pair| is_name(&pair[0])).map(|pair| &pair[1])
    } else {
        None
    };
    found.unwrap_or_else(|| panic!("no {name} in {reply:?}"))
}

#[test]
fn hello_chooses_the_protocol_of_all_later_replies() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    for (node, mut client) in cluster.clients() {
        assert_eq!(client.ok(&["GET", "nothing"]), Value::Null);
        let two = client.ok(&["HELLO", "2"]);
        assert!(matches!(two, Value::Array(_)), "{two:?}");
        assert_eq!(*field(&two, "proto"), Value::Integer(2));
        let three = client.ok(&["HELLO", "3", "SETNAME", "tester"]);
        assert!(matches!(three, Value::Map(_)), "{three:?}");
        assert_eq!(*field(&three, "proto"), Value::Integer(3));
        assert_eq!(text(field(&three, "server")), "redis");
        assert_eq!(text(field(&three, "version")), "7.2.4");
        let role = if node == master { "master" } else { "replica" };
        assert_eq!(text(field(&three, "role")), role);
        assert_eq!(client.text(&["CLIENT", "GETNAME"]), "tester");
        assert!(matches!(client.ok(&["CONFIG", "GET", "maxmemory"]), Value::Map(_)));
        assert_eq!(client.text(&["RESET"]), "RESET");
        assert!(matches!(client.ok(&["CONFIG", "GET", "maxmemory"]), Value::Array(_)));
        let refused = client.call(&["HELLO", "4"]).unwrap();
        assert_eq!(text(&refused), "-NOPROTO unsupported protocol version");
        let refused = text(&client.call(&["AUTH", "secret"]).unwrap());
        assert!(refused.contains("without any password configured"), "{refused}");
    }
}

#[test]
fn the_opening_words_of_clients_are_understood() {
    let mut cluster = Cluster::start();
    let (_, mut client) = cluster.clients().remove(0);
    for (command, expected) in [
        ("CLIENT SETINFO LIB-NAME tester", "OK"),
        ("CLIENT SETINFO LIB-VER 1.2.3", "OK"),
        ("CLIENT SETNAME me", "OK"),
        ("CLIENT GETNAME", "me"),
        ("SELECT 0", "OK"),
        ("PING", "PONG"),
        ("PING hello", "hello"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(client.text(&words), expected, "{command}");
    }
    let id = client.text(&["CLIENT", "ID"]);
    let list = client.text(&["CLIENT", "LIST"]);
    assert!(list.contains(&format!("id={id} ")) && list.contains("lib-name=tester"), "{list}");
    let count: usize = client.text(&["COMMAND", "COUNT"]).parse().unwrap();
    let Value::Array(commands) = client.ok(&["COMMAND"]) else { panic!("COMMAND is a list") };
    assert_eq!(commands.len(), count);
    let info = client.text(&["COMMAND", "INFO", "get"]);
    assert!(info.starts_with("[[get 2 ["), "{info}");
    let docs = client.ok(&["COMMAND", "DOCS", "set"]);
    assert!(text(&docs).contains("summary"), "{docs:?}");
}

#[test]
fn info_and_role_agree_on_the_master() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    for (node, mut client) in cluster.clients() {
        let info = client.text(&["INFO"]);
        let has = |line: &str| info.lines().any(|other| other == line);
        let (role, word) =
            if node == master { ("role:master", "master") } else { ("role:slave", "slave") };
        assert!(has(role) && has("redis_version:7.2.4") && has(&format!("node:{node}")), "{info}");
        assert!(text(&client.ok(&["ROLE"])).starts_with(&format!("[{word} ")));
        assert!(info.contains("warlock_version:"), "{info}");
    }
}

#[test]
fn inline_commands_and_arrays_mix_in_one_connection() {
    let mut cluster = Cluster::start();
    let (_, mut client) = cluster.clients().remove(1);
    client.send_raw(b"SET inline \"two words\\x21\"\r\nGET inline\r\n").unwrap();
    client.queue(&["APPEND", "inline", "\r\n"]);
    client.flush().unwrap();
    client.send_raw(b"STRLEN inline\nQUIT\r\n").unwrap();
    let replies: Vec<String> = (0..5).map(|_| text(&client.receive().unwrap())).collect();
    assert_eq!(replies, ["OK", "two words!", "12", "12", "OK"]);
    assert_eq!(client.read_to_close().unwrap(), 0);
}

#[test]
fn time_is_the_same_on_all_nodes_and_never_runs_back() {
    let mut cluster = Cluster::start();
    let master = cluster.master();
    let mut clients = cluster.clients();
    let mut last = (0, 0);
    for round in 0..300 {
        let turn = round % clients.len();
        let (node, client) = &mut clients[turn];
        let Value::Array(parts) = client.ok(&["TIME"]) else { panic!("a list") };
        let number = |at: usize| text(&parts[at]).parse::<u64>().unwrap();
        let now = number(0) * 1_000_000 + number(1);
        assert!(
            now >= last.1,
            "{now} at n{node} after {} at n{}; n{master} is master",
            last.1,
            last.0
        );
        last = (*node, now);
    }
    assert!(last.1 > 1_700_000_000_000_000, "it is a time of today: {last:?}");
}
