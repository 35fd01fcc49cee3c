//! Tenants, tokens, events and pages of webhooks.

use crate::sql::Connection;
use model::contract::{Conflict, StoreError};
use model::id::{TenantId, WebhookId};
use model::limits;
use model::query::{EventPage, WebhookPage, WebhookQuery};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::Timestamp;

use crate::sql::audit::{self, AuditRecord};
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{query, webhook_rows};

shared_statements! {
    TENANT = "
        select id, dialect, key, name from tenant where dialect = ?1 and key = ?2";
    TENANTS = "
        select id, dialect, key, name from tenant where dialect = ?1 order by key";
    GRANTS = "
        select k.name, k.kind, k.permissions, k.active, k.is_default, t.id, t.dialect, t.key, t.name
        from token k indexed by token_hash left join tenant t on t.id = k.tenant_id
        where k.hash = ?1
        order by k.id";
    HAS_TOKENS = "select exists (select 1 from token)";
    TOKEN_NAMED = "
        select 1 from token indexed by token_name
        where coalesce(tenant_id, 0) = ?1 and name = ?2";
    TOKEN_HASHED = "
        select 1 from token indexed by token_once
        where coalesce(tenant_id, 0) = ?1 and hash = ?2";
    ADD_TOKEN = "
        insert into token
          (tenant_id, name, hash, kind, permissions, active, is_default, created_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    EVENTS = "
        select slug, name, date_from from event
        where tenant_id = ?1
        order by date_from is null, date_from, name, slug";
    EVENT_COUNT = "select count(*) from event where tenant_id = ?1";
    EVENT_PAGE = "
        select slug, name, date_from from event
        where tenant_id = ?1
        order by slug
        limit ?2 offset ?3";
    EVENTS_BEHIND = "
        select slug, name, date_from from event
        where tenant_id = ?1 and slug > ?2
        order by slug
        limit ?3";
    EVENT = "
        select slug, name, date_from from event
        where tenant_id = ?1 and slug = ?2";
    WEBHOOK_COUNT = "
        select count(*) from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3
          and ((disabled_at is null) = ?2 or ?2 is null)";
    OLDEST_WEBHOOKS = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3
          and ((disabled_at is null) = ?2 or ?2 is null)
        order by id
        limit ?3";
    NEWEST_WEBHOOKS = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3
          and ((disabled_at is null) = ?2 or ?2 is null)
        order by id desc
        limit ?3";
}

pub(crate) fn tenant(
    conn: Connection<'_>,
    dialect: &DialectName,
    key: &str,
) -> Result<Option<Tenant>, JobError> {
    query::first(conn, TENANT, values![dialect.as_str(), key], |row| {
        rows::tenant(row, 0)
    })
}

pub(crate) fn tenants(
    conn: Connection<'_>,
    dialect: &DialectName,
) -> Result<Vec<Tenant>, JobError> {
    query::list(conn, TENANTS, values![dialect.as_str()], |row| {
        rows::tenant(row, 0)
    })
}

pub(crate) fn grants(conn: Connection<'_>, hash: TokenHash) -> Result<Vec<Grant>, JobError> {
    query::list(conn, GRANTS, values![hash.0], rows::grant)
}

pub(crate) fn has_tokens(conn: Connection<'_>) -> Result<bool, JobError> {
    let any = query::one(conn, HAS_TOKENS, values![])?;
    Ok(any)
}

pub(crate) fn create_token(
    tx: &mut dyn Transaction,
    token: &NewToken,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    let tenant = token.tenant.map(|tenant| tenant.0);
    let owner = tenant.unwrap_or(0);
    if query::exists(tx.conn(), TOKEN_NAMED, values![owner, token.name])? {
        return Err(StoreError::Conflict(Conflict::TokenName).into());
    }
    if query::exists(tx.conn(), TOKEN_HASHED, values![owner, token.hash.0])? {
        return Err(StoreError::Conflict(Conflict::TokenHash).into());
    }
    tx.execute(
        ADD_TOKEN,
        values![
            tenant,
            token.name,
            token.hash.0,
            rows::token_kind_number(token.kind),
            token.permissions.to_string(),
            token.active,
            token.default,
            at.as_millis(),
        ],
    )?;
    tx.post_commit().catalog_changed();
    let Some(tenant) = token.tenant else {
        return Ok(());
    };
    AuditRecord::new(tenant, at, actor, "token.created")
        .with(audit::of_token(token))
        .write(tx)
}

pub(crate) fn events(conn: Connection<'_>, tenant: TenantId) -> Result<Vec<Event>, JobError> {
    query::list(conn, EVENTS, values![tenant.0], rows::event)
}

pub(crate) fn event_page(
    conn: Connection<'_>,
    tenant: TenantId,
    offset: u64,
    limit: usize,
) -> Result<EventPage, JobError> {
    let count: i64 = query::one(conn, EVENT_COUNT, values![tenant.0])?;
    let limit = i64::try_from(limit.min(limits::PAGE_ROWS_MAX)).unwrap_or(0);
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let params = values![tenant.0, limit, offset];
    Ok(EventPage {
        count: u64::try_from(count).unwrap_or(0),
        events: query::list(conn, EVENT_PAGE, params, rows::event)?,
    })
}

pub(crate) fn events_behind(
    conn: Connection<'_>,
    tenant: TenantId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Event>, JobError> {
    let limit = rows::bound(limit.min(limits::PAGE_ROWS_MAX + 1));
    let after = after.unwrap_or_default();
    let asked = values![tenant.0, after, limit];
    query::list(conn, EVENTS_BEHIND, asked, rows::event)
}

pub(crate) fn event(
    conn: Connection<'_>,
    tenant: TenantId,
    slug: &str,
) -> Result<Option<Event>, JobError> {
    query::first(conn, EVENT, values![tenant.0, slug], rows::event)
}

/// The ids of all tenants are sorted first, then only the page is read.
pub(crate) fn webhooks(
    conn: Connection<'_>,
    tenants: &[TenantId],
    query: WebhookQuery,
) -> Result<WebhookPage, JobError> {
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let reach = i64::try_from(offset.saturating_add(limit)).unwrap_or(i64::MAX);
    let (mut count, mut ids) = (0, Vec::new());
    for tenant in tenants {
        let counted = values![tenant.0, query.enabled];
        let own: i64 = query::one(conn, WEBHOOK_COUNT, counted)?;
        count += u64::try_from(own).unwrap_or(0);
        let sql = match query.newest_first {
            true => NEWEST_WEBHOOKS,
            false => OLDEST_WEBHOOKS,
        };
        let params = values![tenant.0, query.enabled, reach];
        ids.extend(query::list(conn, sql, params, |row| {
            Ok((*tenant, WebhookId(row.get(0)?)))
        })?);
    }
    ids.sort_by_key(|(_, id)| *id);
    if query.newest_first {
        ids.reverse();
    }
    let page = ids.into_iter().skip(offset).take(limit);
    let found = page.map(|(tenant, id)| webhook_rows::find(conn, tenant, id));
    Ok(WebhookPage {
        count,
        webhooks: found
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?,
    })
}
