//! Accepting: writes down a notification and all its deliveries, in the order given.
//!
//! Tenant and key identify a notification. If they are known and the content (body, action type and
//! digest) is the same, it is a duplicate, else a conflict. Neither changes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::delivery::{Delivery, DueDelivery};
use model::filter::MatchKey;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::limits::EVENTS_REGISTERED_MAX;
use model::mutation::{Mutation, is_on};
use model::notification::{AcceptResult, NewNotification};
use model::time::Timestamp;
use rusqlite::params;
use rusqlite::types::Value;

use crate::sql::intake_cache::warn_of_events;
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::webhook_rows::scope_key;
use crate::sqlite::tx::Tx;
use crate::sqlite::{fan_out, query, sequence, unattempted};

statements! {
    FIND = "
        select id, action_type = ?3 and body = ?4 and digest is ?5, delivery_count, accepted_at
        from notification
        where tenant_id = ?1 and key = ?2";
    // It costs what it finds.
    WANTED = "
        select webhook_id from wish
        where tenant_id = ?1 and topic = ?2 and scope = ?3
        order by webhook_id";
    MAY_BE_TESTED = "
        select id from webhook where id = ?2 and tenant_id = ?1 and disabled_at is null";
    ADD = "
        insert into notification
          (tenant_id, key, action_type, event, headers, body, digest, accepted_at, delivery_count,
           only, about, id, wanted_by)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        on conflict (tenant_id, key) do nothing";
    REGISTERED = "select 1 from event where tenant_id = ?1 and slug = ?2";
    // Counted row by row, because `count(*)` cannot stop early.
    EVENTS = "select 1 from event where tenant_id = ?1 limit ?2";
    REGISTER = "insert into event (tenant_id, slug, name) values (?1, ?2, ?2)";
}

/// What a notification's row has beside what the application sent.
struct AcceptedRow {
    id: i64,
    accepted_at: Timestamp,
    deliveries: u32,
    wanted_by: Option<Value>,
}

pub(crate) fn accept(
    tx: &mut Tx<'_>,
    batch: &[NewNotification],
) -> Result<Vec<AcceptResult>, JobError> {
    for of_tenant in batch.chunk_by(|one, next| one.tenant == next.tenant) {
        if let Some(first) = of_tenant.first() {
            fan_out::vet(tx, first.tenant)?;
        }
    }
    tx.post_commit.reserve(batch.len());
    batch
        .iter()
        .map(|notification| accept_one(tx, notification))
        .collect()
}

fn accept_one(tx: &mut Tx<'_>, new: &NewNotification) -> Result<AcceptResult, JobError> {
    let wanted = match new.only_webhook {
        None => wanted(tx, new.tenant, &new.match_keys)?,
        Some(webhook) => tested(tx, new.tenant, webhook)?,
    };
    let deliveries = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    let before = tx.latest_accepted_at()?;
    let (accepted_at, falls) = tx.accepted_at(new.at)?;
    let wanted_by = unattempted::wanted_by(tx, &wanted)?;
    let id = tx.next_id()?;
    let row = AcceptedRow {
        id,
        accepted_at,
        deliveries,
        wanted_by,
    };
    let is_owed = row.wanted_by.is_some();
    let notification = NotificationId(id);
    let accepted = AcceptResult::Accepted {
        id: notification,
        deliveries,
    };
    if is_on(Mutation::AcknowledgeBeforeCommit) && id % 64 == 0 {
        return Ok(accepted);
    }
    if !add(tx, new, &row)? {
        tx.cache.latest_id = Some(id - 1);
        tx.cache.accepted_at = Some(before);
        return find(tx, new);
    }
    if falls {
        sequence::note_fall(tx, id)?;
    }
    register(tx, new)?;
    if !unattempted::record_owed(tx, new.tenant, id, &wanted, is_owed)? {
        return Ok(accepted);
    }
    if let Some(webhook) = new.only_webhook {
        // Somebody waits for the result, so the subscriber has to look the webhook up again.
        tx.post_commit.changed(webhook);
    }
    let key: Arc<str> = Arc::from(new.key.as_str());
    let action_type: Arc<str> = Arc::from(new.action_type.as_str());
    let due = |webhook| DueDelivery {
        delivery: Delivery {
            id: DeliveryId {
                notification,
                webhook,
            },
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: new.at,
        },
        key: Arc::clone(&key),
        action_type: Arc::clone(&action_type),
        accepted_at: new.at,
        headers: new.headers.clone(),
        body: new.body.clone(),
    };
    match new.only_webhook {
        // A test: somebody is looking at the page.
        Some(_) => wanted
            .iter()
            .for_each(|webhook| tx.post_commit.requested(due(*webhook))),
        None => tx.post_commit.accepted(&wanted, new.at, due),
    }
    Ok(accepted)
}

/// Inserts the notification. Answers whether it is new.
fn add(tx: &mut Tx<'_>, new: &NewNotification, row: &AcceptedRow) -> Result<bool, JobError> {
    let added = tx.hot.get(tx.conn, ADD)?.execute(params![
        new.tenant.0,
        new.key,
        new.action_type,
        new.event,
        rows::blob(&new.headers.0),
        &new.body[..],
        new.digest,
        row.accepted_at.as_millis(),
        row.deliveries,
        new.only_webhook.map(|webhook| webhook.0),
        new.match_context,
        row.id,
        row.wanted_by,
    ])?;
    Ok(added > 0)
}

/// The notification that has this key.
fn find(tx: &mut Tx<'_>, new: &NewNotification) -> Result<AcceptResult, JobError> {
    let (id, same, deliveries, accepted_at): (i64, bool, u32, i64) =
        tx.hot.get(tx.conn, FIND)?.query_row(
            params![
                new.tenant.0,
                new.key,
                new.action_type,
                &new.body[..],
                new.digest
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
    let id = NotificationId(id);
    Ok(match same {
        true => AcceptResult::Duplicate { id, deliveries },
        false => AcceptResult::Conflict {
            id,
            accepted_at: Timestamp::from_millis(accepted_at),
        },
    })
}

/// The webhooks that want one of `match_keys`, each once, by id.
fn wanted(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    match_keys: &[MatchKey],
) -> Result<Arc<[WebhookId]>, JobError> {
    if let [match_key] = match_keys {
        return wanted_of(tx, tenant, match_key);
    }
    let mut wanted = BTreeSet::new();
    for match_key in match_keys {
        wanted.extend(wanted_of(tx, tenant, match_key)?.iter());
    }
    Ok(wanted.into_iter().collect())
}

fn wanted_of(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    match_key: &MatchKey,
) -> Result<Arc<[WebhookId]>, JobError> {
    if let Some(known) = tx.cache.subscriptions.get(tenant, match_key) {
        return Ok(known);
    }
    let anywhere = match tx.cache.subscriptions.anywhere(tenant, match_key) {
        Some(known) => known,
        None => {
            let found: Arc<[WebhookId]> =
                who_wants(tx, tenant, match_key, &scope_key(None))?.into();
            tx.cache
                .subscriptions
                .keep_anywhere(tenant, match_key, &found);
            found
        }
    };
    let here = who_wants(tx, tenant, match_key, &scope_key(Some(&match_key.scope)))?;
    let wanted = match (here.is_empty(), anywhere.is_empty()) {
        (true, _) => anywhere,
        (false, true) => here.into(),
        (false, false) => {
            let all: BTreeSet<WebhookId> = anywhere.iter().copied().chain(here).collect();
            all.into_iter().collect()
        }
    };
    tx.cache.subscriptions.keep(tenant, match_key, &wanted);
    Ok(wanted)
}

/// The webhooks with exactly this subscription, by id.
fn who_wants(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    match_key: &MatchKey,
    scope: &str,
) -> Result<Vec<WebhookId>, JobError> {
    let statement = tx.hot.get(tx.conn, WANTED)?;
    let mut rows = statement.query(params![tenant.0, match_key.topic, scope])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(WebhookId(row.get(0)?));
    }
    Ok(found)
}

/// The webhook to be tested, if it is the tenant's and enabled.
fn tested(tx: &Tx<'_>, tenant: TenantId, webhook: WebhookId) -> Result<Arc<[WebhookId]>, JobError> {
    let found = query::first(tx.conn, MAY_BE_TESTED, [tenant.0, webhook.0], |row| {
        Ok(WebhookId(row.get(0)?))
    })?;
    Ok(found.into_iter().collect())
}

/// Registers the event with the tenant, unless it is known or the tenant has too many.
fn register(tx: &mut Tx<'_>, new: &NewNotification) -> Result<(), JobError> {
    let Some(slug) = &new.event else {
        return Ok(());
    };
    let tenant = new.tenant;
    if tx.cache.events.is_settled(tenant, slug) {
        return Ok(());
    }
    if !query::exists(tx.conn, REGISTERED, params![tenant.0, slug])? {
        let count = match tx.cache.events.count(tenant) {
            Some(count) => count,
            None => count_events(tx, tenant)?,
        };
        if count >= EVENTS_REGISTERED_MAX {
            tx.cache.events.keep_count(tenant, count);
            warn_once(tx, tenant);
            return Ok(());
        }
        tx.execute(REGISTER, params![tenant.0, slug])?;
        tx.post_commit.catalog_changed();
        tx.cache.events.keep_count(tenant, count + 1);
    }
    tx.cache.events.keep(tenant, slug);
    Ok(())
}

/// How many events the tenant has, counted up to `EVENTS_REGISTERED_MAX`.
fn count_events(tx: &Tx<'_>, tenant: TenantId) -> Result<usize, JobError> {
    let most = i64::try_from(EVENTS_REGISTERED_MAX).unwrap_or(i64::MAX);
    let mut statement = tx.conn.prepare_cached(EVENTS)?;
    let mut rows = statement.query([tenant.0, most])?;
    let mut count = 0;
    while rows.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn warn_once(tx: &mut Tx<'_>, tenant: TenantId) {
    if tx.cache.warned.insert(tenant) {
        warn_of_events(tenant);
    }
}
