//! Tidy: the style rules that a machine can check, as tests.
//!
//! Each rule collects what is wrong and says what to do about it; the rules themselves are
//! explained in `CONTRIBUTING.md`. Nothing here builds or starts anything, so a run takes
//! a second.

mod crates;
mod documents;
mod functions;
mod mutants;
mod text;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories that are never part of the project, wherever they are.
const SKIPPED_DIRECTORIES: &[&str] = &["target", "node_modules", "corpus", "artifacts"];

/// One file of the project.
struct SourceFile {
    /// Path from the top of the project, with `/`.
    path: String,
    /// Where the file really is.
    location: PathBuf,
}

impl SourceFile {
    /// The whole text. A file that is not UTF-8 gives what can be read of it; the ASCII rule
    /// then complains.
    fn text(&self) -> String {
        let bytes = fs::read(&self.location).expect("a file that was just listed can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().expect("rsplit gives at least one part")
    }

    fn extension(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Rules that list forbidden words would find themselves.
    fn is_tidy(&self) -> bool {
        self.path.starts_with("tests/it/tidy")
    }
}

/// What a rule found; empty is good.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, place: impl fmt::Display, what_to_do: impl fmt::Display) {
        self.0.push(format!("{place}: {what_to_do}"));
    }

    #[track_caller]
    fn assert_none(self) {
        assert!(self.0.is_empty(), "{} findings:\n  {}", self.0.len(), self.0.join("\n  "));
    }
}

/// The top of the project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project")
}

/// A file that the project must have.
fn required(path: &str) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}: add it, other rules read it"))
}

/// Every file of the project in path order.
fn files() -> Vec<SourceFile> {
    let mut found = Vec::new();
    let mut directories = vec![root().to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a listed directory can be read") {
            let entry = entry.expect("a directory entry can be read");
            let name = entry.file_name().into_string().expect("file names are UTF-8");
            let hidden = name.starts_with('.') && name != ".ci" && name != ".gitignore";
            if hidden || SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                continue;
            }
            let location = entry.path();
            if entry.file_type().expect("a file has a type").is_dir() {
                directories.push(location);
                continue;
            }
            let inside = location.strip_prefix(root()).expect("found below the top");
            let path = inside.to_str().expect("paths are UTF-8").replace('\\', "/");
            found.push(SourceFile { path, location });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the project has more files than {}: wrong directory?", found.len());
    found
}
