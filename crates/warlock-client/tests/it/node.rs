//! A node made for a test: a real socket, a real request parser, and answers from a closure.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warlock_client::{Client, Options};
use warlock_resp::{Progress, RequestLimits, RequestParser, RequestSpans};

/// What the node does with one request.
pub(crate) enum Act {
    /// Sends these bytes.
    Reply(Vec<u8>),
    /// Sends these bytes one by one.
    Drip(Vec<u8>),
    /// Sends these bytes and closes.
    ReplyAndClose(Vec<u8>),
    /// Closes.
    Close,
    /// Says nothing and goes on reading.
    Silence,
}

/// Arguments of a request.
type Arguments = Vec<Vec<u8>>;

type Answers = dyn Fn(&[Vec<u8>]) -> Act + Send + Sync;

/// A listening node. It stops with the runtime of the test.
pub(crate) struct Node {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Arguments>>>,
}

impl Node {
    /// A node that answers `HELLO` properly, and everything else as `answers` says.
    pub(crate) async fn start(answers: impl Fn(&[Vec<u8>]) -> Act + Send + Sync + 'static) -> Self {
        Self::start_raw(move |arguments| match arguments[0].as_slice() {
            b"HELLO" => reply("%1\r\n+server\r\n+redis\r\n"),
            _ => answers(arguments),
        })
        .await
    }

    /// A node that answers everything as `answers` says, `HELLO` as well.
    pub(crate) async fn start_raw(
        answers: impl Fn(&[Vec<u8>]) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answers, log): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&requests));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&log)));
            }
        });
        Self { address, requests }
    }

    /// Every request so far but the greetings, as words.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let words = |it: &Arguments| String::from_utf8_lossy(&it.join(&b' ')).into_owned();
        requests.iter().map(words).filter(|it| !it.starts_with("HELLO")).collect()
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A client of these nodes in this order.
pub(crate) fn client(nodes: &[&Node]) -> Client {
    Client::new(Options::new(nodes.iter().map(|node| node.address.clone())))
}

pub(crate) fn reply(text: &str) -> Act {
    Act::Reply(text.as_bytes().to_vec())
}

async fn serve(
    mut stream: TcpStream,
    answers: Arc<Answers>,
    log: Arc<Mutex<Vec<Arguments>>>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
    let mut spans = RequestSpans::default();
    let mut input = Vec::new();
    loop {
        let consumed = match parser.parse(&input, &mut spans).unwrap() {
            Progress::Incomplete => {
                if stream.read_buf(&mut input).await.ok()? == 0 {
                    return None;
                }
                continue;
            }
            Progress::Empty { consumed } => {
                input.drain(..consumed);
                continue;
            }
            Progress::Complete { consumed } => consumed,
        };
        let arguments: Arguments = spans.request(&input).args().map(<[u8]>::to_vec).collect();
        input.drain(..consumed);
        log.lock().unwrap().push(arguments.clone());
        match answers(&arguments) {
            Act::Reply(bytes) => stream.write_all(&bytes).await.ok()?,
            Act::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await.ok()?;
                    tokio::task::yield_now().await;
                }
            }
            Act::ReplyAndClose(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return None;
            }
            Act::Close => return None,
            Act::Silence => {}
        }
    }
}
