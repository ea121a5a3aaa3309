//! What operators and newcomers want of the cluster: asked of the leader, answered when it has
//! decided.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use warlock_paxos::{
    Change, ChangeRequest, Instant, Membership, NodeId, Refusal, Seat, Slot, Verdict, mutant,
};

use super::{Effect, Host, JoinReply, JoinWish};
use crate::newcomers::Newcomers;
use crate::operations::{Operation, Plan, Wish};
use crate::seam::{Answer, ConnectionId};

/// Who waits for the answer to an operation: a connection of a worker.
type Client = (usize, ConnectionId);

/// Operations that the leader has to answer.
#[derive(Debug, Default)]
pub(super) struct Operations {
    next: u64,
    open: BTreeMap<u64, Asker>,
    newcomers: Newcomers,
}

#[derive(Debug)]
enum Asker {
    Client {
        client: Client,
        before: Membership,
        change: Change,
    },
    /// A node that wants to join, by the number that the owner gave its question.
    Newcomer(NodeId, u64),
}

impl Operations {
    fn add(&mut self, asker: Asker) -> u64 {
        self.next += 1;
        self.open.insert(self.next, asker);
        self.next
    }

    /// Whatever comes of it is for nobody any more.
    pub(super) fn forget(&mut self, gone: Client) {
        self.open
            .retain(|_, asker| !matches!(asker, Asker::Client { client, .. } if *client == gone));
    }
}

impl Host {
    /// Does what an operator wants, or says why not: `client` is answered, now or later.
    pub fn operate(
        &mut self,
        now: Instant,
        client: Client,
        operation: Operation,
        out: &mut Vec<Effect>,
    ) {
        let outcome = match operation {
            Operation::Change(wish) => match self.ask_for_change(client, wish, out) {
                Ok(()) => return,
                Err(reason) => Err(format!("REFUSED {reason}")),
            },
            Operation::Transfer(to) => self.transfer(now, to, out),
            Operation::Join { address, observer } => self.join(address, observer, out),
            Operation::Reset => self.reset(now, out),
        };
        answer(client, outcome, out);
    }

    /// Takes what the leader said to [`Effect::Change`] with `dry_run`.
    pub fn handle_judged(
        &mut self,
        now: Instant,
        ticket: u64,
        judged: Result<Membership, Refusal>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Asker::Client { client, before, .. }) = self.operations.open.remove(&ticket)
        else {
            return;
        };
        let outcome = match judged {
            Ok(next) => self.plan(now, &before, &next, true),
            Err(refusal) => Err(self.refusal(&refusal)),
        };
        answer(client, outcome, out);
    }

    /// Takes the wish of a node to belong to the cluster; answers with [`Effect::Joined`], now or
    /// later. `question` is repeated there.
    pub fn handle_join(
        &mut self,
        now: Instant,
        question: u64,
        wish: JoinWish,
        out: &mut Vec<Effect>,
    ) {
        let membership = self.options.overview.membership();
        let request = |change| ChangeRequest { view: membership.view(), change };
        let JoinWish { node, incarnation, address, observer } = wish;
        let is_master = self.options.overview.master().map(|it| it.node) == Some(self.options.node);
        let highest = membership.highest();
        if is_master && node > highest {
            let admitted = self.operations.newcomers.admit(now, node, highest);
            if let Err(reason) = admitted {
                return out.push(Effect::Joined(question, JoinReply::Later(reason, None)));
            }
        }
        let request = match membership.member(node) {
            None => request(Change::AddObserver { node, address, incarnation }),
            Some(member) if member.incarnation != Some(incarnation) => {
                let lowest = NodeId::new(membership.highest().number().saturating_add(1));
                let refusal = Refusal::IdReused { lowest };
                out.push(Effect::Joined(question, JoinReply::Refused(refusal.to_string())));
                return;
            }
            Some(member) if member.seat == Seat::Observer && !observer => {
                request(Change::Promote { node })
            }
            Some(_) => {
                out.push(Effect::Joined(question, JoinReply::Member(membership.clone())));
                return;
            }
        };
        let ticket = self.operations.add(Asker::Newcomer(node, question));
        out.push(Effect::Change { ticket, request, dry_run: false });
    }

    pub(super) fn handle_verdict(
        &mut self,
        now: Instant,
        ticket: u64,
        verdict: &Verdict,
        out: &mut Vec<Effect>,
    ) {
        match self.operations.open.remove(&ticket) {
            None => {}
            Some(Asker::Client { client, before, change }) => {
                let outcome = match verdict {
                    Verdict::Decided(_) => match before.changed(&change) {
                        Ok(next) => self.plan(now, &before, &next, false),
                        Err(refusal) => Err(self.refusal(&refusal)),
                    },
                    Verdict::Refused(refusal) => Err(self.refusal(refusal)),
                    Verdict::Unknown => {
                        Err(format!("UNKNOWN {verdict}; look at WARLOCK MEMBERSHIP"))
                    }
                };
                answer(client, outcome, out);
            }
            Some(Asker::Newcomer(node, question)) => {
                out.push(Effect::Joined(question, self.join_reply(node, verdict)));
            }
        }
    }

    /// For workers, which show it.
    pub(super) fn publish_membership(&self, membership: &Membership) {
        *self.shared.membership.lock() = Arc::new(membership.clone());
    }

    fn ask_for_change(
        &mut self,
        client: Client,
        wish: Wish,
        out: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let Wish { what, view, dry_run } = wish;
        let before = self.options.overview.membership().clone();
        let change = what.change(self.options.node, &before)?;
        let request = ChangeRequest { view: view.unwrap_or(before.view()), change: change.clone() };
        let ticket = self.operations.add(Asker::Client { client, before, change });
        out.push(Effect::Change { ticket, request, dry_run });
        Ok(())
    }

    fn plan(
        &self,
        now: Instant,
        before: &Membership,
        next: &Membership,
        dry_run: bool,
    ) -> Result<String, String> {
        let up = |node| self.options.overview.answers(now, node);
        let plan = Plan::new(before, next, up, dry_run);
        serde_json::to_string(&plan).map_err(|error| format!("ERR cannot describe it: {error}"))
    }

    /// What a client is told; `NOTMASTER` names the node and the address to ask instead.
    fn refusal(&self, refusal: &Refusal) -> String {
        if let Refusal::NotMaster { master } = refusal {
            return match master {
                Some(node) => {
                    format!("NOTMASTER {node} {}", self.options.overview.client_addr(*node))
                }
                None => "CLUSTERDOWN no master with a quorum can be reached".to_owned(),
            };
        }
        let soon = matches!(
            refusal,
            Refusal::NotSettled | Refusal::ChangeInFlight | Refusal::NotCaughtUp { .. }
        );
        format!("{} {refusal}", if soon { "TRYAGAIN" } else { "REFUSED" })
    }

    fn join_reply(&self, node: NodeId, verdict: &Verdict) -> JoinReply {
        let membership = self.options.overview.membership();
        let so_far = membership.is_member(node).then(|| membership.clone());
        match verdict {
            Verdict::Decided(_) | Verdict::Unknown => JoinReply::Later(verdict.to_string(), so_far),
            Verdict::Refused(Refusal::NotMaster { master: Some(node) }) => {
                JoinReply::Elsewhere(self.options.overview.peer_addr(*node).to_owned())
            }
            Verdict::Refused(refusal) if refusal.passes() => {
                JoinReply::Later(refusal.to_string(), so_far)
            }
            Verdict::Refused(refusal) => JoinReply::Refused(refusal.to_string()),
        }
    }

    fn transfer(
        &self,
        now: Instant,
        to: Option<NodeId>,
        out: &mut Vec<Effect>,
    ) -> Result<String, String> {
        let overview = &self.options.overview;
        let master = overview.master().map(|ballot| ballot.node);
        if master != Some(self.options.node) {
            return Err(self.refusal(&Refusal::NotMaster { master }));
        }
        match to {
            Some(node) if node == self.options.node => {
                return Err(format!("REFUSED {node} is the master already"));
            }
            Some(node) if !overview.membership().is_voter(node) => {
                return Err(format!("REFUSED {node} has no vote"));
            }
            Some(node) if !overview.answers(now, node) => {
                return Err(format!("REFUSED {node} does not answer"));
            }
            None if overview.voters() == 1 => {
                return Err("REFUSED there is no other voter".to_owned());
            }
            Some(_) | None => {}
        }
        out.push(Effect::Transfer(to));
        Ok(r#"{"transfer":"begun"}"#.to_owned())
    }

    /// So many voters other than this node as are a quorum hold every slot below; `None` if fewer
    /// answer.
    fn held_by_others(&self, now: Instant) -> Option<Slot> {
        let overview = &self.options.overview;
        let membership = overview.membership();
        let others = membership
            .voters()
            .iter()
            .filter(|&&other| other != self.options.node && overview.answers(now, other));
        // What the master says may be older than the connection: a reset node begins anew.
        let held =
            |node: &NodeId| self.held.get(node).map(|&held| held.min(overview.applied(*node)));
        let mut held: Vec<Slot> = others.map(|node| held(node).unwrap_or(Slot::FIRST)).collect();
        held.sort_unstable_by_key(|&slot| Reverse(slot));
        held.get(membership.quorum() - 1).copied()
    }

    /// Has the node forget what a quorum without it holds, durably, and no more: from then on any
    /// minority of the voters may fail, as before.
    fn reset(&self, now: Instant, out: &mut Vec<Effect>) -> Result<String, String> {
        let overview = &self.options.overview;
        if overview.master().is_none() {
            return Err("REFUSED there is no master that could tell this node its state".to_owned());
        }
        let membership = overview.membership();
        if membership.is_transitional() {
            return Err("TRYAGAIN the membership is changing".to_owned());
        }
        let below = match membership.is_voter(self.options.node) {
            true => self.held_by_others(now).ok_or_else(|| {
                format!(
                    "REFUSED of the other voters fewer answer than are a quorum, which is {}: what \
                     only this node holds would be lost",
                    membership.quorum()
                )
            })?,
            false => self.applied,
        };
        if below < self.log.start || (below == Slot::FIRST && self.applied > Slot::FIRST) {
            return Err("TRYAGAIN the other voters have not caught up".to_owned());
        }
        let below = if mutant!(ResetForgetsAll) { self.applied } else { below };
        out.push(Effect::Reset(below.min(self.applied)));
        Ok(r#"{"reset":"begun"}"#.to_owned())
    }

    fn join(
        &self,
        address: String,
        observer: bool,
        out: &mut Vec<Effect>,
    ) -> Result<String, String> {
        let membership = self.options.overview.membership();
        if !membership.members().is_empty() {
            return Err(format!(
                "REFUSED this node belongs to a cluster already: {membership}; a node of a new \
                 data directory can join"
            ));
        }
        out.push(Effect::Join { address, observer });
        Ok(r#"{"join":"begun"}"#.to_owned())
    }
}

fn answer(client: Client, outcome: Result<String, String>, out: &mut Vec<Effect>) {
    let (worker, connection) = client;
    out.push(Effect::Answer { worker, answer: Answer::Operated { connection, outcome } });
}
