//! The only place that spawns. A task ends with its handle. A panic in it rings the alarm, because
//! only a restart mends a part that fell over: the store has the deliveries it held.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use model::gate::Gate;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// Rings once a part of the engine fell over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<&'static str>>);

/// A part of the engine. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct EngineTask<T>(JoinHandle<T>);

/// Many short tasks of one kind. Dropping them ends them all.
pub(crate) struct Swarm<T> {
    gate: Gate,
    set: JoinSet<T>,
    /// The first that ended, if somebody only looked whether there is one.
    seen: Option<Result<T, JoinError>>,
}

/// Rings the alarm if it is dropped by a panic.
struct PanicGuard {
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

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.alarm.ring(self.name);
        }
    }
}

impl<T: Send + 'static> EngineTask<T> {
    pub(crate) fn spawn(
        name: &'static str,
        alarm: &Alarm,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let watch = PanicGuard {
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

    /// The same behind a gate.
    pub(crate) fn behind(
        gate: &Gate,
        name: &'static str,
        alarm: &Alarm,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self::spawn(name, alarm, gate.around(Box::pin(work)))
    }

    /// Its result, or nothing if it fell over.
    pub(crate) async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for EngineTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Swarm<T> {
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            gate,
            set: JoinSet::new(),
            seen: None,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this floor that spawns"
    )]
    pub(crate) fn spawn(&mut self, work: impl Future<Output = T> + Send + Unpin + 'static) {
        self.set.spawn(self.gate.around(work));
    }

    /// Tasks whose result was not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.set.len() + usize::from(self.seen.is_some())
    }

    /// Whether the result of one of them can be taken.
    pub(crate) fn has_landed(&mut self) -> bool {
        if self.seen.is_none() {
            self.seen = self.set.try_join_next();
        }
        self.seen.is_some()
    }

    /// The result of one of them. Pending while there is none. A panic goes on in the caller.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let ended = match self.seen.take() {
            Some(ended) => ended,
            None => match ready!(self.set.poll_join_next(cx)) {
                Some(ended) => ended,
                None => return Poll::Pending,
            },
        };
        match ended {
            Ok(done) => Poll::Ready(done),
            Err(error) => resume_unwind(error.into_panic()),
        }
    }

    /// Ends those still running; returns how many there were.
    pub(crate) fn drop_all(&mut self) -> usize {
        let count = self.len();
        *self = Self::new(self.gate.clone());
        count
    }
}

/// A future on the heap, for traits whose callers do not know who implements them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_rings_the_alarm() {
        let alarm = Alarm::new();
        let listening = alarm.listen();
        let part = EngineTask::spawn("the dispatcher", &alarm, async {
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
        let mut swarm = Swarm::new(Gate::default());
        swarm.spawn(Box::pin(async {
            assert!(alarm_is_tested(), "on purpose");
        }));
        let owner = EngineTask::spawn("the owner", &alarm, async move {
            std::future::poll_fn(|cx| swarm.poll_next(cx)).await;
        });
        assert_eq!(owner.join().await, None);
        assert_eq!(alarm.rung(), Some("the owner"));
    }

    #[tokio::test]
    async fn each_of_a_swarm_is_told_once() {
        let mut swarm = Swarm::new(Gate::default());
        let mut told = Vec::new();
        for round in 0..3 {
            for number in 0..5 {
                swarm.spawn(Box::pin(async move {
                    tokio::task::yield_now().await;
                    round * 5 + number
                }));
            }
            assert!(!swarm.has_landed());
            while !swarm.has_landed() {
                tokio::task::yield_now().await;
            }
            for left in (0..5).rev() {
                told.push(poll_fn(|cx| swarm.poll_next(cx)).await);
                assert_eq!(swarm.len(), left);
            }
        }
        told.sort_unstable();
        assert_eq!(told, (0..15).collect::<Vec<_>>());
        assert!(poll_fn(|cx| Poll::Ready(swarm.poll_next(cx).is_pending())).await);
    }

    #[tokio::test]
    async fn those_that_still_run_end_with_their_swarm() {
        struct Tells(Arc<Mutex<usize>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let ended = Arc::new(Mutex::new(0));
        let mut swarm = Swarm::new(Gate::default());
        let spawn = |swarm: &mut Swarm<()>| {
            let tells = Tells(Arc::clone(&ended));
            swarm.spawn(Box::pin(async move {
                std::future::pending::<()>().await;
                drop(tells);
            }));
        };
        for _ in 0..3 {
            spawn(&mut swarm);
        }
        tokio::task::yield_now().await;
        assert_eq!((swarm.drop_all(), swarm.len()), (3, 0));
        spawn(&mut swarm);
        tokio::task::yield_now().await;
        assert_eq!(*ended.lock().unwrap(), 3);
        drop(swarm);
        tokio::task::yield_now().await;
        assert_eq!(*ended.lock().unwrap(), 4);
    }

    #[tokio::test]
    async fn a_part_that_ends_rings_nothing() {
        let alarm = Alarm::new();
        assert_eq!(
            EngineTask::spawn("a part", &alarm, async { 7 })
                .join()
                .await,
            Some(7)
        );
        assert_eq!(alarm.rung(), None);
    }

    fn alarm_is_tested() -> bool {
        false
    }
}
