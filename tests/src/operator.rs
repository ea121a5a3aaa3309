//! The operator's program, asked about one node.

use std::process::{Command, Output};

use crate::node::Node;
use crate::programs::admin;

/// Runs `warlock-admin` against a node.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn operate(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(admin());
    command.env_remove("WARLOCK_ADDR").arg("--addr").arg(node.client.to_string());
    command.args(arguments).output().expect("warlock-admin can be started")
}

/// What it prints for something that must be done.
///
/// # Panics
/// If it is not.
#[track_caller]
pub fn done(node: &Node, arguments: &[&str]) -> String {
    let output = operate(node, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The complaint about something that must be refused.
///
/// # Panics
/// If it is not, or if the complaint names no way out.
#[track_caller]
pub fn refused(node: &Node, arguments: &[&str]) -> String {
    let output = operate(node, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("next: "), "{text}");
    text
}
