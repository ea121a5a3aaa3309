//! What clients notice when nodes come and go: the longest wait for one reply, and errors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::client::Client;
use crate::error::Context as _;
use crate::process::wait_for;
use crate::report::{Bar, Floor, Spread, Unit};
use crate::system::System as _;
use crate::system::warlock::Warlock;
use crate::{Error, Result};

/// Has a node join, the mastership move, and the master leave, `rounds` times, while 50 clients of
/// the nodes that stay read and write.
pub fn measure(warlock: &mut Warlock, rounds: usize) -> Result<Vec<Bar>> {
    let steps: [(&str, f64); 3] = [
        ("a node joins, longest wait of any client", 250.0),
        ("transfer-master, longest wait of any client", 50.0),
        ("the master leaves, longest wait of any client", 50.0),
    ];
    let mut waits = [const { Vec::new() }; 3];
    let (mut operations, mut errors) = (0, 0);
    for _ in 0..rounds {
        let oldest = warlock.master()?;
        let members = members(warlock)?;
        let heir = *members
            .iter()
            .find(|&&index| index != oldest)
            .ok_or_else(|| Error::new("a cluster of one node has no heir"))?;
        let staying: Vec<SocketAddr> = members
            .iter()
            .filter(|&&index| index != heir)
            .map(|&index| warlock.nodes()[index].client)
            .collect();
        let clients = Clients::start(&staying)?;
        waits[0].push(clients.during(|| warlock.join_one().map(drop))?);
        waits[1].push(clients.during(|| transfer(warlock, heir))?);
        // The mastership has moved to the node that goes; it hands over first.
        waits[2].push(clients.during(|| {
            transfer(warlock, oldest)?;
            let node = (heir + 1).to_string();
            operate(warlock, &[b"WARLOCK", b"REMOVE", node.as_bytes()])?;
            wait_for("the node to end", PATIENCE, || warlock.has_ended(heir))
        })?);
        let (done, failed) = clients.stop()?;
        operations += done;
        errors += failed;
    }
    let remark = format!("{rounds} rounds, {CLIENTS} connections, half GET, half SET");
    let systems = warlock.description().to_owned();
    let mut bars = Vec::new();
    for ((figure, floor), waits) in steps.into_iter().zip(waits) {
        let floor = Floor::AtMost(floor);
        let spread = Spread::of(waits)?;
        let bar = Bar::measured("membership", figure, Unit::Milliseconds, floor, spread);
        bars.push(bar.on(&systems).remark(&remark));
    }
    let none = Spread::single(errors as f64);
    let figure = "errors while nodes come and go";
    let bar = Bar::measured("membership", figure, Unit::Count, Floor::AtMost(0.0), none);
    bars.push(bar.on(&systems).remark(format!("of {operations} operations")));
    Ok(bars)
}

#[derive(Debug, Deserialize)]
struct Membership {
    transitional: bool,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    id: usize,
}

fn membership(warlock: &mut Warlock) -> Result<Membership> {
    let master = warlock.master()?;
    let reply = Client::connect(warlock.nodes()[master].client, PATIENCE)?
        .request(&[b"WARLOCK", b"MEMBERSHIP"])?
        .ok_or_else(|| Error::new("no membership"))?;
    serde_json::from_str(&reply).context("WARLOCK MEMBERSHIP")
}

/// Indices of the members, once the membership is stable.
fn members(warlock: &mut Warlock) -> Result<Vec<usize>> {
    wait_for("a stable membership", PATIENCE, || {
        let known = membership(warlock).ok().filter(|known| !known.transitional);
        Ok(known.map(|known| known.members.iter().map(|member| member.id - 1).collect()))
    })
}

/// Asks the master until it does what it is asked.
fn operate(warlock: &mut Warlock, words: &[&[u8]]) -> Result<()> {
    wait_for("the master to agree", PATIENCE, || {
        let Ok(master) = warlock.master() else { return Ok(None) };
        let address = warlock.nodes()[master].client;
        let Ok(mut client) = Client::connect(address, PATIENCE) else { return Ok(None) };
        match client.request(words) {
            Ok(_) => Ok(Some(())),
            Err(error) if error.to_string().contains("REFUSED") => Err(error),
            Err(_) => Ok(None),
        }
    })?;
    members(warlock).map(drop)
}

fn transfer(warlock: &mut Warlock, to: usize) -> Result<()> {
    let node = (to + 1).to_string();
    operate(warlock, &[b"WARLOCK", b"TRANSFER", node.as_bytes()])?;
    wait_for("the new master", PATIENCE, || {
        Ok(warlock.master().ok().filter(|&master| master == to).map(drop))
    })
}

/// Clients that each wait for one reply after the other.
struct Clients {
    stop: Arc<AtomicBool>,
    /// The longest wait since it was last set to zero, in nanoseconds.
    longest: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(addresses: &[SocketAddr]) -> Result<Self> {
        let mut clients = Self {
            stop: Arc::default(),
            longest: Arc::default(),
            done: Arc::default(),
            failed: Arc::default(),
            threads: Vec::new(),
        };
        for (index, &address) in (0..CLIENTS).zip(addresses.iter().cycle()) {
            let client = Client::connect(address, PATIENCE)?;
            let (stop, longest) = (Arc::clone(&clients.stop), Arc::clone(&clients.longest));
            let (done, failed) = (Arc::clone(&clients.done), Arc::clone(&clients.failed));
            clients.threads.push(thread::spawn(move || {
                let failure = work(client, index, &stop, &longest, &done);
                failed.fetch_add(u64::from(failure.is_err()), Ordering::Relaxed);
            }));
        }
        thread::sleep(WARM_UP);
        Ok(clients)
    }

    /// The longest wait of any client while `act` runs, in milliseconds.
    fn during(&self, act: impl FnOnce() -> Result<()>) -> Result<f64> {
        self.longest.store(0, Ordering::Relaxed);
        act()?;
        // What began meanwhile has to end too.
        thread::sleep(WARM_UP);
        Ok(Duration::from_nanos(self.longest.load(Ordering::Relaxed)).as_secs_f64() * 1_000.0)
    }

    /// Operations that succeeded, and clients that met an error.
    fn stop(mut self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| Error::new("a client panicked"))?;
        }
        Ok((self.done.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed)))
    }
}

impl Drop for Clients {
    /// On an error the clients are not waited for: they end by themselves.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads and writes in turn until told to stop, or until an error.
fn work(
    mut client: Client,
    index: usize,
    stop: &AtomicBool,
    longest: &AtomicU64,
    done: &AtomicU64,
) -> Result<()> {
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("membership:{index}:{}", number % KEYS);
        let words: [&[u8]; 3] = [b"SET", key.as_bytes(), &[b'x'; 64]];
        let asked = Instant::now();
        match number % 2 {
            0 => client.request(&words)?,
            _ => client.request(&[b"GET", key.as_bytes()])?,
        };
        let wait = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        longest.fetch_max(wait, Ordering::Relaxed);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Connections, dealt out to the nodes that stay.
const CLIENTS: usize = 50;

/// Keys of each client.
const KEYS: u64 = 1000;

const WARM_UP: Duration = Duration::from_millis(300);

const PATIENCE: Duration = Duration::from_secs(30);
