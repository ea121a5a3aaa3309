//! A disk that works in bursts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::random::Random;
use crate::Disk;

/// How long the disk works between two waits.
const BURST: Duration = Duration::from_millis(15);

/// A disk that is frozen and thawed in turns until this is dropped: each write and each sync takes
/// as long as the wait that it falls into.
///
/// Freezing syncs what was written before, so a slow disk loses nothing that its power could.
#[derive(Debug)]
pub(super) struct Slowness {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slowness {
    /// Makes a disk slow, with waits of up to `most_ms`.
    pub(super) fn start(disk: Arc<Disk>, most_ms: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut random = Random::new(most_ms, 1);
            while !seen.load(Ordering::Relaxed) {
                disk.freeze();
                thread::park_timeout(Duration::from_millis(random.within(1, most_ms)));
                disk.thaw();
                thread::park_timeout(BURST);
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Slowness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is dropped once");
        thread.thread().unpark();
        // If it panicked the disk is not frozen: freezing is what can fail.
        let _ = thread.join();
    }
}
