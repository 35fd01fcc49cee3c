//! Envelopes: what many attempts have in common (masked URL, request header lines), kept once. So
//! are an answer's header lines from the second time on: they differ by their date at most.
//!
//! Found by a hash of both, compared in full. An envelope belongs to the day of the latest
//! notification when it was written, so pruning knows which have no attempt left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::attempt::Attempt;
use model::webhook::Headers;
use rusqlite::params;

use crate::sqlite::job_error::JobError;
use crate::sqlite::rows;
use crate::sqlite::writer::Tx;

const FIND: &str = "
    select id, url, headers from envelope indexed by envelope_hash
    where day = ?1 and hash = ?2
    limit 8";
const ADD: &str = "insert into envelope (day, hash, url, headers) values (?1, ?2, ?3, ?4)";

pub(crate) const STATEMENTS: &[&str] = &[FIND, ADD];

/// Most take about 1 KiB; a webhook needs a handful, one for each length of a body.
const CACHED_MAX: usize = 4_096;

/// All that are remembered together: receivers may answer with much, and with something else each
/// time.
const CACHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Webhooks whose attempts are recognized without reading what they share.
const SHARED_MAX: usize = 256;

/// What is longer is read.
const SHARED_BYTES_MAX: usize = 4 * 1024;

const DAY_MS: i64 = 24 * 3_600_000;

/// Those written or found lately, all of one day.
#[derive(Default)]
pub(crate) struct Envelopes {
    day: i64,
    known: BTreeMap<i64, InternedEnvelope>,
    /// Of what is known.
    bytes: usize,
    /// The latest of these for each place that what is looked for is at in memory.
    shared: Vec<Option<SharedEnvelope>>,
    /// The lines of an answer that were found last.
    latest_response: Option<(Headers, i64)>,
    /// Hashes of answers' lines that were met once.
    met_once: BTreeSet<i64>,
}

struct InternedEnvelope {
    url: String,
    headers: Headers,
    id: i64,
}

/// What the engine's attempts at one webhook share: the very same memory, so that their texts need
/// not be read. It is held here, and so nothing else can be at its place.
struct SharedEnvelope {
    url: Arc<str>,
    headers: Headers,
    id: i64,
}

/// The id of the envelope of this attempt, which is written down if it is new.
pub(crate) fn intern(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<i64, JobError> {
    let (url, headers) = (&attempt.url, &attempt.request_headers);
    let day = day(tx.highest_accepted_at()?);
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

/// The id of the envelope of an answer's lines; none for lines that are met for the first time,
/// which stay with their attempt.
pub(crate) fn intern_response(tx: &mut Tx<'_>, headers: &Headers) -> Result<Option<i64>, JobError> {
    if headers.is_empty() {
        return Ok(None);
    }
    let day = day(tx.highest_accepted_at()?);
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
        None => {
            tx.conn
                .prepare_cached(ADD)?
                .insert(params![day, hash, url, rows::blob(&headers.0)])?
        }
    };
    let known = InternedEnvelope {
        url: url.to_owned(),
        headers: headers.clone(),
        id,
    };
    tx.cache.envelopes.keep(hash, known);
    Ok(id)
}

/// The day that envelopes written while `accepted_at` is the latest there was belong to.
pub(crate) fn day(accepted_at: model::time::Timestamp) -> i64 {
    accepted_at.as_millis().div_euclid(DAY_MS)
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

impl Envelopes {
    /// Forgets those of another day.
    fn turn_to(&mut self, day: i64) {
        if self.day != day {
            *self = Self::default();
            self.day = day;
        }
    }

    fn shared(&self, url: &Arc<str>, headers: &Headers) -> Option<i64> {
        let shared = self.shared.get(slot_of(headers))?.as_ref()?;
        let is_same =
            Arc::ptr_eq(&shared.url, url) && std::ptr::eq(&*shared.headers.0, &*headers.0);
        is_same.then_some(shared.id)
    }

    fn share(&mut self, shared: SharedEnvelope) {
        if shared.url.len() + shared.headers.0.len() > SHARED_BYTES_MAX {
            return;
        }
        self.shared.resize_with(SHARED_MAX, || None);
        if let Some(slot) = self.shared.get_mut(slot_of(&shared.headers)) {
            *slot = Some(shared);
        }
    }

    fn get(&self, hash: i64, url: &str, headers: &Headers) -> Option<i64> {
        let known = self.known.get(&hash)?;
        (known.url == url && known.headers == *headers).then_some(known.id)
    }

    /// Notes that these lines were met. Answers whether it was for the first time.
    fn meet(&mut self, hash: i64) -> bool {
        if self.met_once.len() >= CACHED_MAX {
            self.met_once.clear();
        }
        self.met_once.insert(hash)
    }

    fn keep(&mut self, hash: i64, known: InternedEnvelope) {
        let bytes = known.bytes();
        if self.known.len() >= CACHED_MAX || self.bytes + bytes > CACHED_BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let before = self.known.insert(hash, known);
        self.bytes -= before.as_ref().map_or(0, InternedEnvelope::bytes);
    }
}

impl InternedEnvelope {
    fn bytes(&self) -> usize {
        self.url.len() + self.headers.0.len()
    }
}

/// Where those at this address in memory are seen.
fn slot_of(headers: &Headers) -> usize {
    // Of the lowest bits most are the same for all.
    let address = headers.0.as_ptr().addr();
    (address / 16 + address / 4_096) % SHARED_MAX
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
