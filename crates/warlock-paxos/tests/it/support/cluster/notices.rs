//! What the host of a node does for it, and what is checked on the way.

use bytes::Bytes;
use warlock_paxos::{
    Batch, Learned, LogTime, Message, NodeId, Notice, P1b, P2b, Slot, SnapshotChunk, decode,
    encode, invariants,
};

use super::{CHUNK, Cluster, Event, Host, MILLISECOND, next_slot};
use crate::support::checker::id_of;
use crate::support::disk::Image;

impl Cluster {
    pub(super) fn send(&mut self, index: usize, to: NodeId, message: Message) {
        self.check_view_of(index, &message);
        let host = &mut self.hosts[index];
        if let Message::P1b(P1b { asked, promised, .. }) = &message
            && asked == promised
        {
            host.told = host.told.max(*promised);
        }
        if let Message::P2b(P2b { asked, promised, .. }) = &message
            && asked == promised
        {
            host.told = host.told.max(*promised);
        }
        let from = host.id;
        if !self.calm && self.random.chance(self.weather.loss) {
            return;
        }
        let copies = 1 + u64::from(!self.calm && self.random.chance(self.weather.duplication));
        for _ in 0..copies {
            let late = if self.random.chance(20) { 10 } else { 1 };
            let delay = if self.calm { MILLISECOND } else { self.weather.delay_max * late };
            let delay = self.random.between(1, delay);
            self.schedule(delay, Event::Arrival { from, to, message: message.clone() });
        }
    }

    pub(super) fn notice(&mut self, index: usize, notice: Notice) {
        let id = self.hosts[index].id;
        self.note(|| format!("{id} {notice}"));
        match notice {
            Notice::Apply { slot, batch, tickets } => self.apply(index, slot, batch, &tickets),
            Notice::Failed { ticket, fate } => {
                let front = self.hosts[index].submitted.pop_front();
                assert!(front == Some(ticket), "order: {id} fails {ticket}, not {front:?}");
                self.checker.fail(ticket, fate);
            }
            Notice::ReadReady { ticket, allowed } => {
                let acknowledged = self.hosts[index].reads.remove(&ticket);
                let acknowledged = acknowledged.expect("one answer for each read");
                if allowed {
                    self.checker.read(id, self.hosts[index].applied(), acknowledged);
                }
            }
            Notice::Serve(end) => self.hosts[index].serve = end,
            Notice::Held(held) => self.check_held(&held),
            Notice::ReadLog { to, from } => self.with(index, |node, _, _| {
                node.with_replica(|replica, out| {
                    replica.handle_log_read(to, from, Vec::new(), out);
                });
            }),
            Notice::ReadSnapshot { to, slot, offset } => self.send_image(index, to, slot, offset),
            Notice::WriteSnapshot { offset, bytes, .. } => {
                let receiving = &mut self.hosts[index].receiving;
                receiving.truncate(usize::try_from(offset).expect("short"));
                assert!(receiving.len() as u64 == offset, "{id} lacks a part of the snapshot");
                receiving.extend_from_slice(&bytes);
            }
            Notice::InstallSnapshot { slot } => {
                self.hosts[index].installing = Some(slot);
                let delay = self.random.between(1, 40 * MILLISECOND);
                self.schedule(delay, Event::Install(id));
            }
            Notice::Diverged { slot } => panic!("agreement: digest of {id} differs at {slot}"),
            Notice::HandedOver => self.hosts[index].leaving = false,
            Notice::SnapshotWanted => self.image(index),
            Notice::ChangeAnswered { verdict, .. } => self.checker.answered(&verdict),
            Notice::InForce(membership) => {
                self.checker.enter(membership.charter());
                self.check_lease_of_those_that_go(&membership);
            }
            Notice::Retired => self.hosts[index].retired = true,
            Notice::Log(warlock_paxos::Event::Changing(next)) => self.check_newcomers(index, &next),
            Notice::Master(_) | Notice::LogClock(..) | Notice::Log(_) => {}
        }
    }

    pub(super) fn apply(
        &mut self,
        index: usize,
        slot: Slot,
        batch: Batch,
        tickets: &[(usize, u64)],
    ) {
        let host = &mut self.hosts[index];
        assert!(slot == next_slot(&host.machine), "P5: {} applies {slot} out of turn", host.id);
        self.checker.apply(host.id, slot, &batch);
        let proposals = batch.proposals();
        host.machine.push(batch);
        for &(position, ticket) in tickets {
            let id = id_of(&proposals[position].commands);
            assert!(id == ticket, "{}: ticket {ticket} for command {id}", host.id);
            let front = host.submitted.pop_front();
            assert!(front == Some(ticket), "order: {} answers {ticket}, not {front:?}", host.id);
            self.checker.acknowledge(slot);
        }
        if slot.position().is_multiple_of(4) {
            let digest = host.machine.iter().fold(7_u64, |digest, batch| {
                batch.as_bytes().iter().fold(digest, |digest, &byte| {
                    digest.wrapping_mul(31).wrapping_add(u64::from(byte))
                })
            });
            if let Some(node) = &mut host.node {
                node.replica.note_digest(slot.next(), digest);
                node.leader.note_digest(slot.next(), digest);
            }
        }
    }

    pub(super) fn send_image(&mut self, index: usize, to: NodeId, slot: Option<Slot>, offset: u64) {
        let image = self.hosts[index].disk.image();
        let from = Slot::FIRST;
        let batches = image.batches.clone();
        let told = Learned { from, batches, decided: image.slot, snapshot: None };
        let mut whole = Vec::new();
        encode(&Message::Learned(told), &mut whole);
        let gone = slot.is_some_and(|slot| slot != image.slot) || offset > whole.len() as u64;
        let start = if gone { whole.len() } else { usize::try_from(offset).expect("short") };
        let bytes = Bytes::copy_from_slice(&whole[start..(start + CHUNK).min(whole.len())]);
        let (slot, total) = (image.slot, whole.len() as u64);
        let chunk = SnapshotChunk { slot, offset, total, bytes };
        self.send(index, to, Message::SnapshotChunk(chunk));
    }

    pub(super) fn install(&mut self, id: NodeId) {
        let index = self.index(id);
        let host = &mut self.hosts[index];
        let Some(slot) = host.installing.take() else { return };
        let bytes = std::mem::take(&mut host.receiving);
        let Ok(Message::Learned(Learned { batches, decided, .. })) = decode(&bytes) else {
            panic!("{} received a malformed snapshot", host.id);
        };
        assert!(decided == slot, "{} received snapshot {decided} for {slot}", host.id);
        let log_times = batches.iter().map(|batch| batch.stamp().log_time);
        let log_time = log_times.fold(LogTime::ZERO, LogTime::max);
        host.machine.clone_from(&batches);
        host.disk.keep_image(Image { slot, batches });
        self.with(index, |node, now, _| {
            node.with_replica(|replica, out| {
                replica.handle_snapshot_installed(now, slot, log_time, out);
            });
        });
    }

    pub(super) fn check(&mut self, index: usize) {
        let host = &self.hosts[index];
        if let Some(node) = &host.node {
            self.checker.ballot(host.id, node.acceptor.ballot());
            if let Err(violation) = invariants::check(node) {
                panic!("{}: {violation}", host.id);
            }
        }
        let serving: Vec<&Host> = self.hosts.iter().filter(|host| host.serves(self.time)).collect();
        let names: Vec<String> = serving.iter().map(|host| host.id.to_string()).collect();
        assert!(serving.len() <= 1, "L1: {names:?} serve local reads at the same time");
        for host in serving {
            self.checker.read(host.id, host.applied(), self.checker.acknowledged());
        }
    }

    /// What is said to be durable on a node is on its disk, with the decided content if there is
    /// one.
    pub(super) fn check_held(&self, held: &[(NodeId, Slot)]) {
        for &(id, held) in held {
            let host = &self.hosts[self.index(id)];
            if host.incarnation != crate::support::disk::incarnation(id) {
                continue;
            }
            let first = held.position().saturating_sub(3).max(1);
            for slot in (first..held.position()).map(Slot::new) {
                let content = host.disk.content(slot);
                let decided = self.checker.content(slot);
                let good = match (&content, decided) {
                    (Some(content), Some(decided)) => content == decided,
                    (found, _) => found.is_some(),
                };
                assert!(good || id == self.victim, "held: {slot} is not durable on {id}");
            }
        }
    }
}
