//! Ranges of notifications by their ids, and times as bounds of them.

use model::id::NotificationId;
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::fault::Fault;
use crate::sqlite::fresh::Listed;

const ACCEPTED_FROM: &str = "
    select id, accepted_at from notification
    where id >= ?1
    order by id
    limit 1";
const LATEST_ID: &str = "select max(id) from notification";

pub(crate) const STATEMENTS: &[&str] = &[ACCEPTED_FROM, LATEST_ID];

/// Ids from `from` up to and without `to`.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Ids {
    pub(crate) fn upto(self, listed: Listed) -> Self {
        self.below(NotificationId(listed.upto.0.saturating_add(1)))
    }

    pub(crate) fn below(self, id: NotificationId) -> Self {
        Self {
            to: self.to.min(id.0),
            ..self
        }
    }

    pub(crate) fn above(self, id: NotificationId) -> Self {
        Self {
            from: self.from.max(id.0.saturating_add(1)),
            ..self
        }
    }
}

/// The id of the latest notification that is there; 0 if there is none.
pub(crate) fn latest_id(conn: &Connection) -> Result<i64, Fault> {
    let latest: Option<i64> = conn
        .prepare_cached(LATEST_ID)?
        .query_row([], |row| row.get(0))?;
    Ok(latest.unwrap_or(0))
}

/// The id from which on notifications were accepted at `at` or later, found by halving.
pub(crate) fn id_at(conn: &Connection, at: Option<Timestamp>) -> Result<Option<i64>, Fault> {
    let Some(at) = at else {
        return Ok(None);
    };
    // All below `low` are earlier than `at`, none from `high` on is.
    let (mut low, mut high) = (0, latest_id(conn)?.saturating_add(1));
    let mut statement = conn.prepare_cached(ACCEPTED_FROM)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((id, accepted_at)) if accepted_at < at.as_millis() => low = id.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(Some(low))
}
