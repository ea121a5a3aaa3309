//! Every limit of the codec: what a peer may make this process hold, and why that much.
//!
//! All lengths are in bytes. A limit is the largest value that is still accepted.

use crate::error::ProtocolError;

/// What one request may cost.
///
/// A connection starts with [`RequestLimits::UNAUTHENTICATED`] when a password is required, and
/// with [`RequestLimits::AUTHENTICATED`] otherwise. Whatever a caller puts in here, the parser
/// obeys [`RequestLimits::CEILING`] as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestLimits {
    /// Longest inline request, and longest count or length line, in bytes without the line end.
    pub inline_length: usize,
    /// Most arguments of a request, the command name included.
    pub arguments: usize,
    /// Longest argument in bytes.
    pub argument_length: usize,
    /// Longest request in bytes as sent, line ends included. The caller never needs to buffer
    /// more than this and one read of a connection whose next request is incomplete.
    pub request_length: usize,
}

impl RequestLimits {
    /// No connection is allowed more than this, whatever its settings say: offsets into a request
    /// are kept in 32 bits, and Redis itself refuses longer strings.
    pub const CEILING: Self = Self {
        inline_length: 64 * KIB,
        arguments: 1024 * 1024,
        argument_length: 512 * MIB,
        request_length: 1024 * MIB,
    };

    /// Default for a connection that may run commands.
    ///
    /// Inline length and argument count are those of Redis. Redis takes 512 MiB strings; here
    /// every write also travels through the log of every node, so 32 MiB is the default.
    pub const AUTHENTICATED: Self = Self {
        inline_length: 64 * KIB,
        arguments: 1024 * 1024,
        argument_length: 32 * MIB,
        request_length: 32 * MIB,
    };

    /// For a connection that has not given its password yet.
    ///
    /// Ten arguments of 16 KiB are what Redis allows since CVE-2021-32675: enough for
    /// `HELLO 3 AUTH user password SETNAME name`. The whole request is held below
    /// [`UNAUTHENTICATED_MEMORY`] besides, or ten thousand strangers could take 1.6 GB.
    pub const UNAUTHENTICATED: Self = Self {
        inline_length: 8 * KIB,
        arguments: 10,
        argument_length: 16 * KIB,
        request_length: 24 * KIB,
    };

    /// These limits, each at most its [`CEILING`](Self::CEILING), and no line longer than the
    /// request that it is part of.
    pub(crate) const fn clamped(self) -> Self {
        let request_length = smaller(self.request_length, Self::CEILING.request_length);
        Self {
            inline_length: smaller(
                smaller(self.inline_length, Self::CEILING.inline_length),
                request_length,
            ),
            arguments: smaller(self.arguments, Self::CEILING.arguments),
            argument_length: smaller(self.argument_length, Self::CEILING.argument_length),
            request_length,
        }
    }

    /// Refuses a request of `count` arguments if that is too many.
    pub(crate) fn check_count(&self, count: usize) -> Result<(), ProtocolError> {
        if count <= self.arguments {
            Ok(())
        } else if self.are_unauthenticated() && count <= Self::AUTHENTICATED.arguments {
            Err(ProtocolError::UnauthenticatedCount)
        } else {
            Err(ProtocolError::InvalidCount)
        }
    }

    /// Refuses an argument of `length` bytes if that is too long.
    pub(crate) fn check_length(&self, length: usize) -> Result<(), ProtocolError> {
        if length <= self.argument_length {
            Ok(())
        } else if self.are_unauthenticated() && length <= Self::AUTHENTICATED.argument_length {
            Err(ProtocolError::UnauthenticatedLength)
        } else {
            Err(ProtocolError::InvalidLength)
        }
    }

    /// Whether these are as strict as the limits before authentication. Redis then words its
    /// refusals differently, and clients look for the words.
    const fn are_unauthenticated(&self) -> bool {
        self.arguments <= Self::UNAUTHENTICATED.arguments
            && self.argument_length <= Self::UNAUTHENTICATED.argument_length
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::AUTHENTICATED
    }
}

/// What one reply may cost a client, so that a faulty server cannot exhaust it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyLimits {
    /// Longest simple string, error, number or length line in bytes without the line end.
    pub line_length: usize,
    /// Longest bulk string in bytes.
    pub bulk_length: usize,
    /// Most values in one reply at all depths together; a map entry counts as two.
    pub values: usize,
    /// Deepest nesting of aggregates, from 0 (none) to 128.
    pub depth: usize,
    /// Longest reply in bytes as sent.
    pub reply_length: usize,
}

impl ReplyLimits {
    /// Default of a client: a reply may be as long as a list of a few million keys, and nested
    /// deeper than any command nests it.
    pub const DEFAULT: Self = Self {
        line_length: 64 * KIB,
        bulk_length: 512 * MIB,
        values: 16 * 1024 * 1024,
        depth: 32,
        reply_length: 1024 * MIB,
    };

    /// No caller is allowed deeper nesting: dropping a value takes stack for each level.
    pub const DEPTH_CEILING: usize = 128;

    /// These limits with the depth at most [`DEPTH_CEILING`](Self::DEPTH_CEILING).
    pub(crate) const fn clamped(self) -> Self {
        Self { depth: smaller(self.depth, Self::DEPTH_CEILING), ..self }
    }
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Most memory in bytes that a connection may hold before it is authenticated, in the parser, in
/// its input and in its output together.
pub const UNAUTHENTICATED_MEMORY: usize = 32 * KIB;

/// Argument positions that a warm [`RequestSpans`](crate::RequestSpans) keeps for the next
/// request, in arguments. More are given back, so one huge request does not stay paid for.
pub const RETAINED_ARGUMENTS: usize = 4096;

/// Bytes of unquoted inline arguments that are kept for the next request.
pub const RETAINED_INLINE_LENGTH: usize = 4 * KIB;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const fn smaller(left: usize, right: usize) -> usize {
    if left < right { left } else { right }
}

// The worst inline request costs its line and the same again unquoted; the worst array costs
// itself. Both leave 4 KiB at least for positions, reply and bookkeeping.
const _: () = {
    let limits = RequestLimits::UNAUTHENTICATED;
    assert!(limits.argument_length < limits.request_length);
    assert!(2 * limits.inline_length + 4 * KIB <= UNAUTHENTICATED_MEMORY);
    assert!(limits.request_length + 4 * KIB <= UNAUTHENTICATED_MEMORY);
    assert!(RequestLimits::CEILING.request_length < u32::MAX as usize);
    assert!(RequestLimits::AUTHENTICATED.argument_length <= RequestLimits::CEILING.argument_length);
};
