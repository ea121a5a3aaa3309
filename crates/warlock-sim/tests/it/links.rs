//! Every shape in which the links of small clusters can be cut, from every master that they may
//! have had: a master serves soon if and only if some node is quorum-connected, and then stays.

use warlock_paxos::Span;
use warlock_sim::links::{Links, Mesh, Reply, election_timeout};

/// Election timeouts within which a master must serve.
const SOON: u64 = 4;
/// Election timeouts for which nothing may change afterwards.
const STABLE: u64 = 4;
/// Times that another node may become master after the links were cut.
const CHANGES_MAX: usize = 2;

fn election_timeouts(number: u64) -> Span {
    Span::from_nanos(election_timeout().nanos() * number)
}

/// A cluster with all links whose master is `first`, or a new one if that is zero, whose links are
/// then cut.
fn cut(links: &Links, first: u16, seed: u64) -> Mesh {
    if first == 0 {
        return Mesh::new(links.clone(), seed);
    }
    let nodes = links.nodes().max().expect("a cluster has nodes");
    let mut mesh = Mesh::new(Links::all(nodes), seed);
    mesh.elect(first);
    assert_eq!(mesh.master(), Some(first), "nothing hinders the first election");
    mesh.cut(links.clone());
    mesh
}

/// What is wrong with how a cluster takes to these links.
fn judge(links: &Links, first: u16, seed: u64) -> Result<(), String> {
    let connected = links.nodes().any(|node| links.is_quorum_connected(node));
    let mut mesh = cut(links, first, seed);
    mesh.run(election_timeouts(SOON));
    let reigns = mesh.reigns().len();
    let soon = mesh.master();
    mesh.run(election_timeouts(STABLE));
    let later = mesh.master();
    let mut masters: Vec<u16> =
        mesh.reigns().iter().map(|(_, ballot)| ballot.node.number()).collect();
    masters.insert(0, first);
    let changes = masters.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let good = soon.is_some() == connected
        && soon == later
        && reigns == mesh.reigns().len()
        && changes <= CHANGES_MAX
        && later.is_none_or(|master| links.is_quorum_connected(master));
    if good {
        return Ok(());
    }
    Err(format!(
        "{links} after n{first}, seed {seed}: soon {soon:?}, later {later:?}, {changes} changes, \
         masters since the cut {:?}",
        mesh.reigns()
    ))
}

fn judge_all(graphs: impl Iterator<Item = Links>, first: u16, expected: usize) {
    let mut judged = 0;
    for (number, links) in graphs.enumerate() {
        if let Err(text) = judge(&links, first, number as u64) {
            panic!("{text}");
        }
        judged += 1;
    }
    assert_eq!(judged, expected);
}

#[test]
fn directed_graphs_of_three_nodes_have_a_master_iff_one_can_be() {
    for first in 0..=3 {
        judge_all((0..64).map(|number| Links::directed(3, number)), first, 64);
    }
}

/// One test for each former master, so that they run at the same time.
macro_rules! undirected_graphs_of_five_nodes {
    ($($name:ident: $first:expr,)*) => {$(
        #[test]
        fn $name() {
            judge_all((0..1024).map(|number| Links::undirected(5, number)), $first, 1024);
        }
    )*};
}

undirected_graphs_of_five_nodes! {
    undirected_graphs_of_five_new_nodes_have_a_master_iff_one_can_be: 0,
    undirected_graphs_of_five_nodes_have_a_master_iff_one_can_be_after_n1: 1,
    undirected_graphs_of_five_nodes_have_a_master_iff_one_can_be_after_n2: 2,
    undirected_graphs_of_five_nodes_have_a_master_iff_one_can_be_after_n3: 3,
    undirected_graphs_of_five_nodes_have_a_master_iff_one_can_be_after_n4: 4,
    undirected_graphs_of_five_nodes_have_a_master_iff_one_can_be_after_n5: 5,
}

#[test]
fn graphs_are_numbered_by_their_links() {
    let none = Links::directed(3, 0);
    assert!(none.nodes().all(|node| !none.is_quorum_connected(node)));
    assert_eq!(Links::directed(3, 63), Links::all(3));
    assert_eq!(Links::undirected(5, 1023), Links::all(5));
    let one_way = Links::directed(3, 1);
    assert!(one_way.carries(1, 2) && !one_way.carries(2, 1));
    assert!(!one_way.is_quorum_connected(1));
    let chain = Links::undirected(3, 0b011);
    assert!(chain.is_quorum_connected(1) && !chain.round_trip(2, 3));
}

/// How long a client waits for its reply.
const PATIENCE: Span = Span::from_millis(2000);
/// What a client that is served waits at most: to learn what is missing takes two heartbeats.
const SERVED_WITHIN: Span = Span::from_millis(500);

/// Clients of every node, after the cluster has taken to the links: who makes round trips with the
/// master is served soon, and nobody is told that the outcome is unknown.
fn judge_clients(links: &Links, first: u16) -> Result<(), String> {
    let mut mesh = cut(links, first, 1);
    mesh.run(election_timeouts(SOON));
    let Some(master) = mesh.master() else { return judge_refusals(links, first, &mut mesh) };
    let asked = mesh.time();
    let asks: Vec<(u16, [u64; 2])> = links
        .nodes()
        .map(|node| (node, [mesh.write(node, PATIENCE), mesh.read(node, PATIENCE)]))
        .collect();
    mesh.run(PATIENCE.plus(PATIENCE));
    for (node, tickets) in asks {
        let near = links.round_trip(node, master);
        for ticket in tickets {
            let Some((at, reply)) = mesh.reply(ticket) else {
                return Err(format!("{links}, master n{master}: no reply of n{node}"));
            };
            let waited = Span::from_nanos(at.nanos() - asked.nanos());
            let good = match reply {
                Reply::Done => waited <= SERVED_WITHIN || !near,
                Reply::Refused => !near,
                Reply::Unknown => false,
            };
            if !good {
                let waited = waited.millis();
                let text = format!("n{node} says {reply:?} after {waited} ms");
                return Err(format!("{links} after n{first}, master n{master}: {text}"));
            }
        }
    }
    Ok(())
}

/// Without a master every client is refused for certain.
fn judge_refusals(links: &Links, first: u16, mesh: &mut Mesh) -> Result<(), String> {
    let asks: Vec<u64> = links
        .nodes()
        .flat_map(|node| [mesh.write(node, PATIENCE), mesh.read(node, PATIENCE)])
        .collect();
    mesh.run(PATIENCE.plus(PATIENCE));
    let refused = asks
        .iter()
        .all(|&ticket| mesh.reply(ticket).is_some_and(|(_, reply)| reply == Reply::Refused));
    if refused { Ok(()) } else { Err(format!("{links} after n{first}: served without a master")) }
}

#[test]
fn clients_are_served_by_who_reaches_the_master_and_refused_by_all_others() {
    for first in 0..=3 {
        for number in 0..64 {
            if let Err(text) = judge_clients(&Links::directed(3, number), first) {
                panic!("{text}");
            }
        }
    }
}

#[test]
fn who_has_a_round_trip_to_nobody_sees_no_master() {
    for number in 0..64 {
        let links = Links::directed(3, number);
        let mut mesh = cut(&links, 1, 1);
        mesh.run(election_timeouts(SOON));
        for node in links.nodes() {
            let alone =
                links.nodes().filter(|&other| other != node).all(|o| !links.round_trip(node, o));
            let believed = mesh.believed_master(node);
            assert!(!alone || believed.is_none(), "{links}: n{node} believes in {believed:?}");
        }
    }
}
