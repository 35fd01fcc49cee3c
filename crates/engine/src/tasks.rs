//! The only place that spawns. A task ends with its handle. A panic in it rings the alarm, because
//! only a restart mends a part that fell over: the store has the deliveries it held.

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sync::lock;

/// Rings once a part of the engine fell over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Alarm(watch::Sender<Option<&'static str>>);

/// A part of the engine. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct EngineTask<T>(JoinHandle<T>);

/// Many short tasks of one kind. Dropping them ends them all.
///
/// Their results are handed over together: a `JoinSet` takes locks and memory for each, which
/// is 800 instructions more of the loop's (callgrind).
pub(crate) struct Swarm<T> {
    /// The tasks that run, each at its place.
    running: Vec<Option<JoinHandle<()>>>,
    /// Places that are free.
    free: Vec<usize>,
    /// What was taken over and not asked for yet.
    ended: VecDeque<Ended<T>>,
    landing: Arc<Landing<T>>,
}

/// Where tasks of a swarm leave their results.
struct Landing<T>(Mutex<Landed<T>>);

struct Landed<T> {
    ended: VecDeque<Ended<T>>,
    waker: Option<Waker>,
}

/// Ends that there is always room for.
const ROOM_KEPT: usize = 64;

/// The result of the task at this place: a panic, if it fell over.
type Ended<T> = (usize, Result<T, Box<dyn Any + Send>>);

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
    pub(crate) fn new() -> Self {
        let landed = Landed {
            ended: VecDeque::new(),
            waker: None,
        };
        Self {
            running: Vec::new(),
            free: Vec::new(),
            ended: VecDeque::new(),
            landing: Arc::new(Landing(Mutex::new(landed))),
        }
    }

    pub(crate) fn spawn(&mut self, work: impl Future<Output = T> + Send + 'static) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.running.push(None);
            self.running.len() - 1
        });
        let landing = Arc::clone(&self.landing);
        let watched = async move {
            let mut work = pin!(work);
            let ended = poll_fn(|cx| {
                // Whatever is broken by a panic is broken for the owner as well, who ends by it.
                match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            });
            let ended = ended.await;
            landing.put((place, ended));
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of this floor that spawns"
        )]
        let handle = tokio::spawn(watched);
        if let Some(running) = self.running.get_mut(place) {
            *running = Some(handle);
        }
    }

    /// Tasks whose result was not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.running.len() - self.free.len()
    }

    /// Whether one of them has ended since `poll_next` looked.
    pub(crate) fn has_landed(&self) -> bool {
        !self.landing.lock().ended.is_empty()
    }

    /// The result of one of them. Pending while there is none. A panic goes on in the caller.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<T> {
        if self.ended.is_empty() {
            let mut landed = self.landing.lock();
            std::mem::swap(&mut landed.ended, &mut self.ended);
            if self.ended.is_empty() {
                // After a rush, not more room is kept than is mostly needed.
                self.ended.shrink_to(ROOM_KEPT);
                match &mut landed.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => landed.waker = Some(cx.waker().clone()),
                }
            }
        }
        let Some((place, ended)) = self.ended.pop_front() else {
            return Poll::Pending;
        };
        drop(self.running.get_mut(place).and_then(Option::take));
        self.free.push(place);
        match ended {
            Ok(done) => Poll::Ready(done),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Ends those still running; returns how many there were.
    pub(crate) fn drop_all(&mut self) -> usize {
        let count = self.len();
        *self = Self::new();
        count
    }
}

impl<T> Drop for Swarm<T> {
    fn drop(&mut self) {
        for handle in self.running.iter().flatten() {
            handle.abort();
        }
    }
}

impl<T> Landing<T> {
    fn put(&self, ended: Ended<T>) {
        let mut landed = self.lock();
        landed.ended.push_back(ended);
        // Who was woken asks for all there is, so the others need not wake it again.
        let waker = landed.waker.take();
        drop(landed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Landed<T>> {
        lock(&self.0)
    }
}

/// A future on the heap, for traits whose callers do not know who implements them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(test)]
mod tests {
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
        let mut swarm = Swarm::new();
        swarm.spawn(async { assert!(alarm_is_tested(), "on purpose") });
        let owner = EngineTask::spawn("the owner", &alarm, async move {
            std::future::poll_fn(|cx| swarm.poll_next(cx)).await;
        });
        assert_eq!(owner.join().await, None);
        assert_eq!(alarm.rung(), Some("the owner"));
    }

    #[tokio::test]
    async fn each_of_a_swarm_is_told_once_and_places_are_used_again() {
        let mut swarm = Swarm::new();
        let mut told = Vec::new();
        for round in 0..3 {
            for number in 0..5 {
                swarm.spawn(async move {
                    tokio::task::yield_now().await;
                    round * 5 + number
                });
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
        assert_eq!(swarm.running.len(), 5);
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
        let mut swarm = Swarm::new();
        let spawn = |swarm: &mut Swarm<()>| {
            let tells = Tells(Arc::clone(&ended));
            swarm.spawn(async move {
                std::future::pending::<()>().await;
                drop(tells);
            });
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
