//! What only the daemon knows of clocks and of its process.

use std::fs;

use warlock_node::front::{ProcessFacts, Surroundings};
use warlock_paxos::{Instant, LogTime};

use crate::clock;

/// The clocks and the process of the daemon.
#[derive(Debug)]
pub(super) struct Process;

impl Surroundings for Process {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn wall(&self) -> LogTime {
        clock::wall()
    }

    fn process(&self) -> ProcessFacts {
        let (user_ticks, system_ticks) = processor_ticks();
        ProcessFacts {
            id: std::process::id(),
            executable: std::env::current_exe().unwrap_or_default(),
            resident_bytes: resident_bytes(),
            user_ticks,
            system_ticks,
        }
    }
}

/// Memory that the kernel has given this process, in bytes; zero if it does not say.
fn resident_bytes() -> u64 {
    let parse = || {
        let text = fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    parse().unwrap_or(0) * 1024
}

/// Processor time of this process in user and kernel mode, in ticks; zero if unknown.
fn processor_ticks() -> (u64, u64) {
    let parse = || {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program, in parentheses, may hold anything; fields follow after it.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    parse().unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_this_process_uses() {
        let facts = Process.process();
        assert_eq!(facts.id, std::process::id());
        assert!(facts.resident_bytes > 0);
        assert!(facts.executable.is_file());
    }
}
