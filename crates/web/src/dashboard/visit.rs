//! A visit: one request for a page, with who makes it and what they may do.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use model::contract::{Frontend, StoreError, StoreFuture};
use model::policy::Policy;
use model::refusal::Refusal;
use model::tenant::{Tenant, TokenHash};
use model::time::Timestamp;
use model::users::{PasswordHash, Role, User, name_hash};

use super::response::PageError;
use super::services::Services;
use super::session::{self, CSRF_FIELD, Cookies};
use crate::dialect::value::Dialect;
use crate::transport::client;
use crate::transport::query::Query;

/// What a path's segments in braces stand for.
pub(crate) type Params = Vec<(&'static str, String)>;

pub(crate) struct Visit {
    pub(crate) services: Arc<Services>,
    pub(crate) now: Timestamp,
    pub(crate) method: Method,
    /// As it was asked for, without the query.
    pub(crate) path: String,
    /// Where it was to go: a host that was vetted.
    pub(crate) host: String,
    pub(crate) query: Query,
    /// The fields of a form that was sent; none for GET.
    pub(crate) form: Query,
    pub(crate) headers: HeaderMap,
    /// The connection to the browser is encrypted.
    pub(crate) secure: bool,
    pub(super) params: Params,
    /// What is connected.
    pub(super) peer: Option<IpAddr>,
    pub(super) cookies: Cookies,
    pub(super) user: Option<User>,
    /// Of whom the path speaks, and what the user may do there.
    pub(super) place: Option<(Tenant, Role)>,
}

impl Visit {
    /// Asks the store something that is safe to repeat, as `StoreHandle::ask`.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> Result<T, Refusal> {
        self.services.store.ask(question).await
    }

    /// As `ask`, for pages that branch on the error.
    pub(crate) async fn try_ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> Result<T, StoreError> {
        self.services.store.try_ask(question).await
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// If nobody is: such pages are not shown to nobody.
    pub(crate) fn user(&self) -> Result<&User, PageError> {
        self.user.as_ref().ok_or(PageError::SignIn)
    }

    /// Under what an attempt to sign in is counted, `kept` being what is kept of the password.
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

    /// Where the visitor is, as far as anybody knows.
    pub(super) fn network(&self) -> Option<IpAddr> {
        client::network(self.peer, &self.headers, &self.services.proxies)
    }

    /// The tenant that the path names.
    ///
    /// # Errors
    /// If the path names none.
    pub(crate) fn tenant(&self) -> Result<&Tenant, PageError> {
        let place = self.place.as_ref().ok_or(PageError::NotFound)?;
        Ok(&place.0)
    }

    /// Whether whoever visits may do what this role may do at the tenant.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.place.as_ref().is_some_and(|(_, own)| *own >= role)
    }

    /// The dialect of the tenant that the path names.
    ///
    /// # Errors
    /// If this version does not know the tenant's dialect.
    pub(crate) fn dialect(&self) -> Result<Arc<Dialect>, PageError> {
        let tenant = self.tenant()?;
        let found = self.services.dialects.named(&tenant.dialect);
        found.ok_or(PageError::Refused(Refusal::Internal))
    }

    /// How deliveries of the tenant that the path names are made.
    ///
    /// # Errors
    /// As `dialect`.
    pub(crate) fn policy(&self) -> Result<&Policy, PageError> {
        let tenant = self.tenant()?;
        let found = self.services.policies.get(&tenant.dialect);
        found.ok_or(PageError::Refused(Refusal::Internal))
    }

    /// What stands in the path for the segment in braces.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The id that stands in the path for the segment in braces.
    ///
    /// # Errors
    /// If it is not one: then there is no such page.
    pub(crate) fn id(&self, name: &str) -> Result<i64, PageError> {
        let digits = self.param(name);
        let number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.then(|| digits.parse().ok()).flatten();
        number.ok_or(PageError::NotFound)
    }

    /// The name under which what is done goes into the audit log.
    pub(crate) fn actor(&self) -> String {
        let name = self.user.as_ref().map(|user| user.name.clone());
        name.unwrap_or_default()
    }

    /// What a form must carry to be taken for our own.
    pub(crate) fn csrf_token(&self) -> String {
        self.cookies.csrf_token().unwrap_or_default()
    }

    /// The same visit by nobody in particular, for saying what went wrong.
    pub(super) fn plain(&self) -> Self {
        Self {
            user: None,
            place: None,
            ..self.around()
        }
    }

    /// The same visit without its form, for saying what went wrong.
    pub(super) fn around(&self) -> Self {
        Self {
            services: Arc::clone(&self.services),
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
            place: self.place.clone(),
        }
    }

    pub(super) fn submitted_csrf_token(&self) -> &str {
        self.form.get(CSRF_FIELD).unwrap_or_default()
    }

    /// The hash under which the session is kept.
    pub(super) fn session(&self) -> Option<TokenHash> {
        self.cookies.session.as_deref().map(TokenHash::of)
    }
}
