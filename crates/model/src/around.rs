//! A store around another: whoever stands in the way of some questions (tests with faults, a
//! simulator) writes those down, and says here which store answers the rest.
//!
//! Only `People` and `Board` pass through by themselves: nobody has had to stand in their way.

use crate::board::{
    AuditQuery, AuditRow, BulkJob, BulkJobKind, Count, MatchExplanation, NewBulkJob,
    NotificationQuery, NotificationRow, NotificationStory, Standing, TenantQuery, TenantSettings,
    TokenRow, WebhookFound, WebhookSearch,
};
use crate::contract::{Board, People, Reply, Store};
use crate::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use crate::people::{Failures, NewUser, PasswordHash, Role, User, UserChange};
use crate::query::LogRow;
use crate::tenant::{Tenant, TokenHash};
use crate::time::Timestamp;

/// Something that stands before a store.
pub trait Around: Send + Sync {
    /// The store that answers what passes through.
    fn inner(&self) -> &dyn Store;
}

impl<T: Around> People for T {
    fn has_users(&self) -> Reply<bool> {
        self.inner().has_users()
    }

    fn users(&self, tenant: Option<TenantId>) -> Reply<Vec<User>> {
        self.inner().users(tenant)
    }

    fn user(&self, name: String) -> Reply<Option<(User, PasswordHash)>> {
        self.inner().user(name)
    }

    fn create_user(&self, user: NewUser, at: Timestamp) -> Reply<User> {
        self.inner().create_user(user, at)
    }

    fn change_user(&self, user: UserId, change: UserChange, at: Timestamp) -> Reply<Option<User>> {
        self.inner().change_user(user, change, at)
    }

    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
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
    ) -> Reply<bool> {
        self.inner()
            .begin_session(session, user, verified, counted, until, at)
    }

    fn session(&self, session: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.inner().session(session, at)
    }

    fn end_session(&self, session: TokenHash) -> Reply<()> {
        self.inner().end_session(session)
    }

    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> Reply<()> {
        self.inner().create_link(link, user, until)
    }

    fn use_link(&self, link: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.inner().use_link(link, at)
    }

    fn failures(&self, name: TokenHash) -> Reply<Option<Failures>> {
        self.inner().failures(name)
    }

    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> Reply<Option<Failures>> {
        self.inner().try_sign_in(name, at)
    }
}

impl<T: Around> Board for T {
    fn find_tenants(&self, query: TenantQuery) -> Reply<Vec<Tenant>> {
        self.inner().find_tenants(query)
    }

    fn tenant_settings(&self, tenant: TenantId) -> Reply<Option<TenantSettings>> {
        self.inner().tenant_settings(tenant)
    }

    fn set_kept(
        &self,
        tenant: TenantId,
        kept_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> Reply<()> {
        self.inner().set_kept(tenant, kept_ms, actor, at)
    }

    fn find_webhooks(&self, tenant: TenantId, query: WebhookSearch) -> Reply<WebhookFound> {
        self.inner().find_webhooks(tenant, query)
    }

    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> Reply<Vec<Standing>> {
        self.inner().standings(tenant, webhooks, since)
    }

    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> Reply<Vec<LogRow>> {
        self.inner().log_rows(tenant, deliveries)
    }

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> Reply<Vec<NotificationRow>> {
        self.inner().notifications(tenant, query)
    }

    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> Reply<Option<NotificationStory>> {
        self.inner().notification(tenant, id)
    }

    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> Reply<Option<NotificationStory>> {
        self.inner().notification_by_key(tenant, key)
    }

    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Reply<Vec<MatchExplanation>> {
        self.inner()
            .match_explanations(tenant, notification, after, limit)
    }

    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> Reply<Count> {
        self.inner().count_bulk_job(tenant, webhook, what, at)
    }

    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> Reply<BulkJob> {
        self.inner().start_bulk_job(bulk_job, at)
    }

    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> Reply<Option<BulkJob>> {
        self.inner().bulk_job(tenant, id)
    }

    fn running_bulk_jobs(&self, tenant: TenantId, webhook: WebhookId) -> Reply<Vec<BulkJob>> {
        self.inner().running_bulk_jobs(tenant, webhook)
    }

    fn tokens(&self, tenant: Option<TenantId>) -> Reply<Vec<TokenRow>> {
        self.inner().tokens(tenant)
    }

    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
        self.inner().revoke_token(tenant, token, actor, at)
    }

    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> Reply<()> {
        self.inner().note_uses(uses)
    }

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> Reply<Vec<AuditRow>> {
        self.inner().audit_page(tenant, query)
    }
}
