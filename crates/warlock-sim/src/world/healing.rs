//! The second phase: all faults end, and the cluster must serve, finish what it began, converge,
//! and still hold every acknowledged write.

use warlock_paxos::NodeId;

use super::World;
use super::queue::Event;
use super::weather::{MILLISECOND, SECOND};
use crate::check::{Liveness, LivenessBounds, Violation};

/// How long clients go on with their work after the faults.
const CALM_WORK: u64 = 1500 * MILLISECOND;

/// How long a healed cluster may take to answer: the longest silence of restarted acceptors and
/// four elections, each of which is a patience, a lease and a heartbeat at most.
const SERVE: u64 = 6 * SECOND;

/// How long it may take until the membership is stable and known everywhere: an election and a few
/// heartbeats.
const SETTLE: u64 = 4 * SECOND;

/// How long it may take until all nodes hold the same state.
const CONVERGE: u64 = 10 * SECOND;

impl World {
    /// Ends all faults and requires what a healthy cluster must do.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.is_calm = true;
        self.served = None;
        self.end_faults();
        for index in 0..self.sites.len() {
            // Those that would have started later start now.
            let at = self.time + self.random.below(10 * MILLISECOND);
            self.queue.push(at, Event::Start { node: index });
        }
        let healed = self.time;
        self.trace.line(healed, "world", || String::from("all faults end"));
        let bounds = LivenessBounds { serve_ns: SERVE, converge_ns: u64::MAX };
        self.run_until(healed + 50 * MILLISECOND, |_| false)?;
        let nodes = self.voting();
        let mut liveness = Liveness::healed(bounds, healed, &nodes, self.decided());
        self.run_until(healed + SERVE, |world| world.served.is_some())?;
        if let Some(node) = self.served {
            liveness.observe_served(node, self.time);
        }
        liveness.check(self.time)?;
        self.settle_membership()?;
        self.run_until(self.time + CALM_WORK, |_| false)?;
        self.settle_membership()?;
        self.finish_clients()?;
        self.audit()?;
        self.converge()
    }

    /// The nodes that take part: they run, and their peers know their data directory.
    fn voting(&self) -> Vec<NodeId> {
        let newest = self.checks.views.newest();
        let voting = self.sites.iter().filter(|site| {
            let is_part = newest.is_member(site.id) && site.process.is_some();
            is_part && site.lost.is_none() && !site.is_replaced
        });
        voting.map(|site| site.id).collect()
    }

    /// Whether the membership in force is a stable one, and all who take part are in it.
    fn is_settled(&self) -> bool {
        let newest = self.checks.views.newest();
        let knows = |node: NodeId| {
            let process = self.sites[Self::index_of(node)].process.as_ref();
            process.is_some_and(|process| process.node.leader.membership() == newest)
        };
        !newest.is_transitional() && self.voting().into_iter().all(knows)
    }

    /// No change of the membership is stuck: what is in transition becomes stable.
    fn settle_membership(&mut self) -> Result<(), Violation> {
        self.run_until(self.time + SETTLE, Self::is_settled)?;
        if self.is_settled() {
            return Ok(());
        }
        let newest = self.checks.views.newest();
        let sites = self.sites.iter().filter_map(|site| {
            let process = site.process.as_ref().filter(|_| newest.is_member(site.id))?;
            Some(format!("{} {}", site.id, process.node.leader.membership()))
        });
        let sites: Vec<String> = sites.collect();
        let sentence = format!("{newest} is in force and not settled: {}", sites.join(", "));
        Err(Violation::liveness("settled membership", &self.voting(), sentence))
    }

    /// Clients ask nothing new, and wait for what they asked.
    fn finish_clients(&mut self) -> Result<(), Violation> {
        self.is_closing = true;
        let patience = self.weather.request_timeout + 2 * SECOND;
        let end = self.time + patience;
        self.run_until(end, |world| world.clients.iter().all(super::clients::Client::is_idle))
    }

    /// Reads every key through every node that takes part; the answers are judged with the rest of
    /// the history. A node that has just started may refuse at first.
    fn audit(&mut self) -> Result<(), Violation> {
        self.is_auditing = true;
        for node in self.voting() {
            let end = self.time + SERVE;
            while !self.audit_node(node, end)? {
                if self.time >= end {
                    let sentence = format!("{node} does not answer all reads in a healthy cluster");
                    return Err(Violation::liveness("service", &[node], sentence));
                }
                self.run_until(self.time + 100 * MILLISECOND, |_| false)?;
            }
        }
        Ok(())
    }

    /// Reads every key through one node; says whether all answers were given.
    fn audit_node(&mut self, node: NodeId, end: u64) -> Result<bool, Violation> {
        self.give_up(0);
        let asked = self.audit_commands();
        let expected = asked.len() as u64;
        self.audited = 0;
        if self.connect_with(0, Self::index_of(node)) {
            self.ask(0, asked);
        }
        self.run_until(end, |world| world.clients[0].is_idle())?;
        Ok(self.audited >= expected)
    }

    /// All nodes come to hold the same state.
    fn converge(&mut self) -> Result<(), Violation> {
        let (nodes, now) = (self.voting(), self.time);
        let bounds = LivenessBounds { serve_ns: u64::MAX, converge_ns: CONVERGE };
        let mut liveness = Liveness::healed(bounds, now, &nodes, self.decided());
        liveness.observe_served(nodes.first().copied().unwrap_or(NodeId::new(1)), now);
        let end = self.time + CONVERGE;
        while !liveness.is_done() {
            for site in &self.sites {
                if let Some(process) = &site.process {
                    let digest = process.shared.store.digest();
                    let applied = process.node.replica.applied();
                    liveness.observe_applied(site.id, applied, digest, self.time);
                }
            }
            if liveness.is_done() || self.time > end {
                break;
            }
            let next = self.time + 20 * MILLISECOND;
            self.run_until(next, |_| false)?;
        }
        liveness.check(self.time)
    }

    /// Judges what clients saw.
    pub(super) fn judge_history(&self) -> Result<(), Violation> {
        crate::judge::judge(&self.history, &self.time_losses, Self::RHO_PER_MILLE)
    }
}
