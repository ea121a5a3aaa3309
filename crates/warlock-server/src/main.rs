//! `warlockd`: the command line of the daemon.
//!
//! Exit: 0 after an orderly stop, 1 if the node failed, 2 for wrong usage or settings, 3 if its
//! state differs from the master's or it was removed from its cluster.

mod manual;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use rustix::process::{Signal, getpid, kill_process};
use warlock_paxos::Slot;
use warlock_server::dev::{self, DevError, DevOptions};
use warlock_server::log::Log;
use warlock_server::settings::{ClusterStart, Layers, Problems, Settings, keys};
use warlock_server::{RunError, Start};
use warlock_wal::holds_membership;

#[cfg(warlock_mutants)]
compile_error!("warlock_mutants: warlockd is never built with mutants");

/// The node failed while it started or ran.
const FAILED: u8 = 1;

/// The command line or the settings are wrong.
const WRONG_USAGE: u8 = 2;

/// To start the node again is of no use: its state differs from the master's, so that it would
/// serve wrong data, or it was removed.
const USELESS: u8 = 3;

/// How long an orderly stop may take after the parent process ended.
const ORPHAN_TIME_MAX: Duration = Duration::from_secs(10);

/// The flag of a start without state, with the slot below which it is gone.
const FORGET: &str = "--forget-state=";

const ABOUT: &str =
    "A strongly consistent lock manager and key-value store that speaks the Redis protocol";

const LONG_ABOUT: &str = "\
A strongly consistent lock manager and key-value store that speaks the Redis protocol.

One warlockd is one node; 3, 5 or 7 of them make a cluster that goes on while any minority fails.
Any Redis client may connect to any node.";

const EXAMPLES: &str = "\
Examples:
  warlockd dev                              a cluster of 3 nodes on this machine, then:
  redis-cli -p 7002 SET k v
  warlockd check-config warlock.toml        explain what is wrong with a settings file
  warlockd --config warlock.toml            run a node
  warlockd --bootstrap --config w.toml      ... that is a cluster of its own at first
  warlockd --join node1:7379 --config w.toml   ... that joins the cluster of node1
  warlockd --config warlock.toml --log.level debug
  WARLOCK_NODE_ID=2 warlockd --config warlock.toml

Precedence:
  A flag beats its environment variable (--client.listen: WARLOCK_CLIENT_LISTEN), that beats the
  file, and the file beats the default.

Exit status:
  0  after an orderly stop (SIGTERM, Ctrl-C): the master hands over, clients get their replies
  1  the node failed, and standard error says why
  2  the command line or the settings are wrong
  3  the state of the node differs from the master's, or the node was removed from its cluster:
     starting it again does not help";

#[derive(Debug, Parser)]
#[command(name = "warlockd", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES)]
struct Cli {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Start a cluster of this node alone, for others to join; only with a new data directory
    #[arg(long, conflicts_with = "join")]
    bootstrap: bool,

    /// Join the cluster of which a member listens for peers here
    #[arg(long, value_name = "HOST:PORT")]
    join: Option<String>,

    /// Start without the state below this slot, which peers have to tell: what `warlock-admin
    /// reset` does
    #[arg(long, hide = true, value_name = "SLOT", require_equals = true)]
    forget_state: Option<NonZeroU64>,

    /// Stop when standard input ends: the lifeline of a node that another process started
    #[arg(long, hide = true)]
    exit_with_stdin: bool,

    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a development cluster on this machine until Ctrl-C
    Dev(DevArguments),
    /// Explain what is wrong with a settings file, and where
    CheckConfig {
        /// The TOML file
        file: PathBuf,
    },
    /// Print what makes a shell complete this program's command line
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Where to
        directory: PathBuf,
    },
}

/// Clients connect to the base port and those after it, peers 100 and HTTP 200 ports higher. A line
/// that starts with `ready` names addresses and process ids once a master serves; then each change
/// of master and each node that exits has a line. Settings given as flags go to every node.
#[derive(Debug, Args)]
struct DevArguments {
    /// Number of nodes, 1 to 7
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    nodes: u16,

    /// Port for clients of node 1
    #[arg(long, value_name = "PORT", default_value_t = 7001)]
    base_port: u16,

    /// Keep data and logs here [default: a temporary directory, removed at the end]
    #[arg(id = "dev_data_dir", long = "data-dir", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Start nodes that exit again
    #[arg(long)]
    restart: bool,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let mut flags = setting_flags(&matches);
    flags.extend(start_flags(cli.bootstrap, cli.join));
    match cli.command {
        Some(Action::Dev(arguments)) => run_dev(arguments, flags),
        Some(Action::CheckConfig { file }) => check_config(&file, flags),
        Some(Action::Completions { shell }) => {
            // Whoever closed standard output has read enough.
            let _ = io::stdout().write_all(&manual::completions(command(), shell));
            ExitCode::SUCCESS
        }
        Some(Action::Man { directory }) => match manual::write_pages(command(), &directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("cannot write into {}: {error}", directory.display())),
        },
        None => {
            let below = cli.forget_state.map(|below| Start::Forgotten(Slot::new(below.get())));
            let start = below.unwrap_or(Start::Kept);
            run_node(cli.config, cli.exit_with_stdin, start, flags)
        }
    }
}

/// The derived command, with one flag for each setting.
fn command() -> clap::Command {
    let flag = |key: &'static warlock_server::settings::Key| {
        Arg::new(key.path)
            .long(key.flag())
            .value_name(key.value_name())
            .help(key.help())
            .help_heading("Settings")
            .allow_negative_numbers(true)
            .global(true)
    };
    Cli::command().args(keys().iter().map(flag))
}

/// Settings given as flags, before or after a subcommand.
fn setting_flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let innermost = matches.subcommand().map_or(matches, |(_, inner)| inner);
    let given = |path: &str| innermost.get_one::<String>(path).cloned();
    let pairs = keys().iter().filter_map(|key| Some((key.path.to_owned(), given(key.path)?)));
    pairs.collect()
}

/// What `--bootstrap` and `--join` stand for.
fn start_flags(bootstrap: bool, join: Option<String>) -> Vec<(String, String)> {
    let flag = |path: &str, value: String| (path.to_owned(), value);
    match (bootstrap, join) {
        (true, _) => vec![flag("cluster.start", "bootstrap".to_owned())],
        (false, Some(address)) => {
            vec![flag("cluster.start", "join".to_owned()), flag("cluster.join", address)]
        }
        (false, None) => Vec::new(),
    }
}

fn run_node(
    file: Option<PathBuf>,
    exit_with_stdin: bool,
    start: Start,
    flags: Vec<(String, String)>,
) -> ExitCode {
    let settings = match read_settings(file.as_deref(), flags) {
        Ok(settings) => settings,
        Err(problems) => {
            complain(&problems);
            if file.is_none() {
                complain(&"run `warlockd dev` for a cluster on this machine, or see --help");
            }
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let log = match Log::start(&settings.log, settings.node_id) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    for doubt in settings.doubts() {
        tracing::warn!("{doubt}");
    }
    if exit_with_stdin && let Err(error) = hold_lifeline() {
        return failed(&error);
    }
    let outcome = warlock_server::run(settings, file, start);
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Reset(below)) => failed(&start_again_without_state(below)),
        Err(error) => {
            complain(&error);
            let for_ever = matches!(error, RunError::Diverged(_) | RunError::Removed(_));
            ExitCode::from(if for_ever { USELESS } else { FAILED })
        }
    }
}

fn run_dev(arguments: DevArguments, settings: Vec<(String, String)>) -> ExitCode {
    let DevArguments { nodes, base_port, data_dir, restart } = arguments;
    match dev::run(&DevOptions { nodes, base_port, data_dir, restart, settings }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ DevError::Usage(_)) => {
            complain(&error);
            ExitCode::from(WRONG_USAGE)
        }
        Err(error @ (DevError::Port(_) | DevError::System(..) | DevError::Cluster(_))) => {
            failed(&error)
        }
    }
}

fn check_config(file: &Path, flags: Vec<(String, String)>) -> ExitCode {
    match read_settings(Some(file), flags) {
        Ok(settings) => {
            // Whoever closed standard output reads the exit status.
            let _ = io::stdout().write_all(summary(file, &settings).as_bytes());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            complain(&problems);
            ExitCode::from(WRONG_USAGE)
        }
    }
}

fn read_settings(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Settings, Problems> {
    // Names and values that are not Unicode belong to others.
    let unicode = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(unicode).collect();
    let mut layers = Layers { file: None, environment, flags };
    if let Some(file) = file {
        layers.read_file(file)?;
    }
    layers.settings_over(holds_membership)
}

fn summary(file: &Path, settings: &Settings) -> String {
    let members = settings.cluster.initial_members.len();
    let survived = settings.failures_survived();
    let place = match &settings.cluster.start {
        ClusterStart::Members if members == 0 => ", as its data directory has it".to_owned(),
        ClusterStart::Members => format!(" of {members}, which survives the failure of {survived}"),
        ClusterStart::Bootstrap => " alone at first".to_owned(),
        ClusterStart::Join { address: Some(address), .. } => format!(", joins by {address}"),
        ClusterStart::Join { address: None, .. } => ", waits for warlock-admin join".to_owned(),
    };
    let mut text = format!(
        "ok: {}\n  {} in cluster {:?}{place}\n  \
         clients {}, peers {}, http {}\n  data in {}, durability {}\n",
        file.display(),
        settings.node_id,
        settings.cluster.name,
        settings.client.listen,
        settings.peer.listen,
        settings.http.listen,
        settings.data_dir.display(),
        settings.durability,
    );
    for doubt in settings.doubts() {
        text.push_str("note: ");
        text.push_str(&doubt);
        text.push('\n');
    }
    text
}

/// Becomes a new process of the same program and arguments that forgets the state first: nothing of
/// the old one can be left behind, and whoever watches the process sees no end. Returns only if
/// that fails.
fn start_again_without_state(below: Slot) -> io::Error {
    let is_older = |argument: &OsString| argument.as_bytes().starts_with(FORGET.as_bytes());
    let given = std::env::args_os().skip(1).filter(|argument| !is_older(argument));
    let below = format!("{FORGET}{}", below.position());
    let arguments: Vec<OsString> = [below.into()].into_iter().chain(given).collect();
    match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

/// Stops the node in order when standard input ends, and at once if that takes too long.
fn hold_lifeline() -> io::Result<()> {
    let watch = || {
        let mut stdin = io::stdin().lock();
        while !matches!(stdin.read(&mut [0; 64]), Ok(0) | Err(_)) {}
        tracing::warn!("the process that started this node is gone");
        if let Err(error) = kill_process(getpid(), Signal::TERM) {
            tracing::error!(%error, "cannot signal myself");
        }
        std::thread::sleep(ORPHAN_TIME_MAX);
        std::process::exit(FAILED.into());
    };
    std::thread::Builder::new().name("lifeline".into()).spawn(watch)?;
    Ok(())
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    complain(error);
    ExitCode::from(FAILED)
}

/// Every line on standard error with the name of the program.
fn complain(message: &dyn std::fmt::Display) {
    let mut stderr = io::stderr().lock();
    for line in message.to_string().lines() {
        // Without a standard error the exit status has to do.
        let _ = writeln!(stderr, "warlockd: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Vec<(String, String)> {
        let line = std::iter::once(&"warlockd").chain(arguments);
        setting_flags(&command().try_get_matches_from(line).unwrap())
    }

    #[test]
    fn command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_before_and_after_subcommands() {
        for key in keys() {
            let flag = format!("--{}", key.flag());
            let expected = vec![(key.path.to_owned(), "x".to_owned())];
            assert_eq!(flags(&[&flag, "x"]), expected);
            assert_eq!(flags(&["dev", &flag, "x"]), expected);
            assert_eq!(flags(&[&flag, "x", "check-config", "f"]), expected);
        }
    }

    #[test]
    fn help_teaches_every_setting_and_the_way_to_a_first_cluster() {
        let help = command().render_long_help().to_string();
        // Lines break where the terminal ends.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for key in keys() {
            assert!(help.contains(&format!("--{} <{}>", key.flag(), key.value_name())), "{help}");
        }
        assert!(help.contains("warlockd dev "), "{help}");
        assert!(help.contains("[default: 127.0.0.1:6379]"), "{help}");
    }

    #[test]
    fn pages_and_completions_name_every_command_and_setting() {
        let directory = tempfile::tempdir().unwrap();
        manual::write_pages(command(), directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let page = read("warlockd.8").replace('\\', "");
        assert!(page.contains("\n.SH EXAMPLES\n.nf\n"), "{page}");
        let shells = [Shell::Bash, Shell::Zsh, Shell::Fish];
        let scripts = shells.map(|shell| manual::completions(command(), shell));
        let scripts = scripts.map(|script| String::from_utf8(script).unwrap());
        for visible in command().get_subcommands().filter(|visible| !visible.is_hide_set()) {
            let name = visible.get_name();
            assert!(page.contains(&format!("warlockd-{name}(8)")), "{page}");
            assert!(read(&format!("warlockd-{name}.8")).contains(".SH SYNOPSIS"), "{name}");
            assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
        }
        for key in keys() {
            assert!(page.contains(&format!("--{}", key.flag())), "{page}");
            assert!(scripts.iter().all(|script| script.contains(key.flag())), "{}", key.path);
        }
    }

    #[test]
    fn summary_names_what_an_operator_checks() {
        let mut layers = Layers::default();
        layers.flags.push(("node_id".into(), "1".into()));
        layers.flags.push(("cluster.initial_members".into(), "1=a:1,2=b:1,3=c:1".into()));
        let text = summary(Path::new("w.toml"), &layers.settings().unwrap());
        assert!(text.starts_with("ok: w.toml\n  n1 in cluster \"warlock\" of 3, "), "{text}");
        assert!(text.contains("survives the failure of 1\n"), "{text}");
        assert!(text.contains("\nnote: peer.listen = 127.0.0.1:7379: "), "{text}");
    }
}
