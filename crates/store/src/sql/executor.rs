//! What the contract asks of an engine: to run questions and changes, each in a transaction.

use std::sync::Arc;

use model::contract::StoreFuture;
use model::id::TenantId;
use model::notification::{AcceptResult, NewNotification};

use crate::sql::Connection;
use crate::sql::job_error::JobError;
use crate::sql::queue::JobClass;
use crate::sql::read_horizon::ReadHorizon;
use crate::sql::transaction::Transaction;

/// What a change of the catalog is about: it takes turns with every other that is about the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeScope {
    Tenant(TenantId),
    /// Several tenants, or what belongs to none.
    All,
}

/// Runs jobs. Their work goes on even if nobody waits for the answer; what does not fit into a
/// queue is `Busy` at once.
pub(crate) trait Executor: Send + Sync + 'static {
    /// Takes in notifications.
    fn accept(&self, batch: Vec<NewNotification>) -> StoreFuture<Vec<AcceptResult>>;

    /// Changes the catalog. `weight` is about how many rows it writes.
    fn change<T, F>(&self, scope: ChangeScope, weight: usize, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static;

    /// Changes deliveries, or what nobody else changes.
    fn write<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static;

    /// The same for work that takes in notifications; `shares` has each tenant once, with its part
    /// of the weight. `Busy` at once if one of them has to wait.
    fn write_intake<T, F>(&self, shares: Vec<(TenantId, usize)>, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Transaction) -> Result<T, JobError> + Send + 'static;

    /// Answers a question. It sees everything that was answered before.
    fn read<T, F>(&self, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(Connection<'_>) -> Result<T, JobError> + Send + 'static;

    /// The same for a question that shows deliveries. `work` is told which of them it sees.
    fn read_deliveries<T, F>(self: &Arc<Self>, class: JobClass, work: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(Connection<'_>, ReadHorizon) -> Result<T, JobError> + Send + 'static;

    /// Grows with every change of the catalog.
    fn version(&self) -> u64;

    /// Moves whenever something may have been written.
    fn changes(&self) -> u64;
}

/// The weight of a notification or settlement in a queue. Large ones weigh more, so that a full
/// queue holds 80 MiB of bodies at most.
pub(crate) fn weight(body_bytes: usize) -> usize {
    1 + body_bytes / 8_192
}

/// The weight of a batch, by tenant.
pub(crate) fn shares(batch: &[NewNotification]) -> Vec<(TenantId, usize)> {
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
