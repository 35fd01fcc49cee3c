//! The prepared statements of one session, found again by their text.

use std::collections::BTreeMap;

use tokio_postgres::Statement;

/// Many times what the store has. Beyond it somebody makes texts, and all are forgotten.
const STATEMENTS_MAX: usize = 1_000;

#[derive(Default)]
pub(crate) struct StatementCache {
    statements: BTreeMap<Box<str>, Statement>,
}

impl StatementCache {
    pub(crate) fn get(&self, sql: &str) -> Option<Statement> {
        self.statements.get(sql).cloned()
    }

    pub(crate) fn insert(&mut self, sql: &str, statement: Statement) {
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.into(), statement);
    }
}
