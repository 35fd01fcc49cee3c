//! Line: one connection that speaks HTTP/1.1, and one exchange over it.
//!
//! The connection is driven by whoever uses it, inside the attempt's own task, so an idle one
//! costs no task. Whatever the receiver sends, an exchange ends by its limit, keeps at most the
//! head and body that `limits.rs` allows, and comes to an Outcome.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use model::attempt::{Answer, BodyEnd, Failure, FailureKind, Outcome};
use model::limits;
use model::webhook::Headers;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout_at;

use crate::dial::{Limit, Stream, io_words};
use crate::tls::tls_words;

/// Interim answers (1xx) before the final one. Receivers send none or one.
const INTERIM_ANSWERS_MAX: u32 = 32;

pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Wire>, Full<Bytes>>,
    /// The connection has come to its end.
    ended: bool,
    heard: Arc<AtomicBool>,
    sent: Arc<AtomicBool>,
    interim: Arc<Mutex<Interim>>,
}

/// What an exchange came to, and what can be done with the line after it.
pub(crate) struct Exchange {
    pub(crate) outcome: Outcome,
    /// The line closed before a single byte of the request was handed to the network: the
    /// receiver cannot have seen any of it.
    pub(crate) unsent: bool,
    pub(crate) reusable: bool,
}

/// The stream below, noting whether anything was heard or sent.
struct Wire {
    stream: Box<dyn Stream>,
    heard: Arc<AtomicBool>,
    sent: Arc<AtomicBool>,
}

/// Answers before the answer.
#[derive(Default)]
struct Interim {
    count: u32,
    latest: Option<(u16, Headers)>,
}

/// Why no final head of an answer came.
enum Headless {
    Hyper(hyper::Error),
    /// Nothing but interim answers.
    Storm,
}

impl Line {
    /// In a box, because a line goes from hand to hand.
    pub(crate) async fn open(stream: Box<dyn Stream>) -> Result<Box<Self>, Failure> {
        let heard = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicBool::new(false));
        let wire = Wire {
            stream,
            heard: Arc::clone(&heard),
            sent: Arc::clone(&sent),
        };
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(limits::RESPONSE_HEAD_BYTES_MAX)
            .max_headers(limits::RESPONSE_HEADERS_MAX)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| failure(&error, false))?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
            heard,
            sent,
            interim: Arc::default(),
        }))
    }

    /// Whether a line that lay idle can still be used. A receiver that closed it meanwhile, or
    /// sent what nobody asked for, is noticed here.
    pub(crate) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        !self.ended && self.sender.is_ready()
    }

    pub(crate) async fn exchange(
        &mut self,
        mut request: Request<Full<Bytes>>,
        limit: Limit,
    ) -> Exchange {
        self.heard.store(false, Ordering::Relaxed);
        self.sent.store(false, Ordering::Relaxed);
        *self.interim.lock().unwrap_or_else(PoisonError::into_inner) = Interim::default();
        let interim = Arc::clone(&self.interim);
        hyper::ext::on_informational(&mut request, move |response| {
            let mut interim = interim.lock().unwrap_or_else(PoisonError::into_inner);
            interim.count = interim.count.saturating_add(1);
            interim.latest = Some((response.status().as_u16(), kept_headers(response.headers())));
        });
        match timeout_at(limit.deadline(), self.head(request)).await {
            Ok(Ok(response)) => self.read(response, limit).await,
            Ok(Err(headless)) => self.without_head(&headless),
            Err(_) => Exchange::over(match self.take_interim() {
                Some((status, headers)) => interim_only(status, headers, BodyEnd::TimeUp),
                None => Outcome::Failed(limit.missed("the answer")),
            }),
        }
    }

    /// Sends the request and waits for the final head.
    async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Headless> {
        let mut sending = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            if let Poll::Ready(answered) = sending.as_mut().poll(cx) {
                return Poll::Ready(answered.map_err(Headless::Hyper));
            }
            let interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
            match interim.count > INTERIM_ANSWERS_MAX {
                true => Poll::Ready(Err(Headless::Storm)),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Reads the body of the answer as far as it is kept.
    async fn read(&mut self, response: Response<Incoming>, limit: Limit) -> Exchange {
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        let reading = self.body(&mut incoming, &mut body);
        let body_end = timeout_at(limit.deadline(), reading)
            .await
            .unwrap_or(BodyEnd::TimeUp);
        drop(incoming);
        let reusable = body_end == BodyEnd::Whole && self.is_open().await;
        let outcome = Outcome::Answered(Answer {
            status: head.status.as_u16(),
            headers: kept_headers(&head.headers),
            body: body.freeze(),
            body_end,
        });
        Exchange {
            outcome,
            unsent: false,
            reusable,
        }
    }

    async fn body(&mut self, incoming: &mut Incoming, body: &mut BytesMut) -> BodyEnd {
        while !incoming.is_end_stream() {
            let room = limits::RESPONSE_BODY_BYTES_MAX - body.len();
            if room == 0 {
                return BodyEnd::Cut;
            }
            let frame = poll_fn(|cx| {
                self.drive(cx);
                Pin::new(&mut *incoming).poll_frame(cx)
            });
            match frame.await {
                None => return BodyEnd::Whole,
                Some(Err(_)) => return BodyEnd::Broken,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if data.len() > room {
                        body.extend(data.iter().take(room));
                        return BodyEnd::Cut;
                    }
                    body.extend_from_slice(&data);
                }
            }
        }
        BodyEnd::Whole
    }

    fn without_head(&self, headless: &Headless) -> Exchange {
        let heard = self.heard.load(Ordering::Relaxed);
        let error = match headless {
            Headless::Hyper(error) => error,
            Headless::Storm => {
                let detail = format!("more than {INTERIM_ANSWERS_MAX} interim answers (1xx)");
                let failure = Failure::new(FailureKind::Garbled, detail);
                return Exchange::over(Outcome::Failed(failure));
            }
        };
        let failure = failure(error, heard);
        let closed = failure.kind == FailureKind::Closed;
        // What follows a status below 200 without being an answer is a body that should not be.
        let outcome = match self.take_interim() {
            Some((status, headers)) => interim_only(status, headers, BodyEnd::Broken),
            None => Outcome::Failed(failure),
        };
        Exchange {
            unsent: closed && !self.sent.load(Ordering::Relaxed),
            ..Exchange::over(outcome)
        }
    }

    fn take_interim(&self) -> Option<(u16, Headers)> {
        let mut interim = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        interim.latest.take()
    }

    /// Moves the connection on as far as it goes. What it fails with, whoever waits for an answer
    /// is told.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }
}

impl Exchange {
    /// An exchange after which the line is of no more use.
    fn over(outcome: Outcome) -> Self {
        Self {
            outcome,
            unsent: false,
            reusable: false,
        }
    }
}

/// A status below 200 promises a final answer; if none follows, it is all the answer there was.
fn interim_only(status: u16, headers: Headers, body_end: BodyEnd) -> Outcome {
    Outcome::Answered(Answer {
        status,
        headers,
        body: Bytes::new(),
        body_end,
    })
}

/// A copy, because the values are slices of the buffer that was read into.
fn kept_headers(headers: &HeaderMap) -> Headers {
    Headers::from_pairs(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    )
}

fn failure(error: &hyper::Error, heard: bool) -> Failure {
    if error.is_parse() {
        return Failure::new(FailureKind::Garbled, error.to_string());
    }
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    if let Some(words) = io.and_then(|io| tls_words(io, true)) {
        return Failure::new(FailureKind::Tls, words);
    }
    let detail = match io {
        Some(io) => io_words(io),
        None if heard => "it broke off within the head of the answer".to_owned(),
        None => String::new(),
    };
    Failure::new(FailureKind::Closed, detail)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sent.store(true, Ordering::Relaxed);
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sent.store(true, Ordering::Relaxed);
        Pin::new(&mut *self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
