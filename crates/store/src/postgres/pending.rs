//! Which webhooks have something pending, and what the engine has to know to call them.

use model::contract::{PendingWebhook, StoreError, WebhookTarget};
use model::id::{TenantId, WebhookId};
use model::lease::Slots;
use model::mutation::{Mutation, is_on};
use model::time::Timestamp;
use model::webhook_tls::WebhookTls;
use tokio_postgres::Row;

use crate::postgres::batch::{Batch, Parameter};
use crate::postgres::connection::PostgresConnection;
use crate::postgres::schedule;
use crate::sql::heartbeat::UnattemptedDue;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;
use crate::sql::{
    call_limits, cloud_events, handshake, holds, own_headers, signatures, webhook_tls,
};

statements! {
    // By tenant and webhook, as the indexes have them. Each step seeks over all that the webhook
    // before has pending, in both places.
    PENDING = "
        with recursive walk (tenant_id, webhook_id) as (
          select coalesce((select tenant_id from webhook where id = $1), -9223372036854775807), $1
          union all
          select next.tenant_id, next.webhook_id from walk
          cross join lateral (
            select tenant_id, webhook_id from (
              (select tenant_id, webhook_id from delivery
                where state in (0, 4)
                  and (tenant_id, webhook_id) > (walk.tenant_id, walk.webhook_id)
                order by tenant_id, webhook_id
                limit 1)
              union all
              (select tenant_id, webhook_id from fresh
                where (tenant_id, webhook_id) > (walk.tenant_id, walk.webhook_id)
                order by tenant_id, webhook_id
                limit 1)) as either
            order by tenant_id, webhook_id
            limit 1) as next)
        select walk.webhook_id,
          (select due_at from delivery
            where tenant_id = walk.tenant_id and webhook_id = walk.webhook_id
              and state in (0, 4)
            order by due_at, notification_id
            limit 1),
          (select (
              select accepted_at from notification
              where tenant_id = walk.tenant_id and id = fresh.notification_id)
            from fresh
            where tenant_id = walk.tenant_id and webhook_id = walk.webhook_id
            order by notification_id
            limit 1)
        from walk
        where (walk.tenant_id, walk.webhook_id) <> (
            coalesce((select tenant_id from webhook where id = $1), -9223372036854775807), $1)
          and get_bit($2::bytea, (walk.webhook_id & 255)::integer) = 1
        limit $3";
    TARGETS = "
        select w.id, w.tenant_id, w.key, w.target_url, w.headers, w.disabled_at, w.retries_max,
          w.paused_until, w.version, t.dialect, s.failing_since, s.ended_at, s.success, t.key,
          w.cloud_events, w.calls_at_a_time, w.calls_in_million_s, w.time_limit_ms, w.schedule,
          w.handshake_since, w.handshake_at, w.handshake_url, w.handshake_origin, w.handshake_rate,
          w.handshake_refused, w.held_at, w.holds, w.drain_in_million_s, w.drain_since, w.settings
        from unnest($1::bigint[]) with ordinality as asked (id, place)
        cross join lateral (
          select id, tenant_id, key, target_url, headers, disabled_at, retries_max, paused_until,
            version, cloud_events, calls_at_a_time, calls_in_million_s, time_limit_ms, schedule,
            handshake_since, handshake_at, handshake_url, handshake_origin, handshake_rate,
            handshake_refused, held_at, holds, drain_in_million_s, drain_since, settings
          from webhook
          where id = asked.id
          limit 1) as w
        cross join lateral (select dialect, key from tenant where id = w.tenant_id limit 1) as t
        left join lateral (
          select failing_since, ended_at, success from standing
          where webhook_id = asked.id
          limit 1) as s on true
        order by asked.place";
    SIGNATURES = "
        select g.*
        from unnest($1::bigint[]) as asked (id)
        cross join lateral (
          select webhook_id, profile, tenant_id, header, svix, sealed, public_key, made_at,
            former_sealed, former_public_key, former_made_at, former_until,
            (select ended_at from standing where webhook_id = asked.id), key_set
          from signature
          where webhook_id = asked.id
          order by profile
          limit 100) as g";
    OWN_HEADERS = "
        select h.*
        from unnest($1::bigint[]) as asked (id)
        cross join lateral (
          select webhook_id, name, tenant_id, sealed, set_at from own_header
          where webhook_id = asked.id
          order by name
          limit 100) as h";
    TLS = "
        select h.*
        from unnest($1::bigint[]) as asked (id)
        cross join lateral (
          select webhook_id, item, tenant_id, certificates, sealed, set_at from webhook_tls
          where webhook_id = asked.id
          limit 10) as h";
}

/// Webhooks of these slots with something pending, by tenant and id and each once, with the
/// earliest due time there is; at most `limit`, behind `after`.
pub(crate) fn webhooks(
    conn: &PostgresConnection,
    slots: Slots,
    after: Option<WebhookId>,
    limit: usize,
) -> Result<Vec<PendingWebhook>, JobError> {
    let after = after.map_or(i64::MIN, |webhook| webhook.0);
    let (slots, limit) = (slots.to_bytes(), rows::bound(limit));
    let slots = slots.as_slice();
    let mut batch = Batch::default();
    let latest = batch.add(schedule::LATEST, []);
    let values: [Parameter<'_>; 3] = [&after, &slots, &limit];
    let pending = batch.add(PENDING, values);
    let answers = batch.send(conn.session())?;
    let latest = schedule::latest_of(answers.rows(Some(latest)))?;
    let since = UnattemptedDue::of(latest);
    let mut found = Vec::new();
    for row in answers.rows(Some(pending)) {
        let due_at = rows::time_if_any(row, 1)?;
        let due_at = due_at.filter(|_| !is_on(Mutation::ForgetRetryOnRestart));
        let unattempted = rows::time_if_any(row, 2)?.map(|at| since.due_at(at));
        // Of a webhook that is found in both places the earlier time.
        let due_at: Option<Timestamp> = due_at.into_iter().chain(unattempted).min();
        found.extend(due_at.map(|due_at| {
            Ok::<_, JobError>(PendingWebhook {
                webhook: WebhookId(row.column(0)?),
                due_at,
            })
        }));
    }
    found.into_iter().collect()
}

/// What calling these webhooks takes, in their order. Unknown ones are left out; `Fenced` if one is
/// not in `slots`.
pub(crate) fn targets(
    conn: &PostgresConnection,
    slots: Slots,
    webhooks: &[WebhookId],
) -> Result<Vec<WebhookTarget>, JobError> {
    if !webhooks.iter().all(|webhook| slots.has(*webhook)) {
        return Err(StoreError::Fenced.into());
    }
    let ids: Vec<i64> = webhooks.iter().map(|webhook| webhook.0).collect();
    let mut batch = Batch::default();
    let found = batch.add(TARGETS, [&ids as Parameter<'_>]);
    let signed = batch.add(SIGNATURES, [&ids as Parameter<'_>]);
    let lines = batch.add(OWN_HEADERS, [&ids as Parameter<'_>]);
    let tls = batch.add(TLS, [&ids as Parameter<'_>]);
    let answers = batch.send(conn.session())?;
    let targets = answers.rows(Some(found)).iter().map(target);
    let mut targets: Vec<WebhookTarget> = targets.collect::<Result<_, _>>()?;
    for row in answers.rows(Some(signed)) {
        let stored = signatures::stored(row)?;
        let own = |target: &&mut WebhookTarget| target.webhook == stored.webhook;
        if let Some(target) = targets.iter_mut().find(own) {
            target.signatures.push(stored.signature);
        }
    }
    for row in answers.rows(Some(lines)) {
        let stored = own_headers::stored(row)?;
        let own = |target: &&mut WebhookTarget| target.webhook == stored.webhook;
        if let Some(target) = targets.iter_mut().find(own) {
            target.own_headers.push(stored.header);
        }
    }
    for row in answers.rows(Some(tls)) {
        let stored = webhook_tls::stored(row)?;
        let own = |target: &&mut WebhookTarget| target.webhook == stored.webhook;
        if let Some(target) = targets.iter_mut().find(own) {
            stored.add_to(&mut target.tls);
        }
    }
    Ok(targets)
}

fn target(row: &Row) -> Result<WebhookTarget, JobError> {
    let succeeded = row.column::<Option<bool>>(12)?.unwrap_or(false);
    Ok(WebhookTarget {
        webhook: WebhookId(row.column(0)?),
        tenant: TenantId(row.column(1)?),
        dialect: rows::dialect(row, 9)?,
        tenant_key: row.column(13)?,
        key: row.column(2)?,
        target_url: row.column(3)?,
        settings: row.column(29)?,
        headers: rows::headers(row, 4)?,
        retries_max: row.column(6)?,
        paused_until: rows::time_if_any(row, 7)?,
        failing_since: rows::time_if_any(row, 10)?,
        succeeded_at: rows::time_if_any(row, 11)?.filter(|_| succeeded),
        version: row.column(8)?,
        enabled: rows::time_if_any(row, 5)?.is_none() || is_on(Mutation::SendAfterDisable),
        signatures: Vec::new(),
        own_headers: Vec::new(),
        tls: WebhookTls::default(),
        cloud_events: cloud_events::stored(row.column(14)?)?,
        limits: call_limits::stored(row, 15)?,
        handshake: handshake::stored(row, 19)?,
        holds: holds::stored(row, 25)?,
    })
}
