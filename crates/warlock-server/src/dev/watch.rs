//! Asks the nodes of a development cluster how they are.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time between two rounds of questions.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A node that does not answer for so long counts as not ready.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);

/// Longest answer that is read, in bytes.
const ANSWER_LENGTH_MAX: u64 = 4096;

/// A ballot `v1.b3.n2`, ordered as ballots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BallotOrder {
    view: u64,
    round: u64,
    node: u16,
}

impl BallotOrder {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let view = parts.next()?.strip_prefix('v')?.parse().ok()?;
        let round = parts.next()?.strip_prefix('b')?.parse().ok()?;
        let node = parts.next()?.strip_prefix('n')?.parse().ok()?;
        parts.next().is_none().then_some(Self { view, round, node })
    }
}

/// As in `master n2 v1.b3.n2`.
impl fmt::Display for BallotOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { view, round, node } = self;
        write!(f, "n{node} v{view}.b{round}.n{node}")
    }
}

/// What a node answered last.
enum Answer {
    Ready(BallotOrder),
    Unready(String),
}

/// Asks all nodes, again and again.
pub(super) struct Watcher {
    nodes: Vec<(SocketAddr, Answer)>,
    waited: bool,
}

impl Watcher {
    pub(super) fn new(https: impl IntoIterator<Item = SocketAddr>) -> Self {
        let nodes = https
            .into_iter()
            .map(|address| (address, Answer::Unready("not asked yet".to_owned())))
            .collect();
        Self { nodes, waited: true }
    }

    /// Waits a while, then asks all nodes. May be dropped and called again at any time.
    pub(super) async fn poll(&mut self) {
        if !self.waited {
            sleep(POLL_INTERVAL).await;
            self.waited = true;
        }
        let mut asks = JoinSet::new();
        for (position, (address, _)) in self.nodes.iter().enumerate() {
            let address = *address;
            asks.spawn(async move { (position, ask(address).await) });
        }
        while let Some(Ok((position, answer))) = asks.join_next().await {
            if let Some(node) = self.nodes.get_mut(position) {
                node.1 = answer;
            }
        }
        self.waited = false;
    }

    pub(super) fn all_ready(&self) -> bool {
        self.nodes.iter().all(|(_, answer)| matches!(answer, Answer::Ready(_)))
    }

    /// The highest ballot that a ready node names.
    pub(super) fn newest_master(&self) -> Option<BallotOrder> {
        let ballots = self.nodes.iter().filter_map(|(_, answer)| match answer {
            Answer::Ready(ballot) => Some(*ballot),
            Answer::Unready(_) => None,
        });
        ballots.max()
    }

    /// Why which node is not ready.
    pub(super) fn reasons(&self) -> String {
        let mut reasons = Vec::new();
        for (position, (_, answer)) in self.nodes.iter().enumerate() {
            if let Answer::Unready(reason) = answer {
                reasons.push(format!("node {}: {reason}", position + 1));
            }
        }
        reasons.join("; ")
    }
}

async fn ask(address: SocketAddr) -> Answer {
    let answer = timeout(ANSWER_TIME_MAX, fetch(address)).await;
    match answer {
        Ok(Ok(response)) => judge(&response),
        Ok(Err(error)) => Answer::Unready(error.to_string()),
        Err(_) => Answer::Unready("no answer".to_owned()),
    }
}

async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut response = String::new();
    stream.take(ANSWER_LENGTH_MAX).read_to_string(&mut response).await?;
    Ok(response)
}

/// Understands the response of `/readyz`.
fn judge(response: &str) -> Answer {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    let master = body
        .lines()
        .find_map(|line| line.strip_prefix("master "))
        .and_then(|line| line.split_once(' '))
        .and_then(|(_, ballot)| BallotOrder::parse(ballot));
    match master {
        Some(ballot) if head.starts_with("HTTP/1.1 200") => Answer::Ready(ballot),
        _ => Answer::Unready(body.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_ready_page_are_understood() {
        let ready = "HTTP/1.1 200 OK\r\na: b\r\n\r\nready\nmaster n2 v1.b3.n2\n";
        let Answer::Ready(ballot) = judge(ready) else {
            panic!("a ready answer");
        };
        assert_eq!(ballot.to_string(), "n2 v1.b3.n2");
        for unready in [
            "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: no master\n",
            "HTTP/1.1 200 OK\r\n\r\nready\nmaster n0 \n",
            "HTTP/1.1 503 Service Unavailable\r\n\r\nready\nmaster n2 v1.b3.n2\n",
            "",
        ] {
            assert!(matches!(judge(unready), Answer::Unready(_)), "{unready}");
        }
    }

    #[test]
    fn ballots_are_ordered_and_exact() {
        let ballot = |text| BallotOrder::parse(text).unwrap();
        assert!(ballot("v1.b10.n1") > ballot("v1.b9.n3"));
        assert!(ballot("v2.b1.n1") > ballot("v1.b9.n3"));
        for bad in ["", "v1.b1", "v1.b1.n1.x", "1.1.1", "v1.b1.n70000"] {
            assert_eq!(BallotOrder::parse(bad), None, "{bad}");
        }
    }
}
