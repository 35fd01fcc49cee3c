//! The fast path: a connection with simple `POST` requests one after another, which is what nearly
//! every application sends. Decision 25 has what it buys.
//!
//! Anything else goes to hyper, with what was read of it and all that follows. So this file reads
//! only one kind of request, whose beginning and end are beyond doubt.

mod request;
pub(crate) mod response;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body_util::BodyExt;
use model::time::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use web::{Body, TimeLimit};

use self::request::{ParseFailure, parse};
use self::response::{DateHeader, is_bare, put_head};
use crate::connections::ConnectionState;
use crate::slow_reader::SlowReaderStream;

/// A connection that is idle for so long is closed; one that was used before, after up to twice as
/// long.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How long the rest of a request may take. Slower ones go to hyper: there a body is read only
/// after authentication, and with a limit of its own.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes that one read asks for. A usual request is shorter.
const READ_BYTES: usize = 4 * 1024;

/// A longer response is written in several pieces.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// A connection and its buffers.
pub(crate) struct FastPath<S> {
    stream: SlowReaderStream<S>,
    /// Read and not yet taken as a request.
    begun: Vec<u8>,
    /// Head and body of a response, so that one write sends both.
    out: Vec<u8>,
    date: DateHeader,
    /// At least one request has come.
    used: bool,
    /// Told when a request was answered.
    state: Option<Arc<ConnectionState>>,
}

/// Why the fast path ends.
enum FastPathEnd {
    /// Another kind of request came, or one that was not complete in time.
    Fallback,
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FastPath<S> {
    pub(crate) fn new(stream: S, clock: Clock) -> Self {
        Self {
            stream: SlowReaderStream::new(stream),
            begun: Vec::with_capacity(READ_BYTES),
            out: Vec::new(),
            date: DateHeader::new(clock),
            used: false,
            state: None,
        }
    }

    /// Tells `state` when a request was answered.
    pub(crate) fn noting(self, state: Arc<ConnectionState>) -> Self {
        let state = Some(state);
        Self { state, ..self }
    }

    /// Answers simple requests by `site`, in order. If another kind of request comes, returns the
    /// connection and what was read of it. Returns nothing when the connection has ended. Once
    /// `stop` is true, the response that is being made is the last. A client that hangs up while
    /// its response is made is noticed only when it is written.
    pub(crate) async fn serve<F>(
        mut self,
        mut stop: watch::Receiver<bool>,
        site: impl Fn(Request<Body>) -> F,
    ) -> Option<(S, Bytes)>
    where
        F: Future<Output = Response<Body>>,
    {
        let asked_to_stop = stop.clone();
        let mut stopping = pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
        let mut idle = TimeLimit::of(IDLE_LIMIT);
        loop {
            match self.next(stopping.as_mut(), &mut idle).await {
                Ok(request) => {
                    let answer = site(request).await;
                    if let Some(state) = &self.state {
                        state.is_done();
                    }
                    let is_last = *asked_to_stop.borrow();
                    if !self.send(answer, is_last).await.unwrap_or(false) {
                        return None;
                    }
                }
                Err(FastPathEnd::Fallback) => {
                    return Some((self.stream.into_inner(), self.begun.into()));
                }
                Err(FastPathEnd::Closed) => return None,
            }
        }
    }

    async fn next(
        &mut self,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
        idle: &mut TimeLimit,
    ) -> Result<Request<Body>, FastPathEnd> {
        let mut has_idled = !self.used;
        while self.begun.is_empty() {
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.begun) => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Err(FastPathEnd::Closed),
                },
                () = stopping.as_mut() => return Err(FastPathEnd::Closed),
                // Setting the timer for each request costs more than letting it fire at times.
                () = &mut *idle => {
                    if has_idled {
                        return Err(FastPathEnd::Closed);
                    }
                    idle.begin();
                    has_idled = true;
                }
            }
        }
        match self.take() {
            Ok(request) => Ok(request),
            Err(ParseFailure::NotEligible) => Err(FastPathEnd::Fallback),
            Err(ParseFailure::Incomplete) => {
                let rest = timeout(PATIENCE, self.rest()).await;
                rest.unwrap_or(Err(FastPathEnd::Fallback))
            }
        }
    }

    /// Reads the rest of a request.
    async fn rest(&mut self) -> Result<Request<Body>, FastPathEnd> {
        loop {
            match self.stream.read_buf(&mut self.begun).await {
                Ok(1..) => {}
                Ok(0) => return Err(FastPathEnd::Fallback),
                Err(_) => return Err(FastPathEnd::Closed),
            }
            match self.take() {
                Ok(request) => return Ok(request),
                Err(ParseFailure::NotEligible) => return Err(FastPathEnd::Fallback),
                Err(ParseFailure::Incomplete) => {}
            }
        }
    }

    /// Takes a request from what has been read.
    fn take(&mut self) -> Result<Request<Body>, ParseFailure> {
        let (request, bytes) = parse(&self.begun)?;
        self.used = true;
        self.begun.drain(..bytes);
        self.begun.shrink_to(2 * READ_BYTES);
        Ok(request)
    }

    /// Sends a response. Returns whether another may follow on this connection.
    async fn send(&mut self, answer: Response<Body>, is_last: bool) -> io::Result<bool> {
        let is_bare = is_bare(answer.status());
        // Without a length the end of the connection is the end of the body.
        let is_last = is_last || !(is_bare || answer.headers().contains_key(CONTENT_LENGTH));
        self.out.clear();
        put_head(&mut self.out, &answer, &mut self.date, is_last);
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            if let Ok(data) = frame.into_data()
                && !is_bare
            {
                self.out.extend_from_slice(&data);
            }
            if self.out.len() > PIECE_BYTES_MAX || is_last {
                self.stream.write_all(&self.out).await?;
                self.out.clear();
            }
        }
        self.stream.write_all(&self.out).await?;
        self.out.shrink_to(2 * READ_BYTES);
        if is_last {
            self.stream.shutdown().await?;
        }
        Ok(!is_last)
    }
}

#[cfg(test)]
mod tests;
