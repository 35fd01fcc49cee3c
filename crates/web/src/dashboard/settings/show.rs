//! The settings page of a tenant, and the same page with the faults of a form that was sent from
//! it.

use askama::Template;
use http::StatusCode;
use model::dashboard::{AuditQuery, TokenRow};
use model::tenant::{Permission, Permissions, TokenKind};
use model::users::{Role, User};

use super::audit;
use super::audit_text::AuditSentence;
use crate::dashboard::alerts;
use crate::dashboard::faults::Faults;
use crate::dashboard::layout::{Shell, Tab, path_of};
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::paged::page_of;
use crate::dashboard::response::{PageError, PageResponse, page_with};
use crate::dashboard::view::{self, DisplayDuration, DisplayTime, Tone};
use crate::dashboard::visit::Visit;
use crate::dialect::alerts::AlertsAbout;

pub(super) const DAY_MS: i64 = 24 * 3_600_000;

/// The message after saving: the retention in force.
pub(super) const SAID_KEPT: &str = "kept";

/// The most entries of the audit log here; the rest has its own pages.
const ENTRIES_MAX: usize = 5;

/// The most characters of a token's name; the page that revokes it has all.
const NAME_CHARS_MAX: usize = 100;

/// The most administrators that are named.
const ADMINISTRATORS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "settings/show.html")]
struct SettingsPage {
    shell: Shell,
    path: String,
    /// It is those who are told: no program and no person of its own is let in.
    is_of_alerts: bool,
    /// Where it says who is told, if that was said.
    alerts: Option<String>,
    faults: Faults,
    tokens: Vec<TokenView>,
    more_tokens: Option<i64>,
    people: Vec<PersonLine>,
    more_people: Option<i64>,
    administrators: Vec<String>,
    administrators_more: usize,
    roles: [Role; 3],
    typed: SettingsInput,
    kept_default: DisplayDuration,
    kept_default_from: &'static str,
    /// The retention in force.
    kept: DisplayDuration,
    is_kept_own: bool,
    entries: Vec<AuditSentence>,
}

/// The input of a form of this page.
#[derive(Debug, Clone, Default)]
pub(super) struct SettingsInput {
    pub(super) person: String,
    pub(super) role: String,
    /// `None`: the stored value.
    pub(super) days: Option<String>,
}

pub(super) struct TokenView {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) may: String,
    pub(super) created: DisplayTime,
    pub(super) used: Option<DisplayTime>,
    pub(super) active: bool,
    pub(super) tone: Tone,
    pub(super) state: &'static str,
}

struct PersonLine {
    id: i64,
    name: String,
    role: Role,
    active: bool,
    is_me: bool,
    signed_in: Option<DisplayTime>,
}

pub(super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Look);
    vec![get("settings", "/t/{tenant}/settings", needs, show)]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    again(&visit, SettingsInput::default(), Faults::default()).await
}

/// The page with the input and its faults.
pub(super) async fn again(
    visit: &Visit,
    typed: SettingsInput,
    faults: Faults,
) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?.clone();
    let (id, context) = (tenant.id, &visit.context);
    let tokens = context.store.ask(|store| store.tokens(Some(id))).await?;
    let (tokens, more_tokens) = page_of(tokens, visit.query.get("tokens"), |token| token.id.0);
    let people = context.store.ask(|store| store.users(Some(id))).await?;
    let (people, more_people) = page_of(people, visit.query.get("people"), |user| user.id.0);
    let everybody = context.store.ask(|store| store.users(None)).await?;
    let mut administrators: Vec<String> = everybody
        .into_iter()
        .filter(|user| user.administrator && user.active)
        .map(|user| user.name)
        .collect();
    let administrators_more = administrators.len().saturating_sub(ADMINISTRATORS_MAX);
    administrators.truncate(ADMINISTRATORS_MAX);
    let settings = context.store.ask(|store| store.tenant_settings(id)).await?;
    let retention_ms = settings.and_then(|settings| settings.retention_ms);
    let query = AuditQuery {
        limit: ENTRIES_MAX,
        ..AuditQuery::default()
    };
    let entries = audit::page_of_log(visit, query).await?;
    let entries = audit::tell(visit, &entries).await?;
    let dialect = visit.dialect()?;
    let typed = SettingsInput {
        days: typed
            .days
            .or_else(|| retention_ms.map(|ms| (ms / DAY_MS).to_string())),
        ..typed
    };
    let status = match faults.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let kept = DisplayDuration(retention_ms.unwrap_or(dialect.policy.retention_ms));
    let mut shell = Shell::of(visit, Tab::Settings, "Settings");
    if visit.query.get("said") == Some(SAID_KEPT) {
        shell.said = Some(format!("The log is kept for {kept}."));
    }
    let about = AlertsAbout::Tenant(tenant.dialect.clone(), tenant.key.clone());
    let audience = alerts::audience(visit, &about).await?;
    let page = SettingsPage {
        shell,
        is_of_alerts: dialect.alerts.is_some(),
        alerts: audience.map(|audience| path_of(&audience)),
        path: format!("{}/settings", path_of(&tenant)),
        faults,
        tokens: tokens.iter().map(TokenView::of).collect(),
        more_tokens,
        people: people.iter().map(|user| person(visit, user)).collect(),
        more_people,
        administrators,
        administrators_more,
        roles: Role::ALL,
        typed,
        kept_default: DisplayDuration(dialect.policy.retention_ms),
        kept_default_from: match context.dialects.retention_is_set(&dialect.name) {
            true => "as the operator of this server set it",
            false => "as is usual for this platform",
        },
        kept,
        is_kept_own: retention_ms.is_some(),
        entries,
    };
    page_with(status, &page)
}

fn person(visit: &Visit, user: &User) -> PersonLine {
    let tenant = visit.tenant_role.as_ref().map(|(tenant, _)| tenant.id);
    let role = tenant.and_then(|id| user.roles.get(&id).copied());
    PersonLine {
        id: user.id.0,
        name: user.name.clone(),
        role: role.unwrap_or(Role::Look),
        active: user.active,
        is_me: visit.user.as_ref().is_some_and(|me| me.id == user.id),
        signed_in: user.signed_in_at.map(DisplayTime),
    }
}

impl TokenView {
    pub(super) fn of(token: &TokenRow) -> Self {
        let (tone, state) = match (token.active, token.kind) {
            (false, _) => (Tone::Quiet, "Revoked"),
            (true, TokenKind::Program) => (Tone::Good, "Active"),
            (true, TokenKind::Device) => (Tone::Quiet, "Refused everywhere"),
        };
        Self {
            id: token.id.0,
            name: view::short(&token.name, NAME_CHARS_MAX),
            may: may(&token.permissions),
            created: DisplayTime(token.created_at),
            used: token.used_at.map(DisplayTime),
            active: token.active,
            tone,
            state,
        }
    }
}

/// What permissions allow, in words.
fn may(permissions: &Permissions) -> String {
    let words: Vec<&str> = Permission::ALL
        .into_iter()
        .filter(|permission| permissions.allow(*permission))
        .map(permission_words)
        .collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        words => words.join(", "),
    }
}

pub(super) fn permission_words(permission: Permission) -> &'static str {
    match permission {
        Permission::WebhooksRead => "look at webhooks and their log",
        Permission::WebhooksWrite => "change webhooks, replay",
        Permission::NotificationsWrite => "hand in notifications",
        Permission::TenantsRead => "list tenants and users",
        Permission::TenantsWrite => "create and change tenants and users",
    }
}
