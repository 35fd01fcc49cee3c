//! A stream of which a part was already read.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads the bytes that were already read, then from the stream; writes to the stream. Between the
/// two, one poll returns nothing, so that the caller can act before the rest is read.
pub(crate) struct PrefixedStream<S> {
    begun: Bytes,
    looked: bool,
    stream: S,
}

impl<S> PrefixedStream<S> {
    /// `begun` was already read from `stream`.
    pub(crate) fn new(begun: Bytes, stream: S) -> Self {
        Self {
            begun,
            looked: false,
            stream,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PrefixedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.begun.is_empty() {
            if !std::mem::replace(&mut self.looked, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PrefixedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_had_come_is_read_before_the_rest() {
        for count in [1, 2, 3, 100] {
            let mut stream = PrefixedStream::new(Bytes::from("abc"), &b"def"[..]);
            let mut read = Vec::new();
            let mut piece = vec![0; count];
            loop {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    length => read.extend_from_slice(&piece[..length]),
                }
            }
            assert_eq!(read, b"abcdef", "{count} at a time");
        }
    }
}
