//! When the operator wants the node to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, caught from the moment of installation on.
pub(crate) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Catches the signals; must be called within a runtime.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns when the first signal comes. A second one ends the process at once, so that an
    /// orderly stop that hangs can be cut short without SIGKILL.
    pub(crate) async fn requested(mut self) {
        let name = self.next().await;
        tracing::info!(signal = name, "told to stop");
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(signal = name, "told to stop again: ending at once");
            std::process::exit(1);
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
