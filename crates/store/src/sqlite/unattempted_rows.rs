//! Writes rows of unattempted deliveries, and webhooks as text, which is how notifications and the
//! table `audience` have them.

use std::sync::Arc;

use model::delivery::CancelCause;
use model::id::{DeliveryId, WebhookId};
use model::time::Timestamp;

use crate::sqlite::job_error::JobError;
use crate::sqlite::rows;
use crate::sqlite::tx::Tx;

statements! {
    MATERIALIZE = "insert into fresh (webhook_id, notification_id) values (?1, ?2)";
    CANCEL = "
        insert into delivery
          (webhook_id, notification_id, state, cause, round, attempts, round_start, ended_at)
        values (?1, ?2, 3, ?3, 1, 0, 0, ?4)";
}

/// Inserts rows for deliveries, each given as a webhook and a notification.
pub(crate) fn materialize_rows(
    tx: &mut Tx<'_>,
    keys: impl Iterator<Item = [i64; 2]>,
) -> Result<(), JobError> {
    let list = tx.hot.get(tx.conn, MATERIALIZE)?;
    for keys in keys {
        list.execute(keys)?;
        tx.cache.rows_materialized += 1;
    }
    Ok(())
}

/// Writes a delivery that is cancelled before it was attempted.
pub(crate) fn write_cancelled(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    cause: CancelCause,
    at: Timestamp,
) -> Result<(), JobError> {
    tx.hot.get(tx.conn, CANCEL)?.execute((
        id.webhook.0,
        id.notification.0,
        rows::cause_number(cause),
        at.as_millis(),
    ))?;
    Ok(())
}

/// Webhook ids as text, separated by spaces.
pub(crate) fn ids_to_text(webhooks: &[WebhookId]) -> String {
    let ids: Vec<String> = webhooks.iter().map(|id| id.0.to_string()).collect();
    ids.join(" ")
}

/// The reverse of `ids_to_text`.
pub(crate) fn ids_of_text(words: &str) -> Option<Arc<[WebhookId]>> {
    let ids = words.split_whitespace();
    ids.map(|id| id.parse().ok().map(WebhookId)).collect()
}
