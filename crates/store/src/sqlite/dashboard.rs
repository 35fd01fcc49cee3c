//! The contract's halves for people, by handing closures to the desk, as `mod.rs` does.

use model::board::{
    AuditQuery, AuditRow, BulkJob, BulkJobKind, Count, MatchExplanation, NewBulkJob,
    NotificationQuery, NotificationRow, NotificationStory, Standing, TenantQuery, TenantSettings,
    TokenRow, WebhookFound, WebhookSearch,
};
use model::contract::{Board, People, Reply};
use model::id::{BulkJobId, DeliveryId, NotificationId, TenantId, TokenId, UserId, WebhookId};
use model::people::{Failures, NewUser, PasswordHash, Role, User, UserChange};
use model::query::LogRow;
use model::tenant::{Tenant, TokenHash};
use model::time::Timestamp;

use crate::sqlite::queue::Class;
use crate::sqlite::{
    Sqlite, audit, board, bulk_jobs, log, notifications, people, sessions, standings,
    webhook_history,
};

impl People for Sqlite {
    fn has_users(&self) -> Reply<bool> {
        self.desk.read(Class::Work, people::has_users)
    }

    fn users(&self, tenant: Option<TenantId>) -> Reply<Vec<User>> {
        self.desk
            .read(Class::Work, move |conn| people::users(conn, tenant))
    }

    fn user(&self, name: String) -> Reply<Option<(User, PasswordHash)>> {
        self.desk
            .read(Class::Work, move |conn| people::named(conn, &name))
    }

    fn create_user(&self, user: NewUser, at: Timestamp) -> Reply<User> {
        self.desk
            .write(Class::Work, 1, move |tx| people::create(tx, user, at))
    }

    fn change_user(&self, user: UserId, change: UserChange, _at: Timestamp) -> Reply<Option<User>> {
        self.desk
            .write(Class::Work, 1, move |tx| people::change(tx, user, &change))
    }

    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
        self.desk.write(Class::Work, 1, move |tx| {
            people::set_role(tx, tenant, user, role, &actor, at)
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
    ) -> Reply<bool> {
        self.desk.write(Class::Work, 1, move |tx| {
            sessions::begin(tx, session, user, (verified, counted), until, at)
        })
    }

    fn session(&self, session: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.desk.read(Class::Work, move |conn| {
            sessions::session(conn, session, at)
        })
    }

    fn end_session(&self, session: TokenHash) -> Reply<()> {
        self.desk
            .write(Class::Work, 1, move |tx| sessions::end(tx, session))
    }

    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> Reply<()> {
        self.desk.write(Class::Work, 1, move |tx| {
            sessions::create_link(tx, link, user, until)
        })
    }

    fn use_link(&self, link: TokenHash, at: Timestamp) -> Reply<Option<User>> {
        self.desk
            .write(Class::Work, 1, move |tx| sessions::use_link(tx, link, at))
    }

    fn failures(&self, name: TokenHash) -> Reply<Option<Failures>> {
        self.desk
            .read(Class::Work, move |conn| sessions::failures(conn, name))
    }

    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> Reply<Option<Failures>> {
        self.desk.write(Class::Work, 1, move |tx| {
            sessions::try_sign_in(tx, name, at)
        })
    }
}

impl Board for Sqlite {
    fn find_tenants(&self, query: TenantQuery) -> Reply<Vec<Tenant>> {
        self.desk
            .read(Class::Sweep, move |conn| board::find_tenants(conn, &query))
    }

    fn tenant_settings(&self, tenant: TenantId) -> Reply<Option<TenantSettings>> {
        self.desk
            .read(Class::Work, move |conn| board::settings(conn, tenant))
    }

    fn set_kept(
        &self,
        tenant: TenantId,
        kept_ms: Option<i64>,
        actor: String,
        at: Timestamp,
    ) -> Reply<()> {
        self.desk.write(Class::Work, 1, move |tx| {
            board::set_kept(tx, tenant, kept_ms, &actor, at)
        })
    }

    fn find_webhooks(&self, tenant: TenantId, query: WebhookSearch) -> Reply<WebhookFound> {
        self.desk.read(Class::Sweep, move |conn| {
            board::find_webhooks(conn, tenant, &query)
        })
    }

    fn standings(
        &self,
        tenant: TenantId,
        webhooks: Vec<WebhookId>,
        since: Timestamp,
    ) -> Reply<Vec<Standing>> {
        self.desk.read_listed(Class::Sweep, move |conn, _| {
            standings::standings(conn, tenant, &webhooks, since)
        })
    }

    fn log_rows(&self, tenant: TenantId, deliveries: Vec<DeliveryId>) -> Reply<Vec<LogRow>> {
        self.desk.read_listed(Class::Sweep, move |conn, listed| {
            log::log_rows(conn, tenant, &deliveries, listed)
        })
    }

    fn notifications(
        &self,
        tenant: TenantId,
        query: NotificationQuery,
    ) -> Reply<Vec<NotificationRow>> {
        self.desk.read_listed(Class::Sweep, move |conn, listed| {
            notifications::page(conn, tenant, &query, listed)
        })
    }

    fn notification(
        &self,
        tenant: TenantId,
        id: NotificationId,
    ) -> Reply<Option<NotificationStory>> {
        self.desk.read(Class::Work, move |conn| {
            notifications::story(conn, tenant, id)
        })
    }

    fn notification_by_key(
        &self,
        tenant: TenantId,
        key: String,
    ) -> Reply<Option<NotificationStory>> {
        self.desk.read(Class::Work, move |conn| {
            notifications::story_by_key(conn, tenant, &key)
        })
    }

    fn match_explanations(
        &self,
        tenant: TenantId,
        notification: NotificationId,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Reply<Vec<MatchExplanation>> {
        self.desk.read_listed(Class::Sweep, move |conn, listed| {
            listed.not_found(notification)?;
            webhook_history::match_explanations(conn, tenant, notification, after, limit)
        })
    }

    fn count_bulk_job(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        what: BulkJobKind,
        at: Timestamp,
    ) -> Reply<Count> {
        self.desk.read_listed(Class::Sweep, move |conn, _| {
            bulk_jobs::count(conn, tenant, webhook, what, at)
        })
    }

    fn start_bulk_job(&self, bulk_job: NewBulkJob, at: Timestamp) -> Reply<BulkJob> {
        self.desk.write(Class::Work, 1, move |tx| {
            bulk_jobs::begin(tx, &bulk_job, at)
        })
    }

    fn bulk_job(&self, tenant: TenantId, id: BulkJobId) -> Reply<Option<BulkJob>> {
        self.desk
            .read(Class::Work, move |conn| bulk_jobs::find(conn, tenant, id))
    }

    fn running_bulk_jobs(&self, tenant: TenantId, webhook: WebhookId) -> Reply<Vec<BulkJob>> {
        self.desk.read(Class::Work, move |conn| {
            bulk_jobs::running(conn, tenant, webhook)
        })
    }

    fn tokens(&self, tenant: Option<TenantId>) -> Reply<Vec<TokenRow>> {
        self.desk
            .read(Class::Work, move |conn| board::tokens(conn, tenant))
    }

    fn revoke_token(
        &self,
        tenant: Option<TenantId>,
        token: TokenId,
        actor: String,
        at: Timestamp,
    ) -> Reply<bool> {
        self.desk.write(Class::Work, 1, move |tx| {
            board::revoke_token(tx, tenant, token, &actor, at)
        })
    }

    fn note_uses(&self, uses: Vec<(TokenHash, Timestamp)>) -> Reply<()> {
        let weight = uses.len();
        self.desk
            .write(Class::Work, weight, move |tx| board::note_uses(tx, &uses))
    }

    fn audit_page(&self, tenant: TenantId, query: AuditQuery) -> Reply<Vec<AuditRow>> {
        self.desk
            .read(Class::Work, move |conn| audit::page(conn, tenant, &query))
    }
}
