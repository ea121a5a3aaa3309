//! `warlockd dev`: a development cluster of child processes on loopback.
//!
//! Children run the same program with settings as flags. They watch their standard input, a pipe
//! that ends with this process however it ends, so no node outlives its cluster.

mod children;
mod watch;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep_until, timeout};

use crate::settings::Layers;
use crate::shutdown::Shutdown;

use children::{Child, Exit};
use watch::{BallotOrder, Watcher};

/// Distance between the ports of clients, peers and HTTP; also the most nodes' worth of ports.
const PORT_SPAN: u16 = 100;

/// Most nodes of a development cluster.
pub const NODES_MAX: u16 = 7;

/// How long a cluster may take to be ready.
const READY_TIME_MAX: Duration = Duration::from_secs(60);

/// How long children may take to stop before they are killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Settings that a development cluster gives to each node itself.
pub const OWN_SETTINGS: &[&str] = &[
    "node_id",
    "data_dir",
    "cluster.name",
    "cluster.initial_members",
    "client.listen",
    "client.advertise",
    "peer.listen",
    "peer.advertise",
    "http.listen",
];

/// What kind of cluster to run.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// How many nodes, 1 to [`NODES_MAX`].
    pub nodes: u16,
    /// Port for clients of node 1.
    pub base_port: u16,
    /// Where data is kept; `None` for a temporary directory.
    pub data_dir: Option<PathBuf>,
    /// Whether a node that exits is started again.
    pub restart: bool,
    /// Further settings for every node, by key path.
    pub settings: Vec<(String, String)>,
}

/// Why a development cluster could not run, or ended by itself.
#[derive(Debug)]
pub enum DevError {
    /// The options do not make sense; what is allowed.
    Usage(String),
    /// A port is taken; the message names it.
    Port(String),
    /// The system refused something.
    System(String, io::Error),
    /// The nodes run, but not as a cluster, or not at all any more.
    Cluster(String),
}

impl fmt::Display for DevError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Port(text) | Self::Cluster(text) => f.write_str(text),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for DevError {}

/// Addresses of one node.
#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
    http: u16,
}

impl Ports {
    fn of(base: u16, node: u16) -> Self {
        let client = base + node - 1;
        Self { client, peer: client + PORT_SPAN, http: client + 2 * PORT_SPAN }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

/// Runs a cluster until the operator stops it.
///
/// # Errors
/// [`DevError`] if it cannot start or all of its nodes end.
pub fn run(options: &DevOptions) -> Result<(), DevError> {
    check(options)?;
    let data = Data::open(options.data_dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| DevError::System("cannot start".into(), error))?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::install()
            .map_err(|error| DevError::System("cannot catch signals".into(), error))?;
        let mut cluster = Cluster::start(options, data.path())?;
        let outcome = tokio::select! {
            outcome = cluster.supervise() => outcome,
            () = shutdown.requested() => Ok(()),
        };
        cluster.stop().await;
        outcome
    });
    data.close(outcome.is_ok());
    outcome
}

/// Refuses options and ports before anything is started.
fn check(options: &DevOptions) -> Result<(), DevError> {
    if !(1..=NODES_MAX).contains(&options.nodes) {
        let text = format!("--nodes {}: must be 1 to {NODES_MAX}", options.nodes);
        return Err(DevError::Usage(text));
    }
    let base_max = u16::MAX - 2 * PORT_SPAN - NODES_MAX;
    if !(1..=base_max).contains(&options.base_port) {
        let text = format!("--base-port {}: must be 1 to {base_max}", options.base_port);
        return Err(DevError::Usage(text));
    }
    if let Some((own, _)) =
        options.settings.iter().find(|(path, _)| OWN_SETTINGS.contains(&path.as_str()))
    {
        let text = format!("--{own}: dev gives every node its own; leave it out");
        return Err(DevError::Usage(text));
    }
    // What all nodes would refuse is better refused once, and before there are any.
    let flags = children::settings(options, 1, Path::new("data"));
    if let Err(problems) = (Layers { flags, ..Layers::default() }).settings() {
        return Err(DevError::Usage(problems.to_string()));
    }
    for node in 1..=options.nodes {
        let ports = Ports::of(options.base_port, node);
        let uses = [("clients", ports.client), ("peers", ports.peer), ("HTTP", ports.http)];
        for (what, port) in uses {
            if let Err(error) = TcpListener::bind(loopback(port)) {
                return Err(DevError::Port(format!(
                    "port {port} ({what} of node {node}) cannot be used: {error}; \
                     stop what uses it or choose another --base-port"
                )));
            }
        }
    }
    Ok(())
}

/// The directory of a cluster.
enum Data {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Data {
    fn open(path: Option<&Path>) -> Result<Self, DevError> {
        match path {
            Some(path) => {
                let refused = |error| {
                    DevError::System(format!("cannot use --data-dir {}", path.display()), error)
                };
                std::fs::create_dir_all(path).map_err(refused)?;
                Ok(Self::Kept(path.canonicalize().map_err(refused)?))
            }
            None => tempfile::Builder::new()
                .prefix("warlock-dev-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| DevError::System("no temporary directory".into(), error)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }

    /// Removes temporary data, unless somebody will want to see the logs.
    fn close(self, orderly: bool) {
        let Self::Temporary(directory) = self else {
            return;
        };
        if orderly {
            if let Err(error) = directory.close() {
                complain(&format!("cannot remove the temporary data: {error}"));
            }
        } else {
            complain(&format!("data and logs are kept in {}", directory.keep().display()));
        }
    }
}

/// A running cluster.
struct Cluster {
    children: Vec<Child>,
    data: PathBuf,
    restart: bool,
    master: Option<BallotOrder>,
}

impl Cluster {
    fn start(options: &DevOptions, data: &Path) -> Result<Self, DevError> {
        let children = (1..=options.nodes)
            .map(|node| Child::start(options, node, data))
            .collect::<Result<_, _>>()?;
        Ok(Self { children, data: data.to_owned(), restart: options.restart, master: None })
    }

    /// Reports what happens; returns when it makes no sense to go on.
    async fn supervise(&mut self) -> Result<(), DevError> {
        self.wait_until_ready().await?;
        say(&self.ready_line());
        let mut watcher = Watcher::new(self.https());
        loop {
            if let Some(ballot) = watcher.newest_master()
                && self.master.is_none_or(|known| known < ballot)
            {
                say(&format!("master {ballot}"));
                self.master = Some(ballot);
            }
            let due = self.children.iter().filter_map(|child| child.due).min();
            tokio::select! {
                exit = next_exit(&mut self.children) => self.exited(exit)?,
                () = watcher.poll() => {}
                () = next_start(due) => self.start_again()?,
            }
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), DevError> {
        let deadline = Instant::now() + READY_TIME_MAX;
        let mut watcher = Watcher::new(self.https());
        while !watcher.all_ready() {
            tokio::select! {
                exit = next_exit(&mut self.children) => {
                    return Err(DevError::Cluster(format!(
                        "{exit} before the cluster was ready\n{}",
                        self.child(exit.node).last_words()
                    )));
                }
                () = watcher.poll() => {}
                () = sleep_until(deadline) => {
                    return Err(DevError::Cluster(format!(
                        "the cluster is not ready after {} s: {}",
                        READY_TIME_MAX.as_secs(),
                        watcher.reasons()
                    )));
                }
            }
        }
        Ok(())
    }

    fn ready_line(&self) -> String {
        let list = |item: fn(&Child) -> String| {
            self.children.iter().map(item).collect::<Vec<_>>().join(",")
        };
        format!(
            "ready nodes={} clients={} http={} pids={} data={}",
            self.children.len(),
            list(|child| loopback(child.ports.client).to_string()),
            list(|child| loopback(child.ports.http).to_string()),
            list(|child| child.pid.to_string()),
            self.data.display()
        )
    }

    fn exited(&mut self, exit: Exit) -> Result<(), DevError> {
        say(&exit.to_string());
        if self.restart {
            self.child(exit.node).start_later();
        } else if self.children.iter().all(|child| !child.runs()) {
            return Err(DevError::Cluster("every node has exited".into()));
        }
        Ok(())
    }

    fn start_again(&mut self) -> Result<(), DevError> {
        for child in &mut self.children {
            if child.is_due() {
                child.start_again()?;
                say(&format!("node {} pid {} restarted", child.node, child.pid));
            }
        }
        Ok(())
    }

    /// Ends all children: politely, and after a while not.
    async fn stop(&mut self) {
        for child in &self.children {
            child.terminate();
        }
        let all_gone = async {
            for child in &mut self.children {
                child.gone().await;
            }
        };
        if timeout(STOP_TIME_MAX, all_gone).await.is_err() {
            for child in &mut self.children {
                if child.runs() {
                    complain(&format!("node {} does not stop: killed", child.node));
                    child.kill().await;
                }
            }
        }
    }

    fn https(&self) -> Vec<SocketAddr> {
        self.children.iter().map(|child| loopback(child.ports.http)).collect()
    }

    fn child(&mut self, node: u16) -> &mut Child {
        let position = usize::from(node) - 1;
        self.children.get_mut(position).expect("nodes are numbered from 1")
    }
}

/// The next child to exit; for ever, if none runs.
async fn next_exit(children: &mut [Child]) -> Exit {
    std::future::poll_fn(|context| {
        for child in children.iter_mut() {
            if let std::task::Poll::Ready(exit) = child.poll_exit(context) {
                return std::task::Poll::Ready(exit);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Returns when the next start is due; never, if there is none.
async fn next_start(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// One line on standard output, where scripts read. Whoever closed it does not want to know.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// One line on standard error.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "warlockd dev: {line}");
}

#[cfg(test)]
mod tests;
