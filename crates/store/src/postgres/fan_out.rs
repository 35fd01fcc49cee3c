//! Fan-out on PostgreSQL: whose turn it is, what is owed, and the rows of a step. What a step is,
//! is in `sql/fan_out.rs`.
//!
//! All of it is in the tables: nodes come and go. Of a tenant one node steps at a time, and none
//! while who wants what of it changes, so that no step misses a webhook that is disabled meanwhile.

use model::id::{NotificationId, TenantId, WebhookId};

use crate::postgres::connection::PostgresConnection;
use crate::postgres::locks;
use crate::postgres::tx::PostgresTx;
use crate::sql::fan_out::{self, FanOutTransaction, NotEnabled};
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

statements! {
    LEFT = "select tenant_id from listing order by tenant_id, id limit 1";
    NEXT_TENANT = "
        select tenant_id from listing where tenant_id > $1 order by tenant_id limit 1";
    // A listing with its webhooks as text, and its notifications.
    pub(crate) ADD = "
        with l as (
          insert into listing (tenant_id, reached, owed) values ($1, 0, $2) returning id),
        a as (
          insert into audience (listing_id, webhooks) select id, $3 from l)
        insert into wide (listing_id, notification_id)
        select l.id, n from l, unnest($4::bigint[]) as n";
    NOT_ENABLED = "
        select i.id, w.disabled_at, w.disabled_cause, w.id is null
        from unnest($1::bigint[]) with ordinality as i (id, number)
        left join lateral (
          select id, disabled_at, disabled_cause from webhook where id = i.id limit 1) w on true
        where w.id is null or w.disabled_at is not null
        order by i.number";
    ADD_UNATTEMPTED = "
        insert into fresh (tenant_id, webhook_id, notification_id)
        select $1::bigint, w, n from unnest($2::bigint[]) as w, unnest($3::bigint[]) as n";
    ADD_CANCELLED = "
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           ended_at)
        select $1::bigint, $2::bigint, n, 3, $3, 1, 0, 0, $4 from unnest($5::bigint[]) as n";
}

/// So many tenants are tried for one of which nobody else takes a step.
const TENANTS_TRIED_MAX: usize = 8;

/// Whether anything is left to materialize.
pub(crate) fn is_left(conn: &PostgresConnection) -> Result<bool, JobError> {
    Ok(!conn.session().query(LEFT, &[])?.is_empty())
}

/// One step, for the tenant whose turn it is among those of which no other node takes one. Answers
/// whether it was taken; if not, nothing is left for this node.
pub(crate) fn step(tx: &mut PostgresTx<'_>) -> Result<bool, JobError> {
    for _ in 0..TENANTS_TRIED_MAX {
        let Some(tenant) = next_tenant(tx.conn, tx.cache.fan_out_turn)? else {
            return Ok(false);
        };
        tx.cache.fan_out_turn = Some(tenant);
        if locks::try_take(tx.conn, locks::fan_out(tenant))? {
            return Ok(fan_out::step(tx, tenant, i64::MAX)?.is_some());
        }
    }
    Ok(false)
}

/// One step of the tenant, if its first notification is not above `upto`. Answers whether it was
/// so. Another node that takes a step of the tenant is waited for.
pub(crate) fn step_before(
    tx: &mut PostgresTx<'_>,
    tenant: TenantId,
    upto: i64,
) -> Result<bool, JobError> {
    locks::take(tx.conn, &[locks::fan_out(tenant)])?;
    let done = fan_out::step(tx, tenant, upto)?;
    Ok(done.is_some())
}

/// The tenant that is next after `latest`, the first again after the last.
fn next_tenant(
    conn: &PostgresConnection,
    latest: Option<TenantId>,
) -> Result<Option<TenantId>, JobError> {
    let next = |after: i64| -> Result<Option<TenantId>, JobError> {
        let found = conn.session().query(NEXT_TENANT, &[&after])?;
        let tenant = found.first().map(|row| row.column(0));
        Ok(tenant.transpose()?.map(TenantId))
    };
    match latest.map(|latest| next(latest.0)).transpose()?.flatten() {
        Some(tenant) => Ok(Some(tenant)),
        None => next(i64::MIN),
    }
}

impl FanOutTransaction for PostgresTx<'_> {
    fn not_enabled(&mut self, webhooks: &[WebhookId]) -> Result<Vec<NotEnabled>, JobError> {
        let ids: Vec<i64> = webhooks.iter().map(|webhook| webhook.0).collect();
        let mut found = Vec::new();
        for row in self.conn.session().query(NOT_ENABLED, &[&ids])? {
            let webhook = WebhookId(row.column(0)?);
            found.extend(match row.column(3)? {
                true => Some(NotEnabled::gone(webhook)),
                false => NotEnabled::of_row(webhook, row.column(1)?, row.column(2)?)?,
            });
        }
        Ok(found)
    }

    fn write_unattempted(
        &mut self,
        tenant: TenantId,
        webhooks: &[WebhookId],
        notifications: &[NotificationId],
    ) -> Result<(), JobError> {
        if webhooks.is_empty() {
            return Ok(());
        }
        let webhooks: Vec<i64> = webhooks.iter().map(|webhook| webhook.0).collect();
        self.conn.session().execute(
            ADD_UNATTEMPTED,
            &[&tenant.0, &webhooks, &numbers(notifications)],
        )?;
        Ok(())
    }

    fn write_cancelled(
        &mut self,
        tenant: TenantId,
        webhook: NotEnabled,
        notifications: &[NotificationId],
    ) -> Result<(), JobError> {
        let cause = i16::try_from(rows::cause_number(webhook.cause)).unwrap_or(i16::MAX);
        self.conn.session().execute(
            ADD_CANCELLED,
            &[
                &tenant.0,
                &webhook.webhook.0,
                &cause,
                &webhook.at.as_millis(),
                &numbers(notifications),
            ],
        )?;
        Ok(())
    }
}

fn numbers(notifications: &[NotificationId]) -> Vec<i64> {
    notifications.iter().map(|id| id.0).collect()
}
