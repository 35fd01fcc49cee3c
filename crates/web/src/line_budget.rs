//! A budget of log lines for requests, which come at the same time and as often as others like.

use std::sync::{Mutex, OnceLock};

use model::log_line::LineBudget;
use tokio::time::Instant;

use crate::sync::lock;

pub(crate) struct SharedLineBudget {
    budget: Mutex<LineBudget>,
    began: OnceLock<Instant>,
}

impl SharedLineBudget {
    /// As `LineBudget::new`.
    pub(crate) const fn new(at_once: u32, every_ms: i64) -> Self {
        Self {
            budget: Mutex::new(LineBudget::new(at_once, every_ms)),
            began: OnceLock::new(),
        }
    }

    /// Whether a line may be said now, and how many were left out since the last, if any were.
    pub(crate) fn take(&self) -> Option<Option<u64>> {
        let now = Instant::now();
        let since = now.saturating_duration_since(*self.began.get_or_init(|| now));
        let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let others = lock(&self.budget).take(now_ms)?;
        Some((others > 0).then_some(others))
    }
}
