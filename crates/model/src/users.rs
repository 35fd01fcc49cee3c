//! Users: people who sign in, their roles at tenants, and what is kept of a session.
//!
//! A password is kept as its argon2id hash only (`password.rs`), a session or a link as the
//! SHA-256 of its secret: those have 320 random bits, a password has fewer.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{TenantId, UserId};
use crate::limits::USER_NAME_CHARS_MAX;
use crate::named::named;
use crate::refusal::Fault;
use crate::tenant::TokenHash;
use crate::time::Timestamp;

/// What somebody may do at one tenant. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See webhooks, deliveries and settings.
    Look,
    /// Change webhooks, send tests, send deliveries again.
    Edit,
    /// Make and revoke tokens, let people in, say how long the log is kept.
    Administer,
}

named!(
    Role {
        Look = "look",
        Edit = "edit",
        Administer = "administer",
    }
);

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// What they type to sign in and what the audit log calls them; unique, whatever the case.
    pub name: String,
    /// May do everything at every tenant, also at those to come.
    pub administrator: bool,
    /// Whether they can sign in, and stay so.
    pub active: bool,
    pub roles: BTreeMap<TenantId, Role>,
    pub created_at: Timestamp,
    pub signed_in_at: Option<Timestamp>,
}

/// A user as it is created: with no role at any tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    pub name: String,
    pub password: PasswordHash,
    pub administrator: bool,
}

/// What becomes of a user. What is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    /// A new one ends every session of the user, and every link made for them.
    pub password: Option<PasswordHash>,
    pub administrator: Option<bool>,
    /// `false` ends every session of the user, and every link made for them.
    pub active: Option<bool>,
}

/// Somebody whom a portal link lets in: at one tenant, in one role, without being a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalVisitor {
    pub tenant: TenantId,
    pub role: Role,
    /// Who it is for the audit log, as whoever made the link says.
    pub name: String,
}

/// What is kept of a password, in the PHC string form. Never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

/// How often signing in under one name has failed from one place since it last worked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInFailures {
    pub count: u32,
    pub latest_at: Timestamp,
}

/// Under what failures to sign in as `name` are counted that came `from` somewhere: the same
/// whatever the case of ASCII letters, as the name itself.
pub fn name_hash(name: &str, from: &str) -> TokenHash {
    let name = name.to_ascii_lowercase();
    TokenHash::of_parts(&[name.as_bytes(), from.as_bytes()])
}

/// The name as it is kept, if a user may have it: without the space around it, and without
/// characters that nobody sees, by which two names could look alike.
///
/// # Errors
/// A fault of the field `name`.
pub fn judge_name(name: &str) -> Result<String, Fault> {
    let name = name.trim();
    let unseen = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}')
    };
    if name.is_empty() {
        return Err(Fault::new("name", "Say what they sign in with."));
    }
    if name.chars().count() > USER_NAME_CHARS_MAX {
        return Err(Fault::new(
            "name",
            format!("The name may have at most {USER_NAME_CHARS_MAX} characters."),
        ));
    }
    if name.ends_with(PORTAL_ENDING) {
        let words = format!("The name may not end with \"{PORTAL_ENDING}\".");
        return Err(Fault::new("name", words));
    }
    if name.chars().any(unseen) {
        return Err(Fault::new(
            "name",
            "The name has characters that cannot be seen.",
        ));
    }
    Ok(name.to_owned())
}

impl User {
    /// What this user may do at what belongs to `tenant`, or with `None` to the server.
    pub fn role_over(&self, tenant: Option<TenantId>) -> Option<Role> {
        match tenant {
            Some(tenant) => self.role_at(tenant),
            None => (self.active && self.administrator).then_some(Role::Administer),
        }
    }

    /// Whether a portal link let them in, so that they are no user of their own.
    pub fn has_portal_session(&self) -> bool {
        self.id.0 < 0
    }

    /// What this user may do at `tenant`; nothing if `None`.
    pub fn role_at(&self, tenant: TenantId) -> Option<Role> {
        if !self.active {
            return None;
        }
        if self.administrator {
            return Some(Role::Administer);
        }
        self.roles.get(&tenant).copied()
    }
}

impl Role {
    /// For people: what it lets them do.
    pub fn words(self) -> &'static str {
        match self {
            Self::Look => "sees webhooks, deliveries and settings",
            Self::Edit => "also changes webhooks, sends tests and sends deliveries again",
            Self::Administer => "also manages tokens, people and how long the log is kept",
        }
    }
}

impl PortalVisitor {
    /// This visitor as somebody signed in. The id is negative, as no user's in the store is, and
    /// the session's own, so that visitors do not share what each user has limits for.
    pub fn signed_in(&self, session: TokenHash) -> User {
        let [a, b, c, d, e, f, g, h, ..] = session.0;
        let number = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
        User {
            id: UserId(number | i64::MIN),
            name: self.actor(),
            administrator: false,
            active: true,
            roles: BTreeMap::from([(self.tenant, self.role)]),
            created_at: Timestamp::from_millis(0),
            signed_in_at: None,
        }
    }

    /// What the audit log calls them: never the same as a user, who has no such ending.
    pub fn actor(&self) -> String {
        format!("{}{PORTAL_ENDING}", self.name)
    }
}

/// How names of those end whom a portal link let in.
pub const PORTAL_ENDING: &str = " (portal link)";

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl SignInFailures {
    /// From when on another attempt to sign in is listened to: after three failures a second,
    /// doubled with each further one, at most a minute. Whoever types wrong hardly notices,
    /// whoever guesses gets fewer than 1,500 guesses a day from one place.
    pub fn open_at(&self) -> Timestamp {
        const FREE: u32 = 3;
        const WAIT_MAX_MS: i64 = 60_000;
        let Some(doublings) = self.count.checked_sub(FREE) else {
            return self.latest_at;
        };
        let wait_ms = 1_000_i64
            .checked_shl(doublings.min(16))
            .unwrap_or(WAIT_MAX_MS);
        self.latest_at.plus_ms(wait_ms.min(WAIT_MAX_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(administrator: bool, active: bool, roles: &[(i64, Role)]) -> User {
        let roles = roles.iter().map(|(id, role)| (TenantId(*id), *role));
        User {
            id: UserId(1),
            name: "anna".to_owned(),
            administrator,
            active,
            roles: roles.collect(),
            created_at: Timestamp::from_millis(0),
            signed_in_at: None,
        }
    }

    #[test]
    fn a_role_holds_at_its_tenant_only() {
        let anna = user(false, true, &[(1, Role::Edit)]);
        assert_eq!(anna.role_at(TenantId(1)), Some(Role::Edit));
        assert_eq!(anna.role_at(TenantId(2)), None);
    }

    #[test]
    fn an_administrator_may_everything_everywhere_while_active() {
        assert_eq!(
            user(true, true, &[(1, Role::Look)]).role_at(TenantId(1)),
            Some(Role::Administer)
        );
        assert_eq!(user(true, false, &[]).role_at(TenantId(1)), None);
    }

    #[test]
    fn each_role_includes_those_before_it() {
        assert!(Role::Look < Role::Edit && Role::Edit < Role::Administer);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
    }

    #[test]
    fn guessing_slows_down_after_three_failures_and_never_by_more_than_a_minute() {
        let latest_at = Timestamp::from_millis(1_000_000);
        let wait = |count| {
            let failures = SignInFailures { count, latest_at };
            failures.open_at().ms_since(latest_at)
        };
        let waits = [0, 2, 3, 4, 5, 8, 9, u32::MAX].map(wait);
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn names_that_nobody_could_type_or_tell_apart_are_refused() {
        assert_eq!(judge_name(" Änne von B. "), Ok("Änne von B.".to_owned()));
        for name in [
            "",
            " \t",
            "a\nb",
            "a\u{200b}b",
            "\u{202e}anna",
            &"x".repeat(101),
            "anna (portal link)",
        ] {
            assert!(judge_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn whom_a_portal_link_lets_in_has_one_role_at_one_tenant_and_no_users_name_or_id() {
        let visitor = PortalVisitor {
            tenant: TenantId(1),
            role: Role::Edit,
            name: "anna".to_owned(),
        };
        let one = visitor.signed_in(TokenHash::of("one"));
        let other = visitor.signed_in(TokenHash::of("other"));
        assert!(one.has_portal_session() && other.has_portal_session() && one.id != other.id);
        assert!(!user(false, true, &[]).has_portal_session());
        assert_eq!(one.role_at(TenantId(1)), Some(Role::Edit));
        assert_eq!(one.role_at(TenantId(2)), None);
        assert!(judge_name(&one.name).is_err());
    }

    #[test]
    fn a_password_hash_never_prints() {
        assert_eq!(
            format!("{:?}", PasswordHash("$x".to_owned())),
            "PasswordHash"
        );
    }
}
