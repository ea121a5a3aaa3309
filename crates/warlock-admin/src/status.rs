//! The cluster as a node describes it, and as people see it.

use comfy_table::{Attribute, Cell, CellAlignment, Color};
use serde::{Deserialize, Serialize};

use crate::output::Output;

/// Answer to `WARLOCK STATUS`. What newer nodes add to it is left out, so that the object this
/// program prints is the same for all of them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Status {
    cluster: String,
    view: u64,
    master: Option<u64>,
    pub(crate) nodes: Vec<Node>,
}

/// One member.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) addr: String,
    peer: String,
    role: String,
    state: String,
    applied: u64,
    lag: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease_ms_left: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
    pub(crate) version: String,
}

/// How far a node is with the snapshot of a peer.
#[derive(Debug, Deserialize, Serialize)]
struct Snapshot {
    slot: u64,
    bytes: u64,
    total: u64,
    stage: String,
}

/// The members as one object.
#[derive(Debug, Serialize)]
pub(crate) struct Members {
    pub(crate) nodes: Vec<Node>,
}

impl Status {
    /// The master's id.
    pub(crate) const fn master(&self) -> Option<u64> {
        self.master
    }

    /// Prints a line about the cluster and a table of its nodes.
    pub(crate) fn print(&self, output: &Output) {
        let master = match self.master {
            Some(id) => format!("master n{id}"),
            None if self.view == 0 => {
                "the node belongs to no cluster yet: warlock-admin join HOST:PORT".to_owned()
            }
            None => "no master: too few nodes of the cluster reach each other".to_owned(),
        };
        let line = format!("cluster {}, view v{}, {master}\n\n", self.cluster, self.view);
        output.print(line.as_bytes());
        let mut table = output.table(&[
            "NODE",
            "ROLE",
            "STATE",
            "ADDRESS",
            "APPLIED",
            "BEHIND MASTER BY",
            "LEASE LEFT",
            "VERSION",
        ]);
        for node in &self.nodes {
            let lease = node.lease_ms_left.map_or("-".to_owned(), |left| format!("{left} ms"));
            table.add_row([
                Cell::new(format!("n{}", node.id)),
                node.role_cell(),
                node.state_cell(),
                Cell::new(known(&node.addr)),
                Cell::new(format!("s{}", node.applied)).set_alignment(CellAlignment::Right),
                node.behind_cell(self.master.is_some()),
                Cell::new(lease).set_alignment(CellAlignment::Right),
                Cell::new(known(&node.version)),
            ]);
        }
        output.print_table(&table);
        for node in &self.nodes {
            if let Some(snapshot) = &node.snapshot {
                output.print(format!("\nn{} {}\n", node.id, snapshot.sentence()).as_bytes());
            }
        }
    }
}

impl Snapshot {
    fn sentence(&self) -> String {
        let Self { slot, bytes, total, stage } = self;
        let (done, all) = (bytes / MIB, total.div_ceil(MIB));
        match stage.as_str() {
            "receiving" => {
                let percent = bytes.saturating_mul(100) / total.max(&1);
                format!("receives the snapshot s{slot}: {done} of {all} MiB, {percent} %")
            }
            _ => format!("restores the snapshot s{slot} of {all} MiB"),
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl Members {
    /// Prints a table of who belongs to the cluster.
    pub(crate) fn print(&self, output: &Output) {
        let header = ["NODE", "ROLE", "STATE", "ADDRESS", "PEER ADDRESS", "BEHIND MASTER BY"];
        let mut table = output.table(&header);
        let has_master = self.nodes.iter().any(|node| node.role == "master");
        for node in &self.nodes {
            table.add_row([
                Cell::new(format!("n{}", node.id)),
                node.role_cell(),
                node.state_cell(),
                Cell::new(known(&node.addr)),
                Cell::new(known(&node.peer)),
                node.behind_cell(has_master),
            ]);
        }
        output.print_table(&table);
    }
}

impl Node {
    /// Whether the node has what the master has, or nearly.
    pub(crate) fn is_level(&self) -> bool {
        self.state == "up" && self.applied > 0 && self.lag < 100
    }

    /// How far the node is with catching up.
    pub(crate) fn progress(&self) -> String {
        match &self.snapshot {
            Some(snapshot) => snapshot.sentence(),
            None => format!("is {} behind the master", slots(self.lag)),
        }
    }

    /// How much the node lacks, which only a master can tell.
    fn behind_cell(&self, has_master: bool) -> Cell {
        let text = if has_master { slots(self.lag) } else { "?".to_owned() };
        Cell::new(text).set_alignment(CellAlignment::Right)
    }

    fn role_cell(&self) -> Cell {
        let cell = Cell::new(&self.role);
        if self.role == "master" { cell.add_attribute(Attribute::Bold) } else { cell }
    }

    fn state_cell(&self) -> Cell {
        let cell = Cell::new(&self.state);
        match self.state.as_str() {
            "up" => cell.fg(Color::Green),
            "down" => cell.fg(Color::Red),
            _ => cell.fg(Color::Yellow),
        }
    }
}

/// A count of slots with its unit.
fn slots(count: u64) -> String {
    match count {
        1 => "1 slot".to_owned(),
        _ => format!("{count} slots"),
    }
}

/// What a node does not know yet is empty in its answer.
pub(crate) fn known(text: &str) -> &str {
    if text.is_empty() { "?" } else { text }
}
