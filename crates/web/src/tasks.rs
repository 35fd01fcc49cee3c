//! The only file of this crate that spawns.
//!
//! A request that has begun runs to its end even if its caller hangs up, so that what is stored
//! under an idempotency key is what happened. It gets a task of its own only then: as long as the
//! caller waits, the connection's task polls it. A panic ends that request alone.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Two hashes are computed at once: each takes 19 MiB and a core for some ten milliseconds. Some
/// thirty more may queue, since each holds the body of its request.
static HASHING: HashPool = HashPool::of(2, 32);

/// A hash that is still queued after this time is refused.
const TURN_LIMIT: Duration = Duration::from_secs(5);

/// The pool of hash computations.
struct HashPool {
    turns: Semaphore,
    /// For those that run or are queued.
    seats: Semaphore,
}

/// Runs a computation of some ten milliseconds; `None` if it got no turn.
pub(crate) async fn hash<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    HASHING.run(work).await
}

impl HashPool {
    const fn of(turns: usize, waiting: usize) -> Self {
        Self {
            turns: Semaphore::const_new(turns),
            seats: Semaphore::const_new(turns + waiting),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a password's hash is slow on purpose, and may not hold up what else is answered"
    )]
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _seat = self.seats.try_acquire().ok()?;
        let turn = tokio::time::timeout(TURN_LIMIT, self.turns.acquire()).await;
        let _permit = turn.ok()?.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// Runs work that nobody waits for, and that may be lost.
#[expect(
    clippy::disallowed_methods,
    reason = "this floor's place that spawns; the runtime logs a panic, and nothing depends on it"
)]
pub(crate) fn later(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}

/// Runs `work`; `None` if it panicked. `goes_on` says, when the caller hangs up, whether it
/// continues.
pub(crate) fn finish<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    goes_on: impl Fn() -> bool + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let mut work = DetachableTask {
        rest: Some(Box::pin(work)),
        // Only once it has begun.
        begun: false,
        goes_on,
    };
    poll_fn(move |cx| {
        work.begun = true;
        work.poll(cx)
    })
}

/// Work that continues in a task of its own if it is dropped before its end.
struct DetachableTask<T: Send + 'static, G: Fn() -> bool> {
    rest: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
    /// `None` once it has a task of its own: that is dropped only when the runtime ends, which
    /// drops every new task at once.
    goes_on: G,
}

impl<T: Send + 'static, G: Fn() -> bool> DetachableTask<T, G> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.rest else {
            return Poll::Ready(None);
        };
        // Nobody sees what the panic left behind: the work is dropped, and what it shares with
        // others is consistent at every moment.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => {
                self.rest = None;
                Poll::Ready(Some(done))
            }
            Err(_) => {
                self.rest = None;
                tracing::error!("a request ended in a panic");
                Poll::Ready(None)
            }
        }
    }
}

impl<T: Send + 'static, G: Fn() -> bool> Drop for DetachableTask<T, G> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        let rest = self.rest.take();
        let rest = rest.filter(|_| self.begun && (self.goes_on)());
        if let Some(rest) = rest
            && Handle::try_current().is_ok()
        {
            let not_again: fn() -> bool = || false;
            let mut rest = DetachableTask {
                rest: Some(rest),
                begun: true,
                goes_on: not_again,
            };
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place of this floor that spawns; a panic is noticed above"
            )]
            drop(tokio::spawn(async move {
                drop(poll_fn(|cx| rest.poll(cx)).await);
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_work_only() {
        assert_eq!(finish(async { 1 }, || true).await, Some(1));
        let broken: Option<()> = finish(async { panic!("on purpose") }, || true).await;
        assert_eq!(broken, None);
    }

    #[tokio::test]
    async fn whoever_finds_too_many_waiting_for_a_hash_is_sent_away_at_once() {
        let hashing = HashPool::of(1, 2);
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let mut first = Box::pin(hashing.run(move || waits.recv().is_ok()));
        let mut others: Vec<_> = (0..3).map(|n| Box::pin(hashing.run(move || n))).collect();
        poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            let polled = others.iter_mut().map(|other| other.as_mut().poll(cx));
            let polled: Vec<_> = polled.collect();
            assert_eq!(polled, [Poll::Pending, Poll::Pending, Poll::Ready(None)]);
            Poll::Ready(())
        })
        .await;
        go_on.send(()).unwrap();
        assert_eq!(first.await, Some(true));
        for (n, other) in others.into_iter().take(2).enumerate() {
            assert_eq!(other.await, Some(n));
        }
        assert_eq!(hashing.run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn what_has_not_begun_does_not_go_on() {
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        drop(finish(async move { tell.send(()).ok() }, || true));
        assert!(told.await.is_err());
    }

    #[test]
    fn what_nobody_waits_for_ends_with_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        runtime.block_on(async {
            later(async {
                finish(std::future::pending::<()>(), || true).await;
            });
            tokio::task::yield_now().await;
        });
        drop(runtime);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_goes_on_goes_on_to_its_end() {
        let (go, gone) = tokio::sync::oneshot::channel();
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = async {
            gone.await.ok();
            tell.send(7).ok();
        };
        let mut waiting = Box::pin(finish(work, || true));
        let begun = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn what_is_not_to_go_on_by_then_ends_when_nobody_waits_for_it() {
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let (may, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let work = {
            let may = Arc::clone(&may);
            async move {
                may.store(false, Ordering::Relaxed);
                std::future::pending::<()>().await;
                tell.send(()).ok()
            }
        };
        let goes_on = {
            let asked: Arc<AtomicBool> = Arc::clone(&asked);
            move || {
                asked.store(true, Ordering::Relaxed);
                may.load(Ordering::Relaxed)
            }
        };
        let mut waiting = Box::pin(finish(work, goes_on));
        let begun = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(begun.is_pending() && !asked.load(Ordering::Relaxed));
        drop(waiting);
        assert!(told.await.is_err() && asked.load(Ordering::Relaxed));
    }
}
