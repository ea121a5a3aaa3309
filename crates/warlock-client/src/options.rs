//! How a client finds and judges nodes.

use std::time::Duration;

use warlock_resp::ReplyLimits;

/// How a [`Client`](crate::Client) finds nodes and how long it tries.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes as `host:port`, tried in this order and then round and round. One is enough to
    /// reach the cluster; all of them survive the loss of any.
    pub addresses: Vec<String>,
    /// Name that the connection gets, shown by `CLIENT LIST`. No blanks.
    pub name: Option<String>,
    /// Database that every command works on, from 0 to 15.
    pub database: u8,
    /// Longest wait for one node to accept the connection and to answer the greeting.
    pub connect_timeout: Duration,
    /// Deadline of a call, all repetitions included, where the call does not name one.
    pub call_timeout: Duration,
    /// Wait before the second attempt, doubled for each further one, up to
    /// [`backoff_max`](Self::backoff_max). A random half is taken off.
    pub backoff_min: Duration,
    /// Longest wait between two attempts.
    pub backoff_max: Duration,
    /// What one reply may cost.
    pub reply_limits: ReplyLimits,
}

impl Options {
    /// Options for the nodes at `addresses`, each as `host:port`, with the defaults.
    #[must_use]
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            name: None,
            database: 0,
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
            reply_limits: ReplyLimits::DEFAULT,
        }
    }
}
