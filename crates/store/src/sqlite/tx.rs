//! The transaction that a job runs in, and what the writer remembers from one to the next.

use std::collections::BTreeSet;

use model::contract::StoreError;
use model::id::{NotificationId, TenantId, WebhookId};
use model::time::{Moment, Timestamp};
use rusqlite::{CachedStatement, Connection};

use crate::sqlite::envelope_cache::EnvelopeCache;
use crate::sqlite::fan_out_cache::{FanOut, STEP_ROWS};
use crate::sqlite::inline_deliveries::InlineDeliveries;
use crate::sqlite::intake_cache::{EventCache, SubscriptionCache};
use crate::sqlite::job_error::JobError;
use crate::sqlite::post_commit::PostCommit;

/// Something to be written, and whoever waits for it.
pub(crate) trait Job: Send {
    /// Whether it may be run again after it was rolled back.
    fn is_repeatable(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError>;
    /// Hands the answer over: what `run` found, or why nothing of it was kept.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

/// The transaction that a job runs in.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) hot: HotStatements<'a>,
    pub(crate) cache: &'a mut WriterCache,
    pub(crate) post_commit: &'a mut PostCommit,
}

/// What the writer remembers so as not to look it up; always right, and lost without harm.
#[derive(Default)]
pub(crate) struct WriterCache {
    /// `accepted_at` of the latest notification.
    pub(crate) accepted_at: Option<Timestamp>,
    /// The latest that any had.
    pub(crate) highest_accepted_at: Option<Timestamp>,
    /// The id that was given last to a notification.
    pub(crate) latest_id: Option<i64>,
    /// Events that are known to be registered.
    pub(crate) events: EventCache,
    /// Tenants of whose many events the log was told. Never forgotten, so that it is told once.
    pub(crate) warned: BTreeSet<TenantId>,
    pub(crate) envelopes: EnvelopeCache,
    pub(crate) subscriptions: SubscriptionCache,
    /// Notifications whose own rows say what is fresh of them; nothing if they are to be read.
    pub(crate) inline_deliveries: Option<InlineDeliveries>,
    /// What is to be listed in steps; nothing if that is to be read.
    pub(crate) fan_out: Option<FanOut>,
    /// Whose turn it was to have something listed. Never forgotten: a turn is not right or wrong.
    pub(crate) fan_out_turn: Option<TenantId>,
    /// Rows that the open transaction has listed.
    pub(crate) rows_materialized: usize,
    /// The latest beat, if there is one.
    pub(crate) heartbeat: Option<Option<Moment>>,
    /// Where pruning goes on.
    pub(crate) prune_cursor: Option<PruneCursor>,
}

/// Where the next step of pruning goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PruneCursor {
    /// In this webhook's log, with this notification.
    Log(WebhookId, NotificationId),
    /// Among what nobody wanted of this tenant.
    Unwanted(TenantId),
}

/// Statements that many jobs of a transaction use: taken from the connection's cache once, where
/// they are found by their whole text.
#[derive(Default)]
pub(crate) struct HotStatements<'a>(Vec<(&'static str, CachedStatement<'a>)>);

impl Tx<'_> {
    /// Whether so many more rows may be listed before others have to have their turn.
    pub(crate) fn has_time_for(&self, rows: usize) -> bool {
        rows == 0 || self.cache.rows_materialized + rows <= STEP_ROWS
    }
}

impl WriterCache {
    /// What it says may be wrong, or was rolled back.
    pub(crate) fn forget(&mut self) {
        let warned = std::mem::take(&mut self.warned);
        *self = Self {
            warned,
            fan_out_turn: self.fan_out_turn,
            ..Self::default()
        };
    }

    /// Moves whenever a recent notification does.
    pub(crate) fn inline_changes(&self) -> Option<u64> {
        self.inline_deliveries
            .as_ref()
            .map(InlineDeliveries::changes)
    }
}

impl<'a> HotStatements<'a> {
    pub(crate) fn get(
        &mut self,
        conn: &'a Connection,
        sql: &'static str,
    ) -> Result<&mut CachedStatement<'a>, rusqlite::Error> {
        let known = self.0.iter().position(|(own, _)| std::ptr::eq(*own, sql));
        let at = match known {
            Some(at) => at,
            None => {
                self.0.push((sql, conn.prepare_cached(sql)?));
                self.0.len() - 1
            }
        };
        let found = self.0.get_mut(at);
        found
            .map(|(_, own)| own)
            .ok_or(rusqlite::Error::InvalidQuery)
    }
}
