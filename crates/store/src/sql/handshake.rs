//! What receivers answered when they were asked whether they agree to be called: columns of their
//! webhooks, null where nobody is to be asked. `cloud_events.rs` has the choice.

use model::handshake::{Handshake, HandshakeAnswer, HandshakeQuestion, HandshakeVerdict};
use model::id::WebhookId;

use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::rows;
use crate::sql::transaction::Transaction;

shared_statements! {
    // Chosen anew meanwhile, the receiver is asked anew.
    WRITE = "
        update webhook
        set handshake_at = ?3, handshake_url = ?4, handshake_origin = ?5, handshake_rate = ?6,
          handshake_refused = ?7
        where id = ?1 and handshake_since = ?2";
}

/// The six columns `handshake_since, handshake_at, handshake_url, handshake_origin,
/// handshake_rate, handshake_refused`, from `at` on.
pub(crate) fn stored(row: &impl ReadRow, at: usize) -> Result<Option<Handshake>, JobError> {
    let Some(since) = rows::time_if_any(row, at)? else {
        return Ok(None);
    };
    let Some(answered_at) = rows::time_if_any(row, at + 1)? else {
        return Ok(Some(Handshake {
            since,
            answer: None,
        }));
    };
    let url_hash: Option<String> = row.column(at + 2)?;
    let origin: Option<String> = row.column(at + 3)?;
    let rate: Option<i64> = row.column(at + 4)?;
    let refused: Option<String> = row.column(at + 5)?;
    let per_minute = rate
        .map(u32::try_from)
        .transpose()
        .map_err(|_| CorruptRow("handshake_rate"))?;
    let question = HandshakeQuestion {
        since,
        url_hash: url_hash.ok_or(CorruptRow("handshake_url"))?,
        origin: origin.ok_or(CorruptRow("handshake_origin"))?,
    };
    Ok(Some(Handshake {
        since,
        answer: Some(HandshakeAnswer {
            question,
            at: answered_at,
            verdict: match refused {
                Some(reason) => HandshakeVerdict::Refused { reason },
                None => HandshakeVerdict::Granted { per_minute },
            },
        }),
    }))
}

/// Writes an answer down beside its webhook, if that has the same choice.
pub(crate) fn write(
    tx: &dyn Transaction,
    webhook: WebhookId,
    answer: &HandshakeAnswer,
) -> Result<(), JobError> {
    let (rate, refused) = match &answer.verdict {
        HandshakeVerdict::Granted { per_minute } => (*per_minute, None),
        HandshakeVerdict::Refused { reason } => (None, Some(reason.as_str())),
    };
    let question = &answer.question;
    tx.execute(
        WRITE,
        values![
            webhook.0,
            question.since.as_millis(),
            answer.at.as_millis(),
            question.url_hash,
            question.origin,
            rate,
            refused,
        ],
    )?;
    Ok(())
}
