//! Cost of the codec per request and per reply.

use std::hint::black_box;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use warlock_resp::{
    Progress, Protocol, ReplyLimits, ReplyParser, ReplyWriter, RequestLimits, RequestParser,
    RequestSpans, encode_request,
};

/// Counts allocations: a warm request must show none.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn encoded(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_request(args.iter().copied(), &mut out);
    out
}

fn bench_request(bencher: Bencher<'_, '_>, input: &[u8]) {
    let mut parser = RequestParser::new(RequestLimits::AUTHENTICATED);
    let mut spans = RequestSpans::default();
    bencher.counter(BytesCount::of_slice(input)).bench_local(|| {
        let progress = parser.parse(black_box(input), &mut spans).expect("the input is valid");
        assert_eq!(progress, Progress::Complete { consumed: input.len() });
        black_box(spans.request(input).name().len())
    });
}

#[divan::bench]
fn request_get(bencher: Bencher<'_, '_>) {
    bench_request(bencher, &encoded(&[b"GET", b"key:000000001234"]));
}

#[divan::bench]
fn request_set_64_bytes(bencher: Bencher<'_, '_>) {
    bench_request(bencher, &encoded(&[b"SET", b"key:000000001234", &[b'x'; 64]]));
}

#[divan::bench]
fn request_mset_100_pairs(bencher: Bencher<'_, '_>) {
    let mut args: Vec<&[u8]> = vec![b"MSET"];
    args.extend([b"key:000000001234".as_slice(), &[b'x'; 64]].repeat(100));
    bench_request(bencher, &encoded(&args));
}

#[divan::bench]
fn request_inline_ping(bencher: Bencher<'_, '_>) {
    bench_request(bencher, b"PING\r\n");
}

#[divan::bench]
fn encode_set_64_bytes(bencher: Bencher<'_, '_>) {
    let args: [&[u8]; 3] = [b"SET", b"key:000000001234", &[b'x'; 64]];
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        encode_request(black_box(&args).iter().copied(), &mut out);
        out.len()
    });
}

#[divan::bench]
fn write_bulk_64_bytes(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        ReplyWriter::new(&mut out, Protocol::Resp2).bulk(black_box(&[b'x'; 64]));
        out.len()
    });
}

#[divan::bench(args = [0.1, 3.0, 1.5e-7])]
fn write_double(bencher: Bencher<'_, '_>, value: f64) {
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        ReplyWriter::new(&mut out, Protocol::Resp3).double(black_box(value));
        out.len()
    });
}

#[divan::bench]
fn reply_array_of_100_bulks(bencher: Bencher<'_, '_>) {
    let mut input = Vec::new();
    let mut writer = ReplyWriter::new(&mut input, Protocol::Resp3);
    writer.array(100);
    for _ in 0..100 {
        writer.bulk(&[b'x'; 64]);
    }
    let mut parser = ReplyParser::new(ReplyLimits::DEFAULT);
    bencher.counter(BytesCount::of_slice(&input)).bench_local(|| {
        parser.parse(black_box(&input)).expect("the input is valid").expect("it is complete")
    });
}
