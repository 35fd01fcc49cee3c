//! The filter of a bulk job: how it is stored, which deliveries it means, and how many those are.

use model::dashboard::{BoundedCount, StatusCounts};
use model::delivery_filter::DeliveryFilter;
use model::id::{TenantId, WebhookId};
use model::limits;
use model::query::DeliveryStatus;
use model::time::Timestamp;
use serde_json::{Value as Json, json};

use crate::postgres;
use crate::sql::delivery_facts::FactsRow;
use crate::sql::delivery_scans::{self, ahead_from, walk};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::{Connection, Statement, heartbeat, id_range, log, query, rows, webhook_rows};

shared_statements! {
    FACTS = "
        select n.id, n.action_type, n.event, n.accepted_at, length(n.body), d.began_at is not null,
          d.status
        from notification n
        join delivery d on /*postgres d.tenant_id = n.tenant_id and */
          d.webhook_id = ?2 and d.notification_id = n.id
        where n.id = ?1 /*postgres and n.tenant_id = ?3 */";
    pub(crate) NEXT_ENABLED = "
        select id from webhook indexed by webhook_tenant
        where tenant_id = ?1 and disabled_cause is distinct from 3 and id > ?2
          and disabled_at is null
        order by id
        limit 1";
}

/// Bodies searched in one step, or for one count.
const SEARCHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Looking where a status of a webhook begins costs as much as so many rows of one.
pub(crate) const SEEK_ROWS: usize = 50;

/// Rows that are read at once, where each is looked at closely.
const PIECE_ROWS: usize = 500;

/// The part of a webhook's log that is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Searched<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) webhook: WebhookId,
    pub(crate) filter: &'a DeliveryFilter,
    /// The clock was set back.
    pub(crate) falls: bool,
}

/// What looking at some deliveries came to.
pub(crate) struct Matched {
    pub(crate) meant: Vec<i64>,
    /// The last that was looked at; `None` for all.
    pub(crate) stopped_at: Option<i64>,
}

/// The deliveries of a status, in order, with whether they have it.
pub(crate) fn scan_of(status: DeliveryStatus) -> Option<Statement> {
    match status {
        DeliveryStatus::Pending => None,
        DeliveryStatus::Retrying => Some(delivery_scans::WAITING),
        DeliveryStatus::Failed => Some(delivery_scans::FAILED),
        DeliveryStatus::Cancelled => Some(delivery_scans::CANCELLED),
        DeliveryStatus::Delivered => Some(delivery_scans::DELIVERED),
    }
}

impl Searched<'_> {
    /// Whether each row has to be looked at.
    pub(crate) fn asks_facts(&self) -> bool {
        self.filter.asks_facts(self.falls)
    }

    /// So many rows are read at once, of so many that may be.
    pub(crate) fn piece(&self, room: usize) -> usize {
        match self.asks_facts() {
            true => room.min(PIECE_ROWS),
            false => room,
        }
    }

    /// Those of the notifications, which are in order, whose deliveries are meant. May stop before
    /// the end, but not before the first.
    pub(crate) fn matching(
        &self,
        conn: Connection<'_>,
        notifications: Vec<i64>,
        searched_bytes: &mut usize,
    ) -> Result<Matched, JobError> {
        if !self.asks_facts() || notifications.is_empty() {
            return Ok(Matched {
                meant: notifications,
                stopped_at: None,
            });
        }
        let mut meant = Vec::new();
        let mut stopped_at = None;
        for row in self.facts(conn, &notifications)? {
            if !self.filter.means(&row.facts()) {
                continue;
            }
            meant.push(row.notification);
            if self.filter.text.is_empty() {
                continue;
            }
            *searched_bytes = searched_bytes.saturating_add(row.body_bytes);
            if *searched_bytes >= SEARCHED_BYTES_MAX {
                stopped_at = Some(row.notification);
                break;
            }
        }
        if !self.filter.text.is_empty() {
            meant = self.with_text(conn, meant)?;
        }
        Ok(Matched { meant, stopped_at })
    }

    fn facts(&self, conn: Connection<'_>, asked: &[i64]) -> Result<Vec<FactsRow>, JobError> {
        if let Connection::Postgres(conn) = conn {
            return postgres::many::facts(conn, self.tenant, self.webhook, asked);
        }
        let mut found = Vec::new();
        for notification in asked {
            let keys = values![notification, self.webhook.0, self.tenant.0];
            found.extend(query::first(conn, FACTS, keys, |row| FactsRow::read(row))?);
        }
        Ok(found)
    }

    fn with_text(&self, conn: Connection<'_>, asked: Vec<i64>) -> Result<Vec<i64>, JobError> {
        let text = self.filter.text.as_bytes();
        if let Connection::Postgres(conn) = conn {
            return postgres::many::with_text(conn, self.tenant, text, &asked);
        }
        let mut found = Vec::new();
        for notification in asked {
            let keys = values![notification, text, self.webhook.0];
            if query::first(conn, log::HAS_TEXT, keys, |row| row.get(0))? == Some(true) {
                found.push(notification);
            }
        }
        Ok(found)
    }
}

/// The ids that a filter's times leave, behind the first and up to and with the second.
pub(crate) fn id_bounds(
    conn: Connection<'_>,
    tenant: TenantId,
    filter: &DeliveryFilter,
) -> Result<(i64, i64), JobError> {
    let from = id_range::id_at(conn, tenant, filter.since)?.unwrap_or(0);
    let end = id_range::end_at(conn, tenant, filter.until)?;
    let latest = id_range::latest_id(conn, tenant)?;
    let upto = end.map_or(latest, |end| latest.min(end.saturating_sub(1)));
    Ok((from.saturating_sub(1), upto))
}

/// The enabled webhook of the tenant that comes next.
pub(crate) fn next_enabled(
    conn: Connection<'_>,
    tenant: TenantId,
    after: WebhookId,
) -> Result<Option<WebhookId>, JobError> {
    query::first(conn, NEXT_ENABLED, values![tenant.0, after.0], |row| {
        Ok(WebhookId(row.get(0)?))
    })
}

/// How many deliveries the filter means, by status.
pub(crate) fn count(
    conn: Connection<'_>,
    tenant: TenantId,
    webhook: Option<WebhookId>,
    filter: &DeliveryFilter,
    at: Timestamp,
) -> Result<StatusCounts, JobError> {
    let is_foreign = |id| Ok::<_, JobError>(webhook_rows::tenant_of(conn, id)? != Some(tenant));
    if webhook.map(is_foreign).transpose()? == Some(true) {
        return Ok(Vec::new());
    }
    let bounds = id_bounds(conn, tenant, filter)?;
    let falls = !id_range::falls(conn, tenant)?.is_empty();
    let now = at.plus_ms(heartbeat::lag_ms(conn)?.saturating_neg());
    let mut counts = Vec::new();
    for status in DeliveryFilter::REPLAYED {
        if !filter.statuses.contains(&status) {
            continue;
        }
        let mut counting = Counting {
            count: 0,
            looked_at: 0,
            searched_bytes: 0,
        };
        let mut next = match webhook {
            Some(id) => Some(id),
            None => next_enabled(conn, tenant, WebhookId(0))?,
        };
        while let Some(id) = next
            && !counting.is_over()
        {
            let searched = Searched {
                tenant,
                webhook: id,
                filter,
                falls,
            };
            counting.add(conn, &searched, status, bounds, (at, now))?;
            next = match webhook {
                Some(_) => None,
                None => next_enabled(conn, tenant, id)?,
            };
        }
        let most = u64::try_from(limits::COUNTED_MAX).unwrap_or(u64::MAX);
        let more = counting.is_over() || next.is_some();
        let count = counting.count.min(most);
        counts.push((status, BoundedCount { count, more }));
    }
    Ok(counts)
}

struct Counting {
    count: u64,
    looked_at: usize,
    searched_bytes: usize,
}

impl Counting {
    fn is_over(&self) -> bool {
        // One more than is shown, so that the bound itself is exact.
        self.count > u64::try_from(limits::COUNTED_MAX).unwrap_or(u64::MAX)
            || self.looked_at > limits::SCANNED_ROWS_MAX + SEEK_ROWS
            || self.searched_bytes >= SEARCHED_BYTES_MAX
    }

    fn add(
        &mut self,
        conn: Connection<'_>,
        searched: &Searched<'_>,
        status: DeliveryStatus,
        (since, upto): (i64, i64),
        (at, now): (Timestamp, Timestamp),
    ) -> Result<(), JobError> {
        let Some(scan) = scan_of(status) else {
            return Ok(());
        };
        let (at_ms, ahead, mut reached) = (at.as_millis(), ahead_from(at), since);
        self.looked_at += SEEK_ROWS;
        while !self.is_over() {
            let room = searched.piece(PIECE_ROWS);
            let webhook = searched.webhook.0;
            let (now, room_rows) = (now.as_millis(), rows::bound(room));
            let asked = values![webhook, reached, upto, room_rows, at_ms, ahead, now];
            let found = walk(conn, scan, asked)?;
            self.looked_at += found.len();
            let (is_last, last) = (found.len() < room, found.last().map(|(id, _)| *id));
            let meant = found.into_iter().filter(|(_, meant)| *meant);
            let meant = meant.map(|(id, _)| id).collect();
            let matched = searched.matching(conn, meant, &mut self.searched_bytes)?;
            self.count += u64::try_from(matched.meant.len()).unwrap_or(0);
            match last {
                Some(last) if !is_last => reached = last,
                Some(_) | None => break,
            }
        }
        Ok(())
    }
}

/// The filter as it is stored.
pub(crate) fn to_json(filter: &DeliveryFilter) -> Json {
    let responses = filter.responses.iter().map(ToString::to_string);
    json!({
        "statuses": filter.statuses.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        "action_types": filter.action_types,
        "events": filter.events,
        "responses": responses.collect::<Vec<_>>(),
        "since": filter.since.map(Timestamp::as_millis),
        "until": filter.until.map(Timestamp::as_millis),
        "text": filter.text,
    })
}

/// The conditions of the filter, for the audit log.
pub(crate) fn in_words(filter: &DeliveryFilter) -> Vec<(String, Json)> {
    let moment = |at: Option<Timestamp>| at.map_or(Json::Null, |at| json!(at.to_string()));
    let responses = filter.responses.iter().map(ToString::to_string);
    let statuses = filter.statuses.iter().map(|one| one.as_str());
    let all = [
        ("status", json!(statuses.collect::<Vec<_>>())),
        ("action_types", json!(filter.action_types)),
        ("events", json!(filter.events)),
        ("response", json!(responses.collect::<Vec<_>>())),
        ("since", moment(filter.since)),
        ("until", moment(filter.until)),
        ("text", json!(filter.text)),
    ];
    let is_given = |value: &Json| *value != json!([]) && *value != json!("") && !value.is_null();
    let given = all.into_iter().filter(|(_, value)| is_given(value));
    given
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Reads what `to_json` wrote.
pub(crate) fn of_json(text: &str) -> Result<DeliveryFilter, JobError> {
    let read = || {
        let stored: Json = serde_json::from_str(text).ok()?;
        let texts = |name: &str| -> Option<Vec<String>> {
            let list = stored.get(name)?.as_array()?.iter();
            list.map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let moment = |name: &str| {
            let time = stored.get(name)?;
            let at = time.as_i64().map(Timestamp::from_millis);
            (at.is_some() || time.is_null()).then_some(at)
        };
        let statuses = texts("statuses")?;
        let responses = texts("responses")?;
        Some(DeliveryFilter {
            statuses: statuses
                .iter()
                .map(|one| one.parse().ok())
                .collect::<Option<_>>()?,
            action_types: texts("action_types")?,
            events: texts("events")?,
            responses: responses
                .iter()
                .map(|one| one.parse().ok())
                .collect::<Option<_>>()?,
            since: moment("since")?,
            until: moment("until")?,
            text: stored.get("text")?.as_str()?.to_owned(),
        })
    };
    read().ok_or_else(|| CorruptRow("filter").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_as_it_was_stored() {
        let filter = DeliveryFilter {
            statuses: DeliveryFilter::REPLAYED.to_vec(),
            action_types: vec!["a\"b\0".to_owned()],
            events: vec![String::new(), "ü".to_owned()],
            responses: vec!["5xx".parse().unwrap(), "none".parse().unwrap()],
            since: Some(Timestamp::from_millis(-1)),
            until: None,
            text: "{\0".to_owned(),
        };
        assert_eq!(of_json(&to_json(&filter).to_string()).unwrap(), filter);
        assert!(of_json("{}").is_err());
    }
}
