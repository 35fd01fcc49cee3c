//! Bulk jobs: replay or cancel many deliveries of a webhook, in steps.
//!
//! A bulk job walks along indexes in the order of notifications. It stores how far it has come in
//! its own row, in the transaction that did the work. So each delivery is met once, whatever
//! happens in between.

use crate::sql::{Connection, Row, Statement};
use model::contract::StoreError;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::id::{BulkJobId, TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::delivery_scans::{CANCELLED, FAILED, WAITING, ahead_from, change_many, walk};
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{id_range, owed, query};
use crate::sql::{webhook_health, webhook_rows};

shared_statements! {
    ADD = "
        insert into errand
          (tenant_id, webhook_id, kind, expected, done, actor, began_at, stage, reached, upto)
        values (?1, ?2, ?3, ?4, 0, ?5, ?6, 0, 0, ?7)";
    FIND = "
        select id, tenant_id, webhook_id, kind, expected, done, actor, began_at, ended_at,
          broken_off
        from errand
        where id = ?1";
    RUNNING = "
        select id, tenant_id, webhook_id, kind, expected, done, actor, began_at, ended_at,
          broken_off
        from errand indexed by errand_one
        where ended_at is null and webhook_id = ?1
        order by kind";
    OLDEST = "
        select id, stage, reached, upto from errand indexed by errand_next
        where ended_at is null and id > 0
          /*postgres and get_bit(?1::bytea, (webhook_id & 255)::int) = 1 */
        order by id
        limit 1";
    REACHED = "
        update errand set done = done + ?2, stage = ?3, reached = ?4, ended_at = ?5, broken_off = ?6
        where id = ?1";
    UNATTEMPTED = "
        select notification_id, 1 from fresh
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    DEFERRED = "
        select notification_id, 1 from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 4 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    RETRYING = "
        select notification_id, 1 from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 0 and webhook_id = ?1
          and notification_id > ?2 and notification_id <= ?3
        order by notification_id
        limit ?4";
    COUNT_FAILED = "
        select 1 from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 2 and webhook_id = ?1
        limit ?2";
    COUNT_CANCELLED = "
        select 1 from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 3 and webhook_id = ?1
        limit ?2";
    // What is due already needs no replay.
    COUNT_WAITING = "
        select 1 from delivery indexed by delivery_due
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state in (0, 4) and webhook_id = ?1 and due_at > ?3 -
          (select coalesce(max(wall_at - schedule_at), 0) from clock where id = 1)
        limit ?2";
}

/// How far a bulk job has come.
struct BulkJobProgress {
    id: BulkJobId,
    stage: usize,
    reached: i64,
    upto: i64,
}

/// A stage of a bulk job: where its deliveries are found, and what is done to them.
struct BulkJobStage {
    find: Statement,
    action: DeliveryChange,
}

/// The stages of a bulk job, in an order in which no delivery can slip through.
fn stages(kind: BulkJobKind) -> &'static [BulkJobStage] {
    // Waiting deliveries come first, so that replayed ones are not met again among them.
    const RETRY: &[BulkJobStage] = &[
        BulkJobStage {
            find: WAITING,
            action: DeliveryChange::RetryNow,
        },
        BulkJobStage {
            find: FAILED,
            action: DeliveryChange::Replay,
        },
        BulkJobStage {
            find: CANCELLED,
            action: DeliveryChange::Replay,
        },
    ];
    const CANCEL: &[BulkJobStage] = &[
        BulkJobStage {
            find: UNATTEMPTED,
            action: DeliveryChange::Cancel,
        },
        BulkJobStage {
            find: DEFERRED,
            action: DeliveryChange::Cancel,
        },
        BulkJobStage {
            find: RETRYING,
            action: DeliveryChange::Cancel,
        },
    ];
    match kind {
        BulkJobKind::ReplayUndelivered => RETRY,
        BulkJobKind::CancelPending => CANCEL,
    }
}

pub(crate) fn begin(
    tx: &mut dyn Transaction,
    new: &NewBulkJob,
    at: Timestamp,
) -> Result<BulkJob, JobError> {
    if webhook_rows::find(tx.conn(), new.tenant, new.webhook)?.is_none() {
        return Err(StoreError::Stale.into());
    }
    let running = running(tx.conn(), new.tenant, new.webhook)?;
    if let Some(same) = running
        .into_iter()
        .find(|bulk_job| bulk_job.what == new.what)
    {
        return Ok(same);
    }
    let id = tx.insert(
        ADD,
        values![
            new.tenant.0,
            new.webhook.0,
            rows::bulk_job_number(new.what),
            i64::try_from(new.expected).unwrap_or(i64::MAX),
            new.actor,
            at.as_millis(),
            id_range::latest_id(tx.conn(), new.tenant)?,
        ],
    )?;
    AuditRecord::new(new.tenant, at, &new.actor, "errand.begun")
        .about(new.webhook)
        .with(json!({ "what": new.what.as_str(), "expected": new.expected }))
        .write(tx)?;
    tx.post_commit().bulk_job_started();
    Ok(BulkJob {
        id: BulkJobId(id),
        tenant: new.tenant,
        webhook: new.webhook,
        what: new.what,
        expected: new.expected,
        done: 0,
        actor: new.actor.clone(),
        began_at: at,
        ended_at: None,
        abort_reason: None,
    })
}

pub(crate) fn find(
    conn: Connection<'_>,
    tenant: TenantId,
    id: BulkJobId,
) -> Result<Option<BulkJob>, JobError> {
    let found = query::first(conn, FIND, values![id.0], bulk_job)?;
    Ok(found.filter(|bulk_job| bulk_job.tenant == tenant))
}

pub(crate) fn running(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
) -> Result<Vec<BulkJob>, JobError> {
    let mut found = query::list(conn, RUNNING, values![webhook.0], bulk_job)?;
    found.retain(|bulk_job| bulk_job.tenant == tenant);
    Ok(found)
}

/// Takes one step of the oldest bulk job. Answers whether there is more to do.
pub(crate) fn step(tx: &mut dyn Transaction, at: Timestamp) -> Result<bool, JobError> {
    let Some(progress) = oldest(tx)? else {
        return Ok(false);
    };
    let Some(bulk_job) = query::first(tx.conn(), FIND, values![progress.id.0], bulk_job)? else {
        return Ok(false);
    };
    match abort_reason(tx, &bulk_job)? {
        Some(why) => {
            tx.execute(
                REACHED,
                values![
                    bulk_job.id.0,
                    0_i64,
                    i64::try_from(progress.stage).unwrap_or(i64::MAX),
                    progress.reached,
                    at.as_millis(),
                    why,
                ],
            )?;
        }
        // What is not materialized yet could slip through.
        None if tx.fan_out_before(bulk_job.tenant, progress.upto)? => {}
        None => advance(tx, &bulk_job, progress, at)?,
    }
    Ok(oldest(tx)?.is_some())
}

fn oldest(tx: &dyn Transaction) -> Result<Option<BulkJobProgress>, JobError> {
    let slots = tx.slots().to_bytes();
    query::first(tx.conn(), OLDEST, values![slots], |row| {
        Ok(BulkJobProgress {
            id: BulkJobId(row.get(0)?),
            stage: row.get::<_, u32>(1)?.try_into().unwrap_or(usize::MAX),
            reached: row.get(2)?,
            upto: row.get(3)?,
        })
    })
}

/// Why a bulk job cannot go on.
fn abort_reason(
    tx: &dyn Transaction,
    bulk_job: &BulkJob,
) -> Result<Option<&'static str>, JobError> {
    let webhook = webhook_rows::find(tx.conn(), bulk_job.tenant, bulk_job.webhook)?;
    Ok(match webhook {
        None => Some("The webhook was deleted meanwhile."),
        Some(webhook) if !webhook.enabled() => Some("The webhook was disabled meanwhile."),
        Some(_) => None,
    })
}

fn advance(
    tx: &mut dyn Transaction,
    bulk_job: &BulkJob,
    mut progress: BulkJobProgress,
    at: Timestamp,
) -> Result<(), JobError> {
    tx.materialize()?;
    let stages = stages(bulk_job.what);
    let mut room = match is_on(Mutation::SkipJobPage) {
        true => 3,
        false => limits::BULK_STEP_MAX,
    };
    let mut done = 0;
    while let Some(stage) = stages.get(progress.stage)
        && room > 0
    {
        let found = find_next(tx, bulk_job, &progress, stage, room, at)?;
        room = room.saturating_sub(found.len());
        let skipped = usize::from(is_on(Mutation::SkipJobPage) && progress.reached > 0);
        let found = found.get(skipped..).unwrap_or_default();
        let meant = found.iter().filter(|(_, meant)| *meant);
        let meant: Vec<i64> = meant.map(|(notification, _)| *notification).collect();
        done += change_many(tx, stage.action, bulk_job.webhook, &meant, at)?;
        if room > 0 {
            progress.stage += 1;
            progress.reached = 0;
        } else if let Some((last, _)) = found.last() {
            progress.reached = *last;
        }
    }
    let ended = stages.get(progress.stage).is_none();
    tx.execute(
        REACHED,
        values![
            bulk_job.id.0,
            i64::try_from(done).unwrap_or(i64::MAX),
            i64::try_from(progress.stage).unwrap_or(i64::MAX),
            progress.reached,
            ended.then_some(at.as_millis()),
            None::<&str>,
        ],
    )?;
    if bulk_job.what == BulkJobKind::CancelPending {
        webhook_health::count_failed(tx, bulk_job.webhook, at, done)?;
    }
    if done > 0 {
        tx.post_commit().changed(bulk_job.webhook);
    }
    Ok(())
}

/// The next deliveries of a stage, each with whether the bulk job is about it.
fn find_next(
    tx: &mut dyn Transaction,
    bulk_job: &BulkJob,
    progress: &BulkJobProgress,
    stage: &BulkJobStage,
    room: usize,
    at: Timestamp,
) -> Result<Vec<(i64, bool)>, JobError> {
    let room = rows::bound(room);
    let (webhook, reached, upto) = (bulk_job.webhook.0, progress.reached, progress.upto);
    let (began_at, ahead) = (bulk_job.began_at.as_millis(), ahead_from(at));
    let now = tx.schedule(at)?.as_millis();
    let asked = values![webhook, reached, upto, room, began_at, ahead, now];
    walk(tx, stage.find, asked)
}

pub(crate) fn count(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: WebhookId,
    what: BulkJobKind,
    at: Timestamp,
) -> Result<BoundedCount, JobError> {
    if webhook_rows::tenant_of(conn, webhook)? != Some(tenant) {
        return Ok(BoundedCount::default());
    }
    let parts = match what {
        BulkJobKind::ReplayUndelivered => &[COUNT_FAILED, COUNT_CANCELLED, COUNT_WAITING][..],
        BulkJobKind::CancelPending => owed::PARTS,
    };
    owed::count_parts(conn, webhook, parts, limits::COUNTED_MAX, at)
}

/// The columns of the table by their names.
fn bulk_job(row: &Row<'_>) -> Result<BulkJob, JobError> {
    let count = |name| {
        let count = row.get::<_, i64>(name);
        count.map(|count| u64::try_from(count).unwrap_or(0))
    };
    Ok(BulkJob {
        id: BulkJobId(row.get("id")?),
        tenant: TenantId(row.get("tenant_id")?),
        webhook: WebhookId(row.get("webhook_id")?),
        what: rows::bulk_job_kind(row.get("kind")?)?,
        expected: count("expected")?,
        done: count("done")?,
        actor: row.get("actor")?,
        began_at: rows::time(row, "began_at")?,
        ended_at: rows::time_if_any(row, "ended_at")?,
        abort_reason: row.get("broken_off")?,
    })
}
