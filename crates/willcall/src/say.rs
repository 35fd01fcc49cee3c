//! Prints to standard output, line by line.
//!
//! A reader may stop reading (`willcall demo | head`). That is no error, so unlike `println!` this
//! does not panic. Any other failure to write is an error, reported by `end`. Commands that must
//! not block on the reader call `aside` first.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::background_writer::{BackgroundWriter, RawDescriptor};

/// Set by `aside`: lines go to a background thread.
static ASIDE: OnceLock<BackgroundWriter> = OnceLock::new();
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Prints a line, as `println!` does.
macro_rules! say {
    () => {
        $crate::say::line(format_args!(""))
    };
    ($($words:tt)*) => {
        $crate::say::line(format_args!($($words)*))
    };
}

pub(crate) fn line(words: Arguments<'_>) {
    if let Some(lines) = ASIDE.get() {
        return lines.put(format!("{words}\n").as_bytes(), false);
    }
    match writeln!(io::stdout().lock(), "{words}") {
        // The reader is gone; that is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(FAILED.set(error)),
        Ok(()) | Err(_) => {}
    }
}

/// From now on lines are written by a background thread, and `say!` never blocks.
pub(crate) fn aside() -> Result<()> {
    let out = RawDescriptor::of(io::stdout()).context("standard output cannot be written to")?;
    let notice = |lines_dropped| {
        tracing::warn!(
            lines_dropped,
            "lines on standard output were dropped: they were not read as fast as they came"
        );
    };
    let writer = BackgroundWriter::begin(out, Box::new(notice))?;
    ASIDE.get_or_init(|| writer);
    Ok(())
}

/// Waits until everything is written, at most for `limit` if there is one.
///
/// # Errors
/// If a line could not be written, except because the reader is gone.
pub(crate) fn end(limit: Option<Duration>) -> Result<()> {
    if let Some(lines) = ASIDE.get() {
        lines.flush(limit);
    }
    match FAILED.get() {
        Some(error) => bail!(
            "the command has done its work, but standard output cannot be written, so not all of it \
             was printed: {error}"
        ),
        None => Ok(()),
    }
}
