//! The processes of a development cluster.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::iter;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::time::Instant;

use super::{DevError, DevOptions, OWN_SETTINGS, Ports, loopback};
use crate::service;
use crate::settings::keys;

/// Name of the flag that makes a node stop when its standard input ends.
pub(super) const LIFELINE_FLAG: &str = "--exit-with-stdin";

/// First wait before a node that exited is started again; doubles up to the second.
const RESTART_WAIT_MIN: Duration = Duration::from_millis(500);
/// See [`RESTART_WAIT_MIN`].
const RESTART_WAIT_MAX: Duration = Duration::from_secs(10);

/// A node that ran for so long did not fail at its start.
const STEADY: Duration = Duration::from_secs(30);

/// Lines of a log that are shown when a node fails at its start.
const LAST_WORDS: usize = 5;

/// One node, running or not.
pub(super) struct Child {
    pub(super) node: u16,
    pub(super) ports: Ports,
    /// Of the latest process.
    pub(super) pid: u32,
    /// When to start it again, if at all.
    pub(super) due: Option<Instant>,
    process: Option<Process>,
    /// Held open as long as the child shall run; waiting for a process closes its own end.
    lifeline: Option<ChildStdin>,
    arguments: Vec<String>,
    log: PathBuf,
    started: Instant,
    wait: Duration,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) node: u16,
    pub(super) pid: u32,
    /// `signal 9` or `code 1`.
    pub(super) how: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} pid {} exited: {}", self.node, self.pid, self.how)
    }
}

impl Child {
    pub(super) fn start(options: &DevOptions, node: u16, data: &Path) -> Result<Self, DevError> {
        let mut child = Self {
            node,
            ports: Ports::of(options.base_port, node),
            pid: 0,
            due: None,
            process: None,
            lifeline: None,
            arguments: arguments(options, node, data),
            log: data.join(format!("node-{node}.log")),
            started: Instant::now(),
            wait: RESTART_WAIT_MIN,
        };
        child.launch()?;
        Ok(child)
    }

    pub(super) const fn runs(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Plans the next start; a node that fails again and again waits longer and longer.
    pub(super) fn start_later(&mut self) {
        if self.started.elapsed() >= STEADY {
            self.wait = RESTART_WAIT_MIN;
        }
        self.due = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(RESTART_WAIT_MAX);
    }

    pub(super) fn start_again(&mut self) -> Result<(), DevError> {
        self.due = None;
        self.launch()
    }

    /// Ready when the process has ended, once for each process.
    pub(super) fn poll_exit(&mut self, context: &mut Context<'_>) -> Poll<Exit> {
        let Some(process) = &mut self.process else {
            return Poll::Pending;
        };
        let status = ready!(pin!(process.wait()).poll(context));
        self.process = None;
        Poll::Ready(Exit { node: self.node, pid: self.pid, how: describe(status) })
    }

    /// Asks the process to stop.
    pub(super) fn terminate(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (Some(pid), true) = (pid, self.runs()) {
            // An error says that it is gone already: it is waited for, so that the number is
            // not that of another process.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Returns when the process is gone.
    pub(super) async fn gone(&mut self) {
        if let Some(process) = &mut self.process {
            // Only a process that is not ours to wait for gives an error.
            let _ = process.wait().await;
            self.process = None;
        }
    }

    /// Ends the process at once.
    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill().await;
        }
    }

    /// The end of the log, indented.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let mut text = format!("its log {} ends:", self.log.display());
        for line in &lines[lines.len().saturating_sub(LAST_WORDS)..] {
            text.push_str("\n  ");
            text.push_str(line);
        }
        text
    }

    fn launch(&mut self) -> Result<(), DevError> {
        let failed = |error| DevError::System(format!("cannot start node {}", self.node), error);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = std::process::Command::new(program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Ctrl-C on the terminal is for the parent, which then stops its children.
            .process_group(0);
        for key in keys().iter().filter(|key| OWN_SETTINGS.contains(&key.path)) {
            command.env_remove(key.variable());
        }
        for variable in service::VARIABLES {
            command.env_remove(variable);
        }
        let mut process = Command::from(command).kill_on_drop(true).spawn().map_err(failed)?;
        self.lifeline = process.stdin.take();
        self.pid = process.id().unwrap_or_default();
        self.process = Some(process);
        self.started = Instant::now();
        Ok(())
    }
}

/// The command line of one node.
fn arguments(options: &DevOptions, node: u16, data: &Path) -> Vec<String> {
    let settings = settings(options, node, data).into_iter();
    let flags = settings.flat_map(|(path, value)| [format!("--{path}"), value]);
    iter::once(LIFELINE_FLAG.to_owned()).chain(flags).collect()
}

/// The settings of one node, by key path.
pub(super) fn settings(options: &DevOptions, node: u16, data: &Path) -> Vec<(String, String)> {
    let ports = Ports::of(options.base_port, node);
    let members: Vec<String> = (1..=options.nodes)
        .map(|member| format!("{member}={}", loopback(Ports::of(options.base_port, member).peer)))
        .collect();
    let own = [
        ("node_id", node.to_string()),
        ("data_dir", data.join(format!("node-{node}")).display().to_string()),
        ("cluster.name", "dev".to_owned()),
        ("cluster.initial_members", members.join(",")),
        ("client.listen", loopback(ports.client).to_string()),
        ("peer.listen", loopback(ports.peer).to_string()),
        ("http.listen", loopback(ports.http).to_string()),
    ];
    let own = own.into_iter().map(|(path, value)| (path.to_owned(), value));
    own.chain(options.settings.iter().cloned()).collect()
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("code {code}"),
            (None, None) => status.to_string(),
        },
        Err(error) => error.to_string(),
    }
}
