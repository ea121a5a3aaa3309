//! How long writes stop when the master goes, killed or asked to, and whether any is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::process::wait_for;
use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System as _;
use crate::system::warlock::Warlock;
use crate::{Error, Result};

/// How the master goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// `kill -9`: from the signal to the first acknowledgement of a write sent after it.
    Killed,
    /// `SIGTERM`: the longest time without an acknowledgement until the process has ended.
    Asked,
}

impl Departure {
    fn signal(self) -> Signal {
        match self {
            Self::Killed => Signal::KILL,
            Self::Asked => Signal::TERM,
        }
    }
}

/// Takes the master away `rounds` times, each time starting it again, while clients of the other
/// nodes write. Every acknowledged write must be there afterwards.
pub fn measure(warlock: &mut Warlock, departure: Departure, rounds: usize) -> Result<Vec<Bar>> {
    let mut pauses = Vec::new();
    let (mut acknowledged, mut lost) = (0, 0);
    for round in 0..rounds {
        let master = warlock.master()?;
        let others = warlock.nodes().iter().enumerate().filter(|&(index, _)| index != master);
        let others: Vec<SocketAddr> = others.map(|(_, node)| node.client).collect();
        let mut writers = Writers::start(round, &others);
        let pause = match departure {
            Departure::Killed => kill(warlock, master, &mut writers)?,
            Departure::Asked => ask(warlock, master, &mut writers)?,
        };
        pauses.push(pause.as_secs_f64() * 1_000.0);
        let writes = writers.stop()?;
        warlock.restart(master, PATIENCE)?;
        acknowledged += writes.len();
        lost += count_lost(warlock.nodes()[master].client, &writes)?;
    }
    let (case, figure, floor) = match departure {
        Departure::Killed => ("failover", "kill -9 of the master to the first new write", 900.0),
        Departure::Asked => ("handover", "SIGTERM of the master, longest pause of writes", 150.0),
    };
    let spread = Spread::of(pauses)?;
    let floor = Floor::AtMost(floor);
    let systems = warlock.description();
    let remark = format!("{rounds} rounds, {WRITERS} writers on the other nodes");
    let none = Spread::single(lost as f64);
    Ok(vec![
        Bar::measured(case, figure, Unit::Milliseconds, floor, spread).on(systems).remark(remark),
        Bar::measured(case, "acknowledged writes lost", Unit::Count, Floor::AtMost(0.0), none)
            .on(systems)
            .remark(format!("of {acknowledged}, read back through the restarted node")),
    ])
}

fn kill(warlock: &Warlock, master: usize, writers: &mut Writers) -> Result<Duration> {
    writers.wait_until_all_acknowledged_after(Instant::now())?;
    let killed = Instant::now();
    warlock.signal(master, Departure::Killed.signal())?;
    writers.wait_until_all_acknowledged_after(killed)?;
    let first = (writers.writes.iter())
        .filter(|write| write.sent >= killed)
        .map(|write| write.acknowledged)
        .min();
    first
        .map(|first| first - killed)
        .ok_or_else(|| Error::new("no write was acknowledged after the kill"))
}

fn ask(warlock: &mut Warlock, master: usize, writers: &mut Writers) -> Result<Duration> {
    writers.wait_until_all_acknowledged_after(Instant::now())?;
    let asked = Instant::now();
    warlock.signal(master, Departure::Asked.signal())?;
    wait_for("the old master to end", PATIENCE, || warlock.has_ended(master))?;
    writers.wait_until_all_acknowledged_after(Instant::now())?;
    Ok(longest_pause(asked, writers.writes.iter().map(|write| write.acknowledged)))
}

/// Longest time between neighbours of `start` and the later ones of `moments`.
fn longest_pause(start: Instant, moments: impl Iterator<Item = Instant>) -> Duration {
    let mut moments: Vec<Instant> = moments.filter(|&moment| moment >= start).collect();
    moments.sort_unstable();
    let mut previous = start;
    let mut longest = Duration::ZERO;
    for moment in moments {
        longest = longest.max(moment - previous);
        previous = moment;
    }
    longest
}

fn count_lost(address: SocketAddr, writes: &[Write]) -> Result<usize> {
    let mut client = Client::connect(address, PATIENCE)?;
    let mut lost = 0;
    for write in writes {
        let found = client.request(&[b"GET", write.key.as_bytes()])?;
        lost += usize::from(found.as_deref() != Some(&write.key));
    }
    Ok(lost)
}

/// A write that was acknowledged. Its value is its key.
#[derive(Debug)]
struct Write {
    key: String,
    sent: Instant,
    acknowledged: Instant,
}

/// Clients that each write one unique key after the other, and what they got acknowledged.
#[derive(Debug)]
struct Writers {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    arrivals: Receiver<(usize, Write)>,
    writes: Vec<Write>,
    last_sent: [Option<Instant>; WRITERS],
}

impl Writers {
    fn start(round: usize, addresses: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, arrivals) = channel();
        let mut threads = Vec::new();
        for (index, &address) in (0..WRITERS).zip(addresses.iter().cycle()) {
            let (stop, sender) = (Arc::clone(&stop), sender.clone());
            let prefix = format!("{round}:{index}");
            threads.push(thread::spawn(move || {
                write_on(address, index, &prefix, &stop, &sender);
            }));
        }
        Self { threads, stop, arrivals, writes: Vec::new(), last_sent: [None; WRITERS] }
    }

    /// Waits until every writer got a write acknowledged that it sent after `moment`.
    fn wait_until_all_acknowledged_after(&mut self, moment: Instant) -> Result<()> {
        wait_for("every writer to write again", PATIENCE, || {
            self.collect();
            let after = |sent: &Option<Instant>| sent.is_some_and(|sent| sent >= moment);
            Ok(self.last_sent.iter().all(after).then_some(()))
        })
    }

    fn collect(&mut self) {
        for (index, write) in self.arrivals.try_iter() {
            self.last_sent[index] = Some(write.sent);
            self.writes.push(write);
        }
    }

    fn stop(mut self) -> Result<Vec<Write>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().map_err(|_| Error::new("a writer panicked"))?;
        }
        self.collect();
        Ok(std::mem::take(&mut self.writes))
    }
}

impl Drop for Writers {
    /// On an error the writers are not waited for: they end by themselves.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes until told to stop. A write that fails may have happened or not, so it is not counted
/// and its key is not used again.
fn write_on(
    address: SocketAddr,
    index: usize,
    prefix: &str,
    stop: &AtomicBool,
    sender: &Sender<(usize, Write)>,
) {
    let mut client = None;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("failover:{prefix}:{number}");
        let sent = Instant::now();
        match write_once(&mut client, address, &key) {
            Ok(()) => {
                let write = Write { key, sent, acknowledged: Instant::now() };
                if sender.send((index, write)).is_err() {
                    return;
                }
            }
            Err(_) => client = None,
        }
        thread::sleep(PACE);
    }
}

fn write_once(client: &mut Option<Client>, address: SocketAddr, key: &str) -> Result<()> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(address, PATIENCE)?),
    };
    match client.request(&[b"SET", key.as_bytes(), key.as_bytes()])? {
        Some(reply) if reply == "OK" => Ok(()),
        reply => Err(Error::new(format!("SET answered {reply:?}"))),
    }
}

/// Writers, dealt out to the nodes that stay.
const WRITERS: usize = 4;

/// Rest of a writer between two writes: the resolution of the figures, with four of them.
const PACE: Duration = Duration::from_millis(1);

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_counts_from_the_start_and_ignores_what_was_before() {
        let start = Instant::now() + Duration::from_secs(10);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let before = start - Duration::from_secs(1);
        let moments = [at(130), before, at(30), at(40)];
        assert_eq!(longest_pause(start, moments.into_iter()), Duration::from_millis(90));
        assert_eq!(longest_pause(start, [at(50)].into_iter()), Duration::from_millis(50));
    }
}
