//! Room for what requests bring: bodies that are not small are held in memory only as far as all
//! of them together have room. Whoever finds none waits a little, and is asked to come again.

use std::time::Duration;

use model::limits::{BODIES_BYTES_MAX, SMALL_BODY_BYTES_MAX};
use model::refusal::Refusal;
use tokio::sync::{Semaphore, SemaphorePermit};

/// What room is counted in: a semaphore's numbers are small.
const UNIT_BYTES: usize = 1024;

/// Room comes back within moments, unless bodies come slowly.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// After so many seconds somebody is asked to come again.
const AGAIN_AFTER_S: u32 = 5;

pub(crate) struct Room(Semaphore);

/// Taken until it is dropped.
pub(crate) struct Taken<'a>(Option<SemaphorePermit<'a>>);

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(BODIES_BYTES_MAX / UNIT_BYTES))
    }
}

impl Room {
    /// For a body whose length is known. Small ones need none.
    pub(crate) async fn wait_for(&self, bytes: usize) -> Result<Taken<'_>, Refusal> {
        let Some(units) = units(bytes) else {
            return Ok(Taken(None));
        };
        let turn = tokio::time::timeout(WAIT_LIMIT, self.0.acquire_many(units)).await;
        let permit = turn.ok().and_then(Result::ok);
        permit.map_or(Err(Refusal::Busy(AGAIN_AFTER_S)), |permit| {
            Ok(Taken(Some(permit)))
        })
    }

    /// For a body that may become so long, and has begun to come: two that wait for one another
    /// would both wait in vain.
    pub(crate) fn take(&self, bytes: usize) -> Result<Taken<'_>, Refusal> {
        let Some(units) = units(bytes) else {
            return Ok(Taken(None));
        };
        match self.0.try_acquire_many(units) {
            Ok(permit) => Ok(Taken(Some(permit))),
            Err(_) => Err(Refusal::Busy(AGAIN_AFTER_S)),
        }
    }
}

impl Taken<'_> {
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

fn units(bytes: usize) -> Option<u32> {
    let units = bytes.min(BODIES_BYTES_MAX).div_ceil(UNIT_BYTES);
    (bytes > SMALL_BODY_BYTES_MAX).then(|| u32::try_from(units).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::CONTENT_LENGTH;

    use super::*;
    use crate::body::{self, Body};

    const HALF: usize = BODIES_BYTES_MAX / 2;

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_room_waits_a_little_and_is_asked_to_come_again() {
        let room = Room::default();
        let (first, second) = (room.wait_for(HALF).await, room.wait_for(HALF).await);
        assert!(first.is_ok() && second.is_ok());
        let third = room.wait_for(SMALL_BODY_BYTES_MAX + 1).await;
        assert!(matches!(third, Err(Refusal::Busy(AGAIN_AFTER_S))));
        assert!(room.wait_for(SMALL_BODY_BYTES_MAX).await.is_ok());
        assert!(matches!(room.take(HALF), Err(Refusal::Busy(_))));
        let mut third = pin!(room.wait_for(HALF));
        poll_fn(|cx| {
            assert!(third.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(first);
        assert!(third.await.is_ok());
        assert!(room.take(HALF).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_its_room_before_it_comes_or_as_soon_as_it_is_long() {
        let room = Room::default();
        let long = || Body::from(vec![b' '; SMALL_BODY_BYTES_MAX + 1]);
        let declared = SMALL_BODY_BYTES_MAX + 1;
        let declared = HeaderMap::from_iter([(CONTENT_LENGTH, declared.into())]);
        for headers in [&declared, &HeaderMap::new()] {
            let (whole, taken) = body::read(headers, long(), HALF, &room).await.unwrap();
            assert_eq!(whole.len(), SMALL_BODY_BYTES_MAX + 1);
            assert!(!taken.is_none());
            let all = room.0.available_permits();
            drop(taken);
            assert!(room.0.available_permits() > all);
            let full = room.wait_for(BODIES_BYTES_MAX).await.unwrap();
            let refused = body::read(headers, long(), HALF, &room).await;
            assert!(matches!(refused, Err(Refusal::Busy(_))));
            let short = body::read(headers, Body::from(Bytes::new()), HALF, &room).await;
            assert_eq!(short.is_ok(), headers.is_empty());
            drop(full);
        }
        assert_eq!(room.0.available_permits(), BODIES_BYTES_MAX / UNIT_BYTES);
    }
}
