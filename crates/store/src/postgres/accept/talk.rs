//! What a group of new notifications says to the database, in few round trips: statements are sent
//! together, the first with the transaction's beginning and the last with its end.

use model::contract::StoreError;
use tokio_postgres::types::ToSql;

use crate::postgres::pipeline::{Answer, Params};
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::sql::job_error::{CorruptRow, JobError};

pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// Statements to be sent together.
#[derive(Default)]
pub(super) struct Statements<'a>(Vec<(&'static str, Vec<Param<'a>>)>);

/// The answers to statements that were sent together, in their order.
pub(super) struct Answers(std::vec::IntoIter<Answer>);

/// Whose transaction it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The group's own: begun with its first statements and committed with its last.
    Own,
    /// The same, begun already.
    Begun,
    /// Of a caller, who has begun it and will commit it.
    Callers,
}

pub(crate) struct Talk<'a> {
    session: &'a Session,
    whose: Whose,
    is_begun: bool,
}

impl<'a> Statements<'a> {
    pub(super) fn add(&mut self, sql: &'static str, params: Vec<Param<'a>>) {
        self.0.push((sql, params));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn params(&self) -> Vec<(&str, Params<'_>)> {
        let all = self.0.iter();
        all.map(|(sql, params)| (*sql, &params[..])).collect()
    }
}

impl Answers {
    pub(super) fn next(&mut self) -> Result<Answer, JobError> {
        self.0.next().ok_or_else(|| CorruptRow("answer").into())
    }

    pub(super) fn last(self) -> Option<Answer> {
        self.0.last()
    }
}

impl<'a> Talk<'a> {
    pub(crate) fn new(session: &'a Session, whose: Whose) -> Self {
        Self {
            session,
            whose,
            is_begun: whose != Whose::Own,
        }
    }

    pub(super) fn is_own(&self) -> bool {
        self.whose != Whose::Callers
    }

    pub(super) fn ask(&mut self, statements: &Statements<'_>) -> Result<Answers, JobError> {
        let params = statements.params();
        let answers = match self.is_begun {
            true => self.session.pipeline(&params)?,
            false => self
                .session
                .begin_with(TransactionMode::ReadWrite, &params)?,
        };
        self.is_begun = true;
        Ok(Answers(answers.into_iter()))
    }

    /// Says the last statements, and commits if the transaction is the group's own.
    pub(super) fn end(self, statements: &Statements<'_>) -> Result<Answers, JobError> {
        let params = statements.params();
        let answers = match self.whose {
            Whose::Callers if statements.is_empty() => Vec::new(),
            Whose::Callers => self.session.pipeline(&params)?,
            Whose::Own | Whose::Begun => match self.session.commit_with(&params)? {
                (answers, Committed::Durable) => answers,
                (_, Committed::NotReplicated) => return Err(StoreError::Unknown.into()),
            },
        };
        Ok(Answers(answers.into_iter()))
    }
}
