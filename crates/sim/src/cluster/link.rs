//! A node's path to the store. What was sent is done there whatever becomes of the node meanwhile,
//! even long after; so each call has a task of its own.

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use model::contract::{Store, StoreError, StoreFuture};
use model::id::WebhookId;
use model::lease::Epoch;
use model::leased_store::LeasedStore;
use model::wrapper::{StoreCall, StoreWrapper};
use tokio::sync::oneshot;

use crate::cluster::nodes::StorePath;
use crate::scenario::START;
use crate::store::{CallKind, call_kind};
use crate::tasks::apart;
use crate::world::SharedWorld;

const FENCED: &str = "a fenced write changes nothing";
const ONE_OWNER: &str = "one owner at a time";

/// The store as a life of a node reaches it.
pub(crate) struct Link {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) leased: LeasedStore,
    pub(crate) world: SharedWorld,
    pub(crate) node: usize,
    pub(crate) life: usize,
}

/// One call on its way.
struct Passage {
    leased: LeasedStore,
    world: SharedWorld,
    node: usize,
    life: usize,
    call: StoreCall,
    writes: bool,
}

impl StoreWrapper for Link {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        if matches!(call, StoreCall::Ended | StoreCall::Close) {
            return work();
        }
        let mut world = self.world.lock();
        world.watch(&call);
        if world.is_over(self.life) {
            return Box::pin(pending());
        }
        drop(world);
        let passage = Passage {
            leased: self.leased.clone(),
            world: self.world.clone(),
            node: self.node,
            life: self.life,
            writes: matches!(call_kind(&call), CallKind::Write),
            call,
        };
        let (reply, answer) = oneshot::channel();
        apart(async move {
            if let Some(answer) = passage.make(work).await {
                reply.send(answer).ok();
            }
        });
        Box::pin(async {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => pending().await,
            }
        })
    }
}

impl Passage {
    /// Makes the call. No answer if whoever asked is gone, or it never arrived.
    async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> Option<Result<T, StoreError>> {
        let (before_ms, after_ms) = self.delays();
        let asked_at = self.world.lock().now;
        wait(before_ms).await;
        loop {
            match self.path() {
                StorePath::Open | StorePath::LosesAnswers => break,
                StorePath::Refuses => return Some(Err(StoreError::Busy)),
                StorePath::Waits(until_ms) => {
                    wait(until_ms).await;
                    // What a dead machine has not sent it sends no more.
                    if self.world.lock().is_over(self.life) {
                        return None;
                    }
                }
            }
        }
        let fenced = self.fenced();
        let answer = work().await;
        self.judge(asked_at, fenced, answer.is_ok());
        let is_lost = self.path() == StorePath::LosesAnswers;
        wait(after_ms).await;
        while let StorePath::Waits(until_ms) = self.path() {
            wait(until_ms).await;
        }
        match is_lost || self.path() != StorePath::Open {
            true if self.writes => {
                self.world.lock().history.fault("answer of the store lost");
                wait(1_000 + after_ms).await;
                Some(Err(StoreError::Unknown))
            }
            true => Some(Err(StoreError::Busy)),
            false => Some(answer),
        }
    }

    /// How long it is on its way there and back.
    fn delays(&self) -> (i64, i64) {
        let mut world = self.world.lock();
        let Some(cluster) = &mut world.cluster else {
            return (0, 0);
        };
        let ways = [cluster.rng.below(3), cluster.rng.below(3)];
        let [there, back] = ways.map(u64::cast_signed);
        (there, back)
    }

    /// The path, with how long it is still closed.
    fn path(&self) -> StorePath {
        let world = self.world.lock();
        match world.store_path(self.node) {
            StorePath::Waits(until) => StorePath::Waits(until - world.now),
            path @ (StorePath::Open | StorePath::Refuses | StorePath::LosesAnswers) => path,
        }
    }

    /// If its lease does not allow this call: how far the store had come before.
    fn fenced(&self) -> Option<u64> {
        let (epoch, webhooks): (Epoch, Vec<WebhookId>) = asked_under(&self.call)?;
        let slots = self.leased.table().slots(epoch);
        let is_own = slots.is_some_and(|slots| webhooks.iter().all(|one| slots.has(*one)));
        (!is_own).then(|| self.leased.store().changes())
    }

    fn judge(&self, asked_at: i64, fenced: Option<u64>, is_done: bool) {
        let changes = self.leased.store().changes();
        let mut world = self.world.lock();
        let (now, life) = (world.now, self.life);
        if fenced.is_some_and(|before| is_done || before != changes) {
            let words = format!("life {life} wrote at {now} under a lease that is over");
            world.history.broken.push((FENCED, words));
        }
        if fenced.is_some() {
            world.history.fault("fenced write");
        }
        self.note_times(&mut world);
        let is_lease = matches!(
            self.call,
            StoreCall::Claim | StoreCall::Renew | StoreCall::Leave | StoreCall::Release
        );
        if !is_lease || !is_done {
            return;
        }
        let is_claim = matches!(self.call, StoreCall::Claim);
        let table = self.leased.table();
        let history = world.history.cluster.as_mut();
        let wrong =
            history.and_then(|history| history.leased(now, asked_at, life, is_claim, &table));
        if let Some(words) = wrong {
            world.history.broken.push((ONE_OWNER, words));
        }
        if !matches!(self.call, StoreCall::Renew) {
            let call = &self.call;
            world.says(|| format!("life {life}: {call:?}"));
        }
    }

    /// Notes what the node's clock said of attempts.
    fn note_times(&self, world: &mut crate::world::World) {
        let (StoreCall::Settle(_, batch), Some(history)) =
            (&self.call, world.history.cluster.as_mut())
        else {
            return;
        };
        for one in batch.iter() {
            let stale = one.stale.iter().map(|stale| stale.began_at);
            for at in stale.chain([one.attempt.began_at]) {
                history.said(self.node, at.as_millis() - START);
            }
        }
    }
}

/// Under which epoch something is to be written, and of which webhooks.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all that is not named writes nothing, or under no lease"
)]
fn asked_under(call: &StoreCall) -> Option<(Epoch, Vec<WebhookId>)> {
    match call {
        StoreCall::Settle(epoch, batch) => {
            let webhooks = batch.iter().map(|one| one.id.webhook);
            Some((*epoch, webhooks.collect()))
        }
        StoreCall::CancelPending(epoch, webhook) => Some((*epoch, vec![*webhook])),
        StoreCall::StepBulkJob(epoch) | StoreCall::Prune(epoch) => Some((*epoch, Vec::new())),
        _ => None,
    }
}

async fn wait(ms: i64) {
    match u64::try_from(ms) {
        Ok(ms) if ms > 0 => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => ready(()).await,
    }
}
