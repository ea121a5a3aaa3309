//! One node of a cluster: its settings, its process, its data directory.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value as Json;
use warlock_resp::Value;

use crate::client::{Client, text};
use crate::http::{self, Page};
use crate::machine::run_ok;
use crate::network::Network;
use crate::process::{Finished, Process, read, tail};
use crate::programs::warlockd;
use crate::wait::eventually;

/// Longest wait for an answer of a node about itself.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);

/// One node. Its process is killed when it is dropped.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 1.
    pub id: u16,
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where other nodes connect.
    pub peer: SocketAddr,
    /// Where metrics are.
    pub http: SocketAddr,
    /// Its data directory.
    pub data: PathBuf,
    /// Its settings file.
    pub settings: PathBuf,
    log: PathBuf,
    /// A program and its arguments that become the node's program, such as one that fakes time.
    wrapper: Vec<String>,
    network: Option<Arc<Network>>,
    process: Option<Process>,
    paused: bool,
}

impl Node {
    /// A node with this directory for everything that it has, and with `settings` in TOML.
    pub(crate) fn new(
        id: u16,
        addresses: [SocketAddr; 3],
        directory: &Path,
        data: PathBuf,
        network: Option<Arc<Network>>,
    ) -> Self {
        fs::create_dir_all(directory).expect("a directory can be made");
        let [client, peer, http] = addresses;
        let settings = directory.join("warlock.toml");
        let log = directory.join("log");
        let wrapper = Vec::new();
        let process = None;
        let paused = false;
        Self { id, client, peer, http, data, settings, log, wrapper, network, process, paused }
    }

    /// Writes the settings file: what every node has, `more` as `key = value` lines, and what the
    /// node starts, in the section of the cluster.
    pub(crate) fn write_settings(&self, cluster: &str, start: &str, more: &str) {
        let mut text = String::new();
        let data = self.data.display();
        write!(
            text,
            "node_id = {}\ndata_dir = \"{data}\"\n{more}\n[cluster]\nname = \"{cluster}\"\n{start}",
            self.id
        )
        .expect("writing to a string does not fail");
        fs::write(&self.settings, text).expect("settings can be written");
    }

    /// Makes another node of it: with this number, an empty data directory, and the address of a
    /// member by which it joins.
    ///
    /// # Panics
    /// If its settings are not what this program wrote.
    pub fn become_newcomer(&self, number: u16, by: &str) {
        // A new directory has no identity.
        let _absent = fs::remove_dir_all(&self.data);
        let text = read(&self.settings);
        let (_, rest) = text.split_once('\n').expect("the number is in the first line");
        let (common, start) = rest.split_once("[cluster]\n").expect("settings have a cluster");
        let name = start.lines().next().expect("a cluster has a name");
        let text = format!(
            "node_id = {number}\n{common}[cluster]\n{name}\nstart = \"join\"\njoin = \"{by}\"\n"
        );
        fs::write(&self.settings, text).expect("settings can be written");
    }

    /// Starts the process. Does not wait until it serves.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "n{} runs already", self.id);
        let mut command = self.command();
        command.arg("--config").arg(&self.settings);
        self.process = Some(Process::start(&mut command, &self.log));
    }

    /// Starts the process with `flags` that beat the settings.
    pub fn start_with(&mut self, flags: &[&str]) {
        assert!(self.process.is_none(), "n{} runs already", self.id);
        let mut command = self.command();
        command.arg("--config").arg(&self.settings).args(flags);
        self.process = Some(Process::start(&mut command, &self.log));
    }

    /// What the node says of the membership in force.
    ///
    /// # Errors
    /// It does not answer; the text says why.
    pub fn membership(&self) -> Result<Json, String> {
        let value = self.ask("MEMBERSHIP")?;
        let Value::Bulk(text) = value else { return Err(format!("{value:?}")) };
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// Starts the process and returns how it ended, for a node that cannot work.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn start_and_fail(&mut self) -> Finished {
        self.start();
        self.finish()
    }

    /// Runs another process with the settings of this node and with `flags`, which beat them, and
    /// returns how it ended.
    ///
    /// # Panics
    /// If it does not end by itself.
    #[must_use]
    #[track_caller]
    pub fn run_another(&self, flags: &[&str]) -> Finished {
        Process::run(self.command().arg("--config").arg(&self.settings).args(flags))
    }

    /// Starts the process from now on with these words before the program. The first one must
    /// become the program without a process of its own, as `env` does.
    pub fn wrap(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// The command that starts a program where this node lives.
    fn command(&self) -> Command {
        let outermost = self.wrapper.first().map_or(warlockd(), Path::new);
        let mut command = match &self.network {
            None => Command::new(outermost),
            Some(network) => network.command(self.id, outermost),
        };
        if !self.wrapper.is_empty() {
            command.args(&self.wrapper[1..]).arg(warlockd());
        }
        command
    }

    /// Ends the process as a power failure does: now. The operating system lives on.
    pub fn kill(&mut self) {
        self.take().kill();
    }

    /// Sends SIGTERM and returns how the process ended.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn terminate(&mut self) -> Finished {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Waits until the process ends by itself.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn finish(&mut self) -> Finished {
        self.take().finish()
    }

    /// Stops the process from running, while its sockets stay open (SIGSTOP).
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
        let id = self.process_id();
        eventually("the process stands still", || {
            let state = read(Path::new(&format!("/proc/{id}/stat")));
            let state = state.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
            if state == Some('T') { Ok(()) } else { Err(format!("{state:?}")) }
        });
    }

    /// Lets the process run on (SIGCONT).
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Lets threads whose name starts with `favoured` run before all others of the process, on one
    /// processor. So what they do does not depend on what the others find out at the same time.
    pub fn favour_threads(&self, favoured: &str) {
        self.schedule("0", |name| if name.starts_with(favoured) { "--other" } else { "--idle" });
    }

    /// Ends [`Node::favour_threads`].
    pub fn treat_threads_alike(&self) {
        let last = thread::available_parallelism().map_or(1, usize::from) - 1;
        self.schedule(&format!("0-{last}"), |_| "--other");
    }

    /// Gives each thread the processors and the policy that its name deserves.
    fn schedule(&self, processors: &str, policy: impl Fn(&str) -> &'static str) {
        let tasks = format!("/proc/{}/task", self.process_id());
        for task in fs::read_dir(&tasks).expect("a process has threads").flatten() {
            let name = read(&task.path().join("comm"));
            let id = task.file_name().into_string().expect("thread ids are numbers");
            run_ok("taskset", &["--cpu-list", "--pid", processors, &id]);
            run_ok("chrt", &[policy(&name), "--pid", "0", &id]);
        }
    }

    /// Whether the process exists and is not paused.
    pub fn is_live(&mut self) -> bool {
        !self.paused && self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Whether there is a process, paused or ended as it may be.
    pub(crate) const fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the process was started and ended by itself.
    pub(crate) fn process_has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !process.is_running())
    }

    /// The process id.
    ///
    /// # Panics
    /// If the node is not started.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the node is started").id()
    }

    /// Resident memory of the process in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.process_id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a running process has resident memory")
    }

    /// Connects to the node, from inside its network: also when it is cut off from all others.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn try_connect(&self) -> io::Result<Client> {
        self.try_stream(self.client).and_then(Client::new)
    }

    /// As [`Node::try_connect`], for a node that must be there.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn connect(&self) -> Client {
        self.try_connect()
            .unwrap_or_else(|error| panic!("n{} at {}: {error}", self.id, self.client))
    }

    /// A bare connection to one of the node's addresses, from inside its network.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn try_stream(&self, address: SocketAddr) -> io::Result<TcpStream> {
        match &self.network {
            None => TcpStream::connect_timeout(&address, QUESTION_TIMEOUT),
            Some(network) => network.connect_inside(self.id, address),
        }
    }

    /// What the node says of its cluster.
    ///
    /// # Errors
    /// It does not answer; the text says why.
    pub fn status(&self) -> Result<Json, String> {
        let value = self.ask("STATUS")?;
        let Value::Bulk(text) = value else { return Err(format!("{value:?}")) };
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// The master that the node knows.
    ///
    /// # Errors
    /// It knows none, or does not answer.
    pub fn known_master(&self) -> Result<u16, String> {
        let status = self.status()?;
        let master = status["master"].as_u64().and_then(|id| u16::try_from(id).ok());
        master.ok_or_else(|| format!("n{} knows no master: {status}", self.id))
    }

    /// Applied slot and digest of the node's state.
    ///
    /// # Errors
    /// It does not answer.
    pub fn digest(&self) -> Result<(i64, String), String> {
        let value = self.ask("DIGEST")?;
        let fields: Vec<String> = if let Value::Map(pairs) = &value {
            pairs.iter().map(|(_, field)| text(field)).collect()
        } else if let Value::Array(words) = &value {
            words.iter().skip(1).step_by(2).map(text).collect()
        } else {
            Vec::new()
        };
        match fields.as_slice() {
            [applied, digest] => {
                let applied = applied.parse().map_err(|_| format!("applied is {applied:?}"))?;
                Ok((applied, digest.clone()))
            }
            _ => Err(format!("{value:?}")),
        }
    }

    /// Asks `WARLOCK what`.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask(&self, what: &str) -> Result<Value, String> {
        let mut client = self.try_connect().map_err(|error| format!("n{}: {error}", self.id))?;
        client.set_timeout(QUESTION_TIMEOUT);
        match client.call(&["WARLOCK", what]) {
            Ok(Value::Error(text)) => Err(format!("n{}: {text}", self.id)),
            Ok(value) => Ok(value),
            Err(lost) => Err(format!("n{}: {lost}", self.id)),
        }
    }

    /// A page of the node's HTTP server.
    ///
    /// # Errors
    /// It does not answer.
    pub fn page(&self, path: &str) -> io::Result<Page> {
        http::get(self.try_stream(self.http)?, path)
    }

    /// The value of a metric without labels.
    ///
    /// # Errors
    /// The node does not answer, or has no such metric.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        let page = self.page("/metrics").map_err(|error| error.to_string())?;
        let line = page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.ok_or_else(|| format!("n{} has no metric {name}", self.id))
    }

    /// Bytes that all files of the data directory hold.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let mut total = 0;
        let mut directories = vec![self.data.clone()];
        while let Some(directory) = directories.pop() {
            // Files come and go while the node runs.
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                    Ok(metadata) => total += metadata.len(),
                    Err(_) => {}
                }
            }
        }
        total
    }

    /// Everything that the node's processes wrote so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        read(&self.log)
    }

    /// The end of the log, for reports of failures.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the node is started").signal(signal);
    }

    fn take(&mut self) -> Process {
        self.paused = false;
        self.process.take().expect("the node is started")
    }
}
