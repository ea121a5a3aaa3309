//! A cluster of three etcd members with default settings.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{System, data_directory, utf8};
use crate::etcd_load::{EtcdLoad, MemberStatus, member_status};
use crate::process::{OwnedProcess, free_address, wait_for};
use crate::workload::{Load, Workload};
use crate::{Error, Result};

/// The members and their data.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<OwnedProcess>,
    clients: Vec<SocketAddr>,
    description: String,
    _directory: TempDir,
}

impl Etcd {
    /// Starts three members with their data below `root` and waits for a leader.
    pub fn start(root: &Path) -> Result<Self> {
        let directory = data_directory(root, "etcd")?;
        let clients = [free_address()?, free_address()?, free_address()?];
        let peers = [free_address()?, free_address()?, free_address()?];
        let cluster: Vec<String> =
            (1..).zip(peers).map(|(id, peer)| format!("n{id}=http://{peer}")).collect();
        let cluster = cluster.join(",");
        let mut members = Vec::new();
        for ((id, client), peer) in (1..).zip(clients).zip(peers) {
            let name = format!("n{id}");
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let data = directory.path().join(&name);
            let mut command = Command::new("etcd");
            command
                .args(["--name", &name, "--data-dir", utf8(&data)?])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &cluster, "--initial-cluster-state", "new"])
                .args(["--log-level", "error"]);
            let log = directory.path().join(format!("{name}.log"));
            members.push(OwnedProcess::spawn(&mut command, "etcd", &log)?);
        }
        let (_, status) =
            wait_for("a leader of etcd", Duration::from_secs(60), || Ok(find_leader(&clients)))?;
        let description = format!("etcd {}, 3 nodes, fsync", status.version);
        Ok(Self { members, clients: clients.to_vec(), description, _directory: directory })
    }
}

impl System for Etcd {
    fn description(&self) -> &str {
        &self.description
    }

    fn pids(&self) -> Vec<u32> {
        self.members.iter().map(OwnedProcess::pid).collect()
    }

    /// All connections go to the leader, as they do with Warlock: followers forward.
    fn connect(&self, workload: &Workload) -> Result<Box<dyn Load>> {
        let (leader, _) =
            find_leader(&self.clients).ok_or_else(|| Error::new("etcd has no leader"))?;
        Ok(Box::new(EtcdLoad::connect(leader, workload)?))
    }
}

fn find_leader(clients: &[SocketAddr]) -> Option<(SocketAddr, MemberStatus)> {
    clients.iter().find_map(|&client| {
        let status = member_status(client).ok()?;
        status.is_leader.then_some((client, status))
    })
}
