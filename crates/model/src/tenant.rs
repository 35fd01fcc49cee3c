//! Tenant: an organizer or a company, and the tokens its programs show.
//!
//! Only the SHA-256 of a token is kept. A token has 320 random bits, so no slower hash is needed
//! against guessing (the OWASP Password Storage Cheat Sheet is about passwords, which have fewer).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::id::TenantId;
use crate::named::texts;

/// The name of a dialect. Which ones there are, `web/src/dialects/mod.rs` says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialectName(Arc<str>);

impl DialectName {
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DialectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One customer of the platform: everything else belongs to exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub dialect: DialectName,
    /// How the dialect names it (a slug, a GUID); unique within the dialect.
    pub key: String,
    /// For people.
    pub name: String,
}

/// A show of a tenant, as far as Willcall knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub slug: String,
    pub name: String,
    pub date_from: Option<crate::time::Timestamp>,
}

/// What a token may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Look at webhooks and their deliveries.
    WebhooksRead,
    /// Change webhooks, send deliveries again; includes looking.
    WebhooksWrite,
    /// Hand in notifications.
    NotificationsWrite,
    /// List and read tenants and users. Of an administrator's token only.
    TenantsRead,
    /// Create and change tenants and users; includes reading. Of an administrator's token only.
    TenantsWrite,
}

texts!(
    Permission {
        WebhooksRead = "webhooks:read",
        WebhooksWrite = "webhooks:write",
        NotificationsWrite = "notifications:write",
        TenantsRead = "tenants:read",
        TenantsWrite = "tenants:write",
    }
);

impl Permission {
    /// Those that a tenant's token may have.
    pub const OF_TENANTS: [Self; 3] = [
        Self::WebhooksRead,
        Self::WebhooksWrite,
        Self::NotificationsWrite,
    ];
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was given names no permission that a tenant's token may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission \"{0}\"; there are webhooks:read, webhooks:write, notifications:write")]
pub struct UnknownPermission(pub String);

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

/// A set of permissions. Prints as their names with a space between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions(BTreeSet<Permission>);

impl Permissions {
    /// Whether `wanted` is in the set, or follows from what is.
    pub fn allow(&self, wanted: Permission) -> bool {
        let includes = |greater| self.0.contains(&greater);
        self.0.contains(&wanted)
            || (wanted == Permission::WebhooksRead && includes(Permission::WebhooksWrite))
            || (wanted == Permission::TenantsRead && includes(Permission::TenantsWrite))
    }

    /// Those that were given, without those that follow from them.
    pub fn iter(&self) -> impl Iterator<Item = Permission> {
        self.0.iter().copied()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Permissions {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        text.split_ascii_whitespace()
            .map(Permission::from_str)
            .collect()
    }
}

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A program. Shown as `Token` or `Bearer`.
    Program,
    /// A ticket scanner. Known, and refused everywhere.
    Device,
}

impl TokenKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Program => "token",
            Self::Device => "device",
        }
    }
}

impl FromStr for TokenKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "token" => Ok(Self::Program),
            "device" => Ok(Self::Device),
            _ => Err(()),
        }
    }
}

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Of several texts, each told apart from its neighbours.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// A token as it is created: for one tenant, or for an administrator of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub tenant: Option<TenantId>,
    pub name: String,
    pub hash: TokenHash,
    pub kind: TokenKind,
    pub permissions: Permissions,
    pub active: bool,
    /// See `Grant::default`.
    pub default: bool,
}

/// What one listing of a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The token's name, for the audit log.
    pub name: String,
    /// Nobody's in particular: an administrator's, for every tenant.
    pub tenant: Option<Tenant>,
    pub kind: TokenKind,
    pub permissions: Permissions,
    pub active: bool,
    /// Of several tenants, this is the one that is meant when none is named.
    pub default: bool,
}

impl Grant {
    /// Whether this listing lets its holder do `wanted` at `tenant`.
    pub fn allows(&self, tenant: TenantId, wanted: Permission) -> bool {
        self.is_for(tenant) && self.permissions.allow(wanted)
    }

    /// Whether this listing lets its holder do `wanted` with tenants and users of this server: only
    /// an administrator's does.
    pub fn allows_everywhere(&self, wanted: Permission) -> bool {
        let is_administrators = self.active && self.tenant.is_none();
        is_administrators && self.kind == TokenKind::Program && self.permissions.allow(wanted)
    }

    /// Whether this listing lets its holder in at `tenant` at all.
    pub fn is_for(&self, tenant: TenantId) -> bool {
        self.active
            && self.kind == TokenKind::Program
            && self.tenant.as_ref().is_none_or(|own| own.id == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_includes_reading_and_nothing_else() {
        let writer: Permissions = "webhooks:write".parse().unwrap();
        assert!(writer.allow(Permission::WebhooksRead));
        assert!(writer.allow(Permission::WebhooksWrite));
        assert!(!writer.allow(Permission::NotificationsWrite));
        let reader: Permissions = "webhooks:read".parse().unwrap();
        assert!(!reader.allow(Permission::WebhooksWrite));
    }

    #[test]
    fn permissions_print_as_they_are_read() {
        let text = "webhooks:read notifications:write";
        assert_eq!(text.parse::<Permissions>().unwrap().to_string(), text);
        assert!("webhooks:all".parse::<Permissions>().is_err());
    }

    #[test]
    fn a_grant_is_for_its_own_tenant_only() {
        let named = |id| Tenant {
            id,
            dialect: DialectName::new("d"),
            key: "k".to_owned(),
            name: "N".to_owned(),
        };
        let grant = |tenant: Option<TenantId>, kind, active| Grant {
            name: "t".to_owned(),
            tenant: tenant.map(named),
            default: false,
            kind,
            permissions: Permission::ALL.into_iter().collect(),
            active,
        };
        let own = TenantId(1);
        let wanted = Permission::WebhooksRead;
        assert!(grant(Some(own), TokenKind::Program, true).allows(own, wanted));
        assert!(grant(None, TokenKind::Program, true).allows(own, wanted));
        assert!(!grant(Some(TenantId(2)), TokenKind::Program, true).allows(own, wanted));
        assert!(!grant(Some(own), TokenKind::Program, false).allows(own, wanted));
        assert!(!grant(Some(own), TokenKind::Device, true).allows(own, wanted));
    }

    #[test]
    fn only_an_administrators_active_token_is_for_tenants_and_users() {
        let own = Tenant {
            id: TenantId(1),
            dialect: DialectName::new("d"),
            key: "k".to_owned(),
            name: "N".to_owned(),
        };
        let grant = |tenant: Option<Tenant>, kind, active, permissions: &str| Grant {
            name: "t".to_owned(),
            tenant,
            default: false,
            kind,
            permissions: permissions.parse().unwrap(),
            active,
        };
        let (read, write) = (Permission::TenantsRead, Permission::TenantsWrite);
        let (program, device) = (TokenKind::Program, TokenKind::Device);
        let writer = grant(None, program, true, "tenants:write");
        assert!(writer.allows_everywhere(read) && writer.allows_everywhere(write));
        let reader = grant(None, program, true, "tenants:read");
        assert!(reader.allows_everywhere(read) && !reader.allows_everywhere(write));
        for other in [
            grant(Some(own), program, true, "tenants:write"),
            grant(None, program, false, "tenants:write"),
            grant(None, device, true, "tenants:write"),
            grant(None, program, true, "webhooks:write notifications:write"),
        ] {
            assert!(!other.allows_everywhere(read) && !other.allows_everywhere(write));
        }
    }

    #[test]
    fn parts_that_meet_elsewhere_have_another_hash() {
        let hash = TokenHash::of_parts(&[b"ab", b"c"]);
        assert_eq!(hash, TokenHash::of_parts(&[b"ab", b"c"]));
        assert_ne!(hash, TokenHash::of_parts(&[b"a", b"bc"]));
        assert_ne!(hash, TokenHash::of_parts(&[b"ab", b"c", b""]));
    }

    #[test]
    fn a_hash_never_prints() {
        assert_eq!(format!("{:?}", TokenHash::of("secret")), "TokenHash");
    }
}
