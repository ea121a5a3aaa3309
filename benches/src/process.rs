//! Processes that a measurement starts, and what the kernel says about them.

use std::fs;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result, error::Context as _};

/// Polls `condition` every 2 ms until it yields a value, at most for `patience`.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format!("gave up after {patience:?} waiting for {what}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether somebody listens on a port of 127.0.0.1. To find out by connecting may end in a
/// connection of the port with itself, which then keeps the server from listening.
pub fn is_listening(address: SocketAddr) -> Result<bool> {
    let wanted = format!(":{:04X} 00000000:0000 0A", address.port());
    Ok(fs::read_to_string("/proc/net/tcp")?.contains(&wanted))
}

/// A child process that is stopped when dropped.
#[derive(Debug)]
pub struct OwnedProcess {
    child: Child,
    name: String,
    log: PathBuf,
}

impl OwnedProcess {
    /// Starts `command` with its output and errors in the file `log`.
    pub fn spawn(command: &mut Command, name: &str, log: &Path) -> Result<Self> {
        let file = File::create(log).context(format_args!("cannot create {}", log.display()))?;
        command.stdout(file.try_clone()?);
        Self::spawn_with_output(command.stderr(file), name, log)
    }

    /// Starts `command`, whose output the caller has directed. `log` is shown when it fails.
    pub fn spawn_with_output(command: &mut Command, name: &str, log: &Path) -> Result<Self> {
        let child =
            command.stdin(Stdio::null()).spawn().context(format_args!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its piped standard output, the first time.
    pub fn take_output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until `ready` yields a value; fails at once, with the log, when the process ends.
    pub fn wait_until<T>(
        &mut self,
        patience: Duration,
        mut ready: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let what = format!("{} to become ready", self.name);
        let waited = wait_for(&what, patience, || {
            if let Some(status) = self.child.try_wait()? {
                return Err(Error::new(format!("{} ended with {status}", self.name)));
            }
            ready()
        });
        waited.map_err(|error| Error::new(format!("{error}\n{}", tail(&self.log))))
    }

    /// Sends `signal` and waits for the end.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        send_signal(self.pid(), signal)?;
        wait_for(&format!("{} to end", self.name), patience, || Ok(self.child.try_wait()?))
    }

    /// Reaps the process if it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        if self.stop(Signal::TERM, Duration::from_secs(5)).is_err() {
            // Nothing is left to do about a process that cannot even be killed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends `signal` to the process `pid`.
pub fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    kill_process(to_pid(pid)?, signal)
        .context(format_args!("cannot send {signal:?} to process {pid}"))
}

fn to_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Error::new(format!("{pid} is no process id")))
}

/// What tells a process from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    started: u64,
}

impl ProcessIdentity {
    /// The process that has this id now.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self { pid, started: ProcessStat::read(pid)?.started })
    }

    /// Whether that very process runs. One that only waits to be reaped does not.
    pub fn is_running(self) -> bool {
        ProcessStat::read(self.pid)
            .is_ok_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessStat {
    state: char,
    cpu_ticks: u64,
    started: u64,
}

impl ProcessStat {
    fn read(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))
            .context(format_args!("process {pid}"))?;
        Self::parse(&text)
    }

    /// The name in parentheses may hold anything, also spaces and parentheses.
    fn parse(text: &str) -> Result<Self> {
        let fields = || {
            let (_, rest) = text.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
            Some(Self {
                state: fields.first()?.chars().next()?,
                cpu_ticks: number(11)? + number(12)?,
                started: number(19)?,
            })
        };
        fields().ok_or_else(|| Error::new(format!("not a stat line: {text}")))
    }
}

/// Processor time, user and system, that these processes have used, all threads included.
pub fn cpu_time(pids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for &pid in pids {
        ticks += ProcessStat::read(pid)?.cpu_ticks;
    }
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/status")).context(format_args!("process {pid}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or_else(|| Error::new(format!("process {pid} has no resident memory")))?
        .trim()
        .parse()
        .context("VmRSS")?;
    Ok(kibibytes * 1_024)
}

/// What all processors of the machine have spent, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineCpu {
    /// Everything, idle time too.
    pub total: u64,
    /// In processes.
    pub busy: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl MachineCpu {
    /// The counters now.
    pub fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?)
    }

    /// Interrupts are left out of `busy`: the kernel charges them to nobody, and most are the
    /// loopback traffic of the measurement itself.
    fn parse(text: &str) -> Result<Self> {
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let ticks: Vec<u64> = line
            .unwrap_or_default()
            .split_whitespace()
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        let &[user, nice, system, .., steal] = ticks.as_slice() else {
            return Err(Error::new("/proc/stat does not start with the processors' times"));
        };
        Ok(Self { total: ticks.iter().sum(), busy: user + nice + system, steal })
    }
}

/// A loopback address whose port was free just now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A port so that `count` ports from it, and from 100 and 200 above it, were free just now.
pub fn free_base_port(count: u16) -> Result<u16> {
    // Spread over processes that look at the same time.
    let offset = u16::try_from(std::process::id() % 40).unwrap_or(0);
    for step in 0..40_u16 {
        let base = 20_000 + (offset + step) % 40 * 300;
        let mut ports = [0, 100, 200].into_iter().flat_map(|lane| {
            let first = base + lane;
            first..first + count
        });
        if ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    Err(Error::new("no free range of ports between 20000 and 32000"))
}

/// First line that `program argument` prints.
pub fn version_line(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .context(format_args!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_strange_process_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 120 30 0 0 20 0 4 0 5555 1 2";
        let stat = ProcessStat::parse(line).unwrap();
        assert_eq!(stat, ProcessStat { state: 'S', cpu_ticks: 150, started: 5_555 });
        assert!(ProcessStat::parse("7 (x) S 1").is_err());
    }

    #[test]
    fn the_machine_line_separates_processes_from_interrupts_and_steal() {
        let cpu = MachineCpu::parse("cpu  10 1 5 100 2 0 4 3 0 0\ncpu0 1 1\n").unwrap();
        assert_eq!(cpu, MachineCpu { total: 125, busy: 16, steal: 3 });
        assert!(MachineCpu::parse("intr 5").is_err());
    }

    #[test]
    fn this_process_is_running_and_uses_memory() {
        let pid = std::process::id();
        assert!(ProcessIdentity::of(pid).unwrap().is_running());
        assert!(resident_bytes(pid).unwrap() > 100_000);
        cpu_time(&[pid]).unwrap();
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sleep");
        let process = OwnedProcess::spawn(command.arg("600"), "sleep", &log).unwrap();
        let identity = ProcessIdentity::of(process.pid()).unwrap();
        assert!(identity.is_running());
        drop(process);
        assert!(!identity.is_running());
    }

    #[test]
    fn a_process_that_ends_early_is_reported_with_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 3"]);
        let mut process = OwnedProcess::spawn(&mut command, "shell", &log).unwrap();
        let waited = process.wait_until(Duration::from_secs(10), || Ok(None::<()>));
        let message = waited.unwrap_err().to_string();
        assert!(message.contains("no such luck") && message.contains('3'), "{message}");
    }
}
