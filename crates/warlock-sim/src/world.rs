//! A whole cluster in virtual time: machines with clocks and disks, the network between them,
//! clients, and everything that goes wrong with them.
//!
//! One event after the other is taken from a queue; whatever follows at the same moment is done at
//! once. Every choice is drawn from one generator, so that a seed is a run.

mod clients;
mod clock;
mod counters;
mod faults;
mod healing;
mod network;
mod observe;
mod observe_views;
mod operator;
mod queue;
mod site;
mod trace;
mod weather;

use warlock_paxos::{Membership, NodeId, Slot, View};
use warlock_wal::FaultyDisk;

use crate::check::{
    Accepts, AcknowledgedSlots, Agreement, Ballots, Declines, Digests, Held, Immutability,
    LeaseExclusion, LowerViews, Readers, Views, Violation, Watermarks,
};
use crate::history::History;
use crate::random::Random;
use crate::run::Options;
use clients::Client;
use clock::{Clock, TRUE_RATE};
pub use counters::Counters;
use network::Network;
use operator::{Operators, SITES_MAX};
use queue::{Event, NodeIndex, Queue};
use site::{Site, Trust};
use trace::Trace;
use weather::{MILLISECOND, Weather};

/// More events than any run takes whose time moves on.
const EVENTS_MAX: u64 = 20_000_000;

/// Everything of one run.
pub(crate) struct World {
    time: u64,
    queue: Queue,
    random: Random,
    weather: Weather,
    network: Network,
    sites: Vec<Site>,
    operators: Operators,
    clients: Vec<Client>,
    history: History,
    /// By kind of key, how often commands have named one.
    keys_drawn: [u64; 5],
    trace: Trace,
    counters: Counters,
    checks: Checks,
    violation: Option<Violation>,
    /// The faults are over.
    is_calm: bool,
    /// Clients ask nothing new.
    is_closing: bool,
    /// The last questions are being asked.
    is_auditing: bool,
    /// Successful answers to them.
    audited: u64,
    /// The node that answered an operation most lately.
    served: Option<NodeId>,
    /// When so few nodes knew the log time that it may have been set anew.
    time_losses: Vec<(u64, u64)>,
    /// Some clock stood still without seeing it.
    has_frozen: bool,
}

/// What watches every event.
struct Checks {
    agreement: Agreement,
    immutability: Immutability,
    ballots: Ballots,
    accepts: Accepts,
    readers: Readers,
    watermarks: Watermarks,
    declines: Declines,
    views: Views,
    lower_views: LowerViews,
    held: Held,
    acknowledged: AcknowledgedSlots,
    exclusion: LeaseExclusion,
    digests: Digests,
    settled: u64,
}

impl Checks {
    fn new(first: Membership) -> Self {
        Self {
            views: Views::new(first),
            lower_views: LowerViews::default(),
            held: Held::default(),
            agreement: Agreement::default(),
            immutability: Immutability::default(),
            ballots: Ballots::default(),
            accepts: Accepts::default(),
            readers: Readers::default(),
            watermarks: Watermarks::default(),
            declines: Declines::default(),
            acknowledged: AcknowledgedSlots::default(),
            exclusion: LeaseExclusion::default(),
            digests: Digests::default(),
            settled: 0,
        }
    }
}

impl World {
    /// The declared bound of the rate error of clocks, in parts of a thousand.
    const RHO_PER_MILLE: u64 = 50;

    /// The world that `seed` and `options` describe, before anything has happened.
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::drawn(seed, &mut random, options);
        let sites_max = if weather.changes.every > 0 { SITES_MAX } else { weather.nodes };
        let mut world = Self {
            time: 0,
            queue: Queue::default(),
            network: Network::new(weather.nodes, sites_max),
            sites: Vec::new(),
            operators: Operators::default(),
            clients: (0..).take(weather.clients).map(Client::new).collect(),
            history: History::new(),
            keys_drawn: [0; 5],
            trace: Trace::new(options.trace_lines),
            counters: Counters::default(),
            checks: Checks::new(Self::founded(weather.nodes)),
            violation: None,
            is_calm: false,
            is_closing: false,
            is_auditing: false,
            audited: 0,
            served: None,
            time_losses: vec![(0, u64::MAX)],
            has_frozen: false,
            random,
            weather,
        };
        world.populate();
        world
    }

    /// The membership that the settings of the first `nodes` nodes name.
    fn founded(nodes: usize) -> Membership {
        let founders = (1..).take(nodes).map(NodeId::new);
        Membership::new(View::new(1), founders)
    }

    fn populate(&mut self) {
        let mut unreliable: Vec<bool> =
            (0..self.weather.nodes).map(|index| index < self.weather.unreliable).collect();
        self.random.shuffle(&mut unreliable);
        for (index, is_unreliable) in unreliable.into_iter().enumerate() {
            let site = self.new_site(index, is_unreliable);
            self.sites.push(site);
            // One that comes late is not there when others grow without it.
            let late = self.random.chance(50);
            self.start_later(index, if late { self.weather.storm } else { 300 * MILLISECOND });
        }
        for client in 0..self.clients.len() {
            let at = self.random.below(500 * MILLISECOND);
            self.queue.push(at, Event::Client { client, serial: 0 });
        }
        self.fault_later();
        self.operate_later();
    }

    /// How fast a clock runs at first. Where clocks may be wrong, many are as wrong as they may be:
    /// only opposite errors use up what a lease allows for. Frozen machines need all of that.
    fn first_rate(&mut self) -> u64 {
        let weights = &self.weather.weights;
        if weights.clock_rate == 0 || weights.freeze > 0 {
            return TRUE_RATE;
        }
        let rho = Self::RHO_PER_MILLE * TRUE_RATE / 1000;
        self.random.pick(&[TRUE_RATE, TRUE_RATE - rho, TRUE_RATE + rho])
    }

    fn new_site(&mut self, index: usize, is_unreliable: bool) -> Site {
        let id = NodeId::new(u16::try_from(index + 1).expect("few nodes"));
        let rate = self.first_rate();
        Site {
            id,
            name: id.to_string(),
            clock: Clock::new(&mut self.random, rate),
            disk: FaultyDisk::new(self.random.bits()),
            start: 0,
            process: None,
            paused_until: 0,
            deferred: Vec::new(),
            timer_at: u64::MAX,
            timers_after: 0,
            is_starting: false,
            lost: None,
            is_unreliable,
            sync: self.weather.sync,
            stalled_until: 0,
            trust: Trust { syncs_since_damage: u64::MAX / 2, ..Trust::default() },
            incarnation: self.new_incarnation(),
            is_replaced: false,
            forgets: None,
            frozen_at: None,
        }
    }

    /// Runs both phases, and judges what clients saw.
    ///
    /// # Errors
    /// The first property that did not hold.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        let storm = self.weather.storm;
        self.run_until(storm, |_| false)?;
        self.heal()?;
        self.judge_history()
    }

    /// Lets events happen until `end`, in nanoseconds of virtual time, or until `done`.
    fn run_until(
        &mut self,
        end: u64,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<(), Violation> {
        while !done(self) {
            let Some((at, event)) = self.queue.pop() else { break };
            if at > end {
                self.queue.push(at, event);
                self.time = end;
                break;
            }
            self.time = at;
            self.counters.events += 1;
            assert!(self.counters.events < EVENTS_MAX, "endless work at {at} ns");
            self.handle(event);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        if let Some((index, start)) = self.addressee(&event) {
            let site = &self.sites[index];
            if start.is_some_and(|start| start != site.start) {
                return;
            }
            if site.paused_until > self.time {
                self.sites[index].deferred.push(event);
                return;
            }
        }
        self.trace.mix(self.time);
        match event {
            Event::Frame { link, epoch, frame } => self.frame(link, epoch, &frame),
            Event::Dial { link, start } => self.dial(link, start),
            Event::Broken { link, epoch, start } => self.broken(link, epoch, start),
            Event::Unacknowledged { link, epoch } => self.unacknowledged(link, epoch),
            Event::Timer { node } => self.timer(node),
            Event::Work { node, .. } => self.work(node),
            Event::LogDone { node, .. } => self.log_done(node),
            Event::JobDone { node, .. } => self.job_done(node),
            Event::Tick { node, .. } => self.tick(node),
            Event::Turn { node, .. } => self.turn(node),
            Event::Start { node } => self.start(node),
            Event::Client { client, serial } => self.client(client, serial),
            Event::ToNode { client, connection, bytes } => {
                self.reach_node(client, connection, bytes);
            }
            Event::ToClient { client, connection, bytes } => {
                self.reach_client(client, connection, &bytes);
            }
            Event::ClientClosed { client, connection } => self.client_closed(client, connection),
            Event::NodeClosed { client, connection } => self.node_closed(client, connection),
            Event::Fault => self.fault(),
            Event::Operate => self.operate(),
            Event::Mend(mend) => self.mend(mend),
        }
    }

    /// The node that an event happens on, and the start of the process that it is for. Nothing
    /// happens on a paused node.
    fn addressee(&self, event: &Event) -> Option<(NodeIndex, Option<u32>)> {
        match event {
            Event::Frame { link, .. } => Some((self.network.ends(*link).1, None)),
            Event::Timer { node } => Some((*node, None)),
            Event::Work { node, start }
            | Event::LogDone { node, start }
            | Event::JobDone { node, start }
            | Event::Tick { node, start }
            | Event::Turn { node, start } => Some((*node, Some(*start))),
            Event::ToNode { client, connection, .. } | Event::NodeClosed { client, connection } => {
                Some((self.connected_site(*client, *connection)?, None))
            }
            Event::Broken { link, start, .. } => Some((self.network.ends(*link).0, Some(*start))),
            Event::Dial { .. }
            | Event::Unacknowledged { .. }
            | Event::Start { .. }
            | Event::Client { .. }
            | Event::ToClient { .. }
            | Event::ClientClosed { .. }
            | Event::Fault
            | Event::Operate
            | Event::Mend(_) => None,
        }
    }

    /// The position of a node among the sites.
    fn index_of(node: NodeId) -> NodeIndex {
        usize::from(node.number()) - 1
    }

    /// Takes note of a property that does not hold; the run ends.
    fn violate(&mut self, property: &'static str, nodes: &[NodeId], sentence: String) {
        self.note(Err(Violation::safety(property, nodes, sentence)));
    }

    fn note(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.violation.get_or_insert(violation);
        }
    }

    /// Hash of everything that happened.
    pub(crate) const fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Virtual time in nanoseconds.
    pub(crate) const fn time(&self) -> u64 {
        self.time
    }

    /// What happened how often.
    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The options drawn, the newest lines of the log if it was kept, and the state of each node.
    pub(crate) fn describe(self) -> (String, Vec<String>, Vec<String>) {
        let states = self.sites.iter().map(|site| self.describe_site(site)).collect();
        (self.weather.to_string(), self.trace.into_lines(), states)
    }

    /// One past the newest slot that any node has decided.
    fn decided(&self) -> Slot {
        self.checks.agreement.end()
    }
}
