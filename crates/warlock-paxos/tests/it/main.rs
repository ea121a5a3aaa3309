//! Tests of whole clusters, in one binary.

mod exploration;
mod support;
mod transcripts;
