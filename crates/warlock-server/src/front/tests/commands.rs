//! Commands that the front end answers itself, in the words of Redis 7.2.

use super::*;

#[test]
fn errors_have_the_words_of_redis() {
    let node = Node::master();
    let mut client = node.client();
    for (command, reply) in [
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT -1", "-ERR DB index is out of range"),
        ("SELECT 99999999999", "-ERR value is not an integer or out of range"),
        ("SELECT 15", "+OK"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO 3 foo", "-ERR Syntax error in HELLO option 'foo'"),
        ("HELLO 3 AUTH x", "-ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 AUTH x y", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3 AUTH x y foo", "-ERR Syntax error in HELLO option 'foo'"),
        (
            "AUTH secret",
            "-ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ),
        ("AUTH x y", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH default y", "+OK"),
        ("AUTH a b c", "-ERR syntax error"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        ("CLIENT nosuch", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP."),
        ("CLIENT SETINFO a b", "-ERR Unrecognized option 'a'"),
        ("CLIENT SETINFO LIB-NAME redis-py", "+OK"),
        ("CLIENT SETINFO lib-ver 8.1.0", "+OK"),
        ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-fqdn", "+OK"),
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
        ("CLIENT LIST foo", "-ERR syntax error"),
        ("CLIENT SETNAME me", "+OK"),
        ("RESET", "+RESET"),
        ("CLIENT GETNAME", "$-1"),
        ("CONFIG SET save x", "-ERR unknown subcommand 'SET'. Try CONFIG HELP."),
    ] {
        client.send(pipeline(&[command]));
        assert_eq!(client.line(), reply, "{command}");
    }
    client.send(request(&["CLIENT", "SETNAME", "a b"]));
    client.expect("-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
}

#[test]
fn no_connection_command_of_the_table_is_forgotten() {
    let node = Node::master();
    let specs = warlock_store::COMMANDS.iter();
    for spec in specs.filter(|spec| spec.class == warlock_store::Class::Connection) {
        let commands: Vec<_> = match spec.subcommands {
            [] => vec![(spec.name.to_owned(), spec.arity)],
            subcommands => {
                subcommands.iter().map(|sub| (sub.name.replace('|', " "), sub.arity)).collect()
            }
        };
        for (name, arity) in commands {
            let mut words: Vec<_> = name.split(' ').collect();
            words.resize(words.len().max(arity.unsigned_abs().into()), "0");
            let mut client = node.client();
            client.send(request(&words));
            let line = client.line();
            assert!(!line.contains("unknown"), "{name}: {line}");
            assert!(!line.contains("not available"), "{name}: {line}");
        }
    }
}

#[test]
fn hello_describes_the_node() {
    let node = Node::follower();
    let mut client = node.client();
    client.send(pipeline(&["HELLO 3 AUTH default any SETNAME me", "CLIENT GETNAME", "CLIENT ID"]));
    client.expect("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n");
    client.expect("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n");
    let id = client.line();
    client.expect("$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$7\r\nreplica\r\n");
    client.expect("$7\r\nmodules\r\n*0\r\n$2\r\nme\r\n").expect(format!("{id}\r\n"));
    // Without arguments it changes nothing.
    client.send("HELLO\r\n").expect("%7\r\n");
    while client.line() != "*0" {}
    *node.shared.status.lock() = Arc::new(status(Some(1)));
    client.send("HELLO 2\r\n").expect("*14\r\n");
    while client.line() != "$4" || client.line() != "role" {}
    client.expect("$6\r\nmaster\r\n");
}

#[test]
fn client_list_shows_the_connections_of_all_workers() {
    let node = Node::with_workers(Limits::DEFAULT, 3);
    let mut clients: Vec<_> = (0..6).map(|_| node.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(pipeline(&[&format!("CLIENT SETNAME c{index}")])).expect("+OK\r\n");
    }
    let list = clients[0].send(pipeline(&["CLIENT LIST"])).text();
    for (index, client) in clients.iter().enumerate() {
        let address = client.stream.local_addr().unwrap();
        let line = list.lines().find(|line| line.contains(&format!(" name=c{index} "))).unwrap();
        assert!(line.contains(&format!(" addr={address} laddr={} ", node.address)), "{line}");
        assert!(line.contains(" db=0 ") && line.contains(" resp=2 "), "{line}");
    }
    assert_eq!(list.lines().count(), 6);
    let info = clients[3].send(pipeline(&["CLIENT INFO"])).text();
    let id = info.strip_prefix("id=").unwrap().split(' ').next().unwrap().to_owned();
    assert!(info.contains(" name=c3 "), "{info}");
    let one = clients[0].send(pipeline(&[&format!("CLIENT LIST ID {id} 999999")])).text();
    assert_eq!((one.lines().count(), one.contains(" name=c3 ")), (1, true));
    assert_eq!(clients[0].send(pipeline(&["CLIENT LIST TYPE pubsub"])).text(), "");
    drop(clients.pop());
    node.wait_until("a connection closed", |shared| {
        shared.connections.load(Ordering::Relaxed) == 5
    });
    let list = clients[0].send(pipeline(&["CLIENT LIST"])).text();
    assert!(!list.contains(" name=c5 "), "{list}");
}

#[test]
fn info_has_what_clients_look_for() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["SET k v", "SET l v EX 100"])).expect("+OK\r\n+OK\r\n");
    let info = client.send(pipeline(&["INFO"])).text();
    for line in [
        "# Server",
        "redis_version:7.2.4",
        "warlock_version:0.0.1",
        "redis_mode:standalone",
        "arch_bits:64",
        "# Clients",
        "connected_clients:1",
        "maxclients:10000",
        "blocked_clients:0",
        "# Memory",
        "maxmemory_policy:noeviction",
        "# Persistence",
        "loading:0",
        "aof_enabled:1",
        "# Stats",
        "# Replication",
        "role:master",
        "connected_slaves:2",
        "slave0:ip=127.0.0.1,port=7002,state=online,offset=17,lag=0",
        "# CPU",
        "# Modules",
        "# Cluster",
        "cluster_enabled:0",
        "# Keyspace",
        "db0:keys=2,expires=1,avg_ttl=0",
        "# Warlock",
        "cluster:test",
        "view:1",
        "master:1",
    ] {
        assert!(info.split("\r\n").any(|found| found == line), "{line} is missing in {info}");
    }
    let info = client.send(pipeline(&["INFO replication KEYSPACE nosuch"])).text();
    assert!(info.starts_with("# Replication\r\n") && !info.contains("# Server"), "{info}");
    assert_eq!(info.matches("# ").count(), 2, "{info}");
    *node.shared.status.lock() = Arc::new(status(Some(3)));
    let info = client.send(pipeline(&["INFO replication"])).text();
    assert!(info.contains("role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7003\r\n"), "{info}");
    *node.shared.status.lock() = Arc::new(status(None));
    let info = client.send(pipeline(&["INFO replication"])).text();
    assert!(info.contains("master_link_status:down"), "{info}");
    client.send(pipeline(&["HELLO 3"])).expect("%7\r\n");
    while client.line() != "*0" {}
    client
        .send(pipeline(&["INFO cluster"]))
        .expect("=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n");
}

#[test]
fn config_get_takes_patterns_in_any_case() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["CONFIG GET save"])).expect("*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
    client
        .send(pipeline(&["CONFIG GET APPENDONLY dat?bases"]))
        .expect("*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$9\r\ndatabases\r\n$2\r\n16\r\n");
    client.send(pipeline(&["CONFIG GET nosuch*"])).expect("*0\r\n");
    client.send(pipeline(&["HELLO 3"]));
    while client.line() != "*0" {}
    client.send(pipeline(&["CONFIG GET timeout"])).expect("%1\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
}

#[test]
fn role_follows_the_master() {
    let node = Node::master();
    let mut client = node.client();
    client.send(pipeline(&["SET k v"])).expect("+OK\r\n");
    client.send(pipeline(&["ROLE"])).expect(
        "*3\r\n$6\r\nmaster\r\n:1\r\n*2\r\n\
         *3\r\n$9\r\n127.0.0.1\r\n$4\r\n7002\r\n$2\r\n17\r\n\
         *3\r\n$9\r\n127.0.0.1\r\n$4\r\n7003\r\n$2\r\n17\r\n",
    );
    *node.shared.status.lock() = Arc::new(status(Some(3)));
    client
        .send(pipeline(&["ROLE"]))
        .expect("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:7003\r\n$9\r\nconnected\r\n:1\r\n");
    *node.shared.status.lock() = Arc::new(status(None));
    client
        .send(pipeline(&["ROLE"]))
        .expect("*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n");
}

#[test]
fn warlock_commands_tell_of_the_cluster() {
    let node = Node::follower();
    let mut client = node.client();
    let text = client.send(pipeline(&["WARLOCK STATUS"])).text();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["master"], 2);
    assert_eq!(value["nodes"][1]["role"], "master");
    assert_eq!(value["nodes"][1]["lease_ms_left"], 400);
    let text = client.send(pipeline(&["WARLOCK MEMBERS"])).text();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[2]["addr"], "127.0.0.1:7003");
    client.send(pipeline(&["WARLOCK VERSION"])).expect("$5\r\n0.0.1\r\n");
    let digest = format!("{:016x}", node.shared.store.digest());
    client
        .send(pipeline(&["WARLOCK DIGEST"]))
        .expect(format!("*4\r\n$7\r\napplied\r\n:0\r\n$6\r\ndigest\r\n$16\r\n{digest}\r\n"));
    client.send(pipeline(&["WARLOCK HELP"]));
    assert!(client.line().starts_with('*'));
}

#[test]
fn ready_needs_a_master_that_answers() {
    let node = Node::follower();
    let mut client = node.client();
    client.send(pipeline(&["WARLOCK READY"])).expect("+OK\r\n");
    assert_eq!(node.core(|core| core.tickets.len()), 1);
    node.core(|core| core.allowed = false);
    client
        .send(pipeline(&["WARLOCK READY"]))
        .expect("-CLUSTERDOWN no master with a quorum can be reached\r\n");
    node.hold_lease();
    client.send(pipeline(&["WARLOCK READY"])).expect("+OK\r\n");
}

#[test]
fn a_benchmark_that_begins_inline_works() {
    let node = Node::master();
    let mut client = node.client();
    client.send("PING\r\n\r\nping\nset k \"a b\"\r\nGET k\r\n");
    client.expect("+PONG\r\n+PONG\r\n+OK\r\n$3\r\na b\r\n");
}
