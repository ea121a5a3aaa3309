//! Everything that can go wrong at once, and a verdict on every reply.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use warlock_tests::chaos::{self, Options, Verdict};

/// How long faults are let happen.
const DURATION: Duration = Duration::from_secs(60);

#[test]
fn chaos_of_three_nodes_finds_nothing() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let options =
        Options { seed: 1, nodes: 3, duration: DURATION, clients: 16, rate: 4000, folder };
    match chaos::run(&options, &AtomicBool::new(false)) {
        Verdict::Held(figures) => println!("{figures}"),
        Verdict::Broken(what, figures) => {
            let folder = options.folder.display();
            panic!("{what}\n{figures}\nlook at {folder}/README.txt first");
        }
        Verdict::NotRun(why) => panic!("{why}"),
    }
}
