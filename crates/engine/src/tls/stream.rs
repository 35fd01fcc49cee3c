//! The stream below TLS: counts what comes from the receiver, and has it read in small pieces where
//! sessions are expected. So it is known how much memory a session can take at most, which the
//! library does not say.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{SocketState, Stream};

/// The largest piece while sessions are expected: what follows them is not counted with them.
const PIECE_BYTES: usize = 256;

/// So much after the handshake is read in pieces. Servers send their sessions first.
const PIECEWISE_BYTES: usize = 2 * 1024;

pub(super) struct CountedStream {
    inner: Box<dyn Stream>,
    received: Arc<AtomicU64>,
    /// Still to be read in pieces.
    piecewise: usize,
}

impl CountedStream {
    /// What is received is added to `received`.
    pub(super) fn new(inner: Box<dyn Stream>, received: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            received,
            piecewise: 0,
        }
    }

    /// The handshake has ended.
    pub(super) fn established(&mut self) {
        self.piecewise = PIECEWISE_BYTES;
    }
}

impl Stream for CountedStream {
    fn socket_state(&self) -> SocketState {
        self.inner.socket_state()
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let inner = Pin::new(&mut this.inner);
        let count = if this.piecewise > 0 {
            let room = buffer.remaining().min(PIECE_BYTES);
            let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(room));
            ready!(inner.poll_read(cx, &mut piece))?;
            let count = piece.filled().len();
            buffer.advance(count);
            this.piecewise = this.piecewise.saturating_sub(count);
            count
        } else {
            let before = buffer.filled().len();
            ready!(inner.poll_read(cx, buffer))?;
            buffer.filled().len() - before
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        this.received.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
