//! What a group has to know of its tenants before it is written: asked at once, when they are
//! locked.

use std::collections::BTreeMap;

use model::id::TenantId;
use model::notification::NewNotification;
use model::time::Timestamp;
use tokio_postgres::Row;

use crate::postgres::accept::repeated::Repeated;
use crate::postgres::accept::statements::{FALLS, STATE};
use crate::postgres::accept::talk::{Answers, Statements};
use crate::postgres::accept::times::{KnownFalls, TenantTimes};
use crate::postgres::locks;
use crate::postgres::text::SafeText;
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::row::ReadRow;
use crate::sql::rows;

/// Which locks a group waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    /// None: what is locked is left out.
    Try,
    /// Those of all tenants. For a caller that holds no tenant yet.
    All,
}

/// The notifications of a group as the database is asked about them.
pub(super) struct Asked<'a> {
    /// Each with its tenant and key, in their order, and its place in the group.
    sorted: Vec<(i64, &'a str, usize)>,
    tenants: Vec<i64>,
    /// Where the keys of each tenant are among `keys`, counted from 1, both included.
    firsts: Vec<i32>,
    lasts: Vec<i32>,
    /// Each once.
    keys: Vec<SafeText<'a>>,
    /// Locks.
    waited: Vec<i64>,
    tried: Vec<i64>,
}

/// What is known of the tenants of a group.
pub(super) struct Known {
    pub(super) version: i64,
    /// Only those that are locked.
    pub(super) tenants: BTreeMap<TenantId, TenantState>,
    /// Ids for new notifications, in order.
    pub(super) ids: std::vec::IntoIter<i64>,
}

/// What is known of a tenant that is locked.
pub(super) struct TenantState {
    pub(super) times: TenantTimes,
    /// Deliveries that the fan-out has not materialized yet.
    pub(super) owed: usize,
}

impl<'a> Asked<'a> {
    pub(super) fn new(news: &[&'a NewNotification], locking: Locking) -> Self {
        let sorted = news.iter().enumerate();
        let sorted = sorted.map(|(place, new)| (new.tenant.0, new.key.as_str(), place));
        let mut sorted: Vec<(i64, &str, usize)> = sorted.collect();
        sorted.sort_unstable();
        let mut asked = Self {
            tenants: Vec::new(),
            firsts: Vec::new(),
            lasts: Vec::new(),
            keys: Vec::with_capacity(sorted.len()),
            waited: Vec::new(),
            tried: Vec::new(),
            sorted: Vec::new(),
        };
        for of_tenant in sorted.chunk_by(|one, next| one.0 == next.0) {
            let Some((tenant, ..)) = of_tenant.first() else {
                continue;
            };
            asked.tenants.push(*tenant);
            asked.firsts.push(place(asked.keys.len().saturating_add(1)));
            let keys = of_tenant.chunk_by(|one, next| one.1 == next.1);
            let keys = keys.filter_map(|same| same.first());
            asked.keys.extend(keys.map(|(_, key, _)| SafeText(key)));
            asked.lasts.push(place(asked.keys.len()));
            let locks = match locking {
                Locking::Try => &mut asked.tried,
                Locking::All => &mut asked.waited,
            };
            locks.push(locks::tenant(TenantId(*tenant)).number());
        }
        asked.sorted = sorted;
        asked
    }

    pub(super) fn has_several_tenants(&self) -> bool {
        self.tenants.len() > 1
    }

    /// Locks the tenants, then asks.
    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        if !self.waited.is_empty() {
            statements.add(locks::TAKE, vec![&self.waited]);
        }
        if !self.tried.is_empty() {
            statements.add(locks::TRY, vec![&self.tried]);
        }
        statements.add(
            STATE,
            vec![&self.tenants, &self.firsts, &self.lasts, &self.keys],
        );
    }

    pub(super) fn read(
        &self,
        answers: &mut Answers,
        news: &[&'a NewNotification],
    ) -> Result<(Known, Repeated<'a>), JobError> {
        if !self.waited.is_empty() {
            answers.next()?;
        }
        let mut busy = Vec::new();
        if !self.tried.is_empty() {
            let rows = answers.next()?.rows;
            for (key, row) in self.tried.iter().zip(&rows) {
                if !row.column::<bool>(0)? {
                    busy.push(*key);
                }
            }
        }
        let rows = answers.next()?.rows;
        let known = read_state(&rows, |tenant| {
            !busy.contains(&locks::tenant(tenant).number())
        })?;
        let mut repeated = Repeated::default();
        for row in &rows {
            if let Some(key) = row.column::<Option<String>>(6)? {
                let tenant: i64 = row.column(0)?;
                let all = self.places(tenant, &key);
                let all = all.iter().filter_map(|(.., place)| {
                    let new = news.get(*place)?;
                    Some((*place, *new))
                });
                repeated.add(row.column(7)?, all);
            }
        }
        Ok((known, repeated))
    }

    /// Where this key is in the group.
    fn places(&self, tenant: i64, key: &str) -> &[(i64, &'a str, usize)] {
        let from = self
            .sorted
            .partition_point(|(other, name, _)| (*other, *name) < (tenant, key));
        let rest = self.sorted.get(from..).unwrap_or_default();
        let count = rest.partition_point(|(other, name, _)| (*other, *name) == (tenant, key));
        rest.get(..count).unwrap_or_default()
    }
}

/// As an array of PostgreSQL counts. No group is near the limit of this type.
fn place(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

fn read_state(rows: &[Row], is_locked: impl Fn(TenantId) -> bool) -> Result<Known, JobError> {
    let first = rows.first().ok_or(CorruptRow("answer"))?;
    let reached = rows::time_if_any(first, 2)?.unwrap_or(Timestamp::EPOCH);
    let ids: Vec<i64> = first.try_get(5)?;
    let mut tenants = BTreeMap::new();
    for row in rows {
        let tenant = TenantId(row.column(0)?);
        if is_locked(tenant) {
            let latest = rows::time_if_any(row, 3)?.unwrap_or(Timestamp::EPOCH);
            let owed: Option<i64> = row.column(4)?;
            let state = TenantState {
                times: TenantTimes::new(latest, reached),
                owed: owed.map_or(0, |owed| usize::try_from(owed).unwrap_or(0)),
            };
            tenants.insert(tenant, state);
        }
    }
    Ok(Known {
        version: first.column(1)?,
        tenants,
        ids: ids.into_iter(),
    })
}

/// Tenants whose times may fall, of which earlier falls have to be known.
pub(super) struct Falling {
    tenants: Vec<i64>,
}

impl Falling {
    pub(super) fn of(news: &[&NewNotification], known: &Known) -> Self {
        let mut spans: BTreeMap<TenantId, (Timestamp, Timestamp)> = BTreeMap::new();
        for new in news {
            let (earliest, latest) = spans.entry(new.tenant).or_insert((new.at, new.at));
            *earliest = new.at.min(*earliest);
            *latest = new.at.max(*latest);
        }
        let may_fall = |(tenant, (earliest, latest)): (&TenantId, &(Timestamp, Timestamp))| {
            let state = known.tenants.get(tenant)?;
            let may_fall = state.times.may_fall(*earliest, *latest);
            may_fall.then_some(tenant.0)
        };
        Self {
            tenants: spans.iter().filter_map(may_fall).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        if !self.is_empty() {
            statements.add(FALLS, vec![&self.tenants]);
        }
    }

    pub(super) fn read(&self, answers: &mut Answers, known: &mut Known) -> Result<(), JobError> {
        if self.is_empty() {
            return Ok(());
        }
        let rows = answers.next()?.rows;
        for (tenant, row) in self.tenants.iter().zip(&rows) {
            let count: i64 = row.column(0)?;
            let falls = KnownFalls {
                count: usize::try_from(count).unwrap_or(usize::MAX),
                highest: rows::time_if_any(row, 1)?.unwrap_or(Timestamp::EPOCH),
                run_after: rows::time_if_any(row, 2)?.unwrap_or(Timestamp::EPOCH),
            };
            if let Some(state) = known.tenants.get_mut(&TenantId(*tenant)) {
                state.times.know(falls);
            }
        }
        Ok(())
    }
}
