//! Has all checkers of histories judge what clients saw.

use crate::check::{Budget, Rules, TtlBound, Violation, judge_history};
use crate::history::History;

/// At most so many choices for each group of keys. A run has a few thousand operations at most.
const TRIES_MAX: u64 = 3_000_000;

/// How much the log clock may slew, in parts of a million.
const SLEW_PPM: u64 = 500;

/// Judges a history; the plainest property that does not hold is told.
///
/// `time_losses` are the spans of true time, in nanoseconds, in which the log time may have been
/// set anew. `rho_per_mille` bounds the rate error of every clock.
///
/// # Errors
/// The property.
pub(crate) fn judge(
    history: &History,
    time_losses: &[(u64, u64)],
    rho_per_mille: u64,
) -> Result<(), Violation> {
    let rho_ppm = rho_per_mille * 1000;
    // Both errors multiply, and no division may round the bound up.
    let rate_error_ppm = rho_ppm + SLEW_PPM + rho_ppm * SLEW_PPM / 1_000_000 + 1;
    let rules = Rules {
        ttl: TtlBound { rate_error_ppm, outages_ns: time_losses.to_vec() },
        clients_in_order: true,
        budget: Budget { tries_max: TRIES_MAX },
    };
    judge_history(history, &[], &rules).violations.into_iter().next().map_or(Ok(()), Err)
}
