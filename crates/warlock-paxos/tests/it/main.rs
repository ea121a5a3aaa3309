//! Tests of whole clusters, in one binary.

mod exploration;
mod properties;
mod support;
mod transcripts;
