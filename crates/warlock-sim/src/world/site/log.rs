//! The two threads of a node that touch its disk: one appends and syncs the log, one reads and
//! writes snapshots. Their work takes time, and a kill may come in the middle of it.

use warlock_node::SnapshotJob;
use warlock_paxos::{Output, Record, Slot};
use warlock_wal::WalError;

use super::super::World;
use super::super::queue::{Event, NodeIndex};
use super::super::weather::{MICROSECOND, MILLISECOND};
use super::Process;

/// How many leases a log may hang under a master: one until it is noticed, and room for wrong
/// clocks and late timers.
const STUCK_LEASES: u64 = 3;

/// Work for the log thread.
#[derive(Debug)]
pub(in super::super) enum LogOp {
    /// Make the record durable, then carry out what waits for it.
    Persist { record: Option<Record>, then: Vec<Output> },
    /// Drop files that hold only slots below this one.
    Truncate(Slot),
}

impl Process {
    /// Whether nothing waits for the disk.
    fn is_synced(&self) -> bool {
        self.log.is_empty() && self.syncing.is_empty()
    }

    /// Does what the log thread does with one group of writes: one write, one sync.
    fn write_group(&mut self) -> Result<bool, WalError> {
        let mut records = false;
        for op in &self.syncing {
            match op {
                LogOp::Persist { record: Some(record), .. } => {
                    self.wal.append(record);
                    records = true;
                }
                LogOp::Persist { record: None, .. } => {}
                LogOp::Truncate(slot) => self.wal.truncate_below(*slot)?,
            }
        }
        if records {
            self.wal.sync()?;
        }
        Ok(records)
    }
}

impl World {
    /// Queues work for the log thread. What needs no record and waits for none is done at once.
    pub(super) fn write_log(&mut self, index: NodeIndex, op: LogOp) {
        let now = self.now(index).boot;
        let Some(process) = &mut self.sites[index].process else { return };
        match op {
            LogOp::Persist { record: None, then } if process.is_synced() => {
                process.node.persisted(now, then);
                return;
            }
            LogOp::Persist { record: Some(record), then } => {
                self.trace_record(index, &record);
                self.note_ballot(index, &record);
                self.queue_log(index, LogOp::Persist { record: Some(record), then });
            }
            op @ (LogOp::Persist { .. } | LogOp::Truncate(_)) => self.queue_log(index, op),
        }
        self.sync_soon(index);
    }

    fn queue_log(&mut self, index: NodeIndex, op: LogOp) {
        let Some(process) = &mut self.sites[index].process else { return };
        process.log.push_back(op);
    }

    /// Lets the log thread take everything that queued, if it is idle.
    fn sync_soon(&mut self, index: NodeIndex) {
        let (time, start) = (self.time, self.sites[index].start);
        let site = &mut self.sites[index];
        let Some(process) = &mut site.process else { return };
        if !process.syncing.is_empty() || process.log.is_empty() {
            return;
        }
        process.syncing.extend(process.log.drain(..));
        process.syncing_since = time;
        let span = self.random.around(site.sync) + MICROSECOND;
        let at = (time + span).max(site.stalled_until);
        self.queue.push(at, Event::LogDone { node: index, start });
    }

    /// The log thread has done its group: what waited for it follows.
    pub(in super::super) fn log_done(&mut self, index: NodeIndex) {
        let stall = self.sites[index].stalled_until;
        if stall > self.time {
            let start = self.sites[index].start;
            self.queue.push(stall, Event::LogDone { node: index, start });
            return;
        }
        self.observe_stuck_disk(index);
        let now = self.now(index).boot;
        let site = &mut self.sites[index];
        let Some(process) = &mut site.process else { return };
        let removed = process.wal.stats().segments_removed;
        let Ok(records) = process.write_group() else {
            self.stop_by_disk(index);
            return;
        };
        if records {
            site.trust.syncs_since_damage += 1;
        }
        self.counters.segments_removed += process.wal.stats().segments_removed - removed;
        for op in std::mem::take(&mut process.syncing) {
            if let LogOp::Persist { record, then } = op {
                self.observe_durable(index, record.as_ref());
                let Some(process) = &mut self.sites[index].process else { return };
                process.node.persisted(now, then);
            }
        }
        self.settle(index);
        self.sync_soon(index);
    }

    /// A disk that hangs ends the mastership (P8): the others could go on without this node.
    fn observe_stuck_disk(&mut self, index: NodeIndex) {
        let (id, time) = (self.sites[index].id, self.time);
        let Some(process) = &self.sites[index].process else { return };
        let is_answer_waiting =
            process.syncing.iter().any(|op| matches!(op, LogOp::Persist { .. }));
        let stuck = time - process.syncing_since;
        let Some(ballot) = process.node.leader.leads() else { return };
        if is_answer_waiting && stuck > STUCK_LEASES * Self::TIMING.lease().nanos() {
            let millis = stuck / MILLISECOND;
            let sentence =
                format!("{id} leads with {ballot}, but its log has hung for {millis} ms");
            self.violate("stuck disks", &[id], sentence);
        }
    }

    /// Gives work to the snapshot thread.
    pub(super) fn order(&mut self, index: NodeIndex, job: SnapshotJob) {
        let Some(process) = &mut self.sites[index].process else { return };
        process.desk.give(job);
        if process.desk_at.is_none() {
            self.begin_step(index);
        }
    }

    /// The snapshot thread makes a step, which takes a while: meanwhile everything else goes on.
    fn begin_step(&mut self, index: NodeIndex) {
        let (time, start) = (self.time, self.sites[index].start);
        let span = self.random.around(self.sites[index].sync) + MICROSECOND;
        let site = &mut self.sites[index];
        let Some(process) = &mut site.process else { return };
        let at = (time + span).max(site.stalled_until);
        process.desk_at = Some(at);
        self.queue.push(at, Event::JobDone { node: index, start });
    }

    /// Has the disk finish at once what it is doing.
    pub(in super::super) fn finish_io(&mut self, index: NodeIndex) {
        let (time, start) = (self.time, self.sites[index].start);
        let Some(process) = &mut self.sites[index].process else { return };
        if !process.syncing.is_empty() {
            self.queue.push(time, Event::LogDone { node: index, start });
        }
        if !process.desk.is_idle() {
            process.desk_at = Some(time);
            self.queue.push(time, Event::JobDone { node: index, start });
        }
    }

    /// The snapshot thread has made a step.
    pub(in super::super) fn job_done(&mut self, index: NodeIndex) {
        let (now, time) = (self.now(index).boot, self.time);
        let Some(process) = &mut self.sites[index].process else { return };
        // Of several events for one step, the first counts.
        if process.desk_at.is_none_or(|at| at > time) {
            return;
        }
        process.desk_at = None;
        let mut effects = Vec::new();
        if let Some(event) = process.desk.step() {
            process.host.handle_snapshot_event(now, event, &mut effects);
        }
        self.carry_out_host(index, effects);
        self.settle(index);
        let Some(process) = &self.sites[index].process else { return };
        if !process.desk.is_idle() && process.desk_at.is_none() {
            self.begin_step(index);
        }
    }

    /// Has the disk stop in the middle of what the threads are doing, if they do anything. Says
    /// whether it did.
    pub(in super::super) fn crash_in_io(&mut self, index: NodeIndex) -> bool {
        let steps = self.random.between(1, 5);
        let site = &mut self.sites[index];
        let Some(process) = &mut site.process else { return false };
        if !process.syncing.is_empty() {
            site.disk.crash_at(site.disk.steps() + steps);
            // Fails where the power went, which is the point; the process is gone anyway.
            let _ = process.write_group();
        } else if !process.desk.is_idle() {
            site.disk.crash_at(site.disk.steps() + steps);
            while !process.desk.is_idle() && !site.disk.is_crashed() {
                let _ = process.desk.step();
            }
        } else {
            return false;
        }
        site.disk.is_crashed()
    }
}
