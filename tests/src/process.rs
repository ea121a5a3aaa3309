//! One child process with its output in a file; it never outlives the test.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::wait::eventually;

/// A running child. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// How a child ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Everything that it ever wrote into its log.
    pub log: String,
}

impl Process {
    /// Starts `command`; what it writes is appended to the file `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        Self::start_with_output(command, log, log)
    }

    /// As [`Process::start`], with what it writes to its standard output in a file of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_with_output(command: &mut Command, output: &Path, log: &Path) -> Self {
        let open = |path| File::options().create(true).append(true).open(path);
        let child = without_settings(command)
            .stdin(Stdio::null())
            .stdout(open(output).expect("a file can be made"))
            .stderr(open(log).expect("a file can be made"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Runs `command` to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end by itself.
    #[must_use]
    #[track_caller]
    pub fn run(command: &mut Command) -> Finished {
        let log = NamedTempFile::new().expect("a file can be made");
        Self::start(command, log.path()).finish()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("process ids fit 22 bits");
        let id = Pid::from_raw(id).expect("a child has an id");
        // A child that has ended is not reaped yet, so the id is nobody else's.
        kill_process(id, signal).expect("a child can be signalled");
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let status = eventually("the process ends", || {
            self.status().ok_or_else(|| format!("it runs; its log: {}", tail(&self.log)))
        });
        Finished { code: status.code(), log: self.log_text() }
    }

    /// Everything that it wrote so far, and those before it with the same log.
    #[must_use]
    pub fn log_text(&self) -> String {
        read(&self.log)
    }

    /// Ends it at once and waits for that.
    pub fn kill(mut self) {
        self.end();
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    fn end(&mut self) {
        // Both fail only if it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps settings of the machine's owner out of a test, but not those that the test gave.
fn without_settings(command: &mut Command) -> &mut Command {
    let given: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WARLOCK_") && !given.contains(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// A file as text; nothing if it does not exist.
pub(crate) fn read(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 40;
    let text = read(path);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
