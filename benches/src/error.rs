//! The one error of this package: a sentence for the person who started a measurement.

use std::fmt;

/// What stopped a measurement.
#[derive(Debug)]
pub struct Error {
    message: String,
}

impl Error {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Puts what was being done in front of why it failed.
pub trait Context<T> {
    /// Prefixes the error with `doing: `.
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::new(format!("{doing}: {error}")))
    }
}
