//! What the fan-out has left to materialize, by tenant: the writer's own count, and the copy that
//! others see.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::id::{TenantId, WebhookId};
use rusqlite::{Connection, OptionalExtension};
use tokio::time::Instant;

use crate::sql::fan_out::is_much;
use crate::sync::lock;

statements! {
    NEXT_TENANT = "
        select tenant_id from listing
        where tenant_id > ?1
        order by tenant_id
        limit 1";
    OWED = "select sum(owed) from listing where tenant_id = ?1";
}

/// How long the fan-out pauses after a failed step: somebody has to make space.
const PAUSE: Duration = Duration::from_secs(1);

/// What is left to materialize.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    /// Deliveries by tenant; tenants with none are not in it.
    owed: BTreeMap<TenantId, usize>,
    /// The batch that notifications of this transaction may join.
    pub(crate) open: Option<OpenBatch>,
    /// Whether `FanOutBacklog` has not been told of the latest change.
    is_changed: bool,
}

#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub(crate) id: i64,
    pub(crate) tenant: TenantId,
    pub(crate) webhooks: Arc<[WebhookId]>,
    pub(crate) notifications: usize,
}

/// What others than the writer see of it.
#[derive(Debug, Default)]
pub(crate) struct FanOutBacklog {
    owed: Mutex<BTreeMap<TenantId, usize>>,
    paused_until: Mutex<Option<Instant>>,
}

impl FanOutBacklog {
    /// Whether one of the tenants has so much left that it has to wait.
    pub(crate) fn is_full(&self, shares: &[(TenantId, usize)]) -> bool {
        let owed = lock(&self.owed);
        shares
            .iter()
            .any(|(tenant, _)| owed.get(tenant).is_some_and(|owed| is_much(*owed)))
    }

    pub(crate) fn is_paused(&self) -> bool {
        let until = *lock(&self.paused_until);
        until.is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn pause(&self) {
        *lock(&self.paused_until) = Some(Instant::now() + PAUSE);
    }
}

impl FanOut {
    /// Whether the tenant has so much left that it has to wait.
    pub(crate) fn has_much(&self, tenant: TenantId) -> bool {
        self.owed.get(&tenant).is_some_and(|owed| is_much(*owed))
    }

    /// Whether anything is left.
    pub(crate) fn is_left(&self) -> bool {
        !self.owed.is_empty()
    }

    /// To be called at the beginning of a transaction.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Publishes what was committed. Answers how many deliveries are left, if that has changed.
    pub(crate) fn tell(&mut self, backlog: &FanOutBacklog) -> Option<usize> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        lock(&backlog.owed).clone_from(&self.owed);
        Some(self.owed.values().sum())
    }

    pub(crate) fn add(&mut self, tenant: TenantId, count: usize) {
        *self.owed.entry(tenant).or_default() += count;
        self.is_changed = true;
    }

    pub(crate) fn take(&mut self, tenant: TenantId, count: usize, is_last: bool) {
        self.is_changed = true;
        if let Some(owed) = self.owed.get_mut(&tenant) {
            *owed = owed.saturating_sub(count);
            if is_last {
                self.owed.remove(&tenant);
            }
        }
    }

    /// The tenant that is next after `latest`.
    pub(crate) fn next(&self, latest: Option<TenantId>) -> Option<TenantId> {
        let after = latest.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.owed.range((after, Bound::Unbounded));
        let found = later.next().or_else(|| self.owed.iter().next());
        found.map(|(tenant, _)| *tenant)
    }
}

pub(crate) fn read(conn: &Connection) -> Result<FanOut, rusqlite::Error> {
    let mut fan_out = FanOut {
        is_changed: true,
        ..FanOut::default()
    };
    let mut next = conn.prepare_cached(NEXT_TENANT)?;
    let mut owed = conn.prepare_cached(OWED)?;
    let mut after = i64::MIN;
    while let Some(tenant) = next.query_row([after], |row| row.get(0)).optional()? {
        let count: i64 = owed.query_row([tenant], |row| row.get(0))?;
        let count = usize::try_from(count).unwrap_or(0);
        fan_out.owed.insert(TenantId(tenant), count);
        after = tenant;
    }
    Ok(fan_out)
}
