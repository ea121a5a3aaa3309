//! Messages about settings: which key, which value, where it stands, what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The table of defaults.
    Default,
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag --{}", name.escape_debug()),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` for something that stands nowhere.
    pub place: Option<Place>,
    /// Key and value as given, or what was met instead.
    pub subject: String,
    /// What is wrong with it, and what is allowed.
    pub complaint: String,
}

impl Problem {
    pub(super) fn new(place: Place, subject: String, complaint: String) -> Self {
        Self { place: Some(place), subject, complaint }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.subject, self.complaint)
    }
}

/// Everything that is wrong, in the order found; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `; did you mean "client.listen"?` for a name close to a known one, else nothing.
pub(super) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let allowed = (name.len() / 3).clamp(1, 3);
    known
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean {candidate:?}?"))
}
