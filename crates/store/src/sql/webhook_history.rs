//! Webhook history: former states of webhooks, which explain what each was to a notification.
//!
//! A state is kept whenever something changes that decides what a webhook gets, with the
//! notification that was the latest then: those with higher ids met the next state. A state that
//! met no notification is not kept.

use std::collections::BTreeSet;

use crate::sql::{Connection, Row};
use model::dashboard::{MatchExplanation, WebhookSnapshot};
use model::delivery::DeliveryState;
use model::id::{NotificationId, TenantId, WebhookId};
use model::limits;
use model::webhook::Webhook;

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{id_range, notification_rows};
use crate::sql::{query, webhook_rows};

shared_statements! {
    // No earlier than a state before: in a database the latest notification of the tenant counts,
    // and in a file, which may have been moved there, the latest of all.
    SAVE = "
        insert into webhook_past
          (webhook_id, until, tenant_id, disabled_at, disabled_cause, filter, settings, deletes)
        values (?1, max(?2, coalesce((
          select max(until) from webhook_past where webhook_id = ?1), 0)),
          ?3, ?4, ?5, ?6, ?7, ?8)
        on conflict (webhook_id, until) do update
        set deletes = webhook_past.deletes or ?8" | "
        insert into webhook_past
          (webhook_id, until, tenant_id, disabled_at, disabled_cause, filter, settings, deletes)
        values (?1, greatest(?2, (
          select max(until) from webhook_past where webhook_id = ?1)),
          ?3, ?4, ?5, ?6, ?7, ?8)
        on conflict (webhook_id, until) do update
        set deletes = webhook_past.deletes or ?8";
    THEN = "
        select disabled_at, disabled_cause, filter, settings from webhook_past
        where webhook_id = ?1 and until >= ?2
        order by until
        limit 1";
    // Notifications with higher ids than `until` met the state that followed.
    ENABLED_UPTO = "
        select until from webhook_past
        where webhook_id = ?1 and until >= ?2 and disabled_at is null and filter is not null
        order by until desc
        limit 1";
    LIVE = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3 and id > ?2
        order by id
        limit ?3";
    DELETED_LATER = "
        select distinct p.webhook_id from webhook_past p indexed by webhook_past_deleted
        where p.deletes = 1 and p.tenant_id = ?1 and p.webhook_id > ?2 and p.until >= ?4
          and not exists (
            select 1 from webhook_past
            where webhook_id = p.webhook_id and until >= ?4 and filter is null)
        order by p.webhook_id
        limit ?3" | "
        select distinct p.webhook_id from webhook_past p
        where p.deletes and p.tenant_id = ?1 and p.webhook_id > ?2 and p.until >= ?4
          and not exists (
            select 1 from webhook_past
            where webhook_id = p.webhook_id and until >= ?4 and filter is null)
        order by p.webhook_id
        limit ?3";
    OWED = "
        select w.id from webhook w indexed by webhook_deleted
        where w.tenant_id = ?1 and w.disabled_cause = 3 and w.id > ?2 and (
          exists (
            select 1 from delivery
            where /*postgres tenant_id = ?1 and */ webhook_id = w.id and notification_id = ?4)
          or exists (
            select 1 from fresh
            where /*postgres tenant_id = ?1 and */ webhook_id = w.id and notification_id = ?4))
        order by w.id
        limit ?3";
    DELIVERY = "
        select state, cause, attempts from delivery
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2
        union all
        select 4, null, 0 from fresh
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?2) and */
          notification_id = ?1 and webhook_id = ?2";
}

/// Keeps the state before, if something has changed that decides what the webhook gets.
pub(crate) fn keep(
    tx: &mut dyn Transaction,
    before: &Webhook,
    after: &Webhook,
) -> Result<(), JobError> {
    let same = before.disabled == after.disabled
        && before.settings == after.settings
        && before.filter == after.filter;
    if same {
        return Ok(());
    }
    tx.lock_tenant(before.tenant)?;
    tx.execute(
        SAVE,
        values![
            before.id.0,
            id_range::latest_id(tx.conn(), before.tenant)?,
            before.tenant.0,
            before.disabled.map(|disabled| disabled.at.as_millis()),
            before
                .disabled
                .map(|disabled| rows::disabled_number(disabled.cause)),
            serde_json::to_string(&before.filter)?,
            before.settings,
            after.is_deleted(),
        ],
    )?;
    Ok(())
}

/// Keeps that the webhook did not exist.
pub(crate) fn keep_none(tx: &mut dyn Transaction, created: &Webhook) -> Result<(), JobError> {
    tx.lock_tenant(created.tenant)?;
    tx.execute(
        SAVE,
        values![
            created.id.0,
            id_range::latest_id(tx.conn(), created.tenant)?,
            created.tenant.0,
            None::<i64>,
            None::<i64>,
            None::<String>,
            None::<String>,
            false,
        ],
    )?;
    Ok(())
}

/// The last notification that can have met the webhook enabled, which is disabled now; `None` if it
/// is before `from`.
pub(crate) fn enabled_upto(
    conn: Connection<'_>,
    webhook: WebhookId,
    from: NotificationId,
) -> Result<Option<NotificationId>, JobError> {
    query::first(conn, ENABLED_UPTO, values![webhook.0, from.0], |row| {
        Ok(NotificationId(row.get(0)?))
    })
}

pub(crate) fn match_explanations(
    conn: Connection<'_>,
    tenant: TenantId,
    notification: NotificationId,
    after: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<MatchExplanation>, JobError> {
    if !notification_rows::exists(conn, tenant, notification)? {
        return Ok(Vec::new());
    }
    let limit = limit.min(limits::PAGE_ROWS_MAX);
    let (id, after) = (notification.0, after.map_or(0, |webhook| webhook.0));
    let most = i64::try_from(limit).unwrap_or(0);
    let webhook = |row: &Row<'_>| Ok(WebhookId(row.get(0)?));
    let mut found: BTreeSet<WebhookId> = BTreeSet::new();
    found.extend(query::list(
        conn,
        LIVE,
        values![tenant.0, after, most],
        webhook,
    )?);
    let deleted = values![tenant.0, after, most, id];
    found.extend(query::list(conn, DELETED_LATER, deleted, webhook)?);
    found.extend(query::list(conn, OWED, deleted, webhook)?);
    let mut page = Vec::new();
    for webhook in found.into_iter().take(limit) {
        // A webhook of another tenant can only come from a corrupt row.
        if let Some(webhook) = webhook_rows::find_any(conn, webhook)?
            && webhook.tenant == tenant
        {
            page.push(match_explanation(conn, webhook, notification)?);
        }
    }
    Ok(page)
}

fn match_explanation(
    conn: Connection<'_>,
    webhook: Webhook,
    notification: NotificationId,
) -> Result<MatchExplanation, JobError> {
    let keys = values![notification.0, webhook.id.0];
    let delivery = query::first(conn, DELIVERY, keys, |row| {
        let state: DeliveryState = rows::state(row.get(0)?, row.get(1)?)?;
        Ok((state, row.get(2)?))
    })?;
    let past = query::first(conn, THEN, values![webhook.id.0, notification.0], then)?;
    let then = match past {
        Some(then) => then,
        None => Some(WebhookSnapshot {
            disabled: webhook.disabled,
            settings: webhook.settings.clone(),
            filter: webhook.filter.clone(),
            changed_since: false,
        }),
    };
    Ok(MatchExplanation {
        webhook,
        then,
        delivery,
    })
}

/// `None` if the webhook did not exist yet.
fn then(row: &Row<'_>) -> Result<Option<WebhookSnapshot>, JobError> {
    let Some(filter) = row.get::<_, Option<String>>(2)? else {
        return Ok(None);
    };
    let settings: Option<String> = row.get(3)?;
    Ok(Some(WebhookSnapshot {
        disabled: rows::disabled(rows::time_if_any(row, 0)?, row.get(1)?)?,
        settings: settings.ok_or(CorruptRow("state of a webhook"))?,
        filter: serde_json::from_str(&filter)?,
        changed_since: true,
    }))
}
