//! Fresh deliveries: never tried, and due since they were accepted.
//!
//! Those of recent notifications stand in the notifications' own rows (`recent.rs`); all others are
//! listed in a table, those of wide ones in steps (`wide.rs`). To list those of recent ones is a
//! job for the writer, done before readers look for fresh deliveries, and before any is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::contract::{DiskFault, StoreError};
use model::delivery::CancelCause;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::time::Timestamp;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::fault::{Fault, Unreadable};
use crate::sqlite::recent::{Entry, Recent};
use crate::sqlite::writer::Tx;
use crate::sqlite::{rows, wide};

const LIST: &str = "insert into fresh (webhook_id, notification_id) values (?1, ?2)";
const UNLIST: &str = "delete from fresh where webhook_id = ?1 and notification_id = ?2";
const LISTED: &str = "select latest from counted where what = 'listed'";
const NOW_LISTED: &str = "
    insert into counted (what, latest) values ('listed', ?1)
    on conflict (what) do update set latest = ?1";
const LATER: &str = "
    select id from notification
    where id > coalesce((select latest from counted where what = 'listed'), 0)
    limit 1";
const UNLISTED: &str = "
    select id, wanted_by from notification
    where id > ?1 and wanted_by is not null
    order by id";
const WAS_TRIED: &str = "
    select 1 from delivery where webhook_id = ?1 and notification_id = ?2";
const CANCEL: &str = "
    insert into delivery
      (webhook_id, notification_id, state, cause, round, attempts, round_start, ended_at)
    values (?1, ?2, 3, ?3, 1, 0, 0, ?4)";
const CANCEL_SOME: &str = "
    insert into delivery
      (webhook_id, notification_id, state, cause, round, attempts, round_start, ended_at)
    select webhook_id, notification_id, 3, ?2, 1, 0, 0, ?3 from fresh
    where webhook_id = ?1
    order by notification_id
    limit ?4";
const UNLIST_SOME: &str = "
    delete from fresh where (webhook_id, notification_id) in (
      select webhook_id, notification_id from fresh
      where webhook_id = ?1
      order by notification_id
      limit ?2)";
const OWE: &str = "
    insert into delivery (webhook_id, notification_id, state, round, attempts, round_start, due_at)
    values (?1, ?2, 4, 1, 0, 0, ?3)";

pub(crate) const STATEMENTS: &[&str] = &[
    LIST,
    UNLIST,
    LISTED,
    NOW_LISTED,
    LATER,
    UNLISTED,
    WAS_TRIED,
    CANCEL,
    CANCEL_SOME,
    UNLIST_SOME,
    OWE,
];

/// How the webhooks of a notification are written into its own row; nothing if their deliveries
/// are to be listed.
pub(crate) fn wanted_by(tx: &mut Tx<'_>, wanted: &[WebhookId]) -> Result<Option<Value>, Fault> {
    if !recent(tx)?.has_room(wanted.len()) {
        return Ok(None);
    }
    if let [webhook] = wanted {
        return Ok(Some(Value::Integer(webhook.0)));
    }
    Ok(Some(Value::Text(words_of(wanted))))
}

/// Owes fresh deliveries of a new notification. `in_row`: its own row says so. Answers whether they
/// can be told: those that are listed in steps are told then.
pub(crate) fn owe(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    id: i64,
    wanted: &Arc<[WebhookId]>,
    in_row: bool,
) -> Result<bool, Fault> {
    let is_wide = !in_row && !tx.has_time_for(wanted.len());
    if in_row {
        recent(tx)?.add(id, Arc::clone(wanted));
    } else if is_wide {
        wide::owe(tx, tenant, id, wanted)?;
    } else {
        list_rows(tx, wanted.iter().map(|webhook| [webhook.0, id]))?;
    }
    // Once there is no time for more, those that are recent wait for the next transaction.
    if tx.has_time_for(1)
        && let Some(out) = recent(tx)?.leave(id)
    {
        write(tx, &out)?;
    }
    Ok(!is_wide)
}

/// Lists deliveries, each as a webhook and a notification.
pub(crate) fn list_rows(
    tx: &mut Tx<'_>,
    keys: impl Iterator<Item = [i64; 2]>,
) -> Result<(), Fault> {
    let list = tx.hot.get(tx.conn, LIST)?;
    for keys in keys {
        list.execute(keys)?;
        tx.cache.listed += 1;
    }
    Ok(())
}

/// Has the delivery be fresh no more; the caller writes down what it is instead. Answers whether it
/// was fresh.
pub(crate) fn take(tx: &mut Tx<'_>, id: DeliveryId) -> Result<bool, Fault> {
    if recent(tx)?.take(id) {
        return Ok(true);
    }
    let keys = [id.webhook.0, id.notification.0];
    let taken = tx.hot.get(tx.conn, UNLIST)?.execute(keys)?;
    Ok(taken > 0)
}

/// Has the delivery wait until `due_at`, if it is fresh. Answers whether it was.
pub(crate) fn put_off(tx: &mut Tx<'_>, id: DeliveryId, due_at: Timestamp) -> Result<bool, Fault> {
    let was_fresh = take(tx, id)?;
    if was_fresh {
        let keys = (id.webhook.0, id.notification.0, due_at.as_millis());
        tx.conn.prepare_cached(OWE)?.execute(keys)?;
    }
    Ok(was_fresh)
}

/// Cancels the delivery, if it is fresh. Answers whether it was.
pub(crate) fn cancel(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<bool, Fault> {
    let was_fresh = take(tx, id)?;
    if was_fresh {
        write_cancelled(tx, id, cause, at)?;
    }
    Ok(was_fresh)
}

/// Writes down a delivery that is cancelled before it was tried.
pub(crate) fn write_cancelled(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<(), Fault> {
    tx.hot.get(tx.conn, CANCEL)?.execute((
        id.webhook.0,
        id.notification.0,
        rows::cause_number(cause),
        at.as_millis(),
    ))?;
    Ok(())
}

/// Cancels what is fresh of a webhook, at most `limit`; answers how many.
pub(crate) fn cancel_some(
    tx: &mut Tx<'_>,
    webhook: WebhookId,
    cause: CancelCause,
    at: Timestamp,
    limit: i64,
) -> Result<usize, Fault> {
    list(tx)?;
    tx.conn.prepare_cached(CANCEL_SOME)?.execute((
        webhook.0,
        rows::cause_number(cause),
        at.as_millis(),
        limit,
    ))?;
    let cancelled = tx
        .conn
        .prepare_cached(UNLIST_SOME)?
        .execute([webhook.0, limit])?;
    Ok(cancelled)
}

/// Lists what stands in the rows of recent notifications.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let latest = tx.latest_id()?;
    match recent(tx)?.leave_all(latest) {
        Some(out) => write(tx, &out),
        None => Ok(()),
    }
}

/// What a reader sees of all deliveries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    /// Up to and with this notification it sees all; of later ones only what was tried.
    pub(crate) upto: NotificationId,
    /// Why what was accepted before could not be listed.
    lacks: Option<DiskFault>,
}

impl Listed {
    pub(crate) fn read(conn: &Connection, lacks: Option<DiskFault>) -> Result<Self, Fault> {
        let later: Option<i64> = conn
            .prepare_cached(LATER)?
            .query_row([], |row| row.get(0))
            .optional()?;
        let upto = match later {
            None => i64::MAX,
            Some(_) => listed_in(conn)?,
        };
        Ok(Self {
            upto: NotificationId(upto),
            lacks,
        })
    }

    /// The same for what is the tenant's alone, of which less may be listed.
    pub(crate) fn of(self, conn: &Connection, tenant: TenantId) -> Result<Self, Fault> {
        let upto = match wide::first_of(conn, tenant)? {
            Some(first) => self.upto.min(NotificationId(first.0 - 1)),
            None => self.upto,
        };
        Ok(Self { upto, ..self })
    }

    /// Whether there is nothing that a reader would not see.
    pub(crate) fn is_all(self) -> bool {
        self.upto.0 == i64::MAX
    }

    /// Refuses to say of a delivery that was not found that it is not there, if that may be wrong.
    pub(crate) fn not_found(self, id: NotificationId) -> Result<(), Fault> {
        match self.lacks {
            Some(fault) if id > self.upto => Err(StoreError::Disk(fault).into()),
            Some(_) | None => Ok(()),
        }
    }
}

fn listed_in(conn: &Connection) -> Result<i64, Fault> {
    let listed: Option<i64> = conn
        .prepare_cached(LISTED)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(listed.unwrap_or(0))
}

/// Lists what is fresh of entries that were taken out, and says how far all is listed.
fn write(tx: &mut Tx<'_>, out: &[Entry]) -> Result<(), Fault> {
    list_rows(tx, out.iter().flat_map(Entry::fresh))?;
    let listed = recent(tx)?.listed();
    tx.conn.prepare_cached(NOW_LISTED)?.execute([listed])?;
    Ok(())
}

/// What is fresh and not listed, by webhook: notifications by id.
pub(crate) fn unlisted(tx: &mut Tx<'_>) -> Result<BTreeMap<WebhookId, Vec<i64>>, Fault> {
    Ok(recent(tx)?.fresh())
}

/// Up to and with which notification all is listed.
pub(crate) fn listed(tx: &mut Tx<'_>) -> Result<i64, Fault> {
    Ok(recent(tx)?.listed())
}

/// The recent notifications, read from their rows if they are not known.
fn recent<'a>(tx: &'a mut Tx<'_>) -> Result<&'a mut Recent, Fault> {
    let known = match tx.cache.recent.take() {
        Some(known) => known,
        None => read(tx.conn)?,
    };
    Ok(tx.cache.recent.insert(known))
}

/// The reverse of `wanted_by`.
fn wanted(value: ValueRef<'_>) -> Option<Arc<[WebhookId]>> {
    match value {
        ValueRef::Integer(webhook) => Some(Arc::from([WebhookId(webhook)])),
        ValueRef::Text(text) => of_words(str::from_utf8(text).ok()?),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

/// Webhooks as a text.
pub(crate) fn words_of(webhooks: &[WebhookId]) -> String {
    let ids: Vec<String> = webhooks.iter().map(|id| id.0.to_string()).collect();
    ids.join(" ")
}

/// The reverse of `words_of`.
pub(crate) fn of_words(words: &str) -> Option<Arc<[WebhookId]>> {
    let ids = words.split_whitespace();
    ids.map(|id| id.parse().ok().map(WebhookId)).collect()
}

fn read(conn: &Connection) -> Result<Recent, Fault> {
    let mut recent = Recent::new(listed_in(conn)?);
    let mut unlisted = conn.prepare_cached(UNLISTED)?;
    let mut was_tried = conn.prepare_cached(WAS_TRIED)?;
    let mut found = unlisted.query([recent.listed()])?;
    while let Some(row) = found.next()? {
        let notification = NotificationId(row.get(0)?);
        let wanted = wanted(row.get_ref(1)?).ok_or(Unreadable("list of webhooks"))?;
        recent.add(notification.0, Arc::clone(&wanted));
        for &webhook in wanted.iter() {
            if was_tried.exists([webhook.0, notification.0])? {
                recent.take(DeliveryId {
                    notification,
                    webhook,
                });
            }
        }
    }
    Ok(recent)
}
