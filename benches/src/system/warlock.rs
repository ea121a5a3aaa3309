//! A Warlock cluster, started by `warlockd dev`.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use super::{System, data_directory};
use crate::client::{Client, http_get, metric_sum};
use crate::process::{
    OwnedProcess, ProcessIdentity, free_base_port, is_listening, send_signal, version_line,
    wait_for,
};
use crate::resp::RespLoad;
use crate::workload::{Load, Workload};
use crate::{Error, Result, error::Context as _};

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct WarlockOptions {
    /// The `warlockd` to run.
    pub program: PathBuf,
    /// Command in front of it, such as a memory checker; empty for none.
    pub wrapper: Vec<String>,
    /// Settings by environment variable, on top of the defaults.
    pub environment: Vec<(String, String)>,
    /// How long it may take to become ready.
    pub patience: Duration,
}

impl WarlockOptions {
    /// The cluster as users get it.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            wrapper: Vec::new(),
            environment: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }
}

/// The cluster and its data.
#[derive(Debug)]
pub struct Warlock {
    supervisor: OwnedProcess,
    nodes: Vec<Node>,
    description: String,
    directory: TempDir,
}

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    /// Where clients connect.
    pub client: SocketAddr,
    http: SocketAddr,
    process: ProcessIdentity,
    launch: Launch,
    restarted: Option<OwnedProcess>,
}

impl Node {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> Result<bool> {
        // A restarted node is a child of this process and stays a zombie until it is reaped.
        if let Some(restarted) = &mut self.restarted
            && restarted.has_ended()?
        {
            return Ok(false);
        }
        Ok(self.process.is_running())
    }

    /// The value of one of the node's metrics, summed over its labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        metric_sum(&http_get(self.http, "/metrics")?, name)
    }

    /// How often the node has synced its write-ahead log.
    pub fn syncs(&self) -> Result<f64> {
        self.metric("warlock_wal_syncs_total")
    }
}

impl Warlock {
    /// Starts three nodes with their data below `root` and waits for the ready line.
    pub fn start(root: &Path, options: &WarlockOptions) -> Result<Self> {
        let directory = data_directory(root, "warlock")?;
        let base_port = free_base_port(NODES)?;
        let mut words: Vec<OsString> = options.wrapper.iter().map(OsString::from).collect();
        words.push(options.program.clone().into());
        let mut command = Command::new(words.remove(0));
        command
            .args(words)
            .args(["dev", "--nodes", &NODES.to_string()])
            .args(["--base-port", &base_port.to_string(), "--data-dir"])
            .arg(directory.path().join("data"))
            .envs(options.environment.iter().map(|(name, value)| (name, value)));
        let log = directory.path().join("dev.log");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut supervisor = OwnedProcess::spawn_with_output(&mut command, "warlockd dev", &log)?;
        let output = supervisor
            .take_output()
            .ok_or_else(|| Error::new("the output of warlockd dev is not a pipe"))?;
        let ready = watch_for_ready(output);
        let line = supervisor.wait_until(options.patience, || Ok(ready.try_recv().ok()))?;
        let nodes = parse_ready(&line)?;
        let version = version_line(&options.program, "--version")?;
        let version = version.rsplit(' ').next().unwrap_or_default();
        let description = format!("Warlock {version}, {} nodes, fsync", nodes.len());
        let cluster = Self { supervisor, nodes, description, directory };
        cluster.wait_healthy(options.patience)?;
        Ok(cluster)
    }

    /// Where the cluster keeps its data and logs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// All nodes, by node id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Index in [`Warlock::nodes`] of the master that a living node names.
    pub fn master(&mut self) -> Result<usize> {
        let count = self.nodes.len();
        for node in &mut self.nodes {
            if !node.is_running()? {
                continue;
            }
            let Ok(status) = ClusterStatus::ask(node.client) else {
                continue;
            };
            let Some(master) = status.master else {
                continue;
            };
            let index = usize::from(master).wrapping_sub(1);
            if index < count {
                return Ok(index);
            }
            return Err(Error::new(format!("n{master} is master but not one of {count} nodes")));
        }
        Err(Error::new("no node knows a master"))
    }

    /// Waits until a master is known and every node answers and has caught up.
    pub fn wait_healthy(&self, patience: Duration) -> Result<()> {
        wait_for("a healthy cluster", patience, || {
            for node in &self.nodes {
                let Ok(status) = ClusterStatus::ask(node.client) else {
                    return Ok(None);
                };
                if !status.is_healthy() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Some once the process of node `index` has ended.
    pub fn has_ended(&mut self, index: usize) -> Result<Option<()>> {
        Ok((!self.nodes[index].is_running()?).then_some(()))
    }

    /// Signals the process of node `index` and does not wait.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<()> {
        send_signal(self.nodes[index].pid(), signal)
    }

    /// Starts node `index` again exactly as it was started before, and waits until it is well.
    pub fn restart(&mut self, index: usize, patience: Duration) -> Result<()> {
        wait_for("a node to end", patience, || self.has_ended(index))?;
        self.start_again(index)?;
        self.wait_healthy(patience)
    }

    /// Starts one more node, with the next number, and waits until it votes; gives its index.
    pub fn join_one(&mut self) -> Result<usize> {
        let index = self.begin_join()?;
        let votes = self.votes(index);
        wait_for("a newcomer to vote", Duration::from_secs(60), || Ok(votes().then_some(index)))
    }

    /// Starts one more node, with the next number, that joins; gives its index.
    pub fn begin_join(&mut self) -> Result<usize> {
        let id = self.nodes.len() + 1;
        let master = self.master()?;
        let member = ClusterStatus::ask(self.nodes[master].client)?;
        let peer = member.nodes.iter().find(|node| node.id == master + 1);
        let peer = peer.ok_or_else(|| Error::new("the master is no member"))?.peer.clone();
        let port = free_base_port(1)?;
        let [client, listen, http] = [0, 100, 200].map(|lane| format!("127.0.0.1:{}", port + lane));
        let log = self.directory.path().join(format!("joined-{id}.log"));
        let data = self.directory.path().join(format!("joined-{id}"));
        let number = id.to_string();
        let mut launch = self.nodes[0].launch.clone();
        launch.arguments = ["--node_id", &number, "--cluster.name", &member.cluster]
            .into_iter()
            .chain(["--client.listen", &client, "--peer.listen", &listen, "--http.listen", &http])
            .chain(["--join", &peer, "--data_dir"])
            .map(OsString::from)
            .chain([data.into_os_string()])
            .collect();
        let started = OwnedProcess::spawn(&mut launch.command(), "warlockd", &log)?;
        let address = |text: &str| text.parse::<SocketAddr>().context("an address");
        let (client, http) = (address(&client)?, address(&http)?);
        let process = ProcessIdentity::of(started.pid())?;
        self.nodes.push(Node { client, http, process, launch, restarted: Some(started) });
        Ok(id - 1)
    }

    /// Tells whether node `index` votes in a membership that is stable.
    pub fn votes(&self, index: usize) -> impl Fn() -> bool + Sync + use<> {
        let client = self.nodes[index].client;
        let seat = format!("\"id\":{},\"seat\":\"voter\"", index + 1);
        move || {
            let ask = |mut node: Client| node.request(&[b"WARLOCK", b"MEMBERSHIP"]);
            let reply = Client::connect(client, Duration::from_secs(5)).and_then(ask);
            let reply = reply.ok().flatten().unwrap_or_default();
            reply.contains(&seat) && reply.contains("\"transitional\":false")
        }
    }

    /// Tells whether node `index` answers and has applied nearly all that the master has.
    pub fn level(&self, index: usize) -> impl Fn() -> bool + Sync + use<> {
        let client = self.nodes[index].client;
        move || ClusterStatus::ask(client).is_ok_and(|status| status.is_healthy())
    }

    /// Starts node `index`, which has ended, exactly as it was started before.
    pub fn start_again(&mut self, index: usize) -> Result<()> {
        let log = self.directory.path().join(format!("restarted-{}.log", index + 1));
        let address = self.nodes[index].client;
        // A process with much memory is a zombie some time before its last thread lets go.
        let is_free = || Ok((!is_listening(address)?).then_some(()));
        wait_for("a port to be free", Duration::from_secs(10), is_free)?;
        let node = &mut self.nodes[index];
        let restarted = OwnedProcess::spawn(&mut node.launch.command(), "warlockd", &log)?;
        node.process = ProcessIdentity::of(restarted.pid())?;
        node.restarted = Some(restarted);
        Ok(())
    }

    /// Ends all nodes in order and waits for them.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        self.supervisor.stop(Signal::TERM, patience)?;
        for node in &mut self.nodes {
            if let Some(restarted) = &mut node.restarted {
                restarted.stop(Signal::TERM, patience)?;
            }
            wait_for("a node to end", patience, || Ok((!node.is_running()?).then_some(())))?;
        }
        Ok(())
    }
}

impl Drop for Warlock {
    fn drop(&mut self) {
        if self.stop(Duration::from_secs(10)).is_ok() {
            return;
        }
        for node in &mut self.nodes {
            if node.process.is_running() {
                // It is gone if it cannot be signalled.
                let _ = send_signal(node.pid(), Signal::KILL);
            }
        }
    }
}

impl System for Warlock {
    fn description(&self) -> &str {
        &self.description
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Node::pid).collect()
    }

    /// All connections go to the master.
    fn connect(&self, workload: &Workload) -> Result<Box<dyn Load>> {
        // Any node may be down.
        let statuses = self.nodes.iter().filter_map(|node| ClusterStatus::ask(node.client).ok());
        let master = statuses.filter_map(|status| status.master).next();
        let master = master.ok_or_else(|| Error::new("the cluster has no master"))?;
        let node = self.nodes.get(usize::from(master).wrapping_sub(1));
        let node = node.ok_or_else(|| Error::new(format!("no node n{master}")))?;
        Ok(Box::new(RespLoad::connect(node.client, workload)?))
    }
}

/// How a node was started, so that it can be started again in the same way.
#[derive(Clone, Debug)]
struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Launch {
    fn of(pid: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let words = |file: &str| -> Result<Vec<OsString>> {
            let bytes = fs::read(process.join(file)).context(format_args!("process {pid}"))?;
            let words = bytes.split(|&byte| byte == 0).filter(|word| !word.is_empty());
            Ok(words.map(|word| OsString::from_vec(word.to_vec())).collect())
        };
        let environment = words("environ")?.into_iter().filter_map(|word| {
            let bytes = word.into_vec();
            let at = bytes.iter().position(|&byte| byte == b'=')?;
            let name = OsString::from_vec(bytes[..at].to_vec());
            Some((name, OsString::from_vec(bytes[at + 1..].to_vec())))
        });
        Ok(Self {
            program: fs::read_link(process.join("exe"))?,
            // A restarted node belongs to this process, which has no pipe to its standard input.
            arguments: words("cmdline")?
                .split_off(1)
                .into_iter()
                .filter(|argument| argument != "--exit-with-stdin")
                .collect(),
            directory: fs::read_link(process.join("cwd"))?,
            environment: environment.collect(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The part of `WARLOCK STATUS` that measurements need.
#[derive(Debug, Deserialize)]
struct ClusterStatus {
    #[serde(default)]
    cluster: String,
    master: Option<u16>,
    nodes: Vec<NodeStatus>,
}

#[derive(Debug, Deserialize)]
struct NodeStatus {
    id: usize,
    #[serde(default)]
    peer: String,
    state: String,
    lag: u64,
}

impl ClusterStatus {
    fn ask(address: SocketAddr) -> Result<Self> {
        let reply = Client::connect(address, Duration::from_secs(5))?
            .request(&[b"WARLOCK", b"STATUS"])?
            .ok_or_else(|| Error::new("no status"))?;
        serde_json::from_str(&reply).context("WARLOCK STATUS")
    }

    fn is_healthy(&self) -> bool {
        let well = |node: &NodeStatus| node.state == "up" && node.lag <= LAG_MAX;
        self.master.is_some()
            && self.nodes.len() >= usize::from(NODES)
            && self.nodes.iter().all(well)
    }
}

/// Sends on the ready line and keeps the pipe empty afterwards.
fn watch_for_ready(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            if line.starts_with("ready ") {
                // Nobody listens any more when the start was given up.
                let _ = sender.send(line);
            }
        }
    });
    receiver
}

fn parse_ready(line: &str) -> Result<Vec<Node>> {
    let (clients, https) = (addresses(line, "clients")?, addresses(line, "http")?);
    let pids: Vec<u32> = list(line, "pids")?
        .map(|pid| pid.parse().context(format_args!("pids in {line:?}")))
        .collect::<Result<_>>()?;
    if clients.len() != pids.len() || https.len() != pids.len() || pids.is_empty() {
        return Err(Error::new(format!("the lists differ in length: {line:?}")));
    }
    let node = |((client, http), pid)| {
        let (process, launch) = (ProcessIdentity::of(pid)?, Launch::of(pid)?);
        Ok(Node { client, http, process, launch, restarted: None })
    };
    clients.into_iter().zip(https).zip(pids).map(node).collect()
}

fn addresses(line: &str, name: &str) -> Result<Vec<SocketAddr>> {
    list(line, name)?
        .map(|address| address.parse().context(format_args!("{name} in {line:?}")))
        .collect()
}

fn list<'a>(line: &'a str, name: &str) -> Result<std::str::Split<'a, char>> {
    line.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .map(|list| list.split(','))
        .ok_or_else(|| Error::new(format!("no {name}= in {line:?}")))
}

const NODES: u16 = 3;

/// Slots that a healthy node may be behind: what is in flight while the status is taken.
const LAG_MAX: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_names_every_node() {
        let pid = std::process::id();
        let line = format!(
            "ready nodes=2 clients=127.0.0.1:7001,127.0.0.1:7002 \
             http=127.0.0.1:7201,127.0.0.1:7202 pids={pid},{pid} data=/some where"
        );
        let nodes = parse_ready(&line).unwrap();
        let clients: Vec<u16> = nodes.iter().map(|node| node.client.port()).collect();
        assert_eq!(clients, [7_001, 7_002]);
        assert_eq!((nodes[1].http.port(), nodes[1].pid()), (7_202, pid));
    }

    #[test]
    fn a_ready_line_with_lists_of_different_length_is_refused() {
        let line = "ready nodes=1 clients=127.0.0.1:1 http=127.0.0.1:2 pids=1,2 data=x";
        assert!(parse_ready(line).unwrap_err().to_string().contains("differ in length"));
        assert!(parse_ready("ready nodes=1").unwrap_err().to_string().contains("clients="));
    }

    #[test]
    fn a_cluster_is_healthy_with_a_master_and_every_node_caught_up() {
        let status = |master: &str, state: &str, lag: u64| -> ClusterStatus {
            let node = format!(r#"{{"id":1,"state":"{state}","lag":{lag},"role":"x"}}"#);
            let text = format!(r#"{{"master":{master},"nodes":[{node},{node},{node}]}}"#);
            serde_json::from_str(&text).unwrap()
        };
        assert!(status("2", "up", LAG_MAX).is_healthy());
        assert!(!status("null", "up", 0).is_healthy());
        assert!(!status("2", "recovering", 0).is_healthy());
        assert!(!status("2", "up", LAG_MAX + 1).is_healthy());
    }

    #[test]
    fn a_launch_repeats_the_command_line_of_a_process() {
        let launch = Launch::of(std::process::id()).unwrap();
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        assert_eq!(launch.arguments, arguments);
        assert_eq!(launch.directory, std::env::current_dir().unwrap());
    }
}
