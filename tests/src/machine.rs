//! The machine that tests share, and foreign programs on it.

use std::ffi::OsStr;
use std::fs::File;
use std::process::{Command, Output};

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use crate::programs::target;

/// The right to run a cluster, among all tests of all processes. Given back when dropped.
#[derive(Debug)]
pub struct Machine {
    _lock: File,
}

impl Machine {
    /// Waits until no other test runs a cluster.
    #[must_use]
    pub fn reserve() -> Self {
        let path = target().join("warlock-tests.lock");
        let lock = File::create(&path).expect("the directory of the profile can be written");
        retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
            .expect("a local file can be locked");
        Self { _lock: lock }
    }
}

/// Runs a foreign program to its end.
///
/// # Panics
/// If it cannot be started; the message says what installs it.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}: run scripts/setup"))
}

/// Runs a foreign program that must succeed, and returns its output.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn run_ok<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = run(program, arguments);
    let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    assert!(
        output.status.success(),
        "{program} {}: {}\n{}{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stops the test unless it may change networks and mounts.
pub(crate) fn require_root(what: &str) {
    assert!(
        rustix::process::geteuid().is_root(),
        "{what} needs root: run the tests as root, as the build server does"
    );
}
