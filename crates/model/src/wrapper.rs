//! Wrapper: a store in front of another one, for tests that inject faults.
//!
//! A wrapper implements the calls it changes, and names the store that answers the rest. Calls of
//! `UserStore` and `DashboardStore` pass through by themselves, because no wrapper changes them.

use crate::contract::{DashboardStore, Store, StoreFuture, UserStore};
use crate::dashboard::{
    AuditQuery, AuditRow, BoundedCount, BulkJob, BulkJobKind, MatchExplanation, NewBulkJob,
    NotificationDetail, NotificationQuery, NotificationRow, TenantQuery, TenantSettings, TokenRow,
    WebhookHealth, WebhookSearch, WebhookSearchPage,
};
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use crate::query::LogRow;
use crate::tenant::{Tenant, TokenHash};
use crate::time::Timestamp;
use crate::users::{NewUser, PasswordHash, Role, SignInFailures, User, UserChange};

/// Something that stands before a store.
pub trait StoreWrapper: Send + Sync {
    /// The store that answers what passes through.
    fn inner(&self) -> &dyn Store;
}

impl<T: StoreWrapper> UserStore for T {
    fn has_users(&self) -> StoreFuture<bool> {
        self.inner().has_users()
    }

    fn users(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<User>> {
        self.inner().users(tenant)
    }

    fn user(&self, name: String) -> StoreFuture<Option<(User, PasswordHash)>> {
        self.inner().user(name)
    }

    fn create_user(&self, user: NewUser, at: Timestamp) -> StoreFuture<User> {
        self.inner().create_user(user, at)
    }

    fn change_user(
        &self,
        user: UserId,
        change: UserChange,
        at: Timestamp,
    ) -> StoreFuture<Option<User>> {
        self.inner().change_user(user, change, at)
    }

    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool> {
        self.inner().set_role(tenant, user, role, actor, at)
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
        self.inner()
            .begin_session(session, user, verified, counted, until, at)
    }

    fn session(&self, session: TokenHash, at: Timestamp) -> StoreFuture<Option<User>> {
        self.inner().session(session, at)
    }

    fn end_session(&self, session: TokenHash) -> StoreFuture<()> {
        self.inner().end_session(session)
    }

    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> StoreFuture<()> {
        self.inner().create_link(link, user, until)
    }

    fn use_link(&self, link: TokenHash, at: Timestamp) -> StoreFuture<Option<User>> {
        self.inner().use_link(link, at)
    }

    fn failures(&self, name: TokenHash) -> StoreFuture<Option<SignInFailures>> {
        self.inner().failures(name)
    }

    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> StoreFuture<Option<SignInFailures>> {
        self.inner().try_sign_in(name, at)
    }
}

impl<T: StoreWrapper> DashboardStore for T {
    fn find_tenants(&self, query: TenantQuery) -> StoreFuture<Vec<Tenant>> {
        self.inner().find_tenants(query)
    }

    fn tenant_settings(&self, tenant: TenantId) -> StoreFuture<Option<TenantSettings>> {
        self.inner().tenant_settings(tenant)
    }

    fn set_retention(
        &self,
        tenant: TenantId,
        retention_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()> {
        self.inner().set_retention(tenant, retention_ms, actor, at)
    }

    fn find_webhooks(
        &self,
        tenant: TenantId,
        query: WebhookSearch,
    ) -> StoreFuture<WebhookSearchPage> {
        self.inner().find_webhooks(tenant, query)
    }

    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> StoreFuture<Vec<WebhookHealth>> {
        self.inner().standings(tenant, webhooks, since)
    }

    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> StoreFuture<Vec<LogRow>> {
        self.inner().log_rows(tenant, deliveries)
    }

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> StoreFuture<Vec<NotificationRow>> {
        self.inner().notifications(tenant, query)
    }

    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> StoreFuture<Option<NotificationDetail>> {
        self.inner().notification(tenant, id)
    }

    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> StoreFuture<Option<NotificationDetail>> {
        self.inner().notification_by_key(tenant, key)
    }

    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> StoreFuture<Vec<MatchExplanation>> {
        self.inner()
            .match_explanations(tenant, notification, after, limit)
    }

    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> StoreFuture<BoundedCount> {
        self.inner().count_bulk_job(tenant, webhook, what, at)
    }

    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> StoreFuture<BulkJob> {
        self.inner().start_bulk_job(bulk_job, at)
    }

    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> StoreFuture<Option<BulkJob>> {
        self.inner().bulk_job(tenant, id)
    }

    fn running_bulk_jobs(&self, tenant: TenantId, webhook: WebhookId) -> StoreFuture<Vec<BulkJob>> {
        self.inner().running_bulk_jobs(tenant, webhook)
    }

    fn tokens(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<TokenRow>> {
        self.inner().tokens(tenant)
    }

    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool> {
        self.inner().revoke_token(tenant, token, actor, at)
    }

    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> StoreFuture<()> {
        self.inner().note_uses(uses)
    }

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> StoreFuture<Vec<AuditRow>> {
        self.inner().audit_page(tenant, query)
    }
}
