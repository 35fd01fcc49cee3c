//! The contract on SQLite: each question and each change becomes a job of the executor. The
//! dashboard's part is in `dashboard.rs`. There is one lease, for all slots and for ever, and any
//! other epoch is fenced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::attempt::Outcome;
use model::contract::{
    Backlog, BacklogCursor, Catalog, CommitSubscriber, DuePage, DueQuery, Frontend, Intake, Leases,
    Outbox, PendingWebhook, ReplayRequest, ReplayResult, Settlement, Store, StoreError,
    StoreFuture, WebhookTarget,
};
use model::delivery::DeliveryState;
use model::id::{DeliveryId, TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::lease::{Epoch, Lease};
use model::notification::{AcceptResult, NewNotification};
use model::query::{
    AppliedChange, AuditEntry, Declaration, DeliveryDetail, EventPage, LogPage, LogQuery,
    StoredResponse, WebhookPage, WebhookQuery,
};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::{Heartbeat, TimeBounds, Timestamp};
use model::webhook::{NewWebhook, Webhook};

use crate::sqlite::executor::Executor;
use crate::sqlite::queue::{COMMIT_DELAY, COMMIT_DELAY_MAX, JobClass};
use crate::sqlite::tx::Tx;
use crate::sqlite::{
    accept, apply, audit, backlog, bulk_jobs, cancel, catalog, clock, delivery_detail, due,
    idempotency, log, pending, prune, replay, settle, stored_responses, webhook_rows, webhooks,
};
use crate::sync::lock;

pub(crate) struct Sqlite {
    pub(crate) executor: Arc<Executor>,
}

/// The weight of a notification or settlement in a queue. Large ones weigh more, so that a full
/// queue holds 80 MiB of bodies at most.
fn weight(body_bytes: usize) -> usize {
    1 + body_bytes / 8_192
}

/// The weight of a batch, by tenant.
fn shares(batch: &[NewNotification]) -> Vec<(TenantId, usize)> {
    let weights = batch.iter().map(|new| (new.tenant, weight(new.body.len())));
    let mut shares: Vec<(TenantId, usize)> = weights.collect();
    shares.sort_unstable_by_key(|(tenant, _)| *tenant);
    shares.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
    shares
}

/// What an epoch is told that is not the one there is.
fn fenced<T: Send + 'static>() -> StoreFuture<T> {
    Box::pin(std::future::ready(Err(StoreError::Fenced)))
}

impl Intake for Sqlite {
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>> {
        self.executor
            .write_intake(shares(&batch), move |tx| accept::accept(tx, &batch))
    }

    fn replay(&self, ask: ReplayRequest, at: Timestamp) -> StoreFuture<ReplayResult> {
        self.executor
            .write(JobClass::Work, 1, move |tx| replay::replay(tx, &ask, at))
    }

    fn cancel_deliveries(
        &self,
        tenant: TenantId,
        deliveries: Vec<DeliveryId>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<usize> {
        self.executor.write(JobClass::Bulk, 1, move |tx| {
            cancel::cancel_deliveries(tx, tenant, deliveries, &actor, at)
        })
    }

    fn run_idempotent(
        &self,
        key: IdempotencyKey,
        effect: IdempotentOperation,
        at: Timestamp,
    ) -> StoreFuture<IdempotentResult> {
        let shares = match &effect {
            IdempotentOperation::Accept { batch, .. } => Some(shares(batch)),
            IdempotentOperation::CreateWebhook { .. }
            | IdempotentOperation::SaveWebhook { .. }
            | IdempotentOperation::Replay { .. } => None,
        };
        let work = move |tx: &mut Tx<'_>| idempotency::run(tx, &key, &effect, at);
        match shares {
            Some(shares) => self.executor.write_intake(shares, work),
            None => self.executor.write(JobClass::Work, 1, work),
        }
    }

    fn stored_response(
        &self,
        key: String,
        holder: TokenHash,
    ) -> StoreFuture<Option<StoredResponse>> {
        self.executor.read(JobClass::Work, move |conn| {
            stored_responses::find(conn, &key, holder)
        })
    }

    fn store_response(&self, answer: StoredResponse, at: Timestamp) -> StoreFuture<()> {
        self.executor.write(JobClass::Work, 1, move |tx| {
            stored_responses::store(tx, &answer, at)
        })
    }
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
        self.executor.write_again(JobClass::Work, 1, move |tx| {
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
        self.executor.write_again(JobClass::Work, 1, move |tx| {
            pending::targets(tx.conn, &webhooks)
        })
    }

    fn due(&self, epoch: Epoch, lanes: Vec<DueQuery>, now: Timestamp) -> StoreFuture<Vec<DuePage>> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .write_again(JobClass::Work, 1, move |tx| due::due(tx, &lanes, now))
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
            .write_delayed(JobClass::Outcome, weight, commit_delay, move |tx| {
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
            .write(JobClass::Bulk, 1, move |tx| cancel::cancel(tx, webhook, at))
    }

    fn step_bulk_job(&self, epoch: Epoch, at: Timestamp) -> StoreFuture<bool> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .write(JobClass::Bulk, 1, move |tx| bulk_jobs::step(tx, at))
    }

    fn backlog(&self, epoch: Epoch, after: Option<BacklogCursor>) -> StoreFuture<Backlog> {
        if epoch != Epoch::FIRST {
            return fenced();
        }
        self.executor
            .read_materialized(JobClass::Bulk, move |conn, _| backlog::backlog(conn, after))
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
            .write(JobClass::Bulk, 1, move |tx| prune::prune(tx, &before, now))
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
        self.executor.write_again(JobClass::Work, 1, move |tx| {
            clock::record(tx, beat)?;
            *lock(&latest) = Some(beat);
            Ok(lease)
        })
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
        let round = executor.write_again(JobClass::Work, 1, |_| Ok(()));
        Box::pin(async move {
            round.await?;
            executor.shared().disk.judge()
        })
    }
}

impl Catalog for Sqlite {
    fn version(&self) -> u64 {
        self.executor.shared().version.load(Ordering::Acquire)
    }

    fn changes(&self) -> u64 {
        self.executor.shared().changes.load(Ordering::Acquire)
    }

    fn tenant(&self, dialect: DialectName, key: String) -> StoreFuture<Option<Tenant>> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::tenant(conn, &dialect, &key)
        })
    }

    fn tenants(&self, dialect: DialectName) -> StoreFuture<Vec<Tenant>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::tenants(conn, &dialect))
    }

    fn grants(&self, hash: TokenHash) -> StoreFuture<Vec<Grant>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::grants(conn, hash))
    }

    fn has_tokens(&self) -> StoreFuture<bool> {
        self.executor.read(JobClass::Work, catalog::has_tokens)
    }

    fn create_token(&self, token: NewToken, actor: String, at: Timestamp) -> StoreFuture<()> {
        self.executor.write(JobClass::Work, 1, move |tx| {
            catalog::create_token(tx, &token, &actor, at)
        })
    }

    fn events(&self, tenant: TenantId) -> StoreFuture<Vec<Event>> {
        self.executor
            .read(JobClass::Work, move |conn| catalog::events(conn, tenant))
    }

    fn event_page(&self, tenant: TenantId, offset: u64, limit: usize) -> StoreFuture<EventPage> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::event_page(conn, tenant, offset, limit)
        })
    }

    fn event(&self, tenant: TenantId, slug: String) -> StoreFuture<Option<Event>> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::event(conn, tenant, &slug)
        })
    }

    fn webhooks(&self, tenants: Vec<TenantId>, query: WebhookQuery) -> StoreFuture<WebhookPage> {
        self.executor.read(JobClass::Work, move |conn| {
            catalog::webhooks(conn, &tenants, query)
        })
    }

    fn webhook_by_key(&self, tenants: Vec<TenantId>, key: String) -> StoreFuture<Option<Webhook>> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_rows::find_by_key(conn, &tenants, &key)
        })
    }

    fn webhook(&self, tenant: TenantId, id: WebhookId) -> StoreFuture<Option<Webhook>> {
        self.executor.read(JobClass::Work, move |conn| {
            webhook_rows::find(conn, tenant, id)
        })
    }

    fn create_webhook(
        &self,
        webhook: NewWebhook,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Webhook> {
        self.executor.write(JobClass::Work, 1, move |tx| {
            webhooks::create(tx, webhook, &actor, at)
        })
    }

    fn save_webhook(&self, webhook: Webhook, actor: String, at: Timestamp) -> StoreFuture<Webhook> {
        self.executor.write(JobClass::Work, 1, move |tx| {
            webhooks::save(tx, webhook, &actor, at)
        })
    }

    fn log(&self, tenant: TenantId, query: LogQuery) -> StoreFuture<LogPage> {
        self.executor
            .read_materialized(JobClass::Bulk, move |conn, horizon| {
                log::log(conn, tenant, &query, horizon)
            })
    }

    fn delivery(&self, tenant: TenantId, id: DeliveryId) -> StoreFuture<Option<DeliveryDetail>> {
        self.executor
            .read_materialized(JobClass::Work, move |conn, horizon| {
                delivery_detail::delivery(conn, tenant, id, horizon)
            })
    }

    fn audit(&self, tenant: TenantId, limit: usize) -> StoreFuture<Vec<AuditEntry>> {
        self.executor.read(JobClass::Work, move |conn| {
            audit::latest(conn, tenant, limit)
        })
    }

    fn apply(
        &self,
        declarations: Vec<Declaration>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Vec<AppliedChange>> {
        let weight = declarations.len();
        self.executor.write(JobClass::Work, weight, move |tx| {
            apply::apply(tx, declarations, &actor, at)
        })
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
