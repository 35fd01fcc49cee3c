//! The start page: the tenants that the user may see, searched and paged by name. With exactly one,
//! it redirects there.

use askama::Template;
use model::dashboard::TenantQuery;
use model::limits::PAGE_ROWS_MAX;
use model::tenant::Tenant;

use super::layout::{Shell, Tab, path_of};
use super::page::{PageAccess, PageRoute, get};
use super::response::{PageError, PageResponse, go_to, page};
use super::view::{self, DisplayTime};
use super::visit::Visit;

#[derive(Template)]
#[template(path = "tenants.html")]
struct TenantsPage {
    shell: Shell,
    rows: Vec<TenantLine>,
    text: String,
    /// Not the first page, or not all that there are.
    is_part: bool,
    more: Option<String>,
    /// More webhooks fail than were counted.
    failing_is_part: bool,
}

struct TenantLine {
    name: String,
    key: String,
    platform: String,
    kind: &'static str,
    path: String,
    role: &'static str,
    failing: Option<FailingTenant>,
}

/// How many webhooks of a tenant fail.
struct FailingTenant {
    count: u64,
    since: DisplayTime,
    path: String,
}

pub(super) fn routes() -> Vec<PageRoute> {
    vec![get("tenants", "/", PageAccess::User, list)]
}

async fn list(visit: Visit) -> Result<PageResponse, PageError> {
    let user = visit.user()?.clone();
    let text = view::search_text(visit.query.get("q"));
    let after = visit.query.get("after").and_then(|id| id.parse().ok());
    let alerts = visit.context.dialects.of_alerts();
    let query = TenantQuery {
        among: (!user.administrator).then(|| user.roles.keys().copied().collect()),
        but_dialect: alerts.map(|(dialect, _)| dialect.name.clone()),
        text: text.clone(),
        after: after.map(model::id::TenantId),
        limit: PAGE_ROWS_MAX + 1,
    };
    let mut found = visit.ask(|store| store.find_tenants(query.clone())).await?;
    let is_part = !text.is_empty() || after.is_some();
    if let ([only], false) = (found.as_slice(), is_part) {
        return Ok(go_to(&path_of(only)));
    }
    let has_more = found.len() > PAGE_ROWS_MAX;
    found.truncate(PAGE_ROWS_MAX);
    let last = found.last().map(|tenant| tenant.id).filter(|_| has_more);
    let failing = visit.ask(|store| store.failing_counts()).await?;
    let row = |tenant: &Tenant| TenantLine {
        failing: failing.tenants.get(&tenant.id).map(|found| FailingTenant {
            count: found.count,
            since: DisplayTime(found.since),
            path: format!("/failing?tenant={}", tenant.id),
        }),
        ..row(&visit, tenant, user.role_at(tenant.id))
    };
    let shown = TenantsPage {
        shell: Shell::of(&visit, Tab::None, "Tenants"),
        rows: found.iter().map(row).collect(),
        more: last.map(|id| format!("/?q={}&after={id}", view::encoded(&text))),
        text,
        is_part,
        failing_is_part: failing.is_part,
    };
    page(&shown)
}

fn row(visit: &Visit, tenant: &Tenant, role: Option<model::users::Role>) -> TenantLine {
    let dialect = visit.context.dialects.named(&tenant.dialect);
    let dashboard = dialect.as_ref().map(|dialect| &dialect.dashboard);
    TenantLine {
        name: tenant.name.clone(),
        key: tenant.key.clone(),
        platform: dashboard.map_or_else(
            || tenant.dialect.to_string(),
            |dashboard| dashboard.platform.to_owned(),
        ),
        kind: dashboard.map_or("Tenant", |dashboard| dashboard.tenant_word),
        path: path_of(tenant),
        role: role.map_or("", model::users::Role::as_str),
        failing: None,
    }
}
