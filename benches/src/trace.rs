//! Counts the system calls of a running process with `strace`.
//!
//! Tracing slows the process down several times, so batches form differently than in a run
//! without it: the counts show what an operation costs, not how fast it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::OwnedProcess;
use crate::{Error, Result, error::Context as _};

/// A trace of all threads of one process, from attaching to [`Trace::finish`].
#[derive(Debug)]
pub struct Trace {
    strace: OwnedProcess,
    summary: PathBuf,
}

impl Trace {
    /// Attaches to `pid`, with scratch files in `directory`.
    pub fn attach(pid: u32, directory: &Path) -> Result<Self> {
        let (summary, log) = (directory.join("strace.txt"), directory.join("strace.log"));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-p", &pid.to_string(), "-o"]).arg(&summary);
        let mut strace = OwnedProcess::spawn(&mut command, "strace", &log)?;
        strace.wait_until(Duration::from_secs(10), || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            Ok(text.contains(" attached").then_some(()))
        })?;
        Ok(Self { strace, summary })
    }

    /// Detaches; the number of calls by name.
    pub fn finish(mut self) -> Result<SystemCalls> {
        self.strace.stop(Signal::INT, Duration::from_secs(20))?;
        let text = fs::read_to_string(&self.summary).context("summary of strace")?;
        SystemCalls::parse(&text)
    }
}

/// Number of system calls by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCalls {
    /// The counts.
    pub counts: BTreeMap<String, u64>,
}

impl SystemCalls {
    /// Calls of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Calls that wait for a disk.
    pub fn syncs(&self) -> u64 {
        ["fsync", "fdatasync"].iter().filter_map(|&name| self.counts.get(name)).sum()
    }

    /// The most frequent calls, as `name count/operations`.
    pub fn top(&self, operations: u64) -> String {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1));
        let shares = counts.iter().take(5).map(|&(name, &count)| {
            format!("{name} {:.2}", count as f64 / operations.max(1) as f64)
        });
        shares.collect::<Vec<_>>().join(", ")
    }

    /// Rows are `% time, seconds, usecs/call, calls, [errors,] syscall`.
    fn parse(text: &str) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let &[share, _, _, calls, .., name] = fields.as_slice() else {
                continue;
            };
            if share.parse::<f64>().is_err() || name == "total" {
                continue;
            }
            let count = calls.parse().context(format_args!("strace row {line:?}"))?;
            counts.insert(name.to_owned(), count);
        }
        // A process that made no call has an empty summary.
        if counts.is_empty() && !text.trim().is_empty() {
            return Err(Error::new(format!("not a summary of strace: {text}")));
        }
        Ok(Self { counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 80.27    0.002323           4       580        12 read
 19.73    0.000571          57        10           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.002894           4       590        12 total
";

    #[test]
    fn a_summary_is_read_with_and_without_errors() {
        let calls = SystemCalls::parse(SUMMARY).unwrap();
        assert_eq!((calls.total(), calls.syncs()), (590, 10));
        assert_eq!(calls.top(100), "read 5.80, fdatasync 0.10");
        assert_eq!(SystemCalls::parse("\n").unwrap().total(), 0);
        assert!(SystemCalls::parse("strace: no").is_err());
    }
}
