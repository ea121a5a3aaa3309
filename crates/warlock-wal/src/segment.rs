//! Segments: names and headers. FORMAT.md describes the bytes.

use std::io::IoSlice;

use bytes::{Buf, BufMut};
use warlock_paxos::mutant;

use crate::disk::{Disk, DiskFile};
use crate::error::{Doing, IoError};
use crate::limits::PAGE;
use crate::mark::Summary;

/// Newest version of the log format that this program knows.
pub(crate) const VERSION: u32 = VERSION_WITH_VIEWS;

/// Version of a log beside which there is no file of the membership.
pub(crate) const VERSION_ALONE: u32 = 1;

/// Version of a log beside which there is, or soon will be, a file of the membership: a program
/// that knows nothing of that must not go on without it.
pub(crate) const VERSION_WITH_VIEWS: u32 = 2;

/// Suffix of files that are not complete yet; whoever opens the directory removes them.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

const MAGIC: &[u8; 8] = b"WLKwalog";
const HEADER_LENGTH: usize = 256;
/// Where in the first page the two copies of the header stand.
const COPIES: [usize; 2] = [0, 2048];

/// What a segment says about itself and about all segments before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Version of the format.
    pub(crate) version: u32,
    /// Makes checksums of this log unlike those that a client could put into a value.
    pub(crate) salt: u64,
    /// Sequence of the first frame.
    pub(crate) first: u64,
    /// The last frame before this segment that counts; those between are declared never written.
    pub(crate) follows: u64,
    /// Length of the file in bytes.
    pub(crate) length: u64,
    /// What is true before the first frame.
    pub(crate) summary: Summary,
}

/// What the first page of a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderPage {
    /// A header; `intact` says whether both copies are good.
    Header { header: SegmentHeader, intact: bool },
    /// A header that a later version of the program wrote.
    Newer(u32),
    /// No copy is readable.
    Damaged,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; PAGE] {
        let mut copy = [0; HEADER_LENGTH];
        let mut out = &mut copy[..];
        out.put_slice(MAGIC);
        out.put_u32_le(0);
        out.put_u32_le(self.version);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.first);
        out.put_u64_le(self.follows);
        out.put_u64_le(self.length);
        self.summary.encode(&mut out);
        let checksum = checksum(&copy);
        copy[8..12].copy_from_slice(&checksum.to_le_bytes());
        let mut page = [0; PAGE];
        for start in COPIES {
            page[start..start + HEADER_LENGTH].copy_from_slice(&copy);
        }
        page
    }

    fn decode(version: u32, mut from: &[u8]) -> Self {
        Self {
            version,
            salt: from.get_u64_le(),
            first: from.get_u64_le(),
            follows: from.get_u64_le(),
            length: from.get_u64_le(),
            summary: Summary::decode(&mut from),
        }
    }
}

impl HeaderPage {
    pub(crate) fn decode(page: &[u8]) -> Self {
        let copies = COPIES.map(|start| page.get(start..start + HEADER_LENGTH));
        let mut good = copies.into_iter().flatten().filter(|copy| is_good(copy));
        let Some(copy) = good.next() else {
            return Self::Damaged;
        };
        let version = (&copy[12..]).get_u32_le();
        if version > VERSION {
            return Self::Newer(version);
        }
        let header = SegmentHeader::decode(version, &copy[16..]);
        Self::Header { header, intact: good.next().is_some() }
    }
}

fn is_good(copy: &[u8]) -> bool {
    copy[..8] == MAGIC[..] && (&copy[8..]).get_u32_le() == checksum(copy)
}

fn checksum(copy: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&copy[..8]), &copy[12..])
}

/// The name of the segment whose first frame has this sequence.
pub(crate) fn name(first: u64) -> String {
    format!("wal-{first:016x}.log")
}

/// The sequence of the first frame, if `name` is that of a segment.
pub(crate) fn first_in_name(segment: &str) -> Option<u64> {
    let digits = segment.strip_prefix("wal-")?.strip_suffix(".log")?;
    let first = u64::from_str_radix(digits, 16).ok()?;
    (name(first) == segment).then_some(first)
}

/// Makes a segment that is durably there with its header, or not at all.
pub(crate) fn create<D: Disk>(disk: &D, header: &SegmentHeader) -> Result<D::File, IoError> {
    let name = name(header.first);
    let temporary = format!("{name}{TEMPORARY_SUFFIX}");
    let file = disk.create(&temporary).doing("create", &temporary)?;
    file.allocate(header.length).doing("allocate", &temporary)?;
    let page = header.encode();
    file.write_at(&mut [IoSlice::new(&page)], 0).doing("write", &temporary)?;
    file.sync_data().doing("sync", &temporary)?;
    disk.rename(&temporary, &name).doing("rename", &temporary)?;
    if !mutant!(DirectoryNotSynced) {
        disk.sync_directory().doing("sync", ".")?;
    }
    Ok(file)
}
