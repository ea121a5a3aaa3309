//! The program, run as an operator runs it, against a node made for the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod node;

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::node::Node;

const STATUS: &str = r#"{"cluster":"test","view":1,"master":2,"nodes":[
    {"id":1,"addr":"10.0.0.1:6379","peer":"10.0.0.1:7379","role":"follower","state":"up",
     "applied":120,"lag":1,"version":"0.1.0","later":true},
    {"id":2,"addr":"10.0.0.2:6379","peer":"10.0.0.2:7379","role":"master","state":"up",
     "applied":121,"lag":0,"lease_ms_left":437,"version":"0.1.0"},
    {"id":3,"addr":"","peer":"10.0.0.3:7379","role":"follower","state":"down",
     "applied":7,"lag":114,"version":""}],"later":[]}"#;

/// Runs the program with the words of `arguments`, in an environment that names no node.
fn run(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warlock-admin"))
        .args(arguments.split(' '))
        .env_remove("WARLOCK_ADDR")
        .output()
        .unwrap()
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A node that answers each of these requests, and refuses all others.
fn node(answers: &[(&str, &str)]) -> Node {
    let owned = |(request, reply): &(&str, &str)| ((*request).to_owned(), (*reply).to_owned());
    Node::start(answers.iter().map(owned).collect())
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(code(output), 0);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The text on stderr; nothing may be on stdout.
fn stderr(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn object(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

#[test]
fn status_shows_every_node_and_how_far_it_is_behind() {
    let node = node(&[("WARLOCK STATUS", &bulk(STATUS))]);
    let text = stdout(&run(&format!("--addr {} status", node.address)));
    let expected = "\
cluster test, view v1, master n2

NODE  ROLE      STATE  ADDRESS        APPLIED  BEHIND MASTER BY  LEASE LEFT  VERSION
n1    follower  up     10.0.0.1:6379     s120            1 slot           -  0.1.0
n2    master    up     10.0.0.2:6379     s121           0 slots      437 ms  0.1.0
n3    follower  down   ?                   s7         114 slots           -  ?
";
    assert_eq!(text, expected);
}

#[test]
fn status_json_is_one_object_whatever_newer_nodes_add() {
    let node = node(&[("WARLOCK STATUS", &bulk(STATUS))]);
    let text = stdout(&run(&format!("--addr {} --json status", node.address)));
    let status = object(&text);
    let mut expected: Value = serde_json::from_str(STATUS).unwrap();
    expected.as_object_mut().unwrap().remove("later");
    expected["nodes"][0].as_object_mut().unwrap().remove("later");
    assert_eq!(status, expected);
    assert!(text.starts_with(r#"{"cluster":"test","view":1,"master":2,"nodes":[{"id":1,"#));
}

#[test]
fn status_without_a_master_says_so() {
    let text = r#"{"cluster":"test","view":1,"master":null,"nodes":[]}"#;
    let node = node(&[("WARLOCK STATUS", &bulk(text))]);
    let people = stdout(&run(&format!("--addr {} status", node.address)));
    assert!(people.starts_with("cluster test, view v1, no master: "), "{people}");
    let programs = stdout(&run(&format!("--addr {} --json status", node.address)));
    assert_eq!(object(&programs)["master"], Value::Null);
}

#[test]
fn members_are_one_object_too() {
    let status: Value = serde_json::from_str(STATUS).unwrap();
    let node = node(&[("WARLOCK MEMBERS", &bulk(&status["nodes"].to_string()))]);
    let people = stdout(&run(&format!("--addr {} members", node.address)));
    let expected = "\
NODE  ROLE      STATE  ADDRESS        PEER ADDRESS   BEHIND MASTER BY
n1    follower  up     10.0.0.1:6379  10.0.0.1:7379            1 slot
n2    master    up     10.0.0.2:6379  10.0.0.2:7379           0 slots
n3    follower  down   ?              10.0.0.3:7379         114 slots
";
    assert_eq!(people, expected);
    let programs = object(&stdout(&run(&format!("--addr {} --json members", node.address))));
    assert_eq!(programs["nodes"][1]["peer"], json!("10.0.0.2:7379"));
    assert_eq!(programs["nodes"][2]["lag"], json!(114));
}

#[test]
fn digest_and_version_have_both_forms() {
    let digest = "%2\r\n$7\r\napplied\r\n:9\r\n$6\r\ndigest\r\n$4\r\n00ff\r\n";
    let node = node(&[("WARLOCK DIGEST", digest), ("WARLOCK STATUS", &bulk(STATUS))]);
    let ask = |what: &str| stdout(&run(&format!("--addr {} {what}", node.address)));
    assert_eq!(ask("digest"), "s9 00ff\n");
    assert_eq!(object(&ask("--json digest")), json!({ "applied": 9, "digest": "00ff" }));
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(ask("version"), format!("warlock-admin {own}\nn1 0.1.0\nn2 0.1.0\nn3 ?\n"));
    let version = object(&ask("--json version"));
    assert_eq!((&version["admin"], &version["nodes"][1]["id"]), (&json!(own), &json!(2)));
}

#[test]
fn wait_ready_waits_through_refusals() {
    let mut replies = vec![("WARLOCK READY", "-LOADING recovering\r\n"); 2];
    replies.push(("WARLOCK READY", "+OK\r\n"));
    let node = node(&replies);
    let text = stdout(&run(&format!("--addr {} --json wait-ready", node.address)));
    assert_eq!(object(&text)["ready"], json!(true));
    assert_eq!(node.requests("WARLOCK READY"), 3);
}

#[test]
fn wait_ready_gives_up_with_the_reason() {
    let node = node(&[("WARLOCK READY", "-CLUSTERDOWN no master\r\n")]);
    let output = run(&format!("--addr {} --timeout 300ms wait-ready", node.address));
    assert_eq!(code(&output), 4);
    let text = stderr(&output);
    assert!(text.contains("CLUSTERDOWN no master") && text.contains("next: "), "{text}");
}

#[test]
fn exec_prints_raw_bytes_into_a_pipe() {
    let node = node(&[("GET k", "$3\r\na\0b\r\n"), ("LRANGE l 0 -1", "*2\r\n:1\r\n_\r\n")]);
    assert_eq!(stdout(&run(&format!("--addr {} exec GET k", node.address))), "a\0b\n");
    let text = stdout(&run(&format!("--addr {} exec LRANGE l 0 -1", node.address)));
    assert_eq!(text, "1\n\n");
    let text = stdout(&run(&format!("--addr {} --json exec LRANGE l 0 -1", node.address)));
    assert_eq!(object(&text), json!({ "reply": [1, null] }));
}

#[test]
fn each_class_of_failure_has_its_exit_status() {
    let node = node(&[
        ("SET a 1", "-UNKNOWN lost the master\r\n"),
        ("SET b 1", "-CLUSTERDOWN no master\r\n"),
        ("GET l", "-WRONGTYPE no\r\n"),
    ]);
    let address = &node.address;
    for (arguments, expected, kind) in [
        (format!("--addr {address} exec GET l"), 1, "refused"),
        (format!("--addr {address} --timeout 1s exec SET b 1"), 1, "refused"),
        (format!("--addr {address} exec SELECT 1"), 2, "usage"),
        (format!("--addr {} --timeout 1s status", node::nobody()), 3, "cannot_connect"),
        (format!("--addr {address} exec SET a 1"), 4, "unknown"),
    ] {
        let output = run(&arguments);
        assert_eq!(code(&output), expected, "{arguments}");
        let text = stderr(&output);
        assert!(text.starts_with("error: ") && text.contains("\n  next: "), "{text}");
        let text = stderr(&run(&format!("--json {arguments}")));
        assert_eq!(object(&text)["kind"], json!(kind), "{text}");
    }
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    for arguments in ["frobnicate", "--addr nowhere status", "--timeout 1h status", "exec"] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments}");
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn the_address_can_come_from_the_environment() {
    let node = node(&[("PING", "+PONG\r\n")]);
    let output = Command::new(env!("CARGO_BIN_EXE_warlock-admin"))
        .args(["exec", "PING"])
        .env("WARLOCK_ADDR", format!("{},{}", node::nobody(), node.address))
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "PONG\n");
}

#[test]
fn help_teaches_by_example() {
    for (arguments, example) in
        [("--help", "warlock-admin wait-ready --timeout 1m"), ("exec --help", "exec MGET a b")]
    {
        let text = stdout(&run(arguments));
        assert!(text.contains(example), "{text}");
    }
}

/// Every command that the help of `program` names.
fn commands() -> Vec<String> {
    let help = stdout(&run("--help"));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.contains(&"status".to_owned()), "{help}");
    names
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&format!("completions {shell}")));
        for name in commands() {
            assert!(script.contains(&name), "{name} is not in: {script}");
        }
    }
    assert_eq!(code(&run("completions cmd.exe")), 2);
}

#[test]
fn manual_pages_describe_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("man").display().to_string();
    assert_eq!(stdout(&run(&format!("man {path}"))), "");
    let read = |name: &str| std::fs::read_to_string(format!("{path}/{name}.1")).unwrap();
    let main = read("warlock-admin");
    for name in commands() {
        let title = format!("warlock\\-admin\\-{}", name.replace('-', "\\-"));
        assert!(main.contains(&title), "{title} is not in: {main}");
        let page = read(&format!("warlock-admin-{name}"));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    // Examples are not run together into a paragraph.
    assert!(main.contains("\n.SH EXAMPLES\n.nf\n"), "{main}");
    assert!(main.contains("\n.SH \"EXIT STATUS\"\n.nf\n"), "{main}");
    let output = run("man /dev/null/pages");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/dev/null/pages"));
}
