//! What a batch of settlements writes, by columns: each kind of row in one statement.

use model::attempt::{Attempt, Failure, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::DeliveryState;
use model::id::DeliveryId;

use crate::postgres::batch::{Batch, Parameter};
use crate::postgres::envelopes::Interned;
use crate::postgres::health_columns::HealthColumns;
use crate::postgres::text::SafeText;
use crate::sql::rows;

statements! {
    // Of unattempted deliveries that are delivered at once: the one write that most deliveries are.
    // The same as `WRITE`, without the values that are null or known then.
    DELIVERED_AT_ONCE = "
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, round, attempts, round_start, ended_at,
           began_at, duration_ms, envelope_id, status, answer_id, headers, body)
        select tenant_id, webhook_id, notification_id, 1, 1, 1, 0, ended_at,
          began_at, duration_ms, envelope_id, status, answer_id, headers, body
        from unnest(
            $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[],
            $7::bigint[], $8::integer[], $9::bigint[], $10::bytea[], $11::bytea[])
          as given (tenant_id, webhook_id, notification_id, ended_at, began_at, duration_ms,
            envelope_id, status, answer_id, headers, body)";
    // The same with the health of their webhooks, in the words of `health_columns.rs`: each
    // statement costs as much as some of these deliveries.
    DELIVERED_AND_COUNTED = "
        with written as (
          insert into delivery
            (tenant_id, webhook_id, notification_id, state, round, attempts, round_start, ended_at,
             began_at, duration_ms, envelope_id, status, answer_id, headers, body)
          select tenant_id, webhook_id, notification_id, 1, 1, 1, 0, ended_at,
            began_at, duration_ms, envelope_id, status, answer_id, headers, body
          from unnest(
              $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[],
              $7::bigint[], $8::integer[], $9::bigint[], $10::bytea[], $11::bytea[])
            as given (tenant_id, webhook_id, notification_id, ended_at, began_at, duration_ms,
              envelope_id, status, answer_id, headers, body)),
        saved as (
          insert into standing
            (webhook_id, notification_id, ended_at, success, words, failing_since)
          select * from unnest(
            $12::bigint[], $13::bigint[], $14::bigint[], $15::boolean[], $16::text[], $17::bigint[])
          on conflict (webhook_id) do update
          set notification_id = excluded.notification_id, ended_at = excluded.ended_at,
            success = excluded.success, words = excluded.words,
            failing_since = case
              when excluded.webhook_id = any($18::bigint[])
                then coalesce(standing.failing_since, excluded.failing_since)
              else excluded.failing_since
            end)
        insert into tally (webhook_id, hour, delivered, retried, failed)
        select * from unnest(
          $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[])
        on conflict (webhook_id, hour) do update
        set delivered = tally.delivered + excluded.delivered,
          retried = tally.retried + excluded.retried, failed = tally.failed + excluded.failed";
    // Of unattempted deliveries, and of others whose rows are locked. By the key's own index,
    // whatever the planner thinks of the table.
    WRITE = "
        insert into delivery
          (tenant_id, webhook_id, notification_id, state, cause, round, attempts, round_start,
           round_began_at, due_at, ended_at, next_due_at, tried_at, began_at, duration_ms,
           envelope_id, status, failure, detail, headers, answer_id, body_end, body)
        select * from unnest(
          $1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::integer[],
          $7::integer[], $8::integer[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
          $13::bigint[], $14::bigint[], $15::integer[], $16::bigint[], $17::integer[],
          $18::smallint[], $19::text[], $20::bytea[], $21::bigint[], $22::smallint[], $23::bytea[])
        on conflict (tenant_id, webhook_id, notification_id) do update
        set state = excluded.state, cause = excluded.cause, round = excluded.round,
          attempts = excluded.attempts, round_start = excluded.round_start,
          round_began_at = excluded.round_began_at, due_at = excluded.due_at,
          ended_at = excluded.ended_at, next_due_at = excluded.next_due_at,
          tried_at = excluded.tried_at, began_at = excluded.began_at,
          duration_ms = excluded.duration_ms, envelope_id = excluded.envelope_id,
          status = excluded.status, failure = excluded.failure, detail = excluded.detail,
          headers = excluded.headers, answer_id = excluded.answer_id,
          body_end = excluded.body_end, body = excluded.body";
    // The attempts that were the latest until now.
    MOVE_LATEST = "
        insert into attempt
          (tenant_id, notification_id, webhook_id, number, began_at, duration_ms, envelope_id,
           status, failure, detail, headers, answer_id, body_end, next_due_at, body)
        select d.tenant_id, d.notification_id, d.webhook_id, d.attempts, d.began_at, d.duration_ms,
          d.envelope_id, d.status, d.failure, d.detail, d.headers, d.answer_id, d.body_end,
          d.next_due_at, d.body
        from unnest($1::bigint[], $2::bigint[], $3::bigint[])
          as asked (tenant_id, webhook_id, notification_id)
        cross join lateral (
          select tenant_id, webhook_id, notification_id, attempts, began_at, duration_ms,
            envelope_id, status, failure, detail, headers, answer_id, body_end, next_due_at, body
          from delivery
          where tenant_id = asked.tenant_id and webhook_id = asked.webhook_id
            and notification_id = asked.notification_id and began_at is not null
          limit 1) as d";
    // Calls just before the latest attempt, on connections that had ended.
    STALE = "
        insert into attempt
          (tenant_id, webhook_id, notification_id, number, began_at, duration_ms, envelope_id,
           status, failure, detail, headers, answer_id, body_end, body)
        select * from unnest(
          $1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[],
          $7::bigint[], $8::integer[], $9::smallint[], $10::text[], $11::bytea[], $12::bigint[],
          $13::smallint[], $14::bytea[])";
}

/// What a delivery's row is to be, apart from its latest attempt. Times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DeliveryColumns {
    pub(crate) state: i64,
    pub(crate) cause: Option<i64>,
    pub(crate) round: u32,
    pub(crate) attempts: u32,
    pub(crate) round_start: u32,
    pub(crate) round_began_at: Option<i64>,
    pub(crate) due_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) next_due_at: Option<i64>,
    pub(crate) tried_at: Option<i64>,
}

/// All rows of a batch.
#[derive(Default)]
pub(crate) struct SettleColumns<'a> {
    delivered: DeliveredColumns<'a>,
    /// Those whose attempt until now is no longer the latest.
    moved: KeyColumns,
    stale: StaleColumns<'a>,
    written: WrittenColumns<'a>,
}

/// Deliveries by their keys.
#[derive(Default)]
pub(crate) struct KeyColumns {
    tenant: Vec<i64>,
    webhook: Vec<i64>,
    notification: Vec<i64>,
}

#[derive(Default)]
struct DeliveredColumns<'a> {
    keys: KeyColumns,
    ended_at: Vec<i64>,
    attempts: AttemptColumns<'a>,
}

#[derive(Default)]
struct StaleColumns<'a> {
    keys: KeyColumns,
    number: Vec<i32>,
    attempts: AttemptColumns<'a>,
}

#[derive(Default)]
struct WrittenColumns<'a> {
    keys: KeyColumns,
    state: Vec<i16>,
    cause: Vec<Option<i16>>,
    round: Vec<i32>,
    attempt_count: Vec<i32>,
    round_start: Vec<i32>,
    round_began_at: Vec<Option<i64>>,
    due_at: Vec<Option<i64>>,
    ended_at: Vec<Option<i64>>,
    next_due_at: Vec<Option<i64>>,
    tried_at: Vec<Option<i64>>,
    attempts: AttemptColumns<'a>,
}

#[derive(Default)]
struct AttemptColumns<'a> {
    began_at: Vec<i64>,
    duration_ms: Vec<i32>,
    envelope: Vec<i64>,
    status: Vec<Option<i32>>,
    failure: Vec<Option<i16>>,
    detail: Vec<Option<SafeText<'a>>>,
    headers: Vec<Option<&'a [u8]>>,
    answer: Vec<Option<i64>>,
    body_end: Vec<Option<i16>>,
    body: Vec<Option<&'a [u8]>>,
}

impl<'a> SettleColumns<'a> {
    /// An unattempted delivery whose only attempt was a success with nothing to be said about it.
    pub(crate) fn is_delivered_at_once(settlement: &Settlement) -> bool {
        let next = &settlement.next;
        next.state == DeliveryState::Delivered
            && !next.early
            && next.due_at.is_none()
            && settlement.stale.is_none()
            && match &settlement.attempt.outcome {
                Outcome::Answered(answer) => {
                    answer.note.is_none() && rows::body_end_number(answer.body_end).is_none()
                }
                Outcome::Failed(_) => false,
            }
    }

    pub(crate) fn deliver_at_once(
        &mut self,
        tenant: i64,
        settlement: &'a Settlement,
        interned: Interned,
    ) {
        self.delivered.keys.push(tenant, settlement.id);
        self.delivered
            .ended_at
            .push(settlement.ended_at.as_millis());
        self.delivered.attempts.push(&settlement.attempt, interned);
    }

    /// The attempt until now is no longer the latest.
    pub(crate) fn move_latest(&mut self, tenant: i64, id: DeliveryId) {
        self.moved.push(tenant, id);
    }

    /// A call just before the latest attempt.
    pub(crate) fn add_stale(
        &mut self,
        tenant: i64,
        id: DeliveryId,
        number: u32,
        stale: &'a Attempt,
        interned: Interned,
    ) {
        self.stale.keys.push(tenant, id);
        self.stale.number.push(integer(number));
        self.stale.attempts.push(stale, interned);
    }

    /// The whole row, with the latest attempt.
    pub(crate) fn write(
        &mut self,
        tenant: i64,
        settlement: &'a Settlement,
        row: DeliveryColumns,
        interned: Interned,
    ) {
        let written = &mut self.written;
        written.keys.push(tenant, settlement.id);
        written.state.push(small(row.state));
        written.cause.push(row.cause.map(small));
        written.round.push(integer(row.round));
        written.attempt_count.push(integer(row.attempts));
        written.round_start.push(integer(row.round_start));
        written.round_began_at.push(row.round_began_at);
        written.due_at.push(row.due_at);
        written.ended_at.push(row.ended_at);
        written.next_due_at.push(row.next_due_at);
        written.tried_at.push(row.tried_at);
        written.attempts.push(&settlement.attempt, interned);
    }

    /// Adds what writes all of it, and the health of webhooks.
    pub(crate) fn send<'b>(&'b self, health: Option<&'b HealthColumns>, batch: &mut Batch<'b>) {
        let is_plain = self.moved.is_empty()
            && self.stale.keys.is_empty()
            && self.written.keys.is_empty()
            && !self.delivered.keys.is_empty();
        if let Some(health) = health.filter(|_| is_plain) {
            let values = self.delivered.values().chain(health.values());
            batch.add(DELIVERED_AND_COUNTED, values);
            return;
        }
        if !self.moved.is_empty() {
            batch.add(MOVE_LATEST, self.moved.values());
        }
        if !self.stale.keys.is_empty() {
            let number: [Parameter<'b>; 1] = [&self.stale.number];
            let values = self.stale.keys.values().into_iter().chain(number);
            batch.add(STALE, values.chain(self.stale.attempts.values()));
        }
        if !self.written.keys.is_empty() {
            let own = &self.written;
            let values: [Parameter<'b>; 10] = [
                &own.state,
                &own.cause,
                &own.round,
                &own.attempt_count,
                &own.round_start,
                &own.round_began_at,
                &own.due_at,
                &own.ended_at,
                &own.next_due_at,
                &own.tried_at,
            ];
            let values = own.keys.values().into_iter().chain(values);
            batch.add(WRITE, values.chain(own.attempts.values()));
        }
        if !self.delivered.keys.is_empty() {
            batch.add(DELIVERED_AT_ONCE, self.delivered.values());
        }
        if let Some(health) = health {
            health.write(batch);
        }
    }
}

impl DeliveredColumns<'_> {
    /// The values of `DELIVERED_AT_ONCE`.
    fn values(&self) -> impl Iterator<Item = Parameter<'_>> {
        let attempts = &self.attempts;
        let values: [Parameter<'_>; 8] = [
            &self.ended_at,
            &attempts.began_at,
            &attempts.duration_ms,
            &attempts.envelope,
            &attempts.status,
            &attempts.answer,
            &attempts.headers,
            &attempts.body,
        ];
        self.keys.values().into_iter().chain(values)
    }
}

impl KeyColumns {
    pub(crate) fn push(&mut self, tenant: i64, id: DeliveryId) {
        self.tenant.push(tenant);
        self.webhook.push(id.webhook.0);
        self.notification.push(id.notification.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tenant.is_empty()
    }

    /// `tenant_id, webhook_id, notification_id`.
    pub(crate) fn values(&self) -> [Parameter<'_>; 3] {
        [&self.tenant, &self.webhook, &self.notification]
    }
}

impl<'a> AttemptColumns<'a> {
    fn push(&mut self, attempt: &'a Attempt, interned: Interned) {
        let (answer, failure): (Option<&HttpResponse>, Option<&Failure>) = match &attempt.outcome {
            Outcome::Answered(answer) => (Some(answer), None),
            Outcome::Failed(failure) => (None, Some(failure)),
        };
        let detail = failure.map(|failure| failure.detail.as_str());
        let detail = detail.or_else(|| answer.and_then(|answer| answer.note.as_deref()));
        let detail = detail.filter(|detail| !detail.is_empty());
        // Header lines in an envelope are not written again.
        let headers = answer.filter(|_| interned.answer.is_none());
        let failure = failure.map(|failure| small(rows::failure_number(failure.kind)));
        let body_end = answer.and_then(|answer| rows::body_end_number(answer.body_end));
        self.began_at.push(attempt.began_at.as_millis());
        self.duration_ms.push(integer(attempt.duration_ms));
        self.envelope.push(interned.envelope);
        self.status.push(answer.map(|answer| answer.status.into()));
        self.failure.push(failure);
        self.detail.push(detail.map(SafeText));
        let headers = headers.and_then(|answer| rows::blob(&answer.headers.0));
        self.headers.push(headers);
        self.answer.push(interned.answer);
        self.body_end.push(body_end.map(small));
        self.body
            .push(answer.and_then(|answer| rows::blob(&answer.body)));
    }

    /// `began_at, duration_ms, envelope_id, status, failure, detail, headers, answer_id, body_end,
    /// body`.
    fn values(&self) -> [Parameter<'_>; 10] {
        [
            &self.began_at,
            &self.duration_ms,
            &self.envelope,
            &self.status,
            &self.failure,
            &self.detail,
            &self.headers,
            &self.answer,
            &self.body_end,
            &self.body,
        ]
    }
}

/// Counts and durations are far below the bound.
pub(crate) fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
