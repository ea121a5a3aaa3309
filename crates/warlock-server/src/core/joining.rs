//! How a node that belongs to no cluster becomes a member of one.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use warlock_node::{Fatal, JoinReply, JoinWish};
use warlock_paxos::{Charter, InForce, Incarnation, Membership, Message, Seat, View};

use super::RunError;
use super::router::Router;
use crate::peer::{self, LocalIdentity};
use crate::settings::{ClusterStart, Settings};

/// Pause between two questions of a node that wants to join.
const PAUSE: Duration = Duration::from_millis(100);

/// What is known of the data directory before the node runs.
pub(super) struct Found {
    /// The newest membership on disk.
    pub(super) membership: Option<Membership>,
    pub(super) incarnation: Incarnation,
    /// It holds promises or slots.
    pub(super) used: bool,
}

/// The membership that the node starts with.
///
/// # Errors
/// If the directory belongs to a cluster and the settings speak of another one.
pub(super) fn starting_membership(
    settings: &Settings,
    found: &Found,
) -> Result<Membership, RunError> {
    let refuse = |reason: String| Err(RunError::Data { path: settings.data_dir.clone(), reason });
    let is_bootstrap = settings.cluster.start == ClusterStart::Bootstrap;
    match &found.membership {
        Some(membership) if is_bootstrap => refuse(format!(
            "it belongs to the cluster {:?} already, as of {membership}; start without --bootstrap",
            settings.cluster.name
        )),
        Some(membership) => Ok(membership.clone()),
        None if settings.cluster.start == ClusterStart::Members
            && !settings.cluster.initial_members.contains_key(&settings.node_id) =>
        {
            refuse(
                "it does not say yet who belongs to the cluster: give cluster.initial_members, \
                 with this node"
                    .to_owned(),
            )
        }
        None if settings.cluster.start == ClusterStart::Members => {
            Ok(Membership::new(View::new(1), settings.cluster.initial_members.keys().copied()))
        }
        None if found.used => refuse(
            "it was used by a cluster of cluster.initial_members; name those, or give this node an \
             empty directory"
                .to_owned(),
        ),
        None => Ok(Membership::unknown()),
    }
}

/// Why the node takes part in nothing, if it was removed from its cluster (M4, P7).
pub(super) fn removal(
    settings: &Settings,
    found: &Found,
    membership: &Membership,
) -> Option<String> {
    let node = settings.node_id;
    let removed = found.membership.is_some() && !membership.admits(node, found.incarnation);
    removed.then(|| {
        format!(
            "{node} was removed from the cluster {:?}: {membership} is in force, and this data \
             directory never takes part again. To come back, start with an empty directory, a \
             node_id above {}, and --join",
            settings.cluster.name,
            membership.highest().number(),
        )
    })
}

/// The membership of a cluster of this node alone.
fn alone(settings: &Settings, incarnation: Incarnation) -> Charter {
    let address = settings.peer.advertise.clone();
    let founder = Membership::founded(View::new(1), [(settings.node_id, address)]);
    founder.completed(|_| Some((String::new(), Some(incarnation)))).charter().clone()
}

/// A node that is to become a member, by its settings or because an operator says so.
pub(super) struct Newcomer {
    local: LocalIdentity,
    address: String,
    /// Takes the way by the settings, where a refusal ends the node.
    by_settings: Option<(String, bool)>,
}

impl Newcomer {
    pub(super) fn new(settings: &Settings, incarnation: Incarnation) -> Self {
        let local = super::local_identity(settings, incarnation);
        Self { local, address: settings.peer.advertise.clone(), by_settings: None }
    }

    /// Does what the settings say of a node that is not, or not quite, a member yet.
    pub(super) fn begin(
        &mut self,
        settings: &Settings,
        membership: &Membership,
        router: &Rc<Router>,
    ) {
        if !membership.members().is_empty() && !membership.is_member(self.local.node) {
            // It was removed, and stays only until the others know that.
            return;
        }
        match &settings.cluster.start {
            ClusterStart::Bootstrap if membership.members().is_empty() => {
                tracing::info!("starting a cluster of this node alone");
                let charter = alone(settings, self.local.incarnation);
                router.receive(self.local.node, Message::InForce(InForce { charter }));
            }
            ClusterStart::Join { address: Some(address), observer }
                if !is_settled(membership, &self.wish(*observer)) =>
            {
                self.by_settings = Some((address.clone(), *observer));
            }
            ClusterStart::Join { address: None, .. } if membership.members().is_empty() => {
                tracing::info!("this node belongs to no cluster yet: warlock-admin join HOST:PORT");
            }
            ClusterStart::Members | ClusterStart::Bootstrap | ClusterStart::Join { .. } => {}
        }
    }

    /// Joins by the settings, and then whenever an operator says so. Never returns while the node
    /// runs.
    pub(super) async fn run(
        mut self,
        router: Rc<Router>,
        mut operators: UnboundedReceiver<(String, bool)>,
    ) {
        if let Some((address, observer)) = self.by_settings.take()
            && let Err(reason) = join(&router, &self.local, &self.wish(observer), &address).await
        {
            return router.fail(Fatal::NotAdmitted(reason));
        }
        while let Some((address, observer)) = operators.recv().await {
            let joined = join(&router, &self.local, &self.wish(observer), &address).await;
            if let Err(reason) = joined {
                tracing::error!(member = %address, %reason, "cannot join the cluster");
            }
        }
    }

    fn wish(&self, observer: bool) -> JoinWish {
        let LocalIdentity { node, incarnation, .. } = self.local;
        JoinWish { node, incarnation, address: self.address.clone(), observer }
    }
}

/// Asks members until one says that this node is what it wants to be.
///
/// # Errors
/// The reason of a member, if asking again does not help.
async fn join(
    router: &Rc<Router>,
    local: &LocalIdentity,
    wish: &JoinWish,
    address: &str,
) -> Result<(), String> {
    let mut target = address.to_owned();
    let mut told = String::new();
    loop {
        let why = match peer::ask_to_join(&target, local, wish).await {
            Ok(JoinReply::Member(membership)) => {
                enter(router, wish, &membership);
                if is_settled(&membership, wish) {
                    tracing::info!(%membership, "joined the cluster");
                    return Ok(());
                }
                membership.to_string()
            }
            Ok(JoinReply::Elsewhere(master)) if !master.is_empty() && master != target => {
                target = master;
                continue;
            }
            Ok(JoinReply::Elsewhere(_)) => "the master is not known".to_owned(),
            Ok(JoinReply::Later(reason, membership)) => {
                membership.iter().for_each(|membership| enter(router, wish, membership));
                reason
            }
            Ok(JoinReply::Refused(reason)) => return Err(reason),
            Err(reason) => {
                address.clone_into(&mut target);
                reason
            }
        };
        if why != told {
            tracing::info!(member = %target, reason = %why, "waiting to join the cluster");
            told = why;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells the roles the membership that a member told this node.
fn enter(router: &Rc<Router>, wish: &JoinWish, membership: &Membership) {
    if membership.is_member(wish.node) {
        let charter = membership.charter().clone();
        router.receive(wish.node, Message::InForce(InForce { charter }));
    }
}

/// Whether the node is what it wants to be.
fn is_settled(membership: &Membership, wish: &JoinWish) -> bool {
    let seat = membership.member(wish.node).map(|member| member.seat);
    match wish.observer {
        true => seat.is_some(),
        false => seat == Some(Seat::Voter) && !membership.is_transitional(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Layers;
    use warlock_paxos::{Change, NodeId};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let mut layers = Layers::default();
        layers.flags.push(("node_id".into(), "1".into()));
        layers.flags.extend(flags.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        layers.settings().unwrap()
    }

    fn found(membership: Option<Membership>, used: bool) -> Found {
        Found { membership, incarnation: Incarnation::new(7), used }
    }

    fn refusal(flags: &[(&str, &str)], found: &Found) -> String {
        starting_membership(&settings(flags), found).unwrap_err().to_string()
    }

    const MEMBERS: &[(&str, &str)] = &[("cluster.initial_members", "1=a:1,2=b:1,3=c:1")];
    const BOOTSTRAP: &[(&str, &str)] = &[("cluster.start", "bootstrap")];
    const JOIN: &[(&str, &str)] = &[("cluster.start", "join"), ("cluster.join", "a:1")];

    #[test]
    fn a_directory_without_a_membership_is_asked_for_no_cluster() {
        let layers = Layers { flags: vec![("node_id".into(), "1".into())], ..Layers::default() };
        let settings = layers.settings_over(|_| true).unwrap();
        let refused = starting_membership(&settings, &found(None, true)).unwrap_err().to_string();
        assert!(refused.contains("give cluster.initial_members, with this node"), "{refused}");
    }

    #[test]
    fn a_new_directory_starts_what_the_settings_say() {
        let start = |flags| starting_membership(&settings(flags), &found(None, false)).unwrap();
        assert_eq!(start(MEMBERS).to_string(), "v1[n1 n2 n3]");
        assert_eq!(start(BOOTSTRAP), Membership::unknown());
        assert_eq!(start(JOIN), Membership::unknown());
        let alone = alone(&settings(BOOTSTRAP), Incarnation::new(7));
        let alone = Membership::from_charter(alone).unwrap();
        assert_eq!(alone.to_string(), "v1[n1]");
        assert!(!alone.admits(NodeId::new(1), Incarnation::new(8)), "P7");
    }

    #[test]
    fn a_directory_that_belongs_to_a_cluster_starts_no_other() {
        let four = Membership::new(View::new(4), [1, 2, 4].map(NodeId::new));
        let known = found(Some(four.clone()), true);
        for flags in [MEMBERS, JOIN] {
            assert_eq!(starting_membership(&settings(flags), &known).unwrap(), four);
        }
        let why = refusal(BOOTSTRAP, &known);
        assert!(why.contains("start without --bootstrap"), "{why}");
        for flags in [BOOTSTRAP, JOIN] {
            let why = refusal(flags, &found(None, true));
            assert!(why.contains("give this node an empty directory"), "{why}");
        }
    }

    #[test]
    fn a_removed_node_takes_part_in_nothing() {
        let others = Membership::new(View::new(4), [2, 3].map(NodeId::new));
        let found = found(Some(others.clone()), true);
        let why = removal(&settings(MEMBERS), &found, &others).unwrap();
        let four = Membership::new(View::new(4), [1, 2, 4].map(NodeId::new));
        assert_eq!(removal(&settings(MEMBERS), &found, &four), None);
        assert!(why.contains("n1 was removed") && why.contains("node_id above 3"), "{why}");
    }

    #[test]
    fn a_wish_is_settled_by_the_seat_it_asked_for() {
        let wish = |observer| JoinWish {
            node: NodeId::new(4),
            incarnation: Incarnation::new(4),
            address: "d:1".into(),
            observer,
        };
        let three = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let (node, incarnation) = (NodeId::new(4), Incarnation::new(4));
        let add = Change::AddObserver { node, address: "d:1".into(), incarnation };
        let observed = three.changed(&add).unwrap();
        assert!(is_settled(&observed, &wish(true)) && !is_settled(&observed, &wish(false)));
        let voting = observed.changed(&Change::Promote { node }).unwrap();
        assert!(!is_settled(&voting, &wish(false)), "it is not stable yet");
        assert!(is_settled(&voting.stabilised(), &wish(false)));
    }
}
