//! Threads whose work may wait run with less priority.

/// Has the calling thread run only when no other wants to, or nearly. To be called by threads that
/// hold no lock that others wait for.
pub(crate) fn lower() {
    // On Linux this is about the thread and not the process. If it is refused, the thread runs like
    // all others.
    let _ = rustix::process::nice(NICE);
}

/// The lowest priority.
const NICE: i32 = 19;
