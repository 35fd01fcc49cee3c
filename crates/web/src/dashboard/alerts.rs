//! The way to those who are told of incidents: they are a tenant of their own, which is made when
//! somebody first wants it.

use model::query::Declaration;
use model::tenant::Tenant;
use model::users::Role;

use super::layout::path_of;
use super::page::{PageAccess, PageRoute, post};
use super::response::{PageError, PageResponse, go_to};
use super::visit::Visit;
use crate::dialect::alerts::AlertsAbout;

pub(super) fn routes() -> Vec<PageRoute> {
    vec![
        post(
            "alerts_of_tenant",
            "/t/{tenant}/settings/alerts",
            PageAccess::Role(Role::Administer),
            of_tenant,
        ),
        post(
            "alerts_of_server",
            "/failing/alerts",
            PageAccess::Administrator,
            of_server,
        ),
    ]
}

async fn of_tenant(visit: Visit) -> Result<PageResponse, PageError> {
    let tenant = visit.tenant()?.clone();
    if visit.dialect()?.alerts.is_some() {
        return Err(PageError::NotFound);
    }
    let name = format!("Alerts of {}", tenant.name);
    go(
        &visit,
        &AlertsAbout::Tenant(tenant.dialect, tenant.key),
        name,
    )
    .await
}

async fn of_server(visit: Visit) -> Result<PageResponse, PageError> {
    go(
        &visit,
        &AlertsAbout::Server,
        "Alerts of the server".to_owned(),
    )
    .await
}

/// Goes to the audience, and makes it if it is not there.
async fn go(visit: &Visit, about: &AlertsAbout, name: String) -> Result<PageResponse, PageError> {
    if let Some(audience) = audience(visit, about).await? {
        return Ok(go_to(&path_of(&audience)));
    }
    let (dialect, alerts) = visit
        .context
        .dialects
        .of_alerts()
        .ok_or(PageError::NotFound)?;
    let declaration = Declaration {
        dialect: dialect.name.clone(),
        key: (alerts.key)(about),
        name: Some(name),
        events: Vec::new(),
        webhooks: Vec::new(),
        tokens: Vec::new(),
    };
    let (actor, now) = (visit.actor(), visit.now);
    visit
        .ask(|store| store.apply(vec![declaration.clone()], actor.clone(), now))
        .await?;
    let audience = audience(visit, about).await?;
    Ok(go_to(&path_of(&audience.ok_or(PageError::NotFound)?)))
}

/// Those who are told of this, if anybody ever wanted it.
pub(super) async fn audience(
    visit: &Visit,
    about: &AlertsAbout,
) -> Result<Option<Tenant>, PageError> {
    let Some((dialect, alerts)) = visit.context.dialects.of_alerts() else {
        return Ok(None);
    };
    let (name, key) = (dialect.name.clone(), (alerts.key)(about));
    Ok(visit
        .ask(|store| store.tenant(name.clone(), key.clone()))
        .await?)
}
