//! Spans that the protocol depends on, and the relations between them that make it safe.

use core::fmt;

use crate::time::{Instant, Span};

/// The tunable spans of one cluster; every node must have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    lease: Span,
    heartbeat: Span,
    clock_error_per_mille: u64,
}

/// Why spans do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimingError {
    /// The lease must outlast several heartbeats, or one lost message ends it.
    LeaseTooShort,
    /// A clock error of a fifth leaves nothing of the lease.
    ClockErrorTooLarge,
    /// A heartbeat must take some time.
    NoHeartbeat,
}

impl fmt::Display for TimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseTooShort => "the lease must be at least 3 heartbeats long",
            Self::ClockErrorTooLarge => "the clock error must be below 200 per mille",
            Self::NoHeartbeat => "the heartbeat must be at least 1 ms",
        })
    }
}

impl core::error::Error for TimingError {}

impl Timing {
    /// L = 500 ms, renewed every 100 ms, rho = 5 % (DESIGN 4.2).
    pub const DEFAULT: Self = Self {
        lease: Span::from_millis(500),
        heartbeat: Span::from_millis(100),
        clock_error_per_mille: 50,
    };

    /// Takes the spans if they fit together.
    ///
    /// # Errors
    /// [`TimingError`] with the relation that does not hold.
    pub fn new(
        lease: Span,
        heartbeat: Span,
        clock_error_per_mille: u64,
    ) -> Result<Self, TimingError> {
        if heartbeat < Span::from_millis(1) {
            return Err(TimingError::NoHeartbeat);
        }
        if lease.nanos() < heartbeat.nanos().saturating_mul(3) {
            return Err(TimingError::LeaseTooShort);
        }
        if clock_error_per_mille >= 200 {
            return Err(TimingError::ClockErrorTooLarge);
        }
        Ok(Self { lease, heartbeat, clock_error_per_mille })
    }

    /// Length of the lease as it is granted.
    #[must_use]
    pub const fn lease(&self) -> Span {
        self.lease
    }

    /// Time between two heartbeats of a node.
    #[must_use]
    pub const fn heartbeat(&self) -> Span {
        self.heartbeat
    }

    /// Until when an acceptor that granted at `received` refuses others: L(1+rho) later (L1, L2).
    #[must_use]
    pub const fn grant_end(&self, received: Instant) -> Instant {
        received.after(self.lease.per_mille(1000 + self.clock_error_per_mille))
    }

    /// Until when a master may trust grants that it asked for at `sent`: L(1-rho) later (L1).
    #[must_use]
    pub const fn lease_end(&self, sent: Instant) -> Instant {
        sent.after(self.lease.per_mille(1000 - self.clock_error_per_mille))
    }

    /// How long a node that stopped answering still counts as connected, and a master that stopped
    /// being heard as master.
    #[must_use]
    pub const fn patience(&self) -> Span {
        self.lease.per_mille(800)
    }

    /// How long a role waits for an answer before it asks again.
    #[must_use]
    pub const fn retry(&self) -> Span {
        self.heartbeat.per_mille(500)
    }
}
