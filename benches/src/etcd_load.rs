//! Load on etcd over its own protocol, gRPC on HTTP/2.
//!
//! The official client costs more processor time than this: two protobuf messages of two fields
//! are written by hand, on the bare HTTP/2 library. What the client saves, the servers get, so
//! the comparison leans towards etcd.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::workload::{Budget, Load, OperationSource, Outcome, Recorder, Stop, Workload};
use crate::{Error, Result, error::Context as _};

/// Connections to one etcd member, with a workload for it.
pub struct EtcdLoad {
    runtime: Runtime,
    channels: Vec<SendRequest<Bytes>>,
    source: Rc<RefCell<OperationSource>>,
    pipeline: usize,
    value_length: usize,
}

impl std::fmt::Debug for EtcdLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdLoad").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

impl EtcdLoad {
    /// Connects all connections of `workload` to the member at `address`.
    pub fn connect(address: SocketAddr, workload: &Workload) -> Result<Self> {
        let runtime = current_thread_runtime()?;
        let channels = runtime.block_on(async {
            let mut channels = Vec::with_capacity(workload.connections);
            for _ in 0..workload.connections {
                channels.push(open_channel(address).await?);
            }
            Ok::<_, Error>(channels)
        })?;
        Ok(Self {
            runtime,
            channels,
            source: Rc::new(RefCell::new(OperationSource::new(workload))),
            pipeline: workload.pipeline,
            value_length: workload.value_length,
        })
    }
}

impl Load for EtcdLoad {
    fn run(&mut self, stop: Stop) -> Result<Outcome> {
        let recorder = Recorder::start()?;
        let budget = Budget::new(stop, recorder.started());
        let shared = Rc::new(Run {
            source: Rc::clone(&self.source),
            budget: RefCell::new(budget),
            recorder: RefCell::new(recorder),
            value_length: self.value_length,
        });
        let local = LocalSet::new();
        // A channel carries `pipeline` streams at a time: gRPC's own form of pipelining.
        let callers: Vec<_> = (self.channels.iter())
            .flat_map(|channel| std::iter::repeat_n(channel, self.pipeline))
            .map(|channel| local.spawn_local(run_caller(channel.clone(), Rc::clone(&shared))))
            .collect();
        local.block_on(&self.runtime, async {
            for caller in callers {
                caller.await.context("a caller ended early")??;
            }
            Ok::<_, Error>(())
        })?;
        let run = Rc::into_inner(shared).ok_or_else(|| Error::new("a caller outlived its run"))?;
        Ok(run.recorder.into_inner().finish())
    }
}

/// What the callers of one run share.
struct Run {
    source: Rc<RefCell<OperationSource>>,
    budget: RefCell<Budget>,
    recorder: RefCell<Recorder>,
    value_length: usize,
}

/// One call after the other until the budget is spent.
async fn run_caller(channel: SendRequest<Bytes>, run: Rc<Run>) -> Result<()> {
    loop {
        let sent_at = Instant::now();
        if run.budget.borrow_mut().take(1, sent_at) == 0 {
            return Ok(());
        }
        let (method, message, read) = next_call(&run);
        let answer = call(&channel, method, &message).await?;
        let mut recorder = run.recorder.borrow_mut();
        recorder.record(sent_at.elapsed(), 1);
        if read && varint_field(&answer, RANGE_RESPONSE_COUNT).is_none() {
            recorder.record_miss();
        }
    }
}

fn next_call(run: &Run) -> (&'static str, Vec<u8>, bool) {
    let mut source = run.source.borrow_mut();
    let operation = source.next_operation();
    let mut message = Vec::new();
    append_bytes_field(&mut message, 1, &operation.key);
    if operation.read {
        return (RANGE, message, true);
    }
    let mut value = Vec::with_capacity(run.value_length);
    source.append_value(run.value_length, &mut value);
    append_bytes_field(&mut message, 2, &value);
    (PUT, message, false)
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Version of the server.
    pub version: String,
    /// Whether this member leads.
    pub is_leader: bool,
}

/// Asks the member at `address` for its status.
pub fn member_status(address: SocketAddr) -> Result<MemberStatus> {
    let answer = current_thread_runtime()?.block_on(async {
        let channel = open_channel(address).await?;
        call(&channel, STATUS, &[]).await
    })?;
    let header = bytes_field(&answer, STATUS_RESPONSE_HEADER).unwrap_or_default();
    let member = varint_field(header, HEADER_MEMBER_ID);
    let version = bytes_field(&answer, STATUS_RESPONSE_VERSION).unwrap_or_default();
    Ok(MemberStatus {
        version: String::from_utf8_lossy(version).into_owned(),
        is_leader: member.is_some() && member == varint_field(&answer, STATUS_RESPONSE_LEADER),
    })
}

fn current_thread_runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

async fn open_channel(address: SocketAddr) -> Result<SendRequest<Bytes>> {
    let stream =
        TcpStream::connect(address).await.context(format_args!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (channel, connection) = h2::client::handshake(stream).await.context("HTTP/2 handshake")?;
    // The connection ends with its channel, or with an error that the calls report as well.
    tokio::spawn(async move { drop(connection.await) });
    Ok(channel)
}

/// One unary gRPC call; the answer's message.
async fn call(channel: &SendRequest<Bytes>, method: &str, message: &[u8]) -> Result<Bytes> {
    let request = Request::post(format!("http://etcd{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .context("gRPC request")?;
    let mut channel = channel.clone().ready().await.context("gRPC channel")?;
    let (response, mut stream) = channel.send_request(request, false).context(method)?;
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).context("message length")?);
    frame.put_slice(message);
    stream.send_data(frame.freeze(), true).context(method)?;

    let mut body = response.await.context(method)?.into_body();
    let mut answer = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.context(method)?;
        body.flow_control().release_capacity(chunk.len()).context(method)?;
        answer.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await.context(method)?.unwrap_or_default();
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") if answer.len() >= 5 => Ok(answer.freeze().slice(5..)),
        status => Err(Error::new(format!(
            "{method}: gRPC status {:?}, {:?}",
            status.map(<[u8]>::escape_ascii).map(|status| status.to_string()),
            trailers.get("grpc-message")
        ))),
    }
}

fn append_bytes_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | WIRE_BYTES);
    append_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn append_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

/// The value of a protobuf field of a message.
enum FieldValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

fn find_field(mut message: &[u8], wanted: u64) -> Option<FieldValue<'_>> {
    loop {
        let tag = take_varint(&mut message)?;
        let value = match u8::try_from(tag & 7).ok()? {
            WIRE_VARINT => FieldValue::Varint(take_varint(&mut message)?),
            WIRE_BYTES => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                FieldValue::Bytes(message.split_off(..length)?)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(value);
        }
    }
}

fn varint_field(message: &[u8], wanted: u64) -> Option<u64> {
    match find_field(message, wanted)? {
        FieldValue::Varint(value) => Some(value),
        FieldValue::Bytes(_) => None,
    }
}

fn bytes_field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    match find_field(message, wanted)? {
        FieldValue::Bytes(bytes) => Some(bytes),
        FieldValue::Varint(_) => None,
    }
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *input.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

const RANGE_RESPONSE_COUNT: u64 = 4;
const STATUS_RESPONSE_HEADER: u64 = 1;
const STATUS_RESPONSE_VERSION: u64 = 2;
const STATUS_RESPONSE_LEADER: u64 = 4;
const HEADER_MEMBER_ID: u64 = 2;

const WIRE_VARINT: u8 = 0;
const WIRE_BYTES: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_past_others() {
        let mut inner = vec![2 << 3];
        append_varint(&mut inner, 300);
        let mut message = Vec::new();
        append_bytes_field(&mut message, 1, &inner);
        append_bytes_field(&mut message, 2, b"3.4.23");
        message.push(4 << 3);
        append_varint(&mut message, u64::MAX);

        assert_eq!(varint_field(bytes_field(&message, 1).unwrap(), 2), Some(300));
        assert_eq!(bytes_field(&message, 2), Some(b"3.4.23".as_slice()));
        assert_eq!(varint_field(&message, 4), Some(u64::MAX));
        assert_eq!(varint_field(&message, 5), None);
        assert_eq!(varint_field(&message[..1], 4), None);
    }
}
