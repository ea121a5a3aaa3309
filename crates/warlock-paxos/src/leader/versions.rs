//! What versions of the messages the members speak: the membership changes only while all of them
//! know such changes.

use alloc::vec::Vec;

use super::{Leader, Phase};
use crate::change::Refusal;
use crate::codec::CHANGES_VERSION;
use crate::ids::NodeId;
use crate::membership::Membership;
use crate::output::{Output, Reason};
use crate::time::Instant;

impl Leader {
    /// Takes note of the version of the messages that this node and `node` agreed on, when their
    /// connection is made.
    pub fn note_version(&mut self, node: NodeId, version: u8) {
        self.versions.insert(node, version);
        self.heard_old |= version < CHANGES_VERSION;
    }

    /// A node that is not there says nothing, and comes back with a version of its choice.
    pub(super) fn forget_version(&mut self, node: NodeId) {
        self.versions.remove(&node);
    }

    /// From here on it counts who may answer to the ballot that is going to be asked for.
    pub(super) fn begin_hearing(&mut self) {
        self.heard_old = self.versions.values().any(|version| *version < CHANGES_VERSION);
    }

    /// Whether every node that would take part in the change knows what that is.
    pub(super) fn knows_changes(&self, next: &Membership) -> Result<(), Refusal> {
        let takes_part = |node: NodeId| self.membership.is_member(node) || next.is_member(node);
        let old = self
            .versions
            .iter()
            .find(|&(&node, &version)| takes_part(node) && version < CHANGES_VERSION);
        match old {
            Some((&node, &version)) => Err(Refusal::OldVersion { node, version }),
            // What a node of an older version said to be held does not mean what M3 needs.
            None if self.heard_old => Err(Refusal::NotSettled),
            None => Ok(()),
        }
    }

    /// Goes on with a higher ballot if nodes of an older version spoke under the present one, and
    /// are gone or upgraded: what they said does not count under it.
    pub(super) fn settle_after_upgrade(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::Leading(lead) = &self.phase else {
            return;
        };
        let free = lead.leaving.is_none() && lead.changing.is_none() && lead.lease.is_held(now);
        let old = self.versions.values().any(|version| *version < CHANGES_VERSION);
        if free && self.heard_old && !old && self.applied >= lead.barrier && self.may_stand() {
            self.step_down(now, Reason::Upgraded, out);
            self.scout(now, out);
        }
    }
}
