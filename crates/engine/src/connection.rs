//! One connection that speaks HTTP/1.1, and one exchange over it.
//!
//! Whoever uses it drives it, inside the attempt's own task, so an idle one costs no task and holds
//! no bytes. Whatever the receiver sends, an exchange ends by its deadline and yields an `Outcome`.
//! `response.rs` says what the bytes mean.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use model::attempt::{Failure, FailureKind, Outcome};
use model::limits::{RESPONSE_FREE_BYTES, STALL_GRACE_MS};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use crate::request::Request;
use crate::response::{KeepAlive, ResponseParser};
use crate::response_budget::ReadReservation;
use crate::tls::{TrustSource, tls_words};
use crate::transport::{Deadline, SocketState, Stream, io_words};

/// Read at a time, on the stack: most answers come at once, and long ones in few pieces.
const READ_BYTES: usize = 8 * 1024;

/// A connection is used again until this long before the time that the receiver announces is over.
const KEPT_MARGIN_MS: u32 = 1_000;

// So that the first piece of a response needs nothing of the budget.
const _: () = assert!(READ_BYTES <= RESPONSE_FREE_BYTES);

/// A process that was stopped, or a machine that stood still, learns that its time is over before
/// it learns what has arrived meanwhile: whoever is late by `LATE` reads on for `LAST_LOOK`.
const LATE: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_millis(STALL_GRACE_MS);

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// It has carried an exchange, and was idle since.
    used: bool,
    /// Requests that the receiver still takes on it.
    requests_left: u32,
    /// How long it may be idle, by what the receiver says.
    keeps_for_ms: u32,
}

/// The outcome of an exchange, and whether the connection can be used after it.
pub(crate) struct Exchange {
    pub(crate) outcome: Outcome,
    /// The connection was closed before a single byte of the request was handed to the network:
    /// the receiver cannot have seen any of it.
    pub(crate) unsent: bool,
    /// A connection that was used before ended before the first byte of a response.
    pub(crate) stale: bool,
    pub(crate) reusable: bool,
    keep_alive: KeepAlive,
}

/// An exchange that runs.
struct ExchangeRun<'a, 'r> {
    stream: &'a mut dyn Stream,
    request: &'a Request,
    /// Bytes of the request that the network took.
    written: usize,
    sent: SendProgress,
    /// Some of the response has arrived.
    heard: bool,
    parser: ResponseParser<'a, 'r>,
}

/// How far the request has come.
enum SendProgress {
    /// Nothing was handed to the network.
    Nothing,
    Partly,
    Wholly,
    /// The network takes no more of it. There may be an answer all the same.
    Failed(io::Error),
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            used: false,
            requests_left: u32::MAX,
            keeps_for_ms: u32::MAX,
        }
    }

    /// For how long the receiver said in its latest response that it may be idle, if it did.
    pub(crate) fn announced(&self) -> Option<Duration> {
        (self.keeps_for_ms < u32::MAX).then(|| self.keeps_for())
    }

    /// Whether the receiver has neither ended it nor sent anything that nobody asked for.
    pub(crate) fn is_open(&mut self) -> bool {
        match self.stream.socket_state() {
            SocketState::Idle => true,
            SocketState::Closed => false,
            // TLS has messages of its own. Whoever uses it next is woken by its own waker.
            SocketState::Readable => {
                let mut byte = [MaybeUninit::uninit(); 1];
                let mut buffer = ReadBuf::uninit(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                let read = Pin::new(&mut *self.stream).poll_read(&mut cx, &mut buffer);
                read.is_pending()
            }
        }
    }

    /// How long it may be idle, by what the receiver said in its latest response.
    pub(crate) fn keeps_for(&self) -> Duration {
        Duration::from_millis(u64::from(self.keeps_for_ms))
    }

    /// Heeds how long the receiver says it keeps the connection, and for how many requests. It may
    /// or may not count this request, and its time runs from before its response was here.
    pub(crate) fn heed(&mut self, keep_alive: KeepAlive) {
        self.requests_left = self.requests_left.saturating_sub(1);
        if let Some(requests) = keep_alive.requests_max {
            self.requests_left = self.requests_left.min(requests.saturating_sub(1));
        }
        if let Some(seconds) = keep_alive.timeout_s {
            let ms = seconds.saturating_mul(1_000);
            self.keeps_for_ms = (ms / 2).max(ms.saturating_sub(KEPT_MARGIN_MS));
        }
    }

    /// Sends the request and reads the response. `alarm` goes off at the deadline. What the
    /// response takes of the memory budget is in `reservation` afterwards.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        limit: Deadline,
        mut alarm: Pin<&mut Sleep>,
        reservation: &mut ReadReservation<'_>,
    ) -> Exchange {
        let idle = std::mem::replace(&mut self.used, true);
        let mut run = ExchangeRun {
            stream: &mut *self.stream,
            request,
            written: 0,
            sent: SendProgress::Nothing,
            heard: false,
            parser: ResponseParser::new(reservation),
        };
        let mut looks_once_more = true;
        let mut exchange = poll_fn(|cx| {
            if let Poll::Ready(exchange) = run.poll(cx, idle) {
                return Poll::Ready(exchange);
            }
            ready!(alarm.as_mut().poll(cx));
            let now = Instant::now();
            if std::mem::take(&mut looks_once_more) && now - limit.deadline() >= LATE {
                alarm.as_mut().reset(now + LAST_LOOK);
                ready!(alarm.as_mut().poll(cx));
            }
            let outcome = run.parser.time_up(limit.missed("the answer"));
            Poll::Ready(Exchange::over(outcome))
        })
        .await;
        if exchange.reusable {
            self.heed(exchange.keep_alive);
            exchange.reusable = self.requests_left > 0;
        }
        exchange
    }
}

impl ExchangeRun<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<Exchange> {
        let looks = idle && matches!(self.sent, SendProgress::Nothing);
        if looks && let Poll::Ready(closed) = self.poll_idle(cx) {
            return Poll::Ready(closed);
        }
        if matches!(self.sent, SendProgress::Nothing | SendProgress::Partly) {
            match self.poll_send(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.sent = SendProgress::Wholly,
                Poll::Ready(Err(error)) => self.sent = SendProgress::Failed(error),
            }
        }
        if looks && matches!(self.sent, SendProgress::Wholly) {
            // There was nothing to read a moment ago, and whatever comes wakes.
            return Poll::Pending;
        }
        // Also before all was sent: a receiver may answer without reading to the end.
        self.poll_answer(cx, idle)
    }

    /// Ready if an idle connection cannot be used: the receiver closed it meanwhile, or sent what
    /// nobody asked for.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Exchange> {
        let mut byte = [MaybeUninit::uninit(); 1];
        let mut buffer = ReadBuf::uninit(&mut byte);
        let state = self.stream.socket_state();
        let failure = match Pin::new(&mut *self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(read) => read.err(),
            // TLS has messages of its own, which are read by now.
            Poll::Pending
                if state == SocketState::Readable
                    && self.stream.socket_state() == SocketState::Idle =>
            {
                return Poll::Pending;
            }
            Poll::Pending if state == SocketState::Idle => return Poll::Pending,
            Poll::Pending => None,
        };
        let failure = failure.as_ref().map(closed);
        Poll::Ready(Exchange {
            unsent: true,
            ..Exchange::over(self.parser.end(failure))
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sent = SendProgress::Partly;
        loop {
            let (first, then) = self.request.from(self.written);
            if first.is_empty() && then.is_empty() {
                // TLS may hold the end of it back.
                return Pin::new(&mut *self.stream).poll_flush(cx);
            }
            let stream = Pin::new(&mut *self.stream);
            let taken = ready!(if then.is_empty() {
                stream.poll_write(cx, first)
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(then)])
            })?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<Exchange> {
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        loop {
            let mut buffer = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer));
            let bytes = buffer.filled();
            if read.is_ok() && !bytes.is_empty() {
                self.heard = true;
                if let Some(read) = self.parser.take(bytes) {
                    return Poll::Ready(Exchange {
                        reusable: read.keeps && matches!(self.sent, SendProgress::Wholly),
                        keep_alive: read.keep_alive,
                        ..Exchange::over(read.outcome)
                    });
                }
                continue;
            }
            // Of a request that could not be sent, the reason says more than the end of it.
            let failure = match (&self.sent, &read) {
                (_, Err(error)) | (SendProgress::Failed(error), Ok(())) => Some(closed(error)),
                (SendProgress::Nothing | SendProgress::Partly | SendProgress::Wholly, Ok(())) => {
                    None
                }
            };
            return Poll::Ready(Exchange {
                stale: idle && !self.heard,
                ..Exchange::over(self.parser.end(failure))
            });
        }
    }
}

impl Exchange {
    /// An exchange after which the connection is of no more use.
    fn over(outcome: Outcome) -> Self {
        Self {
            outcome,
            unsent: false,
            stale: false,
            reusable: false,
            keep_alive: KeepAlive::default(),
        }
    }
}

fn closed(error: &io::Error) -> Failure {
    match tls_words(error, TrustSource::Settings) {
        Some(words) => Failure::new(FailureKind::Tls, words),
        None => Failure::new(FailureKind::Closed, io_words(error)),
    }
}

#[cfg(test)]
mod tests;
