//! Logging, and the panic hook.
//!
//! Logs go to standard error; standard output is for what a person asked for. A log line never
//! holds a token or credentials of a URL: whoever logs masks them first. Logging never blocks, even
//! if nobody reads the log.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::background_writer::{BackgroundWriter, RawDescriptor};
use crate::config::LogFormat;
use crate::journal::{self, JournalFormat};

/// How long a panic waits until its line is written, because the process may end with it.
const PANIC_FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// Global, because the panic hook has no other way to reach it.
static LOG: OnceLock<BackgroundWriter> = OnceLock::new();

/// The format that was chosen, which is not `Auto`.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts logging and sets the panic hook. Call it once.
pub(crate) fn start(level: Level, format: LogFormat) -> Result<()> {
    let terminal = io::stderr().is_terminal();
    let format = match format {
        LogFormat::Auto if terminal => LogFormat::Text,
        LogFormat::Auto if journal::is_journal() => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Json,
        format @ (LogFormat::Text | LogFormat::Json | LogFormat::Journald) => format,
    };
    FORMAT.get_or_init(|| format);
    let out = RawDescriptor::of(io::stderr()).context("standard error cannot be written to")?;
    let notice = |lines_dropped| {
        tracing::warn!(
            lines_dropped,
            "log lines were dropped: they were not read as fast as they came"
        );
    };
    let writer = BackgroundWriter::begin(out, Box::new(notice))?;
    let log = LogSink(LOG.get_or_init(|| writer));
    // Of libraries only warnings and errors are logged.
    let ours = ["willcall", "bench", "web", "engine", "store", "model"];
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(LevelFilter::from_level(level)))
        .with_targets(ours.map(|floor| (floor, level)));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer();
    match format {
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_writer(log);
            registry.with(layer).init();
        }
        LogFormat::Journald => {
            let layer = layer.event_format(JournalFormat).with_ansi(false);
            registry.with(layer.with_writer(log)).init();
        }
        LogFormat::Text | LogFormat::Auto => {
            let layer = layer.with_ansi(terminal).with_target(false);
            registry.with(layer.with_writer(log)).init();
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let words = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(%place, "a fault in Willcall itself: {words}");
        end(Some(PANIC_FLUSH_LIMIT));
    }));
    Ok(())
}

/// Waits until the log is written, at most for `limit` if there is one.
pub(crate) fn end(limit: Option<Duration>) {
    if let Some(log) = LOG.get() {
        log.flush(limit);
    }
}

/// Writes the reason why the process ends, with or without a running log.
pub(crate) fn complain(words: &str) {
    // Wrong settings end it before any format is known.
    let is_for_journal = match FORMAT.get() {
        Some(format) => *format == LogFormat::Journald,
        None => journal::is_journal(),
    };
    let line = match is_for_journal {
        true => journal::line(Level::ERROR, words),
        false => format!("{words}\n"),
    };
    match LOG.get() {
        Some(log) => log.put(line.as_bytes(), true),
        // If that fails, nobody is left to tell.
        None => io::stderr().write_all(line.as_bytes()).unwrap_or(()),
    }
}

/// Registers the metrics of the log.
pub(crate) fn register(meters: &mut Registry) {
    if let Some(log) = LOG.get() {
        meters.register(
            "willcall_log_lines_dropped",
            "Log lines dropped because they were not read in time or could not be written. \
             Growing: the reader of standard error does not keep up",
            log.dropped().clone(),
        );
    }
}

/// Makes a writer for each event.
struct LogSink(&'static BackgroundWriter);

struct LogLine {
    writer: &'static BackgroundWriter,
    urgent: bool,
}

impl MakeWriter<'_> for LogSink {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine {
            writer: self.0,
            urgent: false,
        }
    }

    fn make_writer_for(&self, about: &Metadata<'_>) -> LogLine {
        LogLine {
            writer: self.0,
            urgent: *about.level() == Level::ERROR,
        }
    }
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.writer.put(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
