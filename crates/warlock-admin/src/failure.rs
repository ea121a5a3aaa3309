//! What went wrong, for people and for scripts.

use std::process::ExitCode;

use serde::Serialize;
use warlock_client::Error;

/// Why the program did not do what it was asked.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What happened.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) next: &'static str,
}

/// The classes that scripts tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nothing was changed.
    Refused,
    /// The command line is wrong.
    Usage,
    /// No node was reached, so nothing was changed.
    CannotConnect,
    /// It may have taken effect, or still will.
    Unknown,
    /// What was waited for did not happen in time.
    TimedOut,
}

impl Kind {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::CannotConnect => 3,
            Self::Unknown | Self::TimedOut => 4,
        })
    }
}

impl Failure {
    /// A node answered something that no Warlock of this version says.
    pub(crate) fn not_understood(what: &str) -> Self {
        Self {
            kind: Kind::Refused,
            message: format!("the node's answer to {what} is not understood"),
            next: "use the warlock-admin that belongs to the version of the node",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let (kind, next) = match error {
            Error::Connect { .. } => (
                Kind::CannotConnect,
                "check that warlockd runs and listens for clients there, or name another node with \
                 --addr",
            ),
            Error::Refused(_) => (
                Kind::Refused,
                "nothing was changed; see which nodes are up with `warlock-admin status`",
            ),
            Error::Unknown(_) | Error::Protocol(_) => (
                Kind::Unknown,
                "look whether it took effect before you repeat it; --timeout gives it more time",
            ),
            Error::Server(_) => (Kind::Refused, "nothing was changed; correct the command"),
            Error::Usage(_) => (Kind::Usage, "use redis-cli, which has its connection to itself"),
        };
        Self { kind, message, next }
    }
}
