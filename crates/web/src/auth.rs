//! Who is asking: from the `Authorization` header to what the store grants, and whose things they
//! may touch. Which schemes a place understands is the place's business, the words are its
//! dialect's.
//!
//! Answers of the store are kept for one version of the catalog. A token is looked up by its
//! hash, so the time it takes tells nothing about tokens; unknown ones are not kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::id::TenantId;
use model::refusal::{AuthFailure, Refusal};
use model::tenant::{DialectName, Grant, Permission, Tenant, TokenHash, TokenKind};

use crate::state::Shared;
use crate::sync::lock;
use crate::token_usage;
use crate::transport::media_type::text_of;

/// Tokens, and tenants of each dialect, kept in memory.
const KEPT_MAX: usize = 10_000;

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthScheme {
    Token,
    Bearer,
    /// A ticket scanner's token.
    Device,
    /// The token is the password; the user does not matter.
    Basic,
}

/// What must be granted before a place is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequiredAccess {
    /// Any token of a program.
    Known,
    /// Any token of the tenant.
    Listed,
    Right(Permission),
}

/// Whoever shows a token that is known and active.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) hash: TokenHash,
    grants: Arc<[Grant]>,
}

#[derive(Default)]
pub(crate) struct AuthCache(Mutex<CacheContents>);

#[derive(Default)]
struct CacheContents {
    version: u64,
    grants: BTreeMap<TokenHash, Arc<[Grant]>>,
    tenants: BTreeMap<DialectName, BTreeMap<String, Arc<Tenant>>>,
}

/// Finds out who is asking.
pub(crate) async fn identify(
    shared: &Shared,
    headers: &HeaderMap,
    schemes: &[AuthScheme],
) -> Result<Caller, Refusal> {
    let (scheme, token) = credentials(headers, schemes).map_err(Refusal::Unauthenticated)?;
    let hash = TokenHash::of(&token);
    let grants = shared.callers.grants(shared, hash).await?;
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
        token_usage::note(&shared.token_usage, &shared.store, hash, shared.clock.now());
        return Ok(Caller { hash, grants });
    } else if kind == TokenKind::Device {
        AuthFailure::Revoked
    } else {
        AuthFailure::Inactive
    };
    Err(Refusal::Unauthenticated(why))
}

fn credentials<'a>(
    headers: &'a HeaderMap,
    schemes: &[AuthScheme],
) -> Result<(AuthScheme, Cow<'a, str>), AuthFailure> {
    let header = headers.get(AUTHORIZATION).ok_or(AuthFailure::Missing)?;
    match text_of(header) {
        Cow::Borrowed(header) => shown(header, schemes),
        Cow::Owned(header) => {
            let (scheme, token) = shown(&header, schemes)?;
            Ok((scheme, token.into_owned().into()))
        }
    }
}

/// The token that a header shows, and how.
fn shown<'a>(
    header: &'a str,
    schemes: &[AuthScheme],
) -> Result<(AuthScheme, Cow<'a, str>), AuthFailure> {
    let header = header.trim_ascii();
    let end = header.bytes().position(|byte| byte.is_ascii_whitespace());
    let (name, token) = header.split_at(end.unwrap_or(header.len()));
    let scheme = schemes
        .iter()
        .copied()
        .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
        .ok_or(AuthFailure::Missing)?;
    let token = token.trim_ascii_start();
    // No other white space can be in a header. All bytes are looked at, many at once.
    let spaced = token.bytes().fold(false, |spaced, byte| {
        spaced | (byte == b' ') | (byte == b'\t')
    });
    match scheme {
        AuthScheme::Bearer if token.is_empty() || spaced => Err(AuthFailure::Missing),
        _ if token.is_empty() => Err(AuthFailure::NoToken),
        _ if spaced => Err(AuthFailure::Spaces),
        AuthScheme::Basic => password(token).map(|token| (scheme, token.into())),
        AuthScheme::Token | AuthScheme::Bearer | AuthScheme::Device => Ok((scheme, token.into())),
    }
}

fn password(pair: &str) -> Result<String, AuthFailure> {
    let decoded = BASE64_STANDARD.decode(pair).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or(AuthFailure::Unknown)?;
    match decoded.split_once(':') {
        Some((_, password)) if !password.is_empty() => Ok(password.to_owned()),
        Some(_) | None => Err(AuthFailure::NoToken),
    }
}

impl AuthScheme {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::Bearer => "Bearer",
            Self::Device => "Device",
            Self::Basic => "Basic",
        }
    }
}

impl Caller {
    /// Whether what the place needs is granted; `tenant` is whose things it is about.
    pub(crate) fn may(&self, need: RequiredAccess, tenant: Option<&Tenant>) -> bool {
        match (need, tenant) {
            (RequiredAccess::Known, _) => self.programs().next().is_some(),
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

    fn programs(&self) -> impl Iterator<Item = &Grant> {
        let active = |grant: &&Grant| grant.active && grant.kind == TokenKind::Program;
        self.grants.iter().filter(active)
    }
}

impl AuthCache {
    async fn grants(&self, shared: &Shared, hash: TokenHash) -> Result<Arc<[Grant]>, Refusal> {
        let version = shared.store.version();
        if let Some(grants) = self.at(version, |kept| kept.grants.get(&hash).cloned()) {
            return Ok(grants);
        }
        let grants: Arc<[Grant]> = shared.ask(|store| store.grants(hash)).await?.into();
        if !grants.is_empty() {
            self.at(version, |kept| {
                make_room(&mut kept.grants);
                kept.grants.insert(hash, Arc::clone(&grants))
            });
        }
        Ok(grants)
    }

    /// The tenant that `dialect` calls `key`.
    pub(crate) async fn tenant(
        &self,
        shared: &Shared,
        dialect: &DialectName,
        key: &str,
    ) -> Result<Option<Arc<Tenant>>, Refusal> {
        let version = shared.store.version();
        let found = self.at(version, |kept| kept.tenants.get(dialect)?.get(key).cloned());
        if let Some(tenant) = found {
            return Ok(Some(tenant));
        }
        let ask = || shared.ask(|store| store.tenant(dialect.clone(), key.to_owned()));
        let tenant = ask().await?.map(Arc::new);
        if let Some(tenant) = &tenant {
            self.at(version, |kept| {
                let own = kept.tenants.entry(dialect.clone()).or_default();
                make_room(own);
                own.insert(key.to_owned(), Arc::clone(tenant))
            });
        }
        Ok(tenant)
    }

    /// The tenants of `dialect` that `caller` is listed for; all of them for an administrator.
    pub(crate) async fn tenants_of(
        &self,
        shared: &Shared,
        dialect: &DialectName,
        caller: &Caller,
    ) -> Result<Vec<Arc<Tenant>>, Refusal> {
        if caller.programs().any(|grant| grant.tenant.is_none()) {
            let all = shared.ask(|store| store.tenants(dialect.clone())).await?;
            return Ok(all.into_iter().map(Arc::new).collect());
        }
        let own = caller.programs().filter_map(|grant| grant.tenant.as_ref());
        let own = own.filter(|own| own.dialect == *dialect);
        let mut own: Vec<Arc<Tenant>> = own.cloned().map(Arc::new).collect();
        own.dedup();
        Ok(own)
    }

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

    const ALL: [AuthScheme; 4] = [
        AuthScheme::Token,
        AuthScheme::Bearer,
        AuthScheme::Device,
        AuthScheme::Basic,
    ];

    fn read(header: &[u8], schemes: &[AuthScheme]) -> Result<(AuthScheme, String), AuthFailure> {
        let value = http::HeaderValue::from_bytes(header).unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let shown = credentials(&headers, schemes);
        shown.map(|(scheme, token)| (scheme, token.into_owned()))
    }

    #[test]
    fn schemes_are_read_in_any_case_and_only_where_they_are_understood() {
        let token = |scheme| Ok((scheme, "abc".to_owned()));
        assert_eq!(read(b"Token abc", &ALL), token(AuthScheme::Token));
        assert_eq!(read(b"tOKEN   abc ", &ALL), token(AuthScheme::Token));
        assert_eq!(read(b"bearer abc", &ALL), token(AuthScheme::Bearer));
        assert_eq!(read(b"Device abc", &ALL), token(AuthScheme::Device));
        assert_eq!(read(b"Basic eDphYmM=", &ALL), token(AuthScheme::Basic));
        let missing = Err(AuthFailure::Missing);
        assert_eq!(read(b"Basic eDphYmM=", &[AuthScheme::Token]), missing);
        assert_eq!(
            credentials(&HeaderMap::new(), &ALL),
            Err(AuthFailure::Missing)
        );
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told_apart() {
        for (header, why) in [
            (b"".as_slice(), AuthFailure::Missing),
            (b"abc", AuthFailure::Missing),
            (b"Token", AuthFailure::NoToken),
            (b"Device ", AuthFailure::NoToken),
            (b"Token a b", AuthFailure::Spaces),
            (b"Bearer", AuthFailure::Missing),
            (b"Bearer a b", AuthFailure::Missing),
            (b"Basic !", AuthFailure::Unknown),
            (b"Basic /w==", AuthFailure::Unknown),
            (b"Basic eA==", AuthFailure::NoToken),
            (b"Basic eDo=", AuthFailure::NoToken),
        ] {
            assert_eq!(read(header, &ALL), Err(why), "{header:?}");
        }
        assert!(read(b"Token \xff", &ALL).is_ok());
    }

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
