//! Asks a receiver whether it agrees to be called, within the attempt that needs to know, by its
//! deadline. The connection is kept for the call, if the receiver keeps it.

use std::pin::Pin;
use std::sync::Arc;

use model::attempt::{Failure, FailureKind, Outcome};
use model::handshake::{HandshakeAnswer, HandshakeVerdict};
use tokio::time::Sleep;

use super::AttemptRun;
use crate::connection::{Connection, Exchange};
use crate::idle_lifetime::CloseTiming;
use crate::request::Request;
use crate::response_budget::ReadReservation;
use crate::transport::{Deadline, Endpoint};

impl AttemptRun<'_> {
    /// An error if nothing more may be sent.
    pub(super) async fn shake_hands(
        &mut self,
        endpoint: &Arc<Endpoint>,
        limit: &mut Deadline,
        alarm: Pin<&mut Sleep>,
    ) -> Result<(), Failure> {
        let Some(handshake) = &self.target.handshake else {
            return Ok(());
        };
        let question = handshake.question.clone()?;
        let (request, lines) = self.target.question();
        self.asked_with = Some(lines);
        // What the answer's body says is read and not kept.
        let budget = &self.runner.budget;
        let mut reservation = budget.nothing();
        let asking = self.ask(endpoint, &request, limit, alarm, &mut reservation);
        let verdict = match asking.await? {
            Outcome::Answered(answer) => HandshakeVerdict::judge(
                &question.origin,
                handshake.asks_for_rate(),
                answer.status,
                &answer.headers,
            ),
            // Of TLS it is no answer: some refuse a client's certificate only here.
            Outcome::Failed(failure) if failure.kind == FailureKind::Tls => return Err(failure),
            Outcome::Failed(failure) => HandshakeVerdict::Refused {
                reason: format!("OPTIONS got no answer. {}", failure.words()),
            },
        };
        let verdict = self.without_secrets(verdict);
        let refused = match &verdict {
            HandshakeVerdict::Granted { .. } => None,
            HandshakeVerdict::Refused { reason } => Some(reason.trim_end_matches('.').to_owned()),
        };
        self.handshake = Some(Box::new(HandshakeAnswer {
            question,
            at: self.runner.clock.now(),
            verdict,
        }));
        if let Some(reason) = refused {
            return Err(Failure::new(FailureKind::Handshake, reason));
        }
        self.asked_with = None;
        Ok(())
    }

    /// Makes the exchange, on a kept connection if there is one. It may be made twice: it asks, and
    /// changes nothing.
    async fn ask(
        &mut self,
        endpoint: &Arc<Endpoint>,
        request: &Request,
        limit: &mut Deadline,
        mut alarm: Pin<&mut Sleep>,
        reservation: &mut ReadReservation<'_>,
    ) -> Result<Outcome, Failure> {
        let pool = &self.runner.pool;
        while let Some((mut connection, idle)) = pool.take(endpoint) {
            let exchanging = connection.exchange(request, *limit, alarm.as_mut(), reservation);
            let Exchange {
                outcome,
                unsent,
                stale,
                reusable,
                ..
            } = exchanging.await;
            match (unsent, stale) {
                (true, _) => pool.ended(endpoint, idle, CloseTiming::BeforeSend),
                (false, true) => pool.ended(endpoint, idle, CloseTiming::AfterSend),
                (false, false) => {
                    if reusable {
                        pool.put(endpoint, connection, Some(idle));
                    }
                    return Ok(outcome);
                }
            }
        }
        let stream = self.connect(endpoint, limit, alarm.as_mut()).await?;
        let mut connection = Connection::new(stream);
        let opening = self.runner.pool.opening(endpoint);
        let exchanging = connection.exchange(request, *limit, alarm, reservation);
        let exchange = exchanging.await;
        drop(opening);
        if exchange.reusable {
            self.runner.pool.put(endpoint, connection, None);
        }
        Ok(exchange.outcome)
    }

    /// Some receivers repeat what they were sent.
    fn without_secrets(&self, verdict: HandshakeVerdict) -> HandshakeVerdict {
        match verdict {
            HandshakeVerdict::Refused { reason } => HandshakeVerdict::Refused {
                reason: self.target.reason_without_secrets(&reason),
            },
            granted @ HandshakeVerdict::Granted { .. } => granted,
        }
    }
}
