//! Linearizable reads on a node without the lease: the master names a slot, the node waits until it
//! has applied it, and reads its own state.
//!
//! An id is used for one question only, also when it is asked again, so that a late answer to an
//! earlier question can never vouch for a read that came after it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ids::{Ballot, Slot};
use crate::message::{Message, ReadIndex};
use crate::output::{Notice, Output};
use crate::time::{Instant, Span};

#[derive(Clone, Copy, Debug, Hash)]
struct Read {
    ticket: u64,
    deadline: Instant,
    ask_again_at: Option<Instant>,
    index: Option<Slot>,
}

/// The reads of one node that wait for the master's word or for the log.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Reads {
    next_id: u64,
    reads: BTreeMap<u64, Read>,
    retry: Span,
}

impl Reads {
    pub(crate) const fn new(first_id: u64, retry: Span) -> Self {
        Self { next_id: first_id, reads: BTreeMap::new(), retry }
    }

    pub(crate) fn ask(
        &mut self,
        now: Instant,
        ticket: u64,
        deadline: Instant,
        master: Option<Ballot>,
        out: &mut Vec<Output>,
    ) {
        let read = Read { ticket, deadline, ask_again_at: None, index: None };
        self.question(now, read, master, out);
    }

    /// Takes the master's word for the question `id`.
    pub(crate) fn confirm(&mut self, id: u64, slot: Slot) {
        if let Some(read) = self.reads.get_mut(&id) {
            read.index = Some(slot);
            read.ask_again_at = None;
        }
    }

    /// Lets those reads go that have all they wait for.
    pub(crate) fn release(&mut self, applied: Slot, out: &mut Vec<Output>) {
        if self.reads.is_empty() {
            return;
        }
        self.reads.retain(|_, read| {
            let ready = read.index.is_some_and(|index| index <= applied);
            if ready {
                let ticket = read.ticket;
                out.push(Output::Notify(Notice::ReadReady { ticket, allowed: true }));
            }
            !ready
        });
    }

    /// Asks the new master what no master has confirmed.
    pub(crate) fn ask_again(
        &mut self,
        now: Instant,
        master: Option<Ballot>,
        out: &mut Vec<Output>,
    ) {
        self.repeat(now, master, |read| read.index.is_none(), out);
    }

    /// Refuses everything: this node will not hear of it any more.
    pub(crate) fn give_up(&mut self, out: &mut Vec<Output>) {
        for (_, Read { ticket, .. }) in core::mem::take(&mut self.reads) {
            out.push(Output::Notify(Notice::ReadReady { ticket, allowed: false }));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let instants = self.reads.values();
        instants.flat_map(|read| [Some(read.deadline), read.ask_again_at]).flatten().min()
    }

    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        master: Option<Ballot>,
        out: &mut Vec<Output>,
    ) {
        self.reads.retain(|_, read| {
            let overdue = read.deadline <= now;
            if overdue {
                let ticket = read.ticket;
                out.push(Output::Notify(Notice::ReadReady { ticket, allowed: false }));
            }
            !overdue
        });
        let due =
            |read: &Read| read.index.is_none() && read.ask_again_at.is_some_and(|at| at <= now);
        self.repeat(now, master, due, out);
    }

    fn repeat(
        &mut self,
        now: Instant,
        master: Option<Ballot>,
        due: impl Fn(&Read) -> bool,
        out: &mut Vec<Output>,
    ) {
        let ids: Vec<u64> =
            self.reads.iter().filter(|(_, read)| due(read)).map(|(&id, _)| id).collect();
        for id in ids {
            if let Some(read) = self.reads.remove(&id) {
                self.question(now, read, master, out);
            }
        }
    }

    fn question(
        &mut self,
        now: Instant,
        mut read: Read,
        master: Option<Ballot>,
        out: &mut Vec<Output>,
    ) {
        let id = match mutant!(ReadIdReused) && self.reads.is_empty() {
            false => self.next_id,
            true => 1,
        };
        self.next_id = id + 1;
        read.ask_again_at = master.map(|_| now.after(self.retry));
        self.reads.insert(id, read);
        if let Some(ballot) = master {
            let message = Message::ReadIndex(ReadIndex { id });
            out.push(Output::Send { to: ballot.node, message });
        }
    }
}
