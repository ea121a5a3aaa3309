//! Many keys with deadlines.

use warlock_store::conformance::{self, Replica};
use warlock_store::limits::EXPIRED_PER_BATCH;
use warlock_store::{Applier, Backend};

use crate::small;

const KEYS: usize = 3 * EXPIRED_PER_BATCH;

fn filled() -> Replica<Applier> {
    let mut replica = Replica::new(small());
    for key in 0..KEYS {
        replica.apply(&[b"SET", format!("key:{key}").as_bytes(), b"v", b"PX", b"100"]);
    }
    replica.apply(&[b"SET", b"stays", b"v"]);
    replica
}

fn text(replica: &mut Replica<Applier>, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8(replica.apply(&words)).unwrap()
}

#[test]
fn due_keys_are_absent_at_once_and_removed_in_steps() {
    let mut replica = filled();
    let mut twin = filled();
    let deadline_us = replica.log_time_us + 100_000;
    for replica in [&mut replica, &mut twin] {
        replica.log_time_us = deadline_us;
        assert_eq!(text(replica, "DBSIZE"), ":1\r\n");
        let left = u64::try_from(KEYS - EXPIRED_PER_BATCH).unwrap();
        assert_eq!(replica.reader.keys_with_expiry(0), left);
        assert_eq!(replica.backend.next_deadline_us(), Some(deadline_us));
        assert_eq!(replica.read(&[b"DBSIZE"], deadline_us), None, "only the applier can tell");
    }
    assert_eq!(replica.reader.checkpoint(), twin.reader.checkpoint());
    for key in 0..KEYS {
        let name = format!("key:{key}");
        let reply = replica.read(&[b"GET", name.as_bytes()], deadline_us);
        assert_eq!(reply.as_deref(), Some(&b"$-1\r\n"[..]), "{name}");
    }
    assert_eq!(replica.read(&[b"KEYS", b"*"], deadline_us).unwrap(), b"*1\r\n$5\r\nstays\r\n");
    assert_eq!(text(&mut replica, "KEYS *"), "*1\r\n$5\r\nstays\r\n");
    replica.batch(|_| {});
    assert_eq!(replica.reader.keys(0), 1);
    assert_eq!(replica.backend.next_deadline_us(), None);
    assert_eq!(replica.read(&[b"DBSIZE"], deadline_us).unwrap(), b":1\r\n");
}

#[test]
fn a_batch_at_the_deadline_hides_due_keys_from_its_start() {
    let mut replica = filled();
    let (start_us, reader) = (replica.log_time_us, replica.reader.clone());
    replica.log_time_us += 100_000;
    replica.batch(|_| {
        for key in 0..KEYS {
            let name = format!("key:{key}");
            // The reader's clock is behind, and most of the keys are not removed.
            let reply = conformance::read(&reader, 0, &[b"EXISTS", name.as_bytes()], start_us);
            assert_eq!(reply.as_deref(), Some(&b":0\r\n"[..]), "{name}");
        }
    });
}

#[test]
fn a_due_key_that_waits_for_removal_can_be_set_anew() {
    let mut replica = filled();
    replica.log_time_us += 100_000;
    // Whichever are removed first, some of these still wait.
    for key in (0..KEYS).step_by(100) {
        assert_eq!(text(&mut replica, &format!("SET key:{key} new NX")), "+OK\r\n");
        assert_eq!(text(&mut replica, &format!("GET key:{key}")), "$3\r\nnew\r\n");
    }
    let expected = format!(":{}\r\n", KEYS.div_ceil(100) + 1);
    assert_eq!(text(&mut replica, "DBSIZE"), expected);
    assert_eq!(replica.reader.keys_with_expiry(0), 0);
}

#[test]
fn the_next_deadline_is_the_earliest_of_all_databases() {
    let mut replica = Replica::new(small());
    let start_us = replica.log_time_us;
    let next = |replica: &Replica<Applier>| {
        replica.backend.next_deadline_us().map(|deadline_us| deadline_us - start_us)
    };
    assert_eq!(next(&replica), None);
    text(&mut replica, "SET a v PX 300");
    replica.db = 7;
    text(&mut replica, "SET b v PX 200");
    assert_eq!(next(&replica), Some(200_000));
    text(&mut replica, "PEXPIRE b 400");
    assert_eq!(next(&replica), Some(300_000));
    text(&mut replica, "SET b v PX 100");
    text(&mut replica, "PERSIST b");
    assert_eq!(next(&replica), Some(300_000));
    replica.db = 0;
    text(&mut replica, "FLUSHDB");
    assert_eq!(next(&replica), None);
}

#[test]
#[should_panic(expected = "P5: s1 cannot be applied, s2 is next")]
fn a_slot_is_applied_once() {
    let mut replica = Replica::new(small());
    replica.batch(|_| {});
    Backend::begin_batch(&mut replica.backend, 1, replica.log_time_us, 0);
}

#[test]
#[should_panic(expected = "P5: s3 cannot be applied, s1 is next")]
fn no_slot_is_left_out() {
    let mut replica = Replica::new(small());
    Backend::begin_batch(&mut replica.backend, 3, replica.log_time_us, 0);
}

#[test]
#[should_panic(expected = "log time goes back")]
fn log_time_does_not_go_back() {
    let mut replica = Replica::new(small());
    replica.batch(|_| {});
    replica.log_time_us -= 1;
    replica.batch(|_| {});
}
