//! Readers on other threads see every command whole or not at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use warlock_resp::{Protocol, ReplyWriter};
use warlock_store::conformance::{self, Replica, with_request};
use warlock_store::{Applier, Options, Reader};

const ROUNDS: u64 = 3_000;
/// A clock that stands still: only log time makes keys expire.
const NOW_US: u64 = 1_700_000_000_000_000;

fn wide() -> Replica<Applier> {
    Replica::new(warlock_store::new(Options { hash_seed: 7, shards: 64 }))
}

/// Runs `write` with the numbers of all rounds while two threads look through `look`.
fn race(
    replica: &mut Replica<Applier>,
    write: impl Fn(&mut Replica<Applier>, u64),
    look: impl Fn(&Reader) + Sync,
) {
    let done = AtomicBool::new(false);
    let reader = replica.reader.clone();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    look(&reader);
                }
            });
        }
        for round in 0..ROUNDS {
            write(replica, round);
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn read(reader: &Reader, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = conformance::read(reader, 0, &words, NOW_US).expect("not in limbo");
    String::from_utf8(reply).unwrap()
}

fn apply(replica: &mut Replica<Applier>, line: &str) {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = replica.apply(&words);
    assert!(!reply.starts_with(b"-"), "{line}");
}

#[test]
fn mset_and_mget_never_mix() {
    let mut replica = wide();
    apply(&mut replica, "MSET a 0 b 0 c 0 d 0");
    race(
        &mut replica,
        |replica, round| apply(replica, &format!("MSET a {round} b {round} c {round} d {round}")),
        |reader| {
            let reply = read(reader, "MGET a b c d");
            let values: Vec<_> = reply.lines().skip(2).step_by(2).collect();
            assert_eq!(values.len(), 4);
            assert!(values.iter().all(|value| *value == values[0]), "{reply}");
        },
    );
}

#[test]
fn a_renamed_key_is_always_there_once() {
    let mut replica = wide();
    apply(&mut replica, "SET a v");
    race(
        &mut replica,
        |replica, round| {
            let names = if round % 2 == 0 { "a b" } else { "b a" };
            apply(replica, &format!("RENAME {names}"));
        },
        |reader| {
            assert_eq!(read(reader, "EXISTS a b"), ":1\r\n");
            assert!(read(reader, "KEYS *").starts_with("*1\r\n"));
            assert!(read(reader, "SCAN 0 COUNT 100").contains("*1\r\n"));
            assert!(read(reader, "RANDOMKEY").starts_with("$1\r\n"));
            assert_eq!(read(reader, "DBSIZE"), ":1\r\n");
        },
    );
}

#[test]
fn a_flushed_database_is_never_half_empty() {
    let mut replica = wide();
    race(
        &mut replica,
        |replica, round| {
            let line = if round % 2 == 0 { "MSET a 1 b 2 c 3 d 4 e 5" } else { "FLUSHALL" };
            apply(replica, line);
        },
        |reader| {
            for line in ["EXISTS a b c d e", "DBSIZE"] {
                let reply = read(reader, line);
                assert!(reply == ":0\r\n" || reply == ":5\r\n", "{line}: {reply}");
            }
            let keys = read(reader, "KEYS *");
            assert!(keys.starts_with("*0\r\n") || keys.starts_with("*5\r\n"), "{keys}");
        },
    );
}

#[test]
fn keys_that_expire_together_go_together() {
    let mut replica = wide();
    race(
        &mut replica,
        |replica, _| {
            replica.batch(|backend| {
                for key in [b"a", b"b", b"c"] {
                    let mut out = Vec::new();
                    let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
                    let words: [&[u8]; 5] = [b"SET", key, b"v", b"PX", b"1"];
                    with_request(&words, |request| backend.apply(0, request, &mut reply));
                }
            });
            replica.log_time_us += 1_000;
        },
        |reader| {
            // They come one after the other, so whoever is there was not before its elders.
            let reply = read(reader, "MGET a b c");
            let lines = reply.replace("$1\r\nv\r\n", "v").replace("$-1\r\n", "-");
            let seen = lines.trim_start_matches("*3\r\n");
            assert!(["---", "v--", "vv-", "vvv"].contains(&seen), "{seen}");
        },
    );
}

#[test]
fn keys_with_one_deadline_go_in_one_moment_for_a_long_command() {
    const KEYS: usize = 2_000;
    let names: Vec<_> = (0..KEYS).map(|key| format!("key:{key}")).collect();
    let mut words: Vec<&[u8]> = vec![b"EXISTS"];
    words.extend(names.iter().map(|name| name.as_bytes()));
    for _ in 0..20 {
        let mut replica = wide();
        for name in &names {
            replica.apply(&[b"SET", name.as_bytes(), b"v", b"PX", b"1"]);
        }
        replica.log_time_us += 1_000;
        let reader = replica.reader.clone();
        let looking = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let reply = conformance::read(&reader, 0, &words, NOW_US).unwrap();
                    looking.store(true, Ordering::Relaxed);
                    if reply == b":0\r\n" {
                        break;
                    }
                    let all = format!(":{KEYS}\r\n");
                    assert_eq!(String::from_utf8(reply).unwrap(), all);
                }
            });
            while !looking.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            replica.batch(|_| {});
        });
    }
}
