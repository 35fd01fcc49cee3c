//! The stream below TLS. It counts what comes from the receiver, and has it read in small pieces
//! where sessions are expected: so it is known how much memory a session can take at most, which
//! the library does not say. And it holds back the end of a handshake until the request comes,
//! which goes out with it in one piece, or until the receiver has to be heard first.

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

/// More is not held back: a client certificate with a long chain.
const HELD_BYTES_MAX: usize = 8 * 1024;

pub(super) struct CountedStream {
    inner: Box<dyn Stream>,
    received: Arc<AtomicU64>,
    /// Still to be read in pieces.
    piecewise: usize,
    stage: HandshakeStage,
    /// Written, and not sent yet.
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HandshakeStage {
    /// Nothing has come yet.
    Greeting,
    /// What is written may be the last of it.
    Answered,
    Established,
}

impl CountedStream {
    /// What is received is added to `received`.
    pub(super) fn new(inner: Box<dyn Stream>, received: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            received,
            piecewise: 0,
            stage: HandshakeStage::Greeting,
            held: Vec::new(),
        }
    }

    /// The handshake has ended.
    pub(super) fn established(&mut self) {
        self.piecewise = PIECEWISE_BYTES;
        self.stage = HandshakeStage::Established;
    }

    fn holds(&self, more: usize) -> bool {
        self.stage == HandshakeStage::Answered && self.held.len() + more <= HELD_BYTES_MAX
    }

    /// Sends what is held back.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let inner = Pin::new(&mut self.inner);
            let count = ready!(inner.poll_write(cx, &self.held))?;
            self.sent(count)?;
        }
        Poll::Ready(Ok(()))
    }

    /// So much of what is held back, and of what follows it, is sent; answers how much of that.
    fn sent(&mut self, count: usize) -> io::Result<usize> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let held = count.min(self.held.len());
        self.held.drain(..held);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(count - held)
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
        ready!(this.poll_release(cx))?;
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
        if count > 0 && this.stage == HandshakeStage::Greeting {
            this.stage = HandshakeStage::Answered;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        if this.holds(length) {
            slices
                .iter()
                .for_each(|slice| this.held.extend_from_slice(slice));
            return Poll::Ready(Ok(length));
        }
        loop {
            if this.held.is_empty() {
                return Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
            }
            let held = io::IoSlice::new(&this.held);
            let all: Vec<_> = std::iter::once(held)
                .chain(slices.iter().copied())
                .collect();
            let inner = Pin::new(&mut this.inner);
            let count = ready!(inner.poll_write_vectored(cx, &all))?;
            match this.sent(count)? {
                0 => {}
                count => return Poll::Ready(Ok(count)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stage != HandshakeStage::Answered {
            ready!(this.poll_release(cx))?;
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
