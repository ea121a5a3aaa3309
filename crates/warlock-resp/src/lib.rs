//! The Redis protocol, RESP2 and RESP3, as seen from both ends of a connection.
//!
//! A server reads requests with [`RequestParser`] and writes replies with [`ReplyWriter`]; a
//! client writes requests with [`encode_request`] and reads replies with [`ReplyParser`]. The
//! crate owns no socket and no buffer: callers pass the bytes that arrived so far, and every
//! parser remembers where it stopped, so partial input costs no second look.
//!
//! Everything a stranger sends is bounded by [`limits`], before memory is taken for it.
#![no_std]

extern crate alloc;

#[doc(hidden)]
#[macro_use]
pub mod mutants;

pub mod decimal;
mod decode;
mod encode;
mod error;
mod inline;
pub mod limits;
mod parser;
mod reply;
mod request;
mod value;

pub use decode::ReplyParser;
pub use encode::encode_request;
pub use error::ProtocolError;
pub use limits::{ReplyLimits, RequestLimits};
pub use parser::{Progress, RequestParser};
pub use reply::ReplyWriter;
pub use request::{Request, RequestSpans, looks_like_http};
pub use value::Value;

/// Version of the protocol that a connection speaks, chosen by `HELLO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// The protocol of a connection that sent no `HELLO`.
    #[default]
    Resp2,
    /// Maps, sets, doubles, booleans and pushes have types of their own.
    Resp3,
}
