//! The only place of this floor that spawns.
//!
//! A request that has begun runs to its end even if its caller hangs up, so that what is kept
//! under an idempotency key is what happened. It gets a task of its own only then: as long as the
//! caller waits, the connection's task carries it. A panic ends that request alone.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// What `work` comes to, or nothing if it panicked.
pub(crate) async fn finish<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut work = Work(Some(Box::pin(work)));
    poll_fn(|cx| work.poll(cx)).await
}

/// Work that goes on by itself if it is dropped before its end.
struct Work<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Work<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(None);
        };
        // Nobody sees what the panic left behind: the work is dropped, and what it shares with
        // others is whole at every moment.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => {
                self.0 = None;
                Poll::Ready(Some(done))
            }
            Err(_) => {
                self.0 = None;
                tracing::error!("a request ended in a panic");
                Poll::Ready(None)
            }
        }
    }
}

impl<T: Send + 'static> Drop for Work<T> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let Some(mut rest) = self.0.take().map(|work| Self(Some(work)))
            && Handle::try_current().is_ok()
        {
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
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_work_only() {
        assert_eq!(finish(async { 1 }).await, Some(1));
        let broken: Option<()> = finish(async { panic!("on purpose") }).await;
        assert_eq!(broken, None);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_goes_on_to_its_end() {
        let (go, gone) = tokio::sync::oneshot::channel();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut waiting = Box::pin(finish(async {
            gone.await.ok();
            tell.send(7).ok();
        }));
        let begun = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok(7));
    }
}
