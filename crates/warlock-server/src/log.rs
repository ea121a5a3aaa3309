//! What the node tells its operator, line by line on standard error.
//!
//! Lines are written by a thread of their own: a full pipe behind standard error must not stop the
//! core, so lines that do not fit are dropped and counted. No line ever holds a client's key or
//! value.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use warlock_paxos::NodeId;

use crate::settings::{LogFormat, LogLevel, LogSettings};

/// Lines that wait for standard error; more are dropped.
const LINES_WAITING_MAX: usize = 4096;

/// How long the end of the process waits for lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Keeps the log running; dropping it writes what still waits.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Item>,
}

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(settings: &LogSettings, node: NodeId) -> io::Result<Self> {
        let (queue, items) = sync_channel(LINES_WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let pipe = Pipe { queue: queue.clone(), lost: Arc::clone(&lost) };
        std::thread::Builder::new().name("log".into()).spawn(move || write(&items, &lost))?;
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line { node, format: settings.format })
            .with_ansi(colours && settings.format == LogFormat::Text)
            .with_writer(pipe);
        let subscriber = tracing_subscriber::registry().with(layer).with(targets(settings.level));
        // A second start in one process, as in tests, keeps the first log.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(Self { queue })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            // Whoever reads standard error may have stopped to do so.
            let _ = written.recv_timeout(FLUSH_TIME_MAX);
        }
    }
}

/// Libraries may warn; details are Warlock's own.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("warlock", level)
}

fn write(items: &Receiver<Item>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    while let Ok(item) = items.recv() {
        // A log that cannot be written has nobody to tell.
        match item {
            Item::Line(line) => {
                let _ = stderr.write_all(&line);
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(stderr, "... {count} log lines were dropped here");
        }
    }
}

/// Where the formatter leaves a finished line.
#[derive(Clone)]
struct Pipe {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

impl MakeWriter<'_> for Pipe {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Item::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats one event as one line.
struct Line {
    node: NodeId,
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let part = part(event.metadata().target());
        match self.format {
            LogFormat::Text => {
                let (on, off) = colours(level, writer.has_ansi_escapes());
                write!(writer, "{time} {on}{level:5}{off} {} {part:8} ", self.node)?;
                fields.write_text(&mut writer)
            }
            LogFormat::Json => {
                let line = fields.into_json(&time, level, self.node, part);
                writeln!(writer, "{}", Value::Object(line))
            }
        }
    }
}

/// `peer` of `warlock_server::peer::dial`.
fn part(target: &str) -> &str {
    let within = target.strip_prefix("warlock_server::").unwrap_or(target);
    within.split("::").next().unwrap_or(within)
}

fn colours(level: Level, wanted: bool) -> (&'static str, &'static str) {
    let on = match level {
        _ if !wanted => return ("", ""),
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    };
    (on, "\x1b[0m")
}

/// Message and fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.others.push((field.name(), value));
        }
    }

    fn write_text(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write_clean(writer, &self.message)?;
        for (name, value) in &self.others {
            write!(writer, " {name}=")?;
            match value.as_str().filter(|text| is_word(text)) {
                Some(word) => writer.write_str(word)?,
                // JSON quotes and escapes what is not a plain word.
                None => write!(writer, "{value}")?,
            }
        }
        writeln!(writer)
    }

    fn into_json(self, time: &str, level: Level, node: NodeId, part: &str) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("time".into(), time.into());
        line.insert("level".into(), level.as_str().to_lowercase().into());
        line.insert("node".into(), node.number().into());
        line.insert("part".into(), part.into());
        line.insert("message".into(), self.message.into());
        for (name, value) in self.others {
            line.insert(name.into(), value);
        }
        line
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// Whether `text` can stand without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"')
}

/// Writes `text` without anything that could forge a line or drive a terminal: some of it comes
/// from other machines.
fn write_clean(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(writer, "{}", c.escape_default())?;
        } else {
            writer.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged in `body`, without the times.
    fn logged(format: LogFormat, level: LogLevel, body: fn()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line { node: NodeId::new(2), format })
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer).with(targets(level));
        tracing::subscriber::with_default(subscriber, body);
        String::from_utf8(sink.0.lock().clone()).unwrap()
    }

    #[test]
    fn text_lines_have_fixed_columns_and_quoted_fields() {
        let text = logged(LogFormat::Text, LogLevel::Info, || {
            tracing::info!(
                target: "warlock_server::peer::dial",
                peer = %NodeId::new(3), count = 7, reason = "no answer", "lost"
            );
        });
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.starts_with("20"), "{time}");
        assert_eq!(rest, "INFO  n2 peer     lost peer=n3 count=7 reason=\"no answer\"\n");
    }

    #[test]
    fn json_lines_are_objects() {
        let text = logged(LogFormat::Json, LogLevel::Info, || {
            tracing::warn!(target: "warlock_server::core", slot = 7_u64, ok = false, "a \"b\"\n");
        });
        let mut line: Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert!(line.remove("time").is_some());
        assert_eq!(
            Value::Object(line),
            serde_json::json!({
                "level": "warn", "node": 2, "part": "core", "message": "a \"b\"\n", "slot": 7,
                "ok": false
            })
        );
    }

    #[test]
    fn foreign_text_cannot_forge_lines() {
        let text = logged(LogFormat::Text, LogLevel::Info, || {
            tracing::info!(target: "warlock", reason = "x\nERROR n1 fake\x1b[2J", "a\nb");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn level_selects_what_is_logged() {
        let events = || {
            tracing::error!(target: "warlock_server", "e");
            tracing::info!(target: "warlock_server", "i");
            tracing::debug!(target: "warlock_server", "d");
            tracing::info!(target: "library", "foreign");
        };
        let lines = |level| logged(LogFormat::Text, level, events).lines().count();
        assert_eq!(lines(LogLevel::Error), 1);
        assert_eq!(lines(LogLevel::Info), 2);
        assert_eq!(lines(LogLevel::Debug), 3);
        assert_eq!(lines(LogLevel::Trace), 3);
    }

    #[test]
    fn lines_beyond_the_queue_are_counted() {
        let (queue, items) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let mut pipe = Pipe { queue, lost: Arc::clone(&lost) };
        pipe.write_all(b"one").unwrap();
        pipe.write_all(b"two").unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        assert!(matches!(items.try_recv(), Ok(Item::Line(line)) if line == b"one"));
    }
}
