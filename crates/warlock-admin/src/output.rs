//! Where results, progress and complaints go.

use std::env;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Results on stdout, everything else on stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One object for programs instead of text for people.
    pub(crate) json: bool,
    /// Whether a person reads stdout.
    pub(crate) terminal: bool,
    /// Whether stdout shows colours and is wanted to.
    pub(crate) colour: bool,
    /// Whether a person reads stderr.
    progress: bool,
}

impl Output {
    /// What the environment of this process says; `NO_COLOR` with any value turns colours off.
    pub(crate) fn of_this_process(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            terminal,
            colour: terminal && !no_colour,
            progress: !json && io::stderr().is_terminal(),
        }
    }

    /// Writes the result. A reader that went away is not an error: it has read enough.
    pub(crate) fn print(&self, text: &[u8]) {
        let mut stdout = io::stdout().lock();
        let _closed = stdout.write_all(text).and_then(|()| stdout.flush());
    }

    /// Writes the result as the one object on a line.
    pub(crate) fn print_json(&self, object: &impl Serialize) {
        let mut line = serde_json::to_vec(object).expect("results have string keys");
        line.push(b'\n');
        self.print(&line);
    }

    /// An empty table in the style of all tables.
    pub(crate) fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// Writes a table without the blanks around it.
    pub(crate) fn print_table(&self, table: &Table) {
        for line in table.lines() {
            let line = line.strip_prefix(' ').unwrap_or(&line);
            self.print(format!("{}\n", line.trim_end()).as_bytes());
        }
    }

    /// Shows a person what is being waited for, on one line that the next call replaces.
    pub(crate) fn progress(&self, text: &str) {
        if self.progress {
            let _closed = write!(io::stderr(), "\r\x1b[2K{text}");
        }
    }

    /// Removes the line of the last progress.
    pub(crate) fn progress_end(&self) {
        self.progress("");
    }

    /// Says what went wrong and what to do next.
    pub(crate) fn fail(&self, failure: &Failure) {
        let text = if self.json {
            serde_json::to_string(failure).expect("failures have string keys")
        } else {
            format!("error: {}\n  next: {}", failure.message, failure.next)
        };
        let _closed = writeln!(io::stderr(), "{text}");
    }
}
