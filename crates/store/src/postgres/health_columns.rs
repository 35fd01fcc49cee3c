//! The health of webhooks, written for a whole batch of settlements: of each of its two tables all
//! rows at once.

use model::time::Timestamp;

use crate::postgres::batch::{Batch, Parameter};
use crate::postgres::text;
use crate::sql::webhook_health::BatchHealth;

statements! {
    // A success in the batch begins anew; of `failing` ($7), which had none, the first failure
    // stays the first.
    WRITE = "
        with saved as (
          insert into standing
            (webhook_id, notification_id, ended_at, success, words, failing_since)
          select * from unnest(
            $1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::text[], $6::bigint[])
          on conflict (webhook_id) do update
          set notification_id = excluded.notification_id, ended_at = excluded.ended_at,
            success = excluded.success, words = excluded.words,
            failing_since = case
              when excluded.webhook_id = any($7::bigint[])
                then coalesce(standing.failing_since, excluded.failing_since)
              else excluded.failing_since
            end)
        insert into tally (webhook_id, hour, delivered, retried, failed)
        select * from unnest(
          $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
        on conflict (webhook_id, hour) do update
        set delivered = tally.delivered + excluded.delivered,
          retried = tally.retried + excluded.retried, failed = tally.failed + excluded.failed";
}

/// Rows of both tables by columns, in the order of their keys.
#[derive(Default)]
pub(crate) struct HealthColumns {
    webhook: Vec<i64>,
    notification: Vec<i64>,
    ended_at: Vec<i64>,
    success: Vec<bool>,
    words: Vec<String>,
    failing_since: Vec<Option<i64>>,
    /// Webhooks without a success.
    failing: Vec<i64>,
    counts: HourColumns,
}

#[derive(Default)]
struct HourColumns {
    webhook: Vec<i64>,
    hour: Vec<i64>,
    delivered: Vec<i64>,
    retried: Vec<i64>,
    failed: Vec<i64>,
}

impl HealthColumns {
    pub(crate) fn of(health: &BatchHealth<'_>) -> Self {
        let mut columns = Self::default();
        for (id, webhook) in health.webhooks() {
            let (latest, outcome) = (webhook.latest, &webhook.latest.attempt.outcome);
            columns.webhook.push(id.0);
            columns.notification.push(latest.id.notification.0);
            columns.ended_at.push(latest.ended_at.as_millis());
            columns.success.push(outcome.is_success());
            columns
                .words
                .push(text::encoded(&outcome.words()).into_owned());
            let failing_since = webhook.failing_since.map(Timestamp::as_millis);
            columns.failing_since.push(failing_since);
            if !webhook.success {
                columns.failing.push(id.0);
            }
            for (hour, counts) in &webhook.hours {
                columns.counts.webhook.push(id.0);
                columns.counts.hour.push(*hour);
                columns.counts.delivered.push(counts.delivered.into());
                columns.counts.retried.push(counts.retried.into());
                columns.counts.failed.push(counts.failed.into());
            }
        }
        columns
    }

    /// Adds what writes them, if there are any.
    pub(crate) fn write<'a>(&'a self, batch: &mut Batch<'a>) {
        if !self.webhook.is_empty() {
            batch.add(WRITE, self.values());
        }
    }

    /// The values of `WRITE`.
    pub(crate) fn values(&self) -> [Parameter<'_>; 12] {
        [
            &self.webhook,
            &self.notification,
            &self.ended_at,
            &self.success,
            &self.words,
            &self.failing_since,
            &self.failing,
            &self.counts.webhook,
            &self.counts.hour,
            &self.counts.delivered,
            &self.counts.retried,
            &self.counts.failed,
        ]
    }
}
