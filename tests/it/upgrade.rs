//! A cluster that is upgraded one node after the other, under load.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use warlock_tests::{Cluster, Traffic, admin, eventually};

/// Writes before, between and after the restarts.
const SOME: u64 = 300;

/// The program of today, held at version 1 of the peer protocol by the settings.
fn held_at_version_1() -> Cluster {
    Cluster::builder().set("peer.protocol_max", "1").start()
}

/// From its next start on the node speaks what it can.
fn release(cluster: &mut Cluster, id: u16) {
    let wrapper = ["env", "WARLOCK_PEER_PROTOCOL_MAX=2"];
    cluster.node_mut(id).wrap(wrapper.map(str::to_owned).to_vec());
}

/// Waits until the node has agreed on the version with the other since its last start.
fn await_protocol(cluster: &Cluster, id: u16, peer: u16, version: u8) {
    let (peer, version) = (format!("peer=n{peer} "), format!("protocol={version}"));
    eventually("the nodes agree on a version", || {
        let log = cluster.node(id).log_text();
        let mut lines = log.lines().filter(|line| line.contains("connected to the peer"));
        let newest = lines.rfind(|line| line.contains(&peer)).unwrap_or_default();
        if newest.contains(&version) { Ok(()) } else { Err(format!("{newest:?}")) }
    });
}

/// Asks for n3 to be removed; says whether that was done, and what the operator read.
fn remove_third(cluster: &Cluster) -> (bool, String) {
    let mut command = Command::new(admin());
    command.env_remove("WARLOCK_ADDR").arg("--addr").arg(cluster.node(1).client.to_string());
    let output = command.args(["remove", "3"]).output().expect("warlock-admin can be started");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Restarts one node; only its own clients may notice more than a delay.
fn roll(cluster: &mut Cluster, id: u16) {
    let others = cluster.others(id);
    let addresses: Vec<_> = others.iter().map(|id| cluster.node(*id).client).collect();
    let traffic = Traffic::start(4, &addresses);
    traffic.await_acknowledged(SOME);
    let finished = cluster.node_mut(id).terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.log);
    traffic.await_acknowledged(SOME);
    cluster.node_mut(id).start();
    cluster.await_ready();
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    let [_, refused, unknown] = ledger.counts();
    assert_eq!((refused, unknown), (0, 0), "clients of other nodes notice a delay only");
    ledger.check(&mut cluster.clients());
}

#[test]
fn a_cluster_of_version_1_is_upgraded_node_by_node_under_load() {
    let mut cluster = held_at_version_1();
    let traffic = Traffic::start(3, &cluster.addresses());
    for id in 1..=3 {
        let (done, text) = remove_third(&cluster);
        assert!(!done && text.contains("must be upgraded first: it speaks version 1"), "{text}");
        release(&mut cluster, id);
        roll(&mut cluster, id);
        for other in cluster.others(id) {
            let version = if other < id { 2 } else { 1 };
            await_protocol(&cluster, id, other, version);
            await_protocol(&cluster, other, id, version);
        }
    }
    traffic.await_acknowledged(SOME);
    let ledger = traffic.stop();
    ledger.check(&mut cluster.clients());
    cluster.await_agreement();
    let (done, text) = remove_third(&cluster);
    assert!(done, "{text}");
    cluster.node_mut(3).kill();
    ledger.check(&mut cluster.clients());
}

/// Directories as the programs of each version left them; kept for ever.
const DIRECTORIES: [(u16, &str); 2] =
    [(1, include_str!("../fixtures/data-1.hex")), (2, include_str!("../fixtures/data-2.hex"))];

fn byte(pair: &[u8]) -> u8 {
    let text = std::str::from_utf8(pair).expect("hexadecimal digits");
    u8::from_str_radix(text, 16).expect("hexadecimal digits")
}

/// The files of a directory: what is not said of them is zero.
fn unpack(packed: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut name = String::new();
    for line in packed.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["file", file, length] = words[..] {
            file.clone_into(&mut name);
            files.insert(name.clone(), vec![0; length.parse().expect("a length")]);
        } else if let [offset, digits] = words[..] {
            let offset = usize::from_str_radix(offset, 16).expect("an offset");
            let row: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
            let file: &mut Vec<u8> = files.get_mut(&name).expect("a file");
            file[offset..offset + row.len()].copy_from_slice(&row);
        }
    }
    files
}

/// A cluster of one node that is not started, with these files as its directory.
fn node_with(files: &BTreeMap<String, Vec<u8>>) -> Cluster {
    let cluster = Cluster::builder().nodes(1).prepare();
    let node = cluster.node(1);
    fs::create_dir_all(&node.data).expect("a directory can be made");
    for (name, bytes) in files {
        fs::write(node.data.join(name), bytes).expect("a file can be written");
    }
    let settings = fs::read_to_string(&node.settings).expect("settings");
    let name = settings.lines().find(|line| line.starts_with("name = ")).expect("a name");
    fs::write(&node.settings, settings.replace(name, "name = \"fixture\"")).expect("settings");
    cluster
}

#[test]
fn directories_of_every_version_are_read() {
    for (version, packed) in DIRECTORIES {
        let mut cluster = node_with(&unpack(packed));
        cluster.node_mut(1).start();
        for _ in 0..2 {
            cluster.await_ready();
            let node = cluster.node(1);
            let mut client = node.connect();
            for (words, value) in [
                (["GET", "greeting"], "hello again"),
                (["GET", "counter"], "42"),
                (["GET", "filler"], "small"),
                (["GET", "volatile"], "later"),
                (["PEXPIRETIME", "volatile"], "4102444800000"),
                (["EXISTS", "gone"], "0"),
                (["EXISTS", "short"], "0"),
                (["SELECT", "3"], "OK"),
                (["GET", "other"], "database"),
            ] {
                assert_eq!(client.text(&words), value, "version {version}: {words:?}");
            }
            let membership = node.membership().expect("the node knows its membership");
            let members = membership["members"].as_array().expect("a list").len();
            assert_eq!(
                (membership["view"].as_u64(), members),
                (Some(version.into()), version.into())
            );
            // What it writes itself it reads as well.
            cluster.node_mut(1).kill();
            cluster.node_mut(1).start();
        }
    }
}

#[test]
fn a_file_of_an_unknown_format_is_refused_by_name() {
    let (_, packed) = DIRECTORIES[1];
    let newer = [("wal-", 256), ("snapshot-", 0), ("membership", 4096), ("identity", 4096)];
    for (prefix, length) in newer {
        let mut files = unpack(packed);
        let (name, bytes) = files.iter_mut().find(|(name, _)| name.starts_with(prefix)).unwrap();
        let name = name.clone();
        // Every copy of the header or block says version 9, with the right checksum.
        let copies: &[usize] = match prefix {
            "wal-" => &[0, 2048],
            "snapshot-" => &[0],
            _ => &[0, 4096],
        };
        for &start in copies {
            let length = if length > 0 { length } else { header_length(bytes) };
            let copy = &mut bytes[start..start + length];
            copy[12] = 9;
            let checksum = crc32c(&[&copy[..8], &copy[12..]].concat());
            copy[8..12].copy_from_slice(&checksum.to_le_bytes());
        }
        let mut cluster = node_with(&files);
        let finished = cluster.node_mut(1).start_and_fail();
        assert_eq!(finished.code, Some(1), "{name}: {}", finished.log);
        for words in [name.as_str(), "has format version 9", "upgrade it"] {
            assert!(finished.log.contains(words), "{name}: {}", finished.log);
        }
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let step = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), shift);
    !bytes.iter().fold(!0, step)
}

/// Length of the header of a snapshot, its membership included.
fn header_length(bytes: &[u8]) -> usize {
    60 + usize::from(bytes[56]) + 256 * usize::from(bytes[57])
}
