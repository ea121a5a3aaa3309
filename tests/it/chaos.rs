//! Everything that can go wrong at once, and a verdict on every reply.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use warlock_tests::chaos::{self, Kind, Options, Verdict};

/// Where a run keeps what it found.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(name)
}

#[test]
fn a_minute_of_chaos_finds_nothing() {
    let options = Options { rate: 4000, ..Options::new(1, folder("minute")) };
    match chaos::run(&options, &AtomicBool::new(false)) {
        Verdict::Held(figures) => println!("{figures}"),
        Verdict::Broken(what, figures) => {
            let folder = options.folder.display();
            panic!("{what}\n{figures}\nlook at {folder}/README.txt first");
        }
        Verdict::NotRun(why) => panic!("{why}"),
    }
}

#[test]
fn chaos_finds_what_nodes_lose_that_do_not_sync() {
    let options = Options {
        duration: Duration::from_secs(20),
        rate: 2000,
        kinds: vec![Kind::PowerCutAll],
        settings: vec![("durability.mode".to_owned(), "\"os\"".to_owned())],
        ..Options::new(1, folder("forgetful"))
    };
    let verdict = chaos::run(&options, &AtomicBool::new(false));
    let Verdict::Broken(what, _) = verdict else { panic!("{verdict:?}") };
    assert!(what.contains("was acknowledged"), "{what}");
    for kept in ["README.txt", "story.txt", "histories", "n1/log", "n3/data", "n3/warlock.toml"] {
        assert!(options.folder.join(kept).exists(), "{kept} is kept");
    }
}
