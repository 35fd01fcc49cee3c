//! What a person asked for goes to standard output, line by line.
//!
//! Whoever reads it may stop reading (`willcall demo | head`): that is no fault, so unlike
//! `println!` this does not panic then. That it cannot be written for another reason is one, which
//! is known at the end. What must go on meanwhile has lines written aside.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::background_writer::{BackgroundWriter, RawDescriptor};

/// There is one standard output.
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
        // Nobody reads any more.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(FAILED.set(error)),
        Ok(()) | Err(_) => {}
    }
}

/// From now on nobody waits until what was said is read.
pub(crate) fn aside() -> Result<()> {
    let out = RawDescriptor::of(io::stdout()).context("standard output cannot be written to")?;
    let notice = |lines_dropped| {
        tracing::warn!(
            lines_dropped,
            "lines on standard output were dropped: nobody read them as fast as they came"
        );
    };
    let writer = BackgroundWriter::begin(out, Box::new(notice))?;
    ASIDE.get_or_init(|| writer);
    Ok(())
}

/// Waits until everything is written, or until the limit if there is one. Fails if something could
/// not be.
pub(crate) fn end(limit: Option<Duration>) -> Result<()> {
    if let Some(lines) = ASIDE.get() {
        lines.flush(limit);
    }
    match FAILED.get() {
        Some(error) => bail!(
            "what was done is done, but standard output cannot be written, so not all of it was said: {error}"
        ),
        None => Ok(()),
    }
}
