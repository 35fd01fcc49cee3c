//! Envelopes: what many attempts have in common, stored once. That is the masked URL with the
//! request header lines, and the header lines of a response from the second time on.
//!
//! An envelope is found by a hash and compared in full. It belongs to the day of the latest
//! notification when it was written, so pruning knows which envelopes have no attempt left.

use std::sync::Arc;

use model::attempt::Attempt;
use model::webhook::Headers;
use rusqlite::params;

use crate::sql::envelope_cache::{InternedEnvelope, SharedEnvelope, hash};
use crate::sql::job_error::JobError;
use crate::sql::rows;
use crate::sqlite::tx::Tx;

statements! {
    FIND = "
        select id, url, headers from envelope indexed by envelope_hash
        where day = ?1 and hash = ?2
        limit 8";
    ADD = "insert into envelope (day, hash, url, headers) values (?1, ?2, ?3, ?4)";
}

/// The id of the attempt's envelope, which is inserted if it is new.
pub(crate) fn intern(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<i64, JobError> {
    let (url, headers) = (&attempt.url, &attempt.request_headers);
    let day = rows::envelope_day(tx.highest_accepted_at()?);
    tx.cache.envelopes.turn_to(day);
    if let Some(id) = tx.cache.envelopes.shared(url, headers) {
        return Ok(id);
    }
    let hash = hash(url, &headers.0);
    let id = match tx.cache.envelopes.get(hash, url, headers) {
        Some(id) => id,
        None => look_up(tx, day, hash, url, headers)?,
    };
    tx.cache.envelopes.share(SharedEnvelope {
        url: Arc::clone(url),
        headers: headers.clone(),
        id,
    });
    Ok(id)
}

/// The id of the envelope of a response's header lines. `None` for lines that are met for the first
/// time: they stay with their attempt.
pub(crate) fn intern_response(tx: &mut Tx<'_>, headers: &Headers) -> Result<Option<i64>, JobError> {
    if headers.is_empty() {
        return Ok(None);
    }
    let day = rows::envelope_day(tx.highest_accepted_at()?);
    let envelopes = &mut tx.cache.envelopes;
    envelopes.turn_to(day);
    if let Some((latest, id)) = &envelopes.latest_response
        && latest == headers
    {
        return Ok(Some(*id));
    }
    let hash = hash("", &headers.0);
    let id = match envelopes.get(hash, "", headers) {
        Some(id) => id,
        None if envelopes.meet(hash) => return Ok(None),
        None => look_up(tx, day, hash, "", headers)?,
    };
    tx.cache.envelopes.latest_response = Some((headers.clone(), id));
    Ok(Some(id))
}

fn look_up(
    tx: &mut Tx<'_>,
    day: i64,
    hash: i64,
    url: &str,
    headers: &Headers,
) -> Result<i64, JobError> {
    let id = match find(tx, day, hash, url, headers)? {
        Some(id) => id,
        None => tx.insert(ADD, params![day, hash, url, rows::blob(&headers.0)])?,
    };
    let known = InternedEnvelope {
        url: url.to_owned(),
        headers: headers.clone(),
        id,
    };
    tx.cache.envelopes.keep(hash, known);
    Ok(id)
}

fn find(
    tx: &Tx<'_>,
    day: i64,
    hash: i64,
    url: &str,
    headers: &Headers,
) -> Result<Option<i64>, JobError> {
    let mut statement = tx.conn.prepare_cached(FIND)?;
    let mut rows = statement.query([day, hash])?;
    while let Some(row) = rows.next()? {
        let same_url = row.get_ref(1)?.as_str() == Ok(url);
        if same_url && rows::headers(row, 2)? == *headers {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}
