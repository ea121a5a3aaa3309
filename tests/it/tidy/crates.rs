//! Rules about crates: what each may depend on, and that the stricter lints apply to the core.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::process::Command;

use super::{Findings, required, root};

/// Crates that obey a law: pure, deterministic, and blind to the world around them.
const LAW_CRATES: &[&str] =
    &["warlock-node", "warlock-paxos", "warlock-resp", "warlock-store", "warlock-wal"];

/// Law crates that do without an operating system altogether.
const NO_STD_CRATES: &[&str] = &["warlock-paxos", "warlock-resp"];

/// What a law crate must not even reach through others: clocks, sockets, random sources and
/// executors. (`rustix` in `warlock-wal` is how it reaches its disk.)
const FORBIDDEN_IN_LAW: &[&str] = &[
    "async-std",
    "chrono",
    "crossbeam-channel",
    "fastrand",
    "futures-executor",
    "getrandom",
    "instant",
    "mio",
    "rand",
    "rayon",
    "smol",
    "socket2",
    "time",
    "tokio",
    "web-time",
];

/// At most this many crates: a new one must be a law, an artefact or a quarantine.
const CRATES_MAX: usize = 9;

/// Direct dependencies that each crate may have. To add one, add it here with the change that
/// needs it, and say in the description of the change why no present library does the job.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        "warlock-admin",
        &[
            "clap",
            "clap_complete",
            "clap_mangen",
            "comfy-table",
            "serde",
            "serde_json",
            "tokio",
            "warlock-client",
        ],
    ),
    ("warlock-client", &["bytes", "getrandom", "rustix", "tokio", "warlock-resp"]),
    (
        "warlock-node",
        &[
            "bytes",
            "crc32c",
            "parking_lot",
            "serde",
            "serde_json",
            "tracing",
            "warlock-paxos",
            "warlock-resp",
            "warlock-store",
            "warlock-wal",
        ],
    ),
    ("warlock-paxos", &["bytes", "wincode"]),
    ("warlock-resp", &["bytes"]),
    (
        "warlock-server",
        &[
            "axum",
            "bytes",
            "clap",
            "clap_complete",
            "clap_mangen",
            "crc32c",
            "getrandom",
            "mio",
            "parking_lot",
            "prometheus-client",
            "rustix",
            "serde",
            "serde_json",
            "strsim",
            "tempfile",
            "tokio",
            "toml",
            "tracing",
            "tracing-subscriber",
            "warlock-node",
            "warlock-paxos",
            "warlock-resp",
            "warlock-store",
            "warlock-wal",
        ],
    ),
    (
        "warlock-sim",
        &[
            "bytes",
            "clap",
            "hashbrown",
            "warlock-node",
            "warlock-paxos",
            "warlock-resp",
            "warlock-store",
            "warlock-wal",
            "xxhash-rust",
        ],
    ),
    (
        "warlock-store",
        &["bytes", "hashbrown", "parking_lot", "warlock-resp", "wincode", "xxhash-rust"],
    ),
    ("warlock-wal", &["bytes", "crc32c", "rustix", "warlock-paxos"]),
];

/// What an artefact must not reach through others either: (crate, forbidden, because).
const UNREACHABLE: &[(&str, &[&str], &str)] = &[
    (
        "warlock-client",
        &["warlock-paxos", "warlock-server", "warlock-store", "warlock-wal"],
        "a client knows the public protocol and nothing else",
    ),
    (
        "warlock-admin",
        &["warlock-paxos", "warlock-server", "warlock-store", "warlock-wal"],
        "everything an operator can do is public protocol",
    ),
];

/// One row of `cargo metadata`, as far as the rules need it.
struct Package {
    name: String,
    /// Normal and build dependencies.
    dependencies: BTreeSet<String>,
    /// Dependencies taken with `*` or, for another crate of the project, not from the workspace.
    wildcards: Vec<String>,
}

#[test]
fn crates_depend_only_on_what_is_listed() {
    let mut findings = Findings::default();
    let allowed: BTreeMap<&str, &[&str]> = DEPENDENCIES.iter().copied().collect();
    for package in packages().iter().filter(|package| package.is_in_crates()) {
        let place = format!("crates/{}", package.name);
        let Some(list) = allowed.get(package.name.as_str()) else {
            findings.add(place, "list its dependencies in tests/it/tidy/crates.rs");
            continue;
        };
        for dependency in &package.dependencies {
            if !list.contains(&dependency.as_str()) {
                let advice = "use a listed library, or list it in tests/it/tidy/crates.rs";
                findings.add(&place, format!("depends on {dependency}: {advice}"));
            }
        }
        for wildcard in &package.wildcards {
            findings.add(&place, format!("{wildcard} = \"*\": take it from the workspace"));
        }
    }
    findings.assert_none();
}

#[test]
fn law_crates_cannot_reach_clocks_sockets_or_chance() {
    let mut findings = Findings::default();
    for name in LAW_CRATES {
        let reached = reachable(name);
        for forbidden in FORBIDDEN_IN_LAW.iter().filter(|it| reached.contains(**it)) {
            let advice = "make it an input, or turn the feature off that brings it";
            let how = format!("cargo tree --package {name} --edges normal --invert {forbidden}");
            findings.add(name, format!("reaches {forbidden}: {advice}; see `{how}`"));
        }
    }
    findings.assert_none();
}

#[test]
fn artefacts_see_only_the_public_protocol() {
    let mut findings = Findings::default();
    for (name, forbidden, because) in UNREACHABLE {
        let reached = reachable(name);
        for crate_name in forbidden.iter().filter(|it| reached.contains(**it)) {
            findings.add(name, format!("reaches {crate_name}: {because}"));
        }
    }
    findings.assert_none();
}

#[test]
fn pure_crates_need_no_operating_system() {
    let mut findings = Findings::default();
    for name in NO_STD_CRATES {
        let path = format!("crates/{name}/src/lib.rs");
        let text = required(&path);
        if !text.lines().any(|line| line == "#![no_std]") {
            findings.add(path, "write #![no_std] on a line of its own");
        }
    }
    findings.assert_none();
}

/// Clippy reads the nearest `clippy.toml` and merges nothing, so the stricter file must be
/// there, the same everywhere, and must repeat the general one.
#[test]
fn law_crates_have_the_stricter_lints() {
    let mut findings = Findings::default();
    let general = required("clippy.toml");
    let strict = required("crates/warlock-paxos/clippy.toml");
    for line in general.lines().filter(|line| !strict.contains(*line)) {
        findings.add("crates/warlock-paxos/clippy.toml", format!("repeat `{line}`"));
    }
    let bans = ["Instant::now", "SystemTime::now", "thread::spawn", "HashMap", "RandomState"];
    for ban in bans.iter().filter(|ban| !strict.contains(**ban)) {
        findings.add("crates/warlock-paxos/clippy.toml", format!("forbid {ban} again"));
    }
    for name in LAW_CRATES {
        let path = format!("crates/{name}/clippy.toml");
        if required(&path) != strict {
            findings.add(path, "copy crates/warlock-paxos/clippy.toml over it");
        }
    }
    findings.assert_none();
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    let mut findings = Findings::default();
    for package in packages() {
        let manifest = match package.is_in_crates() {
            true => format!("crates/{}/Cargo.toml", package.name),
            false => format!("{}/Cargo.toml", package.name.trim_start_matches("warlock-")),
        };
        if !required(&manifest).contains("[lints]\nworkspace = true\n") {
            findings.add(manifest, "add [lints] with workspace = true");
        }
    }
    findings.assert_none();
}

#[test]
fn every_crate_is_on_the_map() {
    let mut findings = Findings::default();
    let map = required("ARCHITECTURE.md");
    let crates: Vec<Package> = packages().into_iter().filter(Package::is_in_crates).collect();
    for package in &crates {
        let cell = format!("| `{}` |", package.name);
        if !map.lines().any(|line| line.starts_with(&cell)) {
            findings.add("ARCHITECTURE.md", format!("add a row `{cell}` to the table of crates"));
        }
    }
    if crates.len() > CRATES_MAX {
        findings.add("crates/", format!("{} crates: make it a module", crates.len()));
    }
    findings.assert_none();
}

#[test]
fn every_directory_of_crates_is_a_member() {
    let mut findings = Findings::default();
    let members: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    for entry in fs::read_dir(root().join("crates")).expect("crates/ can be read") {
        let name = entry.expect("an entry can be read").file_name().into_string();
        let name = name.expect("crate names are UTF-8");
        if !members.contains(&name) {
            findings.add(format!("crates/{name}"), "add it to the workspace, or delete it");
        }
    }
    findings.assert_none();
}

impl Package {
    fn is_in_crates(&self) -> bool {
        root().join("crates").join(&self.name).is_dir()
    }
}

/// The members of the workspace.
fn packages() -> Vec<Package> {
    let text = cargo(&["metadata", "--no-deps", "--format-version=1", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    packages.iter().map(package).collect()
}

fn package(value: &serde_json::Value) -> Package {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = value["dependencies"].as_array().expect("a package has dependencies");
    let shipped = dependencies.iter().filter(|it| it["kind"] != "dev");
    let wild = dependencies.iter().filter(|it| it["req"] == "*" && it["path"].is_null());
    Package {
        name: text(&value["name"]),
        dependencies: shipped.map(|it| text(&it["name"])).collect(),
        wildcards: wild.map(|it| text(&it["name"])).collect(),
    }
}

/// Every crate that `name` links, itself included. Features are resolved for this crate alone,
/// so what another member turns on does not blur the answer.
fn reachable(name: &str) -> BTreeSet<String> {
    let edges = "--edges=normal,no-proc-macro";
    let format = "--format={p}";
    let arguments = ["tree", "--package", name, edges, "--prefix=none", format, "--offline"];
    let lines = cargo(&arguments);
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {problem}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

mod tests {
    use super::{packages, reachable};

    /// The rules above pass when nothing is found, so looking must be known to find.
    #[test]
    fn what_others_bring_is_reached_and_what_tests_need_is_not() {
        let reached = reachable("warlock-client");
        for name in ["bytes", "mio", "tokio", "warlock-client"] {
            assert!(reached.contains(name), "{name}");
        }
        assert!(!reachable("warlock-resp").contains("proptest"));
        let client = packages().into_iter().find(|package| package.name == "warlock-client");
        assert!(client.is_some_and(|client| client.dependencies.contains("tokio")));
    }
}
