//! Real processes under chaos: see `scripts/chaos.sh`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use warlock_tests::chaos::{self, Kind, Options, Verdict};
use warlock_tests::use_programs;

const USAGE: &str = "\
usage: warlock-chaos [--minutes M | --seconds S] [--seed N] [--nodes 3|5|7] [--clients N]
                     [--rate OPS] [--only KIND,...] [--set KEY=VALUE]... [--programs DIR]
                     [--folder DIR]

  --minutes M, --seconds S   how long faults are let happen (default: 1 minute)
  --seed N                   from which faults and load are drawn (default: 1)
  --nodes N                  nodes of the cluster (default: 3)
  --clients N                clients (default: 16)
  --rate OPS                 most operations of all clients in a second (default: 8000)
  --only KIND,...            kinds of fault that may happen (default: all)
  --set KEY=VALUE            a setting of every node, with the value in TOML
  --programs DIR             where warlockd and warlock-admin are (default: beside this program)
  --folder DIR               where everything is kept if something is found

exit: 0 nothing found, 1 something found, 2 usage, 3 could not run";

/// What the command line asks for.
struct Arguments {
    options: Options,
    programs: PathBuf,
}

fn main() -> ExitCode {
    let arguments = match parse(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => return end(2, &format!("{why}\n{USAGE}")),
    };
    if let Err(why) = use_programs(&arguments.programs) {
        return end(3, &why);
    }
    let interrupted = match watch_signals() {
        Ok(interrupted) => interrupted,
        Err(why) => return end(3, &format!("cannot wait for signals: {why}")),
    };
    let options = &arguments.options;
    match chaos::run(options, &interrupted) {
        Verdict::Held(figures) => end(0, &format!("\n{figures}\n\nOK: nothing found")),
        Verdict::Broken(what, figures) => {
            let folder = options.folder.display();
            end(1, &format!("\n{figures}\n\nFOUND: {what}\n\nlook at {folder}/README.txt first"))
        }
        Verdict::NotRun(why) => end(3, &format!("could not run: {why}")),
    }
}

#[expect(clippy::print_stdout, reason = "this program reports to people")]
fn end(code: u8, text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::from(code)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let beside = env::current_exe().map_err(|error| error.to_string())?;
    let beside = beside.parent().ok_or("this program is in no directory")?.to_owned();
    let mut options = Options::new(1, PathBuf::new());
    let mut programs = beside.clone();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} has no value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: no number"));
        match word.as_str() {
            "--minutes" => options.duration = Duration::from_secs(number()?.saturating_mul(60)),
            "--seconds" => options.duration = Duration::from_secs(number()?),
            "--seed" => options.seed = number()?,
            "--nodes" => {
                let count = [3, 5, 7].into_iter().find(|count| count.to_string() == value);
                options.nodes = count.ok_or_else(|| format!("{word} {value}: 3, 5 or 7"))?;
            }
            "--clients" => {
                let count = u32::try_from(number()?).ok().filter(|it| (1..=1000).contains(it));
                options.clients = count.ok_or_else(|| format!("{word} {value}: 1 to 1000"))?;
            }
            "--rate" => options.rate = number()?.max(1),
            "--only" => {
                let kinds: Option<Vec<Kind>> = value.split(',').map(Kind::named).collect();
                options.kinds = kinds.ok_or_else(|| {
                    let known = Kind::ALL.map(Kind::name).join(", ");
                    format!("{word} {value}: the kinds are {known}")
                })?;
            }
            "--set" => {
                let (key, setting) =
                    value.split_once('=').ok_or_else(|| format!("{word} {value}: KEY=VALUE"))?;
                options.settings.push((key.to_owned(), setting.to_owned()));
            }
            "--programs" => programs = value.into(),
            "--folder" => options.folder = value.into(),
            _ => return Err(format!("there is no option {word}")),
        }
    }
    if options.folder.as_os_str().is_empty() {
        let name = format!("seed-{}-nodes-{}", options.seed, options.nodes);
        options.folder = beside.join("chaos").join(name);
    }
    Ok(Arguments { options, programs })
}

/// A flag that is raised when somebody or something asks this program to end.
fn watch_signals() -> std::io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let raised = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&raised);
    let (mut hung_up, mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = hung_up.recv() => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            flag.store(true, Ordering::SeqCst);
        });
    });
    Ok(raised)
}
