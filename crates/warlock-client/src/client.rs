//! The client: picks a node, calls, and moves on to another node when that is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use warlock_resp::Value;

use crate::command::Command;
use crate::connection::Connection;
use crate::error::{ConnectFailure, Error};
use crate::link::Link;
use crate::options::Options;

/// Commands that change what the connection itself does. Other callers share it, and some of
/// these are answered with more or less than one reply.
const CONNECTION_COMMANDS: &[&[&str]] = &[
    &["CLIENT", "REPLY"],
    &["HELLO"],
    &["MONITOR"],
    &["PSUBSCRIBE"],
    &["PSYNC"],
    &["PUNSUBSCRIBE"],
    &["QUIT"],
    &["RESET"],
    &["SELECT"],
    &["SSUBSCRIBE"],
    &["SUBSCRIBE"],
    &["SUNSUBSCRIBE"],
    &["SYNC"],
    &["UNSUBSCRIBE"],
];

/// A handle to a Warlock cluster. Clones share one connection.
///
/// Connects on the first call, to the first node that answers, and stays there as long as that
/// node serves. Must be used inside a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    place: Mutex<Place>,
}

/// Where calls go at present.
struct Place {
    link: Option<Link>,
    /// Index of the node to try first when a connection is needed.
    next: usize,
    /// Number of connections made so far.
    connections: u64,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Panics
    /// Without an address.
    #[must_use]
    pub fn new(options: Options) -> Self {
        assert!(!options.addresses.is_empty(), "a client needs the address of a node");
        let place = Mutex::new(Place { link: None, next: 0, connections: 0 });
        Self { shared: Arc::new(Shared { options, place }) }
    }

    /// The options this client was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Executes a command within the call timeout of the options.
    ///
    /// # Errors
    /// See [`Error`]: every kind says whether the command may have been executed.
    pub async fn call(&self, command: &Command) -> Result<Value, Error> {
        self.call_within(command, self.shared.options.call_timeout).await
    }

    /// Executes a command within `timeout`, all repetitions included.
    ///
    /// # Errors
    /// See [`Error`]: every kind says whether the command may have been executed.
    pub async fn call_within(&self, command: &Command, timeout: Duration) -> Result<Value, Error> {
        let mut results = self.pipeline_within(std::slice::from_ref(command), timeout).await;
        results.pop().expect("there is one result for one command")
    }

    /// Executes commands in their order within the call timeout of the options, sent together
    /// without waiting in between. Gives one result for each.
    ///
    /// Commands of other callers may be executed between them. They are repeated on another
    /// node only when not one of them was executed, so that their order never changes.
    pub async fn pipeline(&self, commands: &[Command]) -> Vec<Result<Value, Error>> {
        self.pipeline_within(commands, self.shared.options.call_timeout).await
    }

    /// As [`pipeline`](Self::pipeline), within `timeout`.
    pub async fn pipeline_within(
        &self,
        commands: &[Command],
        timeout: Duration,
    ) -> Vec<Result<Value, Error>> {
        if commands.is_empty() {
            return Vec::new();
        }
        if commands.iter().any(changes_the_connection) {
            let reason = "the command changes a connection that other callers share";
            return all(commands, &Error::Usage(reason));
        }
        let deadline = Instant::now() + timeout;
        let mut wait = self.shared.options.backoff_min;
        loop {
            let results = self.attempt(commands, deadline).await;
            let repeat = |result: &Result<Value, Error>| {
                result.as_ref().is_err_and(Error::is_worth_repeating)
            };
            if !results.iter().all(repeat) {
                return results;
            }
            let wake = Instant::now() + with_jitter(wait);
            if wake >= deadline {
                return results;
            }
            sleep(wake - Instant::now()).await;
            wait = (wait * 2).min(self.shared.options.backoff_max);
        }
    }

    /// One attempt on one node.
    async fn attempt(&self, commands: &[Command], deadline: Instant) -> Vec<Result<Value, Error>> {
        let link = match timeout_at(deadline, self.link()).await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => return all(commands, &error),
            Err(_) => {
                let address = self.shared.options.addresses.join(", ");
                let reason = "no answer before the deadline".to_owned();
                let failures = vec![ConnectFailure { address, reason }];
                return all(commands, &Error::Connect { failures });
            }
        };
        let results = link.exchange(commands, deadline).await;
        let bad_sign = |error: &Error| error.is_worth_repeating() || error.is_unknown();
        if results.iter().any(|result| result.as_ref().is_err_and(bad_sign)) {
            self.leave(&link).await;
        }
        results
    }

    /// The present connection, or a new one to the first node that answers.
    async fn link(&self) -> Result<Link, Error> {
        let Shared { options, place } = &*self.shared;
        let mut place = place.lock().await;
        if let Some(link) = &place.link
            && !link.is_closed()
        {
            return Ok(link.clone());
        }
        let nodes = options.addresses.len();
        let first = place.next;
        let mut failures = Vec::new();
        for index in (first..first + nodes).map(|index| index % nodes) {
            let address = &options.addresses[index];
            // A caller whose deadline passes here leaves the next node to the next caller.
            place.next = (index + 1) % nodes;
            match Connection::open(address, options).await {
                Ok(connection) => {
                    place.next = index;
                    place.connections += 1;
                    let link = Link::spawn(connection, place.connections);
                    place.link = Some(link.clone());
                    return Ok(link);
                }
                Err(reason) => failures.push(ConnectFailure { address: address.clone(), reason }),
            }
        }
        Err(Error::Connect { failures })
    }

    /// Sends later calls to the next node. Calls that are on their way get their replies.
    async fn leave(&self, link: &Link) {
        let mut place = self.shared.place.lock().await;
        if place.link.as_ref().is_some_and(|present| present.serial == link.serial) {
            place.link = None;
            place.next = (place.next + 1) % self.shared.options.addresses.len();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// The same error for each command.
fn all(commands: &[Command], error: &Error) -> Vec<Result<Value, Error>> {
    vec![Err(error.clone()); commands.len()]
}

fn changes_the_connection(command: &Command) -> bool {
    CONNECTION_COMMANDS.iter().any(|words| command.starts_with(words))
}

/// Takes a random part off, at most half, so that clients do not come back all at once.
fn with_jitter(wait: Duration) -> Duration {
    // Without a source of chance the wait is merely not spread.
    let chance = getrandom::u32().unwrap_or(0);
    wait - wait.mul_f64(0.5 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::{Client, Options, with_jitter};
    use crate::{Command, Error};

    #[test]
    fn jitter_takes_at_most_half() {
        let wait = Duration::from_millis(100);
        for _ in 0..1000 {
            let spread = with_jitter(wait);
            assert!(spread <= wait && spread >= wait / 2, "{spread:?}");
        }
    }

    #[tokio::test]
    async fn connection_commands_are_refused_before_anything_is_sent() {
        let client = Client::new(Options::new(["never.invalid:1"]));
        for command in [
            Command::new("select").arg("1"),
            Command::new("CLIENT").arg("reply").arg("OFF"),
            Command::new("Subscribe").arg("news"),
        ] {
            assert!(matches!(client.call(&command).await, Err(Error::Usage(_))), "{command:?}");
        }
    }

    /// An idle connection that ended is replaced without a word to the caller.
    #[tokio::test]
    async fn ended_idle_connection_is_replaced() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                for reply in ["%0\r\n", "+PONG\r\n"] {
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            }
        });
        let client = Client::new(Options::new([address]));
        client.call(&Command::new("PING")).await.unwrap();
        let link = client.shared.place.lock().await.link.clone().unwrap();
        link.closed().await;
        client.call(&Command::new("PING")).await.unwrap();
        server.await.unwrap();
    }
}
