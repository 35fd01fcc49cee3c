//! How many of the executor's threads run, for whoever waits for their end. Futures of the store
//! need no runtime, and so no timer of one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sync::lock;

#[derive(Default)]
pub(crate) struct RunningThreads {
    count: Mutex<usize>,
    ended: Condvar,
}

/// Held by a thread until it has closed its session.
pub(crate) struct RunningThread(Arc<RunningThreads>);

impl RunningThreads {
    /// One more, until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> RunningThread {
        *lock(&self.count) += 1;
        RunningThread(Arc::clone(self))
    }

    /// Waits until none runs. False if some still do after so long.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let count = lock(&self.count);
        let waited = self
            .ended
            .wait_timeout_while(count, limit, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }
}

impl Drop for RunningThread {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_whether_all_have_ended() {
        let threads = Arc::<RunningThreads>::default();
        let (one, other) = (threads.begin(), threads.begin());
        drop(one);
        assert!(!threads.wait(Duration::ZERO));
        let work = move || drop(other);
        std::thread::Builder::new().spawn(work).unwrap();
        assert!(threads.wait(Duration::from_secs(60)));
    }
}
