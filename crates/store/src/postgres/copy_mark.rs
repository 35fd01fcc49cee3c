//! The tables of a copy that is under way: they are there from its first moment to its last. While
//! they are, nobody else uses the store.

use crate::postgres::session::Session;
use crate::postgres::session_error::SessionError;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

/// Which copy it is, which one it began anew instead of, and the file that is copied.
pub(crate) const CREATE: &str = "
    create table willcall_copy (
      id smallint primary key check (id = 1),
      copy text not null,
      previous text,
      source text not null
    );
    create table willcall_copied (
      name text collate \"C\" primary key,
      row_count bigint not null,
      checksum text not null,
      reached bytea,
      ended boolean not null
    )";

pub(crate) const DROP: &str = "drop table willcall_copied, willcall_copy";

statements! {
    IS_THERE = "
        select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = current_schema() and c.relname = 'willcall_copy'";
}

const FIND: &str = "select copy, source, previous from willcall_copy where id = 1";

/// A copy that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnfinishedCopy {
    pub(crate) id: String,
    /// The one that was begun anew by this one.
    pub(crate) previous: Option<String>,
    pub(crate) source: String,
}

pub(crate) fn find(session: &Session) -> Result<Option<UnfinishedCopy>, SessionError> {
    if session.query(IS_THERE, &[])?.is_empty() {
        return Ok(None);
    }
    let found = session.query(FIND, &[])?;
    let mark = found.first().map(|row| {
        let text = |at: usize| -> Result<String, JobError> { row.column(at) };
        UnfinishedCopy {
            id: text(0).unwrap_or_default(),
            previous: text(2).ok(),
            source: text(1).unwrap_or_default(),
        }
    });
    // A table without its row is no copy that could go on, and nobody's store.
    Ok(Some(mark.unwrap_or(UnfinishedCopy {
        id: String::new(),
        previous: None,
        source: String::new(),
    })))
}
