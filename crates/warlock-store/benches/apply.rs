//! Cost of one command: applied in a batch, and read beside the applier.

use std::hint::black_box;

use divan::{AllocProfiler, Bencher};
use warlock_resp::{Protocol, ReplyWriter, RequestSpans};
use warlock_store::conformance::with_request;
use warlock_store::entry::{self, Entries};
use warlock_store::{Applier, Options, ReadOutcome, Reader};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NOW_US: u64 = 1_700_000_000_000_000;
const KEYS: u64 = 100_000;
/// Commands of one batch, and reads of one round.
const BATCH: u64 = 50;
const VALUE: [u8; 64] = [b'v'; 64];

fn main() {
    divan::main();
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{:012}", number % KEYS).into_bytes()
}

fn filled() -> (Applier, Reader) {
    filled_with(&VALUE)
}

fn filled_with(value: &[u8]) -> (Applier, Reader) {
    let (mut applier, reader) = warlock_store::new(Options { hash_seed: 1, ..Options::default() });
    let mut out = Vec::new();
    applier.begin_batch(1, NOW_US, 1);
    for number in 0..KEYS {
        with_request(&[b"SET", &key(number), value], |request| {
            applier.apply(0, request, &mut ReplyWriter::new(&mut out, Protocol::Resp2));
            out.clear();
        });
    }
    applier.end_batch();
    (applier, reader)
}

fn batch(round: u64, words: impl Fn(u64) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut batch = Vec::new();
    for number in 0..BATCH {
        let words = words(round * BATCH * 7919 + number * 7919);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        with_request(&words, |request| entry::encode(0, request, &mut batch));
    }
    batch
}

/// Applies batches of [`BATCH`] commands; the time shown is that of a whole batch.
fn bench_batches(bencher: Bencher<'_, '_>, words: impl Fn(u64) -> Vec<Vec<u8>>) {
    let (mut applier, reader) = filled();
    let batches: Vec<_> = (0..64).map(|round| batch(round, &words)).collect();
    let mut spans = RequestSpans::default();
    let mut out = Vec::with_capacity(64 * 1024);
    bencher.counter(BATCH).bench_local(|| {
        let slot = reader.next_slot();
        applier.begin_batch(slot, NOW_US, slot);
        let mut entries = Entries::new(&batches[usize::try_from(slot).expect("small") % 64]);
        while let Some(entry) = entries.next(&mut spans) {
            let (db, request) = entry.expect("encoded above");
            applier.apply(db, &request, &mut ReplyWriter::new(&mut out, Protocol::Resp2));
        }
        applier.end_batch();
        black_box(&out);
        out.clear();
    });
}

#[divan::bench]
fn apply_50_set(bencher: Bencher<'_, '_>) {
    bench_batches(bencher, |number| vec![b"SET".to_vec(), key(number), VALUE.to_vec()]);
}

#[divan::bench]
fn apply_50_set_of_another_length(bencher: Bencher<'_, '_>) {
    bench_batches(bencher, |number| {
        let length = usize::try_from(number % 64).expect("small");
        vec![b"SET".to_vec(), key(number), VALUE[..length].to_vec()]
    });
}

#[divan::bench]
fn apply_50_set_px(bencher: Bencher<'_, '_>) {
    bench_batches(bencher, |number| {
        let words = [&b"SET"[..], &key(number), &VALUE, b"PX", b"30000"];
        words.map(<[u8]>::to_vec).to_vec()
    });
}

#[divan::bench]
fn apply_50_get(bencher: Bencher<'_, '_>) {
    bench_batches(bencher, |number| vec![b"GET".to_vec(), key(number)]);
}

#[divan::bench]
fn read_50_get(bencher: Bencher<'_, '_>) {
    let (_applier, reader) = filled();
    let batches: Vec<_> =
        (0..64).map(|round| batch(round, |number| vec![b"GET".to_vec(), key(number)])).collect();
    let mut spans = RequestSpans::default();
    let mut out = Vec::with_capacity(64 * 1024);
    let mut round = 0;
    bencher.counter(BATCH).bench_local(|| {
        round += 1;
        let mut entries = Entries::new(&batches[round % 64]);
        while let Some(entry) = entries.next(&mut spans) {
            let (db, request) = entry.expect("encoded above");
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            assert_eq!(reader.read(db, &request, NOW_US, &mut reply), ReadOutcome::Done);
        }
        black_box(&out);
        out.clear();
    });
}

#[divan::bench]
fn snapshot_of_100_000_keys(bencher: Bencher<'_, '_>) {
    let (mut applier, _reader) = filled();
    bencher.bench_local(|| applier.snapshot().map(|chunk| chunk.len()).sum::<usize>());
}

/// On a thread of its own, as where a node gets a snapshot, with values of 1 KiB.
#[divan::bench(sample_count = 20)]
fn restore_of_100_000_keys_on_another_thread(bencher: Bencher<'_, '_>) {
    let (mut applier, _reader) = filled_with(&[b'v'; 1024]);
    let chunks: Vec<Vec<u8>> = applier.snapshot().collect();
    let (applier, chunks) = (&applier, &chunks);
    bencher.bench_local(|| {
        let restore = applier.restore();
        let work = || {
            chunks.iter().for_each(|chunk| restore.chunk(chunk).expect("taken above"));
            restore.finish().expect("taken above")
        };
        std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
    });
}

#[divan::bench]
fn scan_of_100_000_keys_by_1000(bencher: Bencher<'_, '_>) {
    let (_applier, reader) = filled();
    let mut out = Vec::new();
    bencher.bench_local(|| {
        let words: [&[u8]; 4] = [b"SCAN", b"0", b"COUNT", b"1000"];
        out.clear();
        with_request(&words, |request| {
            let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
            black_box(reader.read(0, request, NOW_US, &mut reply))
        })
    });
}
