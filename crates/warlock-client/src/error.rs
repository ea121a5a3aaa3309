//! What can go wrong, sorted by what it says about the command.

use std::fmt;

/// Why a call gave no value. See [`is_unknown`](Self::is_unknown) before repeating a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// No node could be reached before the deadline. The command was definitely not executed.
    Connect {
        /// Each node that was tried in the last round, with its reason.
        failures: Vec<ConnectFailure>,
    },
    /// The cluster could not take the command before the deadline, or it was not sent at all.
    /// The command was definitely not executed.
    Refused(String),
    /// The command was sent, and nobody can say whether it took effect or still will.
    Unknown(String),
    /// The server answered with this error, for example `WRONGTYPE ...`. The command had no
    /// effect.
    Server(String),
    /// The server answered with bytes that are not the protocol. Whether the command took
    /// effect is unknown.
    Protocol(String),
    /// The command cannot be sent through this client, for the reason given. Nothing was sent.
    Usage(&'static str),
}

/// A node that could not be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectFailure {
    /// The node as it is in the options.
    pub address: String,
    /// Why.
    pub reason: String,
}

impl Error {
    /// Whether the command may have taken effect, or may still. All other errors mean that it
    /// had no effect and will have none.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Protocol(_))
    }

    /// Whether the same command can be sent again without another effect than its own, and
    /// with a chance of another answer.
    pub(crate) const fn is_worth_repeating(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Refused(_))
    }

    /// Sorts an error reply by its code.
    pub(crate) fn from_reply(text: String) -> Self {
        match text.split(' ').next() {
            Some("CLUSTERDOWN" | "LOADING") => Self::Refused(text),
            Some("UNKNOWN") => Self::Unknown(text),
            _ => Self::Server(text),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { failures } => {
                f.write_str("cannot connect")?;
                for (index, failure) in failures.iter().enumerate() {
                    let separator = if index == 0 { ": " } else { "; " };
                    write!(f, "{separator}{}: {}", failure.address, failure.reason)?;
                }
                Ok(())
            }
            Self::Refused(reason) => write!(f, "not executed: {reason}"),
            Self::Unknown(reason) => write!(f, "outcome unknown: {reason}"),
            Self::Server(text) => f.write_str(text),
            Self::Protocol(reason) => write!(f, "outcome unknown: {reason}"),
            Self::Usage(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn replies_are_sorted_by_their_code() {
        let sorted = |text: &str| Error::from_reply(text.to_owned());
        assert!(matches!(sorted("CLUSTERDOWN no master"), Error::Refused(_)));
        assert!(matches!(sorted("LOADING recovering"), Error::Refused(_)));
        assert!(matches!(sorted("UNKNOWN lost the master"), Error::Unknown(_)));
        assert!(matches!(sorted("ERR unknown command"), Error::Server(_)));
        assert!(matches!(sorted("CLUSTERDOWNED"), Error::Server(_)));
    }

    #[test]
    fn only_unknown_outcomes_are_unknown() {
        assert!(Error::Unknown(String::new()).is_unknown());
        assert!(Error::Protocol(String::new()).is_unknown());
        for error in [
            Error::Connect { failures: Vec::new() },
            Error::Refused(String::new()),
            Error::Server(String::new()),
            Error::Usage(""),
        ] {
            assert!(!error.is_unknown(), "{error:?}");
        }
    }
}
