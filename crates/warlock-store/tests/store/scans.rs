//! `SCAN` and `RANDOMKEY` while keys come and go.

use std::collections::BTreeSet;

use proptest::prelude::*;
use warlock_resp::{ReplyLimits, ReplyParser, Value};
use warlock_store::conformance::Replica;
use warlock_store::{Applier, Options};

const OPTIONS: Options = Options { hash_seed: 5, shards: 4 };

fn new() -> Replica<Applier> {
    Replica::new(warlock_store::new(OPTIONS))
}

fn parsed(bytes: &[u8]) -> Value {
    let reply = ReplyParser::new(ReplyLimits::DEFAULT).parse(bytes).unwrap();
    reply.expect("a whole reply").0
}

fn text(value: &Value) -> String {
    let Value::Bulk(bytes) = value else { panic!("{value:?}") };
    String::from_utf8(bytes.clone()).unwrap()
}

/// One page: the next cursor and the keys.
fn page(replica: &Replica<Applier>, cursor: &str, count: &str) -> (String, Vec<String>) {
    let words: [&[u8]; 4] = [b"SCAN", cursor.as_bytes(), b"COUNT", count.as_bytes()];
    let reply = replica.read(&words, replica.log_time_us).expect("nothing expires");
    let Value::Array(parts) = parsed(&reply) else { panic!("{reply:?}") };
    let [next, Value::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
    (text(next), keys.iter().map(text).collect())
}

fn set(replica: &mut Replica<Applier>, key: &str) {
    replica.apply(&[b"SET", key.as_bytes(), b"v"]);
}

fn copied(replica: &mut Replica<Applier>) -> Replica<Applier> {
    let chunks: Vec<_> = replica.backend.snapshot().collect();
    let mut copy = new();
    copy.restore(&chunks).expect("a whole snapshot");
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every key that is there from the first page to the last is returned, although others come
    /// and go, tables grow, and each page is asked of another replica.
    #[test]
    fn what_stays_is_found(
        stays in 0u32..2_000,
        count in 1u32..300,
        churn in 0u32..100,
        fail_over in any::<bool>(),
    ) {
        let mut replica = new();
        for key in 0..stays {
            set(&mut replica, &format!("stays:{key}"));
        }
        let mut found = BTreeSet::new();
        let mut cursor = "0".to_owned();
        let mut goes = 0i64;
        loop {
            let (next, keys) = page(&replica, &cursor, &count.to_string());
            found.extend(keys);
            prop_assert!(next.parse::<u64>().unwrap() < 1 << 63, "clients read it as signed");
            if next == "0" {
                break;
            }
            cursor = next;
            for _ in 0..churn {
                goes += 1;
                set(&mut replica, &format!("goes:{goes}"));
                // Were they never removed, they could outrun the scan for ever.
                let name = format!("goes:{}", goes - 500);
                replica.apply(&[b"DEL", name.as_bytes()]);
            }
            if fail_over {
                replica = copied(&mut replica);
            }
        }
        for key in 0..stays {
            let key = format!("stays:{key}");
            prop_assert!(found.contains(&key), "{} is missing", key);
        }
    }
}

#[test]
fn without_changes_a_scan_returns_each_key_once_and_pages_as_asked() {
    let mut replica = new();
    for key in 0..5_000 {
        set(&mut replica, &format!("key:{key}"));
    }
    let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (next, keys) = page(&replica, &cursor, "17");
        assert!(keys.len() == 17 || next == "0", "{} keys", keys.len());
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 5_000);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 5_000);
}

#[test]
fn any_key_may_be_the_random_one() {
    for keys in [1, 3, 200] {
        let mut replica = new();
        for key in 0..keys {
            set(&mut replica, &format!("key:{key}"));
        }
        replica.apply(&[b"SET", b"due", b"v", b"PX", b"1"]);
        replica.log_time_us += 1_000;
        let mut drawn = BTreeSet::new();
        for draw in 0..keys * 40 {
            let reply = replica.apply(&[b"RANDOMKEY"]);
            drawn.insert(text(&parsed(&reply)));
            let now_us = replica.log_time_us + draw;
            let reply = replica.read(&[b"RANDOMKEY"], now_us).expect("nothing expires");
            drawn.insert(text(&parsed(&reply)));
        }
        assert_eq!(drawn.len() as u64, keys);
    }
}
