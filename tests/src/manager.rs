//! A service manager: hears what a node says to the socket that `NOTIFY_SOCKET` names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::wait::eventually;

/// Longest message that is read whole.
const MESSAGE_LENGTH_MAX: usize = 4096;

/// A manager for one node.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
    _directory: Option<TempDir>,
}

impl ServiceManager {
    /// A manager whose socket is a file.
    ///
    /// # Panics
    /// If the system refuses the socket.
    #[must_use]
    pub fn at_path() -> Self {
        let directory = TempDir::with_prefix("warlock-manager-").expect("a directory can be made");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket can be made");
        let name = path.to_str().expect("the path is ASCII").to_owned();
        Self::new(socket, name, Some(directory))
    }

    /// A manager whose socket has an abstract name.
    ///
    /// # Panics
    /// If the system refuses the socket.
    #[must_use]
    pub fn in_the_abstract() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("warlock-manager-{}-{number}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("the name is short");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket can be made");
        Self::new(socket, format!("@{name}"), None)
    }

    fn new(socket: UnixDatagram, name: String, directory: Option<TempDir>) -> Self {
        socket.set_nonblocking(true).expect("a socket can be asked whether anything is there");
        Self { socket, name, heard: Vec::new(), _directory: directory }
    }

    /// Words before a program that have it find this manager, with a watchdog of this patience.
    #[must_use]
    pub fn wrapper(&self, watchdog_usec: u64) -> Vec<String> {
        vec![
            "/usr/bin/env".to_owned(),
            format!("NOTIFY_SOCKET={}", self.name),
            format!("WATCHDOG_USEC={watchdog_usec}"),
        ]
    }

    /// Every line heard so far and not forgotten.
    pub fn heard(&mut self) -> &[String] {
        let mut message = [0; MESSAGE_LENGTH_MAX];
        while let Ok(length) = self.socket.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            self.heard.extend(text.lines().map(str::to_owned));
        }
        &self.heard
    }

    /// Forgets everything heard so far.
    pub fn forget(&mut self) {
        self.heard();
        self.heard.clear();
    }

    /// How often this line was heard.
    pub fn count(&mut self, line: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == line).count()
    }

    /// Waits until this line was heard so often.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn await_line(&mut self, line: &str, times: usize) {
        eventually(&format!("{times} times {line}"), || {
            if self.count(line) >= times { Ok(()) } else { Err(format!("{:?}", self.heard)) }
        });
    }

    /// The last state heard.
    pub fn status(&mut self) -> Option<&str> {
        self.heard().iter().rev().find_map(|line| line.strip_prefix("STATUS="))
    }
}
