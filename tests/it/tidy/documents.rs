//! Rules about documents, transcripts and executable files.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::{Findings, files, required};

/// Every document and its one job. A text without a job goes stale.
const DOCUMENTS: &[(&str, &str)] = &[
    ("ARCHITECTURE.md", "the map"),
    ("CHANGELOG.md", "what changes for users"),
    ("CONTRIBUTING.md", "rules and commands"),
    ("README.md", "what it is and how to start"),
    ("TESTING.md", "what each layer of tests promises and how to run it"),
    ("MUTANTS.md", "which deliberate mistakes are found by what; generated"),
    ("benches/README.md", "how to read the measurements"),
    ("crates/warlock-paxos/PROTOCOL.md", "the truth of messages and invariants"),
    ("crates/warlock-wal/FORMAT.md", "the truth of bytes on disk"),
];

/// Documents that must exist; the others may.
const DOCUMENTS_REQUIRED: usize = 4;

/// Longest script, in lines. The longest drive a compiler with flags that cargo does not know.
const SCRIPT_LINES_MAX: usize = 120;

/// What a script starts with, so that a failed step is never passed over.
const SCRIPT_HEAD: &str = "#!/usr/bin/env bash\n";
const SCRIPT_STRICT: &str = "set -o errexit -o nounset -o pipefail";

#[test]
fn documents_have_a_job() {
    let mut findings = Findings::default();
    let listed: BTreeSet<&str> = DOCUMENTS.iter().map(|(path, _)| *path).collect();
    for file in files().iter().filter(|file| file.extension() == "md") {
        if !listed.contains(file.path.as_str()) {
            let advice = "move the text to the document whose job it is, or into rustdoc";
            findings.add(&file.path, advice);
        }
    }
    for (path, job) in &DOCUMENTS[..DOCUMENTS_REQUIRED] {
        if !super::root().join(path).is_file() {
            findings.add(path, format!("missing: write it, its job is \"{job}\""));
        }
    }
    findings.assert_none();
}

#[test]
fn documents_have_one_title() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| file.extension() == "md") {
        let mut in_code = false;
        let mut titles = 0;
        for line in file.text().lines() {
            in_code ^= line.trim_start().starts_with("```");
            titles += usize::from(!in_code && line.starts_with("# "));
        }
        if in_code {
            findings.add(&file.path, "close the last code block");
        }
        if titles != 1 {
            findings.add(&file.path, format!("{titles} titles: keep exactly one `# ` line"));
        }
    }
    findings.assert_none();
}

#[test]
fn only_scripts_are_executable() {
    let mut findings = Findings::default();
    for file in files() {
        let metadata = file.location.metadata().expect("a listed file has metadata");
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let script_place = file.path.starts_with("scripts/") || file.path.starts_with(".ci/");
        let script = script_place && matches!(file.extension(), "" | "sh");
        if executable && !script_place {
            findings.add(&file.path, "chmod -x, or move it to scripts/");
        } else if !executable && script {
            findings.add(&file.path, "chmod +x, or move it out of scripts/");
        }
    }
    findings.assert_none();
}

#[test]
fn scripts_are_short_and_strict() {
    let mut findings = Findings::default();
    for file in files() {
        let text = file.text();
        if !(file.path.starts_with("scripts/") || file.path.starts_with(".ci/"))
            || !text.starts_with("#!")
            || !text.lines().next().is_some_and(|line| line.contains("sh"))
        {
            continue;
        }
        let lines = text.lines().count();
        if lines >= SCRIPT_LINES_MAX {
            let advice = format!("{lines} lines: below {SCRIPT_LINES_MAX}, move work into Rust");
            findings.add(&file.path, advice);
        }
        if !text.starts_with(SCRIPT_HEAD) || !text.contains(SCRIPT_STRICT) {
            findings.add(&file.path, format!("start with {SCRIPT_HEAD:?} and {SCRIPT_STRICT:?}"));
        }
    }
    findings.assert_none();
}

/// A transcript that no runner reads proves nothing and looks as if it did.
#[test]
fn transcripts_are_read_and_tell_a_story() {
    let mut findings = Findings::default();
    let files = files();
    for transcript in files.iter().filter(|file| file.extension() == "txt" && !file.is_tidy()) {
        let Some((base, inside)) = transcript.path.split_once("tests/") else {
            continue;
        };
        let Some((directory, name)) = inside.rsplit_once('/') else {
            continue;
        };
        let prefix = format!("{base}tests/");
        let folder = directory.rsplit('/').next().expect("rsplit gives at least one part");
        let read = files.iter().any(|file| {
            let runner = file.extension() == "rs" && file.path.starts_with(&prefix);
            runner && {
                let text = file.text();
                text.contains(name) || (text.contains("read_dir") && text.contains(folder))
            }
        });
        if !read {
            findings.add(&transcript.path, "let a test read it, or delete it");
        }
        if !transcript.text().starts_with("# ") {
            findings.add(&transcript.path, "start with its story: lines that begin with `# `");
        }
    }
    findings.assert_none();
}

#[test]
fn changelog_has_an_open_entry() {
    let changelog = required("CHANGELOG.md");
    let first = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## Unreleased"), "CHANGELOG.md: collect changes under Unreleased");
}
