//! A workload, and what it may and must leave on a disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use warlock_paxos::{
    Ballot, Batch, Charter, Incarnation, LogTime, Membership, NodeId, Origin, PValue, Proposal,
    Reconfiguration, Record, Slot, Stamp, View, encode_charter,
};
use warlock_wal::{
    Disk, FaultyDisk, Identity, Note, Recovered, SnapshotMeta, Snapshots, Wal, WalError, WalOptions,
};

/// Small enough that a workload fills many.
pub(crate) const OPTIONS: WalOptions =
    WalOptions { segment_bytes: 32 * 1024, salt: 0x5eed_5a17, may_create: true };

/// The name of the first segment.
pub(crate) const FIRST_SEGMENT: &str = "wal-0000000000000001.log";

pub(crate) fn ballot(round: u64) -> Ballot {
    Ballot { view: View::new(1), round, node: NodeId::new(2) }
}

/// A batch that is unlike that of any other slot and round, with `length` bytes of commands.
pub(crate) fn batch(slot: u64, round: u64, length: usize) -> Batch {
    let stamp = Stamp { log_time: LogTime::from_micros(slot * 1000), seed: round };
    let proposal = Proposal {
        origin: Origin { node: NodeId::new(2), incarnation: Incarnation::new(77), sequence: slot },
        // Long values are zeros in the middle: whole sectors of them are content like any other.
        commands: Bytes::from(
            (0..length)
                .map(|index| match index {
                    1000..4000 => 0,
                    _ => (slot as u8).wrapping_mul(31).wrapping_add(index as u8) | 1,
                })
                .collect::<Vec<u8>>(),
        ),
    };
    Batch::new(stamp, &[proposal])
}

pub(crate) fn promise(round: u64) -> Record {
    let ballot = ballot(round);
    Record::Promise { ballot }
}

pub(crate) fn accept(slot: u64, round: u64, length: usize) -> Record {
    Record::Accept(PValue {
        ballot: ballot(round),
        slot: Slot::new(slot),
        batch: batch(slot, round, length),
    })
}

pub(crate) fn learn(slot: u64, round: u64, length: usize) -> Record {
    Record::Learn { slot: Slot::new(slot), batch: batch(slot, round, length) }
}

pub(crate) fn decided(slot: u64) -> Record {
    Record::Decided { slot: Slot::new(slot) }
}

/// The membership of a view, with long addresses now and then.
pub(crate) fn charter(view: u64) -> Charter {
    let address = "n".repeat(if view.is_multiple_of(3) { 250 } else { 9 });
    let voters = (1..=7).map(|node| (NodeId::new(node), address.clone()));
    Membership::founded(View::new(view), voters).charter().clone()
}

pub(crate) fn accept_view(view: u64, round: u64) -> Record {
    Record::AcceptView(Reconfiguration { ballot: ballot(round), charter: charter(view) })
}

pub(crate) fn in_force(view: u64) -> Record {
    Record::InForce(charter(view))
}

pub(crate) fn meta(slot: u64, round: u64) -> SnapshotMeta {
    SnapshotMeta {
        slot: Slot::new(slot),
        ballot: ballot(round),
        log_time: LogTime::from_micros(slot * 1000),
        // Older than what the log has.
        membership: encode_charter(&charter(1)),
    }
}

/// The chunks of the snapshot of the slots below `slot`.
pub(crate) fn chunks(slot: u64) -> Vec<Vec<u8>> {
    (1..4_usize).map(|index| vec![(slot as u8).wrapping_add(index as u8); 700 * index]).collect()
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(Record),
    Sync,
    /// Writes a snapshot of the slots below, and truncates the log to it.
    Snapshot(u64),
    CountStart,
}

/// Everything that a node does: promises, accepts, re-accepts, learns, watermarks, snapshots.
pub(crate) fn workload(rounds: u64) -> Vec<Op> {
    let mut ops = vec![Op::CountStart, Op::Append(promise(1)), Op::Sync];
    let mut slot = 1;
    for round in 1..=rounds {
        if round > 1 {
            ops.push(Op::Append(promise(round)));
            // The slot before is proposed anew by the new master.
            ops.push(Op::Append(accept(slot - 1, round, 100)));
            ops.push(Op::Sync);
        }
        for length in [20, 3000, 9000] {
            ops.push(Op::Append(accept(slot, round, length)));
            ops.push(Op::Append(accept(slot + 1, round, 64)));
            ops.push(Op::Append(decided(slot)));
            ops.push(Op::Sync);
            slot += 2;
        }
        ops.push(Op::Append(accept_view(round + 1, round)));
        if round % 2 == 0 {
            ops.push(Op::Sync);
        }
        ops.push(Op::Append(learn(slot - 1, round + 1, 50)));
        ops.push(Op::Append(decided(slot - 1)));
        ops.push(Op::Sync);
        if round % 2 == 1 {
            ops.push(Op::Append(in_force(round + 1)));
            ops.push(Op::Sync);
        }
        if round % 2 == 0 {
            ops.push(Op::Snapshot(slot - 3));
        }
        if round % 3 == 0 {
            ops.push(Op::CountStart);
        }
    }
    ops
}

/// What is on a disk, or should be.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) ballot: Ballot,
    pub(crate) decided: Slot,
    pub(crate) accepted: BTreeMap<Slot, (Ballot, Batch)>,
    pub(crate) learned: BTreeMap<Slot, Batch>,
    pub(crate) in_force: Option<Charter>,
    pub(crate) reconfiguration: Option<Reconfiguration>,
    pub(crate) snapshot: Slot,
    pub(crate) starts: u64,
}

impl Facts {
    pub(crate) fn new() -> Self {
        Self {
            ballot: Ballot::ZERO,
            decided: Slot::FIRST,
            accepted: BTreeMap::new(),
            learned: BTreeMap::new(),
            in_force: None,
            reconfiguration: None,
            snapshot: Slot::FIRST,
            starts: 0,
        }
    }

    pub(crate) fn record(&mut self, record: &Record) {
        match record {
            Record::Promise { ballot } => self.ballot = *ballot,
            Record::Accept(pvalue) => {
                self.ballot = pvalue.ballot;
                self.learned.remove(&pvalue.slot);
                self.accepted.insert(pvalue.slot, (pvalue.ballot, pvalue.batch.clone()));
            }
            Record::Learn { slot, batch } => {
                self.learned.insert(*slot, batch.clone());
            }
            Record::Decided { slot } => self.decided = self.decided.max(*slot),
            Record::AcceptView(accepted) => {
                self.ballot = accepted.ballot;
                self.reconfiguration = Some(accepted.clone());
            }
            Record::InForce(charter) => {
                self.in_force = Some(charter.clone());
                self.reconfiguration = None;
            }
        }
    }

    fn from(recovered: &Recovered) -> Self {
        let accepted = recovered.pvalues.iter();
        Self {
            ballot: recovered.ballot,
            decided: recovered.decided,
            accepted: accepted
                .map(|pvalue| (pvalue.slot, (pvalue.ballot, pvalue.batch.clone())))
                .collect(),
            learned: recovered.learned.iter().cloned().collect(),
            in_force: recovered.membership.clone(),
            reconfiguration: recovered.reconfiguration.clone(),
            snapshot: recovered.snapshot.as_ref().map_or(Slot::FIRST, |meta| meta.slot),
            starts: 0,
        }
    }

    /// What is known of memberships: the snapshot has one too.
    fn views(&self) -> (Option<Charter>, Option<Reconfiguration>) {
        let of_snapshot = (self.snapshot > Slot::FIRST).then(|| charter(1));
        (self.in_force.clone().or(of_snapshot), self.reconfiguration.clone())
    }

    /// The content of the log from the slot on that a snapshot ends with.
    fn log(&self, base: Slot) -> (BTreeMap<Slot, (Ballot, Batch)>, BTreeMap<Slot, Batch>) {
        let accepted = self.accepted.range(base..);
        let learned = self.learned.range(base..);
        (
            accepted.map(|(slot, it)| (*slot, it.clone())).collect(),
            learned.map(|(slot, it)| (*slot, it.clone())).collect(),
        )
    }
}

/// A run of a workload: what was acknowledged, and what was tried and may have happened.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) acknowledged: Facts,
    pub(crate) tried: Facts,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { acknowledged: Facts::new(), tried: Facts::new() }
    }

    /// Starts a node on `disk` and does everything in order until the first error.
    pub(crate) fn perform<D: Disk>(&mut self, disk: &D, ops: &[Op]) -> Option<Recovered> {
        let mut identity = load_or_create(disk)?;
        let (mut wal, recovered) = Wal::open(disk.clone(), OPTIONS).ok()?;
        for op in ops {
            self.step(disk, &mut identity, &mut wal, op)?;
        }
        Some(recovered)
    }

    fn step<D: Disk>(
        &mut self,
        disk: &D,
        identity: &mut Identity<D>,
        wal: &mut Wal<D>,
        op: &Op,
    ) -> Option<()> {
        match op {
            Op::Append(record) => {
                wal.append(record);
                self.tried.record(record);
            }
            Op::Sync => {
                wal.sync().ok()?;
                self.acknowledge();
            }
            Op::Snapshot(slot) => {
                self.tried.snapshot = Slot::new(*slot);
                write_snapshot(disk, *slot, self.tried.ballot.round).ok()?;
                self.acknowledged.snapshot = Slot::new(*slot);
                wal.truncate_below(Slot::new(*slot)).ok()?;
                self.acknowledge();
            }
            Op::CountStart => {
                self.tried.starts = self.acknowledged.starts + 1;
                identity.count_start().ok()?;
                self.acknowledged.starts = self.tried.starts;
            }
        }
        Some(())
    }

    fn acknowledge(&mut self) {
        let starts = self.acknowledged.starts;
        let snapshot = self.acknowledged.snapshot;
        self.acknowledged = self.tried.clone();
        self.acknowledged.starts = starts;
        self.acknowledged.snapshot = snapshot;
    }

    /// Opens the log again after a crash without damage, checks it, and takes what it says for
    /// acknowledged from now on.
    pub(crate) fn reopen(&mut self, disk: &FaultyDisk, story: &str) -> Wal<FaultyDisk> {
        let (wal, recovered) = start(disk).unwrap_or_else(|| panic!("{story}: cannot start"));
        self.check(&recovered, story);
        let starts = self.check_beside_the_log(disk, &recovered, story);
        let found = Facts::from(&recovered);
        self.acknowledged = Facts { starts, ..found };
        self.tried = self.acknowledged.clone();
        wal
    }

    /// Each sync happened or did not: the log is the acknowledged one or the tried one, exactly.
    fn check(&self, recovered: &Recovered, story: &str) {
        let found = Facts::from(recovered);
        let Self { acknowledged, tried } = self;
        assert!(
            found.ballot >= acknowledged.ballot,
            "{story}: P2: the ballot fell from {} to {}",
            acknowledged.ballot,
            found.ballot
        );
        assert!(found.ballot <= tried.ballot, "{story}: an invented ballot");
        assert!(
            [acknowledged.snapshot, tried.snapshot].contains(&found.snapshot),
            "{story}: snapshot {} is neither the old nor the new one",
            found.snapshot
        );
        let base = found.snapshot;
        let log = found.log(base);
        let is_old = log == acknowledged.log(base);
        let is_new = log == tried.log(base);
        assert!(
            is_old || is_new,
            "{story}: the log is neither old nor new: {log:?}, {acknowledged:?}, {tried:?}"
        );
        let views = [acknowledged, tried].map(|facts| {
            let snapshot = found.snapshot;
            Facts { snapshot, ..facts.clone() }.views()
        });
        assert!(
            views.contains(&found.views()),
            "{story}: the membership is neither old nor new: {:?}, {views:?}",
            found.views()
        );
        // Whatever was appended after a membership is there only with it.
        assert!(!is_new || is_old || found.views() == views[1], "{story}: an older membership");
        // A watermark is worth nothing without the records that were written with it.
        let most = if is_new { tried } else { acknowledged }.decided;
        assert!(
            found.decided >= acknowledged.decided && found.decided <= most.max(base),
            "{story}: watermark {}",
            found.decided
        );
        for note in &recovered.notes {
            // A frame without records may lack its header and be complete all the same.
            let is_harmless = matches!(note, Note::TornTail { .. } | Note::RepairedFrame { .. });
            assert!(is_harmless, "{story}: {note}");
        }
        // Nothing is damaged, so only decided slots that nobody ever wrote can be unknown.
        for range in &recovered.unknown {
            assert!(range.last < found.decided, "{story}: {range} is unknown");
            let is_present = found.accepted.keys().any(|slot| range.contains(*slot));
            assert!(!is_present, "{story}: {range} is unknown");
        }
    }

    fn check_beside_the_log(&self, disk: &FaultyDisk, recovered: &Recovered, story: &str) -> u64 {
        if let Some(meta) = &recovered.snapshot {
            let slot = meta.slot;
            let found = read_snapshot(disk, slot).unwrap_or_else(|| panic!("{story}: {slot}"));
            assert_eq!(found, chunks(slot.position()), "{story}: snapshot {slot}");
        }
        let identity = Identity::load(disk.clone()).unwrap();
        let starts = identity.map_or(0, |identity| identity.starts());
        assert!(
            (self.acknowledged.starts..=self.tried.starts).contains(&starts),
            "{story}: {starts} starts counted"
        );
        starts
    }

    /// After damage each acknowledged record is there exactly or unknown, and no other is there.
    pub(crate) fn check_damaged(&self, recovered: &Recovered, story: &str) {
        let found = Facts::from(recovered);
        let facts = &self.acknowledged;
        assert!(found.ballot >= facts.ballot, "{story}: P2: {}", found.ballot);
        let snapshot = found.snapshot;
        let views = Facts { snapshot, ..facts.clone() }.views();
        assert_eq!(found.views(), views, "{story}: the membership");
        let base = found.snapshot;
        let is_unknown = |slot: &Slot| recovered.unknown.iter().any(|range| range.contains(*slot));
        for (slot, accepted) in facts.accepted.range(base..) {
            let same = found.accepted.get(slot) == Some(accepted);
            // Once a slot is decided only its decided content matters.
            let replaced = facts.learned.contains_key(slot) && *slot < recovered.held;
            assert!(same || replaced || is_unknown(slot), "{story}: {slot} is gone");
        }
        for (slot, batch) in facts.learned.range(base..) {
            let same = found.learned.get(slot) == Some(batch);
            assert!(same || is_unknown(slot), "{story}: learned {slot} is gone");
        }
        for (slot, accepted) in &found.accepted {
            assert_eq!(facts.accepted.get(slot), Some(accepted), "{story}: {slot} is wrong");
        }
        for (slot, batch) in &found.learned {
            assert_eq!(facts.learned.get(slot), Some(batch), "{story}: {slot} is wrong");
        }
    }
}

pub(crate) fn open(disk: &FaultyDisk) -> Result<(Wal<FaultyDisk>, Recovered), WalError> {
    Wal::open(disk.clone(), OPTIONS)
}

/// Opens identity and log, like a node does.
pub(crate) fn start(disk: &FaultyDisk) -> Option<(Wal<FaultyDisk>, Recovered)> {
    load_or_create(disk)?;
    open(disk).ok()
}

pub(crate) fn load_or_create<D: Disk>(disk: &D) -> Option<Identity<D>> {
    match Identity::load(disk.clone()).ok()? {
        Some(identity) => Some(identity),
        None => {
            let node = NodeId::new(2);
            Identity::create(disk.clone(), "test", node, Incarnation::new(77)).ok()
        }
    }
}

pub(crate) fn write_snapshot<D: Disk>(
    disk: &D,
    slot: u64,
    round: u64,
) -> Result<(), warlock_wal::SnapshotError> {
    let mut writer = Snapshots::new(disk.clone()).begin(&meta(slot, round))?;
    for chunk in chunks(slot) {
        writer.write_chunk(&chunk)?;
    }
    writer.finish()
}

pub(crate) fn read_snapshot<D: Disk>(disk: &D, slot: Slot) -> Option<Vec<Vec<u8>>> {
    let mut reader = Snapshots::new(disk.clone()).open(slot).ok()?;
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk().ok()? {
        chunks.push(chunk.to_vec());
    }
    Some(chunks)
}
