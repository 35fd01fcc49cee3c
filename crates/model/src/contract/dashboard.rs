//! Dashboard: what its pages ask beside the catalog.

use crate::contract::StoreFuture;
use crate::dashboard::{
    AuditQuery, AuditRow, BoundedCount, BulkJob, BulkJobKind, FailingCounts, FailingPage,
    FailingQuery, MatchExplanation, NewBulkJob, NotificationDetail, NotificationQuery,
    NotificationRow, StatusCounts, TenantQuery, TenantSettings, TokenRow, WebhookHealth,
    WebhookSearch, WebhookSearchPage,
};
use crate::delivery_filter::DeliveryFilter;
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, WebhookId};
use crate::query::LogRow;
use crate::statistics::{AttemptTally, StatisticsQuery};
use crate::tenant::{Tenant, TokenHash};
use crate::time::Timestamp;

/// What the dashboard asks beside the catalog, for any node. Every list is a page.
pub trait DashboardStore: Send + Sync {
    /// Tenants by name, those that the query is about.
    ///
    /// Errors: those of a read.
    fn find_tenants(&self, query: TenantQuery) -> StoreFuture<Vec<Tenant>>;

    /// A tenant with what was set for it.
    ///
    /// Errors: those of a read.
    fn tenant_settings(&self, tenant: TenantId) -> StoreFuture<Option<TenantSettings>>;

    /// How long ended deliveries of the tenant stay; `None`: as the operator set it. Writes an
    /// audit entry.
    ///
    /// Errors: those of a change.
    fn set_retention(
        &self,
        tenant: TenantId,
        retention_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// Webhooks of the tenant, newest first. Looks at `limits::SCANNED_ROWS_MAX` at most.
    ///
    /// Errors: those of a read.
    fn find_webhooks(
        &self,
        tenant: TenantId,
        query: WebhookSearch,
    ) -> StoreFuture<WebhookSearchPage>;

    /// How these webhooks of the tenant fared, with the tallies from the hour of `since` on.
    ///
    /// Errors: those of a read.
    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> StoreFuture<Vec<WebhookHealth>>;

    /// Webhooks that fail, of all tenants or of some. Looks at `limits::FAILING_SCANNED_MAX` at
    /// most, so that a page may have none and still say where to go on.
    ///
    /// Errors: those of a read.
    fn failing(&self, query: FailingQuery) -> StoreFuture<FailingPage>;

    /// How many webhooks fail, by tenant. Looks at `limits::FAILING_SCANNED_MAX` at most.
    ///
    /// Errors: those of a read.
    fn failing_counts(&self) -> StoreFuture<FailingCounts>;

    /// Those of these deliveries that are the tenant's, as lines of the log.
    ///
    /// Errors: those of a read.
    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> StoreFuture<Vec<LogRow>>;

    /// Notifications of the tenant, newest first.
    ///
    /// Errors: those of a read.
    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> StoreFuture<Vec<NotificationRow>>;

    /// All there is of one notification.
    ///
    /// Errors: those of a read.
    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> StoreFuture<Option<NotificationDetail>>;

    /// By the application's name for it.
    ///
    /// Errors: those of a read.
    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> StoreFuture<Option<NotificationDetail>>;

    /// The tenant's webhooks as they stood to a notification, by id, those above `after`;
    /// deleted ones only if it was delivered to them, or they were there and were deleted later.
    ///
    /// Errors: those of a read.
    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<MatchExplanation>>;

    /// How many deliveries a bulk job begun now would be about.
    ///
    /// Errors: those of a read.
    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> StoreFuture<BoundedCount>;

    /// How many deliveries of a webhook, or of all that are enabled, a filter means; of no other
    /// statuses than `DeliveryFilter::REPLAYED`. Of each status `limits::COUNTED_MAX` at most are
    /// counted, and `limits::SCANNED_ROWS_MAX` rows looked at.
    ///
    /// Errors: those of a read.
    fn count_matching(
        &self,
        tenant: TenantId,
        webhook: Option<WebhookId>,
        filter: DeliveryFilter,
        at: Timestamp,
    ) -> StoreFuture<StatusCounts>;

    /// Writes the bulk job down, and an audit entry; one of the kind, and with the same filter if
    /// it has any, that is still running for the webhook is answered instead of a second.
    ///
    /// Errors: those of a change; `Stale` if the tenant has no such webhook; `Busy` if
    /// `limits::BULK_JOBS_RUNNING_MAX` of the tenant run.
    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> StoreFuture<BulkJob>;

    /// A bulk job of the tenant, running or ended.
    ///
    /// Errors: those of a read.
    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> StoreFuture<Option<BulkJob>>;

    /// Ends a bulk job before its time, with an audit entry, and answers it; one that has ended
    /// stays as it is. What it has done stays done.
    ///
    /// Errors: those of a change.
    fn stop_bulk_job(
        &self,
        tenant: TenantId,
        id: BulkJobId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Option<BulkJob>>;

    /// Those that have not ended, by id: of a webhook, or with `None` all of the tenant.
    ///
    /// Errors: those of a read.
    fn running_bulk_jobs(
        &self,
        tenant: TenantId,
        webhook: Option<WebhookId>,
    ) -> StoreFuture<Vec<BulkJob>>;

    /// A tenant's tokens, or with `None` the administrators'; by name.
    ///
    /// Errors: those of a read.
    fn tokens(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<TokenRow>>;

    /// The same, at most `limit`, behind `after`: the name of the last of the page before.
    ///
    /// Errors: those of a read.
    fn tokens_behind(
        &self,
        tenant: Option<TenantId>,
        after: Option<String>,
        limit: usize,
    ) -> StoreFuture<Vec<TokenRow>>;

    /// The token of this name.
    ///
    /// Errors: those of a read.
    fn token(&self, tenant: Option<TenantId>, name: String) -> StoreFuture<Option<TokenRow>>;

    /// Switches a token off for good. Writes an audit entry if it is a tenant's. Answers whether
    /// there is such a token.
    ///
    /// Errors: those of a change.
    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool>;

    /// Notes that tokens were used. May be late and may be lost: it is for people to look at.
    ///
    /// Errors: those of a change.
    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> StoreFuture<()>;

    /// The audit log, newest first.
    ///
    /// Errors: those of a read.
    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> StoreFuture<Vec<AuditRow>>;

    /// Attempts of a webhook of the tenant, or of all of its webhooks, one tally for each step. A
    /// webhook that the tenant has not has none.
    ///
    /// Errors: those of a read.
    fn statistics(&self, query: StatisticsQuery) -> StoreFuture<Vec<AttemptTally>>;
}
