//! What happened in one history, seen from outside, and what must hold of it.
//!
//! | property | PROTOCOL.md |
//! |---|---|
//! | all nodes apply the same content for a slot, in order, once | P3, P5 |
//! | what a node applies is durable on a quorum | P1, P4 |
//! | a node that restarts remembers what it promised and accepted | P1, P2 |
//! | at most one node serves local reads at a time | L1, L2, L5 |
//! | who serves a read has applied every write acknowledged before it began | L3, L4 |
//! | there is one membership for a view, which follows the one before | M1 |
//! | a command is executed once, and never after its node said "not executed" | W1, Fate |

use std::collections::{BTreeMap, BTreeSet};

use warlock_paxos::{Batch, Fate, Membership, NodeId, Slot};

/// The truth about one history.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Truth {
    log: Vec<Batch>,
    executed: BTreeMap<u64, Slot>,
    never: BTreeSet<u64>,
    acknowledged: u64,
    reads: BTreeMap<u64, u64>,
    /// The newest membership that any node entered.
    newest: Option<Membership>,
}

/// The number that the commands of a submission consist of.
fn command(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Truth {
    /// `node` applies `batch` for `slot`; says whether it is the first to do so.
    pub(super) fn apply(
        &mut self,
        node: NodeId,
        slot: Slot,
        batch: &Batch,
    ) -> Result<bool, String> {
        let index = usize::try_from(slot.distance_from(Slot::FIRST)).unwrap_or(usize::MAX);
        if let Some(known) = self.log.get(index) {
            if known.is_same(batch) {
                return Ok(false);
            }
            return Err(format!("agreement: {node} applies {batch} for {slot}, not {known}"));
        }
        if index != self.log.len() {
            return Err(format!("P5: {node} applies {slot} before an earlier slot"));
        }
        for proposal in batch.proposals() {
            let id = command(&proposal.commands);
            if let Some(before) = self.executed.insert(id, slot) {
                return Err(format!("once: command {id} in {before} and {slot}"));
            }
            if self.never.contains(&id) {
                return Err(format!("fate: command {id} in {slot} though called not executed"));
            }
        }
        self.log.push(batch.clone());
        Ok(true)
    }

    /// `node` enters a view.
    pub(super) fn enter(&mut self, node: NodeId, membership: &Membership) -> Result<(), String> {
        let newest = self.newest.get_or_insert_with(|| membership.clone());
        if membership.view() < newest.view() || membership == newest {
            return Ok(());
        }
        if !newest.may_be_followed_by(membership) {
            return Err(format!("M1: {node} is in {membership} after {newest}"));
        }
        *newest = membership.clone();
        Ok(())
    }

    /// A client got the reply to a write in `slot`.
    pub(super) fn acknowledge(&mut self, slot: Slot) {
        self.acknowledged = self.acknowledged.max(slot.position());
    }

    /// A client was told that its command failed.
    pub(super) fn fail(&mut self, id: u64, fate: Fate) -> Result<(), String> {
        if fate == Fate::NotExecuted {
            if let Some(slot) = self.executed.get(&id) {
                return Err(format!("fate: command {id} in {slot} is called not executed"));
            }
            self.never.insert(id);
        }
        Ok(())
    }

    /// A read begins.
    pub(super) fn begin_read(&mut self, ticket: u64) {
        self.reads.insert(ticket, self.acknowledged);
    }

    /// A read ends on `node`, which has applied all below `applied`.
    pub(super) fn end_read(
        &mut self,
        node: NodeId,
        ticket: u64,
        allowed: bool,
        applied: Slot,
    ) -> Result<(), String> {
        let Some(acknowledged) = self.reads.remove(&ticket) else {
            return Err(format!("reads: {node} answers read {ticket} twice"));
        };
        if allowed { Self::covers(node, applied, acknowledged) } else { Ok(()) }
    }

    /// A client that reads on `node` right now is answered from its state.
    pub(super) fn serve(&self, node: NodeId, applied: Slot) -> Result<(), String> {
        Self::covers(node, applied, self.acknowledged)
    }

    fn covers(node: NodeId, applied: Slot, acknowledged: u64) -> Result<(), String> {
        if applied.position() > acknowledged {
            return Ok(());
        }
        Err(format!("stale: {node} reads at {applied} though s{acknowledged} is acknowledged"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use warlock_paxos::{Change, Incarnation, LogTime, Origin, Proposal, Stamp, View};

    use super::*;

    const NODE: NodeId = NodeId::new(2);

    fn batch(seed: u64, commands: &[u64]) -> Batch {
        let origin = Origin { node: NODE, incarnation: Incarnation::new(1), sequence: 1 };
        let proposals: Vec<Proposal> = commands
            .iter()
            .map(|id| Proposal { origin, commands: Bytes::copy_from_slice(&id.to_le_bytes()) })
            .collect();
        Batch::new(Stamp { log_time: LogTime::ZERO, seed }, &proposals)
    }

    #[test]
    fn two_contents_for_a_slot_are_no_agreement() {
        let mut truth = Truth::default();
        assert_eq!(truth.apply(NODE, Slot::FIRST, &batch(1, &[])), Ok(true));
        assert_eq!(truth.apply(NODE, Slot::FIRST, &batch(1, &[])), Ok(false));
        let found = truth.apply(NODE, Slot::FIRST, &batch(2, &[]));
        assert!(found.is_err_and(|text| text.starts_with("agreement")));
    }

    #[test]
    fn a_gap_is_found() {
        let found = Truth::default().apply(NODE, Slot::new(2), &batch(1, &[]));
        assert!(found.is_err_and(|text| text.starts_with("P5")));
    }

    #[test]
    fn a_command_is_executed_once_and_not_after_its_fate() {
        let mut truth = Truth::default();
        assert_eq!(truth.apply(NODE, Slot::FIRST, &batch(1, &[7])), Ok(true));
        assert!(truth.apply(NODE, Slot::new(2), &batch(2, &[7])).is_err());
        assert!(truth.fail(7, Fate::NotExecuted).is_err());
        assert_eq!(truth.fail(8, Fate::Unknown), Ok(()));
        assert_eq!(truth.fail(9, Fate::NotExecuted), Ok(()));
        assert_eq!(truth.apply(NODE, Slot::new(2), &batch(3, &[8])), Ok(true));
        assert!(truth.apply(NODE, Slot::new(3), &batch(4, &[9])).is_err());
    }

    #[test]
    fn memberships_follow_each_other() {
        let mut truth = Truth::default();
        let three = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let going = three.changed(&Change::Remove { node: NODE }).expect("lawful");
        assert_eq!(truth.enter(NODE, &going), Ok(()));
        assert_eq!(truth.enter(NODE, &three), Ok(()), "who comes later");
        assert_eq!(truth.enter(NODE, &going.stabilised()), Ok(()));
        let other = three.changed(&Change::Remove { node: NodeId::new(3) }).expect("lawful");
        assert!(truth.enter(NODE, &other.stabilised()).is_err());
    }

    #[test]
    fn a_read_covers_what_was_acknowledged_before_it_began() {
        let mut truth = Truth::default();
        truth.begin_read(1);
        truth.acknowledge(Slot::new(3));
        truth.begin_read(2);
        assert_eq!(truth.end_read(NODE, 1, true, Slot::FIRST), Ok(()));
        assert!(truth.clone().end_read(NODE, 2, true, Slot::new(3)).is_err());
        assert_eq!(truth.clone().end_read(NODE, 2, false, Slot::new(3)), Ok(()));
        assert_eq!(truth.end_read(NODE, 2, true, Slot::new(4)), Ok(()));
        assert!(truth.end_read(NODE, 2, true, Slot::new(4)).is_err());
        assert!(truth.serve(NODE, Slot::new(3)).is_err());
        assert_eq!(truth.serve(NODE, Slot::new(4)), Ok(()));
    }
}
