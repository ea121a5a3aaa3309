//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Deadline of a command that names none.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of `wait-ready` without `--timeout`.
pub(crate) const TIMEOUT_READY: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  warlock-admin status                          the cluster as the local node sees it
  warlock-admin --addr 10.0.0.2:6379 status     ... as another node sees it
  warlock-admin wait-ready --timeout 1m         in scripts, before the first request
  warlock-admin --json status | jq .master      for programs; null: there is no master
  warlock-admin exec SET greeting \"hello\"       any command of the Redis protocol

Exit status:
  0  done
  1  refused; nothing was changed
  2  the command line is wrong
  3  no node can be reached; nothing was changed
  4  timed out, or it is unknown whether the command took effect";

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

    /// Longest time for everything, such as 500ms, 5s or 2m [default: 5s; wait-ready: 30s].
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

impl Arguments {
    /// The deadline that was asked for, or that of the action.
    pub(crate) fn timeout(&self) -> Duration {
        let standard = match self.action {
            Action::WaitReady => TIMEOUT_READY,
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
