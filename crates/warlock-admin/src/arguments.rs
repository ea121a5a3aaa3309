//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Deadline of a command that names none.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of `wait-ready` without `--timeout`.
pub(crate) const TIMEOUT_READY: Duration = Duration::from_secs(30);

/// Deadline of `join` without `--timeout`: all data may have to be copied.
pub(crate) const TIMEOUT_JOIN: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  warlock-admin status                          the cluster as the local node sees it
  warlock-admin --addr 10.0.0.2:6379 status     ... as another node sees it
  warlock-admin wait-ready --timeout 1m         in scripts, before the first request
  warlock-admin --json status | jq .master      for programs; null: there is no master
  warlock-admin remove n3 --dry-run             what a change would lead to
  warlock-admin --addr new:6379 join n1:7379    a node that was just started joins
  warlock-admin exec SET greeting \"hello\"       any command of the Redis protocol

Exit status:
  0  done
  1  refused; nothing was changed
  2  the command line is wrong
  3  no node can be reached; nothing was changed
  4  timed out, or it is unknown whether the command took effect";

const REMOVE_EXAMPLES: &str = "\
Examples:
  warlock-admin remove n3 --dry-run             who must answer, and what is at risk
  warlock-admin remove n3";

const EXEC_EXAMPLES: &str = "\
Examples:
  warlock-admin exec GET greeting
  warlock-admin exec SET job:7 me NX PX 30000
  warlock-admin --json exec MGET a b             {\"reply\":[\"1\",null]}";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(warlock-admin completions bash)      in this shell; or for every one of yours:
  warlock-admin completions bash >~/.local/share/bash-completion/completions/warlock-admin
  warlock-admin completions zsh >\"${fpath[1]}/_warlock-admin\"
  warlock-admin completions fish >~/.config/fish/completions/warlock-admin.fish";

/// Looks at a Warlock cluster and operates it.
#[derive(Debug, Parser)]
#[command(name = "warlock-admin", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Node to ask; several with commas between them: the first that answers.
    #[arg(
        long,
        global = true,
        env = "WARLOCK_ADDR",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:6379",
        value_parser = address
    )]
    pub(crate) addr: Vec<String>,

    /// Print exactly one JSON object, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Longest time for everything, such as 500ms, 5s or 2m [default: 5s; what changes the
    /// cluster and wait-ready: 30s; join and reset: 10m].
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show every node: role, state, and how far it is behind the master.
    Status,
    /// Show who belongs to the cluster, where, and how far it is behind the master.
    Members,
    /// Wait until the node can serve requests.
    WaitReady,
    /// Show the digest of the node's state, and the slot it is of.
    Digest,
    /// Have the node join the cluster of which a member listens for peers there.
    ///
    /// The node asked (--addr) runs with an empty data directory and cluster.start = "join". It
    /// gets a copy of the data first, and a vote once it holds what the others do.
    Join {
        /// Address for peers of any member, such as node1:7379.
        #[arg(value_name = "HOST:PORT", value_parser = address)]
        member: String,
        /// Without a vote: it follows, and serves reads that may be old.
        #[arg(long)]
        observer: bool,
    },
    /// Take the node asked out of the cluster.
    ///
    /// A master hands over first. The node stops when it is no member any more.
    Leave {
        #[command(flatten)]
        dry: Dry,
    },
    /// Take a node out of the cluster, dead or alive.
    ///
    /// It never takes part again with the same data directory, nor under the same number.
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove {
        /// The node, as n3 or 3.
        #[arg(value_parser = node)]
        node: u16,
        #[command(flatten)]
        dry: Dry,
    },
    /// Give the vote of one node to another in one step.
    ///
    /// The old one leaves the cluster, so that it survives as many failures as before.
    Replace {
        /// The node that goes.
        #[arg(value_parser = node)]
        old: u16,
        /// An observer that holds what the others do.
        #[arg(value_parser = node)]
        new: u16,
        #[command(flatten)]
        dry: Dry,
    },
    /// Give an observer a vote.
    Promote {
        /// The node.
        #[arg(value_parser = node)]
        node: u16,
        #[command(flatten)]
        dry: Dry,
    },
    /// Have the others reach a node at another address.
    ///
    /// For a machine that has moved. The node is started with its data directory and the settings
    /// of its new place first, or afterwards; it keeps its number and its vote. The others must be
    /// a majority without it, so that a wrong address can be corrected.
    Readdress {
        /// The node, as n3 or 3.
        #[arg(value_parser = node)]
        node: u16,
        /// Its new address for peers, such as node3:7379.
        #[arg(value_name = "HOST:PORT", value_parser = address)]
        peer: String,
        #[command(flatten)]
        dry: Dry,
    },
    /// Make another node the master.
    #[command(alias = "transfer_master")]
    TransferMaster {
        /// The node [default: the fittest].
        #[arg(value_parser = node)]
        node: Option<u16>,
    },
    /// Have the node forget its data, and get all of it from the others again.
    ///
    /// What it promised stays, so that it goes on voting under its number. Refused while the others
    /// could not do without it.
    Reset,
    /// Have the node take a snapshot, beside everything else that it does.
    Snapshot,
    /// Show the versions of this program and of every node.
    Version,
    /// Send a command, and show the reply.
    ///
    /// The reply looks as in redis-cli: typed and quoted on a terminal, raw when piped.
    #[command(after_help = EXEC_EXAMPLES)]
    Exec {
        /// Name and arguments of the command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print what makes a shell complete this program's command line.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages.
    #[command(hide = true)]
    Man {
        /// Where to.
        directory: PathBuf,
    },
}

/// Whether to do it at all.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Dry {
    /// Only show the membership before and after, who must answer, and what is at risk.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Arguments {
    /// The deadline that was asked for, or that of the action.
    pub(crate) fn timeout(&self) -> Duration {
        let standard = match self.action {
            Action::WaitReady => TIMEOUT_READY,
            Action::Join { .. } | Action::Reset => TIMEOUT_JOIN,
            Action::Leave { .. }
            | Action::Remove { .. }
            | Action::Replace { .. }
            | Action::Promote { .. }
            | Action::Readdress { .. }
            | Action::TransferMaster { .. } => TIMEOUT_READY,
            Action::Status
            | Action::Members
            | Action::Digest
            | Action::Snapshot
            | Action::Version
            | Action::Exec { .. }
            | Action::Completions { .. }
            | Action::Man { .. } => TIMEOUT,
        };
        self.timeout.unwrap_or(standard)
    }
}

/// Checks `host:port`, with an IPv6 host in brackets.
fn address(text: &str) -> Result<String, String> {
    let Some((host, port)) = text.trim().rsplit_once(':') else {
        return Err("write it as host:port, such as 127.0.0.1:6379".to_owned());
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err("write it as host:port, an IPv6 address in brackets".to_owned());
    }
    if port.parse::<u16>().is_ok_and(|port| port != 0) {
        Ok(text.trim().to_owned())
    } else {
        Err(format!("the port is from 1 to 65535, not {port:?}"))
    }
}

/// Reads a node as `n3` or `3`.
fn node(text: &str) -> Result<u16, String> {
    let number = text.strip_prefix('n').unwrap_or(text).parse().ok().filter(|id| *id > 0);
    number.ok_or_else(|| "write it as n3 or 3, from 1 to 65535".to_owned())
}

/// Reads a positive time: a whole number with `ms`, `s` or `m`, or of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: u32 = digits
        .parse()
        .map_err(|_| "write a whole number and a unit, such as 500ms, 5s or 2m".to_owned())?;
    let time = match &text[digits.len()..] {
        "ms" => Duration::from_millis(u64::from(number)),
        "s" | "" => Duration::from_secs(u64::from(number)),
        "m" => Duration::from_secs(60 * u64::from(number)),
        unit => return Err(format!("the unit is ms, s or m, not {unit:?}")),
    };
    if time.is_zero() {
        return Err("a time of zero leaves no time to do anything".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{Action, Arguments, address, duration};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "1h", "-1s", "1.5s", "0ms", "99999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for right in ["127.0.0.1:6379", "node-1.example:1", "[::1]:65535"] {
            assert_eq!(address(right), Ok(right.to_owned()));
        }
        for wrong in ["localhost", ":6379", "host:0", "host:65536", "host:", "::1:6379"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_after_exec_belong_to_the_command() {
        let words = ["warlock-admin", "exec", "SET", "k", "-1", "--json"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert!(!arguments.json);
        let Action::Exec { command } = arguments.action else { panic!("{arguments:?}") };
        assert_eq!(command, ["SET", "k", "-1", "--json"]);
    }

    #[test]
    fn only_waiting_takes_longer() {
        let timeout = |words: &[&str]| Arguments::try_parse_from(words).unwrap().timeout();
        assert_eq!(timeout(&["warlock-admin", "wait-ready"]), Duration::from_secs(30));
        assert_eq!(timeout(&["warlock-admin", "status"]), Duration::from_secs(5));
        let given = timeout(&["warlock-admin", "wait-ready", "--timeout", "1s"]);
        assert_eq!(given, Duration::from_secs(1));
    }
}
