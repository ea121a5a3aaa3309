//! Nothing acknowledged is ever lost (L4, P1, P8).
//!
//! Two views of the same promise. [`AcknowledgedSlots`] stands inside the simulator: whoever
//! answers a read has applied every slot with a write that was acknowledged before the read was
//! asked, and in the end every node has. [`durability`] looks from outside: what each node holds
//! in the end can be the last write that a client was told of, or one that may have come after it.

use warlock_paxos::{NodeId, Slot};

use super::Violation;
use crate::history::{Command, FinalState, History, Key, OpId, Operation, Reply, Value};

const PROPERTY: &str = "durability";

/// Which slots hold acknowledged writes.
#[derive(Clone, Debug)]
pub struct AcknowledgedSlots {
    /// All slots with acknowledged writes lie below it.
    end: Slot,
    by: Option<NodeId>,
    acknowledged: u64,
}

impl Default for AcknowledgedSlots {
    fn default() -> Self {
        Self { end: Slot::FIRST, by: None, acknowledged: 0 }
    }
}

impl AcknowledgedSlots {
    /// `node` tells a client that its write in `slot` is done.
    pub fn observe_acknowledged(&mut self, node: NodeId, slot: Slot) {
        self.acknowledged += 1;
        if slot >= self.end {
            self.end = slot.next();
            self.by = Some(node);
        }
    }

    /// The slot after the last with an acknowledged write: note it when a read is asked.
    #[must_use]
    pub const fn end(&self) -> Slot {
        self.end
    }

    /// How many acknowledgements there were.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// `node`, which has applied all slots below `next`, answers a linearizable read that was
    /// asked when [`Self::end`] was `asked`.
    ///
    /// # Errors
    /// When it has not applied a write that was acknowledged by then.
    pub fn observe_read(&self, node: NodeId, next: Slot, asked: Slot) -> Result<(), Violation> {
        if next >= asked {
            return Ok(());
        }
        let sentence = format!(
            "{node} answers a read from the slots below {next}, though all below {asked} was \
             acknowledged before the read was asked"
        );
        Err(Violation::safety(PROPERTY, &[node], sentence))
    }

    /// After the faults, `node` holds all slots below `next` and gets no more.
    ///
    /// # Errors
    /// When it lacks an acknowledged write.
    pub fn observe_final(&self, node: NodeId, next: Slot) -> Result<(), Violation> {
        if next >= self.end {
            return Ok(());
        }
        let by = self.by.map(|by| format!(" by {by}")).unwrap_or_default();
        let sentence = format!(
            "{node} holds only the slots below {next} in the end, but all below {} was \
             acknowledged{by}",
            self.end
        );
        let nodes: Vec<NodeId> = self.by.into_iter().chain([node]).collect();
        Err(Violation::safety(PROPERTY, &nodes, sentence))
    }
}

/// Checks the end of a run: what every node in `finals` holds, asked after all clients had
/// stopped, against what clients were told.
///
/// For a key that was only written whole (`SET`, `SETNX`, `GETSET`, `MSET`, `DEL`) and never given
/// a time to live, the final value must be one that was written, and no acknowledged write may lie
/// wholly after it. For counters and lists that only grow see
/// [`single_application`](super::single_application).
#[must_use]
pub fn durability(history: &History, finals: &[FinalState]) -> Vec<Violation> {
    let last = Writes::of(history);
    let mut found = Vec::new();
    for state in finals {
        for (key, value) in state.values() {
            if let Some(violation) = last.judge(history, state.node(), key, value) {
                found.push(violation);
            }
        }
    }
    found
}

/// The writes of a history, by key.
struct Writes {
    /// By key: whether the rules of this checker apply to it.
    plain: Vec<bool>,
    /// By key: the acknowledged write that was asked last.
    last: Vec<Option<OpId>>,
    /// Sorted: key, what a write leaves there, and the write.
    left: Vec<(Key, Option<Value>, OpId)>,
}

impl Writes {
    fn of(history: &History) -> Self {
        let mut writes = Self {
            plain: vec![true; history.words()],
            last: vec![None; history.words()],
            left: Vec::new(),
        };
        for (id, it) in history.iter() {
            writes.note(history, id, it);
        }
        writes.left.sort_unstable();
        writes
    }

    fn note(&mut self, history: &History, id: OpId, it: &Operation) {
        match &it.command {
            Command::Incr { key, .. }
            | Command::Append { key, .. }
            | Command::Expire { key, .. }
            | Command::Set { key, ttl_ms: Some(_), .. }
            | Command::SetNx { key, ttl_ms: Some(_), .. } => self.plain[key.index()] = false,
            Command::SetNx { .. } if it.reply() == Some(&Reply::Number(0)) => {}
            Command::Del { keys } if !it.is_refused() => {
                for &key in keys {
                    self.left.push((key, None, id));
                }
                // Which of several keys were there is not known; that none is there now is.
                for &key in keys.iter().filter(|_| it.reply().is_some()) {
                    self.remember(history, key, id);
                }
            }
            Command::Set { .. }
            | Command::SetNx { .. }
            | Command::GetSet { .. }
            | Command::MSet { .. }
            | Command::Del { .. }
            | Command::Get { .. }
            | Command::MGet { .. } => {
                for (key, value) in it.command.written().into_iter().filter(|_| !it.is_refused()) {
                    self.left.push((key, Some(value), id));
                    if it.reply().is_some() {
                        self.remember(history, key, id);
                    }
                }
            }
        }
    }

    fn remember(&mut self, history: &History, key: Key, id: OpId) {
        let known = &mut self.last[key.index()];
        let invoked = |id: OpId| history.operation(id).invoked_ns;
        if known.is_none_or(|known| invoked(known) <= invoked(id)) {
            *known = Some(id);
        }
    }

    fn judge(
        &self,
        history: &History,
        node: NodeId,
        key: Key,
        value: Option<Value>,
    ) -> Option<Violation> {
        if !self.plain[key.index()] {
            return None;
        }
        let from = self.left.partition_point(|it| (it.0, it.1) < (key, value));
        let writers = self.left[from..].iter().take_while(|it| (it.0, it.1) == (key, value));
        let latest = writers.map(|it| it.2).max_by_key(|id| history.operation(*id).effect_by_ns());
        let (text, name) = (history.found_text(value), history.key_text(key));
        let Some(last) = self.last[key.index()] else {
            // Nothing was acknowledged: any write may have happened, and absence is the start.
            let fine = value.is_none() || latest.is_some();
            let sentence = format!("{node} ends with {text} at {name}, which nobody wrote");
            return (!fine).then(|| Violation::safety(PROPERTY, &[node], sentence));
        };
        let asked = history.operation(last).invoked_ns;
        if latest.is_some_and(|id| history.operation(id).effect_by_ns() >= asked) {
            return None;
        }
        let sentence = format!(
            "{node} ends with {text} at {name}, but {} was acknowledged and nothing after it \
             leaves {text}",
            history.describe(last)
        );
        let operations: Vec<OpId> = latest.into_iter().chain([last]).collect();
        Some(Violation::safety(PROPERTY, &[node], sentence).shown_by(&operations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script::{Script, failed, unknown};

    const N1: NodeId = NodeId::new(1);

    /// What the checker says about `key` ending with `value` after these operations.
    fn ends(script: Script, key: &str, value: Option<&str>) -> Vec<Violation> {
        let mut history = script.history();
        let mut state = FinalState::new(N1);
        let value = value.map(|text| history.value(text.as_bytes()));
        state.set(history.key(key.as_bytes()), value);
        durability(&history, &[state])
    }

    #[test]
    fn writes_that_overlap_may_end_either_way() {
        let script = || Script::new().op("SET k a", 0, 10, "OK").op("SET k b", 5, 15, "OK");
        assert!(ends(script(), "k", Some("a")).is_empty());
        assert!(ends(script(), "k", Some("b")).is_empty());
        assert!(!ends(script(), "k", None).is_empty());
    }

    #[test]
    fn an_unknown_write_may_come_late() {
        let script = || unknown(Script::new(), "SET k a", 0).op("SET k b", 50, 60, "OK");
        assert!(ends(script(), "k", Some("a")).is_empty());
        assert!(ends(script(), "k", Some("b")).is_empty());
    }

    #[test]
    fn keys_that_may_vanish_are_left_to_others() {
        assert!(ends(Script::new().op("SET k a PX 5", 0, 10, "OK"), "k", None).is_empty());
    }

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let script = Script::new().op("SET k a", 0, 10, "OK").op("SET k b", 20, 30, "OK");
        let found = ends(script, "k", Some("a"));
        assert_eq!(
            found[0].to_string(),
            "durability: n1 ends with a at k, but op1 c1->n1 SET k b \
             [0.000000s..0.000000s] OK was acknowledged and nothing after it leaves a"
        );
    }

    #[test]
    fn a_lost_key_is_found() {
        let script = Script::new().op("MSET k a j b", 0, 10, "OK").op("DEL j", 20, 30, "1");
        assert_eq!(ends(script, "k", None).len(), 1);
    }

    #[test]
    fn a_removed_key_that_is_back_is_found() {
        let script = Script::new().op("SET k a", 0, 10, "OK").op("DEL k", 20, 30, "1");
        assert_eq!(ends(script, "k", Some("a")).len(), 1);
    }

    #[test]
    fn a_refused_write_or_one_that_nobody_asked_for_is_found() {
        let script = || failed(Script::new(), "SET k a", 0, 10);
        assert_eq!(ends(script(), "k", Some("a")).len(), 1);
        assert_eq!(ends(script(), "k", Some("zzz")).len(), 1);
    }

    #[test]
    fn readers_and_survivors_need_every_acknowledged_slot() {
        let mut checker = AcknowledgedSlots::default();
        checker.observe_acknowledged(N1, Slot::new(7));
        checker.observe_acknowledged(N1, Slot::new(5));
        assert_eq!((checker.end(), checker.acknowledged()), (Slot::new(8), 2));
        let n2 = NodeId::new(2);
        checker.observe_read(n2, Slot::new(8), checker.end()).unwrap();
        checker.observe_read(n2, Slot::new(5), Slot::new(5)).unwrap();
        checker.observe_final(n2, Slot::new(8)).unwrap();
        assert_eq!(checker.observe_read(n2, Slot::new(7), checker.end()).unwrap_err().nodes, [n2]);
        assert_eq!(checker.observe_final(n2, Slot::new(7)).unwrap_err().nodes, [N1, n2]);
    }
}
