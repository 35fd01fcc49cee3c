//! The store in trouble: slow, refusing, losing answers after the commit, full. What it keeps is
//! real.

use std::sync::Arc;
use std::time::Duration;

use model::contract::{DiskFault, Store, StoreError, StoreFuture};
use model::limits::{LANE_BUFFERED_MAX, LANE_READ_MAX};
use model::wrapper::{StoreCall, StoreWrapper};

use crate::scenario::StoreFault;
use crate::world::{SharedWorld, World};

/// What a lane asks for at most: as much as it reads at a time, and what it holds already, which
/// comes again.
const LANE_ASKS_MAX: usize = 2 * LANE_BUFFERED_MAX + LANE_READ_MAX;

/// A store with what can go wrong between it and who asks.
pub(crate) struct TroubledStore {
    inner: Arc<dyn Store>,
    world: SharedWorld,
}

/// What becomes of one call.
struct Fate {
    before_ms: u64,
    after_ms: u64,
    refused: Option<StoreError>,
    /// The answer is lost, after the work or instead of it.
    lost: bool,
    done: bool,
}

impl TroubledStore {
    pub(crate) fn new(inner: Arc<dyn Store>, world: SharedWorld) -> Self {
        Self { inner, world }
    }

    fn fate(&self, writes: bool) -> Fate {
        let mut world = self.world.lock();
        let World { store, history, .. } = &mut *world;
        let mut fate = Fate {
            before_ms: 0,
            after_ms: 0,
            refused: None,
            lost: false,
            done: true,
        };
        let rng = &mut store.rng;
        match store.kind {
            None => {
                // A read is late now and then, too: others come between it and its answer.
                if writes || rng.below(4) == 0 {
                    fate.before_ms = rng.below(3);
                    fate.after_ms = rng.below(3);
                }
            }
            Some(StoreFault::Slow) => {
                history.fault("call to the store slow");
                fate.before_ms = rng.below(400);
                fate.after_ms = rng.below(400);
            }
            Some(StoreFault::Flaky) => {
                fate.before_ms = rng.below(20);
                fate.after_ms = rng.below(200);
                match rng.below(10) {
                    0 | 3 => {
                        history.fault("call to the store refused");
                        fate.refused = Some(StoreError::Busy);
                    }
                    1 | 2 if writes => {
                        history.fault("answer of the store lost");
                        fate.lost = true;
                        fate.done = rng.below(3) > 0;
                    }
                    _ => {}
                }
            }
            Some(StoreFault::Full) if writes => {
                history.fault("disk full");
                fate.refused = Some(StoreError::Disk(DiskFault::Full));
            }
            Some(StoreFault::Full) => {}
        }
        fate
    }
}

impl StoreWrapper for TroubledStore {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        if let StoreCall::Due(lanes) = &call
            && let Some(lane) = lanes.iter().find(|lane| lane.limit > LANE_ASKS_MAX)
        {
            let words = format!("a lane asks for {} deliveries at once", lane.limit);
            let mut world = self.world.lock();
            world
                .history
                .broken
                .push(("memory for what waits stays bounded", words));
        }
        self.world.lock().watch(&call);
        let fate = self.fate(match call_kind(&call) {
            CallKind::Untouched => return work(),
            CallKind::Read => false,
            CallKind::Write => true,
        });
        Box::pin(async move {
            wait(fate.before_ms).await;
            if let Some(error) = fate.refused {
                return Err(error);
            }
            if !fate.done {
                wait(fate.after_ms).await;
                return Err(StoreError::Unknown);
            }
            let answer = work().await;
            wait(fate.after_ms).await;
            match answer {
                Ok(_) if fate.lost => Err(StoreError::Unknown),
                answer => answer,
            }
        })
    }
}

/// More calls than there are in any millisecond of a world of this size.
const CALLS_MAX: u32 = 20_000;

impl World {
    /// The watchdog: time goes on. Whoever asks the store again and again at one moment would do so
    /// for ever.
    ///
    /// # Panics
    ///
    /// If that happens, with the call that repeats.
    pub(crate) fn watch(&mut self, call: &StoreCall) {
        if self.calls_at.0 != self.now {
            self.calls_at = (self.now, 0);
        }
        self.calls_at.1 += 1;
        let count = self.calls_at.1;
        assert!(
            count < CALLS_MAX,
            "{count} calls to the store at one moment, now {call:?}"
        );
    }
}

async fn wait(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

pub(crate) enum CallKind {
    Read,
    Write,
    /// Of starting and stopping, and of the simulator's own looks.
    Untouched,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all that is not named reads"
)]
pub(crate) fn call_kind(call: &StoreCall) -> CallKind {
    match call {
        StoreCall::Claim
        | StoreCall::Release
        | StoreCall::Apply
        | StoreCall::Close
        | StoreCall::Ended
        | StoreCall::Ping => CallKind::Untouched,
        StoreCall::Accept
        | StoreCall::Replay
        | StoreCall::CancelDeliveries
        | StoreCall::RunIdempotent(_)
        | StoreCall::StoreResponse
        | StoreCall::Renew
        | StoreCall::Leave
        | StoreCall::Settle(..)
        | StoreCall::CancelPending(..)
        | StoreCall::StepBulkJob(_)
        | StoreCall::Prune(_)
        | StoreCall::CreateWebhook
        | StoreCall::SaveWebhook
        | StoreCall::NoteUses => CallKind::Write,
        _ => CallKind::Read,
    }
}
