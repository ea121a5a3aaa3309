//! The table of all settings: the one place of names, defaults, ranges and explanations.

use std::fmt::Write as _;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The name as in `client.listen`; without a dot for keys outside of sections.
    pub path: &'static str,
    /// One line that says what it does.
    pub comment: &'static str,
    pub(super) kind: Kind,
    pub(super) standard: Standard,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// A fraction from zero to below this many thousandths.
    Ratio(u64),
    /// 1 to 64 letters, digits, `.`, `_` and `-`.
    Name,
    /// A path.
    Path,
    /// An IP address and port to listen on.
    Listen,
    /// `host:port` to connect to, or nothing.
    Advertise,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Addresses by node id.
    Members,
}

/// What holds if nothing is said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standard {
    /// This value, in TOML.
    Default(&'static str),
    /// Nothing: the key must be given, for example as this TOML.
    Required(&'static str),
}

const NODE_ID_MAX: u64 = 65_535;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

const MEMBERS_EXAMPLE: &str = "\
1 = \"127.0.0.1:7379\"
2 = \"127.0.0.1:7380\"
3 = \"127.0.0.1:7381\"";

/// All settings, in the order of `config/warlock.toml`.
#[must_use]
pub const fn keys() -> &'static [Key] {
    DEFAULTS
}

impl Key {
    /// The flag without its dashes: the path itself.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        self.path
    }

    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("WARLOCK_{}", self.path.to_uppercase().replace('.', "_"))
    }

    /// What the value of the flag stands for.
    #[must_use]
    pub const fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Number(..) => "NUMBER",
            Kind::Ratio(_) => "FRACTION",
            Kind::Name => "NAME",
            Kind::Path => "DIR",
            Kind::Listen => "IP:PORT",
            Kind::Advertise => "HOST:PORT",
            Kind::Choice(_) => "WORD",
            Kind::Members => "ID=HOST:PORT,...",
        }
    }

    /// The section; empty for keys outside of sections.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The explanation with allowed words and the default, for `--help`.
    #[must_use]
    pub fn help(&self) -> String {
        match self.standard {
            Standard::Default("\"\"") => self.comment.to_owned(),
            Standard::Default(value) => {
                format!("{} [default: {}]", self.comment, value.trim_matches('"'))
            }
            Standard::Required(_) => format!("{} [required]", self.comment),
        }
    }
}

/// The text of `config/warlock.toml`: every key with its default and one comment.
#[must_use]
pub fn sample() -> String {
    let mut text = String::from(
        "# Settings of one warlockd. Every key is shown with its default; node_id and\n\
         # cluster.initial_members have none and show an example.\n\
         # A flag (--client.listen VALUE) beats a variable (WARLOCK_CLIENT_LISTEN), and that\n\
         # beats this file. `warlockd check-config FILE` explains what is wrong with a file.\n\n",
    );
    let mut section = "";
    for key in DEFAULTS {
        if key.section() != section && !matches!(key.kind, Kind::Members) {
            section = key.section();
            let _ = write!(text, "\n[{section}]\n");
        }
        let (Standard::Default(value) | Standard::Required(value)) = key.standard;
        let _ = if matches!(key.kind, Kind::Members) {
            write!(text, "\n# {}\n[{}]\n{value}\n", key.comment, key.path)
        } else {
            write!(text, "# {}\n{} = {value}\n", key.comment, key.name())
        };
    }
    text
}

const DEFAULTS: &[Key] = &[
    Key {
        path: "node_id",
        comment: "Names this node in its cluster, 1 to 65535. Never give a number away twice.",
        kind: Kind::Number(1, NODE_ID_MAX),
        standard: Standard::Required("1"),
    },
    Key {
        path: "data_dir",
        comment: "Directory of this node's log and snapshots; nobody else may write there.",
        kind: Kind::Path,
        standard: Standard::Default("\"/var/lib/warlock\""),
    },
    Key {
        path: "cluster.name",
        comment: "Nodes of clusters with different names refuse each other.",
        kind: Kind::Name,
        standard: Standard::Default("\"warlock\""),
    },
    Key {
        path: "cluster.start",
        comment: "What an empty directory starts: members, bootstrap (alone) or join; see --help.",
        kind: Kind::Choice(&["members", "bootstrap", "join"]),
        standard: Standard::Default("\"members\""),
    },
    Key {
        path: "cluster.join",
        comment: "Address for peers of a member to join by; empty: warlock-admin join says it.",
        kind: Kind::Advertise,
        standard: Standard::Default("\"\""),
    },
    Key {
        path: "cluster.join_as",
        comment: "What a node that joins becomes: voter, or observer, which never votes.",
        kind: Kind::Choice(&["voter", "observer"]),
        standard: Standard::Default("\"voter\""),
    },
    Key {
        path: "cluster.initial_members",
        comment: "Every node with its address for peers, the same everywhere, if start is members.",
        kind: Kind::Members,
        standard: Standard::Required(MEMBERS_EXAMPLE),
    },
    Key {
        path: "client.listen",
        comment: "Where Redis clients connect. 0.0.0.0 and [::] listen on every interface.",
        kind: Kind::Listen,
        standard: Standard::Default("\"127.0.0.1:6379\""),
    },
    Key {
        path: "client.advertise",
        comment: "Address for clients that status and other nodes show; empty: as client.listen.",
        kind: Kind::Advertise,
        standard: Standard::Default("\"\""),
    },
    Key {
        path: "client.connections_max",
        comment: "Most client connections at the same time, 1 to 1000000.",
        kind: Kind::Number(1, 1_000_000),
        standard: Standard::Default("10000"),
    },
    Key {
        path: "client.workers",
        comment: "I/O threads, 1 to 64; 0: half of the processors, 1 to 4.",
        kind: Kind::Number(0, 64),
        standard: Standard::Default("0"),
    },
    Key {
        path: "client.request_bytes_max",
        comment: "Longest request in bytes, 1024 to 50331648 (48 MiB).",
        kind: Kind::Number(KIB, 48 * MIB),
        standard: Standard::Default("33554432"),
    },
    Key {
        path: "client.output_bytes_max",
        comment: "Most bytes of replies that wait for one connection; more closes it.",
        kind: Kind::Number(64 * KIB, 4 * GIB),
        standard: Standard::Default("268435456"),
    },
    Key {
        path: "client.pipeline_max",
        comment: "Most unanswered commands of one connection; beyond it the node stops reading.",
        kind: Kind::Number(1, 1_000_000),
        standard: Standard::Default("10000"),
    },
    Key {
        path: "client.request_timeout_ms",
        comment: "Milliseconds after which a command is answered with an error, 100 to 600000.",
        kind: Kind::Number(100, 600_000),
        standard: Standard::Default("5000"),
    },
    Key {
        path: "peer.listen",
        comment: "Where other nodes connect.",
        kind: Kind::Listen,
        standard: Standard::Default("\"127.0.0.1:7379\""),
    },
    Key {
        path: "peer.advertise",
        comment: "Address at which other nodes reach this one; empty: as in initial_members.",
        kind: Kind::Advertise,
        standard: Standard::Default("\"\""),
    },
    Key {
        path: "peer.protocol_max",
        comment: "Newest peer protocol version to speak, 1 or 2; below 2 only to test upgrades.",
        kind: Kind::Number(1, 2),
        standard: Standard::Default("2"),
    },
    Key {
        path: "http.listen",
        comment: "Where /metrics, /healthz, /readyz and the status page are.",
        kind: Kind::Listen,
        standard: Standard::Default("\"127.0.0.1:9379\""),
    },
    Key {
        path: "consensus.lease_ms",
        comment: "Length of the master lease, the same on all nodes; about the time of a failover.",
        kind: Kind::Number(50, 60_000),
        standard: Standard::Default("500"),
    },
    Key {
        path: "consensus.heartbeat_ms",
        comment: "Milliseconds between heartbeats, at most a quarter of lease_ms.",
        kind: Kind::Number(5, 10_000),
        standard: Standard::Default("100"),
    },
    Key {
        path: "consensus.clock_error_max",
        comment: "Largest error of any node's clock rate, 0 to 0.199; the same on all nodes.",
        kind: Kind::Ratio(200),
        standard: Standard::Default("0.05"),
    },
    Key {
        path: "durability.mode",
        comment: "fsync, os or memory; below fsync a node that loses power has lost its disk.",
        kind: Kind::Choice(&["fsync", "os", "memory"]),
        standard: Standard::Default("\"fsync\""),
    },
    Key {
        path: "backend.kind",
        comment: "Where the state machine keeps data: memory.",
        kind: Kind::Choice(&["memory"]),
        standard: Standard::Default("\"memory\""),
    },
    Key {
        path: "log.level",
        comment: "error, warn, info, debug or trace.",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        standard: Standard::Default("\"info\""),
    },
    Key {
        path: "log.format",
        comment: "text for people, or json: one object in a line. Both go to standard error.",
        kind: Kind::Choice(&["text", "json"]),
        standard: Standard::Default("\"text\""),
    },
    Key {
        path: "wal.segment_bytes",
        comment: "Size of one file of the write-ahead log, 1 MiB to 1 GiB.",
        kind: Kind::Number(MIB, GIB),
        standard: Standard::Default("67108864"),
    },
    Key {
        path: "wal.snapshot_after_bytes",
        comment: "Bytes of log after which a snapshot replaces it; at least segment_bytes.",
        kind: Kind::Number(MIB, 1024 * GIB),
        standard: Standard::Default("268435456"),
    },
];
