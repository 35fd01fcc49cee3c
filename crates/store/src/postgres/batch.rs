//! Statements that are sent together, in one round trip.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::postgres::pipeline::Answer;
use crate::postgres::session::Session;
use crate::postgres::session_error::SessionError;

/// Statements with their values, in the order in which they run.
#[derive(Default)]
pub(crate) struct Batch<'a>(Vec<(&'static str, Vec<Parameter<'a>>)>);

pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl<'a> Batch<'a> {
    /// Answers the place of its answer.
    pub(crate) fn add(
        &mut self,
        sql: &'static str,
        values: impl IntoIterator<Item = Parameter<'a>>,
    ) -> usize {
        self.0.push((sql, values.into_iter().collect()));
        self.0.len() - 1
    }

    /// Answers of all, in their order.
    pub(crate) fn send(&self, session: &Session) -> Result<Answers, SessionError> {
        if self.0.is_empty() {
            return Ok(Answers(Vec::new()));
        }
        let statements: Vec<(&str, &[Parameter<'_>])> = self
            .0
            .iter()
            .map(|(sql, values)| (*sql, values.as_slice()))
            .collect();
        session.pipeline(&statements).map(Answers)
    }
}

/// What came of the statements of a batch.
pub(crate) struct Answers(Vec<Answer>);

impl Answers {
    /// The rows of the answer at this place; none of a statement that was not sent.
    pub(crate) fn rows(&self, place: Option<usize>) -> &[Row] {
        let answer = place.and_then(|place| self.0.get(place));
        answer.map_or(&[], |answer| &answer.rows)
    }
}
