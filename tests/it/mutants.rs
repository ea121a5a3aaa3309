//! Builds that ship refuse deliberate mistakes.

use std::path::Path;
use std::process::Command;

/// What the compiler says about `source`, and whether it took it.
fn compile(source: &str, kind: &str, options: &[&str]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project");
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--emit", "metadata", "--crate-type", kind])
        .args(["--out-dir", env!("CARGO_TARGET_TMPDIR")])
        .args(options)
        .arg(root.join(source))
        .output()
        .expect("the compiler that built this test starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn mutants_compile_only_with_debug_assertions() {
    let resp = "crates/warlock-resp/src/lib.rs";
    let (checked, unchecked) = (["-Cdebug-assertions=on"], ["-Cdebug-assertions=off"]);
    let with = |assertions: [&'static str; 1]| ["--cfg", "warlock_mutants", assertions[0]];
    let (taken, text) = compile(resp, "lib", &with(checked));
    assert!(taken, "{text}");
    let (taken, text) = compile(resp, "lib", &unchecked);
    assert!(taken, "{text}");
    let (taken, text) = compile(resp, "lib", &with(unchecked));
    assert!(!taken && text.contains("a build without debug assertions might ship"), "{text}");
}

#[test]
fn the_daemon_never_compiles_with_mutants() {
    let daemon = "crates/warlock-server/src/main.rs";
    let refusal = "warlockd is never built with mutants";
    let (_, text) = compile(daemon, "bin", &["-Cdebug-assertions=on"]);
    assert!(!text.contains(refusal), "{text}");
    let options = ["--cfg", "warlock_mutants", "-Cdebug-assertions=on"];
    let (taken, text) = compile(daemon, "bin", &options);
    assert!(!taken && text.contains(refusal), "{text}");
}
