//! Rules about lines and words.

use super::{Findings, SourceFile, files};

/// Longest line, in characters.
const LINE_LENGTH_MAX: usize = 100;
/// Longest Rust file, in lines. From [`FILE_LINES_ASK`] on, a test run names the file.
const FILE_LINES_MAX: usize = 1200;
/// From this many lines on a file is asked to be split.
const FILE_LINES_ASK: usize = 800;

/// A word that must not be in any Rust source, and what to do instead.
const BANNED_IN_RUST: &[(&str, &str)] = &[
    ("dbg!(", "remove it, or trace the value with its meaning"),
    ("todo!(", "finish it now, or leave the branch out"),
    ("unimplemented!(", "finish it now, or leave the branch out"),
    ("#[ignore", "make the test fast and reliable, or delete it"),
    ("#[allow(", "write #[expect(lint, reason = \"...\")]"),
    ("#![allow(", "write #![expect(lint, reason = \"...\")]"),
    ("#[should_panic]", "name the text: #[should_panic(expected = \"P5\")]"),
    (".unwrap_or(unreachable!(", "use expect with the invariant as its text"),
];

/// A word that must not be in any text, and what to do instead.
const BANNED_EVERYWHERE: &[(&str, &str)] = &[
    ("FIXME", "fix it now, or describe the limit in a sentence"),
    ("TODO", "do it now, or describe the limit in a sentence"),
    ("XXX", "say in a sentence what is wrong"),
    ("HACK", "say in a sentence why it must be so"),
    ("<<<<<<<", "resolve the merge"),
    (">>>>>>>", "resolve the merge"),
];

/// Paths of one workplace mean nothing to anybody else.
const BANNED_PATHS: &[&str] = &["/work/", "/home/", "/root/", "/Users/", "/tmp/"];

/// Ways to wait for time instead of for a condition.
const SLEEPS: &[&str] = &["thread::sleep(", "time::sleep(", "sleep_until("];

/// The one place that may sleep between two looks at a condition with a deadline.
const WAITING_HARNESS: &str = "tests/src/";

/// What is written by hand and read line by line.
fn is_source(file: &SourceFile) -> bool {
    matches!(file.extension(), "rs" | "toml" | "sh" | "py" | "js" | "txt" | "service")
        || file.path.starts_with("scripts/")
        || file.path.starts_with(".ci/")
}

fn is_markdown(file: &SourceFile) -> bool {
    file.extension() == "md"
}

#[test]
fn lines_fit_the_page() {
    let mut findings = Findings::default();
    for file in files() {
        // An inline table of a manifest cannot be broken into lines.
        if !(is_source(&file) || is_markdown(&file)) || file.name() == "Cargo.toml" {
            continue;
        }
        for (number, line) in (1..).zip(file.text().lines()) {
            let table_row = is_markdown(&file) && line.trim_start().starts_with('|');
            // A message takes one line of a transcript, however much it says.
            let trace = file.extension() == "txt" && file.path.contains("/transcripts/");
            if line.contains("https://") || table_row || trace {
                continue;
            }
            let length = line.chars().count();
            let place = format!("{}:{number}", file.path);
            if length > LINE_LENGTH_MAX {
                findings.add(place, format!("{length} characters: break at {LINE_LENGTH_MAX}"));
            } else if line.ends_with([' ', '\t', '\r']) && !is_markdown(&file) {
                findings.add(place, "remove the blanks at the end of the line");
            } else if line.contains('\t') && file.extension() == "rs" {
                findings.add(place, "write \\t in a string, and indent with blanks");
            }
        }
    }
    findings.assert_none();
}

#[test]
fn sources_are_ascii() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| is_source(file)) {
        for (number, line) in (1..).zip(file.text().lines()) {
            if let Some(odd) = line.chars().find(|character| !character.is_ascii()) {
                let escape = odd.escape_unicode();
                findings.add(format!("{}:{number}", file.path), format!("write {escape} as ASCII"));
            }
        }
    }
    findings.assert_none();
}

#[test]
fn files_end_with_one_newline() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| is_source(file) || is_markdown(file)) {
        let text = file.text();
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            findings.add(&file.path, "end the file with exactly one newline");
        }
    }
    findings.assert_none();
}

#[test]
fn no_banned_words() {
    let mut findings = Findings::default();
    for file in files() {
        if file.is_tidy() || !(is_source(&file) || is_markdown(&file)) {
            continue;
        }
        let rust = file.extension() == "rs";
        for (number, line) in (1..).zip(file.text().lines()) {
            let place = || format!("{}:{number}", file.path);
            let words = BANNED_IN_RUST.iter().filter(|_| rust).chain(BANNED_EVERYWHERE);
            for (word, instead) in words {
                if line.contains(word) && !is_rule_text(&file) {
                    findings.add(place(), format!("`{word}`: {instead}"));
                }
            }
            for path in BANNED_PATHS {
                if contains_absolute(line, path) {
                    let advice = "use a path inside the project, tempfile or mktemp";
                    findings.add(place(), format!("`{path}`: {advice}"));
                }
            }
        }
    }
    findings.assert_none();
}

#[test]
fn tests_wait_for_conditions() {
    let mut findings = Findings::default();
    for file in files() {
        if file.is_tidy() || file.extension() != "rs" || file.path.starts_with(WAITING_HARNESS) {
            continue;
        }
        let mut in_tests = is_test_file(&file);
        for (number, line) in (1..).zip(file.text().lines()) {
            // By convention the test module is the last item of a file.
            in_tests |= line.starts_with("mod tests {");
            if in_tests && SLEEPS.iter().any(|sleep| line.contains(sleep)) {
                let advice = "wait for a condition with a deadline (tests/src) or use an input";
                findings.add(format!("{}:{number}", file.path), format!("sleep: {advice}"));
            }
        }
    }
    findings.assert_none();
}

#[test]
fn files_have_one_concept() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| file.extension() == "rs") {
        let lines = file.text().lines().count();
        if lines > FILE_LINES_MAX {
            findings.add(&file.path, format!("{lines} lines: split by concept ({FILE_LINES_MAX})"));
        } else if lines > FILE_LINES_ASK {
            println!("{}: {lines} lines: consider a split by concept", file.path);
        }
    }
    findings.assert_none();
}

#[test]
fn expectations_have_reasons() {
    let mut findings = Findings::default();
    for file in files().iter().filter(|file| file.extension() == "rs" && !file.is_tidy()) {
        let text = file.text();
        for opening in ["#[expect(", "#![expect("] {
            for (position, _) in text.match_indices(opening) {
                let attribute = &text[position..];
                let end = attribute.find(")]").unwrap_or(attribute.len());
                if !attribute[..end].contains("reason =") {
                    let number = text[..position].lines().count() + 1;
                    findings.add(format!("{}:{number}", file.path), "add reason = \"...\"");
                }
            }
        }
    }
    findings.assert_none();
}

/// The document that explains the banned words has to name them.
fn is_rule_text(file: &SourceFile) -> bool {
    file.path == "CONTRIBUTING.md"
}

/// Whether the whole file is test code.
fn is_test_file(file: &SourceFile) -> bool {
    let path = file.path.as_str();
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether `line` holds `path` as the start of an absolute path, not as the inside of a
/// longer one such as `crates/work/file` or `https://host/home/`.
fn contains_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|it| it.is_ascii_alphanumeric() || "._-/}*".contains(it))
    })
}

mod tests {
    use super::contains_absolute;

    #[test]
    fn absolute_paths_are_told_from_the_inside_of_others() {
        for line in ["cd /tmp/x", "\"/tmp/x\"", "/tmp/x", "dir=/tmp/x"] {
            assert!(contains_absolute(line, "/tmp/"), "{line}");
        }
        for line in ["target/tmp/x", "https://host.org/tmp/x", "${DIR}/tmp/x"] {
            assert!(!contains_absolute(line, "/tmp/"), "{line}");
        }
    }
}
