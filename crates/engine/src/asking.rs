//! Asking: one question to the store at a time, and the waits after refusals.
//!
//! A refusal is logged when it begins and when it is over, not each time it is repeated.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::contract::{Reply, StoreError};
use tokio::time::Instant;

use crate::health::Trouble;

/// The first wait after a refusal; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// An answer that takes longer is a trouble of its own.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// At most one question of a kind that waits for its answer.
pub(crate) struct Asking<T>(Option<(Reply<T>, Instant)>);

/// How a kind of question fares.
pub(crate) struct Fare {
    what: &'static str,
    trouble: Option<Trouble>,
    wait: Duration,
    not_before: Option<Instant>,
}

impl<T> Asking<T> {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn ask(&mut self, reply: Reply<T>) {
        self.0 = Some((reply, Instant::now()));
    }

    /// The answer. Pending while there is none, and while nothing was asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, StoreError>> {
        let Some((reply, _)) = &mut self.0 else {
            return Poll::Pending;
        };
        let answer = ready!(reply.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(answer)
    }

    /// What is wrong if the answer is long in coming.
    pub(crate) fn silence(&self) -> Option<Trouble> {
        let (_, since) = self.0.as_ref()?;
        (since.elapsed() > SILENT_AFTER).then(|| Trouble {
            since: *since,
            cause: "it does not answer".to_owned(),
        })
    }
}

impl Fare {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            trouble: None,
            wait: FIRST_WAIT,
            not_before: None,
        }
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.clone()
    }

    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// When asking again is worth it, after a refusal.
    pub(crate) fn ask_again_at(&self) -> Option<Instant> {
        self.not_before
    }

    pub(crate) fn succeeded(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            let seconds = trouble.since.elapsed().as_secs();
            tracing::warn!(what = self.what, seconds, "the store takes it again");
        }
        self.wait = FIRST_WAIT;
        self.not_before = None;
    }

    pub(crate) fn refused(&mut self, error: &StoreError) {
        let now = Instant::now();
        let since = match &self.trouble {
            Some(trouble) => trouble.since,
            None => {
                tracing::warn!(what = self.what, %error, "the store refuses; it is repeated");
                now
            }
        };
        self.trouble = Some(Trouble {
            since,
            cause: error.to_string(),
        });
        self.not_before = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}
