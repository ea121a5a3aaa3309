//! The load generators against servers whose answers are known.

#![expect(clippy::unwrap_used, reason = "the servers of these tests are test code too")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use warlock_benches::etcd_load::EtcdLoad;
use warlock_benches::pairs::{Plan, compare};
use warlock_benches::resp::RespLoad;
use warlock_benches::system::System;
use warlock_benches::workload::{KEY_LENGTH, Load as _, Stop, Workload};
use warlock_benches::{Result, workload};

/// Length of the one request that a workload without a mix sends again and again.
fn request_length(workload: &Workload) -> usize {
    let head = "*3\r\n$3\r\nSET\r\n$16\r\n".len() + KEY_LENGTH + "\r\n".len();
    if workload.reads_percent == 100 {
        return head;
    }
    head + format!("${}\r\n\r\n", workload.value_length).len() + workload.value_length
}

/// Answers `reply` to each request of `length` bytes, in pieces that cut replies apart.
fn serve(length: usize, reply: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            thread::spawn(move || answer(stream, length, reply));
        }
    });
    address
}

fn answer(mut stream: TcpStream, length: usize, reply: &[u8]) {
    stream.set_nodelay(true).unwrap();
    let mut chunk = [0; 4_096];
    let mut unanswered = 0;
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        unanswered += count;
        let replies = reply.repeat(unanswered / length);
        unanswered %= length;
        for piece in replies.chunks(7) {
            if stream.write_all(piece).is_err() {
                return;
            }
        }
    }
}

#[test]
fn every_operation_is_answered_once_and_timed() {
    let workload = Workload { connections: 7, pipeline: 16, ..Workload::default() };
    let address = serve(request_length(&workload), b"+OK\r\n");
    let mut load = RespLoad::connect(address, &workload).unwrap();
    for operations in [1, 1_000, 12_345] {
        let outcome = load.run(Stop::Operations(operations)).unwrap();
        assert_eq!((outcome.operations, outcome.misses), (operations, 0));
        assert_eq!(outcome.latency.len(), operations);
        assert!(outcome.latency_us(0.0) > 0.0 && outcome.throughput() > 0.0);
    }
}

#[test]
fn a_reply_larger_than_the_buffer_is_read_whole() {
    let workload = Workload { connections: 2, reads_percent: 100, ..Workload::default() };
    let reply: Vec<u8> = [b"$40000\r\n".as_slice(), &[b'\n'; 40_000], b"\r\n"].concat();
    let address = serve(request_length(&workload), reply.leak());
    let mut load = RespLoad::connect(address, &workload).unwrap();
    assert_eq!(load.run(Stop::Operations(10)).unwrap().operations, 10);
}

#[test]
fn reads_that_find_nothing_are_counted() {
    let workload = Workload { reads_percent: 100, ..Workload::default() };
    let address = serve(request_length(&workload), b"$-1\r\n");
    let outcome =
        RespLoad::connect(address, &workload).unwrap().run(Stop::Operations(500)).unwrap();
    assert_eq!((outcome.operations, outcome.misses), (500, 500));
}

#[test]
fn an_error_reply_ends_the_run_with_its_text() {
    let workload = Workload::default();
    let address = serve(request_length(&workload), b"-CLUSTERDOWN no master\r\n");
    let run = RespLoad::connect(address, &workload).unwrap().run(Stop::Operations(500));
    assert!(run.unwrap_err().to_string().contains("CLUSTERDOWN no master"));
}

#[test]
fn more_replies_than_requests_end_the_run() {
    let workload = Workload { connections: 1, ..Workload::default() };
    let address = serve(request_length(&workload), b"+OK\r\n+OK\r\n");
    let run = RespLoad::connect(address, &workload).unwrap().run(Stop::Operations(500));
    assert!(run.unwrap_err().to_string().contains("nobody asked for"));
}

#[test]
fn a_server_that_hangs_up_ends_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let workload = Workload { connections: 1, ..Workload::default() };
    let mut load = RespLoad::connect(address, &workload).unwrap();
    drop(listener.accept().unwrap());
    load.run(Stop::Operations(500)).unwrap_err();
}

/// A system that always answers.
struct Echo {
    address: SocketAddr,
}

impl System for Echo {
    fn description(&self) -> &str {
        "echo"
    }

    fn pids(&self) -> Vec<u32> {
        vec![std::process::id()]
    }

    fn connect(&self, workload: &Workload) -> Result<Box<dyn workload::Load>> {
        Ok(Box::new(RespLoad::connect(self.address, workload)?))
    }
}

#[test]
fn a_comparison_has_as_many_pairs_as_planned_and_a_ratio_of_each() {
    let workload = Workload { connections: 2, ..Workload::default() };
    let echo = Echo { address: serve(request_length(&workload), b"+OK\r\n") };
    let moment = Duration::from_millis(20);
    let plan = Plan { pairs: 3, run: moment, warm_up: moment };
    let comparison = compare(&echo, &echo, &workload, plan).unwrap();
    assert_eq!(comparison.pairs.len(), 3);
    let ratio = comparison.ratio(|side| side.operations_per_second).unwrap();
    assert!(ratio.min <= ratio.median && ratio.median <= ratio.max && ratio.min > 0.0);
}

#[test]
fn a_comparison_of_reads_refuses_missing_keys() {
    let workload = Workload { connections: 2, reads_percent: 100, ..Workload::default() };
    let echo = Echo { address: serve(request_length(&workload), b"$-1\r\n") };
    let moment = Duration::from_millis(20);
    let plan = Plan { pairs: 1, run: moment, warm_up: moment };
    let error = compare(&echo, &echo, &workload, plan).unwrap_err().to_string();
    assert!(error.contains("found nothing"), "{error}");
}

/// A gRPC server that ends every call with `status`, after one empty message.
fn serve_grpc(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_grpc(stream, status));
            }
        });
    });
    address
}

async fn answer_grpc(stream: tokio::net::TcpStream, status: &'static str) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(chunk)) = body.data().await {
                body.flow_control().release_capacity(chunk.len()).unwrap();
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            trailers.insert("grpc-message", HeaderValue::from_static("no space"));
            stream.send_trailers(trailers).unwrap();
        });
    }
}

#[test]
fn every_grpc_call_is_answered_once() {
    let workload = Workload { connections: 3, pipeline: 4, ..Workload::default() };
    let mut load = EtcdLoad::connect(serve_grpc("0"), &workload).unwrap();
    for operations in [1, 1_000] {
        let outcome = load.run(Stop::Operations(operations)).unwrap();
        assert_eq!((outcome.operations, outcome.misses), (operations, 0));
    }
    let reads = Workload { reads_percent: 100, ..workload };
    let mut load = EtcdLoad::connect(serve_grpc("0"), &reads).unwrap();
    assert_eq!(load.run(Stop::Operations(100)).unwrap().misses, 100);
}

#[test]
fn a_grpc_error_ends_the_run_with_its_status() {
    let mut load = EtcdLoad::connect(serve_grpc("8"), &Workload::default()).unwrap();
    let error = load.run(Stop::Operations(100)).unwrap_err().to_string();
    assert!(error.contains('8') && error.contains("no space"), "{error}");
}
