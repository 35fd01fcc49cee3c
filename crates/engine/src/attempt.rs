//! One attempt at a delivery, and its outcome.
//!
//! A receiver that misbehaves is a value, never an error. The whole exchange, from the lookup of
//! the name to the end of the response, has one deadline, also if it takes a second connection. If
//! this process stood still until the deadline, an attempt that has sent nothing begins once more.

mod handshake;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::attempt::{Attempt, Failure, FailureKind, HttpResponse, Outcome};
use model::delivery::DueDelivery;
use model::handshake::HandshakeAnswer;
use model::limits::STALL_DETECTED_MS;
use model::mail::MailAddress;
use model::mutation::{Mutation, is_on};
use model::time::{Clock, Timestamp};
use model::webhook::Headers;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::connection::Connection;
use crate::idle_lifetime::CloseTiming;
use crate::mail;
use crate::pool::ConnectionPool;
use crate::request::{PreparedTarget, Request};
use crate::response_budget::{HeldReservation, ReadReservation, ResponseBudget};
use crate::shortage::{Shortage, is_general, shortage_in, shortage_of};
use crate::transport::{Deadline, Dial, Endpoint, LookupContext, Stream};

const STOOD_STILL: Duration = Duration::from_millis(STALL_DETECTED_MS);

pub(crate) struct AttemptRunner {
    dial: Arc<dyn Dial>,
    clock: Clock,
    pool: Arc<ConnectionPool>,
    /// For responses.
    budget: Arc<ResponseBudget>,
    opened: Counter,
    shortage: Arc<Shortage>,
}

/// What an attempt at a delivery came to.
pub(crate) struct AttemptResult {
    pub(crate) attempt: Attempt,
    pub(crate) ended_at: Timestamp,
    /// The call before it, on a pooled connection that had ended.
    pub(crate) stale: Option<Box<Attempt>>,
    /// What its response takes of the memory budget until it is written.
    pub(crate) held: Option<HeldReservation>,
    /// What the receiver answered when it was asked whether it agrees to be called.
    pub(crate) handshake: Option<Box<HandshakeAnswer>>,
}

/// An attempt that runs.
struct AttemptRun<'a> {
    runner: &'a AttemptRunner,
    target: &'a PreparedTarget,
    due: &'a DueDelivery,
    began_at: Timestamp,
    began: Instant,
    stale: Option<Box<Attempt>>,
    /// The receiver is to be asked first whether it agrees to be called.
    asks_first: bool,
    handshake: Option<Box<HandshakeAnswer>>,
    /// Nothing but that question was sent, with these lines.
    asked_with: Option<Headers>,
}

impl AttemptRunner {
    pub(crate) fn new(
        dial: Arc<dyn Dial>,
        clock: Clock,
        pool: Arc<ConnectionPool>,
        budget: Arc<ResponseBudget>,
        opened: Counter,
        shortage: Arc<Shortage>,
    ) -> Self {
        Self {
            shortage,
            dial,
            clock,
            pool,
            budget,
            opened,
        }
    }

    /// An attempt met a shortage: makes room, and returns how long to wait.
    fn short_of(&self, what: &str) -> Duration {
        if is_general(what) {
            self.pool.close_all();
        }
        self.shortage.meet(what)
    }

    /// Makes one attempt at `due`, and a call before it if that was on a pooled connection that had
    /// ended. `asks_first`: the receiver is asked before whether it agrees to be called.
    pub(crate) async fn attempt(
        &self,
        target: &PreparedTarget,
        due: &DueDelivery,
        asks_first: bool,
    ) -> AttemptResult {
        let course = AttemptRun {
            runner: self,
            target,
            due,
            began_at: self.clock.now(),
            began: Instant::now(),
            stale: None,
            asks_first,
            handshake: None,
            asked_with: None,
        };
        course.run().await
    }
}

impl AttemptRun<'_> {
    async fn run(mut self) -> AttemptResult {
        let budget = Arc::clone(&self.runner.budget);
        let mut reservation = budget.nothing();
        let outcome = self.outcome(&mut reservation).await;
        if let Some(what) = shortage_of(&outcome) {
            sleep(self.runner.short_of(what)).await;
        }
        let outcome = self.with_expiry(self.target.without_secrets(outcome));
        let held = reservation.held(outcome.bytes());
        AttemptResult {
            attempt: self.attempt(outcome),
            ended_at: self.runner.clock.now(),
            stale: self.stale,
            held,
            handshake: self.handshake,
        }
    }

    /// A client certificate that has ended is why most receivers refuse TLS that took it before.
    fn with_expiry(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Failed(failure) = &mut outcome
            && failure.kind == FailureKind::Tls
            && let Some(words) = self.target.expired_certificate(self.began_at)
        {
            failure.detail = format!("{}; {words}", failure.detail);
        }
        outcome
    }

    async fn outcome(&mut self, reservation: &mut ReadReservation<'_>) -> Outcome {
        let (runner, target) = (self.runner, self.target);
        if let Some(to) = target.mail() {
            return self.mail(to).await;
        }
        let endpoint = match target.endpoint() {
            Ok(endpoint) => endpoint,
            Err(failure) => return Outcome::Failed(failure.clone()),
        };
        let mut limit = Deadline::from_here(target.policy.exchange_limit_ms);
        // The one timer of the attempt. It is not even set if the response is there at once.
        let mut alarm = pin!(sleep_until(limit.deadline()));
        if self.asks_first
            && let Err(failure) = self.shake_hands(endpoint, &mut limit, alarm.as_mut()).await
        {
            return Outcome::Failed(failure);
        }
        let request = target.request(self.due, self.began_at);
        while let Some((mut connection, idle)) = runner.pool.take(endpoint) {
            let exchanging = connection.exchange(&request, limit, alarm.as_mut(), reservation);
            let exchange = exchanging.await;
            // A connection that turns out to be closed costs nothing.
            if exchange.unsent {
                runner.pool.ended(endpoint, idle, CloseTiming::BeforeSend);
                continue;
            }
            // The receiver may close it under the request, and may have seen the request all the
            // same. So the log shows the call, and another is made at once.
            if exchange.stale {
                runner.pool.ended(endpoint, idle, CloseTiming::AfterSend);
                self.note_stale(exchange.outcome);
                break;
            }
            if exchange.reusable {
                runner.pool.put(endpoint, connection, Some(idle));
            }
            return on_pooled_connection(exchange.outcome);
        }
        let stream = match self.connect(endpoint, &mut limit, alarm.as_mut()).await {
            Ok(stream) => stream,
            Err(failure) => return Outcome::Failed(failure),
        };
        let request = self.signed_now(request);
        let mut connection = Connection::new(stream);
        let opening = runner.pool.opening(endpoint);
        let exchange = connection
            .exchange(&request, limit, alarm, reservation)
            .await;
        drop(opening);
        if exchange.reusable {
            runner.pool.put(endpoint, connection, None);
        }
        exchange.outcome
    }

    async fn mail(&self, to: &MailAddress) -> Outcome {
        let limit = Deadline::from_here(self.target.policy.exchange_limit_ms);
        match self.runner.dial.mail() {
            Some(mail) => mail.send(to, self.due, limit).await,
            None => mail::bad_target("this server sends no mail: the setting smtp_url is missing"),
        }
    }

    /// A new connection, by a deadline that is another one if this process stood still.
    async fn connect(
        &mut self,
        endpoint: &Endpoint,
        limit: &mut Deadline,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Box<dyn Stream>, Failure> {
        let (runner, target) = (self.runner, self.target);
        let context = LookupContext {
            tenant: target.tenant,
            since: Some(target.seen_at),
            succeeded: target.succeeded,
        };
        let mut dialled = self.dial(endpoint, context, *limit, alarm.as_mut()).await;
        // Nothing is lost by that: another lookup has what was found, and a receiver that took a
        // connection takes another.
        if dialled.is_err() && stood_still(*limit) {
            *limit = self.begin_anew(alarm.as_mut());
            dialled = self.dial(endpoint, context, *limit, alarm.as_mut()).await;
        }
        // One call of this attempt was made and is in the log, so it cannot count as not made.
        while let Some(what) = self
            .stale
            .as_ref()
            .and_then(|_| dialled.as_ref().err())
            .and_then(shortage_in)
        {
            let wait = Instant::now() + runner.short_of(what);
            if wait >= limit.deadline() {
                dialled = Err(limit.missed("the connection"));
                break;
            }
            sleep_until(wait).await;
            dialled = self.dial(endpoint, context, *limit, alarm.as_mut()).await;
        }
        let stream = dialled?;
        if Instant::now() >= limit.deadline() {
            *limit = self.begin_anew(alarm);
        }
        runner.opened.inc();
        Ok(stream)
    }

    /// Receivers refuse a signature that is minutes old, and connecting took time.
    fn signed_now(&self, request: Request) -> Request {
        match self.target.is_signed() {
            true => self.target.request(self.due, self.runner.clock.now()),
            false => request,
        }
    }

    async fn dial(
        &self,
        endpoint: &Endpoint,
        context: LookupContext,
        limit: Deadline,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Box<dyn Stream>, Failure> {
        let mut dialling = self.runner.dial.dial(endpoint, context, limit);
        let dialled = poll_fn(|cx| match dialling.as_mut().poll(cx) {
            Poll::Ready(dialled) => Poll::Ready(Some(dialled)),
            Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
        });
        let dialled = dialled.await;
        dialled.unwrap_or_else(|| Err(limit.missed("the connection")))
    }

    /// Nothing was sent, and the receiver did not use the time: the attempt begins here.
    fn begin_anew(&mut self, alarm: Pin<&mut Sleep>) -> Deadline {
        let limit = Deadline::from_here(self.target.policy.exchange_limit_ms);
        alarm.reset(limit.deadline());
        self.began_at = self.runner.clock.now();
        self.began = Instant::now();
        limit
    }

    /// The call so far failed, and the attempt begins anew.
    fn note_stale(&mut self, outcome: Outcome) {
        let detail = match outcome {
            Outcome::Failed(failure) => failure.detail,
            Outcome::Answered(_) => String::new(),
        };
        let failure = Failure::new(FailureKind::Stale, detail);
        if !is_on(Mutation::OmitStaleCall) {
            self.stale = Some(Box::new(self.attempt(Outcome::Failed(failure))));
        }
        self.began_at = self.runner.clock.now();
        self.began = Instant::now();
    }

    fn attempt(&self, outcome: Outcome) -> Attempt {
        Attempt {
            began_at: self.began_at,
            duration_ms: millis(self.began.elapsed()),
            url: Arc::clone(&self.target.shown_url),
            request_headers: match &self.asked_with {
                Some(lines) => lines.clone(),
                None => self.target.recorded(&self.due.headers),
            },
            outcome,
        }
    }
}

/// Whether the deadline is noticed so late that this process stood still.
fn stood_still(limit: Deadline) -> bool {
    Instant::now().duration_since(limit.deadline()) >= STOOD_STILL
}

/// Adds to the outcome that the call was made on a pooled connection.
fn on_pooled_connection(outcome: Outcome) -> Outcome {
    const WHERE: &str = "on a connection kept from an earlier call";
    match outcome {
        Outcome::Failed(failure) => Outcome::Failed(match &*failure.detail {
            "" => Failure::new(failure.kind, WHERE),
            detail => Failure::new(failure.kind, format!("{detail}, {WHERE}")),
        }),
        Outcome::Answered(answer) => Outcome::Answered(HttpResponse {
            note: answer
                .note
                .map(|note| format!("{note} ({WHERE})").into_boxed_str()),
            ..answer
        }),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
