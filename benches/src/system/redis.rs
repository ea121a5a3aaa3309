//! One unreplicated `redis-server` that syncs its append-only file before it replies.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{System, data_directory, utf8};
use crate::Result;
use crate::client::Client;
use crate::process::{OwnedProcess, free_address, is_listening, version_line};
use crate::resp::RespLoad;
use crate::workload::{Load, Workload};

/// The server and its data.
#[derive(Debug)]
pub struct Redis {
    process: OwnedProcess,
    address: SocketAddr,
    description: String,
    directory: TempDir,
}

impl Redis {
    /// Starts the server with its data below `root`.
    ///
    /// The rewrite of the append-only file is off: at these data sizes its fork would fall into
    /// one run or another and slow it down.
    pub fn start(root: &Path) -> Result<Self> {
        let directory = data_directory(root, "redis")?;
        let address = free_address()?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", utf8(directory.path())?, "--daemonize", "no"])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--auto-aof-rewrite-percentage", "0"]);
        let mut process =
            OwnedProcess::spawn(&mut command, PROGRAM, &directory.path().join("redis.log"))?;
        process.wait_until(Duration::from_secs(30), || {
            let client = Client::connect(address, Duration::from_secs(1));
            Ok(client.and_then(|mut client| client.request(&[b"PING"])).ok())
        })?;
        let version_line = version_line(Path::new(PROGRAM), "--version")?;
        let version = redis_version(&version_line);
        let description = format!("Redis {version}, 1 node, appendfsync always");
        Ok(Self { process, address, description, directory })
    }

    /// Saves an RDB file and starts a server from that alone; says how long the start took.
    pub fn reload(&self) -> Result<Duration> {
        Client::connect(self.address, PATIENCE)?.request(&[b"SAVE"])?;
        let address = free_address()?;
        let directory = utf8(self.directory.path())?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", directory, "--daemonize", "no"])
            .args(["--appendonly", "no", "--save", ""]);
        let began = Instant::now();
        let log = self.directory.path().join("reloaded.log");
        let mut process = OwnedProcess::spawn(&mut command, PROGRAM, &log)?;
        // It answers that it is loading until it serves.
        process.wait_until(PATIENCE, || {
            if !is_listening(address)? {
                return Ok(None);
            }
            let client = Client::connect(address, Duration::from_secs(1));
            Ok(client.and_then(|mut client| client.request(&[b"PING"])).ok())
        })?;
        Ok(began.elapsed())
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl System for Redis {
    fn description(&self) -> &str {
        &self.description
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.process.pid()]
    }

    fn connect(&self, workload: &Workload) -> Result<Box<dyn Load>> {
        Ok(Box::new(RespLoad::connect(self.address, workload)?))
    }
}

fn redis_version(line: &str) -> &str {
    line.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown")
}

const PROGRAM: &str = "redis-server";

const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_cut_out_of_the_version_line() {
        let line = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(redis_version(line), "7.0.15");
    }
}
