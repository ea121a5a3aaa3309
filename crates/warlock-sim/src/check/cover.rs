//! For as long as a master may serve, a quorum refuses the ballots of others (L1, L2).
//!
//! [`LeaseExclusion`](super::LeaseExclusion) sees two masters that serve at once. This one sees
//! that nothing keeps a second one away, which is as wrong and comes about far more often. Spans
//! are judged as if every clock that counts for the master ran as slowly as it may, and every other
//! one as fast as it may: the margin must suffice for these, not only for the clocks of this run.

use warlock_paxos::NodeId;

use super::Violation;

const PROPERTY: &str = "lease cover";

/// How far readings of clocks may be rounded, in nanoseconds.
const ROUNDING: u64 = 1_000;

/// How long a node refuses the ballots of others than the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// For so many nanoseconds of its own clock; 0 if it would promise now.
    For(u64),
    /// For longer than any lease: it is down, and silent once it starts, or no peer hears it.
    ForLong,
}

/// `master` may serve for `span_ns` more nanoseconds of its own clock; `refusals` is what each
/// voter does, the master itself among them; clocks are wrong by `rho_per_mille` at most.
///
/// # Errors
/// When those that refuse for long enough are no majority.
pub fn lease_cover(
    master: NodeId,
    span_ns: u64,
    refusals: &[Refusal],
    rho_per_mille: u64,
) -> Result<(), Violation> {
    let longest = u128::from(span_ns) * 1000 / u128::from(1000 - rho_per_mille);
    let lasts = |refusal: &Refusal| match refusal {
        Refusal::For(span) => {
            let shortest = u128::from(*span) * 1000 / u128::from(1000 + rho_per_mille);
            shortest + u128::from(ROUNDING) >= longest
        }
        Refusal::ForLong => true,
    };
    let covering = refusals.iter().filter(|refusal| lasts(refusal)).count();
    if span_ns == 0 || covering > refusals.len() / 2 {
        return Ok(());
    }
    let sentence = format!(
        "{master} may serve reads for {} us, but only {covering} of {} nodes refuse others so long",
        span_ns / 1000,
        refusals.len()
    );
    Err(Violation::safety(PROPERTY, &[master], sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: NodeId = NodeId::new(1);
    const RHO: u64 = 50;
    /// A lease as the master trusts it, and as it is granted, in nanoseconds.
    const TRUSTED: u64 = 475_000_000;
    const GRANTED: u64 = 525_000_000;

    fn cover(span: u64, refusals: &[Refusal]) -> Result<(), Violation> {
        lease_cover(MASTER, span, refusals, RHO)
    }

    #[test]
    fn a_majority_of_grants_covers_a_lease() {
        let (held, none) = (Refusal::For(GRANTED), Refusal::For(0));
        assert_eq!(cover(TRUSTED, &[held, held, none]), Ok(()));
        assert_eq!(cover(TRUSTED, &[held, none, none, held, held]), Ok(()));
        assert_eq!(cover(TRUSTED, &[held]), Ok(()));
        assert!(cover(TRUSTED, &[held, none, none]).is_err());
        assert!(cover(TRUSTED, &[held, none]).is_err());
        assert!(cover(TRUSTED, &[held, none, none, held]).is_err());
    }

    #[test]
    fn who_is_down_promises_nothing() {
        let held = Refusal::For(GRANTED);
        assert_eq!(cover(TRUSTED, &[held, Refusal::ForLong, Refusal::For(0)]), Ok(()));
    }

    #[test]
    fn a_grant_without_the_margin_for_wrong_clocks_covers_nothing() {
        let short = Refusal::For(GRANTED - 100_000);
        let found = cover(TRUSTED, &[short, short, short]).unwrap_err();
        assert_eq!(
            found.to_string(),
            "lease cover: n1 may serve reads for 475000 us, \
             but only 0 of 3 nodes refuse others so long"
        );
        assert!(cover(TRUSTED + 100_000, &[Refusal::For(GRANTED); 3]).is_err());
    }

    #[test]
    fn a_lease_that_is_over_needs_no_cover() {
        assert_eq!(cover(0, &[Refusal::For(0); 3]), Ok(()));
    }
}
