//! Judges the histories of keys while the run goes on.
//!
//! When all clients are done with a generation of keys, its keys are read once more, so that what
//! was lost shows, and its history is handed to the checkers. Most generations are deleted then;
//! some are kept to the end of the run and read again through every node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::checks::check;
use super::keys::{Generation, KEYS, Keys, look_at};
use super::meter::Meter;
use super::record::Ask;
use super::worker::Caller;
use crate::Fate;

/// Every so many generations one is kept to the end.
const KEPT_EVERY: u64 = 12;
/// Pause when there is nothing to judge.
const PAUSE: Duration = Duration::from_millis(20);
/// Number of the client that reads at the end, far from those of the load.
const READER: u32 = 10_000;

/// The thread that judges.
#[derive(Debug)]
pub(super) struct Judge {
    nodes: Vec<SocketAddr>,
    meter: Arc<Meter>,
    keys: Arc<Keys>,
    caller: Caller,
    /// Generations that are read again at the end.
    kept: Vec<Arc<Generation>>,
    /// Those in which something was found.
    guilty: Vec<Arc<Generation>>,
}

impl Judge {
    /// A judge for the nodes with these addresses.
    pub(super) fn new(nodes: Vec<SocketAddr>, meter: Arc<Meter>, keys: Arc<Keys>) -> Self {
        let caller = Caller::new(READER, nodes.clone(), Arc::clone(&meter));
        Self { nodes, meter, keys, caller, kept: Vec::new(), guilty: Vec::new() }
    }

    /// Judges what is complete until the run is over.
    pub(super) fn run(mut self) -> Self {
        while !self.meter.is_over() {
            match self.keys.complete() {
                Some(generation) => self.close(generation),
                None => thread::park_timeout(PAUSE),
            }
        }
        self
    }

    /// Judges everything that is left, on a cluster that nothing disturbs any more.
    pub(super) fn finish(&mut self) {
        for generation in self.keys.rest() {
            self.read_all(&generation);
            self.judge(&generation);
        }
        for generation in std::mem::take(&mut self.kept) {
            let before = generation.records().len();
            for node in self.nodes.clone() {
                self.caller = Caller::new(READER, vec![node], Arc::clone(&self.meter));
                self.read_all(&generation);
            }
            // What was counted when it was judged first does not count again.
            self.meter.checked.fetch_sub(before as u64, Ordering::Relaxed);
            self.judge(&generation);
        }
    }

    /// Generations whose histories somebody should look at: the guilty ones, else all that were
    /// not judged.
    pub(super) fn evidence(&self) -> Vec<Arc<Generation>> {
        if self.guilty.is_empty() { self.keys.rest() } else { self.guilty.clone() }
    }

    fn close(&mut self, generation: Arc<Generation>) {
        self.read_all(&generation);
        if self.meter.is_over() {
            // Its keys were not all read, so it is judged at the end.
            self.keys.give_back(generation);
            return;
        }
        self.judge(&generation);
        if generation.number.is_multiple_of(KEPT_EVERY) {
            self.kept.push(generation);
        } else {
            let all = (0..KEYS).map(|key| (key, generation.name(key), Ask::Del)).collect();
            // What cannot be deleted now stays: it is not looked at any more.
            let _ = self.caller.ask(all);
        }
    }

    /// Reads every key until it has an answer.
    fn read_all(&mut self, generation: &Generation) {
        let mut missing: Vec<usize> = (0..KEYS).collect();
        while !missing.is_empty() && self.meter.anomaly().is_none() {
            let asks = missing.iter().map(|key| (*key, generation.name(*key), look_at(*key)));
            let Some(records) = self.caller.ask(asks.collect()) else { continue };
            let done = records.iter().filter(|record| matches!(record.fate, Fate::Done(_)));
            let done: Vec<usize> = done.map(|record| record.key).collect();
            missing.retain(|key| !done.contains(key));
            generation.note(records);
        }
    }

    fn judge(&mut self, generation: &Arc<Generation>) {
        match check(generation, READER, self.meter.outages()) {
            Ok(count) => {
                self.meter.checked.fetch_add(count, Ordering::Relaxed);
            }
            Err(what) => {
                self.guilty.push(Arc::clone(generation));
                self.meter.fail(what);
            }
        }
    }
}
