//! The contract on SQLite, as far as it is not in `sql/contract.rs`. There is one lease, for all
//! slots and for ever, and any other epoch is fenced.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::attempt::Outcome;
use model::contract::{
    Backlog, BacklogCursor, CommitSubscriber, DuePage, DueQuery, Frontend, Leases, Outbox,
    PendingWebhook, Settlement, Store, StoreError, StoreFuture, WebhookTarget,
};
use model::delivery::DeliveryState;
use model::id::WebhookId;
use model::lease::{Epoch, Lease, Slots};
use model::statistics::TallyRow;
use model::tenant::DialectName;
use model::time::{Heartbeat, TimeBounds, Timestamp};

use crate::sql::contract::SqlStore;
use crate::sql::executor::{Executor as _, weight};
use crate::sql::queue::{COMMIT_DELAY, COMMIT_DELAY_MAX, JobClass};
use crate::sql::{backlog, bulk_jobs, cancel, prune, statistics};
use crate::sqlite::executor::Executor;
use crate::sqlite::{clock, due, pending, settle};
use crate::sync::lock;

/// A store on a file.
pub(crate) type Sqlite = SqlStore<Executor>;

/// What an epoch is told that is not the one there is.
fn fenced<T: Send + 'static>() -> StoreFuture<T> {
    Box::pin(std::future::ready(Err(StoreError::Fenced)))
}

impl Outbox for Sqlite {
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
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor.run_again(JobClass::Work, 1, move |tx| {
            pending::webhooks(tx, after, limit)
        })
    }

    fn webhook_targets(
        &self,
        epoch: Epoch,
        webhooks: Vec<WebhookId>,
    ) -> StoreFuture<Vec<WebhookTarget>> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor.run_again(JobClass::Work, 1, move |tx| {
            pending::targets(tx.conn, &webhooks)
        })
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .run_again(JobClass::Work, 1, move |tx| due::due(tx, &lanes, now))
    }

    fn settle(&self, epoch: Epoch, batch: Arc<[Settlement]>) -> StoreFuture<()> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        let weight = batch.iter().map(|settled| match &settled.attempt.outcome {
            Outcome::Answered(answer) => weight(answer.body.len()),
            Outcome::Failed(_) => 1,
        });
        let all_received = batch
            .iter()
            .all(|one| one.next.state == DeliveryState::Delivered);
        let commit_delay = match all_received {
            true => COMMIT_DELAY_MAX,
            false => COMMIT_DELAY,
        };
        let weight = weight.sum();
        self.executor
            .run_delayed(JobClass::Outcome, weight, commit_delay, move |tx| {
                settle::settle(tx, &batch)
            })
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
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .run_once(JobClass::Bulk, 1, move |tx| cancel::cancel(tx, webhook, at))
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .run_once(JobClass::Bulk, 1, move |tx| bulk_jobs::step(tx, at))
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .ask_materialized(JobClass::Bulk, move |conn, _| {
                backlog::backlog(conn, Slots::ALL, after)
            })
    }

    fn prune(
        &self,
        epoch: Epoch,
        before: BTreeMap<DialectName, Timestamp>,
        now: TimeBounds,
    ) -> StoreFuture<bool> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        // Without space on the disk this may fail. Then less can be pruned, and that makes space.
        drop(self.executor.materialize());
        self.executor
            .run_once(JobClass::Bulk, 1, move |tx| prune::prune(tx, &before, now))
    }

    fn record_tallies(&self, rows: Vec<TallyRow>) -> StoreFuture<()> {
        self.executor.write(JobClass::Bulk, move |tx| {
            statistics::record(tx.conn(), &rows)
        })
    }
}

impl Leases for Sqlite {
    /// Who may open the file as a server has it alone: all slots, for ever.
    fn claim(&self, _now: Timestamp) -> StoreFuture<Lease> {
        Box::pin(std::future::ready(Ok(Lease::SOLE)))
    }

    fn renew(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        if lease.epoch != Epoch::FIRST {
            return fenced();
        }
        let latest = Arc::clone(&self.executor.shared().last_heartbeat);
        self.executor.run_again(JobClass::Work, 1, move |tx| {
            clock::record(tx, beat)?;
            *lock(&latest) = Some(beat);
            Ok(lease)
        })
    }

    /// There is nobody to leave anything to.
    fn leave(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<Lease> {
        self.renew(lease, beat)
    }

    fn release(&self, lease: Lease, beat: Heartbeat) -> StoreFuture<()> {
        let renewed = self.renew(lease, beat);
        Box::pin(async move { renewed.await.map(drop) })
    }

    fn last_heartbeat(&self) -> Option<Heartbeat> {
        *lock(&self.executor.shared().last_heartbeat)
    }
}

impl Frontend for Sqlite {
    fn ping(&self) -> StoreFuture<Vec<String>> {
        if !self.executor.readers_live() {
            return Box::pin(std::future::ready(Err(StoreError::Ended)));
        }
        let executor = Arc::clone(&self.executor);
        let round = executor.run_again(JobClass::Work, 1, |_| Ok(()));
        Box::pin(async move {
            round.await?;
            executor.shared().disk.judge()
        })
    }

    /// Errors say all that is known of a disk.
    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Store for Sqlite {
    fn close(&self) -> StoreFuture<()> {
        self.executor.close()
    }

    fn ended(&self) -> StoreFuture<()> {
        self.executor.ended()
    }
}
