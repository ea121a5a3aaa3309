//! A node made for a test: a real socket and prepared answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use warlock_resp::{Progress, RequestLimits, RequestParser, RequestSpans};

/// A listening node. It ends with the process of the test.
pub(crate) struct Node {
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// A node that answers each request, its words joined by blanks, with the reply beside it.
    /// Of several entries for one request each is used once, and the last one for ever.
    pub(crate) fn start(answers: Vec<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let node = Self { address, log: Arc::clone(&log) };
        let answers = Arc::new(answers);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
                thread::spawn(move || serve(stream.unwrap(), &answers, &log));
            }
        });
        node
    }

    /// How often the node got this request.
    pub(crate) fn requests(&self, request: &str) -> usize {
        count(&self.log.lock().unwrap(), request)
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn serve(mut stream: TcpStream, answers: &[(String, String)], log: &Mutex<Vec<String>>) {
    let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
    let mut spans = RequestSpans::default();
    let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match parser.parse(&input, &mut spans).unwrap() {
            Progress::Complete { consumed } => {
                let words: Vec<&[u8]> = spans.request(&input).args().collect();
                let request = String::from_utf8(words.join(&b' ')).unwrap();
                input.drain(..consumed);
                let reply = answer(answers, &mut log.lock().unwrap(), request);
                if stream.write_all(reply.as_bytes()).is_err() {
                    return;
                }
            }
            Progress::Empty { consumed } => drop(input.drain(..consumed)),
            Progress::Incomplete => match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => input.extend_from_slice(&chunk[..length]),
            },
        }
    }
}

fn answer(answers: &[(String, String)], log: &mut Vec<String>, request: String) -> String {
    if request.starts_with("HELLO 3") {
        return "%0\r\n".to_owned();
    }
    let earlier = count(log, &request);
    let prepared: Vec<&String> =
        answers.iter().filter(|(asked, _)| *asked == request).map(|(_, reply)| reply).collect();
    log.push(request);
    let reply = prepared.get(earlier).or(prepared.last());
    reply.map_or("-ERR not prepared\r\n".to_owned(), |reply| (*reply).clone())
}

fn count(log: &[String], request: &str) -> usize {
    log.iter().filter(|asked| *asked == request).count()
}
