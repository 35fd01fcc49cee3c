//! Bulk jobs: replay or cancel many deliveries, in steps.
//!
//! A bulk job walks along indexes in the order of notifications, webhook by webhook. It stores how
//! far it has come in its own row, in the transaction that did the work. So each delivery is met
//! once, whatever happens in between. Jobs take turns, so that a long one holds up no other.

use crate::sql::{Connection, Row, Statement};
use model::contract::StoreError;
use model::dashboard::{BoundedCount, BulkJob, BulkJobKind, NewBulkJob};
use model::delivery_filter::DeliveryFilter;
use model::id::{BulkJobId, TenantId, WebhookId};
use model::limits;
use model::mutation::{Mutation, is_on};
use model::query::DeliveryStatus;
use model::time::Timestamp;
use serde_json::json;

use crate::sql::audit::AuditRecord;
use crate::sql::bulk_filter::{self, SEEK_ROWS, Searched};
use crate::sql::delivery_change::DeliveryChange;
use crate::sql::delivery_scans::{ahead_from, change_many, walk};
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sql::transaction::Transaction;
use crate::sql::{id_range, owed, query};
use crate::sql::{webhook_health, webhook_rows};

shared_statements! {
    ADD = "
        insert into errand
          (tenant_id, webhook_id, kind, expected, done, actor, began_at, stage, reached, upto,
           filter, of_tenant, since)
        values (?1, ?2, ?3, ?4, 0, ?5, ?6, 0, ?11, ?7, ?8, ?9, ?10)";
    FIND = "
        select id, tenant_id, webhook_id, kind, expected, done, actor, began_at, ended_at,
          broken_off, filter, of_tenant
        from errand
        where id = ?1";
    RUNNING = "
        select id, tenant_id, webhook_id, kind, expected, done, actor, began_at, ended_at,
          broken_off, filter, of_tenant
        from errand indexed by errand_running
        where ended_at is null and tenant_id = ?1
        order by id";
    // The one whose latest step is longest ago.
    NEXT = "
        select id, webhook_id, stage, reached, upto, coalesce(since, 0)
        from errand indexed by errand_next
        where ended_at is null and stepped_at >= 0
          /*postgres and get_bit(?1::bytea, (webhook_id & 255)::int) = 1 */
        order by stepped_at, id
        limit 1";
    REACHED = "
        update errand
        set done = done + ?2, stage = ?3, reached = ?4, ended_at = coalesce(ended_at, ?5),
          broken_off = coalesce(broken_off, ?6), webhook_id = ?7, stepped_at = ?8
        where id = ?1";
    STOP = "
        update errand set ended_at = ?2, broken_off = ?3 where id = ?1 and ended_at is null";
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
    webhook: WebhookId,
    stage: usize,
    reached: i64,
    upto: i64,
    /// Where each stage begins.
    since: i64,
}

/// A stage of a bulk job: where its deliveries are found, and what is done to them.
#[derive(Clone, Copy)]
struct BulkJobStage {
    find: Statement,
    action: DeliveryChange,
}

const CANCEL: [BulkJobStage; 3] = [
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

/// The stages of a bulk job, in an order in which no delivery can slip through.
fn stages(bulk_job: &BulkJob) -> Vec<BulkJobStage> {
    let replayed: &[DeliveryStatus] = match (bulk_job.what, &bulk_job.filter) {
        (BulkJobKind::CancelPending, _) => return CANCEL.to_vec(),
        (BulkJobKind::ReplayUndelivered, _) => &DeliveryFilter::UNDELIVERED,
        (BulkJobKind::ReplayMatching, filter) => {
            filter.as_ref().map_or(&[], |filter| &filter.statuses)
        }
    };
    // Waiting deliveries come first, so that replayed ones are not met again among them.
    let replayed = DeliveryFilter::REPLAYED
        .into_iter()
        .filter(|status| replayed.contains(status));
    let stage = |status| {
        let action = match status == DeliveryStatus::Retrying {
            true => DeliveryChange::RetryNow,
            false => DeliveryChange::Replay,
        };
        bulk_filter::scan_of(status).map(|find| BulkJobStage { find, action })
    };
    replayed.filter_map(stage).collect()
}

pub(crate) fn begin(
    tx: &mut dyn Transaction,
    new: &NewBulkJob,
    at: Timestamp,
) -> Result<BulkJob, JobError> {
    let first = match new.webhook {
        Some(id) => webhook_rows::find(tx.conn(), new.tenant, id)?.map(|found| found.id),
        None => bulk_filter::next_enabled(tx.conn(), new.tenant, WebhookId(0))?,
    };
    let reached = first.ok_or(StoreError::Stale)?;
    let running = running(tx.conn(), new.tenant, None)?;
    let is_full = running.len() >= limits::BULK_JOBS_RUNNING_MAX;
    let is_same = |other: &BulkJob| {
        (other.what, other.webhook, &other.filter) == (new.what, new.webhook, &new.filter)
    };
    if let Some(same) = running.into_iter().find(is_same) {
        return Ok(same);
    }
    if is_full && new.filter.is_some() {
        return Err(StoreError::Busy.into());
    }
    let (since, upto) = match &new.filter {
        Some(filter) => bulk_filter::id_bounds(tx.conn(), new.tenant, filter)?,
        None => (0, id_range::latest_id(tx.conn(), new.tenant)?),
    };
    let filter = new.filter.as_ref().map(bulk_filter::to_json);
    let id = tx.insert(
        ADD,
        values![
            new.tenant.0,
            reached.0,
            rows::bulk_job_number(new.what),
            i64::try_from(new.expected).unwrap_or(i64::MAX),
            new.actor,
            at.as_millis(),
            upto,
            filter.as_ref().map(ToString::to_string),
            new.webhook.is_none().then_some(1_i64),
            Some(since).filter(|since| *since > 0),
            since.max(0),
        ],
    )?;
    let mut record = AuditRecord::new(new.tenant, at, &new.actor, "errand.begun");
    if let Some(webhook) = new.webhook {
        record = record.about(webhook);
    }
    let mut detail = json!({ "what": new.what.as_str(), "expected": new.expected });
    if let (Some(filter), Some(detail)) = (&new.filter, detail.as_object_mut()) {
        detail.extend(bulk_filter::in_words(filter));
    }
    record.with(detail).write(tx)?;
    tx.post_commit().bulk_job_started();
    Ok(BulkJob {
        id: BulkJobId(id),
        tenant: new.tenant,
        webhook: new.webhook,
        reached,
        what: new.what,
        filter: new.filter.clone(),
        expected: new.expected,
        done: 0,
        actor: new.actor.clone(),
        began_at: at,
        ended_at: None,
        abort_reason: None,
    })
}

/// Ends a bulk job before its time, if it has not ended.
pub(crate) fn stop(
    tx: &mut dyn Transaction,
    tenant: TenantId,
    id: BulkJobId,
    actor: &str,
    at: Timestamp,
) -> Result<Option<BulkJob>, JobError> {
    let Some(found) = find(tx.conn(), tenant, id)? else {
        return Ok(None);
    };
    let why = format!("{actor} stopped it.");
    if tx.execute(STOP, values![id.0, at.as_millis(), why])? > 0 {
        let mut record = AuditRecord::new(tenant, at, actor, "errand.stopped");
        if let Some(webhook) = found.webhook {
            record = record.about(webhook);
        }
        let detail = json!({ "what": found.what.as_str(), "count": found.done });
        record.with(detail).write(tx)?;
    }
    find(tx.conn(), tenant, id)
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
    webhook: Option<WebhookId>,
) -> Result<Vec<BulkJob>, JobError> {
    let mut found = query::list(conn, RUNNING, values![tenant.0], bulk_job)?;
    found.retain(|bulk_job| webhook.is_none() || bulk_job.webhook == webhook);
    Ok(found)
}

/// Takes one step of the bulk job whose turn it is. Answers whether there is more to do.
pub(crate) fn step(tx: &mut dyn Transaction, at: Timestamp) -> Result<bool, JobError> {
    let Some(progress) = next_job(tx)? else {
        return Ok(false);
    };
    let Some(bulk_job) = query::first(tx.conn(), FIND, values![progress.id.0], bulk_job)? else {
        return Ok(false);
    };
    let end = |why| Progressed {
        ended: true,
        why: Some(why),
        ..Progressed::default()
    };
    match abort_reason(tx, &bulk_job)? {
        Some(why) => save(tx, &progress, &end(why), at)?,
        // What is not materialized yet could slip through.
        None if tx.fan_out_before(bulk_job.tenant, progress.upto)? => {}
        None => advance(tx, &bulk_job, progress, at)?,
    }
    Ok(next_job(tx)?.is_some())
}

fn next_job(tx: &dyn Transaction) -> Result<Option<BulkJobProgress>, JobError> {
    let slots = tx.slots().to_bytes();
    query::first(tx.conn(), NEXT, values![slots], |row| {
        Ok(BulkJobProgress {
            id: BulkJobId(row.get(0)?),
            webhook: WebhookId(row.get(1)?),
            stage: row.get::<_, u32>(2)?.try_into().unwrap_or(usize::MAX),
            reached: row.get(3)?,
            upto: row.get(4)?,
            since: row.get(5)?,
        })
    })
}

/// Why a bulk job cannot go on. One of all webhooks leaves out those that are disabled.
fn abort_reason(
    tx: &dyn Transaction,
    bulk_job: &BulkJob,
) -> Result<Option<&'static str>, JobError> {
    let Some(id) = bulk_job.webhook else {
        return Ok(None);
    };
    let webhook = webhook_rows::find(tx.conn(), bulk_job.tenant, id)?;
    Ok(match webhook {
        None => Some("The webhook was deleted meanwhile."),
        Some(webhook) if !webhook.enabled() => Some("The webhook was disabled meanwhile."),
        Some(_) => None,
    })
}

/// What a step came to.
#[derive(Default)]
struct Progressed {
    done: usize,
    ended: bool,
    why: Option<&'static str>,
}

fn save(
    tx: &dyn Transaction,
    progress: &BulkJobProgress,
    step: &Progressed,
    at: Timestamp,
) -> Result<(), JobError> {
    tx.execute(
        REACHED,
        values![
            progress.id.0,
            i64::try_from(step.done).unwrap_or(i64::MAX),
            i64::try_from(progress.stage).unwrap_or(i64::MAX),
            progress.reached,
            step.ended.then_some(at.as_millis()),
            step.why,
            progress.webhook.0,
            at.as_millis(),
        ],
    )?;
    Ok(())
}

/// What a step may still do.
struct StepBudget {
    rows: usize,
    searched_bytes: usize,
}

fn advance(
    tx: &mut dyn Transaction,
    bulk_job: &BulkJob,
    mut progress: BulkJobProgress,
    at: Timestamp,
) -> Result<(), JobError> {
    tx.materialize()?;
    let falls =
        bulk_job.filter.is_some() && !id_range::falls(tx.conn(), bulk_job.tenant)?.is_empty();
    let mut budget = StepBudget {
        rows: match is_on(Mutation::SkipJobPage) {
            true => 3,
            false => limits::BULK_STEP_MAX,
        },
        searched_bytes: 0,
    };
    let mut step = Progressed::default();
    loop {
        if bulk_job.webhook.is_some() || is_enabled(tx, bulk_job, progress.webhook)? {
            let done = advance_webhook(tx, bulk_job, (&mut progress, &mut budget), falls, at)?;
            step.done += done;
            if done > 0 {
                tx.post_commit().changed(progress.webhook);
            }
            if budget.rows == 0 {
                break;
            }
        }
        let next = match bulk_job.webhook {
            Some(_) => None,
            None => bulk_filter::next_enabled(tx.conn(), bulk_job.tenant, progress.webhook)?,
        };
        let Some(next) = next else {
            step.ended = true;
            break;
        };
        progress.webhook = next;
        progress.stage = 0;
        progress.reached = progress.since;
        if !tx.slots().has(next) {
            // It is another's turn, who may sleep.
            tx.post_commit().bulk_job_started();
            break;
        }
    }
    save(tx, &progress, &step, at)?;
    if bulk_job.what == BulkJobKind::CancelPending {
        webhook_health::count_failed(tx, progress.webhook, at, step.done)?;
    }
    Ok(())
}

fn is_enabled(
    tx: &dyn Transaction,
    bulk_job: &BulkJob,
    webhook: WebhookId,
) -> Result<bool, JobError> {
    let found = webhook_rows::find(tx.conn(), bulk_job.tenant, webhook)?;
    Ok(found.is_some_and(|webhook| webhook.enabled()))
}

/// Goes on with one webhook, to its end if nothing of the budget is missing. Answers how many
/// deliveries it did something to.
fn advance_webhook(
    tx: &mut dyn Transaction,
    bulk_job: &BulkJob,
    (progress, budget): (&mut BulkJobProgress, &mut StepBudget),
    falls: bool,
    at: Timestamp,
) -> Result<usize, JobError> {
    let stages = stages(bulk_job);
    let mut done = 0;
    while let Some(stage) = stages.get(progress.stage)
        && budget.rows > 0
    {
        let searched = bulk_job.filter.as_ref().map(|filter| Searched {
            tenant: bulk_job.tenant,
            webhook: progress.webhook,
            filter,
            falls,
        });
        let room = searched.map_or(budget.rows, |searched| searched.piece(budget.rows));
        let found = find_next(tx, bulk_job, progress, *stage, room, at)?;
        let is_last = found.len() < room;
        budget.rows = budget.rows.saturating_sub(found.len());
        let skipped = usize::from(is_on(Mutation::SkipJobPage) && progress.reached > 0);
        let found = found.get(skipped..).unwrap_or_default();
        let meant = found.iter().filter(|(_, meant)| *meant);
        let mut meant: Vec<i64> = meant.map(|(notification, _)| *notification).collect();
        let mut stopped_at = None;
        if let Some(searched) = searched {
            let matched = searched.matching(tx.conn(), meant, &mut budget.searched_bytes)?;
            meant = matched.meant;
            stopped_at = matched.stopped_at;
        }
        done += change_many(tx, stage.action, progress.webhook, &meant, at)?;
        if let Some(stopped_at) = stopped_at {
            progress.reached = stopped_at;
            budget.rows = 0;
        } else if is_last {
            progress.stage += 1;
            progress.reached = progress.since;
            if bulk_job.webhook.is_none() {
                budget.rows = budget.rows.saturating_sub(SEEK_ROWS);
            }
        } else if let Some((last, _)) = found.last() {
            progress.reached = *last;
        }
    }
    Ok(done)
}

/// The next deliveries of a stage, each with whether the bulk job is about it.
fn find_next(
    tx: &mut dyn Transaction,
    bulk_job: &BulkJob,
    progress: &BulkJobProgress,
    stage: BulkJobStage,
    room: usize,
    at: Timestamp,
) -> Result<Vec<(i64, bool)>, JobError> {
    let room = rows::bound(room);
    let (webhook, reached, upto) = (progress.webhook.0, progress.reached, progress.upto);
    let (began_at, ahead) = (bulk_job.began_at.as_millis(), ahead_from(at));
    let now = tx.schedule(at)?.as_millis();
    let asked = values![webhook, reached, upto, room, began_at, ahead, now];
    walk(tx.conn(), stage.find, asked)
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
        // `bulk_filter::count` counts these.
        BulkJobKind::ReplayMatching => &[],
    };
    owed::count_parts(conn, webhook, parts, limits::COUNTED_MAX, at)
}

/// The columns of the table by their names.
fn bulk_job(row: &Row<'_>) -> Result<BulkJob, JobError> {
    let count = |name| {
        let count = row.get::<_, i64>(name);
        count.map(|count| u64::try_from(count).unwrap_or(0))
    };
    let reached = WebhookId(row.get("webhook_id")?);
    let is_of_tenant = row.get::<_, Option<i64>>("of_tenant")?.is_some();
    let filter: Option<String> = row.get("filter")?;
    Ok(BulkJob {
        id: BulkJobId(row.get("id")?),
        tenant: TenantId(row.get("tenant_id")?),
        webhook: (!is_of_tenant).then_some(reached),
        reached,
        filter: filter.as_deref().map(bulk_filter::of_json).transpose()?,
        what: rows::bulk_job_kind(row.get("kind")?)?,
        expected: count("expected")?,
        done: count("done")?,
        actor: row.get("actor")?,
        began_at: rows::time(row, "began_at")?,
        ended_at: rows::time_if_any(row, "ended_at")?,
        abort_reason: row.get("broken_off")?,
    })
}
