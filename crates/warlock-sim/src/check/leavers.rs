//! The lease of a master that is not part of the next view is over before that view (M5), and no
//! view cuts short what an acceptor granted (L1).

use warlock_paxos::{Ballot, Membership, NodeId};

use super::Violation;

const PROPERTY: &str = "leases and views";

/// `master`, which may serve, proposes `next`.
///
/// # Errors
/// When it is not part of it.
pub fn leaver_is_silent(next: &Membership, master: NodeId) -> Result<(), Violation> {
    if next.is_elector(master) {
        return Ok(());
    }
    let sentence = format!("{master} may serve reads and proposes {next}, of which it is no part");
    Err(Violation::safety(PROPERTY, &[master], sentence))
}

/// `node` says that it promised `promised`, while it still grants its lease to `granted`.
///
/// # Errors
/// When that is an earlier ballot of another node, so that the promise broke the grant.
pub fn grants_outlast_views(
    node: NodeId,
    promised: Ballot,
    granted: Option<Ballot>,
) -> Result<(), Violation> {
    match granted {
        Some(granted) if granted < promised && granted.node != promised.node => {
            let sentence = format!("{node} promises {promised} while its lease for {granted} runs");
            Err(Violation::safety(PROPERTY, &[node, granted.node], sentence))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use warlock_paxos::{Change, View};

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn ballot(view: u64, node: NodeId) -> Ballot {
        Ballot { view: View::new(view), round: 3, node }
    }

    #[test]
    fn who_goes_may_serve_until_the_transition_ends() {
        let three = Membership::new(View::new(1), (1..=3).map(NodeId::new));
        let going = three.changed(&Change::Remove { node: N1 }).unwrap();
        leaver_is_silent(&going, N1).unwrap();
        leaver_is_silent(&going.stabilised(), N2).unwrap();
        let found = leaver_is_silent(&going.stabilised(), N1).unwrap_err();
        assert_eq!(
            found.to_string(),
            "leases and views: n1 may serve reads and proposes v3[n2 n3], of which it is no part"
        );
    }

    #[test]
    fn a_promise_beside_a_grant_is_found() {
        grants_outlast_views(N2, ballot(2, N1), Some(ballot(1, N1))).expect("its own ballot");
        grants_outlast_views(N2, ballot(1, N2), Some(ballot(2, N1))).expect("granted afterwards");
        grants_outlast_views(N2, ballot(2, N2), None).expect("nothing is granted");
        let found = grants_outlast_views(N2, ballot(2, N2), Some(ballot(1, N1))).unwrap_err();
        assert_eq!(found.nodes, [N1, N2]);
    }
}
