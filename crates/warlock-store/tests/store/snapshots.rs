//! Snapshots taken while writes go on are the state of one moment.

use std::thread;

use proptest::prelude::*;
use warlock_store::conformance::Replica;
use warlock_store::limits::{SNAPSHOT_CHUNK_LENGTH, SNAPSHOT_STEP_LENGTH};
use warlock_store::{Applier, Options, RestoreError, SnapshotStep, SnapshotStream};

use crate::small;

fn fill(replica: &mut Replica<Applier>, keys: u32) {
    for key in 0..keys {
        write(replica, key, "before");
    }
}

fn write(replica: &mut Replica<Applier>, key: u32, value: &str) {
    let (key, value) = (format!("key:{key}"), format!("{value} {key}"));
    let reply = replica.apply(&[b"SET", key.as_bytes(), value.as_bytes()]);
    assert_eq!(reply, b"+OK\r\n");
}

fn restored(chunks: &[Vec<u8>], options: Options) -> Replica<Applier> {
    let mut copy = Replica::new(warlock_store::new(options));
    copy.restore(chunks).expect("a whole snapshot");
    copy
}

#[test]
fn a_snapshot_on_another_thread_is_the_state_when_it_was_taken() {
    let options = Options { hash_seed: 3, shards: 16 };
    let mut replica = Replica::new(warlock_store::new(options));
    fill(&mut replica, 20_000);
    for round in 0..5 {
        let then = replica.reader.checkpoint();
        let snapshot = replica.backend.snapshot();
        let chunks = thread::scope(|scope| {
            let stream = scope.spawn(|| snapshot.collect::<Vec<_>>());
            for key in 0..10_000 {
                write(&mut replica, key * 3, &format!("during {round}"));
                if key % 7 == 0 {
                    replica.apply(&[b"DEL", format!("key:{}", key * 2).as_bytes()]);
                }
            }
            stream.join().unwrap()
        });
        assert!(!replica.backend.is_snapshotting());
        assert_eq!(restored(&chunks, options).reader.checkpoint(), then);
    }
}

#[test]
fn a_flush_and_growth_during_a_snapshot_change_nothing_in_it() {
    let options = Options { hash_seed: 3, shards: 1 };
    let mut replica = Replica::new(warlock_store::new(options));
    fill(&mut replica, 5_000);
    let then = replica.reader.checkpoint();
    let snapshot = replica.backend.snapshot();
    // Segments split, the table empties, and grows again.
    for key in 5_000..20_000 {
        write(&mut replica, key, "new");
    }
    replica.apply(&[b"FLUSHALL"]);
    fill(&mut replica, 3_000);
    for key in 0..3_000 {
        replica.apply(&[b"DEL", format!("key:{key}").as_bytes()]);
    }
    fill(&mut replica, 10);
    let chunks: Vec<_> = snapshot.collect();
    assert_eq!(restored(&chunks, options).reader.checkpoint(), then);
}

#[test]
fn a_restore_during_a_snapshot_changes_nothing_in_it() {
    let mut one = Replica::new(small());
    fill(&mut one, 2_000);
    let mut two = Replica::new(small());
    fill(&mut two, 10);
    let other: Vec<_> = two.backend.snapshot().collect();
    let then = one.reader.checkpoint();
    let snapshot = one.backend.snapshot();
    one.restore(&other).unwrap();
    assert_eq!(one.reader.checkpoint(), two.reader.checkpoint());
    let chunks: Vec<_> = snapshot.collect();
    one.restore(&chunks).unwrap();
    assert_eq!(one.reader.checkpoint(), then);
}

#[test]
fn chunks_are_bounded_but_for_large_values() {
    let mut replica = Replica::new(small());
    let large = vec![b'x'; 3 * SNAPSHOT_CHUNK_LENGTH];
    replica.apply(&[b"SET", b"large", &large]);
    let medium = vec![b'y'; SNAPSHOT_CHUNK_LENGTH / 3];
    for key in 0..20u8 {
        replica.apply(&[b"SET", &[key], &medium]);
    }
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let longer: Vec<_> = chunks.iter().filter(|c| c.len() > SNAPSHOT_CHUNK_LENGTH).collect();
    assert_eq!(longer.len(), 1, "the large value alone");
    assert!(longer[0].len() < large.len() + 100);
    let mut copy = Replica::new(small());
    copy.restore(&chunks).unwrap();
    assert_eq!(copy.reader.checkpoint(), replica.reader.checkpoint());
}

/// Sets what the log cannot see of a state: how its tables grew.
fn filled_in_another_way(replica: &mut Replica<Applier>, keys: u32) {
    fill(replica, keys);
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let before = replica.reader.checkpoint();
    fill(replica, 4 * keys);
    for key in (keys / 2)..(4 * keys) {
        replica.apply(&[b"DEL", format!("key:{key}").as_bytes()]);
    }
    replica.restore(&chunks).unwrap();
    assert_eq!(replica.reader.checkpoint(), before);
}

#[test]
fn two_replicas_write_the_same_bytes_for_the_same_slot() {
    for shards in [1, 2, 64] {
        let options = Options { hash_seed: 5, shards };
        let (mut one, mut two) =
            (Replica::new(warlock_store::new(options)), Replica::new(warlock_store::new(options)));
        fill(&mut one, 5_000);
        filled_in_another_way(&mut two, 5_000);
        let still: Vec<_> = one.backend.snapshot().collect();
        let mut stream = two.backend.snapshot();
        let mut moving = Vec::new();
        for key in 0.. {
            match stream.step() {
                SnapshotStep::Chunk(chunk) => moving.push(chunk),
                SnapshotStep::More => write(&mut two, key * 3, "during"),
                SnapshotStep::End => break,
                SnapshotStep::Inexact => panic!("the image is exact"),
            }
        }
        assert_eq!(still, moving, "{shards} shards");
    }
}

#[test]
fn one_step_copies_little() {
    let options = Options { hash_seed: 5, shards: 1 };
    let mut replica = Replica::new(warlock_store::new(options));
    let value = vec![b'v'; 10_000];
    for key in 0..500_u32 {
        replica.apply(&[b"SET", &key.to_le_bytes(), &value]);
    }
    let mut stream = replica.backend.snapshot();
    let (mut before, mut most) = (0, 0);
    while !matches!(stream.step(), SnapshotStep::End) {
        let (given, all) = stream.progress();
        assert_eq!(all, 500);
        most = most.max(given - before);
        before = given;
    }
    assert_eq!(before, 500);
    assert!(
        most * 10_000 <= 3 * SNAPSHOT_STEP_LENGTH as u64 / 2 + 10_000,
        "{most} items in one step"
    );
}

#[test]
fn several_threads_restore_one_snapshot() {
    let options = Options { hash_seed: 5, shards: 16 };
    let mut replica = Replica::new(warlock_store::new(options));
    fill(&mut replica, 30_000);
    for key in 0..1_000 {
        replica.apply(&[b"PEXPIRE", format!("key:{key}").as_bytes(), b"5000"]);
    }
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let mut copy = Replica::new(warlock_store::new(options));
    let restore = copy.backend.restore();
    restore.chunk(&chunks[0]).unwrap();
    thread::scope(|scope| {
        for first in 1..4 {
            let (restore, chunks) = (&restore, &chunks);
            scope.spawn(move || {
                for chunk in chunks[first..].iter().step_by(3) {
                    restore.chunk(chunk).unwrap();
                }
            });
        }
    });
    let restored = restore.finish().unwrap();
    assert_eq!(restored.checkpoint(), replica.reader.checkpoint());
    drop(copy.backend.install(restored));
    assert_eq!(copy.reader.checkpoint(), replica.reader.checkpoint());
    assert_eq!(copy.backend.next_deadline_us(), replica.backend.next_deadline_us());
    let again: Vec<_> = copy.backend.snapshot().collect();
    assert_eq!(again, chunks);
}

#[test]
fn an_abandoned_snapshot_lets_another_be_taken() {
    let mut replica = Replica::new(small());
    fill(&mut replica, 100);
    let mut abandoned: SnapshotStream = replica.backend.snapshot();
    assert!(abandoned.next_chunk().is_some());
    assert!(replica.backend.is_snapshotting());
    drop(abandoned);
    assert!(!replica.backend.is_snapshotting());
    write(&mut replica, 1, "after");
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let mut copy = Replica::new(small());
    copy.restore(&chunks).unwrap();
    assert_eq!(copy.reader.checkpoint(), replica.reader.checkpoint());
}

#[test]
#[should_panic(expected = "one snapshot at a time")]
fn two_snapshots_at_a_time_are_refused() {
    let mut replica = Replica::new(small());
    let _first = replica.backend.snapshot();
    let _second = replica.backend.snapshot();
}

#[test]
fn a_snapshot_of_another_cluster_is_refused() {
    let chunks: Vec<_> = Replica::new(small()).backend.snapshot().collect();
    for options in [Options { hash_seed: 43, shards: 4 }, Options { hash_seed: 42, shards: 8 }] {
        let mut other = Replica::new(warlock_store::new(options));
        assert_eq!(other.restore(&chunks), Err(RestoreError::Foreign));
    }
    let mut newer = chunks;
    newer[0][1] += 1;
    assert_eq!(Replica::new(small()).restore(&newer), Err(RestoreError::Version(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes from a stranger are refused, and nothing else happens.
    #[test]
    fn any_bytes_are_refused(
        head in prop::collection::vec(any::<u8>(), 0..200),
        items in prop::collection::vec(any::<u8>(), 0..200),
        is_header in any::<bool>(),
    ) {
        let mut replica = Replica::new(small());
        let before = replica.reader.checkpoint();
        let mut chunks: Vec<_> = Replica::new(small()).backend.snapshot().collect();
        if is_header {
            // Version 1, then anything.
            chunks[0] = [&b"H\x01\x00"[..], &head].concat();
        }
        chunks.insert(1, [&b"D"[..], &items].concat());
        let refused = replica.restore(&chunks).is_err();
        prop_assert!(refused || (items.is_empty() && !is_header));
        prop_assert!(!refused || replica.reader.checkpoint() == before);
    }

    /// Whatever is written between the chunks, the snapshot is the state before all of it.
    #[test]
    fn writes_between_chunks_do_not_reach_the_snapshot(
        keys in 0u32..3_000,
        steps in prop::collection::vec((0u32..4_000, 0u8..20), 0..400),
    ) {
        let options = Options { hash_seed: 9, shards: 2 };
        let mut replica = Replica::new(warlock_store::new(options));
        fill(&mut replica, keys);
        let then = replica.reader.checkpoint();
        let mut snapshot = replica.backend.snapshot();
        let mut chunks = Vec::new();
        for (key, step) in steps {
            let name = format!("key:{key}");
            match step {
                0 => chunks.extend(snapshot.next()),
                1 => {
                    replica.apply(&[b"FLUSHDB"]);
                }
                2..=8 => {
                    replica.apply(&[b"DEL", name.as_bytes()]);
                }
                9..=12 => {
                    replica.apply(&[b"PEXPIRE", name.as_bytes(), b"5"]);
                    replica.log_time_us += 1_000;
                }
                _ => write(&mut replica, key, "during"),
            }
        }
        chunks.extend(&mut snapshot);
        prop_assert_eq!(restored(&chunks, options).reader.checkpoint(), then);
    }
}
