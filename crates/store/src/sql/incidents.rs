//! Incidents, and who was told of them. Each question looks at a bounded part of an index, whatever
//! else is stored.

use std::collections::BTreeMap;

use model::contract::WatchRecord;
use model::id::{TenantId, WebhookId};
use model::incident::{
    AlertKind, Audience, FailingState, GoneState, Incident, IncidentChange, OldestRound, ToldKinds,
    WatchQuery, Watched, WebhookState,
};
use model::limits;
use model::tenant::DialectName;
use model::time::Timestamp;

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::transaction::Transaction;
use crate::sql::{Connection, Row, heartbeat, query, rows};

shared_statements! {
    VERSION = "select coalesce(max(version), 0) from watch_round";
    NEXT_VERSION = "
        insert into watch_round (id, version) values (1, ?2)
        on conflict (id) do update set version = ?2 where watch_round.version = ?1";
    // Those that fail since this moment or for longer, the latest first: of those that have failed
    // for longest most were disabled long ago.
    FAILING = "
        select s.webhook_id, s.failing_since, w.tenant_id, t.dialect, w.retries_max, w.schedule,
          coalesce(w.disabled_at, w.held_at)
        from standing s indexed by standing_failing
        cross join webhook w on w.id = s.webhook_id
        cross join tenant t on t.id = w.tenant_id
        where s.failing_since is not null and s.failing_since <= ?1
        order by s.failing_since desc, s.webhook_id desc
        limit ?2" | "
        select s.webhook_id, s.failing_since, w.tenant_id, t.dialect, w.retries_max, w.schedule,
          w.off_at
        from (
          select webhook_id, failing_since from standing
          where failing_since is not null and failing_since <= ?1
          order by failing_since desc, webhook_id desc
          limit ?2) s
        cross join lateral (
          select tenant_id, coalesce(disabled_at, held_at) as off_at, retries_max, schedule
          from webhook where id = s.webhook_id limit 1) w
        cross join lateral (select dialect from tenant where id = w.tenant_id limit 1) t
        order by s.failing_since desc, s.webhook_id desc";
    OLDEST_ROUND = "
        select round_began_at from delivery indexed by delivery_state
        where /*postgres tenant_id = (select tenant_id from webhook where id = ?1) and */
          state <> 1 and state = 0 and webhook_id = ?1
        order by notification_id
        limit 1";
    GONE = "
        select w.id, w.disabled_at, w.tenant_id
        from webhook w indexed by webhook_gone
        cross join tenant t on t.id = w.tenant_id and t.dialect <> ?2
        where w.disabled_cause = 2 and w.disabled_at > ?1
          and not exists (
            select 1 from incident i indexed by incident_webhook
            where i.webhook_id = w.id and i.kind = 2 and i.began_at = w.disabled_at)
        order by w.disabled_at
        limit ?3" | "
        select w.id, w.disabled_at, w.tenant_id
        from webhook w
        cross join lateral (select dialect from tenant where id = w.tenant_id limit 1) t
        where w.disabled_cause = 2 and w.disabled_at > ?1 and t.dialect <> ?2
          and not exists (
            select 1 from incident i
            where i.webhook_id = w.id and i.kind = 2 and i.began_at = w.disabled_at)
        order by w.disabled_at
        limit ?3";
    OPEN = "
        select id, kind, tenant_id, webhook_id, began_at, quiet_since, told_tenant, told_server
        from incident indexed by incident_open
        where ended_at is null and kind > 0
        order by kind, coalesce(webhook_id, 0)
        limit ?1";
    STATE = "
        select w.id, s.failing_since, w.disabled_at, t.dialect, w.retries_max, w.schedule, w.held_at
        from webhook w
        join tenant t on t.id = w.tenant_id
        left join standing s on s.webhook_id = w.id
        where w.id = ?1";
    TOLD = "
        select tenant_id, kind, at from alert_told indexed by alert_told_age
        where at > ?1
        limit ?2";
    NOTE_TOLD = "
        insert into alert_told (tenant_id, kind, at) values (?1, ?2, ?3)
        on conflict (tenant_id, kind) do update set at = ?3";
    BEGIN = "
        insert into incident
          (kind, tenant_id, webhook_id, began_at, quiet_since, told_tenant, told_server, ended_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    CHANGE = "
        update incident
        set quiet_since = ?2, told_tenant = ?3, told_server = ?4, ended_at = ?5
        where id = ?1";
    FORGET = "
        delete from incident where id in (
          select id from incident indexed by incident_age
          where ended_at is not null and ended_at < ?1
          limit ?2)";
    FORGET_TOLD = "delete from alert_told where at < ?1";
}

/// What there is to be watched.
pub(crate) fn watched(conn: Connection<'_>, asked: &WatchQuery) -> Result<Watched, JobError> {
    let most = rows::bound(limits::INCIDENTS_MAX);
    let lag_ms = heartbeat::lag_ms(conn)?;
    let but = asked.but_dialect.as_str();
    let before = asked.failing_before.as_millis();
    let found = query::list(conn, FAILING, values![before, most], |row| {
        let failing = FailingState {
            tenant: TenantId(row.get(2)?),
            webhook: WebhookId(row.get(0)?),
            since: rows::time(row, 1)?,
            oldest: None,
        };
        Ok((failing, retries(row)?, rows::time_if_any(row, 6)?))
    })?;
    let mut failing = Vec::new();
    for (state, retries, off_at) in found {
        if off_at.is_none() && retries.dialect != asked.but_dialect {
            let oldest = oldest_round(conn, state.webhook, retries, lag_ms)?;
            failing.push(FailingState { oldest, ..state });
        }
    }
    let after = asked.gone_after.as_millis();
    let gone = query::list(conn, GONE, values![after, but, most], |row| {
        Ok(GoneState {
            tenant: TenantId(row.get(2)?),
            webhook: WebhookId(row.get(0)?),
            at: rows::time(row, 1)?,
        })
    })?;
    let mut open = Vec::new();
    for incident in query::list(conn, OPEN, values![most], incident)? {
        let state = match incident.about {
            Some((_, webhook)) => state(conn, webhook, lag_ms)?,
            None => WebhookState::default(),
        };
        open.push((incident, state));
    }
    let told = query::list(
        conn,
        TOLD,
        values![asked.told_after.as_millis(), most],
        told,
    )?;
    Ok(Watched {
        version: query::one(conn, VERSION, values![])?,
        failing,
        gone,
        open,
        told: BTreeMap::from_iter(told),
    })
}

/// By what a webhook gives up: the columns from the fourth on of `FAILING` and `STATE`. When it
/// began is not known yet.
fn retries(row: &Row<'_>) -> Result<OldestRound, JobError> {
    let dialect: String = row.get(3)?;
    Ok(OldestRound {
        began_at: Timestamp::EPOCH,
        dialect: DialectName::new(&dialect),
        retries_max: row.get(4)?,
        schedule: row.get(5)?,
    })
}

/// In wall time.
fn oldest_round(
    conn: Connection<'_>,
    webhook: WebhookId,
    retries: OldestRound,
    lag_ms: i64,
) -> Result<Option<OldestRound>, JobError> {
    let found = query::first(conn, OLDEST_ROUND, values![webhook.0], |row| {
        rows::time_if_any(row, 0)
    })?;
    Ok(found.flatten().map(|at| OldestRound {
        began_at: at.plus_ms(lag_ms),
        ..retries
    }))
}

fn state(conn: Connection<'_>, webhook: WebhookId, lag_ms: i64) -> Result<WebhookState, JobError> {
    let found = query::first(conn, STATE, values![webhook.0], |row| {
        let disabled_at = rows::time_if_any(row, 2)?;
        let held_at = rows::time_if_any(row, 6)?;
        let is = (disabled_at.is_none(), held_at.is_some());
        Ok((rows::time_if_any(row, 1)?, is, retries(row)?))
    })?;
    let Some((failing_since, (enabled, is_held), retries)) = found else {
        return Ok(WebhookState::default());
    };
    Ok(WebhookState {
        enabled,
        is_held,
        failing_since,
        oldest: match failing_since {
            Some(_) => oldest_round(conn, webhook, retries, lag_ms)?,
            None => None,
        },
    })
}

fn incident(row: &Row<'_>) -> Result<Incident, JobError> {
    let tenant: Option<i64> = row.get(2)?;
    let webhook: Option<i64> = row.get(3)?;
    Ok(Incident {
        id: Some(row.get(0)?),
        kind: rows::incident_kind(row.get(1)?)?,
        about: tenant
            .zip(webhook)
            .map(|(tenant, webhook)| (TenantId(tenant), WebhookId(webhook))),
        began_at: rows::time(row, 4)?,
        quiet_since: rows::time_if_any(row, 5)?,
        told_tenant: ToldKinds::of_bits(row.get(6)?),
        told_server: ToldKinds::of_bits(row.get(7)?),
    })
}

fn told(row: &Row<'_>) -> Result<((Audience, AlertKind), Timestamp), JobError> {
    let tenant: i64 = row.get(0)?;
    let kind: String = row.get(1)?;
    let kind = kind.parse().map_err(|()| CorruptRow("kind of alert"))?;
    let audience = (tenant != 0).then_some(TenantId(tenant));
    Ok(((audience, kind), rows::time(row, 2)?))
}

/// Writes down a round of the watch, unless another was written down since.
pub(crate) fn record(
    tx: &mut dyn Transaction,
    round: &WatchRecord,
    at: Timestamp,
) -> Result<bool, JobError> {
    if tx.execute(
        NEXT_VERSION,
        values![round.version, round.version.saturating_add(1)],
    )? == 0
    {
        return Ok(false);
    }
    tx.accept(&round.alerts)?;
    for change in &round.changes {
        write(tx, change, at)?;
    }
    for (audience, kind) in &round.told {
        let tenant = audience.map_or(0, |tenant| tenant.0);
        tx.execute(NOTE_TOLD, values![tenant, kind.as_str(), at.as_millis()])?;
    }
    let before = at.plus_ms(-limits::INCIDENT_RETENTION_MS).as_millis();
    tx.execute(FORGET, values![before, rows::bound(limits::INCIDENTS_MAX)])?;
    tx.execute(FORGET_TOLD, values![before])?;
    Ok(true)
}

fn write(tx: &dyn Transaction, change: &IncidentChange, at: Timestamp) -> Result<(), JobError> {
    let own = &change.incident;
    let quiet = own.quiet_since.map(Timestamp::as_millis);
    let (told_tenant, told_server) = (own.told_tenant.bits(), own.told_server.bits());
    let ended_at = change.ends.then(|| at.as_millis());
    if let Some(id) = own.id {
        tx.execute(
            CHANGE,
            values![id, quiet, told_tenant, told_server, ended_at],
        )?;
        return Ok(());
    }
    let about = own.about;
    tx.execute(
        BEGIN,
        values![
            rows::incident_number(own.kind),
            about.map(|(tenant, _)| tenant.0),
            about.map(|(_, webhook)| webhook.0),
            own.began_at.as_millis(),
            quiet,
            told_tenant,
            told_server,
            ended_at
        ],
    )?;
    Ok(())
}
