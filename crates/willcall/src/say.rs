//! What a person asked for goes to standard output, line by line.
//!
//! Whoever reads it may stop reading (`willcall demo | head`): that is no fault, so unlike
//! `println!` this does not panic then.

use std::fmt::Arguments;
use std::io::Write;

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
    let mut out = std::io::stdout().lock();
    // Nobody reads any more.
    writeln!(out, "{words}").ok();
}
