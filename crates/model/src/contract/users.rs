//! Users: who signs in, and their roles.

use crate::contract::StoreFuture;
use crate::id::{TenantId, UserId};
use crate::tenant::TokenHash;
use crate::time::Timestamp;
use crate::users::{NewUser, PasswordHash, PortalVisitor, Role, SignInFailures, User, UserChange};

/// Who signs in, for any node. Secrets come and go as hashes only.
pub trait UserStore: Send + Sync {
    /// Whether there is any user.
    ///
    /// Errors: those of a read.
    fn has_users(&self) -> StoreFuture<bool>;

    /// Those with a role at this tenant, or all there are; by name.
    ///
    /// Errors: those of a read.
    fn users(&self, tenant: Option<TenantId>) -> StoreFuture<Vec<User>>;

    /// Users by id, at most `limit`, behind `after`: the last of the page before. With a tenant
    /// those with a role there, and no other role; else all there are, without their roles.
    ///
    /// Errors: those of a read.
    fn users_behind(
        &self,
        tenant: Option<TenantId>,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreFuture<Vec<User>>;

    /// By the name they sign in with, whatever the case of ASCII letters.
    ///
    /// Errors: those of a read.
    fn user(&self, name: String) -> StoreFuture<Option<(User, PasswordHash)>>;

    /// Adds a user.
    ///
    /// Errors: those of a change; `Conflict(UserName)`. Not safe to repeat: a repetition is a
    /// conflict with the first.
    fn create_user(&self, user: NewUser, at: Timestamp) -> StoreFuture<User>;

    /// `None` if there is no such user.
    ///
    /// Errors: those of a change.
    fn change_user(
        &self,
        user: UserId,
        change: UserChange,
        at: Timestamp,
    ) -> StoreFuture<Option<User>>;

    /// Gives a role, another role, or with `None` none. Writes an audit entry of the tenant.
    /// Answers whether there is such a user.
    ///
    /// Errors: those of a change.
    fn set_role(
        &self,
        tenant: TenantId,
        user: UserId,
        role: Option<Role>,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<bool>;

    /// Begins a session under the hash of its secret; forgets the failures that were `counted` so,
    /// by `users::name_hash`. Answers whether it began: not for a user who may not sign
    /// in, nor if `verified`, the hash of the password that was typed, is not theirs any more.
    ///
    /// Errors: those of a change.
    fn begin_session(
        &self,
        session: TokenHash,
        user: UserId,
        verified: Option<PasswordHash>,
        counted: Option<TokenHash>,
        until: Timestamp,
        at: Timestamp,
    ) -> StoreFuture<bool>;

    /// Whose session this is, unless it has ended or its user may not sign in.
    ///
    /// Errors: those of a read.
    fn session(&self, session: TokenHash, at: Timestamp) -> StoreFuture<Option<User>>;

    /// Ends a session, a user's or one that a portal link began, if there is one.
    ///
    /// Errors: those of a change.
    fn end_session(&self, session: TokenHash) -> StoreFuture<()>;

    /// A link that signs a user in once, until then.
    ///
    /// Errors: those of a change.
    fn create_link(&self, link: TokenHash, user: UserId, until: Timestamp) -> StoreFuture<()>;

    /// Uses the link up; answers whose it was if it still held.
    ///
    /// Errors: those of a change. Not safe to repeat: a repetition finds the link used up.
    fn use_link(&self, link: TokenHash, at: Timestamp) -> StoreFuture<Option<User>>;

    /// A link that lets its visitor in once, until then. Writes an audit entry of the tenant.
    ///
    /// Errors: those of a change.
    fn create_portal_link(
        &self,
        link: TokenHash,
        visitor: PortalVisitor,
        until: Timestamp,
        actor: String,
        at: Timestamp,
    ) -> StoreFuture<()>;

    /// Uses the link up; if it still held, begins a session until then, writes an audit entry of
    /// the tenant, and answers who came in. `at` and `until` as a session has them.
    ///
    /// Errors: those of a change. A repetition with the same session finds it begun.
    fn use_portal_link(
        &self,
        link: TokenHash,
        session: TokenHash,
        until: Timestamp,
        at: Timestamp,
    ) -> StoreFuture<Option<PortalVisitor>>;

    /// Whom a portal link let in with this session, unless it has ended.
    ///
    /// Errors: those of a read.
    fn portal_session(
        &self,
        session: TokenHash,
        at: Timestamp,
    ) -> StoreFuture<Option<PortalVisitor>>;

    /// Ends all portal links of a tenant and all sessions that they began. Writes an audit entry
    /// if there was any.
    ///
    /// Errors: those of a change.
    fn end_portal(&self, tenant: TenantId, actor: String, at: Timestamp) -> StoreFuture<()>;

    /// How often signing in failed for what `users::name_hash` made of a name; whether or not
    /// there is such a user.
    ///
    /// Errors: those of a read.
    fn failures(&self, name: TokenHash) -> StoreFuture<Option<SignInFailures>>;

    /// Counts an attempt as a failure before it is judged, so that of many at once no more are
    /// judged than of many in a row; a session that begins forgets it. Answers the failures if it
    /// is too early for another attempt: then nothing is counted. Counts a day old are forgotten,
    /// and the oldest if there are too many.
    ///
    /// Errors: those of a change. A repetition counts once more.
    fn try_sign_in(&self, name: TokenHash, at: Timestamp) -> StoreFuture<Option<SignInFailures>>;
}
