//! Wrong settings: every complaint names key, value and place, and the exit code is 2.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use warlock_tests::{Finished, Process, warlockd};

/// A file that is right, apart from what a case appends or replaces.
const GOOD: &str = "\
node_id = 1
data_dir = \"DATA\"
client.listen = \"127.0.0.1:6979\"
peer.listen = \"127.0.0.1:7979\"
http.listen = \"127.0.0.1:9979\"
[cluster.initial_members]
1 = \"127.0.0.1:7979\"
2 = \"127.0.0.1:7980\"
3 = \"127.0.0.1:7981\"
";

/// Name of a case, what it replaces by what, and what the complaint contains.
const FILES: &[(&str, &str, &[&str])] = &[
    ("node_id = 1", "node_id = 0", &["FILE:1", "node_id = 0", "from 1 to 65535"]),
    ("node_id = 1", "node_id = 65536", &["FILE:1", "node_id = 65536"]),
    ("node_id = 1", "node_id = \"one\"", &["FILE:1", "node_id = \"one\""]),
    ("node_id = 1", "node_id = 4", &["FILE:1", "node_id = 4", "initial_members"]),
    ("node_id = 1", "", &["node_id", "missing", "--node_id", "WARLOCK_NODE_ID"]),
    ("node_id = 1", "node_ids = 1", &["FILE:1", "node_ids", "did you mean \"node_id\"?"]),
    ("node_id = 1", "node_id = 1\nnode_id = 1", &["FILE:2", "duplicate key"]),
    ("node_id = 1", "node_id = [1", &["FILE:", "not TOML"]),
    ("data_dir = \"DATA\"", "data_dir = \"\"", &["FILE:2", "data_dir = \"\""]),
    (":6979", ":0", &["FILE:3", "client.listen = \"127.0.0.1:0\"", "port from 1 to 65535"]),
    ("127.0.0.1:6979", "localhost", &["FILE:3", "client.listen = \"localhost\"", "IP address"]),
    (":6979", ":9979", &["FILE:5", "http.listen = \"127.0.0.1:9979\"", "client.listen"]),
    ("client.listen", "client.lisen", &["FILE:3", "client.lisen", "\"client.listen\"?"]),
    ("127.0.0.1:7980", "127.0.0.1", &["cluster.initial_members", "member 2", "\"127.0.0.1\""]),
    ("127.0.0.1:7980", "127.0.0.1:7981", &["cluster.initial_members", "n2 and n3", "7981"]),
    ("127.0.0.1:7980", "0.0.0.0:7980", &["cluster.initial_members", "member 2", "0.0.0.0:7980"]),
    ("2 = ", "zero = ", &["cluster.initial_members", "member \"zero\""]),
    ("http.listen", "consensus.lease_ms = 49\nhttp.listen", &["FILE:5", "lease_ms = 49"]),
    (
        "http.listen",
        "consensus.heartbeat_ms = 126\nhttp.listen",
        &["FILE:5", "heartbeat_ms = 126", "at most 125", "lease_ms = 500"],
    ),
    (
        "http.listen",
        "durability.mode = \"sync\"\nhttp.listen",
        &["FILE:5", "\"sync\"", "\"fsync\""],
    ),
    ("http.listen", "backend.kind = \"disk\"\nhttp.listen", &["FILE:5", "\"disk\"", "\"memory\""]),
    (
        "http.listen",
        "log.level = \"loud\"\nhttp.listen",
        &["FILE:5", "log.level = \"loud\"", "trace"],
    ),
    (
        "http.listen",
        "client.connections_max = -1\nhttp.listen",
        &["FILE:5", "connections_max = -1"],
    ),
    (
        "http.listen",
        "wal.snapshot_after_bytes = 1048576\nhttp.listen",
        &["FILE:5", "wal.snapshot_after_bytes = 1048576", "wal.segment_bytes = 67108864"],
    ),
    ("http.listen", "consensus = 3\nhttp.listen", &["FILE:5", "consensus = 3", "section"]),
];

/// A directory with a settings file.
struct Case {
    directory: TempDir,
    file: PathBuf,
}

impl Case {
    fn new(text: &str) -> Self {
        let directory = TempDir::with_prefix("warlock-settings-").expect("a directory can be made");
        let data = directory.path().join("data").display().to_string();
        let file = directory.path().join("w.toml");
        fs::write(&file, text.replace("DATA", &data)).expect("a file can be written");
        Self { directory, file }
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        let mut command = Command::new(warlockd());
        command.args(arguments).envs(environment.iter().copied());
        Process::run(command.current_dir(self.directory.path()))
    }

    #[track_caller]
    fn assert_refused(&self, finished: &Finished, expected: &[&str]) {
        assert_eq!(finished.code, Some(2), "{}", finished.log);
        for text in expected {
            let text = text.replace("FILE", "w.toml");
            assert!(finished.log.contains(&text), "{text:?} is not in: {}", finished.log);
        }
        assert!(!self.directory.path().join("data").exists(), "nothing was touched");
    }
}

#[test]
fn wrong_files_are_refused_by_the_daemon_and_by_check_config() {
    for (from, to, expected) in FILES {
        assert!(GOOD.contains(from), "{from}");
        let case = Case::new(&GOOD.replacen(from, to, 1));
        case.assert_refused(&case.run(&["--config", "w.toml"], &[]), expected);
        case.assert_refused(&case.run(&["check-config", "w.toml"], &[]), expected);
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let text = GOOD.replace(":6979", ":0").replace("node_id = 1", "node_id = 0");
    let case = Case::new(&text);
    let finished = case.run(&["check-config", "w.toml"], &[]);
    case.assert_refused(&finished, &["FILE:1: node_id = 0", "FILE:3: client.listen"]);
}

#[test]
fn wrong_flags_are_refused() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["--node_id", "0"], &["--node_id", "\"0\"", "from 1 to 65535"]),
        (&["--consensus.lease_ms", "soon"], &["--consensus.lease_ms", "\"soon\""]),
        (&["--durability.mode", "none"], &["--durability.mode", "\"none\"", "fsync"]),
        (&["--client.lisen", "127.0.0.1:1"], &["--client.lisen"]),
        (&["--client.listen"], &["--client.listen"]),
        (&["surplus"], &["surplus"]),
    ];
    for (flags, expected) in cases {
        let case = Case::new(GOOD);
        let arguments: Vec<&str> = [&["--config", "w.toml"], *flags].concat();
        case.assert_refused(&case.run(&arguments, &[]), expected);
    }
}

#[test]
fn wrong_variables_are_refused() {
    for (name, value, expected) in [
        ("WARLOCK_NODE_ID", "none", ["WARLOCK_NODE_ID", "\"none\""]),
        ("WARLOCK_CLIENT_LISTEN", "here", ["WARLOCK_CLIENT_LISTEN", "\"here\""]),
        ("WARLOCK_CLIENT_LISTNE", "127.0.0.1:1", ["WARLOCK_CLIENT_LISTNE", "CLIENT_LISTEN"]),
    ] {
        let case = Case::new(GOOD);
        let finished = case.run(&["--config", "w.toml"], &[(name, value)]);
        case.assert_refused(&finished, &expected);
    }
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    let case = Case::new(GOOD);
    for arguments in [["--config", "none.toml"], ["check-config", "none.toml"]] {
        let expected = ["none.toml", "No such file or directory"];
        case.assert_refused(&case.run(&arguments, &[]), &expected);
    }
    fs::write(&case.file, b"node_id = \xff").unwrap();
    case.assert_refused(&case.run(&["check-config", "w.toml"], &[]), &["FILE", "UTF-8"]);
}

#[test]
fn a_good_file_is_called_good() {
    let case = Case::new(GOOD);
    let finished = case.run(&["check-config", "w.toml"], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    assert!(finished.log.contains("w.toml"), "{}", finished.log);
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let case = Case::new(&GOOD.replace("node_id = 1", "node_id = 0"));
    // Each layer has another mistake; the highest one that sets the key is the one reported.
    let from_file = case.run(&["--config", "w.toml"], &[]);
    case.assert_refused(&from_file, &["FILE:1: node_id = 0"]);
    let variable = [("WARLOCK_NODE_ID", "70000")];
    let from_variable = case.run(&["--config", "w.toml"], &variable);
    case.assert_refused(&from_variable, &["environment WARLOCK_NODE_ID", "70000"]);
    let from_flag = case.run(&["--config", "w.toml", "--node_id", "80000"], &variable);
    case.assert_refused(&from_flag, &["flag --node_id", "80000"]);
}

#[test]
fn help_names_every_setting_and_the_version_is_told() {
    let case = Case::new(GOOD);
    let help = case.run(&["--help"], &[]);
    assert_eq!(help.code, Some(0));
    for flag in ["--config", "--node_id", "--client.listen", "--wal.segment_bytes", "dev"] {
        assert!(help.log.contains(flag), "{flag} is not in: {}", help.log);
    }
    let version = case.run(&["--version"], &[]);
    assert_eq!(version.log.trim(), format!("warlockd {}", env!("CARGO_PKG_VERSION")));
}
