//! A database URL as libpq reads it.
//!
//! Each of libpq's words is obeyed, or refused with a sentence, never ignored. No file is read that
//! the URL does not name, and no variable of the environment. No secret is in an error.

use std::path::Path;

use crate::postgres::settings::{DatabaseSettings, DatabaseUrlError};

mod known_words;
mod options;
mod split;
mod words;

impl DatabaseSettings {
    /// Reads a URL such as `postgres://user@host:5432/name?sslmode=verify-full`. The password may
    /// be in a file of its own instead, which is read for each connection.
    pub fn parse(url: &str, password_file: Option<&Path>) -> Result<Self, DatabaseUrlError> {
        let words = split::split(url)?;
        words::settings(words, password_file).map_err(DatabaseUrlError)
    }
}
