//! The contract on PostgreSQL, as far as it is not in `sql/contract.rs`: what the owner of slots
//! asks, and leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::contract::{
    Backlog, BacklogCursor, CommitSubscriber, DuePage, DueQuery, Frontend, Leases, Outbox,
    PendingWebhook, Settlement, Store, StoreError, StoreFuture, WebhookTarget,
};
use model::id::WebhookId;
use model::lease::{Epoch, Lease, Slots};
use model::lease_table::fence;
use model::statistics::TallyRow;
use model::tenant::DialectName;
use model::time::{Heartbeat, TimeBounds, Timestamp};

use crate::postgres::executor::PostgresExecutor;
use crate::postgres::jobs::Guard;
use crate::postgres::{due, leases, pending};
use crate::sql::contract::SqlStore;
use crate::sql::executor::Executor as _;
use crate::sql::queue::JobClass;
use crate::sql::{Connection, backlog, bulk_jobs, cancel, prune, statistics};
use crate::sync::lock;

/// A store on PostgreSQL.
pub(crate) type Postgres = SqlStore<PostgresExecutor>;

/// Work under a lease that waits for nobody.
const WORK: JobClass = JobClass::Work;

/// Work under a lease that takes long.
const BULK: JobClass = JobClass::Bulk;

impl Outbox for Postgres {
    fn subscribe(&self, subscriber: Arc<dyn CommitSubscriber>) {
        if self.executor.shared().subscriber.set(subscriber).is_err() {
            tracing::error!("the store has a subscriber already: another one is ignored");
        }
    }

    fn pending_webhooks(
        &self,
        epoch: Epoch,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<PendingWebhook>> {
        self.executor.put_read(WORK, move |conn| {
            let slots = leases::owned(conn, epoch)?;
            pending::webhooks(conn, slots, after, limit)
        })
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        self.executor.put_read(WORK, move |conn| {
            let slots = leases::owned(conn, epoch)?;
            pending::targets(conn, slots, &webhooks)
        })
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        let untold = Arc::clone(&self.executor.shared().untold);
        self.executor.put_read(WORK, move |conn| {
            let slots = leases::owned(conn, epoch)?;
            let mut pages = due::due(conn, slots, &lanes, now)?;
            untold.leave_out(&mut pages);
            Ok(pages)
        })
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        self.executor.settle(epoch, batch)
    }

    fn flush(&self) {
        self.executor.flush();
    }

    fn cancel_pending(
        &self,
        epoch: Epoch,
        webhook: WebhookId,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        let guard = Guard::Lease(epoch);
        let whose = (BULK, Vec::new());
        self.executor.put_write(whose, 1, guard, move |tx| {
            fence(tx.slots, [webhook])?;
            cancel::cancel(tx, webhook, at)
        })
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        let guard = Guard::Lease(epoch);
        let whose = (BULK, Vec::new());
        self.executor
            .put_write(whose, 1, guard, move |tx| bulk_jobs::step(tx, at))
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        self.executor.put_read(BULK, move |conn| {
            let slots = leases::owned(conn, epoch)?;
            backlog::backlog(Connection::Postgres(conn), slots, after)
        })
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        let guard = Guard::Lease(epoch);
        let whose = (BULK, Vec::new());
        self.executor
            .put_write(whose, 1, guard, move |tx| prune::prune(tx, &before, now))
    }

    fn record_tallies(&self, rows: Vec<TallyRow>) -> StoreFuture<()> {
        self.executor.write(JobClass::Bulk, move |tx| {
            statistics::record(tx.conn(), &rows)
        })
    }
}

impl Leases for Postgres {
    fn claim(&self, now: Timestamp) -> StoreFuture<Lease> {
        let shared = Arc::clone(self.executor.shared());
        let claimed = self.executor.put_lease(move |tx| {
            let lease = leases::claim(tx.conn, now)?.tell(tx.post_commit);
            Ok((lease, leases::last_heartbeat(tx.conn)?))
        });
        Box::pin(async move {
            let (lease, last) = claimed.await?;
            // Others may have gone on since this process wrote it.
            *lock(&shared.last_heartbeat) = last;
            shared.set_own_slots(lease.slots);
            Ok(lease)
        })
    }

    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        let renewed = self.executor.put_lease(move |tx| {
            let renewed = leases::renew(tx.conn, lease, beat)?;
            Ok(renewed.tell(tx.post_commit))
        });
        kept(self, renewed, beat)
    }

    fn leave(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        let left = self.executor.put_lease(move |tx| {
            let left = leases::leave(tx.conn, lease, beat)?;
            Ok(left.tell(tx.post_commit))
        });
        kept(self, left, beat)
    }

    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()> {
        let shared = Arc::clone(self.executor.shared());
        let released = self.executor.put_lease(move |tx| {
            let released = leases::release(tx.conn, lease, beat)?;
            released.tell(tx.post_commit);
            Ok(())
        });
        Box::pin(async move {
            released.await?;
            shared.set_own_slots(Slots::NONE);
            *lock(&shared.last_heartbeat) = Some(beat);
            Ok(())
        })
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        *lock(&self.executor.shared().last_heartbeat)
    }
}

/// A lease that was renewed, as this process then knows it.
fn kept(store: &Postgres, kept: StoreFuture<Lease>, beat: Heartbeat) -> StoreFuture<Lease> {
    let shared = Arc::clone(store.executor.shared());
    Box::pin(async move {
        let lease = kept.await.inspect_err(|error| {
            if matches!(error, StoreError::Fenced) {
                shared.set_own_slots(Slots::NONE);
            }
        })?;
        shared.set_own_slots(lease.slots);
        *lock(&shared.last_heartbeat) = Some(beat);
        Ok(lease)
    })
}

impl Frontend for Postgres {
    fn ping(&self) -> StoreFuture<Vec<String>> {
        let executor = Arc::clone(&self.executor);
        let probed = executor.probe();
        Box::pin(async move {
            match probed.await {
                // Intake that has much to do is no fault.
                Err(StoreError::Busy) => {}
                answer => answer?,
            }
            let faults = executor.shared().faults.words();
            let faults = faults.map(|words| format!("A part of the work has to wait: {words}"));
            let held = executor.shared().hold_ups.sentences();
            Ok(faults.into_iter().chain(held).collect())
        })
    }

    fn trouble(&self) -> Option<String> {
        let shared = self.executor.shared();
        let held = || {
            let sentences = shared.hold_ups.sentences();
            (!sentences.is_empty()).then(|| sentences.join(" "))
        };
        shared.faults.words().or_else(held)
    }
}

impl Store for Postgres {
    fn close(&self) -> StoreFuture<()> {
        self.executor.close()
    }

    fn ended(&self) -> StoreFuture<()> {
        self.executor.ended()
    }
}
