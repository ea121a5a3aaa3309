//! The identity of the data directory.

use std::io::IoSlice;

use warlock_paxos::{Incarnation, NodeId};
use warlock_wal::{Disk, DiskFile, Failure, FaultyDisk, Identity, IdentityError, Outcome};

use crate::model::{load_or_create, open};

fn node(number: u16) -> NodeId {
    NodeId::new(number)
}

fn incarnation(bits: u128) -> Incarnation {
    Incarnation::new(bits)
}

#[test]
fn an_identity_survives_with_everything_in_it() {
    let disk = FaultyDisk::new(1);
    assert!(Identity::load(disk.clone()).unwrap().is_none(), "a new directory has none");
    let mut identity =
        Identity::create(disk.clone(), "locks", node(3), incarnation(u128::MAX - 5)).unwrap();
    assert_eq!(identity.starts(), 0);
    assert_eq!(identity.count_start().unwrap(), 1);
    assert_eq!(identity.count_start().unwrap(), 2);
    identity.remember_peer(node(1), incarnation(11)).unwrap();
    identity.remember_peer(node(2), incarnation(22)).unwrap();
    let disk = disk.restart(Outcome::Lost);
    let identity = Identity::load(disk).unwrap().unwrap();
    assert_eq!(identity.cluster(), "locks");
    assert_eq!(identity.node(), node(3));
    assert_eq!(identity.incarnation(), incarnation(u128::MAX - 5));
    assert_eq!(identity.starts(), 2);
    assert_eq!(identity.peer(node(1)), Some(incarnation(11)));
    assert_eq!(identity.peer(node(4)), None);
    assert_eq!(identity.peers().count(), 2);
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused_with_both_names() {
    let identity = Identity::create(FaultyDisk::new(1), "locks", node(3), incarnation(1)).unwrap();
    assert!(identity.expect("locks", node(3)).is_ok());
    let error = identity.expect("other", node(3)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherCluster { .. }));
    let text = error.to_string();
    assert!(text.contains("\"locks\"") && text.contains("\"other\""), "{text}");
    let error = identity.expect("locks", node(4)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherNode { .. }));
    let text = error.to_string();
    assert!(text.contains("n3") && text.contains("n4"), "{text}");
}

#[test]
fn a_peer_is_met_only_once_that_is_durable() {
    let steps = {
        let disk = FaultyDisk::new(1);
        let mut identity = Identity::create(disk.clone(), "c", node(1), incarnation(1)).unwrap();
        let before = disk.steps();
        identity.remember_peer(node(2), incarnation(22)).unwrap();
        disk.steps() - before
    };
    for step in 1..=steps {
        let disk = FaultyDisk::new(1);
        let mut identity = Identity::create(disk.clone(), "c", node(1), incarnation(1)).unwrap();
        disk.fail_at(disk.steps() + step, Failure::Io);
        let refused = identity.remember_peer(node(2), incarnation(22));
        assert!(matches!(refused, Err(IdentityError::Io(_))), "step {step}");
        assert_eq!(identity.peer(node(2)), None, "step {step}");
        // The peer connects again.
        identity.remember_peer(node(2), incarnation(22)).unwrap();
        let disk = disk.restart(Outcome::Lost);
        let mut identity = Identity::load(disk).unwrap().unwrap();
        let other = identity.remember_peer(node(2), incarnation(23));
        assert!(matches!(other, Err(IdentityError::OtherPeer { .. })), "step {step}");
    }
}

#[test]
fn a_peer_with_another_directory_is_noticed() {
    let disk = FaultyDisk::new(1);
    let mut identity = Identity::create(disk.clone(), "c", node(1), incarnation(1)).unwrap();
    identity.remember_peer(node(2), incarnation(22)).unwrap();
    let steps = disk.steps();
    identity.remember_peer(node(2), incarnation(22)).unwrap();
    assert_eq!(disk.steps(), steps, "what is known is not written again");
    let error = identity.remember_peer(node(2), incarnation(23)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherPeer { .. }), "P7");
    assert_eq!(identity.peer(node(2)), Some(incarnation(22)));
}

#[test]
fn a_member_takes_the_place_of_whoever_came_under_its_name() {
    let disk = FaultyDisk::new(1);
    let mut identity = Identity::create(disk.clone(), "c", node(1), incarnation(1)).unwrap();
    identity.remember_peer(node(2), incarnation(23)).unwrap();
    identity.remember_member(node(2), incarnation(22)).unwrap();
    let steps = disk.steps();
    identity.remember_member(node(2), incarnation(22)).unwrap();
    assert_eq!(disk.steps(), steps, "what is known is not written again");
    let mut identity = Identity::load(disk.restart(Outcome::Lost)).unwrap().unwrap();
    assert_eq!(identity.peer(node(2)), Some(incarnation(22)));
    let error = identity.remember_peer(node(2), incarnation(23)).unwrap_err();
    assert!(matches!(error, IdentityError::OtherPeer { .. }), "P7");
}

#[test]
fn the_number_of_peers_is_limited() {
    let mut identity = Identity::create(FaultyDisk::new(1), "c", node(1), incarnation(1)).unwrap();
    let most = u16::try_from(warlock_wal::limits::PEERS_MAX).unwrap();
    for number in 0..most {
        identity.remember_peer(node(number), incarnation(1)).unwrap();
    }
    let error = identity.remember_peer(node(most), incarnation(1)).unwrap_err();
    assert!(matches!(error, IdentityError::TooManyPeers));
}

#[test]
fn the_length_of_the_name_is_limited() {
    let longest = "x".repeat(warlock_wal::limits::CLUSTER_NAME_BYTES_MAX);
    let disk = FaultyDisk::new(1);
    Identity::create(disk.clone(), &longest, node(1), incarnation(1)).unwrap();
    let identity = Identity::load(disk.clone()).unwrap().unwrap();
    assert_eq!(identity.cluster(), longest);
    let longer = longest + "x";
    let create = || Identity::create(disk.clone(), &longer, node(1), incarnation(1));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(create));
    assert!(result.is_err());
}

#[test]
fn any_flipped_bit_costs_at_most_one_copy() {
    let disk = FaultyDisk::new(1);
    let mut identity = load_or_create(&disk).unwrap();
    identity.remember_peer(node(9), incarnation(99)).unwrap();
    let image = disk.image();
    for bit in 0..2 * 4096 * 8 {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.flip_bit("identity", bit);
        let identity = Identity::load(disk).unwrap().unwrap();
        assert_eq!(identity.incarnation(), incarnation(77), "bit {bit}");
        assert_eq!(identity.peer(node(9)), Some(incarnation(99)), "bit {bit}");
        assert_eq!(identity.cluster(), "test", "bit {bit}");
    }
}

#[test]
fn a_destroyed_identity_is_not_a_missing_one() {
    let disk = FaultyDisk::new(1);
    load_or_create(&disk).unwrap();
    disk.garble("identity", 0, 8192);
    assert!(matches!(Identity::load(disk), Err(IdentityError::Damaged)));
}

#[test]
fn a_directory_with_a_log_but_without_identity_is_not_new() {
    let disk = FaultyDisk::new(1);
    open(&disk).unwrap();
    assert!(matches!(Identity::load(disk), Err(IdentityError::Damaged)), "P7");
}

#[test]
fn a_later_format_is_refused() {
    let disk = FaultyDisk::new(1);
    load_or_create(&disk).unwrap();
    let mut content = disk.content("identity").unwrap();
    for block in content.chunks_mut(4096) {
        block[12] = 9;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&block[..8]), &block[12..]);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
    }
    let file = disk.open("identity").unwrap();
    file.write_at(&mut [IoSlice::new(&content)], 0).unwrap();
    let error = Identity::load(disk).unwrap_err();
    assert!(matches!(error, IdentityError::NewerVersion(9)), "{error}");
}

#[test]
fn a_block_that_its_counts_reach_beyond_is_damaged() {
    for (offset, value) in [(46, u16::MAX), (48, u16::MAX), (46, 3)] {
        let disk = FaultyDisk::new(1);
        load_or_create(&disk).unwrap();
        let mut block = disk.content("identity").unwrap();
        block.truncate(70);
        block[16..20].copy_from_slice(&70u32.to_le_bytes());
        block[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&block[..8]), &block[12..]);
        block[8..12].copy_from_slice(&checksum.to_le_bytes());
        let file = disk.create("identity").unwrap();
        file.write_at(&mut [IoSlice::new(&block)], 0).unwrap();
        let error = Identity::load(disk).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged), "{value} at {offset}: {error}");
    }
}

#[test]
fn a_file_of_any_length_is_damaged_unless_it_holds_a_block() {
    let disk = FaultyDisk::new(1);
    load_or_create(&disk).unwrap();
    let image = disk.image();
    for length in 0..=8192 {
        let disk = FaultyDisk::from_image(&image, 1);
        disk.cut("identity", length);
        match Identity::load(disk) {
            Ok(identity) => assert!(identity.is_some() && length >= 4096, "{length} bytes"),
            Err(error) => {
                assert!(matches!(error, IdentityError::Damaged) && length < 4096, "{error}");
            }
        }
    }
}
