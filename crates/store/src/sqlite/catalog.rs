//! Tenants, tokens, events, and answers kept under idempotency keys.

use model::contract::{Conflict, StoreError};
use model::id::{TenantId, WebhookId};
use model::limits;
use model::query::{EventPage, StoredResponse, WebhookPage, WebhookQuery};
use model::tenant::{DialectName, Event, Grant, NewToken, Tenant, TokenHash};
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::sqlite::audit::{self, AuditRecord};
use crate::sqlite::job_error::JobError;
use crate::sqlite::writer::Tx;
use crate::sqlite::{rows, webhooks};

const TENANT: &str = "
    select id, dialect, key, name from tenant where dialect = ?1 and key = ?2";
const TENANTS: &str = "
    select id, dialect, key, name from tenant where dialect = ?1 order by key";
const GRANTS: &str = "
    select k.name, k.kind, k.permissions, k.active, k.is_default, t.id, t.dialect, t.key, t.name
    from token k indexed by token_hash left join tenant t on t.id = k.tenant_id
    where k.hash = ?1
    order by k.id";
const HAS_TOKENS: &str = "select exists (select 1 from token)";
const TOKEN_NAMED: &str = "
    select 1 from token indexed by token_name
    where coalesce(tenant_id, 0) = ?1 and name = ?2";
const TOKEN_HASHED: &str = "
    select 1 from token indexed by token_once
    where coalesce(tenant_id, 0) = ?1 and hash = ?2";
const ADD_TOKEN: &str = "
    insert into token
      (tenant_id, name, hash, kind, permissions, active, is_default, created_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const EVENTS: &str = "
    select slug, name, date_from from event
    where tenant_id = ?1
    order by date_from is null, date_from, name, slug";
const EVENT_COUNT: &str = "select count(*) from event where tenant_id = ?1";
const EVENT_PAGE: &str = "
    select slug, name, date_from from event
    where tenant_id = ?1
    order by slug
    limit ?2 offset ?3";
const EVENT: &str = "
    select slug, name, date_from from event
    where tenant_id = ?1 and slug = ?2";
const WEBHOOK_COUNT: &str = "
    select count(*) from webhook indexed by webhook_tenant
    where tenant_id = ?1 and disabled_cause is not 3
      and (?2 is null or (disabled_at is null) = ?2)";
const OLDEST_WEBHOOKS: &str = "
    select id from webhook indexed by webhook_tenant
    where tenant_id = ?1 and disabled_cause is not 3
      and (?2 is null or (disabled_at is null) = ?2)
    order by id
    limit ?3";
const NEWEST_WEBHOOKS: &str = "
    select id from webhook indexed by webhook_tenant
    where tenant_id = ?1 and disabled_cause is not 3
      and (?2 is null or (disabled_at is null) = ?2)
    order by id desc
    limit ?3";
const RESPONSE: &str = "
    select key, holder, request, status, headers, body from kept_answer
    where key = ?1 and holder = ?2";
// One that is too old counts as gone, pruned or not.
const STORE_RESPONSE: &str = "
    insert into kept_answer (key, holder, request, status, headers, body, kept_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (key, holder) do update
    set request = excluded.request, status = excluded.status, headers = excluded.headers,
      body = excluded.body, kept_at = excluded.kept_at
    where kept_at < ?8 or status = 0";

pub(crate) const STATEMENTS: &[&str] = &[
    TENANT,
    TENANTS,
    GRANTS,
    HAS_TOKENS,
    TOKEN_NAMED,
    TOKEN_HASHED,
    ADD_TOKEN,
    EVENTS,
    EVENT_COUNT,
    EVENT_PAGE,
    EVENT,
    WEBHOOK_COUNT,
    OLDEST_WEBHOOKS,
    NEWEST_WEBHOOKS,
    RESPONSE,
    STORE_RESPONSE,
];

pub(crate) fn tenant(
    conn: &Connection,
    dialect: &DialectName,
    key: &str,
) -> Result<Option<Tenant>, JobError> {
    let found = list(conn, TENANT, params![dialect.as_str(), key], |row| {
        rows::tenant(row, 0)
    })?;
    Ok(found.into_iter().next())
}

pub(crate) fn tenants(conn: &Connection, dialect: &DialectName) -> Result<Vec<Tenant>, JobError> {
    list(conn, TENANTS, [dialect.as_str()], |row| {
        rows::tenant(row, 0)
    })
}

pub(crate) fn grants(conn: &Connection, hash: TokenHash) -> Result<Vec<Grant>, JobError> {
    list(conn, GRANTS, [hash.0], rows::grant)
}

pub(crate) fn has_tokens(conn: &Connection) -> Result<bool, JobError> {
    let any = conn
        .prepare_cached(HAS_TOKENS)?
        .query_row([], |row| row.get(0))?;
    Ok(any)
}

pub(crate) fn create_token(
    tx: &mut Tx<'_>,
    token: &NewToken,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    let tenant = token.tenant.map(|tenant| tenant.0);
    let owner = tenant.unwrap_or(0);
    if exists(tx, TOKEN_NAMED, params![owner, token.name])? {
        return Err(StoreError::Conflict(Conflict::TokenName).into());
    }
    if exists(tx, TOKEN_HASHED, params![owner, token.hash.0])? {
        return Err(StoreError::Conflict(Conflict::TokenHash).into());
    }
    tx.conn.prepare_cached(ADD_TOKEN)?.execute(params![
        tenant,
        token.name,
        token.hash.0,
        rows::token_kind_number(token.kind),
        token.permissions.to_string(),
        token.active,
        token.default,
        at.as_millis(),
    ])?;
    tx.post_commit.catalog_changed();
    let Some(tenant) = token.tenant else {
        return Ok(());
    };
    audit::write(
        tx,
        &AuditRecord {
            tenant,
            at,
            actor,
            action: "token.created",
            webhook: None,
            detail: audit::of_token(token),
        },
    )
}

pub(crate) fn events(conn: &Connection, tenant: TenantId) -> Result<Vec<Event>, JobError> {
    list(conn, EVENTS, [tenant.0], rows::event)
}

pub(crate) fn event_page(
    conn: &Connection,
    tenant: TenantId,
    offset: u64,
    limit: usize,
) -> Result<EventPage, JobError> {
    let count: i64 = conn
        .prepare_cached(EVENT_COUNT)?
        .query_row([tenant.0], |row| row.get(0))?;
    let limit = i64::try_from(limit.min(limits::PAGE_ROWS_MAX)).unwrap_or(0);
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let params = params![tenant.0, limit, offset];
    Ok(EventPage {
        count: u64::try_from(count).unwrap_or(0),
        events: list(conn, EVENT_PAGE, params, rows::event)?,
    })
}

pub(crate) fn event(
    conn: &Connection,
    tenant: TenantId,
    slug: &str,
) -> Result<Option<Event>, JobError> {
    let found = list(conn, EVENT, params![tenant.0, slug], rows::event)?;
    Ok(found.into_iter().next())
}

/// Of several tenants the ids are put in one order first, then only the page is read.
pub(crate) fn webhooks(
    conn: &Connection,
    tenants: &[TenantId],
    query: WebhookQuery,
) -> Result<WebhookPage, JobError> {
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let reach = i64::try_from(offset.saturating_add(limit)).unwrap_or(i64::MAX);
    let (mut count, mut ids) = (0, Vec::new());
    for tenant in tenants {
        let own: i64 = conn
            .prepare_cached(WEBHOOK_COUNT)?
            .query_row(params![tenant.0, query.enabled], |row| row.get(0))?;
        count += u64::try_from(own).unwrap_or(0);
        let sql = match query.newest_first {
            true => NEWEST_WEBHOOKS,
            false => OLDEST_WEBHOOKS,
        };
        let params = params![tenant.0, query.enabled, reach];
        ids.extend(list(conn, sql, params, |row| {
            Ok((*tenant, WebhookId(row.get(0)?)))
        })?);
    }
    ids.sort_by_key(|(_, id)| *id);
    if query.newest_first {
        ids.reverse();
    }
    let page = ids.into_iter().skip(offset).take(limit);
    let found = page.map(|(tenant, id)| webhooks::find(conn, tenant, id));
    Ok(WebhookPage {
        count,
        webhooks: found
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?,
    })
}

pub(crate) fn stored_response(
    conn: &Connection,
    key: &str,
    holder: TokenHash,
) -> Result<Option<StoredResponse>, JobError> {
    let found = list(conn, RESPONSE, params![key, holder.0], |row| {
        Ok(StoredResponse {
            key: row.get(0)?,
            holder: rows::hash(row, 1)?,
            request: rows::hash(row, 2)?,
            status: row.get(3)?,
            headers: rows::headers(row, 4)?,
            body: rows::bytes(row, 5)?,
        })
    })?;
    Ok(found.into_iter().next())
}

/// Answers that were kept before are forgotten. When they were kept is a time of the schedule: a
/// clock that is set makes none older or younger.
pub(crate) fn responses_kept_from(tx: &mut Tx<'_>, now: Timestamp) -> Result<Timestamp, JobError> {
    Ok(tx.schedule(now)?.plus_ms(-limits::IDEMPOTENCY_RETENTION_MS))
}

pub(crate) fn store_response(
    tx: &mut Tx<'_>,
    answer: &StoredResponse,
    now: Timestamp,
) -> Result<(), JobError> {
    let (at, kept_from) = (tx.schedule(now)?, responses_kept_from(tx, now)?);
    tx.conn.prepare_cached(STORE_RESPONSE)?.execute(params![
        answer.key,
        answer.holder.0,
        answer.request.0,
        answer.status,
        rows::blob(&answer.headers.0),
        &answer.body[..],
        at.as_millis(),
        kept_from.as_millis(),
    ])?;
    Ok(())
}

pub(crate) fn exists(
    tx: &Tx<'_>,
    sql: &'static str,
    params: impl Params,
) -> Result<bool, JobError> {
    let found = tx
        .conn
        .prepare_cached(sql)?
        .query_row(params, |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// All rows of a question whose answer is small.
pub(crate) fn list<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, JobError>,
) -> Result<Vec<T>, JobError> {
    let mut found = Vec::new();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}
