//! What the dashboard asks about tenants, webhooks and tokens. The log is in `log.rs`.

use std::cmp::Ordering;

use crate::sql::row::ReadRow;
use crate::sql::{Connection, Row};
use model::dashboard::{TenantQuery, TenantSettings, TokenRow, WebhookSearch, WebhookSearchPage};
use model::id::{TenantId, TokenId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::tenant::{DialectName, Tenant, TokenHash};
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{query, webhook_rows};

shared_statements! {
    TENANT = "select id, dialect, key, name, kept_ms from tenant where id = ?1";
    TENANTS = "
        select id, dialect, key, name from tenant indexed by tenant_name
        where name collate nocase >= ?1 and (name collate nocase > ?1 or id > ?2)
          and (instr(lower(name), ?3) > 0 or instr(lower(key), ?3) > 0) and dialect <> ?5
        order by name collate nocase, id
        limit ?4" | "
        select id, dialect, key, name from tenant
        where (lower(left(name, 500)), id) > (?1, ?2)
          and (strpos(lower(name), ?3) > 0 or strpos(lower(key), ?3) > 0) and dialect <> ?5
        order by lower(left(name, 500)), id
        limit ?4";
    SET_RETENTION = "update tenant set kept_ms = ?2 where id = ?1";
    WEBHOOKS = "
        select id, target_url, settings from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3 and id < ?2
        order by id desc
        limit ?3";
    TOKENS = "
        select id, tenant_id, name, kind, permissions, active, created_at, used_at
        from token indexed by token_name
        where coalesce(tenant_id, 0) = ?1
        order by name";
    TOKENS_BEHIND = "
        select id, tenant_id, name, kind, permissions, active, created_at, used_at
        from token indexed by token_name
        where coalesce(tenant_id, 0) = ?1 and name > ?2
        order by name
        limit ?3";
    TOKEN_NAMED = "
        select id, tenant_id, name, kind, permissions, active, created_at, used_at
        from token indexed by token_name
        where coalesce(tenant_id, 0) = ?1 and name = ?2";
    TOKEN = "select tenant_id, name, active from token where id = ?1";
    REVOKE = "update token set active = false where id = ?1";
    // Uses may arrive out of order, and from a clock that was ahead.
    NOTE_USE = "
        update token set used_at = ?2
        where hash = ?1 and (used_at is null or used_at < ?2 or used_at > ?3)";
}

pub(crate) fn find_tenants(
    conn: Connection<'_>,
    query: &TenantQuery,
) -> Result<Vec<Tenant>, JobError> {
    let text = query.text.to_ascii_lowercase();
    let limit = query.limit.min(limits::PAGE_ROWS_MAX + 1);
    let after = match query.after {
        Some(id) => settings(conn, id)?.map(|found| found.tenant),
        None => None,
    };
    let Some(among) = &query.among else {
        let after = after.map_or((String::new(), 0), |tenant| {
            (tenant.name.to_ascii_lowercase(), tenant.id.0)
        });
        let most = i64::try_from(limit).unwrap_or(0);
        let but = query.but_dialect.as_ref().map_or("", DialectName::as_str);
        let asked = values![after.0, after.1, text, most, but];
        return query::list(conn, TENANTS, asked, |row| rows::tenant(row, 0));
    };
    let mut found = Vec::new();
    for id in among.iter().take(limits::SCANNED_ROWS_MAX) {
        found.extend(settings(conn, *id)?.map(|found| found.tenant));
    }
    let has = |words: &str| words.to_ascii_lowercase().contains(&text);
    found.retain(|tenant| {
        let behind = after
            .as_ref()
            .is_none_or(|after| by_name(tenant, after).is_gt());
        behind && (has(&tenant.name) || has(&tenant.key))
    });
    found.sort_by(by_name);
    found.dedup_by_key(|tenant| tenant.id);
    found.truncate(limit);
    Ok(found)
}

/// The order of the index `tenant_name`.
fn by_name(one: &Tenant, other: &Tenant) -> Ordering {
    let name = |tenant: &Tenant| (tenant.name.to_ascii_lowercase(), tenant.id);
    name(one).cmp(&name(other))
}

pub(crate) fn settings(
    conn: Connection<'_>,
    tenant: TenantId,
) -> Result<Option<TenantSettings>, JobError> {
    query::first(conn, TENANT, values![tenant.0], |row| {
        Ok(TenantSettings {
            tenant: rows::tenant(row, 0)?,
            retention_ms: row.get(4)?,
        })
    })
}

pub(crate) fn set_retention(
    tx: &dyn Transaction,
    tenant: TenantId,
    retention_ms: Option<i64>,
    actor: &str,
    at: Timestamp,
) -> Result<(), JobError> {
    let retention_ms = retention_ms.map(|ms| ms.max(0));
    let before = settings(tx.conn(), tenant)?;
    let Some(before) = before.filter(|before| before.retention_ms != retention_ms) else {
        return Ok(());
    };
    tx.execute(SET_RETENTION, values![tenant.0, retention_ms])?;
    AuditRecord::new(tenant, at, actor, "retention.changed")
        .with(json!({ "before_ms": before.retention_ms, "after_ms": retention_ms }))
        .write(tx)
}

/// Looks at no more than `limits::SCANNED_ROWS_MAX` webhooks.
pub(crate) fn find_webhooks(
    conn: Connection<'_>,
    tenant: TenantId,
    query: &WebhookSearch,
) -> Result<WebhookSearchPage, JobError> {
    let text = query.text.to_ascii_lowercase();
    let limit = query.limit.min(limits::PAGE_ROWS_MAX);
    let has = |words: &str| words.to_ascii_lowercase().contains(&text);
    let from = query.older_than.map_or(i64::MAX, |id| id.0);
    let most = rows::bound(limits::SCANNED_ROWS_MAX);
    let mut page = WebhookSearchPage {
        webhooks: Vec::new(),
        older: None,
    };
    let (mut looked_at, mut last) = (0, None);
    let asked = values![tenant.0, from, most];
    conn.rows(WEBHOOKS, asked, |row| {
        if page.webhooks.len() >= limit {
            page.older = last;
            return Ok(false);
        }
        looked_at += 1;
        let id = WebhookId(row.get(0)?);
        last = Some(id);
        let (url, settings) = (row.cell(1)?.text()?, row.cell(2)?.text()?);
        if text.is_empty() || has(&model::target::masked(&url)) || has(&settings) {
            page.webhooks.extend(webhook_rows::find(conn, tenant, id)?);
        }
        Ok(true)
    })?;
    if page.older.is_none() && looked_at >= limits::SCANNED_ROWS_MAX {
        page.older = last;
    }
    Ok(page)
}

pub(crate) fn tokens(
    conn: Connection<'_>,
    tenant: Option<TenantId>,
) -> Result<Vec<TokenRow>, JobError> {
    let owner = tenant.map_or(0, |tenant| tenant.0);
    query::list(conn, TOKENS, values![owner], token)
}

pub(crate) fn tokens_behind(
    conn: Connection<'_>,
    tenant: Option<TenantId>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TokenRow>, JobError> {
    let owner = tenant.map_or(0, |tenant| tenant.0);
    let limit = rows::bound(limit.min(limits::PAGE_ROWS_MAX + 1));
    let after = after.unwrap_or_default();
    let asked = values![owner, after, limit];
    query::list(conn, TOKENS_BEHIND, asked, token)
}

pub(crate) fn token_named(
    conn: Connection<'_>,
    tenant: Option<TenantId>,
    name: &str,
) -> Result<Option<TokenRow>, JobError> {
    let owner = tenant.map_or(0, |tenant| tenant.0);
    query::first(conn, TOKEN_NAMED, values![owner, name], token)
}

fn token(row: &Row<'_>) -> Result<TokenRow, JobError> {
    let permissions = row.cell(4)?.text()?;
    Ok(TokenRow {
        id: TokenId(row.get(0)?),
        tenant: row.get::<_, Option<i64>>(1)?.map(TenantId),
        name: row.get(2)?,
        kind: rows::kind(row.get(3)?)?,
        permissions: permissions
            .parse()
            .map_err(|_| CorruptRow("set of permissions"))?,
        active: row.get(5)?,
        created_at: rows::time(row, 6)?,
        used_at: rows::time_if_any(row, 7)?,
    })
}

pub(crate) fn revoke_token(
    tx: &mut dyn Transaction,
    tenant: Option<TenantId>,
    token: TokenId,
    actor: &str,
    at: Timestamp,
) -> Result<bool, JobError> {
    let found: Option<(Option<i64>, String, bool)> =
        query::first(tx.conn(), TOKEN, values![token.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let found = found.filter(|(owner, _, _)| *owner == tenant.map(|tenant| tenant.0));
    let Some((_, name, active)) = found else {
        return Ok(false);
    };
    if !active {
        return Ok(true);
    }
    if !is_on(Mutation::ForgetRevocation) {
        tx.execute(REVOKE, values![token.0])?;
    }
    tx.post_commit().catalog_changed();
    if let Some(tenant) = tenant {
        AuditRecord::new(tenant, at, actor, "token.revoked")
            .with(json!({ "name": name, "before": "active", "after": "revoked" }))
            .write(tx)?;
    }
    Ok(true)
}

/// Not a change of the catalog: that would empty every cache.
pub(crate) fn note_uses(
    tx: &dyn Transaction,
    uses: &[(TokenHash, Timestamp)],
) -> Result<(), JobError> {
    for (hash, at) in uses {
        let ahead = at.plus_ms(limits::CLOCK_AHEAD_MAX_MS);
        tx.execute(NOTE_USE, values![hash.0, at.as_millis(), ahead.as_millis()])?;
    }
    Ok(())
}
