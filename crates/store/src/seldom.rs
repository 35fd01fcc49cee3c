//! Log lines about what can come again and again: one a minute at most.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

const EVERY: Duration = Duration::from_secs(60);

pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether to say it now.
    pub(crate) fn is_time(&self) -> bool {
        self.is_time_at(Instant::now())
    }

    fn is_time_at(&self, now: Instant) -> bool {
        let mut said_at = lock(&self.0);
        let is_early = said_at.is_some_and(|said| now.saturating_duration_since(said) < EVERY);
        if !is_early {
            *said_at = Some(now);
        }
        !is_early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_is_said_once_a_minute() {
        let (seldom, now) = (Seldom::new(), Instant::now());
        let said = |after| seldom.is_time_at(now + after);
        assert_eq!([said(Duration::ZERO), said(Duration::ZERO)], [true, false]);
        assert!(!said(EVERY / 2));
        assert_eq!([said(EVERY), said(EVERY)], [true, false]);
    }
}
