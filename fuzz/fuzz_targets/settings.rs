//! Settings that somebody mistyped: no panic, and every complaint is one line that says what it is
//! about.
//!
//! The data is text in parts that a NUL byte separates: the file, then `NAME=value` for variables
//! of the environment and `--name=value` for flags.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

use settings::{ClusterStart, Layers, Problem, keys};

// The sources and not the crate, so that no executor and no web framework is built for them.
#[path = "../../crates/warlock-server/src/settings/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the server uses more of them")]
mod settings;

fuzz_target!(|text: &str| {
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default().to_owned();
    let mut layers = Layers { file: Some((PathBuf::from("warlock.toml"), file)), ..<_>::default() };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (layer, name) = match name.strip_prefix("--") {
            Some(flag) => (&mut layers.flags, flag),
            None => (&mut layers.environment, name),
        };
        layer.push((name.to_owned(), value.to_owned()));
    }
    let outcome = layers.settings();
    assert_eq!(outcome, layers.settings(), "the same text means the same");
    match outcome {
        Ok(settings) => {
            let members = settings.cluster.initial_members.len();
            if settings.cluster.start == ClusterStart::Members {
                assert!((1..=7).contains(&members));
                assert!(settings.failures_survived() * 2 < members);
            } else {
                assert_eq!(members, 0, "it starts from none");
            }
            assert!(settings.consensus.heartbeat < settings.consensus.lease);
            settings.doubts().iter().for_each(|doubt| check_line(doubt));
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            problems.0.iter().for_each(check_problem);
        }
    }
});

fn check_problem(problem: &Problem) {
    check_line(&problem.to_string());
    let Problem { place, subject, complaint } = problem;
    assert!(!subject.is_empty() && !complaint.is_empty(), "{problem}");
    if place.is_none() {
        assert!(keys().iter().any(|key| key.path == subject), "{problem}");
    }
}

fn check_line(line: &str) {
    assert!(!line.chars().any(char::is_control), "more than one line: {line:?}");
}
