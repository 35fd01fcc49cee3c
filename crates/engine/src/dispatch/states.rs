//! Where the loop is in two things that take many turns: going through the webhooks that have
//! pending deliveries, and stopping.

use std::time::Duration;

use model::id::WebhookId;
use model::mutation::{Mutation, is_on};
use tokio::time::Instant;

/// The store tells what it takes on, except when it does not know itself whether a transaction
/// was kept. What came of those is found by going through the lanes once more.
const RESCAN_EVERY: Duration = Duration::from_secs(60);

/// How far the webhooks with pending deliveries have been gone through.
#[derive(Debug, Clone, Copy)]
pub(super) enum ScanState {
    After(Option<WebhookId>),
    DoneAt(Instant),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ShutdownState {
    /// Attempts still running then are dropped.
    pub(super) deadline: Instant,
    /// Outcomes still unwritten then are given up. Put off while attempts run.
    pub(super) write_deadline: Instant,
    pub(super) dropped: usize,
}

impl ScanState {
    /// After which webhook to go on, if it is time to.
    pub(super) fn next(self, now: Instant, again: bool) -> Option<Option<WebhookId>> {
        match self {
            Self::After(webhook) => Some(webhook),
            Self::DoneAt(at) => {
                let is_time = now - at >= RESCAN_EVERY && !is_on(Mutation::TrustHints);
                (again || is_time).then_some(None)
            }
        }
    }
}

impl ShutdownState {
    pub(super) fn next_deadline(self, now: Instant) -> Instant {
        let both = [self.deadline, self.write_deadline];
        let next = both.into_iter().filter(|at| *at > now).min();
        next.unwrap_or(self.write_deadline)
    }
}
