//! How many rows a step of pruning may still look at or remove.

/// Rows that this step may still look at or remove.
pub(crate) struct RowBudget(pub(crate) usize);

impl RowBudget {
    pub(crate) fn left(&self) -> bool {
        self.0 > 0
    }

    pub(crate) fn rows(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub(crate) fn take(&mut self, rows: usize) {
        self.0 = self.0.saturating_sub(rows);
    }
}
