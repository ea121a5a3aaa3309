//! What is kept of a run that found something.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::Options;
use super::arena::Arena;
use super::keys::Generation;
use super::meter::Meter;
use super::report::Figures;

/// Writes everything into the folder of the run.
///
/// # Panics
/// If there is no room for it: what was found must not get lost.
pub(super) fn keep(
    options: &Options,
    what: &str,
    meter: &Meter,
    evidence: &[Arc<Generation>],
    arena: &mut Arena,
) {
    let folder = &options.folder;
    // The last run of this seed may have left one.
    let _ = fs::remove_dir_all(folder);
    let histories = folder.join("histories");
    fs::create_dir_all(&histories).expect("the folder can be made");
    for generation in evidence {
        let file = histories.join(format!("generation-{}.jsonl", generation.number));
        write_history(&file, generation).expect("a history can be written");
    }
    let story = meter.story().join("\n") + "\n";
    fs::write(folder.join("story.txt"), story).expect("the story can be written");
    let figures = Figures::of(meter);
    let read_me = read_me(options, what, &figures);
    fs::write(folder.join("README.txt"), read_me).expect("the explanation can be written");
    arena.end();
    arena.copy_to(folder);
}

fn write_history(file: &Path, generation: &Generation) -> io::Result<()> {
    let mut output = BufWriter::new(fs::File::create(file)?);
    for record in generation.records() {
        writeln!(output, "{}", record.json(&generation.name(record.key)))?;
    }
    output.flush()
}

fn read_me(options: &Options, what: &str, figures: &Figures) -> String {
    let mut text = String::new();
    let Options { seed, nodes, .. } = options;
    let minutes = options.duration.as_secs().div_ceil(60);
    let _ = write!(
        text,
        "{what}\n\n{figures}\n\n\
         Same faults again: scripts/chaos.sh --minutes {minutes} --seed {seed} --nodes {nodes}\n\n\
         story.txt                  what was done to the cluster, in seconds since the start\n\
         histories/*.jsonl          one operation a line, times in nanoseconds since the start;\n\
         \x20                          e.g.: grep -h 'KEY\\b' histories/*.jsonl\n\
         nN/log                     what node N wrote; dates follow its faked wall clock\n\
         nN/data, nN/warlock.toml   its data directory and settings, as they were at the end\n"
    );
    text
}
