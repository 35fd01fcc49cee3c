//! A stream that gives up on a client that does not read. A response that nobody reads holds memory
//! and a connection. A timeout for each write, as libraries have it, starts again with every byte;
//! this limit counts bytes.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use web::TimeLimit;

/// How long a client may read nothing of a response.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// For each so many bytes that the client reads it gets 1 ms more. 4 KB a second is slow enough for
/// any line, and is not for ever.
const BYTES_A_MS: u64 = 4;

/// Reads and writes like `S`; a write fails when the client reads too slowly.
pub(crate) struct SlowReaderStream<S> {
    stream: S,
    /// Set from the first write that blocks until all of it is written.
    stalled: Option<TimeLimit>,
}

impl<S> SlowReaderStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            stalled: None,
        }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// The result of a write that blocked: pending, or an error once the limit is over.
    fn stall<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let stalled = self
            .stalled
            .get_or_insert_with(|| TimeLimit::of(STALL_LIMIT));
        ready!(Pin::new(stalled).poll(cx));
        Poll::Ready(Err(Error::new(
            ErrorKind::TimedOut,
            "nobody reads the answer",
        )))
    }

    /// `written` of `all` bytes were written.
    fn took(&mut self, written: usize, all: usize) {
        if written >= all {
            self.stalled = None;
        } else if let Some(stalled) = &mut self.stalled {
            let more = u64::try_from(written).unwrap_or(u64::MAX) / BYTES_A_MS;
            stalled.put_off(Duration::from_millis(more));
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SlowReaderStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending => self.stall(cx),
            Poll::Ready(written) => {
                self.took(*written.as_ref().unwrap_or(&buf.len()), buf.len());
                Poll::Ready(written)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SlowReaderStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, advance, sleep, timeout};

    use super::*;

    /// Sends so many bytes; returns the result and how long it took.
    async fn send(stream: DuplexStream, bytes: usize) -> (Result<()>, Duration) {
        let began = Instant::now();
        let sent = SlowReaderStream::new(stream)
            .write_all(&vec![b'x'; bytes])
            .await;
        (sent, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let (one, _other) = duplex(64);
        let (sent, took) = send(one, 65).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_read_while_this_process_stood_still_is_not_given_up() {
        let (one, mut other) = duplex(64);
        let reads = async {
            // The process learns of the read only after it has learnt how late it is.
            sleep(Duration::from_millis(34_001)).await;
            other.read_exact(&mut [0; 65]).await
        };
        let still = advance(Duration::from_secs(34));
        let ((sent, _), read, ()) = tokio::join!(send(one, 65), reads, still);
        sent.unwrap();
        assert_eq!(read.unwrap(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_a_little_now_and_then_is_given_up_as_well() {
        let (one, mut other) = duplex(64);
        let reads = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                if other.read_u8().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let sent = tokio::select! {
            biased;
            sent = send(one, 100_000) => sent,
            () = reads => unreachable!("it reads for ever"),
        };
        assert_eq!(sent.0.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(sent.1 < Duration::from_secs(32), "{:?}", sent.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_gets_all_of_a_long_answer() {
        const BYTES: usize = 1_000_000;
        let (one, mut other) = duplex(1_024);
        let reads = async {
            let (mut all, mut buffer) = (0, [0; 1_024]);
            while all < BYTES {
                sleep(Duration::from_millis(200)).await;
                all += other.read(&mut buffer).await.unwrap();
            }
        };
        let both = async { tokio::join!(send(one, BYTES), reads).0 };
        let (sent, took) = timeout(Duration::from_secs(1_000), both).await.unwrap();
        sent.unwrap();
        assert!(took > 3 * STALL_LIMIT);
    }
}
