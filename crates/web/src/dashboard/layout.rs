//! The frame of every page: title, navigation, the signed-in user, and what was just done.

use model::tenant::Tenant;
use model::users::Role;

use super::assets;
use super::visit::Visit;
use crate::clock_notice::clock_words;

/// The frame of a page. Every template has one under the name `shell`.
pub(crate) struct Shell {
    pub(crate) title: String,
    /// The CSRF token of forms.
    pub(crate) csrf_token: String,
    /// The name of the signed-in user.
    pub(crate) user: Option<String>,
    pub(crate) administrator: bool,
    /// Whether the user has a page of their own.
    pub(crate) has_profile: bool,
    pub(crate) tenant: Option<TenantShell>,
    /// The current item of the navigation.
    pub(crate) tab: Tab,
    /// What was just done, after a form was sent.
    pub(crate) said: Option<String>,
    /// A notice while the server's clock is in doubt.
    pub(crate) clock: Option<String>,
    /// What the platform calls this, and the paths of its logo and style sheet.
    pub(crate) brand: String,
    pub(crate) logo: Option<String>,
    pub(crate) brand_style: Option<String>,
    pub(crate) style: String,
    pub(crate) script: String,
}

pub(crate) struct TenantShell {
    pub(crate) name: String,
    /// What the platform calls a tenant.
    pub(crate) kind: &'static str,
    /// The prefix of the paths of its pages.
    pub(crate) path: String,
    /// The tenant that it is about, with its path, if it is one of alerts.
    pub(crate) watched: Option<(String, String)>,
    pub(crate) may_edit: bool,
    pub(crate) may_administer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    None,
    Webhooks,
    Log,
    Notifications,
    Settings,
    People,
    Failing,
}

/// Messages after a form was sent, by their names in the query (`?said=`).
const SAID: &[(&str, &str)] = &[
    ("created", "The webhook is created."),
    ("saved", "Saved."),
    ("calls-saved", "Saved. It holds from the next call on."),
    ("paused", "The webhook is paused. What comes for it waits."),
    (
        "resumed",
        "The webhook is resumed. What has waited is sent.",
    ),
    ("signed", "Calls are signed with it from now on."),
    (
        "former-ended",
        "The former key has ended. Calls are signed with the new one only.",
    ),
    (
        "signature-removed",
        "The signature is removed. Calls go without it from now on.",
    ),
    (
        "header-added",
        "The header goes with every call from now on.",
    ),
    (
        "header-changed",
        "The header has its new value from now on.",
    ),
    (
        "header-removed",
        "The header is removed. Calls go without it from now on.",
    ),
    ("certificates-set", "Calls are made with it from now on."),
    (
        "certificates-removed",
        "It is removed. Calls are made without it from now on.",
    ),
    ("unchanged", "Nothing was changed."),
    (
        "enabled",
        "The webhook is enabled. What had waited when it was disabled can be replayed from its log; \
         what came while it was disabled was not kept for it.",
    ),
    (
        "disabled",
        "The webhook is disabled. What was waiting is cancelled.",
    ),
    (
        "deleted",
        "The webhook is deleted. Its log stays as long as any.",
    ),
    ("retried", "It is replayed."),
    ("retried-some", "They are replayed."),
    (
        "retried-part",
        "Some are replayed. Others had moved on meanwhile, or their webhook is disabled; those were \
         left as they are.",
    ),
    ("stopped", "It is sent no more."),
    ("stopped-some", "They are sent no more."),
    (
        "stopped-part",
        "Some are sent no more. Others had ended or moved on meanwhile, and were left as they are.",
    ),
    (
        "moved",
        "It had moved on meanwhile, so nothing was done. Look at it again.",
    ),
    (
        "all-moved",
        "They had moved on meanwhile, so nothing was done. Look at them again.",
    ),
    (
        "off",
        "The webhook is disabled, so nothing can be sent. Enable it first.",
    ),
    (
        "all-off",
        "Their webhooks are disabled, so nothing can be sent. Enable them first.",
    ),
    ("none-chosen", "Choose at least one delivery first."),
    ("nothing", "There was nothing to do."),
    (
        "revoked",
        "The token is revoked. Nobody gets in with it any more.",
    ),
    ("role", "Their role is changed."),
    ("removed", "They have no access here any more."),
    ("user-created", "The user is created and can sign in."),
    ("user-saved", "The user is changed."),
    (
        "password",
        "Your password is changed. Other sessions have ended.",
    ),
    ("signed-out", "You are signed out."),
];

impl Shell {
    pub(crate) fn of(visit: &Visit, tab: Tab, title: impl Into<String>) -> Self {
        let said = visit.query.get("said").unwrap_or_default();
        let said = SAID.iter().find(|(name, _)| *name == said);
        let user = visit.user.as_ref();
        let brand = &visit.context.brand;
        Self {
            title: title.into(),
            csrf_token: visit.csrf_token(),
            user: user.map(|user| user.name.clone()),
            administrator: user.is_some_and(|user| user.administrator),
            has_profile: user.is_some_and(|user| !user.has_portal_session()),
            tenant: visit.tenant_role.as_ref().map(|(tenant, _)| TenantShell {
                name: tenant.name.clone(),
                kind: visit
                    .dialect()
                    .map_or("Tenant", |dialect| dialect.dashboard.tenant_word),
                path: path_of(tenant),
                watched: visit
                    .watched
                    .as_ref()
                    .map(|watched| (watched.name.clone(), path_of(watched))),
                may_edit: visit.may(Role::Edit),
                may_administer: visit.may(Role::Administer),
            }),
            tab,
            said: said.map(|(_, words)| (*words).to_owned()),
            clock: user.and_then(|_| clock_words(&visit.context.clock)),
            brand: brand.name.as_deref().unwrap_or("Willcall").to_owned(),
            logo: assets::logo_path(brand),
            brand_style: assets::brand_style_path(brand),
            style: assets::style_path(),
            script: assets::script_path(),
        }
    }
}

impl Shell {
    /// The prefix of the paths of the tenant's pages; empty on a page without a tenant.
    pub(crate) fn tenant_path(&self) -> &str {
        self.tenant.as_ref().map_or("", |tenant| &tenant.path)
    }

    /// Whether the visitor may change the tenant's webhooks.
    pub(crate) fn may_edit(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| tenant.may_edit)
    }

    /// Whether the visitor may change the tenant's settings.
    pub(crate) fn may_administer(&self) -> bool {
        let tenant = self.tenant.as_ref();
        tenant.is_some_and(|tenant| tenant.may_administer)
    }
}

/// The prefix of the paths of a tenant's pages.
pub(crate) fn path_of(tenant: &Tenant) -> String {
    format!("/t/{}", tenant.id)
}
