//! The identity of a data directory that something wrote into: it loads or is refused, and what
//! was loaded is the same after it was written again.
//!
//! The first byte of the data chooses whether the rest is the file as it is, or gets the length
//! and the checksum of a whole block, because a fuzzer does not guess checksums.
#![no_main]

use std::io::IoSlice;

use libfuzzer_sys::fuzz_target;
use warlock_paxos::{Incarnation, NodeId};
use warlock_wal::{Disk, DiskFile, FaultyDisk, Identity, IdentityError};

/// What an identity says.
type Told = (String, NodeId, Incarnation, Vec<(NodeId, Incarnation)>);

fuzz_target!(|data: &[u8]| {
    let [selector, input @ ..] = data else { return };
    let mut content = input.to_vec();
    if selector % 2 == 1 {
        seal(&mut content);
    }
    let disk = FaultyDisk::new(5);
    write(&disk, &content);
    let Ok(loaded) = Identity::load(disk.clone()) else { return };
    let mut identity = loaded.expect("the file is there");
    let starts = identity.starts();
    let counted = identity.count_start().expect("the double works");
    assert_eq!(counted, starts.saturating_add(1));
    let stranger = identity.remember_peer(NodeId::new(7), Incarnation::new(70));
    let is_expected = matches!(
        stranger,
        Ok(()) | Err(IdentityError::OtherPeer { .. } | IdentityError::TooManyPeers)
    );
    assert!(is_expected, "{stranger:?}");
    let again = Identity::load(disk).expect("it was just written").expect("the file is there");
    assert_eq!(again.starts(), counted);
    assert_eq!(told(&again), told(&identity));
});

fn told(identity: &Identity<FaultyDisk>) -> Told {
    let cluster = identity.cluster().to_owned();
    (cluster, identity.node(), identity.incarnation(), identity.peers().collect())
}

/// Makes one block with a true length and checksum of the whole content (FORMAT.md).
fn seal(content: &mut Vec<u8>) {
    if content.len() < 20 {
        content.resize(20, 0);
    }
    content[..8].copy_from_slice(b"WLKident");
    let length = u32::try_from(content.len()).expect("inputs are short");
    content[16..20].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&content[..8]), &content[12..]);
    content[8..12].copy_from_slice(&checksum.to_le_bytes());
}

fn write(disk: &FaultyDisk, content: &[u8]) {
    let file = disk.create("identity").expect("the double creates");
    file.write_at(&mut [IoSlice::new(content)], 0).expect("the double writes");
    file.sync_data().expect("the double syncs");
    disk.sync_directory().expect("the double syncs");
}
