//! Reads arguments that a command may or may not have.

use clap::ArgMatches;

/// The value of the argument `name`; empty if it was not given or the command has none such.
pub(crate) fn text(matches: &ArgMatches, name: &str) -> String {
    matches
        .try_get_one::<String>(name)
        .ok()
        .flatten()
        .cloned()
        .unwrap_or_default()
}
