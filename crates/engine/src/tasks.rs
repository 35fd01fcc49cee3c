//! The only place that spawns. Whatever is spawned ends with its handle, and a panic in it rings
//! the alarm, because only a restart mends a part that fell over: the deliveries it held are in
//! the store.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Rings once a part of the engine fell over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<&'static str>>);

/// A part of the engine. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Part<T>(JoinHandle<T>);

/// Many short tasks of one kind. Dropping them ends them all.
#[derive(Debug)]
pub(crate) struct Swarm<T>(JoinSet<T>);

/// Rings the alarm if it is dropped by a panic.
struct Watch {
    name: &'static str,
    alarm: Alarm,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// The name of the part that fell over, as soon as one did.
    pub(crate) fn listen(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let mut bell = self.0.subscribe();
        // The sender is kept beside, so that the channel cannot close while somebody listens.
        let held = self.0.clone();
        async move {
            loop {
                let rung = *bell.borrow_and_update();
                if let Some(name) = rung {
                    return name;
                }
                if bell.changed().await.is_err() {
                    drop(held);
                    return std::future::pending().await;
                }
            }
        }
    }

    pub(crate) fn rung(&self) -> Option<&'static str> {
        *self.0.borrow()
    }

    fn ring(&self, name: &'static str) {
        self.0.send_replace(Some(name));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.alarm.ring(self.name);
        }
    }
}

impl<T: Send + 'static> Part<T> {
    pub(crate) fn spawn(
        name: &'static str,
        alarm: &Alarm,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let watch = Watch {
            name,
            alarm: alarm.clone(),
        };
        let watched = async move {
            let done = work.await;
            drop(watch);
            done
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of this floor that spawns"
        )]
        Self(tokio::spawn(watched))
    }

    /// What it came to, or nothing if it fell over.
    pub(crate) async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Swarm<T> {
    pub(crate) fn new() -> Self {
        Self(JoinSet::new())
    }

    pub(crate) fn spawn(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0.spawn(work);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What one of them came to. Pending while there is none. A panic goes on in the caller.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        loop {
            match ready!(self.0.poll_join_next(cx)) {
                Some(Ok(done)) => return Poll::Ready(done),
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                // Ended from outside: there is nothing to tell.
                Some(Err(_)) => {}
                None => return Poll::Pending,
            }
        }
    }

    /// Ends those still running; answers how many there were.
    pub(crate) fn drop_all(&mut self) -> usize {
        let count = self.0.len();
        self.0 = JoinSet::new();
        count
    }
}

/// A future on the heap, for traits whose callers do not know who implements them.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_rings_the_alarm() {
        let alarm = Alarm::new();
        let listening = alarm.listen();
        let part = Part::spawn("the dispatcher", &alarm, async {
            assert!(alarm_is_tested(), "on purpose");
        });
        assert_eq!(listening.await, "the dispatcher");
        assert_eq!(part.join().await, None);
        assert_eq!(alarm.rung(), Some("the dispatcher"));
        assert_eq!(alarm.listen().await, "the dispatcher");
    }

    #[tokio::test]
    async fn a_panic_in_a_swarm_goes_on_in_its_owner() {
        let alarm = Alarm::new();
        let mut swarm = Swarm::new();
        swarm.spawn(async { assert!(alarm_is_tested(), "on purpose") });
        let owner = Part::spawn("the owner", &alarm, async move {
            std::future::poll_fn(|cx| swarm.poll_next(cx)).await;
        });
        assert_eq!(owner.join().await, None);
        assert_eq!(alarm.rung(), Some("the owner"));
    }

    #[tokio::test]
    async fn a_part_that_ends_rings_nothing() {
        let alarm = Alarm::new();
        assert_eq!(
            Part::spawn("a part", &alarm, async { 7 }).join().await,
            Some(7)
        );
        assert_eq!(alarm.rung(), None);
    }

    fn alarm_is_tested() -> bool {
        false
    }
}
