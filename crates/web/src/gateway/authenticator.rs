//! Authentication: from the token of a request to the grants that the store has for it.
//!
//! Grants and tenants are cached for one version of the catalog. A token is looked up by its hash,
//! so the time it takes tells nothing about tokens. Unknown tokens are not cached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use model::id::TenantId;
use model::refusal::{AuthFailure, Refusal};
use model::tenant::{DialectName, Grant, Permission, Tenant, TokenHash, TokenKind};
use model::time::Clock;

use super::auth::{AuthScheme, RequiredAccess, credentials};
use super::store::StoreHandle;
use super::token_usage::{self, TokenUsage};
use crate::sync::lock;

/// The most tokens, and tenants of each dialect, that are cached.
const KEPT_MAX: usize = 10_000;

/// Authenticates requests, with a cache of what the store answered.
pub(super) struct Authenticator {
    store: StoreHandle,
    clock: Clock,
    cache: AuthCache,
    token_usage: Arc<TokenUsage>,
}

/// The holder of a token that is known and active.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) hash: TokenHash,
    grants: Arc<[Grant]>,
}

#[derive(Default)]
struct AuthCache(Mutex<CacheContents>);

#[derive(Default)]
struct CacheContents {
    version: u64,
    grants: BTreeMap<TokenHash, Arc<[Grant]>>,
    tenants: BTreeMap<DialectName, BTreeMap<String, Arc<Tenant>>>,
}

impl Authenticator {
    pub(super) fn new(store: StoreHandle, clock: Clock) -> Self {
        Self {
            store,
            clock,
            cache: AuthCache::default(),
            token_usage: Arc::default(),
        }
    }

    /// The caller of a request, by its token.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        schemes: &[AuthScheme],
    ) -> Result<Caller, Refusal> {
        let (scheme, token) = credentials(headers, schemes).map_err(Refusal::Unauthenticated)?;
        let hash = TokenHash::of(&token);
        let grants = self.grants(hash).await?;
        let kind = if scheme == AuthScheme::Device {
            TokenKind::Device
        } else {
            TokenKind::Program
        };
        let mut of_kind = grants.iter().filter(|grant| grant.kind == kind).peekable();
        let why = if of_kind.peek().is_none() {
            match scheme {
                AuthScheme::Bearer => AuthFailure::Missing,
                AuthScheme::Token | AuthScheme::Device | AuthScheme::Basic => AuthFailure::Unknown,
            }
        } else if of_kind.any(|grant| grant.active) {
            token_usage::note(&self.token_usage, &self.store, hash, self.clock.now());
            return Ok(Caller { hash, grants });
        } else if kind == TokenKind::Device {
            AuthFailure::Revoked
        } else {
            AuthFailure::Inactive
        };
        Err(Refusal::Unauthenticated(why))
    }

    async fn grants(&self, hash: TokenHash) -> Result<Arc<[Grant]>, Refusal> {
        let version = self.store.get().version();
        if let Some(grants) = self
            .cache
            .at(version, |kept| kept.grants.get(&hash).cloned())
        {
            return Ok(grants);
        }
        let grants: Arc<[Grant]> = self.store.ask(|store| store.grants(hash)).await?.into();
        if !grants.is_empty() {
            self.cache.at(version, |kept| {
                make_room(&mut kept.grants);
                kept.grants.insert(hash, Arc::clone(&grants))
            });
        }
        Ok(grants)
    }

    /// The tenant that `dialect` calls `key`.
    pub(super) async fn tenant(
        &self,
        dialect: &DialectName,
        key: &str,
    ) -> Result<Option<Arc<Tenant>>, Refusal> {
        let version = self.store.get().version();
        let found = self
            .cache
            .at(version, |kept| kept.tenants.get(dialect)?.get(key).cloned());
        if let Some(tenant) = found {
            return Ok(Some(tenant));
        }
        let ask = || {
            self.store
                .ask(|store| store.tenant(dialect.clone(), key.to_owned()))
        };
        let tenant = ask().await?.map(Arc::new);
        if let Some(tenant) = &tenant {
            self.cache.at(version, |kept| {
                let own = kept.tenants.entry(dialect.clone()).or_default();
                make_room(own);
                own.insert(key.to_owned(), Arc::clone(tenant))
            });
        }
        Ok(tenant)
    }

    /// The tenants of `dialect` that `caller` is listed for; all of them for an administrator.
    pub(super) async fn tenants_of(
        &self,
        dialect: &DialectName,
        caller: &Caller,
    ) -> Result<Vec<Arc<Tenant>>, Refusal> {
        if caller.programs().any(|grant| grant.tenant.is_none()) {
            let all = self
                .store
                .ask(|store| store.tenants(dialect.clone()))
                .await?;
            return Ok(all.into_iter().map(Arc::new).collect());
        }
        let own = caller.programs().filter_map(|grant| grant.tenant.as_ref());
        let own = own.filter(|own| own.dialect == *dialect);
        let mut own: Vec<Arc<Tenant>> = own.cloned().map(Arc::new).collect();
        own.dedup();
        Ok(own)
    }
}

impl Caller {
    /// Whether this caller has the access that a route requires, at this tenant if it is about one.
    pub(crate) fn may(&self, need: RequiredAccess, tenant: Option<&Tenant>) -> bool {
        match (need, tenant) {
            (RequiredAccess::Known, _) => self.programs().next().is_some(),
            (RequiredAccess::Everywhere(wanted), _) => {
                self.programs().any(|grant| grant.allows_everywhere(wanted))
            }
            (RequiredAccess::Listed | RequiredAccess::Right(_), None) => false,
            (RequiredAccess::Listed, Some(tenant)) => {
                self.programs().any(|grant| grant.is_for(tenant.id))
            }
            (RequiredAccess::Right(wanted), Some(tenant)) => {
                self.programs().any(|grant| grant.allows(tenant.id, wanted))
            }
        }
    }

    /// Whether this is the one of their tenants that the holder means without naming it.
    pub(crate) fn means(&self, tenant: &Tenant) -> bool {
        let own = |grant: &Grant| grant.tenant.as_ref() == Some(tenant);
        self.programs().any(|grant| grant.default && own(grant))
    }

    /// The tenant for whom alone something is granted; nothing if there are several.
    pub(crate) fn only_tenant(&self) -> Option<TenantId> {
        let mut tenants = self.programs().map(|grant| grant.tenant.as_ref());
        let only = tenants.next()??.id;
        let is_only = tenants.all(|other| other.is_some_and(|other| other.id == only));
        is_only.then_some(only)
    }

    /// The name under which what is done here goes into the tenant's audit log.
    pub(crate) fn actor(&self, tenant: &Tenant, wanted: Permission) -> String {
        let granting = self
            .programs()
            .find(|grant| grant.allows(tenant.id, wanted));
        granting.map(|grant| grant.name.clone()).unwrap_or_default()
    }

    /// The name under which an administrator's token acts with this permission.
    pub(crate) fn administrator(&self, wanted: Permission) -> String {
        let mut programs = self.programs();
        let granting = programs.find(|grant| grant.allows_everywhere(wanted));
        granting.map(|grant| grant.name.clone()).unwrap_or_default()
    }

    fn programs(&self) -> impl Iterator<Item = &Grant> {
        let active = |grant: &&Grant| grant.active && grant.kind == TokenKind::Program;
        self.grants.iter().filter(active)
    }
}

impl AuthCache {
    /// What `take` makes of what is kept for this version; nothing if another one is kept by
    /// then. What was read while the version moved on is never kept for the new one.
    fn at<T>(&self, version: u64, take: impl FnOnce(&mut CacheContents) -> Option<T>) -> Option<T> {
        let mut kept = lock(&self.0);
        if kept.version < version {
            *kept = CacheContents {
                version,
                ..CacheContents::default()
            };
        }
        if kept.version == version {
            take(&mut kept)
        } else {
            None
        }
    }
}

fn make_room<K: Ord, V>(kept: &mut BTreeMap<K, V>) {
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let callers = AuthCache::default();
        let hash = TokenHash::of("a");
        let keep = |version| {
            callers.at(version, |kept| {
                kept.grants.insert(hash, Arc::from(Vec::new()))
            });
        };
        let is_kept = |version| callers.at(version, |kept| kept.grants.get(&hash).cloned());
        keep(1);
        assert!(is_kept(1).is_some());
        assert!(is_kept(2).is_none());
        keep(1);
        assert!(is_kept(2).is_none());
        assert!(is_kept(1).is_none());
    }
}
