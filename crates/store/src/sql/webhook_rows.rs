//! Reading webhooks: by id, by key, and their tenant.

use crate::sql::Connection;
use model::id::{TenantId, WebhookId};
use model::webhook::Webhook;

use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::rows;

shared_statements! {
    FIND = "
        select id, tenant_id, target_url, disabled_at, disabled_cause, filter, settings, headers,
          created_at, updated_at, version, key, retries_max,
          paused_until + (select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1)
            as paused_until
        from webhook
        where id = ?1";
    TENANT_OF = "select tenant_id from webhook where id = ?1";
    FIND_KEY = "
        select id from webhook indexed by webhook_key
        where tenant_id = ?1 and key = ?2";
}

pub(crate) fn find(
    conn: Connection<'_>,
    tenant: TenantId,
    id: WebhookId,
) -> Result<Option<Webhook>, JobError> {
    let found = find_any(conn, id)?;
    Ok(found.filter(|webhook| webhook.tenant == tenant && !webhook.is_deleted()))
}

/// Of any tenant, deleted or not: the engine serves all tenants.
pub(crate) fn find_any(conn: Connection<'_>, id: WebhookId) -> Result<Option<Webhook>, JobError> {
    query::first(conn, FIND, values![id.0], rows::webhook)
}

/// The webhook that one of these tenants has under `key`.
pub(crate) fn find_by_key(
    conn: Connection<'_>,
    tenants: &[TenantId],
    key: &str,
) -> Result<Option<Webhook>, JobError> {
    for tenant in tenants {
        if let Some(id) = find_key(conn, *tenant, key)?
            && let Some(webhook) = find(conn, *tenant, id)?
        {
            return Ok(Some(webhook));
        }
    }
    Ok(None)
}

/// The webhook that has or had this key.
pub(crate) fn find_key(
    conn: Connection<'_>,
    tenant: TenantId,
    key: &str,
) -> Result<Option<WebhookId>, JobError> {
    query::first(conn, FIND_KEY, values![tenant.0, key], |row| {
        Ok(WebhookId(row.get(0)?))
    })
}

/// The tenant of a webhook, deleted or not.
pub(crate) fn tenant_of(conn: Connection<'_>, id: WebhookId) -> Result<Option<TenantId>, JobError> {
    query::first(conn, TENANT_OF, values![id.0], |row| {
        Ok(TenantId(row.get(0)?))
    })
}

/// A scope as the index has it: empty for any scope, so that no name looks like it.
pub(crate) fn scope_key(scope: Option<&str>) -> String {
    scope.map_or_else(String::new, |name| format!("={name}"))
}
