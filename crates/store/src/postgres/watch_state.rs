//! Ends the thread that watches (`watch.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::postgres::session::SessionWaker;
use crate::sync::lock;

/// Ends the thread.
#[derive(Default)]
pub(crate) struct WatchState {
    is_closed: AtomicBool,
    pub(crate) waker: Mutex<Option<SessionWaker>>,
    closing: Condvar,
}

impl WatchState {
    pub(crate) fn close(&self) {
        let waker = lock(&self.waker);
        self.is_closed.store(true, Ordering::Release);
        if let Some(waker) = &*waker {
            waker.wake();
        }
        self.closing.notify_all();
    }

    /// Waits, but not for a store that closes.
    pub(crate) fn pause(&self, pause: Duration) {
        let waker = lock(&self.waker);
        if !self.is_closed() {
            let waited = self.closing.wait_timeout(waker, pause);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}
