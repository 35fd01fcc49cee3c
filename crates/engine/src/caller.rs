//! Caller: makes one attempt and says what it came to.
//!
//! A receiver that misbehaves is a value, never an error. The whole exchange, from the look-up of
//! the name to the end of the answer, has one limit.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::attempt::{Attempt, FailureKind, Outcome};
use model::delivery::Due;
use model::time::{Clock, Timestamp};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep, sleep_until};

use crate::dial::{Asker, Dial, Limit, Place};
use crate::line::{Exchange, Line};
use crate::pool::Pool;
use crate::request::Prepared;
use crate::room::{Held, Room, Taken};
use crate::shortage::Shortage;

pub(crate) struct Caller {
    dial: Arc<dyn Dial>,
    clock: Clock,
    pool: Arc<Pool>,
    /// For answers.
    room: Arc<Room>,
    opened: Counter,
    shortage: Arc<Shortage>,
}

impl Caller {
    pub(crate) fn new(
        dial: Arc<dyn Dial>,
        clock: Clock,
        pool: Arc<Pool>,
        room: Arc<Room>,
        opened: Counter,
        shortage: Arc<Shortage>,
    ) -> Self {
        Self {
            shortage,
            dial,
            clock,
            pool,
            room,
            opened,
        }
    }

    /// One attempt at `due`, when it ended, and what of the room its answer takes until it is
    /// written down.
    pub(crate) async fn attempt(
        &self,
        prepared: &Prepared,
        due: &Due,
    ) -> (Attempt, Timestamp, Option<Held>) {
        let began_at = self.clock.now();
        let began = Instant::now();
        let mut taken = self.room.nothing();
        let outcome = self.outcome(prepared, due, &mut taken).await;
        if let Some(what) = is_short(&outcome) {
            self.pool.close_all();
            sleep(self.shortage.meet(what)).await;
        }
        let outcome = prepared.without_secrets(outcome);
        let held = taken.held(outcome.bytes());
        let attempt = Attempt {
            began_at,
            duration_ms: millis(began.elapsed()),
            url: Arc::clone(&prepared.shown_url),
            request_headers: prepared.recorded(&due.headers),
            outcome,
        };
        (attempt, self.clock.now(), held)
    }

    async fn outcome(&self, prepared: &Prepared, due: &Due, taken: &mut Taken<'_>) -> Outcome {
        let place = match prepared.place() {
            Ok(place) => place,
            Err(failure) => return Outcome::Failed(failure.clone()),
        };
        let limit = Limit::from_here(prepared.policy.exchange_limit_ms);
        // The one timer of the attempt. It is not even set if the answer is there at once.
        let mut alarm = pin!(sleep_until(limit.deadline()));
        let request = prepared.request(due);
        while let Some(mut line) = self.pool.take(place) {
            let exchanging = line.exchange(&request, limit, alarm.as_mut(), taken);
            let exchange = exchanging.await;
            // A line that turns out to be closed costs nothing. One that breaks after the request
            // went out ends the attempt: the receiver may have seen it, and the log has to show
            // every call there was.
            if !exchange.unsent {
                return self.done(place, line, exchange);
            }
        }
        let asker = Asker {
            tenant: prepared.tenant,
            since: Some(prepared.seen_at),
            succeeded: prepared.succeeded,
        };
        let mut dialling = self.dial.dial(place, asker, limit);
        let dialled = poll_fn(|cx| match dialling.as_mut().poll(cx) {
            Poll::Ready(dialled) => Poll::Ready(Some(dialled)),
            Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
        });
        let stream = match dialled.await {
            Some(Ok(stream)) => stream,
            Some(Err(failure)) => return Outcome::Failed(failure),
            None => return Outcome::Failed(limit.missed("the connection")),
        };
        self.opened.inc();
        let mut line = Line::new(stream);
        let exchange = line.exchange(&request, limit, alarm, taken).await;
        self.done(place, line, exchange)
    }

    fn done(&self, place: &Arc<Place>, line: Line, exchange: Exchange) -> Outcome {
        if exchange.reusable {
            self.pool.put(place, line);
        }
        exchange.outcome
    }
}

/// Whether the attempt was ended by its limit: such a receiver holds a flight for very long.
pub(crate) fn hung(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.kind == FailureKind::TimeLimit)
}

/// What Willcall itself was short of, if that is why the attempt was not made.
pub(crate) fn is_short(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Failed(failure) if failure.kind == FailureKind::Short => Some(&failure.detail),
        Outcome::Failed(_) | Outcome::Answered(_) => None,
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
