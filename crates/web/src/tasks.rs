//! The only place of this floor that spawns.
//!
//! A request that has begun runs to its end even if its caller hangs up, so that what is kept
//! under an idempotency key is what happened. A panic ends that request alone.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Hashes that are computed at once: each takes 19 MiB and a core for some ten milliseconds.
static HASHES: Semaphore = Semaphore::const_new(2);

/// Within this time a hash has had its turn, or whoever waits is sent away.
const TURN_LIMIT: Duration = Duration::from_secs(5);

/// What a computation of some ten milliseconds comes to, or nothing if it did not get a turn.
#[expect(
    clippy::disallowed_methods,
    reason = "a password's hash is slow on purpose, and may not hold up what else is answered"
)]
pub(crate) async fn hash<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let turn = tokio::time::timeout(TURN_LIMIT, HASHES.acquire()).await;
    let _permit = turn.ok()?.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

/// Does something for which nobody waits, and which may be lost.
#[expect(
    clippy::disallowed_methods,
    reason = "this floor's place that spawns; the runtime logs a panic, and nothing depends on it"
)]
pub(crate) fn later(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}

/// What `work` comes to, or nothing if it panicked.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this floor that spawns; a panic is noticed right below"
)]
pub(crate) async fn finish<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match tokio::spawn(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "a request ended in a panic");
            None
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
}
