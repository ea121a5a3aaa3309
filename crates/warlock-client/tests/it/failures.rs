//! Calls that are not answered, or not well: each ends in the right class, and no command of
//! unknown outcome is sent twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use warlock_client::{Client, Command, Error, Options, Value};

use crate::node::{Act, Node, client, nobody, reply};

/// Long enough to connect, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

fn set() -> Command {
    Command::new("SET").arg("k").arg("v")
}

fn ok() -> Result<Value, Error> {
    Ok(Value::Simple("OK".to_owned()))
}

async fn healthy() -> Node {
    Node::start(|_| reply("+OK\r\n")).await
}

/// A node that answers the first request with `first` and all others with OK.
async fn at_first(first: fn() -> Act) -> Node {
    let count = AtomicUsize::new(0);
    Node::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => first(),
        _ => reply("+OK\r\n"),
    })
    .await
}

#[tokio::test]
async fn nobody_answers_and_nothing_was_sent() {
    let options = Options::new([nobody().await, nobody().await]);
    let addresses = options.addresses.clone();
    let error = Client::new(options).call_within(&set(), SHORT).await.unwrap_err();
    let Error::Connect { failures } = &error else { panic!("{error:?}") };
    let tried: Vec<&String> = failures.iter().map(|failure| &failure.address).collect();
    assert_eq!(tried, addresses.iter().collect::<Vec<_>>());
    assert!(!error.is_unknown());
}

#[tokio::test]
async fn the_next_node_is_used_when_the_first_does_not_listen() {
    let node = healthy().await;
    let client = Client::new(Options::new([nobody().await, node.address.clone()]));
    assert_eq!(client.call(&set()).await, ok());
}

#[tokio::test]
async fn the_next_node_is_used_when_the_first_fails_the_greeting() {
    let greetings: [fn() -> Act; 4] = [
        || Act::Close,
        || reply("-LOADING recovering\r\n"),
        || reply("HTTP/1.1 400 Bad Request\r\n"),
        || Act::ReplyAndClose(b"%1\r\n+serv".to_vec()),
    ];
    for greeting in greetings {
        let bad = Node::start_raw(move |_| greeting()).await;
        let good = healthy().await;
        assert_eq!(client(&[&bad, &good]).call(&set()).await, ok());
        assert_eq!(bad.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn a_node_that_never_greets_is_given_up() {
    let mute = Node::start_raw(|_| Act::Silence).await;
    let good = healthy().await;
    let mut options = Options::new([mute.address.clone(), good.address.clone()]);
    options.connect_timeout = SHORT;
    assert_eq!(Client::new(options).call(&set()).await, ok());
}

#[tokio::test]
async fn refused_commands_are_repeated_elsewhere() {
    for refusal in ["-CLUSTERDOWN no master\r\n", "-LOADING recovering\r\n"] {
        let bad = Node::start(move |_| reply(refusal)).await;
        let good = healthy().await;
        let client = client(&[&bad, &good]);
        assert_eq!(client.call(&set()).await, ok());
        assert_eq!(client.call(&set()).await, ok());
        assert_eq!((bad.requests().len(), good.requests().len()), (1, 2));
    }
}

#[tokio::test]
async fn refusal_by_all_nodes_is_reported_at_the_deadline() {
    let node = Node::start(|_| reply("-CLUSTERDOWN no master\r\n")).await;
    let error = client(&[&node]).call_within(&set(), SHORT).await.unwrap_err();
    assert_eq!(error, Error::Refused("CLUSTERDOWN no master".to_owned()));
    assert!(node.requests().len() > 1, "{:?}", node.requests());
}

#[tokio::test]
async fn lost_connection_leaves_the_outcome_unknown_and_repeats_nothing() {
    let ends: [fn() -> Act; 3] = [
        || Act::Close,
        || Act::ReplyAndClose(b"+O".to_vec()),
        || Act::ReplyAndClose(b"$5\r\nab".to_vec()),
    ];
    for end in ends {
        let first = at_first(end).await;
        let second = healthy().await;
        let client = client(&[&first, &second]);
        let error = client.call(&set()).await.unwrap_err();
        assert!(matches!(error, Error::Unknown(_)), "{error:?}");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 0));
        // The next command goes to the next node.
        assert_eq!(client.call(&set()).await, ok());
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    }
}

#[tokio::test]
async fn unknown_replies_are_not_repeated() {
    let node = Node::start(|_| reply("-UNKNOWN lost the master\r\n")).await;
    let error = client(&[&node]).call(&set()).await.unwrap_err();
    assert_eq!(error, Error::Unknown("UNKNOWN lost the master".to_owned()));
    assert_eq!(node.requests().len(), 1);
}

#[tokio::test]
async fn garbage_is_a_protocol_error_of_unknown_outcome() {
    let node = at_first(|| reply("what?\r\n")).await;
    let client = client(&[&node]);
    let error = client.call(&set()).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)) && error.is_unknown(), "{error:?}");
    assert_eq!(client.call(&set()).await, ok());
}

#[tokio::test]
async fn silence_until_the_deadline_is_unknown_and_moves_on() {
    let mute = Node::start(|_| Act::Silence).await;
    let good = healthy().await;
    let client = client(&[&mute, &good]);
    let error = client.call_within(&set(), SHORT).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error:?}");
    assert_eq!(client.call(&set()).await, ok());
    assert_eq!((mute.requests().len(), good.requests().len()), (1, 1));
}

#[tokio::test]
async fn each_command_of_a_broken_pipeline_has_its_own_outcome() {
    let first = at_first(|| Act::ReplyAndClose(b"+OK\r\n-ERR no\r\n".to_vec())).await;
    let second = healthy().await;
    let results = client(&[&first, &second]).pipeline(&[set(), set(), set()]).await;
    assert_eq!(results[..2], [ok(), Err(Error::Server("ERR no".to_owned()))]);
    assert!(matches!(results[2], Err(Error::Unknown(_))), "{:?}", results[2]);
    assert_eq!(second.requests().len(), 0);
}

#[tokio::test]
async fn pipelines_are_repeated_only_as_a_whole() {
    let refused = Node::start(|_| reply("-CLUSTERDOWN no master\r\n")).await;
    let good = healthy().await;
    let results = client(&[&refused, &good]).pipeline(&[set(), set()]).await;
    assert_eq!(results, [ok(), ok()]);

    let half = at_first(|| reply("-CLUSTERDOWN no master\r\n")).await;
    let results = client(&[&half, &good]).pipeline(&[set(), set()]).await;
    let refusal = Error::Refused("CLUSTERDOWN no master".to_owned());
    assert_eq!(results, [Err(refusal), ok()]);
}

/// The system never takes all of the second command, so the node cannot have read it whole.
#[tokio::test]
async fn command_that_was_not_sent_whole_was_not_executed() {
    let stalled = Node::start(|_| Act::Close).await;
    let huge = Command::new("SET").arg("k").arg(vec![b'x'; 64 << 20]);
    let results = client(&[&stalled]).pipeline(&[set(), huge]).await;
    assert!(matches!(results[0], Err(Error::Unknown(_))), "{:?}", results[0]);
    assert!(matches!(results[1], Err(Error::Refused(_))), "{:?}", results[1]);
}

/// A caller that goes away does not shift the replies of the others.
#[tokio::test]
async fn cancelled_calls_do_not_disturb_others() {
    let node = Node::start(|arguments| {
        let text = String::from_utf8_lossy(&arguments[1]).into_owned();
        reply(&format!("+{text}\r\n"))
    })
    .await;
    let client = client(&[&node]);
    for index in 0..200 {
        let text = index.to_string();
        let command = Command::new("ECHO").arg("cancelled");
        tokio::select! {
            biased;
            result = client.call(&command) => assert!(result.is_ok()),
            () = tokio::task::yield_now() => {}
        }
        let value = client.call(&Command::new("ECHO").arg(&text)).await;
        assert_eq!(value, Ok(Value::Simple(text)));
    }
}
