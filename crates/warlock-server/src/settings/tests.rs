use std::path::Path;

use super::*;

const GOOD: &str = r#"
node_id = 2
data_dir = "data"

[cluster.initial_members]
1 = "one:7379"
2 = "two:7379"
3 = "three:7379"
"#;

fn layers(text: &str) -> Layers {
    Layers { file: Some((PathBuf::from("w.toml"), text.to_owned())), ..Layers::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The messages for `text` after the good lines.
fn complaints(text: &str) -> Vec<String> {
    match layers(text).settings() {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

fn complaint(text: &str) -> String {
    let all = complaints(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn with(section: &str) -> String {
    format!("{GOOD}\n{section}")
}

#[test]
fn sample_file_shows_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/warlock.toml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, sample()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), sample(), "run once with UPDATE=1");
}

#[test]
fn sample_file_is_accepted_and_means_the_defaults() {
    let sample = layers(&sample()).settings().unwrap();
    let required = Layers {
        flags: pairs(&[
            ("node_id", "1"),
            ("cluster.initial_members", "1=127.0.0.1:7379, 2=127.0.0.1:7380,3=127.0.0.1:7381"),
        ]),
        ..Layers::default()
    };
    assert_eq!(sample, required.settings().unwrap());
    assert_eq!(sample.consensus.lease, Span::from_millis(500));
    assert_eq!(sample.consensus.heartbeat, Span::from_millis(100));
    assert_eq!(sample.consensus.clock_error_per_mille, 50);
    assert_eq!(sample.client.request_timeout, Duration::from_millis(5000));
    assert_eq!(sample.client.advertise, "127.0.0.1:6379");
    assert_eq!(sample.peer.advertise, "127.0.0.1:7379");
    assert_eq!(sample.durability, Durability::Fsync);
    assert!(sample.client.workers >= 1);
    assert_eq!(sample.doubts(), Vec::<String>::new());
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let mut layers = layers(&with("[log]\nlevel = \"warn\"\n"));
    assert_eq!(layers.settings().unwrap().log.level, LogLevel::Warn);
    layers.environment = pairs(&[("WARLOCK_LOG_LEVEL", "debug"), ("PATH", "x")]);
    assert_eq!(layers.settings().unwrap().log.level, LogLevel::Debug);
    layers.flags = pairs(&[("log.level", "error")]);
    assert_eq!(layers.settings().unwrap().log.level, LogLevel::Error);
}

#[test]
fn every_key_can_be_given_in_every_layer() {
    for key in keys() {
        let (keys::Standard::Default(toml) | keys::Standard::Required(toml)) = key.standard;
        let is_members = matches!(key.kind, keys::Kind::Members);
        let word = if is_members { "1=a:1" } else { toml.trim_matches('"') }.to_owned();
        let required =
            pairs(&[("WARLOCK_NODE_ID", "1"), ("WARLOCK_CLUSTER_INITIAL_MEMBERS", "1=a:1")]);
        let by_flag = Layers {
            environment: required.clone(),
            flags: pairs(&[(key.flag(), &word)]),
            file: None,
        };
        let mut environment = required;
        environment.push((key.variable(), word));
        let by_environment = Layers { environment, ..Layers::default() };
        assert_eq!(by_flag.settings().unwrap(), by_environment.settings().unwrap(), "{}", key.path);
    }
}

#[test]
fn wrong_value_is_named_with_key_place_and_what_is_allowed() {
    assert_eq!(
        complaint(&with("[consensus]\nlease_ms = 5")),
        "w.toml:11: consensus.lease_ms = 5: must be a whole number from 50 to 60000"
    );
    assert_eq!(
        complaint(&with("[log]\nlevel = \"warning\"")),
        "w.toml:11: log.level = \"warning\": must be one of \"error\", \"warn\", \"info\", \
         \"debug\", \"trace\""
    );
    assert_eq!(
        complaint(&with("[log]\nlevel = \"INFOS\"")),
        "w.toml:11: log.level = \"INFOS\": must be one of \"error\", \"warn\", \"info\", \
         \"debug\", \"trace\"; did you mean \"info\"?"
    );
    assert_eq!(
        complaint(&with("[client]\nlisten = \"localhost\"")),
        "w.toml:11: client.listen = \"localhost\": must be an IP address and a port from 1 to \
         65535, like \"127.0.0.1:6379\""
    );
    assert_eq!(
        complaint(&with("[client]\nworkers = true")),
        "w.toml:11: client.workers = a boolean: must be a whole number from 0 to 64"
    );
    assert_eq!(
        complaint(&with("[consensus]\nclock_error_max = 0.2")),
        "w.toml:11: consensus.clock_error_max = 0.2: must be a fraction from 0 to 0.199"
    );
    assert_eq!(
        complaint(&with("[backend]\nkind = \"disk\"")),
        "w.toml:11: backend.kind = \"disk\": must be \"memory\""
    );
}

#[test]
fn numbers_are_taken_at_the_limit_and_refused_beyond() {
    for (key, inside, outside) in [
        ("client.connections_max", "1", "0"),
        ("client.connections_max", "1000000", "1000001"),
        ("client.request_bytes_max", "1024", "1023"),
        ("client.request_bytes_max", "50_331_648", "50331649"),
        ("client.request_timeout_ms", "100", "99"),
        ("client.workers", "64", "65"),
        ("consensus.clock_error_max", "0.199", "0.2"),
        ("consensus.clock_error_max", "0", "-0.001"),
        ("wal.segment_bytes", "1048576", "1048575"),
        ("node_id", "2", "65536"),
        ("node_id", "2", "-2"),
        ("node_id", "2", "18446744073709551617"),
    ] {
        let mut layers = layers(GOOD);
        layers.flags = pairs(&[(key, inside)]);
        assert!(layers.settings().is_ok(), "{key} {inside}");
        layers.flags = pairs(&[(key, outside)]);
        let problems = layers.settings().unwrap_err().to_string();
        let start = format!("flag --{key}: {key} = \"{outside}\": must be");
        assert!(problems.starts_with(&start), "{problems}");
    }
}

#[test]
fn unknown_names_come_with_a_guess() {
    assert_eq!(
        complaint(&with("[client]\nlisen = 1")),
        "w.toml:11: client.lisen: there is no such setting; did you mean \"client.listen\"?"
    );
    assert_eq!(
        complaint(&with("[clinet]\nlisten = 1")),
        "w.toml:10: clinet: there is no such setting; did you mean \"client\"?"
    );
    assert_eq!(
        complaint(&with("[durability]\nsegment_bytes = 1")),
        "w.toml:11: durability.segment_bytes: there is no such setting; did you mean \
         wal.segment_bytes?"
    );
    assert_eq!(
        complaint(&with("[sentinel]\nquorum = 2")),
        "w.toml:10: sentinel: there is no such setting"
    );
    assert_eq!(
        complaint(&format!("log = \"debug\"\n{GOOD}")),
        "w.toml:1: log = \"debug\": is a section: write [log] and its keys below"
    );
    let mut layers = layers(GOOD);
    layers.environment = pairs(&[("WARLOCK_LOG_LEVLE", "debug"), ("WARLOCK_SERVICE_HOST", "x")]);
    assert_eq!(
        layers.settings().unwrap_err().to_string(),
        "environment WARLOCK_LOG_LEVLE: value \"debug\": no setting has this variable; did you \
         mean \"WARLOCK_LOG_LEVEL\"?"
    );
}

#[test]
fn odd_names_and_values_are_shown_in_one_line() {
    for (text, message) in [
        (format!("\"a\\nb\" = 1\n{GOOD}"), "w.toml:1: \"a\\nb\": there is no such setting"),
        (format!("\"\" = 1\n{GOOD}"), "w.toml:1: \"\": there is no such setting"),
        (with("[\"\"]\nnode_id = 3"), "w.toml:10: \"\": there is no such setting"),
        (
            // The parser takes it for an integer.
            GOOD.replace("node_id = 2", "node_id = 1_a\x01"),
            "w.toml:2: node_id = 1a\\u{1}: must be a whole number from 1 to 65535",
        ),
    ] {
        assert_eq!(complaint(&text), message);
    }
    let flags = pairs(&[("a\tb", "1")]);
    let problems = Layers { flags, ..layers(GOOD) }.settings().unwrap_err();
    let message = "flag --a\\tb: \"a\\tb\": there is no such setting";
    assert_eq!(problems.to_string(), message);
}

#[test]
fn missing_keys_are_taught() {
    let all = complaints("");
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        all[0],
        "node_id: missing: Names this node in its cluster, 1 to 65535. Never give a number away \
         twice. Give it in the file (like 1), as --node_id or as WARLOCK_NODE_ID."
    );
    assert!(all[1].starts_with("cluster.initial_members: missing: "), "{all:?}");
}

#[test]
fn a_node_that_knows_its_cluster_needs_no_members() {
    let mut asked = PathBuf::new();
    let settings = layers("node_id = 4\ndata_dir = \"here\"").settings_over(|path| {
        path.clone_into(&mut asked);
        true
    });
    assert_eq!(settings.unwrap().cluster.initial_members.len(), 0);
    assert_eq!(asked, Path::new("here"));
    let of_others = GOOD.replace("node_id = 2", "node_id = 4");
    assert!(layers(&of_others).settings_over(|_| true).is_ok());
    let refused = layers(&of_others).settings_over(|_| false).unwrap_err().to_string();
    assert!(refused.contains("is not in cluster.initial_members"), "{refused}");
}

#[test]
fn text_that_is_not_toml_is_located() {
    let text = complaint("node_id = 1\ndata_dir = \n");
    assert!(text.starts_with("w.toml:2: not TOML: "), "{text}");
    let text = complaints(&format!("{GOOD}\n2 = \"again:1\""));
    assert!(text[0].starts_with("w.toml:10: not TOML: duplicate key"), "{text:?}");
}

#[test]
fn members_are_checked_one_by_one() {
    let of =
        |members: &str| complaint(&format!("node_id = 1\n[cluster.initial_members]\n{members}"));
    assert!(of("1 = \"a\"").contains("member 1 has the address \"a\": must be \"host:port\""));
    assert!(of("1 = \"a:0\"").contains("port 1 to 65535"));
    assert!(of("1 = \"a:70000\"").contains("port 1 to 65535"));
    assert!(of("1 = \"0.0.0.0:7000\"").contains("member 1 has the address"));
    assert!(of("1 = 7000").contains("member 1 has the address 7000"));
    assert!(of("0 = \"a:1\"").contains("member \"0\" is not a node id"));
    assert!(of("one = \"a:1\"").contains("member \"one\" is not a node id"));
    assert!(of("").contains("has 0 members"));
    assert!(of("1 = \"[::1]:7000\"\n2 = \"[::1]:7000\"").contains("n1 and n2 have the same"));
    let many =
        |count: u16| (1..=count).map(|id| format!("{id} = \"a:{id}\"\n")).collect::<String>();
    assert!(of(&many(8)).contains("has 8 members: must be 1 to 7"));
    let seven = format!("node_id = 1\n[cluster.initial_members]\n{}", many(7));
    assert_eq!(complaints(&seven), Vec::<String>::new());
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    assert_eq!(
        complaint(&GOOD.replace("node_id = 2", "node_id = 4")),
        "w.toml:2: node_id = 4: is not in cluster.initial_members, which has 1, 2, 3"
    );
    assert_eq!(
        complaint(&with("[consensus]\nlease_ms = 200")),
        "default: consensus.heartbeat_ms = 100: must be at most 50, a quarter of \
         consensus.lease_ms = 200"
    );
    assert_eq!(
        complaints(&with("[consensus]\nlease_ms = 400\nheartbeat_ms = 100")),
        Vec::<String>::new()
    );
    assert_eq!(
        complaint(&with("[http]\nlisten = \"0.0.0.0:6379\"")),
        "w.toml:11: http.listen = \"0.0.0.0:6379\": client.listen already takes that address: \
         choose another port"
    );
    assert_eq!(
        complaint(&with("[peer]\nadvertise = \"three:7379\"")),
        "w.toml:11: peer.advertise = \"three:7379\": cluster.initial_members says \"two:7379\" \
         for this node: make them the same"
    );
    let text = complaint(&with("[wal]\nsegment_bytes = 10485760\nsnapshot_after_bytes = 10485759"));
    assert!(text.contains("must be at least wal.segment_bytes = 10485760"), "{text}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let all = complaints(&with("[client]\nworkers = -1\nport = 1\n[log]\nlevel = 3"));
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn doubtful_settings_are_accepted_with_a_word_of_warning() {
    let doubts = |text: &str| layers(text).settings().unwrap().doubts().join("\n");
    assert!(doubts(GOOD).contains("peer.listen = 127.0.0.1:7379"), "{}", doubts(GOOD));
    let single = "node_id = 1\ncluster.initial_members.1 = \"a:1\"\ndurability.mode = \"memory\"";
    assert!(doubts(single).contains("one node survives no failure"));
    assert!(doubts(single).contains("durability.mode = \"memory\""));
    let two = "node_id = 1\ncluster.initial_members = {1 = \"a:1\", 2 = \"b:1\"}\n\
               client.listen = \"0.0.0.0:6379\"";
    assert!(doubts(two).contains("2 nodes survive no more failures than 1"));
    assert!(doubts(two).contains("client.advertise is empty"));
}

#[test]
fn unreadable_file_is_named() {
    let missing = Layers::default().read_file(Path::new("no/such.toml")).unwrap_err();
    let text = missing.to_string();
    assert!(text.starts_with("no/such.toml: cannot read the settings file: "), "{text}");
}
