//! What a service manager such as systemd is told: readiness, state, signs of life.
//!
//! The protocol is that of `sd_notify(3)`: lines in datagrams to the socket that `NOTIFY_SOCKET`
//! names. Nothing here waits for the manager: the core must go on whatever becomes of it, so a
//! message that does not fit is sent again at a later turn.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use warlock_node::status::{Role, Status};
use warlock_paxos::{Instant, Span};

use crate::http::{Facts, unready};

/// Names the socket of the manager: a path, or an abstract name after `@`.
const SOCKET: &str = "NOTIFY_SOCKET";
/// The manager ends a service that is silent for so many microseconds.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// The process that the watchdog is about.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// What every variable of the manager is called; they are not for child processes.
pub(crate) const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG_USEC, WATCHDOG_PID];

/// How much longer the start may take from now on, in microseconds.
const EXTENSION_USEC: u64 = 30_000_000;
/// Time between two extensions, which leaves room for some that get lost.
const EXTENSION_PAUSE: Span = Span::from_millis(5000);
/// Time between two states that differ in the applied slot only.
const APPLIED_PAUSE: Span = Span::from_millis(1000);
/// Time between two looks at the progress of a start.
const LOOK_PAUSE: Duration = Duration::from_millis(1000);

/// The service manager of this process, if it wants to hear anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager {
    line: Option<Arc<Line>>,
    /// Longest silence, if there is a watchdog.
    silence_max: Option<Span>,
}

/// A socket of this process, and where the manager is.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Manager {
    /// The manager that the environment names.
    pub(crate) fn of_this_process() -> Self {
        let Some(name) = env::var_os(SOCKET) else { return Self::default() };
        let said = Line::to(&name).and_then(|line| line.say("STATUS=starting\n").map(|()| line));
        match said {
            Ok(line) => {
                let text = |variable| env::var(variable).ok();
                let silence_max = silence_max(text(WATCHDOG_USEC), text(WATCHDOG_PID));
                Self { line: Some(Arc::new(line)), silence_max }
            }
            Err(error) => {
                let name = name.display();
                tracing::warn!(%error, "{SOCKET} = {name}: the service manager hears nothing");
                Self::default()
            }
        }
    }

    /// Whether there is anybody to tell.
    pub(crate) const fn listens(&self) -> bool {
        self.line.is_some()
    }

    /// Sends lines of `sd_notify(3)`; false if they did not arrive.
    pub(crate) fn tell(&self, lines: &str) -> bool {
        self.line.as_ref().is_some_and(|line| line.say(lines).is_ok())
    }

    /// Says that the node begins to stop.
    pub(crate) fn tell_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: clients get their replies, another node leads\n");
    }

    /// Says why the node failed.
    pub(crate) fn tell_failure(&self, error: &dyn std::fmt::Display) {
        // A message is lines, so a text in it is one.
        self.tell(&format!("STATUS=failed: {}\n", error.to_string().replace('\n', " ")));
    }
}

impl Line {
    fn to(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    /// Finds the manager each time, so that it may have made its socket anew.
    fn say(&self, lines: &str) -> io::Result<()> {
        self.socket.send_to_addr(lines.as_bytes(), &self.manager).map(drop)
    }
}

/// The watchdog's patience with this process.
fn silence_max(usec: Option<String>, process: Option<String>) -> Option<Span> {
    if process.is_some_and(|process| process != std::process::id().to_string()) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Span::from_nanos(usec.saturating_mul(1000)))
}

/// Tells the manager from turn to turn how the node is.
///
/// Its turns are taken by the task that applies what is decided, behind whatever waits there. So
/// the manager hears nothing from a node that answers its metrics and applies nothing.
pub(crate) struct Reporter {
    manager: Manager,
    facts: Arc<dyn Facts>,
    ready: bool,
    fed: Option<Instant>,
    extended: Option<Instant>,
    /// Standing, applied slot, and when they were told.
    told: Option<(String, u64, Instant)>,
}

impl Reporter {
    /// Has told nothing yet.
    pub(crate) fn new(manager: Manager, facts: Arc<impl Facts>) -> Self {
        Self { manager, facts, ready: false, fed: None, extended: None, told: None }
    }

    /// Tells what is due.
    pub(crate) fn turn(&mut self, now: Instant) {
        let mut lines = String::new();
        let feeds = self.manager.silence_max.is_some_and(|silence| {
            self.fed.is_none_or(|fed| now.since(fed).nanos() >= silence.nanos() / 2)
        });
        if feeds {
            lines.push_str("WATCHDOG=1\n");
        }
        let becomes_ready = !self.ready && unready(&*self.facts).is_none();
        if becomes_ready {
            lines.push_str("READY=1\n");
        }
        // The node is well and waits for others: starting it again would not bring them.
        let waits = !self.ready && !becomes_ready;
        let extends = waits && self.extended.is_none_or(|at| now.since(at) >= EXTENSION_PAUSE);
        if extends {
            extend(&mut lines);
        }
        let status = self.facts.status();
        let (standing, applied) = (standing(&status, &*self.facts), own_applied(&status));
        let news = self.told.as_ref().is_none_or(|(known, slot, at)| {
            *known != standing || (*slot != applied && now.since(*at) >= APPLIED_PAUSE)
        });
        if news {
            writeln!(lines, "STATUS={standing}, applied s{applied}").expect("strings take all");
        }
        if lines.is_empty() || !self.manager.tell(&lines) {
            return;
        }
        self.ready |= becomes_ready;
        self.fed = if feeds { Some(now) } else { self.fed };
        self.extended = if extends { Some(now) } else { self.extended };
        if news {
            self.told = Some((standing, applied, now));
        }
    }
}

fn extend(lines: &mut String) {
    writeln!(lines, "EXTEND_TIMEOUT_USEC={EXTENSION_USEC}").expect("strings take all");
}

/// What the node is among the others.
fn standing(status: &Status, facts: &dyn Facts) -> String {
    let local = status.local;
    if facts.stopping() {
        return format!("n{local} stops");
    }
    let role = status.nodes.iter().find(|node| node.id == local).map(|node| node.role);
    match (status.master, role) {
        (None, _) => format!("n{local} waits: no master with a quorum is known"),
        (Some(master), _) if master == local => format!("n{local} is the master"),
        (Some(master), Some(Role::Observer)) => format!("n{local} observes the master n{master}"),
        (Some(master), _) => format!("n{local} follows the master n{master}"),
    }
}

fn own_applied(status: &Status) -> u64 {
    status.nodes.iter().find(|node| node.id == status.local).map_or(0, |node| node.applied)
}

/// How far a start has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// Grows as long as the start gets on.
    pub(crate) count: u64,
    /// The same for people.
    pub(crate) text: String,
}

/// Has the manager wait longer while a start gets on. Ends when dropped.
pub(crate) struct StartWatch {
    thread: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl StartWatch {
    /// Looks at the progress now and then, until there is none to look at.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        manager: &Manager,
        look: impl Fn() -> Option<Progress> + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with_pause(manager, LOOK_PAUSE, look)
    }

    fn start_with_pause(
        manager: &Manager,
        pause: Duration,
        look: impl Fn() -> Option<Progress> + Send + 'static,
    ) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        if !manager.listens() {
            return Ok(Self { thread: None, ended });
        }
        let (manager, end) = (manager.clone(), Arc::clone(&ended));
        let thread = thread::Builder::new().name("start-watch".to_owned()).spawn(move || {
            let mut last = None;
            while !end.load(Ordering::Acquire)
                && let Some(Progress { count, text }) = look()
            {
                // What stands still is left to the patience of the manager.
                if last != Some(count) {
                    last = Some(count);
                    let mut lines = String::new();
                    extend(&mut lines);
                    writeln!(lines, "STATUS={text}").expect("strings take all");
                    manager.tell(&lines);
                }
                thread::park_timeout(pause);
            }
        })?;
        Ok(Self { thread: Some(thread), ended })
    }
}

impl Drop for StartWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that watches the start panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
