//! Every bound of this crate, with the reason for its value.

/// Unit of writing, in bytes: frames start and end at multiples of it.
///
/// Page caches and disks write whole pages, so a page with acknowledged content is never written a
/// second time, and a power loss in the middle of a write cannot hurt it.
pub const PAGE_BYTES: u64 = PAGE as u64;

/// The largest unit, in bytes, of which every disk writes either all or nothing.
pub const SECTOR_BYTES: u64 = SECTOR as u64;

/// Preallocated length of a log segment in bytes, unless the options say otherwise.
///
/// Truncation frees whole segments: larger ones keep more behind, smaller ones cost a file more
/// often. At 64 MiB a node that syncs 2,000 times a second makes a new one every few seconds.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The shortest segment in bytes: its header, one frame and one seal, a page each.
pub const SEGMENT_BYTES_MIN: u64 = 3 * PAGE_BYTES;

/// How many zeros are written at once ahead of the frames, in bytes; in a short segment a quarter
/// of it.
///
/// More at once makes one sync longer, less makes more syncs longer. At 8 KiB a frame one sync in
/// 32 carries them.
pub const PREPARE_BYTES: u64 = 256 * 1024;

/// How many slots beyond the highest one on record count as unknown after a [suspect
/// tail](crate::Tail::Suspect).
///
/// A frame holds slots of the in-flight window or of one answer of catch-up; both are far smaller.
pub const SUSPECT_WINDOW: u64 = 4096;

/// Snapshots that are kept: the newest, and the one before for a transfer that has begun.
pub const SNAPSHOTS_KEPT: usize = 2;

/// The longest chunk of a snapshot in bytes; a longer length in a file is damage.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest encoded membership in a snapshot in bytes.
pub const MEMBERSHIP_BYTES_MAX: usize = 64 * 1024;

/// The snapshot that a node takes is synced each time that this many bytes were written.
///
/// Otherwise the sync at its end would have to write everything at once, and the syncs of the log,
/// which share the file system's journal with it, would wait for that. The less at once, the less a
/// write of a client ever waits; below this a step costs more processor time than disk time.
pub const SNAPSHOT_SYNC_BYTES: u64 = 128 * 1024;

/// The longest name of a cluster in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 255;

/// The most peers that an identity file remembers.
pub const PEERS_MAX: usize = 1024;

/// [`PAGE_BYTES`] as a length in memory.
pub(crate) const PAGE: usize = 4096;

/// [`SECTOR_BYTES`] as a length in memory.
pub(crate) const SECTOR: usize = 512;

/// Bytes read at once when a file is scanned.
pub(crate) const SCAN_BYTES: u64 = 1024 * 1024;

const _: () = assert!(PAGE_BYTES.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(SCAN_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(SEGMENT_BYTES.is_multiple_of(PAGE_BYTES));
