//! Threads whose work may wait run with less priority.

/// Has the calling thread get less of the processors than others that want them. To be called by
/// threads that hold no lock that others wait for.
pub(crate) fn lower() {
    // On Linux this is about the thread and not the process. If it is refused, the thread runs like
    // all others.
    let _ = rustix::process::nice(NICE);
}

/// A third of what a thread of usual priority gets. The lowest priority gets a seventieth: on a
/// machine with too much to do, a node that is behind would never be level.
const NICE: i32 = 5;
