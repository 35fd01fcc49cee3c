//! A visit: one request for a page, with the user who makes it and their rights.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use model::contract::{Frontend, StoreError, StoreFuture};
use model::id::TenantId;
use model::policy::Policy;
use model::refusal::Refusal;
use model::tenant::{Tenant, TokenHash};
use model::time::Timestamp;
use model::users::{PasswordHash, Role, User, name_hash};

use super::page_context::PageContext;
use super::response::PageError;
use super::session::{self, CSRF_FIELD, Cookies};
use crate::dialect::value::Dialect;
use crate::transport::client;
use crate::transport::query::Query;

/// The values of a path's segments in braces.
pub(crate) type Params = Vec<(&'static str, String)>;

pub(crate) struct Visit {
    pub(crate) context: Arc<PageContext>,
    pub(crate) now: Timestamp,
    pub(crate) method: Method,
    /// The path as requested, without the query.
    pub(crate) path: String,
    /// The host of the request, vetted.
    pub(crate) host: String,
    pub(crate) query: Query,
    /// The fields of a form that was sent; none for GET.
    pub(crate) form: Query,
    pub(crate) headers: HeaderMap,
    /// Whether the connection to the browser is encrypted.
    pub(crate) secure: bool,
    pub(super) params: Params,
    /// The address of the connection.
    pub(super) peer: Option<IpAddr>,
    pub(super) cookies: Cookies,
    pub(super) user: Option<User>,
    /// The tenant that the path names, and the user's role there.
    pub(super) tenant_role: Option<(Tenant, Role)>,
    /// The tenant whose roles count there, if it is another one: that which its alerts are about.
    pub(super) watched: Option<Tenant>,
}

impl Visit {
    /// Asks the store something that is safe to repeat, as `StoreHandle::ask`.
    pub(crate) fn ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> impl Future<Output = Result<T, Refusal>> {
        self.context.store.ask(question)
    }

    /// As `ask`, for pages that branch on the error.
    pub(crate) fn try_ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.context.store.try_ask(question)
    }

    /// The signed-in user.
    ///
    /// # Errors
    /// If nobody is signed in.
    pub(crate) fn user(&self) -> Result<&User, PageError> {
        self.user.as_ref().ok_or(PageError::SignIn)
    }

    /// The key under which an attempt to sign in is counted; `kept` is the stored hash of the
    /// password.
    pub(super) fn counted_as(&self, name: &str, kept: &PasswordHash) -> TokenHash {
        let device = self.cookies.device.as_deref();
        let from = match device.filter(|given| session::is_device(given, name, kept)) {
            Some(device) => format!("device {device}"),
            None => {
                let network = self.network();
                network.map_or_else(String::new, |network| network.to_string())
            }
        };
        name_hash(name, &from)
    }

    /// The visitor's network, if it is known.
    pub(super) fn network(&self) -> Option<IpAddr> {
        client::network(self.peer, &self.headers, &self.context.proxies)
    }

    /// The visitor's address, if it is known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let address = client::address(self.peer, &self.headers, &self.context.proxies)?;
        // It stands for a socket.
        (!address.is_unspecified()).then_some(address)
    }

    /// The tenant that the path names.
    ///
    /// # Errors
    /// If the path names none.
    pub(crate) fn tenant(&self) -> Result<&Tenant, PageError> {
        let tenant_role = self.tenant_role.as_ref().ok_or(PageError::NotFound)?;
        Ok(&tenant_role.0)
    }

    /// Whose roles count at the tenant that the path names; `None`: the server's own.
    ///
    /// # Errors
    /// As `dialect`.
    pub(super) fn governed_by(&self) -> Result<Option<TenantId>, PageError> {
        match self.dialect()?.alerts {
            Some(_) => Ok(self.watched.as_ref().map(|watched| watched.id)),
            None => Ok(Some(self.tenant()?.id)),
        }
    }

    /// Fails at a tenant to which no program and no person of its own is let in.
    ///
    /// # Errors
    /// If the path names such a one.
    pub(super) fn not_of_alerts(&self) -> Result<(), PageError> {
        match self.dialect()?.alerts {
            Some(_) => Err(PageError::NotFound),
            None => Ok(()),
        }
    }

    /// Whether the user has this role at the tenant, or a greater one.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.tenant_role
            .as_ref()
            .is_some_and(|(_, own)| *own >= role)
    }

    /// The dialect of the tenant that the path names.
    ///
    /// # Errors
    /// If this version does not know the tenant's dialect.
    pub(crate) fn dialect(&self) -> Result<Arc<Dialect>, PageError> {
        let tenant = self.tenant()?;
        let found = self.context.dialects.named(&tenant.dialect);
        found.ok_or(PageError::Refused(Refusal::Internal))
    }

    /// The policy of the tenant that the path names.
    ///
    /// # Errors
    /// As `dialect`.
    pub(crate) fn policy(&self) -> Result<&Policy, PageError> {
        let tenant = self.tenant()?;
        let found = self.context.policies.get(&tenant.dialect);
        found.ok_or(PageError::Refused(Refusal::Internal))
    }

    /// The value of a segment in braces.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The id in a segment in braces.
    ///
    /// # Errors
    /// If it is not one: then there is no such page.
    pub(crate) fn id(&self, name: &str) -> Result<i64, PageError> {
        let digits = self.param(name);
        let number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.then(|| digits.parse().ok()).flatten();
        number.ok_or(PageError::NotFound)
    }

    /// The user's name, for the audit log.
    pub(crate) fn actor(&self) -> String {
        let name = self.user.as_ref().map(|user| user.name.clone());
        name.unwrap_or_default()
    }

    /// The CSRF token for forms on this page.
    pub(crate) fn csrf_token(&self) -> String {
        self.cookies.csrf_token().unwrap_or_default()
    }

    /// The same visit without its user, for error pages.
    pub(super) fn without_user(&self) -> Self {
        Self {
            user: None,
            tenant_role: None,
            watched: None,
            ..self.without_form()
        }
    }

    /// The same visit without its form, for error pages.
    pub(super) fn without_form(&self) -> Self {
        Self {
            context: Arc::clone(&self.context),
            now: self.now,
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            query: self.query.clone(),
            form: Query::default(),
            headers: self.headers.clone(),
            secure: self.secure,
            params: self.params.clone(),
            peer: self.peer,
            cookies: self.cookies.clone(),
            user: self.user.clone(),
            tenant_role: self.tenant_role.clone(),
            watched: self.watched.clone(),
        }
    }

    pub(super) fn submitted_csrf_token(&self) -> &str {
        self.form.get(CSRF_FIELD).unwrap_or_default()
    }

    /// The hash under which the session is stored.
    pub(super) fn session(&self) -> Option<TokenHash> {
        self.cookies.session.as_deref().map(TokenHash::of)
    }
}
