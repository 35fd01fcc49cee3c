//! The contract's parts for users and the dashboard, as jobs of an executor.

use model::contract::{AlertStore, DashboardStore, StoreFuture, UserStore, WatchRecord};
use model::dashboard::{
    AuditQuery, AuditRow, BoundedCount, BulkJob, BulkJobKind, FailingCounts, FailingPage,
    FailingQuery, MatchExplanation, NewBulkJob, NotificationDetail, NotificationQuery,
    NotificationRow, StatusCounts, TenantQuery, TenantSettings, TokenRow, WebhookHealth,
    WebhookSearch, WebhookSearchPage,
};
use model::delivery_filter::DeliveryFilter;
use model::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use model::incident::{WatchQuery, Watched};
use model::query::LogRow;
use model::statistics::{AttemptTally, StatisticsQuery};
use model::tenant::{Tenant, TokenHash};
use model::time::Timestamp;
use model::users::{NewUser, PasswordHash, PortalVisitor, Role, SignInFailures, User, UserChange};

use crate::sql::contract::SqlStore;
use crate::sql::executor::{ChangeScope, Executor, shares};
use crate::sql::queue::JobClass;
use crate::sql::transaction::Transaction;
use crate::sql::{
    audit, dashboard_queries, failing, incidents, portal, sessions, statistics, users,
    webhook_health, webhook_history,
};
use crate::sql::{bulk_filter, bulk_jobs, log, notifications};

impl<E: Executor> UserStore for SqlStore<E> {
    fn has_users(&self) -> StoreFuture<bool> {
        self.executor.read(JobClass::Work, users::has_users)
    }

    fn users(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<User>> {
        self.executor
            .read(JobClass::Work, move |conn| users::users(conn, tenant))
    }

    fn users_behind(
        &self,
        tenant: Option<TenantId>,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreFuture<Vec<User>> {
        self.executor.read(JobClass::Work, move |conn| {
            users::users_behind(conn, tenant, after, limit)
        })
    }

    fn user(&self, name: String) -> StoreFuture<Option<(User, PasswordHash)>> {
        self.executor
            .read(JobClass::Work, move |conn| users::named(conn, &name))
    }

    fn create_user(&self, user: NewUser, at: Timestamp) -> StoreFuture<User> {
        self.executor
            .change(ChangeScope::All, 1, move |tx| users::create(tx, user, at))
    }

    fn change_user(
        &self,
        user: UserId,
        change: UserChange,
        _at: Timestamp,
    ) -> StoreFuture<Option<User>> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            users::change(tx, user, &change)
        })
    }

    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool> {
        self.executor
            .change(ChangeScope::Tenant(tenant), 1, move |tx| {
                users::set_role(tx, tenant, user, role, &actor, at)
            })
    }

    fn begin_session(
        &self,
        session: TokenHash,
        user: UserId,
        verified: Option<PasswordHash>,
        counted: Option<TokenHash>,
        until: Timestamp,
        at: Timestamp,
    ) -> StoreFuture<bool> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            sessions::begin(tx, session, user, (verified, counted), until, at)
        })
    }

    fn session(&self, session: TokenHash, at: Timestamp) -> StoreFuture<Option<User>> {
        self.executor.read(JobClass::Work, move |conn| {
            sessions::session(conn, session, at)
        })
    }

    fn end_session(&self, session: TokenHash) -> StoreFuture<()> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            portal::end_session(tx, session)?;
            sessions::end(tx, session)
        })
    }

    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> StoreFuture<()> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            sessions::create_link(tx, link, user, until)
        })
    }

    fn use_link(&self, link: TokenHash, at: Timestamp) -> StoreFuture<Option<User>> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            sessions::use_link(tx, link, at)
        })
    }

    fn create_portal_link(
        &self,
        link: TokenHash,
        visitor: PortalVisitor,
        until: Timestamp,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        self.executor
            .change(ChangeScope::Tenant(visitor.tenant), 1, move |tx| {
                portal::create_link(tx, link, &visitor, until, &actor, at)
            })
    }

    fn use_portal_link(
        &self,
        link: TokenHash,
        session: TokenHash,
        until: Timestamp,
        at: Timestamp,
    ) -> StoreFuture<Option<PortalVisitor>> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            portal::use_link(tx, link, session, until, at)
        })
    }

    fn portal_session(
        &self,
        session: TokenHash,
        at: Timestamp,
    ) -> StoreFuture<Option<PortalVisitor>> {
        self.executor.read(JobClass::Work, move |conn| {
            portal::session(conn, session, at)
        })
    }

    fn end_portal(&self, tenant: TenantId, actor: String, at: Timestamp) -> StoreFuture<()> {
        self.executor
            .change(ChangeScope::Tenant(tenant), 1, move |tx| {
                portal::end(tx, tenant, &actor, at)
            })
    }

    fn failures(&self, name: TokenHash) -> StoreFuture<Option<SignInFailures>> {
        self.executor
            .read(JobClass::Work, move |conn| sessions::failures(conn, name))
    }

    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> StoreFuture<Option<SignInFailures>> {
        self.executor.change(ChangeScope::All, 1, move |tx| {
            sessions::try_sign_in(tx, name, at)
        })
    }
}

impl<E: Executor> DashboardStore for SqlStore<E> {
    fn find_tenants(&self, query: TenantQuery) -> StoreFuture<Vec<Tenant>> {
        self.executor.read(JobClass::Bulk, move |conn| {
            dashboard_queries::find_tenants(conn, &query)
        })
    }

    fn statistics(&self, query: StatisticsQuery) -> StoreFuture<Vec<AttemptTally>> {
        self.executor.read(JobClass::Work, move |conn| {
            statistics::statistics(conn, &query)
        })
    }

    fn tenant_settings(&self, tenant: TenantId) -> StoreFuture<Option<TenantSettings>> {
        self.executor.read(JobClass::Work, move |conn| {
            dashboard_queries::settings(conn, tenant)
        })
    }

    fn set_retention(
        &self,
        tenant: TenantId,
        retention_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        self.executor
            .change(ChangeScope::Tenant(tenant), 1, move |tx| {
                dashboard_queries::set_retention(tx, tenant, retention_ms, &actor, at)
            })
    }

    fn find_webhooks(
        &self,
        tenant: TenantId,
        query: WebhookSearch,
    ) -> StoreFuture<WebhookSearchPage> {
        self.executor.read(JobClass::Bulk, move |conn| {
            dashboard_queries::find_webhooks(conn, tenant, &query)
        })
    }

    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> StoreFuture<Vec<WebhookHealth>> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, _| {
                webhook_health::webhook_health(conn, tenant, &webhooks, since)
            })
    }

    fn failing(&self, query: FailingQuery) -> StoreFuture<FailingPage> {
        self.executor
            .read(JobClass::Bulk, move |conn| failing::failing(conn, &query))
    }

    fn failing_counts(&self) -> StoreFuture<FailingCounts> {
        self.executor.read(JobClass::Bulk, failing::counts)
    }

    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> StoreFuture<Vec<LogRow>> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, horizon| {
                log::log_rows(conn, tenant, &deliveries, horizon)
            })
    }

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> StoreFuture<Vec<NotificationRow>> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, horizon| {
                notifications::page(conn, tenant, &query, horizon)
            })
    }

    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> StoreFuture<Option<NotificationDetail>> {
        self.executor.read(JobClass::Work, move |conn| {
            notifications::detail(conn, tenant, id)
        })
    }

    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> StoreFuture<Option<NotificationDetail>> {
        self.executor.read(JobClass::Work, move |conn| {
            notifications::detail_by_key(conn, tenant, &key)
        })
    }

    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<MatchExplanation>> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, horizon| {
                horizon.not_found(notification)?;
                webhook_history::match_explanations(conn, tenant, notification, after, limit)
            })
    }

    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> StoreFuture<BoundedCount> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, _| {
                bulk_jobs::count(conn, tenant, webhook, what, at)
            })
    }

    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> StoreFuture<BulkJob> {
        self.executor
            .change(ChangeScope::Tenant(bulk_job.tenant), 1, move |tx| {
                bulk_jobs::begin(tx, &bulk_job, at)
            })
    }

    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> StoreFuture<Option<BulkJob>> {
        self.executor.read(JobClass::Work, move |conn| {
            bulk_jobs::find(conn, tenant, id)
        })
    }

    fn count_matching(
        &self,
        tenant: TenantId,
        webhook: Option<WebhookId>,
        filter: DeliveryFilter,
        at: Timestamp,
    ) -> StoreFuture<StatusCounts> {
        self.executor
            .read_deliveries(JobClass::Bulk, move |conn, _| {
                bulk_filter::count(conn, tenant, webhook, &filter, at)
            })
    }

    fn stop_bulk_job(
        &self,
        tenant: TenantId,
        id: BulkJobId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<Option<BulkJob>> {
        self.executor
            .change(ChangeScope::Tenant(tenant), 1, move |tx| {
                bulk_jobs::stop(tx, tenant, id, &actor, at)
            })
    }

    fn running_bulk_jobs(
        &self,
        tenant: TenantId,
        webhook: Option<WebhookId>,
    ) -> StoreFuture<Vec<BulkJob>> {
        self.executor.read(JobClass::Work, move |conn| {
            bulk_jobs::running(conn, tenant, webhook)
        })
    }

    fn tokens(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<TokenRow>> {
        self.executor.read(JobClass::Work, move |conn| {
            dashboard_queries::tokens(conn, tenant)
        })
    }

    fn tokens_behind(
        &self,
        tenant: Option<TenantId>,
        after: Option<String>,
        limit: usize,
    ) -> StoreFuture<Vec<TokenRow>> {
        self.executor.read(JobClass::Work, move |conn| {
            dashboard_queries::tokens_behind(conn, tenant, after.as_deref(), limit)
        })
    }

    fn token(&self, tenant: Option<TenantId>, name: String) -> StoreFuture<Option<TokenRow>> {
        self.executor.read(JobClass::Work, move |conn| {
            dashboard_queries::token_named(conn, tenant, &name)
        })
    }

    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool> {
        self.executor.change(
            tenant.map_or(ChangeScope::All, ChangeScope::Tenant),
            1,
            move |tx| dashboard_queries::revoke_token(tx, tenant, token, &actor, at),
        )
    }

    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> StoreFuture<()> {
        let weight = uses.len();
        self.executor.change(ChangeScope::All, weight, move |tx| {
            dashboard_queries::note_uses(tx, &uses)
        })
    }

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> StoreFuture<Vec<AuditRow>> {
        self.executor.read(JobClass::Work, move |conn| {
            audit::page(conn, tenant, &query)
        })
    }
}

impl<E: Executor> AlertStore for SqlStore<E> {
    fn watched(&self, query: WatchQuery) -> StoreFuture<Watched> {
        self.executor
            .read(JobClass::Bulk, move |conn| incidents::watched(conn, &query))
    }

    fn record_incidents(&self, round: WatchRecord, at: Timestamp) -> StoreFuture<bool> {
        let shares = shares(&round.alerts);
        let work = move |tx: &mut dyn Transaction| incidents::record(tx, &round, at);
        match shares.is_empty() {
            true => self.executor.write(JobClass::Work, work),
            false => self.executor.write_intake(shares, work),
        }
    }
}
