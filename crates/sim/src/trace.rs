//! The trace: one line for each change, and a hash of all lines that tells two runs apart.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Lines kept of a run that is not traced whole: what a person reads of a failure.
const LINES_KEPT: usize = 80;

/// What happened, in lines.
pub(crate) struct Trace {
    hasher: DefaultHasher,
    lines: Vec<String>,
    whole: bool,
    count: u64,
}

impl Trace {
    /// With `whole`, each line is printed when it is made.
    pub(crate) fn new(whole: bool) -> Self {
        Self {
            hasher: DefaultHasher::new(),
            lines: Vec::new(),
            whole,
            count: 0,
        }
    }

    pub(crate) fn line(&mut self, at: i64, words: impl FnOnce() -> String) {
        let line = format!("{} {}", Span(at), words());
        line.hash(&mut self.hasher);
        self.count += 1;
        if self.whole {
            crate::output::print(&line);
        } else {
            if self.lines.len() >= 2 * LINES_KEPT {
                self.lines.drain(..LINES_KEPT);
            }
            self.lines.push(line);
        }
    }

    /// The same for the same lines, in whichever process.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The latest lines.
    pub(crate) fn tail(&self) -> &[String] {
        let from = self.lines.len().saturating_sub(LINES_KEPT);
        self.lines.get(from..).unwrap_or_default()
    }
}

/// A time of the simulation: days, hours, minutes, seconds, milliseconds.
pub(crate) struct Span(pub(crate) i64);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, ms) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (hours, minutes) = (rest / 3_600, rest / 60 % 60);
        write!(
            f,
            "{days}d {hours:02}:{minutes:02}:{:02}.{ms:03}",
            rest % 60
        )
    }
}
