//! The core of a node: role tasks on one thread, and what they need around them.
//!
//! ```text
//!  I/O workers --asks--> gateway --> replica --> leader --> commander --P2a--> peers
//!       ^                               |  ^                    |
//!       +--answers-- host <--apply------+  +---- acceptor <-----+
//!                                                   | persist
//!                                               WAL thread
//! ```

mod disk;
mod joining;
mod mailbox;
mod recovery;
mod roles;
mod router;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;
use warlock_node::front::Identity;
use warlock_node::front::limits::Limits;
use warlock_node::seam::Ask;
use warlock_node::{
    Effect, Fatal, Host, HostOptions, LogUse, Machine, Overview, PeerFacts, Recovery, RoleStates,
    Shared, TICK,
};
use warlock_paxos::{
    Acceptor, Ballot, Incarnation, Instant, Leader, Membership, Message, NodeId, Replica, Slot,
    Span, Timing, View,
};
use warlock_wal::FsDisk;

use crate::clock;
use crate::front::{self, FrontHandle, FrontOptions};
use crate::http::{self, HttpServer};
use crate::metrics::{Metrics, SharedMetrics};
use crate::peer::{self, LocalIdentity, PeerEvent, Streams, Transport};
use crate::service::{Manager, Reporter, StartWatch};
use crate::settings::Settings;
use crate::shutdown::Shutdown;

use disk::DiskEvent;
use joining::{Found, Newcomer};
use router::{LeaderItem, Outlets, ReplicaItem, Router};

/// Version of `warlockd`.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a stopping node waits for its hand-over.
const STOP_PATIENCE: Duration = Duration::from_millis(1000);

/// How long a stopping node lets replies go out.
const REPLY_PATIENCE: Span = Span::from_millis(100);

/// Why a node cannot run, or had to end.
#[derive(Debug)]
pub enum RunError {
    /// A port cannot be opened.
    Listen {
        /// Which setting names it.
        setting: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The data directory cannot be used, or its content contradicts the settings.
    Data {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The system refuses threads or other means.
    System(io::Error),
    /// Writing or syncing the log failed (P8).
    Disk(String),
    /// The state of this node differs from the master's.
    Diverged(String),
    /// The node was removed from its cluster.
    Removed(String),
    /// No cluster takes the node.
    Join(String),
    /// Not a failure: the node is to be started again without its state below this slot.
    Reset(Slot),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen { setting, address, error } => write!(
                f,
                "cannot listen on {setting} = {address}: {error}; choose a free address of this \
                 host"
            ),
            Self::Data { path, reason } => {
                write!(f, "cannot use data_dir = {}: {reason}", path.display())
            }
            Self::System(error) => write!(f, "the system refused what the node needs: {error}"),
            Self::Disk(error) => write!(
                f,
                "the log cannot be written: {error}; the node stops so that it confirms nothing \
                 that is not durable. Make the disk work and start it again"
            ),
            Self::Diverged(slot) => write!(
                f,
                "the state of this node differs from the master's before {slot}; it stops so that \
                 it serves nothing wrong. Keep the data directory for diagnosis"
            ),
            Self::Removed(reason) => f.write_str(reason),
            Self::Reset(_) => f.write_str("the node starts again without its state"),
            Self::Join(reason) => write!(f, "cannot join the cluster: {reason}"),
        }
    }
}

impl std::error::Error for RunError {}

/// How a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what its data directory holds.
    Kept,
    /// Without its state below this slot, which its peers tell it; what it promised stays.
    Forgotten(Slot),
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// [`RunError`] says why the node could not start, or had to end.
pub fn run(
    settings: Settings,
    settings_file: Option<PathBuf>,
    start: Start,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    let manager = Manager::of_this_process();
    let node = run_node(settings, settings_file, start, &manager);
    LocalSet::new().block_on(&runtime, node).inspect_err(|error| manager.tell_failure(error))
}

async fn run_node(
    settings: Settings,
    settings_file: Option<PathBuf>,
    start: Start,
    manager: &Manager,
) -> Result<(), RunError> {
    let shutdown = Shutdown::install().map_err(RunError::System)?;
    let listeners = Listeners::bind(&settings).await?;
    let recovery = recovery::run(&settings, start, manager)?;
    let mut node = Running::start(&settings, settings_file, listeners, recovery, manager)?;
    let node_removed = node.removed.take();
    let fatal = tokio::select! {
        () = shutdown.requested() => None,
        fatal = node.fatals.recv() => fatal,
    };
    node.stop(matches!(fatal, None | Some(Fatal::Reset(_)))).await;
    match fatal {
        Some(Fatal::Reset(below)) => Err(RunError::Reset(below)),
        None => Ok(()),
        Some(Fatal::Retired) => node_removed.map_or(Ok(()), |why| Err(RunError::Removed(why))),
        Some(Fatal::Diverged(slot)) => Err(RunError::Diverged(slot.to_string())),
        Some(Fatal::Disk(error)) => Err(RunError::Disk(error)),
        Some(Fatal::NotAdmitted(reason)) => Err(RunError::Join(reason)),
    }
}

/// A node whose tasks and threads run.
struct Running {
    manager: Manager,
    shared: Arc<Shared>,
    router: Rc<Router>,
    front: FrontHandle,
    http: HttpServer,
    fatals: UnboundedReceiver<Fatal>,
    hand_overs: UnboundedReceiver<()>,
    /// Why the node takes part in nothing, if it was removed before it started.
    removed: Option<String>,
    _watch: StartWatch,
}

impl Running {
    fn start(
        settings: &Settings,
        settings_file: Option<PathBuf>,
        listeners: Listeners,
        recovery: Recovery<FsDisk>,
        manager: &Manager,
    ) -> Result<Self, RunError> {
        let found = found(&recovery);
        let membership = joining::starting_membership(settings, &found)?;
        let removed = joining::removal(settings, &found, &membership);
        let shared = Arc::new(shared(&recovery, settings, &membership));
        let metrics: SharedMetrics = Arc::new(Metrics::new(other_members(settings)));
        let (asks, ask_queue) = unbounded_channel();
        let (peer_inbox, peer_events) = unbounded_channel();
        let (disk_inbox, disk_events) = unbounded_channel();
        let (fatal, fatals) = unbounded_channel();
        let (handed_over, hand_overs) = unbounded_channel();
        let (joins, join_queue) = unbounded_channel();
        let incarnation = recovery.incarnation;
        let Recovery { wal, snapshots, applier, roles, log_time, log_start, identity, .. } =
            recovery;
        let known = known_members(settings, &identity);
        let transport = Transport::start(
            listeners.peer,
            local_identity(settings, incarnation),
            &settings.cluster.initial_members,
            peer_inbox,
            recovery::incarnation_check(identity),
            &metrics,
            Streams::start().map_err(RunError::System)?,
        );
        let log = disk::start_log(wal, disk_inbox.clone(), Arc::clone(&metrics))
            .map_err(RunError::System)?;
        let snapshots = disk::start_snapshots(snapshots, disk_inbox, transport.chunks())
            .map_err(RunError::System)?;
        let identity = front_identity(settings, settings_file, incarnation);
        let options = front_options(settings, listeners.client, identity);
        let front = front::start(options, Arc::clone(&shared), asks).map_err(RunError::System)?;
        let http = http::start(listeners.http, Arc::clone(&shared), Arc::clone(&metrics))
            .map_err(RunError::System)?;
        let machine = Machine::new(applier, log_time, front.queues.len());
        let options = host_options(settings, &membership, log_start);
        let (applied, log_bytes) = (roles.leader.applied, roles.log_bytes());
        let host = Host::new(options, Arc::clone(&shared), machine, applied, log_bytes);
        let queues = front.queues.clone();
        let outlets = Outlets { queues, snapshots, fatal, handed_over, joins };
        let ballot = roles.leader.ballot;
        let addresses = settings.cluster.initial_members.clone();
        let router =
            Router::new(settings.node_id, transport, log, host, outlets, ballot, addresses);
        let router = Rc::new(router);
        known.into_iter().for_each(|known| router.leader.push(known));
        enter(&router, &shared, &membership, removed.as_deref());
        let _watch = recovery::watch_applying(manager, &shared).map_err(RunError::System)?;
        let reporter = Reporter::new(manager.clone(), Arc::clone(&shared));
        let mut newcomer = Newcomer::new(settings, incarnation);
        newcomer.begin(settings, &membership, &router);
        spawn_roles(&router, settings, membership, roles, log_start, reporter);
        tokio::task::spawn_local(newcomer.run(Rc::clone(&router), join_queue));
        tokio::task::spawn_local(run_gateway(Rc::clone(&router), ask_queue));
        tokio::task::spawn_local(run_peers(Rc::clone(&router), peer_events));
        tokio::task::spawn_local(run_disk(Rc::clone(&router), disk_events));
        tokio::task::spawn_local(run_ticks(Rc::clone(&router), metrics, manager.listens()));
        tracing::info!(version = VERSION, clients = %front.local_addr(), "started");
        let manager = manager.clone();
        Ok(Self { manager, shared, router, front, http, fatals, hand_overs, removed, _watch })
    }

    /// Ends the node; if `orderly`, its mastership is handed over and replies go out first.
    async fn stop(self, orderly: bool) {
        let Self { manager, shared, router, front, http, mut hand_overs, .. } = self;
        // Answers to earlier transfers say nothing about the one that follows.
        while hand_overs.try_recv().is_ok() {}
        manager.tell_stopping();
        shared.stopping.store(true, Ordering::Release);
        if orderly {
            tracing::info!("stopping: handing over");
            router.leader.push(LeaderItem::Leave(None));
            let _ = tokio::time::timeout(STOP_PATIENCE, hand_overs.recv()).await;
            let _ = tokio::time::timeout(STOP_PATIENCE, router.transport.flush()).await;
            let _ = tokio::time::timeout(STOP_PATIENCE, succession(&router)).await;
        }
        shared.lease.publish(None);
        // Role tasks still run meanwhile, so that commands already taken get their replies.
        let stopped = tokio::task::spawn_blocking(move || front.stop(REPLY_PATIENCE)).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "the front end did not stop");
        }
        router.close();
        drop(http);
        tracing::info!("stopped");
    }
}

/// Returns when another node leads. Until then this node's vote may be needed: of three nodes the
/// third may just have been started, and be silent (L2).
async fn succession(router: &Router) {
    while !router.with_host(|host, _, _| host.is_succeeded()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ports are opened before anything else, so that a wrong address changes nothing on disk.
struct Listeners {
    client: TcpListener,
    peer: tokio::net::TcpListener,
    http: TcpListener,
}

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, RunError> {
        let refuse = |setting, address: std::net::SocketAddr| {
            move |error| RunError::Listen { setting, address: address.to_string(), error }
        };
        let client = TcpListener::bind(settings.client.listen)
            .map_err(refuse("client.listen", settings.client.listen))?;
        let peer = peer::listen(settings.peer.listen)
            .await
            .map_err(refuse("peer.listen", settings.peer.listen))?;
        let http = TcpListener::bind(settings.http.listen)
            .map_err(refuse("http.listen", settings.http.listen))?;
        Ok(Self { client, peer, http })
    }
}

fn found(recovery: &Recovery<FsDisk>) -> Found {
    Found {
        membership: recovery.membership.clone(),
        incarnation: recovery.incarnation,
        used: recovery.recorded > Slot::FIRST || recovery.roles.leader.ballot > Ballot::ZERO,
    }
}

/// Connects with the members, or, as a node that was `removed`, only until they know that it is.
fn enter(router: &Router, shared: &Shared, membership: &Membership, removed: Option<&str>) {
    if let Some(why) = removed {
        tracing::warn!("{why}");
        shared.stopping.store(true, Ordering::Release);
        router.retire(membership.clone());
    } else if !membership.members().is_empty() && membership.view() > View::new(1) {
        router.carry_out_effect(Effect::Members(membership.clone()));
    }
}

/// Address and data directory of each member that the settings name, as far as this node met it.
fn known_members(settings: &Settings, identity: &warlock_wal::Identity<FsDisk>) -> Vec<LeaderItem> {
    let own = (settings.node_id, identity.incarnation());
    let incarnation = |node| if node == own.0 { Some(own.1) } else { identity.peer(node) };
    let members = settings.cluster.initial_members.iter();
    members
        .map(|(&node, address)| LeaderItem::Known(node, address.clone(), incarnation(node)))
        .collect()
}

fn shared(recovery: &Recovery<FsDisk>, settings: &Settings, membership: &Membership) -> Shared {
    let status = overview(settings, membership).status(clock::now(), recovery.roles.leader.applied);
    Shared::new(recovery.reader.clone(), status)
}

fn host_options(settings: &Settings, membership: &Membership, log_start: Slot) -> HostOptions {
    let timeout = u64::try_from(settings.client.request_timeout.as_nanos());
    HostOptions {
        node: settings.node_id,
        request_timeout: Span::from_nanos(timeout.unwrap_or(u64::MAX)),
        snapshot_after_bytes: settings.wal.snapshot_after_bytes,
        log_start,
        overview: overview(settings, membership),
    }
}

fn timing(settings: &Settings) -> Timing {
    let consensus = settings.consensus;
    Timing::new(consensus.lease, consensus.heartbeat, consensus.clock_error_per_mille)
        .expect("settings were checked for the same relations")
}

fn overview(settings: &Settings, membership: &Membership) -> Overview {
    let own =
        PeerFacts { version: VERSION.to_owned(), client_addr: settings.client.advertise.clone() };
    Overview::new(
        settings.node_id,
        settings.cluster.name.clone(),
        membership,
        settings.cluster.initial_members.clone(),
        own,
        timing(settings).patience(),
    )
}

fn other_members(settings: &Settings) -> impl Iterator<Item = NodeId> {
    let members = settings.cluster.initial_members.keys().copied();
    members.filter(|node| *node != settings.node_id)
}

pub(super) fn local_identity(settings: &Settings, incarnation: Incarnation) -> LocalIdentity {
    LocalIdentity {
        cluster: settings.cluster.name.clone(),
        node: settings.node_id,
        incarnation,
        lease: settings.consensus.lease,
        clock_error_per_mille: settings.consensus.clock_error_per_mille,
        version: VERSION.to_owned(),
        client_address: settings.client.advertise.clone(),
        protocol_max: settings.peer.protocol_max,
    }
}

fn front_identity(
    settings: &Settings,
    settings_file: Option<PathBuf>,
    incarnation: Incarnation,
) -> Identity {
    let started = clock::now();
    Identity {
        cluster: settings.cluster.name.clone(),
        node: settings.node_id.number(),
        version: VERSION.to_owned(),
        data_dir: settings.data_dir.clone(),
        settings_file,
        run_id: format!("{incarnation}{:08x}", started.nanos() & 0xffff_ffff),
        started,
    }
}

fn front_options(settings: &Settings, listener: TcpListener, identity: Identity) -> FrontOptions {
    let (workers, limits) = (settings.client.workers, front_limits(settings));
    FrontOptions { listeners: vec![listener], workers, limits, identity }
}

fn front_limits(settings: &Settings) -> Limits {
    let client = &settings.client;
    let mut limits = Limits::DEFAULT;
    limits.connections = client.connections_max;
    limits.pipeline_depth = client.pipeline_max;
    limits.staleness = settings.consensus.lease;
    limits.output_hard = client.output_bytes_max;
    limits.output_soft = limits.output_soft.min(client.output_bytes_max);
    limits.request.request_length = client.request_bytes_max;
    limits.request.argument_length = limits.request.argument_length.min(client.request_bytes_max);
    limits
}

fn spawn_roles(
    router: &Rc<Router>,
    settings: &Settings,
    membership: Membership,
    states: RoleStates,
    log_start: Slot,
    reporter: Reporter,
) {
    let (node, timing) = (settings.node_id, timing(settings));
    let now: Instant = clock::now();
    let acceptor = Acceptor::new(node, membership.clone(), timing, states.acceptor, now);
    let leader = Leader::new(node, membership, timing, states.leader, now);
    let mut replica = Replica::new(node, timing, states.replica);
    replica.note_log_start(log_start);
    tokio::task::spawn_local(roles::run_replica(replica, Rc::clone(router), reporter));
    tokio::task::spawn_local(roles::run_acceptor(acceptor, Rc::clone(router)));
    tokio::task::spawn_local(roles::run_leader(leader, Rc::clone(router)));
}

/// Takes what workers ask.
async fn run_gateway(router: Rc<Router>, mut asks: UnboundedReceiver<Ask>) {
    while let Some(ask) = asks.recv().await {
        router.with_host(|host, now, out| host.handle_ask(now, ask, out));
    }
}

/// Takes what happens on the connections with other nodes.
async fn run_peers(router: Rc<Router>, mut events: UnboundedReceiver<PeerEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            PeerEvent::Messages { from, messages } => {
                for message in messages {
                    if let Message::Heartbeat(heartbeat) = &message {
                        router.note_view(from, heartbeat.view);
                        router.with_host(|host, now, _| host.note_heartbeat(now, from, heartbeat));
                    }
                    if let Message::InForce(told) = &message {
                        router.note_view(from, told.charter.view);
                    }
                    router.receive(from, message);
                }
            }
            PeerEvent::Join { wish, reply } => router.ask_to_join(wish, reply),
            PeerEvent::Up { node, version, protocol, client_addr, incarnation, address } => {
                router.leader.push(LeaderItem::Known(node, address, Some(incarnation)));
                router.leader.push(LeaderItem::PeerUp(node, protocol));
                let facts = PeerFacts { version, client_addr };
                router.with_host(|host, now, _| host.note_peer(now, node, Some(facts)));
            }
            PeerEvent::Down { node } => {
                router.with_host(|host, now, _| host.note_peer(now, node, None));
                router.leader.push(LeaderItem::PeerDown(node));
                router.replica.push(ReplicaItem::PeerDown(node));
            }
        }
    }
}

/// Takes what the disk threads have done.
async fn run_disk(router: Rc<Router>, mut events: UnboundedReceiver<DiskEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            DiskEvent::Synced(records) => router.synced(records),
            DiskEvent::Failed(error) => {
                tracing::error!(%error, "the log cannot be written: this node stops");
                router.fail(Fatal::Disk(error));
            }
            DiskEvent::Snapshot(event) => {
                router.with_host(|host, now, out| host.handle_snapshot_event(now, event, out));
            }
            DiskEvent::Sent(to, chunk) => {
                router.with_host(|host, _, _| host.note_sent(to, &chunk));
            }
        }
    }
}

/// Lets the host do what is due from time to time, and then the reporter if anybody listens.
async fn run_ticks(router: Rc<Router>, metrics: SharedMetrics, reports: bool) {
    let mut interval = tokio::time::interval(Duration::from_nanos(TICK.nanos()));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let held = u64::try_from(metrics.wal_bytes.get()).unwrap_or(0);
        let (log, ballot) =
            (LogUse { written: metrics.wal_written_bytes.get(), held }, router.ballot());
        router.with_host(|host, now, out| host.handle_tick(now, log, ballot, out));
        router.transport.part();
        if reports {
            router.replica.push(ReplicaItem::Turn);
        }
    }
}
