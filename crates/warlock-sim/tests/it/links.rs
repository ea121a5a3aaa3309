//! Every shape in which the links of small clusters can be cut, from every master that they may
//! have had: a master serves soon if and only if some node is quorum-connected, and then stays.

use warlock_paxos::Span;
use warlock_sim::links::{Links, Mesh, election_timeout};

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
