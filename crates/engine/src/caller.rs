//! Caller: makes one attempt and says what it came to.
//!
//! A receiver that misbehaves is a value, never an error. The whole exchange, from the look-up of
//! the name to the end of the answer, has one limit.

use std::sync::Arc;
use std::time::Duration;

use model::attempt::{Attempt, FailureKind, Outcome};
use model::delivery::Due;
use model::time::{Clock, Timestamp};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::dial::{Dial, Limit, Place};
use crate::line::Line;
use crate::pool::Pool;
use crate::request::Prepared;

pub(crate) struct Caller {
    dial: Arc<dyn Dial>,
    clock: Clock,
    pool: Arc<Pool>,
    opened: Counter,
}

impl Caller {
    pub(crate) fn new(dial: Arc<dyn Dial>, clock: Clock, pool: Arc<Pool>, opened: Counter) -> Self {
        Self {
            dial,
            clock,
            pool,
            opened,
        }
    }

    /// One attempt at `due`, and when it ended.
    pub(crate) async fn attempt(&self, prepared: &Prepared, due: &Due) -> (Attempt, Timestamp) {
        let began_at = self.clock.now();
        let began = Instant::now();
        let outcome = prepared.without_secrets(self.outcome(prepared, due).await);
        let attempt = Attempt {
            began_at,
            duration_ms: millis(began.elapsed()),
            url: prepared.shown_url.clone(),
            request_headers: prepared.recorded(&due.headers),
            outcome,
        };
        (attempt, self.clock.now())
    }

    async fn outcome(&self, prepared: &Prepared, due: &Due) -> Outcome {
        let place = match prepared.place() {
            Ok(place) => place,
            Err(failure) => return Outcome::Failed(failure.clone()),
        };
        let limit = Limit::from_here(prepared.policy.exchange_limit_ms);
        let request = || prepared.request(due);
        if let Some(mut line) = self.kept_line(place).await {
            let exchange = line.exchange(request(), limit).await;
            // A line that turns out to be closed costs nothing. One that breaks after the request
            // went out ends the attempt: the receiver may have seen it, and the log has to show
            // every call there was.
            if !exchange.unsent {
                return self.done(place, line, exchange.reusable, exchange.outcome);
            }
        }
        let dialled = tokio::time::timeout_at(limit.deadline(), self.dial.dial(place, limit)).await;
        let stream = match dialled {
            Ok(Ok(stream)) => stream,
            Ok(Err(failure)) => return Outcome::Failed(failure),
            Err(_) => return Outcome::Failed(limit.missed("the connection")),
        };
        self.opened.inc();
        let mut line = match Line::open(stream).await {
            Ok(line) => line,
            Err(failure) => return Outcome::Failed(failure),
        };
        let exchange = line.exchange(request(), limit).await;
        self.done(place, line, exchange.reusable, exchange.outcome)
    }

    async fn kept_line(&self, place: &Arc<Place>) -> Option<Box<Line>> {
        while let Some(mut line) = self.pool.take(place) {
            if line.is_open().await {
                return Some(line);
            }
        }
        None
    }

    fn done(
        &self,
        place: &Arc<Place>,
        line: Box<Line>,
        reusable: bool,
        outcome: Outcome,
    ) -> Outcome {
        if reusable {
            self.pool.put(place, line);
        }
        outcome
    }
}

/// Whether the attempt was ended by its limit: such a receiver holds a flight for very long.
pub(crate) fn hung(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::TimeLimit)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
