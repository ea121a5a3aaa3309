//! A blocking client for the few requests that a measurement makes besides its load.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::reply::{ReplyKind, reply_text, scan_reply};
use crate::{Error, Result, error::Context as _};

/// One connection, one request at a time.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects to `address`. Connecting and each reply may take `timeout`.
    pub fn connect(address: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)
            .context(format_args!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Sends one request; `None` if there is nothing, an error if the server says so.
    pub fn request(&mut self, arguments: &[&[u8]]) -> Result<Option<String>> {
        let mut output = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            output.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            output.extend_from_slice(argument);
            output.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&output)?;
        self.receive()
    }

    fn receive(&mut self) -> Result<Option<String>> {
        let mut chunk = [0; 4_096];
        loop {
            if let Some(reply) = scan_reply(&self.input)? {
                let bytes: Vec<u8> = self.input.drain(..reply.length).collect();
                let text = reply_text(&bytes);
                return match reply.kind {
                    ReplyKind::Value => Ok(Some(text)),
                    ReplyKind::Null => Ok(None),
                    ReplyKind::Error => Err(Error::new(text)),
                };
            }
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(Error::new("the server closed the connection"));
            }
            self.input.extend_from_slice(&chunk[..count]);
        }
    }
}

/// The body of `http://address{path}`. HTTP/1.0, so that the body ends with the connection.
pub fn http_get(address: SocketAddr, path: &str) -> Result<String> {
    let timeout = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, timeout)
        .context(format_args!("cannot connect to http://{address}"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let text = String::from_utf8_lossy(&response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(Error::new(format!("http://{address}{path}: no complete answer")));
    };
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(Error::new(format!("http://{address}{path}: {status}")));
    }
    Ok(body.to_owned())
}

/// Sum of all samples of the metric `name` in a Prometheus text, whatever their labels.
pub fn metric_sum(text: &str, name: &str) -> Result<f64> {
    let mut sum = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        if !rest.starts_with(['{', ' ']) {
            continue;
        }
        let sample = rest.rsplit_once('}').map_or(rest, |(_, sample)| sample);
        let number = sample.split_whitespace().next().unwrap_or_default();
        let value: f64 = number.parse().context(format_args!("metric line {line:?}"))?;
        *sum.get_or_insert(0.0) += value;
    }
    sum.ok_or_else(|| Error::new(format!("no metric {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_are_added_up_and_others_left_alone() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{f=\"} 7\"} 2\n\
                    a_total{f=\"h\"} 3 1700000000\na_total_more 9\nb 1.5\n";
        assert_eq!(metric_sum(text, "a_total").unwrap().to_bits(), 5.0_f64.to_bits());
        assert_eq!(metric_sum(text, "b").unwrap().to_bits(), 1.5_f64.to_bits());
        assert!(metric_sum(text, "c").is_err());
    }
}
