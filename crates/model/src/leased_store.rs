//! Leased store: one store that several nodes in this process share. For tests and the simulator:
//! the inline store has one owner, and knows no leases of its own.
//!
//! `lease_table.rs` says who owns what. Whoever commits is told of it at once, as by a store of its
//! own; others get hints, which are webhooks, as between processes on one database.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{poll_fn, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contract::{
    Backend, Backlog, BacklogCursor, CommitSubscriber, DuePage, DueQuery, Leases, Outbox,
    PendingWebhook, Settlement, Store, StoreError, StoreFuture, WebhookTarget,
};
use crate::delivery::DueDelivery;
use crate::id::{BulkJobId, TenantId, WebhookId};
use crate::lease::{Epoch, Lease, Slots};
use crate::lease_table::{LeaseTable, fence, fence_outcomes};
use crate::limits::LEASE_MS;
use crate::statistics::TallyRow;
use crate::tenant::DialectName;
use crate::time::{Heartbeat, TimeBounds, Timestamp};
use crate::wrapper::{StoreCall, StoreWrapper};

/// The store that all nodes share, and who owns what. Cheap to clone.
#[derive(Clone)]
pub struct LeasedStore {
    store: Arc<dyn Store>,
    /// The database's.
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    leases: Arc<Mutex<LeaseState>>,
    told: Arc<Listeners>,
}

/// A node, by the order in which they came.
pub type NodeNumber = usize;

/// What a node is told of what another one committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// These got something due, or changed.
    Webhooks(Vec<WebhookId>),
    /// Slots became free, or are to be.
    Leases,
    /// Anything may be different.
    All,
}

/// The store as one node reaches it.
pub struct NodeStore {
    shared: LeasedStore,
    number: NodeNumber,
    owner: Arc<OwnerSide>,
}

/// What a node asks as an owner.
struct OwnerSide {
    shared: LeasedStore,
    number: NodeNumber,
    /// What it wrote down last, or found when it came.
    beat: Mutex<Option<Heartbeat>>,
}

#[derive(Default)]
struct LeaseState {
    table: LeaseTable,
    latest: u64,
    /// Of whom bulk jobs may run that nodes began.
    bulk_jobs: BTreeSet<TenantId>,
}

/// Those who are told of what was committed.
struct Listeners {
    inner: Mutex<ListenersState>,
    /// Takes hints on their way to nodes.
    post: Box<Post>,
}

type Post = dyn Fn(NodeNumber, Hint) + Send + Sync;

#[derive(Default)]
struct ListenersState {
    all: BTreeMap<NodeNumber, Arc<dyn CommitSubscriber>>,
    next: NodeNumber,
    /// Whose call is being made.
    speaks: Option<NodeNumber>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LeasedStore {
    /// Nobody else subscribes to this store. `post` gets each hint, and has it arrive by
    /// [`hint`](Self::hint), if at all.
    pub fn new(
        store: Arc<dyn Store>,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        post: impl Fn(NodeNumber, Hint) + Send + Sync + 'static,
    ) -> Self {
        let told = Arc::new(Listeners {
            inner: Mutex::default(),
            post: Box::new(post),
        });
        store.subscribe(Arc::clone(&told) as Arc<dyn CommitSubscriber>);
        Self {
            store,
            now: Arc::new(now),
            leases: Arc::default(),
            told,
        }
    }

    /// A node that comes.
    pub fn node(&self) -> NodeStore {
        let mut told = lock(&self.told.inner);
        let number = told.next;
        told.next += 1;
        drop(told);
        let owner = OwnerSide {
            shared: self.clone(),
            number,
            beat: Mutex::new(self.store.last_heartbeat()),
        };
        NodeStore {
            shared: self.clone(),
            number,
            owner: Arc::new(owner),
        }
    }

    /// A node is gone, and is told nothing more. Its lease stays until somebody takes its slots.
    pub fn leave(&self, node: NodeNumber) {
        lock(&self.told.inner).all.remove(&node);
    }

    /// A hint has arrived.
    pub fn hint(&self, node: NodeNumber, hint: &Hint) {
        let told = lock(&self.told.inner).all.get(&node).cloned();
        match (told, hint) {
            (Some(told), Hint::Webhooks(webhooks)) => told.on_changed(webhooks),
            (Some(told), Hint::Leases) => told.on_leases_changed(),
            (Some(told), Hint::All) => told.on_external_change(),
            (None, _) => {}
        }
    }

    /// The store behind, which asks for no lease.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What the database's clock says.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// All leases as they are.
    pub fn table(&self) -> LeaseTable {
        lock(&self.leases).table.clone()
    }

    /// The bulk jobs that nodes began and that have not ended, and of which webhooks; the oldest
    /// first.
    ///
    /// Errors: those of a read.
    pub async fn bulk_jobs(&self) -> Result<Vec<(BulkJobId, WebhookId)>, StoreError> {
        let begun = lock(&self.leases).bulk_jobs.clone();
        let mut found = Vec::new();
        for tenant in begun {
            let running = self.store.running_bulk_jobs(tenant, None).await?;
            found.extend(running.into_iter().map(|job| (job.id, job.reached)));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Makes a call of this node, which is told at once of what it commits.
    fn of<T: 'static>(
        &self,
        node: NodeNumber,
        work: impl FnOnce() -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        let told = Arc::clone(&self.told);
        let mut answer = told.speaking(node, work);
        Box::pin(poll_fn(move |cx| {
            told.speaking(node, || answer.as_mut().poll(cx))
        }))
    }
}

impl Listeners {
    fn speaking<T>(&self, node: NodeNumber, work: impl FnOnce() -> T) -> T {
        let before = lock(&self.inner).speaks.replace(node);
        let done = work();
        lock(&self.inner).speaks = before;
        done
    }

    fn hint_others(&self, node: NodeNumber, hint: &Hint) {
        let others: Vec<NodeNumber> = lock(&self.inner).all.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != node) {
            (self.post)(other, hint.clone());
        }
    }

    /// Tells whoever committed, and hints at it to all others.
    fn tell(&self, tell: impl FnOnce(&dyn CommitSubscriber), hint: &Hint) {
        let told = lock(&self.inner);
        let (speaks, mut all) = (told.speaks, told.all.clone());
        drop(told);
        if let Some(own) = speaks.and_then(|speaks| all.remove(&speaks)) {
            tell(&*own);
        }
        for node in all.into_keys() {
            (self.post)(node, hint.clone());
        }
    }
}

impl CommitSubscriber for Listeners {
    fn on_accepted(&self, deliveries: Vec<DueDelivery>) {
        let webhooks = deliveries.iter().map(|due| due.delivery.id.webhook);
        let hint = Hint::Webhooks(webhooks.collect());
        self.tell(|one| one.on_accepted(deliveries), &hint);
    }

    fn on_requested(&self, deliveries: Vec<DueDelivery>) {
        let webhooks = deliveries.iter().map(|due| due.delivery.id.webhook);
        let hint = Hint::Webhooks(webhooks.collect());
        self.tell(|one| one.on_requested(deliveries), &hint);
    }

    fn on_skipped(&self, lanes: Vec<PendingWebhook>) {
        let hint = Hint::Webhooks(lanes.iter().map(|lane| lane.webhook).collect());
        self.tell(|one| one.on_skipped(lanes), &hint);
    }

    fn on_changed(&self, webhooks: &[WebhookId]) {
        let hint = Hint::Webhooks(webhooks.to_vec());
        self.tell(|one| one.on_changed(webhooks), &hint);
    }

    fn on_external_change(&self) {
        self.tell(|one| one.on_external_change(), &Hint::All);
    }

    fn on_bulk_job_started(&self) {
        self.tell(|one| one.on_bulk_job_started(), &Hint::All);
    }

    /// The store behind has one owner.
    fn on_leases_changed(&self) {}
}

impl NodeStore {
    pub fn number(&self) -> NodeNumber {
        self.number
    }
}

impl StoreWrapper for NodeStore {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    fn around<T: Send + 'static>(
        &self,
        call: StoreCall,
        work: impl FnOnce() -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        if let StoreCall::StartBulkJob(new) = call {
            let mut leases = lock(&self.shared.leases);
            leases.bulk_jobs.insert(new.tenant);
        }
        self.shared.of(self.number, work)
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.owner) as Arc<dyn Backend>
    }
}

impl OwnerSide {
    fn slots(&self, epoch: Epoch) -> Result<Slots, StoreError> {
        fence(lock(&self.shared.leases).table.slots(epoch), [])
    }

    /// What is done under this epoch, if it is not over, with its slots.
    fn within<T: Send + 'static>(
        &self,
        epoch: Epoch,
        work: impl FnOnce(&dyn Store, Slots) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        match self.slots(epoch) {
            Ok(slots) => work(&*self.shared.store, slots),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    /// Changes leases, of which others hear if it concerns them. Answers as well whether the owner
    /// is the eldest.
    fn change<T>(
        &self,
        epoch: Epoch,
        change: impl FnOnce(&mut LeaseTable, Timestamp) -> T,
    ) -> (T, bool) {
        let now = (self.shared.now)();
        let mut leases = lock(&self.shared.leases);
        let before = leases.table.clone();
        let changed = change(&mut leases.table, now);
        let is_news = leases.table.is_news_since(&before);
        let is_eldest = leases.table.is_eldest(epoch);
        drop(leases);
        if is_news {
            self.shared.told.hint_others(self.number, &Hint::Leases);
        }
        (changed, is_eldest)
    }

    /// Answers a renewal.
    fn kept(
        &self,
        epoch: Epoch,
        (slots, is_eldest): (Option<Slots>, bool),
        beat: Heartbeat,
    ) -> StoreFuture<Lease> {
        let Some(slots) = slots else {
            return Box::pin(ready(Err(StoreError::Fenced)));
        };
        let written = self.beat(is_eldest, beat);
        Box::pin(async move {
            written.await?;
            Ok(Self::lease(epoch, slots, beat.at.wall))
        })
    }

    /// As the caller is told.
    fn lease(epoch: Epoch, slots: Slots, asked_at: Timestamp) -> Lease {
        Lease {
            epoch,
            slots,
            until: Some(asked_at.plus_ms(LEASE_MS)),
        }
    }

    /// Has the time written, if the owner is the eldest.
    fn beat(&self, is_eldest: bool, beat: Heartbeat) -> StoreFuture<()> {
        *lock(&self.beat) = Some(beat);
        match is_eldest {
            true => {
                let written = self.shared.store.renew(Lease::SOLE, beat);
                Box::pin(async { written.await.map(drop) })
            }
            false => Box::pin(ready(Ok(()))),
        }
    }
}

impl Leases for OwnerSide {
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease> {
        let mut leases = lock(&self.shared.leases);
        leases.latest += 1;
        let epoch = Epoch(leases.latest);
        drop(leases);
        let (slots, _) = self.change(epoch, |table, now| table.claim(epoch, now));
        *lock(&self.beat) = self.shared.store.last_heartbeat();
        let lease = Self::lease(epoch, slots, now);
        Box::pin(ready(Ok(lease)))
    }

    fn renew(&self, asked: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        let (epoch, named) = (asked.epoch, asked.slots);
        let renewed = self.change(epoch, |table, now| table.renew(epoch, named, now));
        self.kept(epoch, renewed, beat)
    }

    fn leave(&self, asked: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        let (epoch, named) = (asked.epoch, asked.slots);
        let kept = self.change(epoch, |table, now| table.leave(epoch, named, now));
        self.kept(epoch, kept, beat)
    }

    fn release(&self, asked: Lease, beat: Heartbeat) -> StoreFuture<()> {
        let epoch = asked.epoch;
        let (is_eldest, _) = self.change(epoch, |table, _| {
            table.slots(epoch)?;
            let is_eldest = table.is_eldest(epoch);
            table.release(epoch);
            Some(is_eldest)
        });
        match is_eldest {
            Some(is_eldest) => self.beat(is_eldest, beat),
            None => Box::pin(ready(Err(StoreError::Fenced))),
        }
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        *lock(&self.beat)
    }
}

impl Outbox for OwnerSide {
    fn subscribe(&self, listener: Arc<dyn CommitSubscriber>) {
        let mut told = lock(&self.shared.told.inner);
        told.all.insert(self.number, listener);
    }

    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>> {
        let store = Arc::clone(&self.shared.store);
        let slots = self.slots(epoch);
        Box::pin(async move {
            let (slots, mut after, mut own) = (slots?, after, Vec::new());
            loop {
                let page = store.pending_webhooks(Epoch::FIRST, after, limit).await?;
                after = page.last().map(|last| last.webhook);
                let is_last = page.len() < limit;
                own.extend(page.into_iter().filter(|one| slots.has(one.webhook)));
                if is_last || own.len() >= limit {
                    own.truncate(limit);
                    return Ok(own);
                }
            }
        })
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        self.within(epoch, |store, slots| {
            let own = webhooks.into_iter().filter(|one| slots.has(*one));
            store.webhook_targets(Epoch::FIRST, own.collect())
        })
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        self.within(epoch, |store, slots| {
            let own = lanes.into_iter().filter(|lane| slots.has(lane.webhook));
            store.due(Epoch::FIRST, own.collect(), now)
        })
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        let slots = lock(&self.shared.leases).table.slots(epoch);
        match fence_outcomes(slots, &batch) {
            Ok(()) => self.shared.store.settle(Epoch::FIRST, batch),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn flush(&self) {
        self.shared.store.flush();
    }

    fn cancel_pending(
        &self,
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.within(epoch, |store, slots| match fence(Some(slots), [webhook]) {
            Ok(_) => store.cancel_pending(Epoch::FIRST, webhook, at),
            Err(error) => Box::pin(ready(Err(error))),
        })
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        let (shared, slots) = (self.shared.clone(), self.slots(epoch));
        Box::pin(async move {
            let slots = slots?;
            let is_own = |job: &(BulkJobId, WebhookId)| slots.has(job.1);
            // The store behind takes the oldest of all.
            if shared.bulk_jobs().await?.first().is_some_and(is_own) {
                shared.store.step_bulk_job(Epoch::FIRST, at).await?;
            }
            Ok(shared.bulk_jobs().await?.iter().any(is_own))
        })
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        self.within(epoch, |store, _| store.backlog(Epoch::FIRST, after))
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        self.within(epoch, |store, _| store.prune(Epoch::FIRST, before, now))
    }

    fn record_tallies(&self, rows: Vec<TallyRow>) -> StoreFuture<()> {
        self.shared.store.record_tallies(rows)
    }
}
