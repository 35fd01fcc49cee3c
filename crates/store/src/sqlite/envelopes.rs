//! Envelopes: what many attempts have in common (masked URL, request header lines), kept once. So
//! are an answer's header lines from the second time on: they differ by their date at most.
//!
//! Found by a hash of both, compared in full. An envelope belongs to the day of the latest
//! notification when it was written, so pruning knows which have no attempt left.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::attempt::Attempt;
use model::webhook::Headers;
use rusqlite::params;

use crate::sqlite::fault::Fault;
use crate::sqlite::rows;
use crate::sqlite::writer::Tx;

const FIND: &str = "
    select id, url, headers from envelope indexed by envelope_hash
    where day = ?1 and hash = ?2
    limit 8";
const ADD: &str = "insert into envelope (day, hash, url, headers) values (?1, ?2, ?3, ?4)";

pub(crate) const STATEMENTS: &[&str] = &[FIND, ADD];

/// Each takes about 1 KiB; a webhook needs a handful, one for each length of a body.
const REMEMBERED_MAX: usize = 4_096;

const DAY_MS: i64 = 24 * 3_600_000;

/// Those written or found lately, all of one day.
#[derive(Default)]
pub(crate) struct Envelopes {
    day: i64,
    known: BTreeMap<i64, Known>,
    /// Hashes of answers' lines that were met once.
    met: BTreeSet<i64>,
}

struct Known {
    url: String,
    headers: Headers,
    id: i64,
}

/// The id of the envelope of this attempt, which is written down if it is new.
pub(crate) fn intern(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<i64, Fault> {
    let (url, headers) = (&attempt.url, &attempt.request_headers);
    let hash = hash(url, &headers.0);
    let day = day(tx.latest_accepted_at()?);
    match tx.memory.envelopes.get(day, hash, url, headers) {
        Some(id) => Ok(id),
        None => look_up(tx, day, hash, url, headers),
    }
}

/// The id of the envelope of an answer's lines; none for lines that are met for the first time,
/// which stay with their attempt.
pub(crate) fn intern_answer(tx: &mut Tx<'_>, headers: &Headers) -> Result<Option<i64>, Fault> {
    if headers.is_empty() {
        return Ok(None);
    }
    let hash = hash("", &headers.0);
    let day = day(tx.latest_accepted_at()?);
    if let Some(id) = tx.memory.envelopes.get(day, hash, "", headers) {
        return Ok(Some(id));
    }
    if tx.memory.envelopes.meet(hash) {
        return Ok(None);
    }
    look_up(tx, day, hash, "", headers).map(Some)
}

fn look_up(
    tx: &mut Tx<'_>,
    day: i64,
    hash: i64,
    url: &str,
    headers: &Headers,
) -> Result<i64, Fault> {
    let id = match find(tx, day, hash, url, headers)? {
        Some(id) => id,
        None => {
            tx.conn
                .prepare_cached(ADD)?
                .insert(params![day, hash, url, rows::blob(&headers.0)])?
        }
    };
    let known = Known {
        url: url.to_owned(),
        headers: headers.clone(),
        id,
    };
    tx.memory.envelopes.keep(hash, known);
    Ok(id)
}

/// The day that envelopes written while `accepted_at` is the latest belong to.
pub(crate) fn day(accepted_at: model::time::Timestamp) -> i64 {
    accepted_at.as_millis().div_euclid(DAY_MS)
}

fn find(
    tx: &Tx<'_>,
    day: i64,
    hash: i64,
    url: &str,
    headers: &Headers,
) -> Result<Option<i64>, Fault> {
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

impl Envelopes {
    fn get(&mut self, day: i64, hash: i64, url: &str, headers: &Headers) -> Option<i64> {
        if self.day != day {
            self.day = day;
            self.known.clear();
            self.met.clear();
        }
        let known = self.known.get(&hash)?;
        (known.url == url && known.headers == *headers).then_some(known.id)
    }

    /// Notes that these lines were met. Answers whether it was for the first time.
    fn meet(&mut self, hash: i64) -> bool {
        if self.met.len() >= REMEMBERED_MAX {
            self.met.clear();
        }
        self.met.insert(hash)
    }

    fn keep(&mut self, hash: i64, known: Known) {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(hash, known);
    }
}

/// FNV-1a, 64 bits: in every file out there, so it may not change between versions.
fn hash(url: &str, headers: &Bytes) -> i64 {
    let bytes = url.bytes().chain([0]).chain(headers.iter().copied());
    bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
        .cast_signed()
}
