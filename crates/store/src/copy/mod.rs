//! Copying a store from a file into a database: neither engine's business.

pub(crate) mod datum;
pub(crate) mod error;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod table;
pub(crate) mod tables;
pub(crate) mod target;

pub use self::error::CopyError;
pub use self::run::{CopyOrder, CopyReport, CopyStep, TableProgress};
