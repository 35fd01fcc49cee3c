//! Standard output.

use std::io::Write as _;

/// Prints a line. Whoever closed the output does not want it.
pub(crate) fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
