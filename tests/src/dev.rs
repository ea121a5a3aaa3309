//! `warlockd dev`: a cluster as a developer starts it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::machine::Machine;
use crate::process::{Finished, Process, read, tail};
use crate::programs::warlockd;
use crate::wait::eventually;

/// What the ready line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where clients connect, node 1 first.
    pub clients: Vec<SocketAddr>,
    /// Where metrics are, node 1 first.
    pub http: Vec<SocketAddr>,
    /// Process ids, node 1 first.
    pub pids: Vec<i32>,
    /// The directory of all data.
    pub data: PathBuf,
}

/// A running `warlockd dev`. It and all its children are gone when it is dropped.
#[derive(Debug)]
pub struct DevCluster {
    /// What the ready line said.
    pub ready: Ready,
    /// The first client port.
    pub base_port: u16,
    process: Option<Process>,
    output: PathBuf,
    log: PathBuf,
    _directory: TempDir,
    _machine: Machine,
}

impl DevCluster {
    /// Starts `warlockd dev` with these arguments and waits for its ready line.
    ///
    /// # Panics
    /// If the line does not come, or is not as documented.
    #[must_use]
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let machine = Machine::reserve();
        let directory = TempDir::with_prefix("warlock-dev-").expect("a directory can be made");
        let output = directory.path().join("output");
        let log = directory.path().join("log");
        let base_port = free_base_port();
        let mut command = Command::new(warlockd());
        command.arg("dev").args(["--base-port", &base_port.to_string()]).args(arguments);
        let mut process = Process::start_with_output(&mut command, &output, &log);
        let line = eventually("the ready line", || {
            let text = read(&output);
            assert!(process.is_running(), "it ended:\n{text}\n{}", tail(&log));
            let line = text.lines().find(|line| line.starts_with("ready ")).map(str::to_owned);
            line.filter(|_| text.ends_with('\n')).ok_or(text)
        });
        let ready = Ready::parse(&line).unwrap_or_else(|problem| panic!("{problem}: {line:?}"));
        let process = Some(process);
        Self { ready, base_port, process, output, log, _directory: directory, _machine: machine }
    }

    /// Everything on its standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// Everything on its standard output and its standard error so far.
    #[must_use]
    pub fn all_output(&self) -> String {
        format!("{}\n{}", read(&self.output), read(&self.log))
    }

    /// Sends Ctrl-C and returns how it ended.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn interrupt(&mut self) -> Finished {
        let process = self.process.take().expect("it was not interrupted before");
        process.signal(Signal::INT);
        process.finish()
    }

    /// Kills `warlockd dev` itself, which cannot stop its nodes then.
    pub fn kill_parent(&mut self) {
        self.process.take().expect("it was not ended before").kill();
    }

    /// Kills the node with this number.
    pub fn kill_node(&self, id: u16) {
        signal(self.ready.pids[usize::from(id) - 1], Signal::KILL);
    }

    /// The nodes of the ready line whose process still exists.
    #[must_use]
    pub fn survivors(&self) -> Vec<i32> {
        self.ready.pids.iter().copied().filter(|pid| exists(*pid)).collect()
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        // Nodes end with their parent, unless the test has found a bug.
        if thread::panicking() {
            for pid in self.survivors() {
                signal(pid, Signal::KILL);
            }
        }
    }
}

impl Ready {
    /// Reads the one line that `warlockd dev` prints when it is ready.
    ///
    /// # Errors
    /// What differs from the documented form.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let mut field = |name: &str| {
            let word = words.next().ok_or_else(|| format!("{name} is missing"))?;
            word.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
                .map(str::to_owned)
                .ok_or_else(|| format!("{name}= is expected, not {word:?}"))
        };
        let line_without_word = line.strip_prefix("ready ").ok_or("it starts with `ready `")?;
        let _ready = field("ready").err();
        let nodes: usize = number(&field("nodes")?)?;
        let clients = list(&field("clients")?)?;
        let http = list(&field("http")?)?;
        let pids = list(&field("pids")?)?;
        // A path may hold blanks, hence the rest of the line.
        let (_, data) = line_without_word.split_once(" data=").ok_or("data= is missing")?;
        for count in [clients.len(), http.len(), pids.len()] {
            if count != nodes {
                return Err(format!("nodes={nodes}, but a list has {count}"));
            }
        }
        Ok(Self { clients, http, pids, data: PathBuf::from(data) })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} cannot be read"))
}

fn list<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(number).collect()
}

fn exists(pid: i32) -> bool {
    let pid = Pid::from_raw(pid).expect("process ids are positive");
    let zombie = || {
        let stat = read(Path::new(&format!("/proc/{}/stat", pid.as_raw_nonzero())));
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    test_kill_process(pid).is_ok() && !zombie()
}

fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("process ids are positive");
    // It may have ended in this moment.
    let _ = kill_process(pid, signal);
}

/// A base port whose nine ports nobody uses.
fn free_base_port() -> u16 {
    const NODES_MAX: u16 = 7;
    // Below the range from which connections take their ports.
    let first = 10_000 + u16::try_from(process::id() % 60).expect("below 60") * 300;
    let candidates = (0..60).map(|step| 10_000 + (first - 10_000 + step * 300) % 18_000);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let all_free = |base: &u16| {
        (0..NODES_MAX).all(|node| [0, 100, 200].iter().all(|kind| free(base + kind + node)))
    };
    candidates.into_iter().find(all_free).expect("this machine has free ports")
}

#[cfg(test)]
mod tests {
    use super::Ready;

    const LINE: &str = "ready nodes=2 clients=127.0.0.1:7001,127.0.0.1:7002 \
                        http=127.0.0.1:7201,127.0.0.1:7202 pids=101,102 data=DIR/with blank";

    #[test]
    fn the_documented_line_is_read() {
        let ready = Ready::parse(LINE).unwrap();
        assert_eq!(ready.clients.len(), 2);
        assert_eq!(ready.http[1].port(), 7202);
        assert_eq!(ready.pids, [101, 102]);
        assert_eq!(ready.data.to_str(), Some("DIR/with blank"));
    }

    #[test]
    fn other_lines_are_refused() {
        for (from, to) in [
            ("ready ", "Ready "),
            ("nodes=2", "nodes=3"),
            (" http", "  http"),
            ("pids=101,102", "pids=101"),
            ("clients=", "client="),
            (" data=", " dir="),
        ] {
            assert!(Ready::parse(&LINE.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }
}
