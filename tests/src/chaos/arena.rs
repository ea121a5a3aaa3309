//! The cluster under chaos: real processes, each with a network, a disk and a clock of its own.
//!
//! | fault | made with |
//! |---|---|
//! | kill, pause, stop | SIGKILL, SIGSTOP and SIGCONT, SIGTERM |
//! | links | nftables in the network namespace of the receiver |
//! | disk stalls, is slow | `fsfreeze` for the whole time, or on and off |
//! | disk is full | a file that takes all space of the node's own ext4 |
//! | power cut | an image of the disk as the last sync left it; the page cache is thrown away |
//! | wall clock | `libfaketime` for that process; clocks that count from boot stay true |
//! | membership | `WARLOCK REMOVE`, `RESET` and `TRANSFER`; `--join` with an empty directory |
//! | clock since boot | a time namespace, entered when the process starts |

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fault::{Fault, Target};
use super::links::Links;
use super::slow::Slowness;
use crate::machine::run_ok;
use crate::node::Node;
use crate::wait::poll;
use crate::{Cluster, Disk};
use warlock_resp::Value;

/// Size of a node's disk: some snapshots and logs, and soon full.
const DISK_BYTES: u64 = 192 * 1024 * 1024;
/// The library that fakes wall clocks, below the directory of the machine's architecture.
const FAKETIME: &str = "faketime/libfaketime.so.1";
/// The time namespace of whoever looks.
const TIME_NAMESPACE: &str = "/proc/self/ns/time";
/// Longest wait for a node in a rolling restart.
const ROLLING_PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for a cluster that has nothing to complain about any more.
pub(super) const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// A cluster and everything around it. All of it is gone when it is dropped.
#[derive(Debug)]
pub(super) struct Arena {
    // In this order: processes end before their disks go.
    cluster: Cluster,
    disks: Vec<Arc<Disk>>,
    /// The library that fakes wall clocks.
    faketime: PathBuf,
    /// Nodes that a fault has under its thumb.
    busy: Vec<u16>,
    /// Nodes whose disks have room again, which may still end for want of it.
    lately_full: Vec<u16>,
    /// What the cluster calls the node at each place.
    names: Vec<u16>,
    outages: Outages,
}

/// When no process ran at all, for after that the clock of the log may step.
#[derive(Debug)]
struct Outages {
    up: Vec<bool>,
    since: Option<Instant>,
    over: Vec<(Instant, Instant)>,
}

/// A fault in force, and what it takes to heal it.
#[derive(Debug)]
pub(super) struct InForce {
    /// What was drawn.
    pub(super) fault: Fault,
    /// The nodes that it hit.
    pub(super) nodes: Vec<u16>,
    slowness: Option<Slowness>,
}

impl Arena {
    /// Starts a cluster of `nodes` with these settings and waits until it serves.
    ///
    /// # Panics
    /// If this machine does not allow it, or lacks a program.
    pub(super) fn new(nodes: u16, settings: &[(String, String)]) -> Self {
        require_time_namespaces();
        let disks: Vec<Arc<Disk>> = (0..nodes).map(|_| Arc::new(Disk::new(DISK_BYTES))).collect();
        let mut builder = Cluster::builder()
            .nodes(nodes)
            .with_network()
            .set("client.request_timeout_ms", "1500")
            .set("wal.segment_bytes", "1048576")
            .set("wal.snapshot_after_bytes", "8388608");
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        for (id, disk) in (1..).zip(&disks) {
            builder = builder.data(id, disk.path().join("data"));
        }
        let faketime = find_faketime();
        let outages = Outages::new(nodes);
        let cluster = builder.prepare();
        let (busy, lately_full) = (Vec::new(), Vec::new());
        let names = (1..=nodes).collect();
        let mut arena = Self { cluster, disks, faketime, busy, lately_full, names, outages };
        for id in 1..=nodes {
            arena.set_wall(id, 0);
            arena.wrap(id, 0);
            arena.cluster.node_mut(id).start();
        }
        arena.cluster.await_ready();
        arena
    }

    /// The nodes, the one with number 1 first.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    /// Lets a fault happen.
    ///
    /// # Errors
    /// The cluster did what no fault excuses.
    pub(super) fn apply(&mut self, fault: Fault) -> Result<InForce, String> {
        let nodes = match fault.target() {
            Some(target) => vec![self.resolve(target)],
            None => (1..=self.count()).collect(),
        };
        let mut in_force = InForce { fault, nodes, slowness: None };
        self.strike(&mut in_force)?;
        Ok(in_force)
    }

    fn strike(&mut self, in_force: &mut InForce) -> Result<(), String> {
        let first = in_force.nodes[0];
        match &in_force.fault {
            Fault::Kill(_) => self.kill(first),
            Fault::KillAll => (1..=self.count()).for_each(|id| self.kill(id)),
            Fault::Pause(_) => self.cluster.node_mut(first).pause(),
            Fault::PauseMajority => {
                let master = self.resolve(Target::Master);
                in_force.nodes.rotate_left(usize::from(master) - 1);
                in_force.nodes.truncate(usize::from(self.count()) / 2 + 1);
                in_force.nodes.iter().for_each(|id| self.cluster.node_mut(*id).pause());
            }
            Fault::Stop(_) => self.stop(first)?,
            Fault::Rolling => self.roll()?,
            Fault::Links(shape) => {
                Links::shaped(self.count(), shape, first).apply(self.cluster.network());
            }
            Fault::DiskStall(_) => self.disk(first).freeze(),
            Fault::DiskSlow(_, most) => {
                in_force.slowness = Some(Slowness::start(Arc::clone(self.disk(first)), *most));
            }
            Fault::DiskFull(_) => {
                // From now on it may end at any time.
                self.outages.goes_down(first);
                self.disk(first).fill();
            }
            Fault::PowerCut(_) => {
                self.kill(first);
                self.disk(first).lose_power();
            }
            Fault::PowerCutAll => {
                (1..=self.count()).for_each(|id| self.kill(id));
                self.disks.iter().for_each(|disk| disk.lose_power());
            }
            Fault::WallJump(_, seconds) => self.set_wall(first, *seconds),
            Fault::BootJump(_, seconds) => {
                self.kill(first);
                self.wrap(first, *seconds);
                self.start(first);
            }
            Fault::Replace(_) => {
                self.await_members()?;
                self.remove(first)?;
            }
            Fault::Shrink(_) => {
                self.await_members()?;
                // The target is the one that stays.
                in_force.nodes = (1..=self.count()).filter(|id| *id != first).collect();
                in_force.nodes.iter().try_for_each(|place| self.remove(*place))?;
            }
            Fault::Reset(_) => self.reset(first)?,
            Fault::Transfer => {
                self.await_members()?;
                self.operate(&["WARLOCK", "TRANSFER"])?;
            }
        }
        self.occupy(in_force);
        Ok(())
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// The cluster did what no fault excuses.
    pub(super) fn heal(&mut self, mut in_force: InForce) -> Result<(), String> {
        let first = in_force.nodes[0];
        drop(in_force.slowness.take());
        match &in_force.fault {
            Fault::Kill(_) | Fault::Stop(_) | Fault::PowerCut(_) => self.start(first),
            Fault::KillAll | Fault::PowerCutAll => {
                (1..=self.count()).for_each(|id| self.start(id));
            }
            Fault::Pause(_) | Fault::PauseMajority => {
                in_force.nodes.iter().for_each(|id| self.cluster.node_mut(*id).resume());
            }
            Fault::Links(_) => Links::whole(self.count()).apply(self.cluster.network()),
            Fault::DiskStall(_) => self.disk(first).thaw(),
            Fault::DiskFull(_) => self.make_room(first)?,
            Fault::WallJump(..) => self.set_wall(first, 0),
            Fault::Replace(_) | Fault::Shrink(_) => {
                in_force.nodes.iter().try_for_each(|place| self.join(*place))?;
            }
            Fault::Rolling
            | Fault::DiskSlow(..)
            | Fault::BootJump(..)
            | Fault::Reset(_)
            | Fault::Transfer => {}
        }
        if in_force.hits_processes() {
            self.busy.retain(|id| !in_force.nodes.contains(id));
        }
        Ok(())
    }

    /// Looks for processes that ended though nothing made them, and starts those again that found
    /// out late that their disks were full.
    ///
    /// # Errors
    /// There is one; the text says how its log ends.
    pub(super) fn look_for_deaths(&mut self, excused: &[u16]) -> Result<(), String> {
        for id in 1..=self.count() {
            let node = self.cluster.node_mut(id);
            if excused.contains(&id) || !node.process_has_ended() {
                continue;
            }
            if !self.lately_full.contains(&id) {
                return Err(format!("n{id} ended by itself:\n{}", node.log_tail()));
            }
            self.restart_full(id)?;
        }
        Ok(())
    }

    /// Waits until every node can serve linearizable requests.
    ///
    /// # Errors
    /// One does not.
    pub(super) fn await_ready(&mut self) -> Result<(), String> {
        for index in 0..self.cluster.nodes.len() {
            let ready = poll(RECOVERY_MAX, || self.cluster.nodes[index].ask("READY").map(drop));
            self.look_for_deaths(&[])?;
            ready.map_err(|seen| {
                format!("not ready {RECOVERY_MAX:?} after the last fault was healed: {seen}")
            })?;
        }
        Ok(())
    }

    /// Waits until all nodes hold the same data; nobody may write meanwhile.
    ///
    /// # Errors
    /// They do not; the text says what each has.
    pub(super) fn await_agreement(&mut self) -> Result<(i64, String), String> {
        let agreement = poll(RECOVERY_MAX, || {
            let digests: Result<Vec<_>, String> = self.nodes().iter().map(Node::digest).collect();
            let digests = digests?;
            let same = digests.windows(2).all(|pair| pair[0] == pair[1]);
            if same { Ok(digests[0].clone()) } else { Err(format!("{digests:?}")) }
        });
        self.look_for_deaths(&[])?;
        agreement.map_err(|seen| format!("the nodes do not come to hold the same data: {seen}"))
    }

    /// Copies what the nodes wrote, data directories and all, to `folder`.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(super) fn copy_to(&self, folder: &Path) {
        for (id, disk) in (1..).zip(&self.disks) {
            disk.thaw();
            let own = folder.join(format!("n{id}"));
            fs::create_dir_all(&own).expect("a directory can be made");
            let data = self.cluster.node(id).data.clone();
            let settings = self.cluster.node(id).settings.clone();
            let log = settings.with_file_name("log");
            for source in [data, settings, log] {
                run_ok("cp", &["--archive".as_ref(), source.as_os_str(), own.as_os_str()]);
            }
        }
    }

    /// Kills whoever still runs.
    pub(super) fn end(&mut self) {
        self.disks.iter().for_each(|disk| disk.thaw());
        self.cluster.nodes.iter_mut().filter(|node| node.is_started()).for_each(Node::kill);
    }

    /// A node for this target that no other fault has.
    fn resolve(&self, target: Target) -> u16 {
        let wanted = match target {
            Target::Node(id) => id,
            Target::Master => self.master().unwrap_or(1),
        };
        let free = |id: &u16| !self.busy.contains(id);
        let after = (1..=self.count()).filter(|id| *id > wanted);
        [wanted].into_iter().chain(after).chain(1..wanted).find(free).unwrap_or(wanted)
    }

    /// The master, as the first free node that knows one says.
    fn master(&self) -> Option<u16> {
        let free = self.nodes().iter().filter(|node| !self.busy.contains(&node.id));
        let name = free.filter_map(|node| node.known_master().ok()).next()?;
        (1..).zip(&self.names).find(|(_, known)| **known == name).map(|(place, _)| place)
    }

    /// Waits until exactly the nodes that have a place vote.
    fn await_members(&self) -> Result<(), String> {
        let mut wanted: Vec<u64> = self.names.iter().map(|name| u64::from(*name)).collect();
        wanted.sort_unstable();
        let settled = poll(RECOVERY_MAX, || {
            for node in self.nodes() {
                let membership = node.membership()?;
                let members = membership["members"].as_array().ok_or("no members")?;
                let voters = members.iter().filter(|member| member["seat"] == "voter");
                let voters: Vec<u64> = voters.filter_map(|member| member["id"].as_u64()).collect();
                if voters != wanted || membership["transitional"] != false {
                    return Err(membership.to_string());
                }
            }
            Ok(())
        });
        settled.map_err(|seen| format!("the membership does not become {wanted:?}: {seen}"))
    }

    /// Asks one node after the other until the master does as it is told.
    fn operate(&self, words: &[&str]) -> Result<(), String> {
        let done = poll(RECOVERY_MAX, || {
            let mut seen = String::new();
            for node in self.nodes() {
                let Ok(mut client) = node.try_connect() else { continue };
                match client.call(words) {
                    Ok(Value::Error(text)) => seen = text,
                    Ok(_) => return Ok(()),
                    Err(lost) => seen = lost.to_string(),
                }
            }
            // Whoever asked before may have been obeyed and not been told.
            if seen.ends_with("is no member") { Ok(()) } else { Err(seen) }
        });
        done.map_err(|seen| format!("{words:?} is not done: {seen}"))
    }

    /// Has a node forget its state: the process becomes another one.
    fn reset(&self, place: u16) -> Result<(), String> {
        self.await_members()?;
        let node = self.cluster.node(place);
        let done = poll(RECOVERY_MAX, || node.ask("RESET").map(drop));
        done.map_err(|seen| format!("n{place} is not reset: {seen}"))
    }

    /// Removes a node, which ends by itself.
    fn remove(&mut self, place: u16) -> Result<(), String> {
        let name = self.names[usize::from(place) - 1].to_string();
        self.operate(&["WARLOCK", "REMOVE", &name])?;
        self.outages.goes_down(place);
        let finished = self.cluster.node_mut(place).finish();
        match finished.code {
            Some(0) => Ok(()),
            code => {
                let log = self.cluster.node(place).log_tail();
                Err(format!("n{place} ended with {code:?} when it was removed:\n{log}"))
            }
        }
    }

    /// Puts another node at the place of one that was removed, and waits until it is a member: the
    /// next one has a higher number.
    fn join(&mut self, place: u16) -> Result<(), String> {
        let name = self.names.iter().max().expect("a cluster has nodes") + 1;
        self.names[usize::from(place) - 1] = name;
        let by = self.nodes().iter().find(|node| node.is_started()).ok_or("no node runs")?;
        let (by, address) = (by.id, by.peer.to_string());
        self.cluster.node(place).become_newcomer(name, &address);
        self.start(place);
        let joined = poll(RECOVERY_MAX, || {
            let membership = self.cluster.node(by).membership()?;
            let members = membership["members"].as_array().ok_or("no members")?;
            match members.iter().any(|member| member["id"] == name) {
                true => Ok(()),
                false => Err(membership.to_string()),
            }
        });
        joined.map_err(|seen| format!("node {name} does not become a member: {seen}"))
    }

    fn occupy(&mut self, in_force: &InForce) {
        if in_force.hits_processes() {
            self.busy.extend(&in_force.nodes);
        }
    }

    /// Times in which no process ran, since this was asked last.
    pub(super) fn take_outages(&mut self) -> Vec<(Instant, Instant)> {
        mem::take(&mut self.outages.over)
    }

    fn kill(&mut self, id: u16) {
        self.outages.goes_down(id);
        self.cluster.node_mut(id).kill();
    }

    fn start(&mut self, id: u16) {
        self.cluster.node_mut(id).start();
        self.outages.comes_up(id);
    }

    /// Ends a process as an operator does.
    fn stop(&mut self, id: u16) -> Result<(), String> {
        self.outages.goes_down(id);
        let finished = self.cluster.node_mut(id).terminate();
        match finished.code {
            Some(0) => Ok(()),
            code => {
                let log = self.cluster.node(id).log_tail();
                Err(format!("n{id} ended with {code:?} when asked to stop:\n{log}"))
            }
        }
    }

    /// Restarts all nodes one after the other, each when the last one is back, or when whoever
    /// does it loses patience because links are broken too.
    fn roll(&mut self) -> Result<(), String> {
        for id in 1..=self.count() {
            self.stop(id)?;
            self.start(id);
            let _ = poll(ROLLING_PATIENCE, || self.cluster.node(id).ask("READY").map(drop));
        }
        Ok(())
    }

    /// Gives a full disk room again, and starts its node if it ended for want of room.
    fn make_room(&mut self, id: u16) -> Result<(), String> {
        self.disk(id).empty();
        if self.cluster.node_mut(id).process_has_ended() {
            return self.restart_full(id);
        }
        self.outages.comes_up(id);
        self.lately_full.push(id);
        Ok(())
    }

    /// Starts a node again that ended for want of room.
    fn restart_full(&mut self, id: u16) -> Result<(), String> {
        self.lately_full.retain(|other| *other != id);
        self.outages.goes_down(id);
        let finished = self.cluster.node_mut(id).finish();
        let last = finished.log.lines().last().unwrap_or_default();
        if finished.code != Some(1) || !last.contains("No space left on device") {
            let (code, log) = (finished.code, self.cluster.node(id).log_tail());
            return Err(format!("n{id} ended with {code:?}, not for its disk:\n{log}"));
        }
        self.start(id);
        Ok(())
    }

    fn disk(&self, id: u16) -> &Arc<Disk> {
        &self.disks[usize::from(id) - 1]
    }

    fn count(&self) -> u16 {
        u16::try_from(self.cluster.nodes.len()).expect("at most 7 nodes")
    }

    /// Makes the wall clock of a node differ from this machine's.
    fn set_wall(&self, id: u16, seconds: i64) {
        let (file, new) = (self.wall_file(id), self.wall_file(id).with_extension("new"));
        // The library must never see half a file.
        fs::write(&new, format!("{seconds:+}\n")).expect("a file can be written");
        fs::rename(new, file).expect("files in one directory can be renamed");
    }

    fn wall_file(&self, id: u16) -> PathBuf {
        self.cluster.node(id).settings.with_file_name("wall")
    }

    /// Starts a node from now on so that it dies with this program, sees its own wall clock, and
    /// has a clock since boot that is so many seconds ahead.
    fn wrap(&mut self, id: u16, boot_seconds: u64) {
        let wall = self.wall_file(id);
        let mut words = vec!["setpriv".to_owned(), "--pdeathsig=KILL".to_owned()];
        if boot_seconds > 0 {
            let offset = boot_seconds.to_string();
            words.extend(["unshare", "--time", "--boottime", &offset].map(str::to_owned));
        }
        words.extend([
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.faketime.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", wall.display()),
            "FAKETIME_CACHE_DURATION=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ]);
        self.cluster.node_mut(id).wrap(words);
    }
}

impl Outages {
    fn new(nodes: u16) -> Self {
        Self { up: vec![true; usize::from(nodes)], since: None, over: Vec::new() }
    }

    fn goes_down(&mut self, id: u16) {
        let now = Instant::now();
        self.up[usize::from(id) - 1] = false;
        if !self.up.contains(&true) {
            self.since.get_or_insert(now);
        }
    }

    fn comes_up(&mut self, id: u16) {
        self.up[usize::from(id) - 1] = true;
        self.over.extend(self.since.take().map(|since| (since, Instant::now())));
    }
}

impl InForce {
    /// Whether the processes or disks of its nodes cannot take another fault.
    pub(super) const fn hits_processes(&self) -> bool {
        match self.fault {
            Fault::Links(_) | Fault::WallJump(..) | Fault::Transfer => false,
            Fault::Kill(_)
            | Fault::KillAll
            | Fault::Pause(_)
            | Fault::PauseMajority
            | Fault::Stop(_)
            | Fault::Rolling
            | Fault::DiskStall(_)
            | Fault::DiskSlow(..)
            | Fault::DiskFull(_)
            | Fault::PowerCut(_)
            | Fault::PowerCutAll
            | Fault::Replace(_)
            | Fault::Shrink(_)
            | Fault::Reset(_)
            | Fault::BootJump(..) => true,
        }
    }

    /// Nodes that may end by themselves while it is in force.
    pub(super) fn excuses(&self) -> &[u16] {
        if matches!(self.fault, Fault::DiskFull(_)) { &self.nodes } else { &[] }
    }
}

/// Where the library is that fakes wall clocks.
fn find_faketime() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").expect("a machine has libraries").flatten();
    let found = directories.map(|entry| entry.path().join(FAKETIME)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {FAKETIME}: run scripts/setup"))
}

/// Stops unless a program can be shown another time since boot without a process of its own.
fn require_time_namespaces() {
    let own = fs::read_link(TIME_NAMESPACE).expect("the kernel has time namespaces");
    let other = run_ok("unshare", &["--time", "--boottime", "1", "readlink", TIME_NAMESPACE]);
    assert_ne!(Path::new(other.trim()), own, "the kernel enters a time namespace only on fork");
}

#[cfg(test)]
mod tests {
    use super::Outages;

    #[test]
    fn an_outage_lasts_from_the_end_of_the_last_process_to_the_start_of_the_first() {
        let mut outages = Outages::new(3);
        outages.goes_down(1);
        outages.goes_down(3);
        outages.comes_up(1);
        outages.goes_down(2);
        assert!(outages.over.is_empty() && outages.since.is_none(), "n1 runs");
        outages.goes_down(1);
        assert!(outages.since.is_some());
        outages.comes_up(2);
        outages.comes_up(3);
        assert_eq!(outages.over.len(), 1);
        assert!(outages.over[0].0 <= outages.over[0].1);
    }
}
