//! Who knows a view acts in no lower one, also after a restart; who is not part of it takes part in
//! nothing (M4).

use std::collections::BTreeMap;

use warlock_paxos::{NodeId, View};

use super::Violation;

const PROPERTY: &str = "no lower views";

/// What every node knows.
#[derive(Clone, Debug, Default)]
pub struct LowerViews {
    known: BTreeMap<NodeId, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    view: View,
    admitted: bool,
}

impl LowerViews {
    /// `node` knows that `view` is in force, on record, and whether it is part of it: it was told,
    /// or it starts with that.
    ///
    /// # Errors
    /// When it knew a higher one.
    pub fn observe_known(
        &mut self,
        node: NodeId,
        view: View,
        admitted: bool,
    ) -> Result<(), Violation> {
        if let Some(known) = self.known.get(&node).filter(|known| known.view > view) {
            let sentence = format!("{node} is in {view} after it was in {}", known.view);
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        self.known.insert(node, Known { view, admitted });
        Ok(())
    }

    /// `node` promises, accepts or grants in `view`.
    ///
    /// # Errors
    /// When it knows a higher one, or that it is not part of this one.
    pub fn observe_acts(
        &self,
        node: NodeId,
        view: View,
        what: &'static str,
    ) -> Result<(), Violation> {
        let Some(known) = self.known.get(&node) else { return Ok(()) };
        if view < known.view {
            let sentence = format!("{node} {what} in {view} though it is in {}", known.view);
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        if view == known.view && !known.admitted {
            let sentence = format!("{node} {what} in {view} though it is not part of it");
            return Err(Violation::safety(PROPERTY, &[node], sentence));
        }
        Ok(())
    }

    /// The view that `node` knows, on record.
    #[must_use]
    pub fn view_of(&self, node: NodeId) -> Option<View> {
        self.known.get(&node).map(|known| known.view)
    }

    /// The data directory of `node` is gone: what follows is another incarnation (P7).
    pub fn observe_wiped(&mut self, node: NodeId) {
        self.known.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn view(number: u64) -> View {
        View::new(number)
    }

    #[test]
    fn acting_in_the_newest_view_that_is_known_is_right() {
        let mut checker = LowerViews::default();
        checker.observe_acts(N1, view(1), "accepts").expect("nothing is known of it");
        checker.observe_known(N1, view(3), true).unwrap();
        checker.observe_known(N1, view(3), true).unwrap();
        checker.observe_acts(N1, view(3), "accepts").unwrap();
        checker.observe_acts(N1, view(4), "grants a lease").expect("it is about to be on record");
        checker.observe_acts(N2, view(1), "accepts").expect("every node counts for itself");
    }

    #[test]
    fn acting_in_a_view_that_is_over_is_found() {
        let mut checker = LowerViews::default();
        checker.observe_known(N1, view(3), true).unwrap();
        let found = checker.observe_acts(N1, view(2), "accepts").unwrap_err();
        assert_eq!(found.to_string(), "no lower views: n1 accepts in v2 though it is in v3");
    }

    #[test]
    fn a_removed_node_that_takes_part_is_found() {
        let mut checker = LowerViews::default();
        checker.observe_known(N1, view(3), false).unwrap();
        let found = checker.observe_acts(N1, view(3), "promises").unwrap_err();
        assert_eq!(
            found.to_string(),
            "no lower views: n1 promises in v3 though it is not part of it"
        );
    }

    #[test]
    fn a_view_forgotten_by_a_restart_is_found() {
        let mut checker = LowerViews::default();
        checker.observe_known(N1, view(3), true).unwrap();
        assert_eq!(checker.observe_known(N1, view(1), true).unwrap_err().nodes, [N1]);
        checker.observe_wiped(N1);
        checker.observe_known(N1, view(1), true).expect("another life");
    }
}
