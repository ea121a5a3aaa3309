//! The least of an HTTP client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a page.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// Status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The text.
    pub body: String,
}

/// Asks for `path` on a fresh connection.
///
/// # Errors
/// The connection breaks, or the answer is not HTTP.
pub fn get(mut stream: TcpStream, path: &str) -> io::Result<Page> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: warlock\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, text.clone());
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(not_http)?;
    Ok(Page { status, head: head.to_owned(), body: body.to_owned() })
}
