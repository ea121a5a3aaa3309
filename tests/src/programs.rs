//! Where the programs are that tests run, and building them if they are missing or old.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Where the programs are instead, if they are not those of this build.
static ELSEWHERE: OnceLock<PathBuf> = OnceLock::new();

/// Runs the programs of this directory from now on, as they are: nothing is built.
///
/// # Errors
/// They are not there, or another directory was named before.
pub fn use_programs(directory: &Path) -> Result<(), String> {
    for name in ["warlockd", "warlock-admin"] {
        if !directory.join(name).is_file() {
            return Err(format!("there is no program {}", directory.join(name).display()));
        }
    }
    ELSEWHERE.set(directory.to_owned()).map_err(|_| "programs were chosen before".to_owned())
}

/// The daemon, as built with the profile of this test.
#[must_use]
pub fn warlockd() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("warlockd"))
}

/// The operator's program, as built with the profile of this test.
#[must_use]
pub fn admin() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("warlock-admin"))
}

/// Where `scripts/setup` puts foreign clients: a Python environment and `node_modules`.
#[must_use]
pub fn clients_directory() -> PathBuf {
    env::var_os("WARLOCK_TEST_CLIENTS").map_or_else(
        || target().parent().expect("a profile is in target/").join("clients"),
        PathBuf::from,
    )
}

/// The top of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project")
}

/// The directory of the profile that this test was built with, such as `target/debug`.
pub(crate) fn target() -> PathBuf {
    let program = env::current_exe().expect("the path of this program is known");
    let directory = program.parent().expect("a program is in a directory");
    if directory.ends_with("deps") {
        return directory.parent().expect("tests are in target/PROFILE/deps").to_owned();
    }
    directory.to_owned()
}

fn built(name: &str) -> PathBuf {
    if let Some(directory) = ELSEWHERE.get() {
        return directory.join(name);
    }
    let program = target().join(name);
    // A program that a change does not concern stays as old as it is when cargo looks at it.
    let looked = target().join("warlock-tests.built");
    let age = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let known = age(&program).map(|built| age(&looked).map_or(built, |looked| looked.max(built)));
    let newest = newest_source();
    if known.is_none_or(|known| newest > known) {
        build();
        File::create(&looked)
            .and_then(|file| file.set_modified(newest))
            .expect("the directory of the profile can be written");
    }
    assert!(program.is_file(), "cargo built no {}", program.display());
    program
}

/// The time of the last change of anything that programs are made of.
fn newest_source() -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut paths = vec![root().join("crates"), root().join("Cargo.lock")];
    while let Some(path) = paths.pop() {
        let metadata = path.metadata().expect("a listed file exists");
        if metadata.is_file() {
            newest = newest.max(metadata.modified().expect("files have times"));
            continue;
        }
        let skipped = ["target", "tests", "benches"];
        if !skipped.iter().any(|name| path.ends_with(name)) {
            let entries = fs::read_dir(&path).expect("a listed directory can be read");
            paths.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        }
    }
    newest
}

/// Builds the programs. The whole workspace, because a part of it may resolve to other features
/// of libraries, which would be built all over again.
fn build() {
    let target = target();
    let directory = target.file_name().and_then(|name| name.to_str()).expect("target/PROFILE");
    let profile = if directory == "debug" { "dev" } else { directory };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(target.parent().expect("a profile is in target/"))
        .current_dir(root())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the programs cannot be built");
}
