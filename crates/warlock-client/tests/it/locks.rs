//! Locks against a node that knows just the forms of `SET` which locks use.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warlock_client::{Error, Lock};

use crate::node::{Act, Node, client, reply};

const TTL: Duration = Duration::from_secs(20);

type Keys = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// `SET k v NX GET PX t` and `SET k v IFEQ old PX t`; a TTL of 1 ms ends at once.
fn set(keys: &Keys, arguments: &[Vec<u8>]) -> Act {
    let mut keys = keys.lock().unwrap();
    let (key, value) = (&arguments[1], &arguments[2]);
    let held = keys.get(key).cloned();
    let bulk = |it: &[u8]| format!("${}\r\n{}\r\n", it.len(), String::from_utf8_lossy(it));
    match (arguments[3].as_slice(), held) {
        (b"NX", Some(holder)) => reply(&bulk(&holder)),
        (b"NX", None) => {
            keys.insert(key.clone(), value.clone());
            reply("_\r\n")
        }
        (b"IFEQ", Some(holder)) if holder == arguments[4] => {
            match arguments[6].as_slice() {
                b"1" => keys.remove(key),
                _ => keys.insert(key.clone(), value.clone()),
            };
            reply("+OK\r\n")
        }
        _ => reply("_\r\n"),
    }
}

async fn node(keys: &Keys) -> Node {
    let keys = Arc::clone(keys);
    Node::start(move |arguments| set(&keys, arguments)).await
}

#[tokio::test]
async fn a_lock_has_one_holder_until_it_is_released() {
    let keys = Keys::default();
    let client = client(&[&node(&keys).await]);
    let mut lock = Lock::acquire(&client, "job", TTL).await.unwrap().unwrap();
    assert!(Lock::acquire(&client, "job", TTL).await.unwrap().is_none());
    assert!(lock.extend().await.unwrap());
    assert!(lock.release().await.unwrap());
    let again = Lock::acquire(&client, "job", TTL).await.unwrap().unwrap();
    assert!(again.release().await.unwrap());
}

#[tokio::test]
async fn the_holder_trusts_less_than_the_ttl() {
    let keys = Keys::default();
    let client = client(&[&node(&keys).await]);
    let lock = Lock::acquire(&client, "job", TTL).await.unwrap().unwrap();
    let remaining = lock.remaining();
    assert!(remaining <= Duration::from_secs(19) && !remaining.is_zero(), "{remaining:?}");
    lock.forget();
}

/// The cluster may end a TTL up to a millisecond early, and knows no parts of one.
#[tokio::test]
async fn parts_of_a_millisecond_are_not_relied_on() {
    let keys = Keys::default();
    let node = node(&keys).await;
    let ttl = Duration::from_micros(1999);
    let lock = Lock::acquire(&client(&[&node]), "job", ttl).await.unwrap().unwrap();
    assert!(node.requests()[0].ends_with(" PX 1"), "{:?}", node.requests());
    assert!(lock.remaining().is_zero());
    lock.forget();
}

#[tokio::test]
async fn a_late_holder_disturbs_nobody() {
    let keys = Keys::default();
    let client = client(&[&node(&keys).await]);
    let mut late = Lock::acquire(&client, "job", TTL).await.unwrap().unwrap();
    let later = Lock::acquire(&client, "other", TTL).await.unwrap().unwrap();
    // Both locks pass to somebody else.
    keys.lock().unwrap().values_mut().for_each(|token| *token = b"somebody".to_vec());
    assert!(!late.extend().await.unwrap());
    assert!(late.remaining().is_zero());
    assert!(!later.release().await.unwrap());
    assert!(keys.lock().unwrap().values().all(|token| token == b"somebody"));
}

#[tokio::test]
async fn a_lock_whose_reply_was_lost_is_found_by_its_token() {
    let keys = Keys::default();
    let (count, held) = (AtomicUsize::new(0), Arc::clone(&keys));
    let node = Node::start(move |arguments| {
        let act = set(&held, arguments);
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => Act::Close,
            _ => act,
        }
    })
    .await;
    let client = client(&[&node]);
    let lock = Lock::acquire(&client, "job", TTL).await.unwrap().unwrap();
    assert_eq!(node.requests().len(), 2);
    assert!(lock.release().await.unwrap());
}

#[tokio::test]
async fn an_unknown_release_is_reported() {
    let node = Node::start(|arguments| match arguments[3].as_slice() {
        b"NX" => reply("_\r\n"),
        _ => Act::Close,
    })
    .await;
    let lock = Lock::acquire(&client(&[&node]), "job", TTL).await.unwrap().unwrap();
    assert!(matches!(lock.release().await, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn a_dropped_lock_is_released() {
    let keys = Keys::default();
    let client = client(&[&node(&keys).await]);
    drop(Lock::acquire(&client, "job", TTL).await.unwrap().unwrap());
    let taken_again = async {
        loop {
            if let Some(lock) = Lock::acquire(&client, "job", TTL).await.unwrap() {
                return lock;
            }
        }
    };
    let lock = tokio::time::timeout(TTL, taken_again).await.expect("the lock becomes free");
    lock.forget();
}
