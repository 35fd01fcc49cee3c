//! Time limits for what others have to do.
//!
//! A limit that ran out while this process stood still starts again, once: what arrived in time may
//! not have been seen yet.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::limits::STALL_DETECTED_MS;
use tokio::time::{Instant, Sleep, sleep};

const STOOD_STILL: Duration = Duration::from_millis(STALL_DETECTED_MS);

/// Ready when the time is up.
pub struct TimeLimit {
    lasts: Duration,
    alarm: Pin<Box<Sleep>>,
    may_begin_anew: bool,
}

impl TimeLimit {
    /// A limit that begins now.
    pub fn of(lasts: Duration) -> Self {
        Self {
            lasts,
            alarm: Box::pin(sleep(lasts)),
            may_begin_anew: true,
        }
    }

    /// Begins again.
    pub fn begin(&mut self) {
        self.alarm.as_mut().reset(Instant::now() + self.lasts);
        self.may_begin_anew = true;
    }

    /// Extends the limit by so much, from now if it has ended.
    pub fn put_off(&mut self, by: Duration) {
        let until = self.alarm.deadline().max(Instant::now()) + by;
        self.alarm.as_mut().reset(until);
    }
}

impl Future for TimeLimit {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.alarm.as_mut().poll(cx));
        let late = Instant::now().duration_since(self.alarm.deadline());
        if late >= STOOD_STILL && self.may_begin_anew {
            self.begin();
            self.may_begin_anew = false;
            ready!(self.alarm.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

/// The output of the future, if it is ready in time.
pub async fn within<F: Future>(lasts: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut limit) = (pin!(future), TimeLimit::of(lasts));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut limit).poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Waits for what takes so many milliseconds, while the process stands still for some seconds.
    async fn waited(takes_ms: u64, still_s: u64) -> (bool, u128) {
        let began = Instant::now();
        let takes = sleep(Duration::from_millis(takes_ms));
        let still = advance(Duration::from_secs(still_s));
        let (done, ()) = tokio::join!(within(LIMIT, takes), still);
        (done.is_some(), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_over_while_the_process_stood_still_begins_anew_once() {
        assert_eq!(waited(29_999, 0).await, (true, 29_999));
        assert_eq!(waited(60_000, 0).await, (false, 30_000));
        // It had come by then, or comes soon; and what does not come is not waited for for ever.
        for takes_ms in [29_999, 34_001, 63_999] {
            let (is_done, _) = waited(takes_ms, 34).await;
            assert!(is_done, "{takes_ms}");
        }
        assert_eq!(waited(100_000, 34).await, (false, 64_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_put_off_ends_later() {
        let began = Instant::now();
        let mut limit = TimeLimit::of(LIMIT);
        limit.put_off(Duration::from_secs(5));
        (&mut limit).await;
        assert_eq!(began.elapsed().as_secs(), 35);
        limit.put_off(Duration::from_secs(1));
        (&mut limit).await;
        assert_eq!(began.elapsed().as_secs(), 36);
        limit.begin();
        limit.await;
        assert_eq!(began.elapsed().as_secs(), 66);
    }
}
