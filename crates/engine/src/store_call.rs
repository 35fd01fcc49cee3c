//! One call of a kind to the store at a time, and the waits after refusals.
//!
//! A refusal is logged when it begins and when it is over, not each time it is repeated; and what
//! comes and goes no more than once a minute.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::contract::{StoreError, StoreFuture};
use tokio::time::Instant;

use crate::health::StoreTrouble;

/// The first wait after a refusal; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// An answer that takes longer is itself a trouble.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Least time between two lines about refusals.
const TOLD_EVERY: Duration = Duration::from_secs(60);

pub(crate) struct StoreCall<T> {
    what: &'static str,
    outstanding: Option<(StoreFuture<T>, Instant)>,
    trouble: Option<StoreTrouble>,
    /// When a refusal was logged last, and whether its end is still to be.
    told_at: Option<Instant>,
    is_told: bool,
    wait: Duration,
    not_before: Option<Instant>,
}

impl<T> StoreCall<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            outstanding: None,
            trouble: None,
            told_at: None,
            is_told: false,
            wait: FIRST_WAIT,
            not_before: None,
        }
    }

    /// Whether no call is outstanding and no wait after a refusal runs.
    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.outstanding.is_none() && self.not_before.is_none_or(|at| at <= now)
    }

    /// The end of the wait after a refusal.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    pub(crate) fn ask(&mut self, reply: StoreFuture<T>) {
        self.outstanding = Some((reply, Instant::now()));
    }

    /// The answer. Pending while there is none, and while nothing was asked.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, StoreError>> {
        match &mut self.outstanding {
            Some((reply, _)) => {
                let answer = ready!(reply.as_mut().poll(cx));
                Poll::Ready(self.answered(answer))
            }
            None => Poll::Pending,
        }
    }

    fn answered(&mut self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.outstanding = None;
        match &answer {
            Ok(_) => self.succeeded(),
            Err(error) => self.refused(error),
        }
        answer
    }

    /// What is wrong, if anything.
    #[inline]
    pub(crate) fn trouble(&self, now: Instant) -> Option<StoreTrouble> {
        if self.trouble.is_some() {
            return self.trouble.clone();
        }
        let (_, since) = self.outstanding.as_ref()?;
        (now.duration_since(*since) > SILENT_AFTER).then(|| StoreTrouble {
            since: *since,
            what: self.what,
            cause: "it does not answer".to_owned(),
            stops_all: true,
        })
    }

    fn succeeded(&mut self) {
        if let Some(trouble) = self.trouble.take()
            && std::mem::take(&mut self.is_told)
        {
            let seconds = trouble.since.elapsed().as_secs();
            tracing::info!(what = self.what, seconds, "the store accepts it again");
        }
        self.wait = FIRST_WAIT;
        self.not_before = None;
    }

    fn tell(&mut self, error: &StoreError, now: Instant) {
        // The store itself logs these, once for all callers.
        let is_said = matches!(error, StoreError::Disk(_) | StoreError::Ended);
        let is_early = |told: Instant| now.duration_since(told) < TOLD_EVERY;
        if is_said || self.is_told || self.told_at.is_some_and(is_early) {
            return;
        }
        self.is_told = true;
        self.told_at = Some(now);
        tracing::warn!(what = self.what, %error, "the store refuses; will try again");
    }

    fn refused(&mut self, error: &StoreError) {
        let now = Instant::now();
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        self.tell(error, now);
        self.trouble = Some(StoreTrouble {
            since,
            what: self.what,
            cause: error.to_string(),
            // With the others it may choke on one part of the call, and take the rest.
            stops_all: match error {
                StoreError::Disk(fault) => fault.stops_all(),
                StoreError::Fenced => true,
                StoreError::Conflict(_)
                | StoreError::Stale
                | StoreError::TooManyWebhooks
                | StoreError::Secret(_)
                | StoreError::Busy
                | StoreError::Unknown
                | StoreError::Ended
                | StoreError::Broken(_) => false,
            },
        });
        self.not_before = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_and_go_are_told_once_a_minute_and_one_that_lasts_is_told_late() {
        let mut call: StoreCall<()> = StoreCall::new("a test");
        let mut told = |answer| {
            call.answered(answer).ok();
            call.is_told
        };
        assert!(told(Err(StoreError::Busy)));
        for _ in 0..100 {
            assert!(!told(Ok(())));
            assert!(!told(Err(StoreError::Busy)));
        }
        tokio::time::advance(TOLD_EVERY).await;
        assert!(told(Err(StoreError::Busy)));
        assert!(!told(Ok(())));
        // The store itself says these.
        tokio::time::advance(TOLD_EVERY).await;
        assert!(!told(Err(StoreError::Ended)));
    }
}
