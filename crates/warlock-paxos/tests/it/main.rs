//! Tests of whole clusters and of single roles, in one binary.

mod acceptor;
mod exploration;
mod membership;
mod properties;
mod replica;
mod rivals;
mod support;
mod transcripts;
