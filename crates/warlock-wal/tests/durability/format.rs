//! FORMAT.md tells the truth: its tables are read and compared with files that were written.

use std::collections::BTreeMap;

use bytes::Buf;
use warlock_paxos::encode_charter;
use warlock_wal::FaultyDisk;

use crate::model::{
    FIRST_SEGMENT, OPTIONS, Op, Run, accept, accept_view, ballot, batch, charter, decided,
    in_force, meta, promise,
};

const FORMAT: &str = include_str!("../../FORMAT.md");

/// Offset and length of each field of the table behind `title`.
fn table(title: &str) -> BTreeMap<&'static str, (usize, usize)> {
    let (_, text) = FORMAT.split_once(title).expect("the title is there");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| offset"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut fields = BTreeMap::new();
    let mut due = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (offset, length) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        assert_eq!(offset, due, "{title} {row}: fields follow each other");
        due = offset + length;
        fields.insert(cells[3], (offset, length));
    }
    fields.insert("end", (due, 0));
    fields
}

struct Bytes<'a> {
    bytes: &'a [u8],
    fields: BTreeMap<&'static str, (usize, usize)>,
}

impl<'a> Bytes<'a> {
    fn new(bytes: &'a [u8], title: &str) -> Self {
        let fields = table(title);
        Self { bytes, fields }
    }

    fn slice(&self, field: &str) -> &'a [u8] {
        let (offset, length) = self.fields[field];
        &self.bytes[offset..offset + length]
    }

    fn number(&self, field: &str) -> u64 {
        self.slice(field).to_vec().as_slice().get_uint_le(self.slice(field).len())
    }

    fn length(&self) -> usize {
        self.fields["end"].0
    }

    /// The checksum of everything from the start to `end` but the field of the checksum itself.
    fn checksum(&self, end: usize) -> u64 {
        let (offset, length) = self.fields["checksum"];
        let checksum = crc32c::crc32c(&self.bytes[..offset]);
        u64::from(crc32c::crc32c_append(checksum, &self.bytes[offset + length..end]))
    }
}

fn written() -> FaultyDisk {
    let disk = FaultyDisk::new(0);
    let ops = [
        Op::CountStart,
        Op::Append(promise(3)),
        Op::Append(accept(1, 4, 3000)),
        Op::Append(accept(2, 4, 10)),
        Op::Append(decided(2)),
        Op::Sync,
        Op::Snapshot(2),
    ];
    assert!(Run::new().perform(&disk, &ops).is_some());
    disk
}

fn check_summary(bytes: &[u8], round: u64, decided: u64, highest: u64, floor: u64) {
    let summary = Bytes::new(bytes, "Summary, true");
    assert_eq!(summary.length(), 48);
    let view = if round == 0 { 0 } else { 1 };
    assert_eq!(summary.number("ballot view"), view);
    assert_eq!(summary.number("ballot round"), round);
    assert_eq!(summary.number("ballot node"), 2 * view);
    assert_eq!(summary.number("decided"), decided);
    assert_eq!(summary.number("highest"), highest);
    assert_eq!(summary.number("floor"), floor);
}

#[test]
fn segment_header_is_as_described() {
    let segment = written().content(FIRST_SEGMENT).unwrap();
    assert_eq!(segment.len() as u64, OPTIONS.segment_bytes);
    for copy in [&segment[..2048], &segment[2048..4096]] {
        let header = Bytes::new(copy, "Segment header:");
        assert_eq!(header.length(), 256);
        assert_eq!(header.slice("magic"), b"WLKwalog");
        assert_eq!(header.number("checksum"), header.checksum(256));
        assert_eq!(header.number("version"), 1);
        assert_eq!(header.number("salt"), OPTIONS.salt);
        assert_eq!(header.number("first"), 1);
        assert_eq!(header.number("follows"), 0);
        assert_eq!(header.number("length"), OPTIONS.segment_bytes);
        check_summary(header.slice("summary"), 0, 1, 0, 1);
    }
}

#[test]
fn frames_are_as_described() {
    let segment = written().content(FIRST_SEGMENT).unwrap();
    let bodies = [batch(1, 4, 3000), batch(2, 4, 10)];
    let frame = &segment[4096..8192];
    let last = &frame[4096 - 128..];
    // The seal of the first frame was overwritten by the second one, which is empty.
    let second = &segment[8192..12288];
    let seal = &segment[12288..12288 + 128];
    let marks =
        [(frame, "WLKframe"), (last, "WLKfoot\0"), (second, "WLKframe"), (seal, "WLKseal\0")];
    for (index, (bytes, magic)) in marks.into_iter().enumerate() {
        let is_first = index < 2;
        let mark = Bytes::new(bytes, "Mark:");
        assert_eq!(mark.length(), 128);
        assert_eq!(mark.slice("magic"), magic.as_bytes());
        let mut placed = OPTIONS.salt.to_le_bytes().to_vec();
        placed.extend(if is_first { 4096_u64 } else { 8192 }.to_le_bytes());
        placed.extend(&bytes[..8]);
        placed.extend(&bytes[12..128]);
        assert_eq!(mark.number("checksum"), u64::from(crc32c::crc32c(&placed)));
        assert_eq!(mark.number("records"), if is_first { 2 } else { 0 });
        assert_eq!(mark.number("sequence"), if is_first { 1 } else { 2 });
        assert_eq!(mark.number("length"), 4096);
        let (lowest, highest) = if is_first { (1, 2) } else { (0, 0) };
        assert_eq!(mark.number("lowest"), lowest);
        assert_eq!(mark.number("highest"), highest);
        check_summary(mark.slice("summary"), 4, 2, 2, if is_first { 1 } else { 2 });
    }
    let mark = Bytes::new(frame, "Mark:");
    let index = &frame[128..128 + 80];
    assert_eq!(mark.number("index checksum"), u64::from(crc32c::crc32c(index)));
    let zeros = frame.chunks(512).filter(|sector| sector.iter().all(|byte| *byte == 0));
    assert_eq!(mark.number("zero sectors"), zeros.count() as u64);
    let mut start = 128 + 80;
    for (index, body) in index.chunks(40).zip(&bodies) {
        let entry = Bytes::new(index, "Index entry");
        assert_eq!(entry.length(), 40);
        assert_eq!(entry.number("kind"), 1);
        assert_eq!(entry.number("slot"), body.proposals()[0].origin.sequence);
        assert_eq!(entry.number("ballot round"), ballot(4).round);
        let length = body.as_bytes().len();
        assert_eq!(entry.number("length"), length as u64);
        assert_eq!(&frame[start..start + length], &body.as_bytes()[..]);
        let checksum = crc32c::crc32c(body.as_bytes());
        assert_eq!(entry.number("checksum"), u64::from(checksum));
        start += length;
    }
}

#[test]
fn snapshot_is_as_described() {
    let file = written().content("snapshot-0000000000000002.snap").unwrap();
    let header = Bytes::new(&file, "## Snapshot");
    let membership = meta(2, 4).membership;
    let length = header.length() + membership.len();
    assert_eq!(header.slice("magic"), b"WLKsnaps");
    assert_eq!(header.number("checksum"), header.checksum(length));
    assert_eq!(header.number("version"), 2, "it has a membership");
    assert_eq!(header.number("slot"), 2);
    assert_eq!(header.number("ballot round"), 4);
    assert_eq!(header.number("log time"), 2000);
    assert_eq!(header.number("membership length"), membership.len() as u64);
    assert_eq!(file[header.length()..length], membership);
    let start = file.len() - table("bytes of the file are the footer")["end"].0;
    let footer = Bytes::new(&file[start..], "bytes of the file are the footer");
    assert_eq!(footer.slice("magic"), b"WLKsnend");
    assert_eq!(footer.number("length"), file.len() as u64);
    assert_eq!(footer.number("chunks"), 4);
    assert_eq!(footer.number("checksum"), footer.checksum(footer.length()));
}

#[test]
fn identity_is_as_described() {
    let file = written().content("identity").unwrap();
    assert_eq!(file.len(), 8192);
    for block in file.chunks(4096) {
        let identity = Bytes::new(block, "## Identity");
        assert_eq!(identity.slice("magic"), b"WLKident");
        assert_eq!(identity.number("checksum"), identity.checksum(4096));
        assert_eq!(identity.number("version"), 1);
        assert_eq!(identity.number("length"), 4096);
        assert_eq!(identity.number("node"), 2);
        assert_eq!(identity.slice("incarnation")[0], 77);
        assert_eq!(identity.number("starts"), 1);
        assert_eq!(identity.number("peers"), 0);
        assert_eq!(identity.number("name length"), 4);
        assert_eq!(&block[identity.length()..identity.length() + 4], b"test");
    }
}

#[test]
fn membership_is_as_described() {
    let disk = FaultyDisk::new(0);
    let ops = [
        Op::Append(in_force(2)),
        Op::Append(accept_view(3, 4)),
        Op::Sync,
        Op::Append(in_force(3)),
        Op::Append(accept_view(4, 5)),
        Op::Sync,
    ];
    assert!(Run::new().perform(&disk, &ops).is_some());
    let file = disk.content("membership").unwrap();
    assert_eq!(file.len(), 2 * 4096);
    for block in file.chunks(4096) {
        let views = Bytes::new(block, "## Membership");
        assert_eq!(views.slice("magic"), b"WLKviews");
        assert_eq!(views.number("checksum"), views.checksum(4096));
        assert_eq!(views.number("version"), 1);
        assert_eq!(views.number("length"), 4096);
        assert_eq!(views.number("edition"), 2);
        assert_eq!(views.number("ballot view"), 1);
        assert_eq!(views.number("ballot round"), 5);
        assert_eq!(views.number("ballot node"), 2);
        let (in_force, accepted) = (encode_charter(&charter(3)), encode_charter(&charter(4)));
        assert_eq!(views.number("in force length"), in_force.len() as u64);
        assert_eq!(views.number("accepted length"), accepted.len() as u64);
        let contents = [in_force, accepted].concat();
        assert_eq!(&block[views.length()..views.length() + contents.len()], contents);
    }
    let segment = disk.content(FIRST_SEGMENT).unwrap();
    assert_eq!(Bytes::new(&segment, "Segment header:").number("version"), 2);
    let mark = Bytes::new(&segment[8192..], "Mark:");
    assert_eq!(Bytes::new(mark.slice("summary"), "Summary, true").number("edition"), 2);
}
