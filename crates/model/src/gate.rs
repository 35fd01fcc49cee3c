//! Gate: what passes through it stands still while it is closed, as a process does that is
//! suspended. For the simulator, which has several nodes in one runtime; everybody else has one
//! that is open for ever.
//!
//! Timers, sockets and other tasks go on meanwhile. What they wake is polled once it is open again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Lets futures go on, or not. Cheap to clone. The default is open and stays so.
#[derive(Debug, Clone, Default)]
pub struct Gate(Option<Arc<Mutex<GateState>>>);

/// A future behind a gate.
#[derive(Debug)]
pub struct Gated<F> {
    future: F,
    gate: Gate,
    /// Its place among those that wait, once it had to.
    place: Option<u64>,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    next: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Gate {
    /// One that can be closed.
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Has nothing go on that is behind it, from now on.
    pub fn close(&self) {
        if let Some(mut state) = self.state() {
            state.closed = true;
        }
    }

    /// Has everything go on that was woken meanwhile, in the order in which it was.
    pub fn open(&self) {
        let waiting = self.state().map(|mut state| {
            state.closed = false;
            std::mem::take(&mut state.waiting)
        });
        for waker in waiting.unwrap_or_default().into_values() {
            waker.wake();
        }
    }

    /// Puts a future behind it.
    pub fn around<F: Future + Unpin>(&self, future: F) -> Gated<F> {
        Gated {
            future,
            gate: self.clone(),
            place: None,
        }
    }

    fn state(&self) -> Option<MutexGuard<'_, GateState>> {
        let state = self.0.as_ref()?;
        Some(state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self {
            future,
            gate,
            place,
        } = self.get_mut();
        if let Some(mut state) = gate.state().filter(|state| state.closed) {
            let known = place.filter(|place| state.waiting.contains_key(place));
            let own = known.unwrap_or(state.next);
            state.next = state.next.max(own + 1);
            state.waiting.insert(own, cx.waker().clone());
            *place = Some(own);
            return Poll::Pending;
        }
        Pin::new(future).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_woken_while_it_is_closed_goes_on_once_it_is_open() {
        let woken = Arc::new(Counts::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let gate = Gate::new();
        let mut polls = 0;
        let future = std::future::poll_fn(|_| {
            polls += 1;
            match polls {
                3 => Poll::Ready(polls),
                _ => Poll::Pending,
            }
        });
        let mut gated = gate.around(future);
        let mut poll = || Pin::new(&mut gated).poll(&mut cx);
        assert_eq!(poll(), Poll::Pending);
        gate.close();
        for _ in 0..5 {
            assert_eq!(poll(), Poll::Pending);
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        gate.open();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(poll(), Poll::Ready(3));
    }

    #[test]
    fn the_default_cannot_be_closed() {
        let mut cx = Context::from_waker(Waker::noop());
        let gate = Gate::default();
        gate.close();
        let mut gated = gate.around(std::future::ready(7));
        assert_eq!(Pin::new(&mut gated).poll(&mut cx), Poll::Ready(7));
    }
}
