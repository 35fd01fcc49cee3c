//! A session as shared statements are run on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::postgres::session::Session;
use crate::sql::Statement;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::value::Value;

/// A session, and the statements that were put into PostgreSQL's words for it.
pub(crate) struct PostgresConnection {
    session: Session,
    texts: RefCell<BTreeMap<TextKey, Text>>,
}

/// A statement by the place of its words in the program, and whether it answers an id.
type TextKey = (usize, bool);

#[derive(Clone)]
struct Text {
    sql: Arc<str>,
    /// How many values it names.
    value_count: usize,
}

impl PostgresConnection {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            texts: RefCell::default(),
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// All rows of the answer. Values that the statement does not name are left out.
    pub(crate) fn query(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, JobError> {
        self.run(&self.text(statement, false), values)
    }

    /// Answers how many rows it changed.
    pub(crate) fn execute(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<usize, JobError> {
        let text = self.text(statement, false);
        let changed = self
            .session
            .execute(&text.sql, &references(&text, values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Inserts a row. Answers its `id`.
    pub(crate) fn insert(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<i64, JobError> {
        let found = self.run(&self.text(statement, true), values)?;
        found.first().ok_or(CorruptRow("answer"))?.column(0)
    }

    fn run(&self, text: &Text, values: &[Value<'_>]) -> Result<Vec<Row>, JobError> {
        Ok(self.session.query(&text.sql, &references(text, values))?)
    }

    fn text(&self, statement: Statement, answers_id: bool) -> Text {
        let mut texts = self.texts.borrow_mut();
        let known = texts.entry((statement.postgres.as_ptr().addr(), answers_id));
        let text = known.or_insert_with(|| {
            let mut sql = statement.to_postgres();
            if answers_id {
                sql.push_str(" returning id");
            }
            Text {
                value_count: value_count(&sql),
                sql: sql.into(),
            }
        });
        text.clone()
    }
}

fn references<'a>(text: &Text, values: &'a [Value<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    let values = values.iter().take(text.value_count);
    values.map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// The highest number of a value in a statement.
fn value_count(sql: &str) -> usize {
    let numbers = sql.split('$').skip(1).map(|rest| {
        let end = rest.find(|next: char| !next.is_ascii_digit());
        let (number, _) = rest.split_at(end.unwrap_or(rest.len()));
        number.parse().unwrap_or(0)
    });
    numbers.max().unwrap_or(0)
}
