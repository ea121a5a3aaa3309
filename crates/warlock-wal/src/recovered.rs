//! What the disk holds when a node starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use warlock_paxos::{Ballot, Batch, Charter, PValue, Reconfiguration, Slot, SlotRange, mutant};

use crate::mark::Summary;
use crate::snapshot::SnapshotMeta;

/// Everything that acceptor and replica start from.
#[derive(Debug)]
pub struct Recovered {
    /// The highest ballot ever promised or accepted: the acceptor must never go below (P2).
    pub ballot: Ballot,
    /// The highest watermark on record: every slot below is decided, if not readable here.
    pub decided: Slot,
    /// Every slot below is decided, and is readable here or covered by the snapshot.
    pub held: Slot,
    /// Older records for slots below counted no more, readable or not: a snapshot had them, or a
    /// peer's did, and then they may be of ballots that lost. What was written for such slots
    /// afterwards, when that snapshot was gone, counts.
    pub floor: Slot,
    /// The newest accepted pvalue of each slot that the snapshot does not cover, by slot.
    pub pvalues: Vec<PValue>,
    /// Decided batches that were learned after what `pvalues` has for their slots, by slot.
    pub learned: Vec<(Slot, Batch)>,
    /// Slots at or above `held` that this node may hold but cannot read (P6): the acceptor must
    /// abstain for them. Ascending and disjoint.
    pub unknown: Vec<SlotRange>,
    /// The newest undamaged snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// The newest membership known to be in force, of the log or of the snapshot; `None` if none
    /// was ever decided, so that the one of the settings holds.
    pub membership: Option<Charter>,
    /// What was accepted for the reconfiguration slot after it.
    pub reconfiguration: Option<Reconfiguration>,
    /// How the log ends.
    pub tail: Tail,
    /// What an operator should know, in the order of the log.
    pub notes: Vec<Note>,
}

impl Recovered {
    /// The decided batches from the end of the snapshot up to `held`, without a gap.
    #[must_use]
    pub fn decided_batches(&self) -> Vec<Batch> {
        let mut newest: BTreeMap<Slot, &Batch> =
            self.pvalues.iter().map(|pvalue| (pvalue.slot, &pvalue.batch)).collect();
        newest.extend(self.learned.iter().map(|(slot, batch)| (*slot, batch)));
        newest.range(..self.held).map(|(_, batch)| (*batch).clone()).collect()
    }

    /// Every slot below has a record, accepted or learned, or is covered by the snapshot.
    #[must_use]
    pub fn recorded(&self) -> Slot {
        let accepted = self.pvalues.iter().map(|pvalue| pvalue.slot);
        let learned = self.learned.iter().map(|(slot, _)| *slot);
        let slots: BTreeSet<Slot> = accepted.chain(learned).collect();
        let mut recorded = self.held;
        while slots.contains(&recorded) {
            recorded = recorded.next();
        }
        recorded
    }

    /// The pvalues that an acceptor with the watermark `held` still needs.
    #[must_use]
    pub fn undecided_pvalues(&self) -> Vec<PValue> {
        let undecided = self.pvalues.iter().filter(|pvalue| pvalue.slot >= self.held);
        undecided.cloned().collect()
    }
}

/// How the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a complete frame.
    Clean,
    /// With a frame of which a part was never written: power or process was lost before its sync
    /// returned, so nothing in it was acknowledged. It is dropped.
    Torn {
        /// Sequence of the frame.
        sequence: u64,
    },
    /// With a frame that was written completely and damaged later. Its unreadable slots are
    /// unknown.
    Damaged {
        /// Sequence of the frame.
        sequence: u64,
    },
    /// With something of which nobody can say what it was. Every undecided slot up to
    /// [`SUSPECT_WINDOW`](crate::limits::SUSPECT_WINDOW) beyond the highest on record is unknown,
    /// and a promise may have been lost with it: the node must not vote before an operator or a
    /// rule of the host takes it for a new member (P7).
    Suspect {
        /// Sequence of the frame that may have been there.
        sequence: u64,
    },
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A frame is damaged; what of it cannot be read is unknown.
    DamagedFrame {
        /// The segment.
        segment: String,
        /// Sequence of the frame.
        sequence: u64,
    },
    /// One of two copies of a frame's mark was damaged; nothing is lost.
    RepairedFrame {
        /// The segment.
        segment: String,
        /// Sequence of the frame.
        sequence: u64,
    },
    /// Frames that were there cannot be found; the slots that they may hold are unknown.
    LostFrames {
        /// The segment in which they should be, or the one after them.
        segment: String,
        /// Sequence of the first of them.
        sequence: u64,
    },
    /// The header of a segment is damaged; `lost` says whether both copies are.
    DamagedHeader {
        /// The segment.
        segment: String,
        /// Whether no copy is left.
        lost: bool,
    },
    /// A snapshot is damaged; an older one or none is used.
    DamagedSnapshot {
        /// The file.
        file: String,
    },
    /// The log ends with a frame that was never acknowledged and is dropped.
    TornTail {
        /// The segment.
        segment: String,
        /// Sequence of the frame.
        sequence: u64,
    },
    /// The log ends with something unreadable, see [`Tail::Suspect`].
    SuspectTail {
        /// The segment.
        segment: String,
        /// Sequence of the frame that may have been there.
        sequence: u64,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedFrame { segment, sequence } => {
                write!(f, "{segment}: frame {sequence} is damaged, abstaining for its slots")
            }
            Self::RepairedFrame { segment, sequence } => {
                write!(f, "{segment}: frame {sequence} is damaged in one place, nothing is lost")
            }
            Self::LostFrames { segment, sequence } => write!(
                f,
                "{segment}: frames from {sequence} on are lost, abstaining for all slots that \
                 they may hold"
            ),
            Self::DamagedHeader { segment, lost: false } => {
                write!(f, "{segment}: one copy of the header is damaged, nothing is lost")
            }
            Self::DamagedHeader { segment, lost: true } => {
                write!(f, "{segment}: the header is damaged")
            }
            Self::DamagedSnapshot { file } => write!(f, "{file} is damaged and not used"),
            Self::TornTail { segment, sequence } => {
                write!(f, "{segment}: dropped the unfinished frame {sequence} at the end")
            }
            Self::SuspectTail { segment, sequence } => write!(
                f,
                "{segment}: unreadable end where frame {sequence} may have been: a promise may \
                 be lost"
            ),
        }
    }
}

/// The newest events of each slot, gathered while the log is read in order.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// Slots below are covered by a snapshot and not gathered.
    base: Option<Slot>,
    accepted: BTreeMap<Slot, (Ballot, Batch)>,
    learned: BTreeMap<Slot, Batch>,
    /// Accepted when their slots were known to be decided, so perhaps not what was decided.
    late: BTreeSet<Slot>,
    unknown: Ranges,
}

impl Slots {
    pub(crate) fn new(base: Slot) -> Self {
        Self { base: Some(base), ..Self::default() }
    }

    fn base(&self) -> Slot {
        self.base.unwrap_or(Slot::FIRST)
    }

    /// A slot below `decided`, the watermark on record before, says nothing of what is decided: the
    /// node has lost that, and may hear of a ballot that lost.
    pub(crate) fn accept(&mut self, slot: Slot, ballot: Ballot, batch: Batch, decided: Slot) {
        if slot >= self.base() {
            if slot < decided {
                self.late.insert(slot);
            } else {
                self.late.remove(&slot);
                self.learned.remove(&slot);
            }
            self.unknown.remove(slot);
            self.accepted.insert(slot, (ballot, batch));
        }
    }

    /// Records so far for slots below `floor` count no more.
    pub(crate) fn drop_below(&mut self, floor: Slot) {
        self.accepted = self.accepted.split_off(&floor);
        self.learned = self.learned.split_off(&floor);
        self.late = self.late.split_off(&floor);
    }

    /// A learned batch tells what is decided, but not what a lost record had accepted: a slot that
    /// was unknown to the acceptor stays so until it is below the first slot not held.
    pub(crate) fn learn(&mut self, slot: Slot, batch: Batch) {
        if slot >= self.base() {
            self.learned.insert(slot, batch);
        }
    }

    /// Notes that a record for any slot of `range` may be lost here. What older records say about
    /// these slots may have been replaced by it, so it counts no more.
    pub(crate) fn damage(&mut self, range: SlotRange) {
        let first = range.first.max(self.base());
        if first > range.last {
            return;
        }
        let range = SlotRange { first, ..range };
        self.accepted.retain(|slot, _| !range.contains(*slot));
        self.learned.retain(|slot, _| !range.contains(*slot));
        self.unknown.add(range);
    }

    /// Ends the reading, after which `summary` is true.
    pub(crate) fn finish(mut self, summary: &Summary) -> Recovered {
        let Summary { ballot, decided, floor, .. } = *summary;
        let base = self.base();
        let decided = decided.max(floor).max(base);
        let mut held = base;
        let is_decided = |slot: Slot| {
            let late = self.late.contains(&slot) && !mutant!(LateAcceptIsDecided);
            let accepted = self.accepted.contains_key(&slot) && !late;
            self.learned.contains_key(&slot) || (slot < decided && accepted)
        };
        while is_decided(held) {
            held = held.next();
        }
        self.add_missing(held, decided);
        self.unknown.remove_below(held);
        let pvalues = self.accepted.into_iter();
        Recovered {
            ballot,
            decided,
            held,
            floor: floor.max(base),
            pvalues: pvalues
                .map(|(slot, (ballot, batch))| PValue { ballot, slot, batch })
                .collect(),
            learned: self.learned.into_iter().collect(),
            unknown: if mutant!(DamagedIsEmpty) { Vec::new() } else { self.unknown.0 },
            snapshot: None,
            membership: None,
            reconfiguration: None,
            tail: Tail::Clean,
            notes: Vec::new(),
        }
    }

    /// Decided slots without any record are unknown too, for example those that only a damaged
    /// snapshot covered.
    fn add_missing(&mut self, held: Slot, decided: Slot) {
        let mut missing = held;
        let present: Vec<Slot> = {
            let accepted = self.accepted.range(held..).map(|(slot, _)| *slot);
            let learned = self.learned.range(held..).map(|(slot, _)| *slot);
            let mut present: Vec<Slot> = accepted.chain(learned).collect();
            present.push(decided.max(held));
            present.sort_unstable();
            present
        };
        for slot in present.into_iter().take_while(|slot| *slot <= decided) {
            if missing < slot {
                self.unknown.add(SlotRange { first: missing, last: before(slot) });
            }
            missing = slot.next();
        }
    }
}

/// Ascending, disjoint ranges of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<SlotRange>);

impl Ranges {
    pub(crate) fn add(&mut self, range: SlotRange) {
        let mut merged = range;
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for other in self.0.drain(..) {
            let apart = other.last.position().saturating_add(1) < merged.first.position()
                || merged.last.position().saturating_add(1) < other.first.position();
            if apart {
                kept.push(other);
            } else {
                merged.first = merged.first.min(other.first);
                merged.last = merged.last.max(other.last);
            }
        }
        kept.push(merged);
        kept.sort_unstable();
        self.0 = kept;
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let Some(index) = self.0.iter().position(|range| range.contains(slot)) else {
            return;
        };
        let SlotRange { first, last } = self.0[index];
        let left = (first < slot).then(|| SlotRange { first, last: before(slot) });
        let right = (slot < last).then(|| SlotRange { first: slot.next(), last });
        self.0.splice(index..=index, left.into_iter().chain(right));
    }

    fn remove_below(&mut self, slot: Slot) {
        self.0.retain(|range| range.last >= slot);
        if let Some(range) = self.0.first_mut() {
            range.first = range.first.max(slot);
        }
    }
}

/// The slot before `slot`, which is not the first.
pub(crate) fn before(slot: Slot) -> Slot {
    Slot::new(slot.position() - 1)
}

#[cfg(test)]
mod tests {
    use super::{Ranges, Slot, SlotRange};

    fn ranges(bounds: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        for (first, last) in bounds {
            ranges.add(SlotRange { first: Slot::new(*first), last: Slot::new(*last) });
        }
        ranges
    }

    fn text(ranges: &Ranges) -> String {
        let texts: Vec<String> = ranges.0.iter().map(ToString::to_string).collect();
        texts.join(" ")
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(text(&ranges(&[(5, 6), (1, 2)])), "s1..s2 s5..s6");
        assert_eq!(text(&ranges(&[(5, 6), (1, 2), (3, 4)])), "s1..s6");
        assert_eq!(text(&ranges(&[(5, 9), (1, 6)])), "s1..s9");
        assert_eq!(text(&ranges(&[(1, 9), (3, 4)])), "s1..s9");
        assert_eq!(text(&ranges(&[(1, u64::MAX), (3, u64::MAX)])), format!("s1..s{}", u64::MAX));
    }

    #[test]
    fn removing_a_slot_splits_its_range() {
        let removed = |slot: u64| {
            let mut ranges = ranges(&[(3, 5), (9, 9)]);
            ranges.remove(Slot::new(slot));
            text(&ranges)
        };
        assert_eq!(removed(3), "s4..s5 s9..s9");
        assert_eq!(removed(4), "s3..s3 s5..s5 s9..s9");
        assert_eq!(removed(5), "s3..s4 s9..s9");
        assert_eq!(removed(9), "s3..s5");
        assert_eq!(removed(7), "s3..s5 s9..s9");
    }

    #[test]
    fn removing_below_cuts_the_first_range() {
        let mut ranges = ranges(&[(1, 2), (4, 8), (10, 10)]);
        ranges.remove_below(Slot::new(6));
        assert_eq!(text(&ranges), "s6..s8 s10..s10");
    }
}
