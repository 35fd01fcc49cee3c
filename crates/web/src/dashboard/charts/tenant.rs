//! The page of a tenant's charts: all its webhooks together. It is a page of its own, because the
//! list of webhooks has as much on it as a page should.

use askama::Template;
use model::users::Role;

use super::super::layout::{Shell, Tab, path_of};
use super::super::page::{PageAccess, PageRoute, get};
use super::super::response::{PageError, PageResponse, page};
use super::super::visit::Visit;
use super::view::ChartsView;

#[derive(Template)]
#[template(path = "statistics.html")]
struct StatisticsPage {
    shell: Shell,
    path: String,
    statistics: ChartsView,
}

pub(in super::super) fn routes() -> Vec<PageRoute> {
    let needs = PageAccess::Role(Role::Look);
    vec![get("statistics", "/t/{tenant}/statistics", needs, show)]
}

async fn show(visit: Visit) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?;
    let path = path_of(tenant);
    let own_path = format!("{path}/statistics");
    page(&StatisticsPage {
        shell: Shell::of(&visit, Tab::Webhooks, "Attempts of all webhooks"),
        statistics: ChartsView::of(&visit, (tenant.id, None), &own_path).await?,
        path,
    })
}
