//! Holding one thread of a node, while the others run.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Seizes a thread as a debugger does; Rust alone cannot without unsafe code.
const SCRIPT: &str = include_str!("hold_thread.py");

/// A thread that does nothing until this is dropped.
#[derive(Debug)]
pub struct HeldThread(Child);

impl HeldThread {
    /// Holds the thread with this id.
    ///
    /// # Panics
    /// If there is no Python, or this process may not trace the other.
    #[must_use]
    pub fn hold(thread: u32) -> Self {
        let mut tracer = Command::new("python3")
            .args(["-c", SCRIPT, &thread.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed: scripts/setup");
        let output = tracer.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        assert_eq!(line, "held\n", "thread {thread} cannot be traced");
        Self(tracer)
    }
}

impl Drop for HeldThread {
    fn drop(&mut self) {
        // The end of the tracer lets the thread go.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
