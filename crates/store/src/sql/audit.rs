//! The audit log: who changed what. It holds no secrets: URLs are masked, and of headers and
//! settings it says only that they changed, because only a dialect knows what is in them.

use std::collections::BTreeSet;

use crate::sql::{Connection, Row};
use model::dashboard::{AuditQuery, AuditRow};
use model::id::{TenantId, WebhookId};
use model::limits;
use model::query::AuditEntry;
use model::tenant::NewToken;
use model::time::Timestamp;
use model::webhook::Webhook;
use serde_json::{Value, json};

use crate::sql::job_error::JobError;
use crate::sql::query;
use crate::sql::rows;
use crate::sql::transaction::Transaction;

shared_statements! {
    ADD = "
        insert into audit (tenant_id, at, actor, action, webhook_id, detail)
        values (?1, ?2, ?3, ?4, ?5, ?6)";
    LATEST = "
        select at, actor, action, webhook_id, detail from audit indexed by audit_tenant
        where tenant_id = ?1
        order by id desc
        limit ?2";
    PAGE = "
        select id, at, actor, action, webhook_id, detail from audit indexed by audit_tenant
        where tenant_id = ?1 and id < ?2
        order by id desc
        limit ?3";
    PAGE_OF_WEBHOOK = "
        select id, at, actor, action, webhook_id, detail from audit indexed by audit_webhook
        where tenant_id = ?1 and webhook_id = ?4 and id < ?2
        order by id desc
        limit ?3";
}

/// The actor when nobody asked.
pub(crate) const WILLCALL: &str = "willcall";

/// The most entries in an answer, and the most names in an entry: people read them.
const ENTRIES_MAX: usize = 1_000;
const NAMES_MAX: usize = 50;

/// An entry that is to be written.
pub(crate) struct AuditRecord<'a> {
    tenant: TenantId,
    at: Timestamp,
    actor: &'a str,
    action: &'static str,
    webhook: Option<WebhookId>,
    detail: Value,
}

impl<'a> AuditRecord<'a> {
    pub(crate) fn new(
        tenant: TenantId,
        at: Timestamp,
        actor: &'a str,
        action: &'static str,
    ) -> Self {
        Self {
            tenant,
            at,
            actor,
            action,
            webhook: None,
            detail: Value::Null,
        }
    }

    /// The webhook that it is about.
    pub(crate) fn about(self, webhook: WebhookId) -> Self {
        Self {
            webhook: Some(webhook),
            ..self
        }
    }

    pub(crate) fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    pub(crate) fn write(&self, tx: &dyn Transaction) -> Result<(), JobError> {
        tx.execute(
            ADD,
            values![
                self.tenant.0,
                self.at.as_millis(),
                self.actor,
                self.action,
                self.webhook.map(|id| id.0),
                self.detail.to_string(),
            ],
        )?;
        Ok(())
    }
}

pub(crate) fn latest(
    conn: Connection<'_>,
    tenant: TenantId,
    limit: usize,
) -> Result<Vec<AuditEntry>, JobError> {
    let limit = i64::try_from(limit.min(ENTRIES_MAX)).unwrap_or(0);
    query::list(conn, LATEST, values![tenant.0, limit], |row| entry(row, 0))
}

pub(crate) fn page(
    conn: Connection<'_>,
    tenant: TenantId,
    query: &AuditQuery,
) -> Result<Vec<AuditRow>, JobError> {
    let limit = i64::try_from(query.limit.min(limits::PAGE_ROWS_MAX)).unwrap_or(0);
    let below = query.older_than.unwrap_or(i64::MAX);
    let row = |row: &Row<'_>| {
        Ok(AuditRow {
            number: row.get(0)?,
            entry: entry(row, 1)?,
        })
    };
    match query.webhook {
        None => query::list(conn, PAGE, values![tenant.0, below, limit], row),
        Some(webhook) => {
            let asked = values![tenant.0, below, limit, webhook.0];
            query::list(conn, PAGE_OF_WEBHOOK, asked, row)
        }
    }
}

/// `at, actor, action, webhook_id, detail` from this column on.
fn entry(row: &Row<'_>, at: usize) -> Result<AuditEntry, JobError> {
    Ok(AuditEntry {
        at: rows::time(row, at)?,
        actor: row.get(at + 1)?,
        action: row.get(at + 2)?,
        webhook: row.get::<_, Option<i64>>(at + 3)?.map(WebhookId),
        detail: row.get(at + 4)?,
    })
}

pub(crate) fn of_token(token: &NewToken) -> Value {
    json!({
        "name": token.name,
        "permissions": token.permissions.to_string(),
        "active": token.active,
        "default": token.default,
        "kind": token.kind.as_str(),
    })
}

pub(crate) fn of_webhook(webhook: &Webhook) -> Value {
    let sets = &webhook.filter.0;
    let topics = sets.iter().flat_map(|all| &all.topics);
    let scopes = sets.iter().flat_map(|all| all.scopes.iter().flatten());
    json!({
        "target_url": model::target::masked(&webhook.target_url),
        "enabled": webhook.enabled(),
        "topics": names(topics.map(String::as_str).collect()),
        "scopes": names(scopes.map(String::as_str).collect()),
        "any_scope": sets.iter().any(|all| all.scopes.is_none()),
    })
}

pub(crate) fn of_change(before: &Webhook, after: &Webhook) -> Value {
    let same = [
        ("target_url", before.target_url == after.target_url),
        ("enabled", before.enabled() == after.enabled()),
        ("filter", before.filter == after.filter),
        ("settings", before.settings == after.settings),
        ("headers", before.headers == after.headers),
        ("retries_max", before.retries_max == after.retries_max),
    ];
    let changed: Vec<&str> = same
        .iter()
        .filter(|(_, same)| !same)
        .map(|(field, _)| *field)
        .collect();
    json!({
        "changed": changed,
        "before": of_webhook(before),
        "after": of_webhook(after),
    })
}

/// The first `NAMES_MAX` names, and how many more there are.
fn names(all: BTreeSet<&str>) -> Value {
    let more = all.len().saturating_sub(NAMES_MAX);
    let mut shown: Vec<String> = all.into_iter().take(NAMES_MAX).map(str::to_owned).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    json!(shown)
}
