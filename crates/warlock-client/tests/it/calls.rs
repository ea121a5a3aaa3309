//! Calls that are answered.

use warlock_client::{Client, Command, Error, Options, Value};

use crate::node::{Act, Node, client, reply};

/// Answers `ECHO x` with `x`.
fn echo(arguments: &[Vec<u8>]) -> Act {
    let text = arguments.last().unwrap();
    let mut bytes = format!("${}\r\n", text.len()).into_bytes();
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(b"\r\n");
    Act::Reply(bytes)
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

#[tokio::test]
async fn greeting_asks_for_resp3_a_name_and_a_database() {
    let node = Node::start_raw(|_| reply("+OK\r\n")).await;
    let mut options = Options::new([node.address.clone()]);
    options.name = Some("worker-7".to_owned());
    options.database = 3;
    let client = Client::new(options);
    client.call(&Command::new("PING")).await.unwrap();
    // `requests` leaves the HELLO out.
    assert_eq!(node.requests(), ["SELECT 3", "PING"]);
}

#[tokio::test]
async fn replies_are_complete_however_they_are_cut() {
    let text = "*3\r\n%1\r\n+a\r\n:1\r\n$-1\r\n$5\r\nx\r\n\0y\r\n";
    let node = Node::start(move |_| Act::Drip(text.as_bytes().to_vec())).await;
    let value = client(&[&node]).call(&Command::new("GET").arg("k")).await.unwrap();
    let expected = Value::Array(vec![
        Value::Map(vec![(Value::Simple("a".to_owned()), Value::Integer(1))]),
        Value::Null,
        bulk("x\r\n\0y"),
    ]);
    assert_eq!(value, expected);
}

#[tokio::test]
async fn pipelines_keep_their_order() {
    let node = Node::start(echo).await;
    let commands: Vec<Command> =
        (0..500).map(|index| Command::new("ECHO").arg(index.to_string())).collect();
    let results = client(&[&node]).pipeline(&commands).await;
    let expected: Vec<_> = (0..500).map(|index| Ok(bulk(&index.to_string()))).collect();
    assert_eq!(results, expected);
    assert_eq!(client(&[&node]).pipeline(&[]).await, []);
}

#[tokio::test]
async fn callers_that_share_a_client_get_their_own_replies() {
    let node = Node::start(echo).await;
    let client = client(&[&node]);
    let callers: Vec<_> = (0..50)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let text = format!("{caller}:{round}");
                    let value = client.call(&Command::new("ECHO").arg(&text)).await;
                    assert_eq!(value, Ok(bulk(&text)));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn pushes_answer_nobody() {
    let node = Node::start(|_| reply(">2\r\n+invalidate\r\n+k\r\n+OK\r\n")).await;
    let client = client(&[&node]);
    for _ in 0..2 {
        let value = client.call(&Command::new("GET").arg("k")).await;
        assert_eq!(value, Ok(Value::Simple("OK".to_owned())));
    }
}

#[tokio::test]
async fn errors_of_the_server_are_passed_on_and_not_repeated() {
    let node = Node::start(|_| reply("-WRONGTYPE no\r\n")).await;
    let error = client(&[&node]).call(&Command::new("GET").arg("k")).await.unwrap_err();
    assert_eq!(error, Error::Server("WRONGTYPE no".to_owned()));
    assert_eq!(node.requests(), ["GET k"]);
}
