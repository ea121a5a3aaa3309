//! Shared load generator.
