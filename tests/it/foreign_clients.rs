//! Programs and libraries that were written for Redis.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use warlock_tests::{Cluster, Node, clients_directory, run_ok};

/// Runs `redis-cli` with these arguments and this standard input.
fn redis_cli(node: &Node, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("redis-cli")
        .args(["-h", &node.client.ip().to_string(), "-p", &node.client.port().to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed, or scripts/setup installs it");
    child.stdin.take().expect("it is a pipe").write_all(input).expect("redis-cli reads");
    child.wait_with_output().expect("redis-cli ends")
}

#[track_caller]
fn says(node: &Node, arguments: &[&str], expected: &str) {
    let output = redis_cli(node, arguments, b"");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim_end(), expected, "redis-cli {}", arguments.join(" "));
}

#[test]
fn redis_cli_notices_no_difference() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    for node in [cluster.node(follower), cluster.node(1), cluster.node(3)] {
        says(node, &["SET", "k", "v"], "OK");
        says(node, &["GET", "k"], "v");
        says(node, &["-3", "GET", "k"], "v");
        says(node, &["-3", "--no-raw", "MGET", "k", "none"], "1) \"v\"\n2) (nil)");
        says(node, &["-n", "5", "DBSIZE"], "0");
        says(
            node,
            &["--no-raw", "INCR", "k"],
            "(error) ERR value is not an integer or out of range",
        );
        says(node, &["-r", "3", "PING"], "PONG\nPONG\nPONG");
        says(node, &["DEL", "k"], "1");
        let help = redis_cli(node, &["--no-raw"], b"SET a \"1 2\"\nGET a\nDEL a\n");
        assert_eq!(String::from_utf8_lossy(&help.stdout), "OK\n\"1 2\"\n(integer) 1\n");
    }
}

#[test]
fn redis_cli_loads_a_pipe_of_commands() {
    const COUNT: usize = 5000;
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let inline: String = (0..COUNT).map(|number| format!("SET p{number} {number}\r\n")).collect();
    let node = cluster.node(follower);
    let output = redis_cli(node, &["--pipe"], inline.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("errors: 0, replies: {COUNT}")), "{text}");
    says(cluster.node(1), &["DBSIZE"], &COUNT.to_string());
    says(cluster.node(2), &["GET", "p4999"], "4999");
    let scanned = redis_cli(cluster.node(3), &["--scan", "--pattern", "p499?"], b"");
    assert_eq!(String::from_utf8_lossy(&scanned.stdout).lines().count(), 10);
}

#[test]
fn redis_benchmark_runs_its_tests() {
    let mut cluster = Cluster::start();
    for id in [cluster.master(), cluster.follower()] {
        let node = cluster.node(id);
        let (host, port) = (node.client.ip().to_string(), node.client.port().to_string());
        let tests = "ping_inline,ping_mbulk,set,get,incr,mset";
        let base = ["-h", &host, "-p", &port, "-q", "-n", "2000", "-t", tests];
        for more in [[].as_slice(), &["-P", "16"], &["-P", "16", "-r", "1000", "-d", "1000"]] {
            let output = run_ok("redis-benchmark", &[&base, more].concat());
            let results = output.matches("requests per second").count();
            assert_eq!(results, 6, "{output}");
            assert!(!output.contains("ERR"), "{output}");
        }
    }
    cluster.await_agreement();
}

/// Runs a script of tests/clients with the addresses of all nodes as arguments.
#[track_caller]
fn script(cluster: &Cluster, interpreter: &Path, name: &str) {
    let clients = clients_directory();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let output = Command::new(interpreter)
        .arg(&script)
        .args(cluster.addresses().iter().map(ToString::to_string))
        .env("NODE_PATH", clients.join("node_modules"))
        .output()
        .unwrap_or_else(|error| {
            panic!("{}: {error}: run scripts/setup", interpreter.display());
        });
    let texts =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{name}: {}\n{}", output.status, texts.join("\n"));
    assert!(texts[0].ends_with("ok\n"), "{name}: {}", texts.join("\n"));
}

#[test]
fn redis_py_connects_sets_gets_and_pipelines() {
    let cluster = Cluster::start();
    let python = clients_directory().join("python/bin/python");
    script(&cluster, &python, "redis_py.py");
}

#[test]
fn ioredis_connects_sets_gets_and_pipelines() {
    let cluster = Cluster::start();
    script(&cluster, Path::new("node"), "ioredis.js");
}

#[test]
fn node_redis_connects_sets_gets_and_pipelines() {
    let cluster = Cluster::start();
    script(&cluster, Path::new("node"), "node_redis.js");
}
