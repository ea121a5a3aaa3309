//! Clusters of real processes on this machine.

use std::fmt::Write as _;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::client::Client;
use crate::machine::Machine;
use crate::network::Network;
use crate::node::Node;
use crate::wait::eventually;

/// First client port of the first cluster of a process.
const CLIENT_PORT: u16 = 7000;
/// First port for peers.
const PEER_PORT: u16 = 8000;
/// First port for HTTP.
const HTTP_PORT: u16 = 9000;

/// What a cluster is to be.
#[derive(Debug)]
pub struct Builder {
    nodes: u16,
    founders: Option<u16>,
    settings: String,
    namespaces: bool,
    data: Vec<(u16, PathBuf)>,
}

impl Builder {
    /// Makes the cluster of `count` nodes, 3 to 7.
    #[must_use]
    pub const fn nodes(mut self, count: u16) -> Self {
        self.nodes = count;
        self
    }

    /// Makes the first `count` nodes the initial members; the others are made and not started, and
    /// join by way of node 1 when they are. With none, node 1 starts a cluster of its own.
    #[must_use]
    pub const fn founders(mut self, count: u16) -> Self {
        self.founders = Some(count);
        self
    }

    /// Adds the setting `key = value`, with the value in TOML, to every node.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        writeln!(self.settings, "{key} = {value}").expect("writing to a string does not fail");
        self
    }

    /// Gives every node a network of its own, so that cables can be cut.
    #[must_use]
    pub fn with_network(mut self) -> Self {
        self.namespaces = true;
        self
    }

    /// Puts the data directory of a node elsewhere.
    #[must_use]
    pub fn data(mut self, node: u16, directory: PathBuf) -> Self {
        self.data.push((node, directory));
        self
    }

    /// Starts the cluster and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Cluster {
        let founders = self.founders.unwrap_or(self.nodes).max(1);
        let mut cluster = self.prepare();
        for node in cluster.nodes.iter_mut().filter(|node| node.id <= founders) {
            node.start();
        }
        cluster.await_ready();
        cluster
    }

    /// Makes everything and starts no node.
    #[must_use]
    pub fn prepare(self) -> Cluster {
        let machine = Machine::reserve();
        let directory = TempDir::with_prefix("warlock-").expect("a directory can be made");
        let network = self.namespaces.then(|| Arc::new(Network::new(self.nodes)));
        let base = next_base();
        let address = |id: u16, port: u16| {
            let ip = network.as_ref().map_or_else(loopback, |network| network.address(id));
            SocketAddr::new(ip, port + base + id)
        };
        let nodes: Vec<Node> = (1..=self.nodes)
            .map(|id| {
                let addresses = [CLIENT_PORT, PEER_PORT, HTTP_PORT].map(|port| address(id, port));
                let own = directory.path().join(format!("n{id}"));
                let elsewhere = self.data.iter().find(|(node, _)| *node == id);
                let data = elsewhere.map_or_else(|| own.join("data"), |(_, path)| path.clone());
                Node::new(id, addresses, &own, data, network.clone())
            })
            .collect();
        let founders = self.founders.unwrap_or(self.nodes);
        let mut members = String::new();
        for node in nodes.iter().filter(|node| node.id <= founders) {
            writeln!(members, "{} = \"{}\"", node.id, node.peer)
                .expect("writing to a string does not fail");
        }
        let name = format!("test-{}-{base}", process::id());
        for node in &nodes {
            let listen = format!(
                "client.listen = \"{}\"\npeer.listen = \"{}\"\nhttp.listen = \"{}\"\n{}",
                node.client, node.peer, node.http, self.settings
            );
            let start = match node.id {
                id if id <= founders => format!("[cluster.initial_members]\n{members}"),
                1 => "start = \"bootstrap\"\n".to_owned(),
                _ => format!("start = \"join\"\njoin = \"{}\"\n", nodes[0].peer),
            };
            node.write_settings(&name, &start, &listen);
        }
        Cluster { nodes, network, directory: Some(directory), _machine: machine }
    }
}

/// Nodes that belong together. Everything of them is gone when it is dropped; after a failed test,
/// the ends of their logs are printed.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, the one with number 1 first.
    pub nodes: Vec<Node>,
    network: Option<Arc<Network>>,
    directory: Option<TempDir>,
    _machine: Machine,
}

impl Cluster {
    /// Describes a cluster of three nodes.
    #[must_use]
    pub const fn builder() -> Builder {
        let settings = String::new();
        Builder { nodes: 3, founders: None, settings, namespaces: false, data: Vec::new() }
    }

    /// Starts three nodes and waits until they serve.
    ///
    /// # Panics
    /// If they do not.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The node with this number.
    #[must_use]
    pub fn node(&self, id: u16) -> &Node {
        &self.nodes[usize::from(id) - 1]
    }

    /// The node with this number.
    #[must_use]
    pub fn node_mut(&mut self, id: u16) -> &mut Node {
        &mut self.nodes[usize::from(id) - 1]
    }

    /// The numbers of all nodes but this one.
    #[must_use]
    pub fn others(&self, id: u16) -> Vec<u16> {
        self.nodes.iter().map(|node| node.id).filter(|other| *other != id).collect()
    }

    /// Where everything of the cluster is that does not lie on disks of its own.
    ///
    /// # Panics
    /// Never: only dropping the cluster takes the directory away.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().expect("a cluster has a directory").path()
    }

    /// Where clients of all nodes connect.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.client).collect()
    }

    /// The cables between the nodes.
    ///
    /// # Panics
    /// If the cluster was made without.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the cluster was made with a network")
    }

    /// Waits until every live node can serve linearizable requests.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn await_ready(&mut self) {
        for node in self.nodes.iter_mut().filter_map(live) {
            eventually("the node is ready", || match node.process_has_ended() {
                true => panic!("n{} ended:\n{}", node.id, node.log_tail()),
                false => node.ask("READY").map(drop),
            });
        }
    }

    /// The master, when it and every other live node agree on it.
    ///
    /// # Panics
    /// If they do not in time.
    #[track_caller]
    pub fn master(&mut self) -> u16 {
        eventually("all nodes know one master", || {
            let live: Vec<&Node> =
                self.nodes.iter_mut().filter_map(live).map(|node| &*node).collect();
            let known: Result<Vec<u16>, String> =
                live.iter().map(|node| node.known_master()).collect();
            let known = known?;
            match known.first() {
                Some(first)
                    if known.iter().all(|master| master == first)
                        && live.iter().any(|node| node.id == *first) =>
                {
                    Ok(*first)
                }
                _ => Err(format!("{known:?}")),
            }
        })
    }

    /// A live node that is not the master.
    ///
    /// # Panics
    /// If there is no master.
    #[track_caller]
    pub fn follower(&mut self) -> u16 {
        let master = self.master();
        let mut live = self.nodes.iter_mut().filter_map(live);
        live.find(|node| node.id != master).expect("a quorum has a follower").id
    }

    /// Waits until all live nodes hold the same data.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn await_agreement(&mut self) {
        eventually("all nodes hold the same data", || {
            let live = self.nodes.iter_mut().filter_map(live);
            let digests: Result<Vec<_>, String> = live.map(|node| node.digest()).collect();
            let digests = digests?;
            let same = digests.windows(2).all(|pair| pair[0] == pair[1]);
            if same { Ok(()) } else { Err(format!("{digests:?}")) }
        });
    }

    /// A connection to every live node, each with its number.
    ///
    /// # Panics
    /// If one of them does not accept it.
    #[track_caller]
    pub fn clients(&mut self) -> Vec<(u16, Client)> {
        self.nodes.iter_mut().filter_map(live).map(|node| (node.id, node.connect())).collect()
    }

    fn report(&self) {
        let mut report = String::new();
        for node in &self.nodes {
            let _ = write!(report, "\n--- n{} at {}\n{}\n", node.id, node.client, node.log_tail());
        }
        #[expect(clippy::print_stderr, reason = "a failed test says what its nodes said")]
        {
            eprintln!("{report}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Processes end before their network and their directories go.
        if thread::panicking() {
            self.report();
            let directory = self.directory.take().map(TempDir::keep);
            #[expect(clippy::print_stderr, reason = "a failed test says where everything is")]
            {
                eprintln!("everything of this cluster is kept in {directory:?}");
            }
        }
        drop(mem::take(&mut self.nodes));
    }
}

fn live(node: &mut Node) -> Option<&mut Node> {
    node.is_live().then_some(node)
}

/// An address of this process alone: the whole of 127/8 is this machine, and nobody else's ports
/// are there.
fn loopback() -> IpAddr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | high, middle, low).into()
}

/// Distance of the next cluster's ports, so that connections of the last one are not in the way.
fn next_base() -> u16 {
    static BASE: AtomicU16 = AtomicU16::new(0);
    BASE.fetch_add(10, Ordering::Relaxed)
}
