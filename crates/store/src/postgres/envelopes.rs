//! Envelopes: what many attempts have in common, stored once. That is the masked URL with the
//! request header lines, and the header lines of a response from the second time on.
//!
//! Nodes share none. The thread that settles has a row of `envelope_day` of its own, anew each day
//! and after each failure, and finds again only what was written under it. The row says up to which
//! notification its envelopes are referred to. A day that is in use is held (`HOLD`) by each
//! transaction that refers to its envelopes, so that it cannot be closed meanwhile; whoever closes
//! it knows that no attempt refers to them, and none will: the next transaction finds it closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::attempt::{Attempt, Outcome};
use model::id::NotificationId;
use model::time::Timestamp;
use model::webhook::Headers;

use crate::postgres::batch::Parameter;
use crate::postgres::connection::PostgresConnection;
use crate::postgres::session::Session;
use crate::postgres::text::SafeText;
use crate::sql::envelope_cache::{self, InternedEnvelope, SharedEnvelope};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::rows;

statements! {
    // No row: it is closed.
    HOLD = "
        select id from envelope_day
        where id = $1 and not closed
        for key share";
    OPEN = "insert into envelope_day (upto) values ($1) returning id";
    SET_UPTO = "update envelope_day set upto = $2 where id = $1";
    // No order: it would have the planner walk along the ids.
    FIND = "
        select asked.place, found.id
        from unnest($2::bigint[], $3::text[], $4::bytea[])
          with ordinality as asked (hash, url, headers, place)
        cross join lateral (
          select id from envelope
          where day = $1 and hash = asked.hash and url = asked.url
            and headers is not distinct from asked.headers
          limit 1) as found";
    ADD = "
        insert into envelope (day, hash, url, headers)
        select $1, asked.* from unnest($2::bigint[], $3::text[], $4::bytea[]) as asked
        returning hash, id";
    // What may be referred to by nothing any more, and is not in use. Locked before it is looked
    // for what is left, so that nobody refers to it between the two.
    LOCK_OLD = "
        select id from envelope_day
        where not closed and upto < (
          select coalesce(min(first.id), 9223372036854775807) from tenant
          cross join lateral (
            select id from notification
            where tenant_id = tenant.id
            order by id
            limit 1) as first)
        for update skip locked";
    CLOSE_OLD = "
        update envelope_day set closed = true
        where id = any($1::bigint[]) and upto < (
          select coalesce(min(first.id), 9223372036854775807) from tenant
          cross join lateral (
            select id from notification
            where tenant_id = tenant.id
            order by id
            limit 1) as first)";
    DROP = "
        delete from envelope where id = any(array(
          select id from envelope
          where day = any(array(select id from envelope_day where closed))
          limit $1))";
    FORGET_CLOSED = "
        delete from envelope_day
        where closed and (select id from envelope where day = envelope_day.id limit 1) is null";
}

/// So many more notifications may follow before the row of the day has to be written again.
const AHEAD: i64 = 1_024;

/// Envelopes of the day that this thread has open.
#[derive(Default)]
pub(crate) struct EnvelopeCache {
    day: Option<OpenDay>,
    known: envelope_cache::EnvelopeCache,
}

#[derive(Clone, Copy)]
struct OpenDay {
    id: i64,
    /// Of whose time it is, in days since 1970.
    number: i64,
    /// The latest notification that they were used for.
    latest: i64,
    /// By its row its envelopes are for notifications up to and with this one.
    upto: i64,
}

/// The envelopes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interned {
    pub(crate) envelope: i64,
    /// That of the response's header lines; `None` if they stay with the attempt.
    pub(crate) answer: Option<i64>,
}

/// Texts that make an envelope.
#[derive(Clone, Copy)]
struct Texts<'a> {
    hash: i64,
    url: &'a str,
    headers: &'a Headers,
}

#[derive(Clone, Copy)]
enum Place {
    Known(i64),
    /// The place among what is unknown.
    Unknown(usize),
}

/// What is not known, each once, to be looked up together.
#[derive(Default)]
struct Unknown<'a> {
    texts: Vec<Texts<'a>>,
    places: BTreeMap<(i64, &'a str, &'a [u8]), usize>,
}

impl EnvelopeCache {
    /// Nothing that is known holds.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The day that is open, as far as is known.
    pub(crate) fn open_day(&self) -> Option<i64> {
        self.day.map(|day| day.id)
    }

    fn request<'a>(&mut self, attempt: &'a Attempt, unknown: &mut Unknown<'a>) -> Place {
        let (url, headers) = (&attempt.url, &attempt.request_headers);
        if let Some(id) = self.known.shared(url, headers) {
            return Place::Known(id);
        }
        let texts = Texts::of(url, headers);
        match self.known.get(texts.hash, url, headers) {
            Some(id) => {
                self.share(attempt, id);
                Place::Known(id)
            }
            None => Place::Unknown(unknown.place(texts)),
        }
    }

    /// `None` for lines that are met for the first time.
    fn response<'a>(&mut self, headers: &'a Headers, unknown: &mut Unknown<'a>) -> Option<Place> {
        if headers.is_empty() {
            return None;
        }
        if let Some((latest, id)) = &self.known.latest_response
            && latest == headers
        {
            return Some(Place::Known(*id));
        }
        let texts = Texts::of("", headers);
        match self.known.get(texts.hash, "", headers) {
            Some(id) => {
                self.known.latest_response = Some((headers.clone(), id));
                Some(Place::Known(id))
            }
            None if self.known.meet(texts.hash) => None,
            None => Some(Place::Unknown(unknown.place(texts))),
        }
    }

    fn share(&mut self, attempt: &Attempt, id: i64) {
        self.known.share(SharedEnvelope {
            url: Arc::clone(&attempt.url),
            headers: attempt.request_headers.clone(),
            id,
        });
    }
}

/// Keeps this day open until the transaction ends. Answers whether it is.
pub(crate) fn hold(conn: &PostgresConnection, day: i64) -> Result<bool, JobError> {
    Ok(!conn.session().query(HOLD, &[&day])?.is_empty())
}

/// Envelopes for these attempts of notifications up to `latest`, made by `at`, in the order given.
/// What is new is inserted. The day that is open has to be held by the transaction.
pub(crate) fn intern(
    conn: &PostgresConnection,
    cache: &mut EnvelopeCache,
    attempts: &[&Attempt],
    latest: NotificationId,
    at: Timestamp,
) -> Result<Vec<Interned>, JobError> {
    let session = conn.session();
    let day = open(session, cache, latest, at)?;
    let mut unknown = Unknown::default();
    let places: Vec<(Place, Option<Place>)> = attempts
        .iter()
        .map(|attempt| {
            let request = cache.request(attempt, &mut unknown);
            let response = match &attempt.outcome {
                Outcome::Answered(answer) => cache.response(&answer.headers, &mut unknown),
                Outcome::Failed(_) => None,
            };
            (request, response)
        })
        .collect();
    let ids = look_up(session, day, &unknown.texts)?;
    for (texts, id) in unknown.texts.iter().zip(&ids) {
        cache.known.keep(
            texts.hash,
            InternedEnvelope {
                url: texts.url.to_owned(),
                headers: texts.headers.clone(),
                id: *id,
            },
        );
    }
    let id_at = |place: Place| match place {
        Place::Known(id) => Ok(id),
        Place::Unknown(place) => ids.get(place).copied().ok_or(CorruptRow("envelope")),
    };
    let found = places.into_iter().map(|(request, response)| {
        Ok(Interned {
            envelope: id_at(request)?,
            answer: response.map(id_at).transpose()?,
        })
    });
    found.collect()
}

/// The day that envelopes are written in. Opens one if there is none, or if it is of another time.
fn open(
    session: &Session,
    cache: &mut EnvelopeCache,
    latest: NotificationId,
    at: Timestamp,
) -> Result<i64, JobError> {
    let (number, ahead) = (rows::envelope_day(at), latest.0.saturating_add(AHEAD));
    if let Some(day) = &mut cache.day {
        // It cannot be closed: the transaction holds it. Around midnight times go to and fro.
        if (number..=number.saturating_add(1)).contains(&day.number) {
            if day.upto < latest.0 {
                session.execute(SET_UPTO, &[&day.id, &ahead])?;
                day.upto = ahead;
            }
            day.latest = day.latest.max(latest.0);
            return Ok(day.id);
        }
        // No more than it was used for, so that it goes with that.
        session.execute(SET_UPTO, &[&day.id, &day.latest])?;
    }
    let opened = session.query(OPEN, &[&ahead])?;
    let id = opened.first().ok_or(CorruptRow("answer"))?.column(0)?;
    cache.day = Some(OpenDay {
        id,
        number,
        latest: latest.0,
        upto: ahead,
    });
    cache.known.turn_to(id);
    Ok(id)
}

/// The ids of these envelopes, which are inserted if they are new.
fn look_up(session: &Session, day: i64, texts: &[Texts<'_>]) -> Result<Vec<i64>, JobError> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: BTreeMap<usize, i64> = BTreeMap::new();
    let columns = Columns::of(texts.iter());
    for row in &session.query(FIND, &columns.values(&day))? {
        let place: i64 = row.column(0)?;
        let place = usize::try_from(place.saturating_sub(1));
        found.insert(place.map_err(|_| CorruptRow("answer"))?, row.column(1)?);
    }
    loop {
        // Of different ones with the same hash one at a time: the answer is not in order.
        let missing = texts.iter().enumerate();
        let missing = missing.filter(|(place, _)| !found.contains_key(place));
        let by_hash: BTreeMap<i64, usize> =
            missing.map(|(place, texts)| (texts.hash, place)).collect();
        if by_hash.is_empty() {
            return Ok(found.into_values().collect());
        }
        let columns = Columns::of(by_hash.values().filter_map(|place| texts.get(*place)));
        for row in &session.query(ADD, &columns.values(&day))? {
            let hash: i64 = row.column(0)?;
            let place = by_hash.get(&hash).ok_or(CorruptRow("answer"))?;
            found.insert(*place, row.column(1)?);
        }
    }
}

/// Removes at most `limit` envelopes that no attempt has any more. Answers how many.
pub(crate) fn drop_old(conn: &PostgresConnection, limit: i64) -> Result<usize, JobError> {
    let session = conn.session();
    let locked = session.query(LOCK_OLD, &[])?;
    let locked: Result<Vec<i64>, JobError> = locked.iter().map(|row| row.column(0)).collect();
    let locked = locked?;
    if !locked.is_empty() {
        session.execute(CLOSE_OLD, &[&locked])?;
    }
    let dropped = session.execute(DROP, &[&limit])?;
    session.execute(FORGET_CLOSED, &[])?;
    Ok(usize::try_from(dropped).unwrap_or(usize::MAX))
}

/// Columns of several envelopes.
struct Columns<'a> {
    hashes: Vec<i64>,
    urls: Vec<SafeText<'a>>,
    headers: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn of<'t>(texts: impl Iterator<Item = &'t Texts<'a>> + Clone) -> Self
    where
        'a: 't,
    {
        Self {
            hashes: texts.clone().map(|texts| texts.hash).collect(),
            urls: texts.clone().map(|texts| SafeText(texts.url)).collect(),
            headers: texts.map(|texts| rows::blob(&texts.headers.0)).collect(),
        }
    }

    fn values<'v>(&'v self, day: &'v i64) -> [Parameter<'v>; 4] {
        [day, &self.hashes, &self.urls, &self.headers]
    }
}

impl<'a> Texts<'a> {
    fn of(url: &'a str, headers: &'a Headers) -> Self {
        Self {
            hash: envelope_cache::hash(url, &headers.0),
            url,
            headers,
        }
    }
}

impl<'a> Unknown<'a> {
    fn place(&mut self, texts: Texts<'a>) -> usize {
        let key = (texts.hash, texts.url, &*texts.headers.0);
        *self.places.entry(key).or_insert_with(|| {
            self.texts.push(texts);
            self.texts.len() - 1
        })
    }
}
