//! Writing webhooks: created, changed, disabled. Subscriptions are an index from match key to
//! webhook, kept only while the webhook is enabled.

use std::collections::BTreeSet;

use model::contract::{Conflict, Settlement, StoreError};
use model::filter::Subscription;
use model::id::{TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, NewWebhook, Webhook};
use serde_json::json;

use crate::postgres;
use crate::sql::Connection;
use crate::sql::audit::{self, AuditRecord};
use crate::sql::cancel;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{own_headers, query, signatures, webhook_history, webhook_rows, webhook_tls};

shared_statements! {
    // Whether there are more than so many that are not deleted, by the index `webhook_tenant`.
    MORE_THAN = "
        select 1 from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3
        limit 1 offset ?2";
    ADD = "
        insert into webhook
          (tenant_id, target_url, disabled_at, disabled_cause, filter, settings, headers,
           created_at, updated_at, version, key, retries_max)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, 1, ?9, ?10)";
    SAVE = "
        update webhook
        set target_url = ?2, disabled_at = ?3, disabled_cause = ?4, filter = ?5, settings = ?6,
          headers = ?7, updated_at = ?8, version = ?9, retries_max = ?10,
          paused_until = case when ?11 then paused_until end,
          key = ?12
        where id = ?1";
    // It may only grow, and does not count if the webhook was changed while the attempt ran.
    PAUSE = "
        update webhook set paused_until = ?2
        where id = ?1 and version = ?3 and coalesce(paused_until, 0) < ?2";
    ADD_SUBSCRIPTION = "
        insert into wish (tenant_id, topic, scope, webhook_id) values (?1, ?2, ?3, ?4)";
    REMOVE_SUBSCRIPTION = "
        delete from wish
        where tenant_id = ?1 and topic = ?2 and scope = ?3 and webhook_id = ?4";
}

/// Creates a webhook, unless its tenant has as many as it may have.
pub(crate) fn create(
    tx: &mut dyn Transaction,
    new: NewWebhook,
    actor: &str,
    at: Timestamp,
) -> Result<Webhook, JobError> {
    let created = add(tx, new, actor, at)?;
    bound(tx, created.tenant)?;
    Ok(created)
}

/// To be called after whatever may have given the tenant more webhooks.
pub(crate) fn bound(tx: &dyn Transaction, tenant: TenantId) -> Result<(), JobError> {
    let most = i64::try_from(limits::WEBHOOKS_MAX).unwrap_or(i64::MAX);
    match query::exists(tx.conn(), MORE_THAN, values![tenant.0, most])? {
        true => Err(StoreError::TooManyWebhooks.into()),
        false => Ok(()),
    }
}

/// Creates a webhook. The caller has to call `bound`.
pub(crate) fn add(
    tx: &mut dyn Transaction,
    new: NewWebhook,
    actor: &str,
    at: Timestamp,
) -> Result<Webhook, JobError> {
    if let Some(key) = &new.key {
        refuse_taken_key(tx, new.tenant, key)?;
    }
    let id = tx.insert(
        ADD,
        values![
            new.tenant.0,
            new.target_url,
            new.disabled.map(|disabled| disabled.at.as_millis()),
            new.disabled
                .map(|disabled| rows::disabled_number(disabled.cause)),
            serde_json::to_string(&new.filter)?,
            new.settings,
            rows::blob(&new.headers.0),
            at.as_millis(),
            new.key,
            new.retries_max,
        ],
    )?;
    let webhook = Webhook {
        id: WebhookId(id),
        tenant: new.tenant,
        key: new.key,
        target_url: new.target_url,
        disabled: new.disabled,
        filter: new.filter,
        settings: new.settings,
        headers: new.headers,
        retries_max: new.retries_max,
        paused_until: None,
        created_at: at,
        updated_at: at,
        version: 1,
    };
    update_subscriptions(tx, None, &webhook)?;
    webhook_history::keep_none(tx, &webhook)?;
    AuditRecord::new(webhook.tenant, at, actor, "webhook.created")
        .about(webhook.id)
        .with(audit::of_webhook(&webhook))
        .write(tx)?;
    tx.post_commit().changed(webhook.id);
    tx.post_commit().catalog_changed();
    Ok(webhook)
}

fn refuse_taken_key(tx: &dyn Transaction, tenant: TenantId, key: &str) -> Result<(), JobError> {
    match webhook_rows::find_key(tx.conn(), tenant, key)? {
        Some(_) => Err(StoreError::Conflict(Conflict::WebhookKey).into()),
        None => Ok(()),
    }
}

/// Saves a changed webhook. `Stale` unless its version is the stored one, or if it is gone.
pub(crate) fn save(
    tx: &mut dyn Transaction,
    webhook: Webhook,
    actor: &str,
    at: Timestamp,
) -> Result<Webhook, JobError> {
    if webhook_rows::find(tx.conn(), webhook.tenant, webhook.id)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    save_any(tx, webhook, actor, at)
}

/// The same, and a deleted webhook may come back.
pub(crate) fn save_any(
    tx: &mut dyn Transaction,
    webhook: Webhook,
    actor: &str,
    at: Timestamp,
) -> Result<Webhook, JobError> {
    let before = webhook_rows::find_any(tx.conn(), webhook.id)?
        .filter(|stored| stored.tenant == webhook.tenant && stored.version == webhook.version)
        .ok_or(StoreError::Stale)?;
    if before.key.is_none()
        && let Some(key) = &webhook.key
    {
        refuse_taken_key(tx, webhook.tenant, key)?;
    }
    let same_target = before.target_url == webhook.target_url;
    let after = Webhook {
        // A key that was given stays.
        key: before.key.clone().or_else(|| webhook.key.clone()),
        paused_until: before.paused_until.filter(|_| same_target),
        created_at: before.created_at,
        updated_at: at,
        version: before.version.saturating_add(1),
        ..webhook
    };
    write(tx, &before, &after)?;
    match (before.disabled, after.disabled) {
        (None, Some(disabled)) => {
            cancel::cancel_pending(tx, after.id, disabled.cause, at)?;
        }
        // What was pending when it was disabled is cancelled before anything is owed again.
        (Some(disabled), None) => {
            let count = cancel::cancel_pending(tx, after.id, disabled.cause, at)?;
            if count >= limits::BULK_STEP_MAX || tx.may_owe(after.tenant, after.id)? {
                return Err(StoreError::Busy.into());
            }
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    let action = match after.is_deleted() {
        true => {
            signatures::remove_all(tx, after.id)?;
            own_headers::remove_all(tx, after.id)?;
            webhook_tls::remove_all(tx, after.id)?;
            "webhook.deleted"
        }
        false => "webhook.changed",
    };
    AuditRecord::new(after.tenant, at, actor, action)
        .about(after.id)
        .with(audit::of_change(&before, &after))
        .write(tx)?;
    Ok(after)
}

/// Disables the webhook whose receiver said in an attempt that it is gone.
pub(crate) fn disable_gone(
    tx: &mut dyn Transaction,
    settlement: &Settlement,
) -> Result<(), JobError> {
    let (id, at) = (settlement.id, settlement.ended_at);
    let Some(before) = webhook_rows::find_any(tx.conn(), id.webhook)? else {
        return Ok(());
    };
    // Somebody changed the webhook while the attempt ran: it may have met another receiver. If not,
    // the next attempt will tell.
    let outdated = before.version != settlement.webhook_version;
    if !before.enabled() || outdated {
        return Ok(());
    }
    let cause = DisableCause::Gone;
    let after = Webhook {
        disabled: Some(Disablement { at, cause }),
        updated_at: at,
        version: before.version.saturating_add(1),
        ..before.clone()
    };
    write(tx, &before, &after)?;
    cancel::cancel_pending(tx, id.webhook, cause, at)?;
    AuditRecord::new(after.tenant, at, audit::WILLCALL, "webhook.disabled")
        .about(after.id)
        .with(json!({
            "cause": cause.as_str(),
            "target_url": model::target::masked(&after.target_url),
            "delivery": id.to_string(),
        }))
        .write(tx)
}

/// Pauses the webhook until its receiver wants to be called again.
pub(crate) fn pause(
    tx: &dyn Transaction,
    settlement: &Settlement,
    until: Timestamp,
) -> Result<(), JobError> {
    tx.execute(
        PAUSE,
        values![
            settlement.id.webhook.0,
            until.as_millis(),
            settlement.webhook_version,
        ],
    )?;
    Ok(())
}

fn write(tx: &mut dyn Transaction, before: &Webhook, after: &Webhook) -> Result<(), JobError> {
    tx.execute(
        SAVE,
        values![
            after.id.0,
            after.target_url,
            after.disabled.map(|disabled| disabled.at.as_millis()),
            after
                .disabled
                .map(|disabled| rows::disabled_number(disabled.cause)),
            serde_json::to_string(&after.filter)?,
            after.settings,
            rows::blob(&after.headers.0),
            after.updated_at.as_millis(),
            after.version,
            after.retries_max,
            after.paused_until.is_some(),
            after.key,
        ],
    )?;
    update_subscriptions(tx, Some(before), after)?;
    webhook_history::keep(tx, before, after)?;
    tx.post_commit().changed(after.id);
    tx.post_commit().catalog_changed();
    Ok(())
}

/// Updates the index of subscriptions from `before` to `after`.
fn update_subscriptions(
    tx: &mut dyn Transaction,
    before: Option<&Webhook>,
    after: &Webhook,
) -> Result<(), JobError> {
    let same =
        |before: &Webhook| before.enabled() == after.enabled() && before.filter == after.filter;
    if before.is_some_and(same) {
        return Ok(());
    }
    tx.lock_tenant(after.tenant)?;
    if !is_on(Mutation::StaleFilter) {
        tx.forget_subscriptions();
    }
    let old = before.map_or_else(BTreeSet::new, indexed);
    let new = indexed(after);
    if let Connection::Postgres(conn) = tx.conn() {
        let removed: Vec<_> = old.difference(&new).copied().collect();
        let added: Vec<_> = new.difference(&old).copied().collect();
        return postgres::subscriptions::change(conn, after, &removed, &added);
    }
    let run = |sql, subscription: &Subscription<'_>| -> Result<(), JobError> {
        let scope = webhook_rows::scope_key(subscription.scope);
        tx.execute(
            sql,
            values![after.tenant.0, subscription.topic, scope, after.id.0],
        )?;
        Ok(())
    };
    old.difference(&new)
        .try_for_each(|subscription| run(REMOVE_SUBSCRIPTION, subscription))?;
    new.difference(&old)
        .try_for_each(|subscription| run(ADD_SUBSCRIPTION, subscription))
}

fn indexed(webhook: &Webhook) -> BTreeSet<Subscription<'_>> {
    match webhook.enabled() {
        true => webhook.filter.subscriptions(),
        false => BTreeSet::new(),
    }
}
