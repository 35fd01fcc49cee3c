//! Reads what the command line says, where an argument may be missing.

use clap::ArgMatches;

/// An argument's text; empty if it was not given.
pub(crate) fn text(matches: &ArgMatches, name: &str) -> String {
    matches
        .try_get_one::<String>(name)
        .ok()
        .flatten()
        .cloned()
        .unwrap_or_default()
}
