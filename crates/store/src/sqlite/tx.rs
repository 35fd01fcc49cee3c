//! The transaction that a job runs in, and what the writer caches from one to the next.

use std::collections::BTreeSet;

use model::contract::StoreError;
use model::id::TenantId;
use model::time::{Moment, Timestamp};
use rusqlite::{CachedStatement, Connection, Params};

use crate::sql::envelope_cache::EnvelopeCache;
use crate::sql::fan_out::STEP_ROWS;
use crate::sql::intake_cache::{EventCache, SubscriptionCache};
use crate::sql::job_error::JobError;
use crate::sql::post_commit::PostCommit;
use crate::sql::transaction::PruneCursor;
use crate::sqlite::fan_out_cache::FanOut;
use crate::sqlite::inline_deliveries::InlineDeliveries;

/// A job of the writer, with the caller that waits for it.
pub(crate) trait Job: Send {
    /// Whether it can be run again after a rollback.
    fn is_repeatable(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError>;
    /// Hands over the answer: what `run` found, or why nothing of it was kept.
    fn answer(self: Box<Self>, lost: Option<StoreError>);
}

/// The transaction that a job runs in.
pub(crate) struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) hot: HotStatements<'a>,
    pub(crate) cache: &'a mut WriterCache,
    pub(crate) post_commit: &'a mut PostCommit,
}

/// What the writer caches instead of looking it up. Always right, and can be forgotten at any time.
#[derive(Default)]
pub(crate) struct WriterCache {
    /// `accepted_at` of the latest notification.
    pub(crate) accepted_at: Option<Timestamp>,
    /// The highest that any notification had.
    pub(crate) highest_accepted_at: Option<Timestamp>,
    /// The id that was last given to a notification.
    pub(crate) latest_id: Option<i64>,
    /// Events known to be registered.
    pub(crate) events: EventCache,
    /// Tenants that were warned of having too many events. Never forgotten, so that each is warned
    /// once.
    pub(crate) warned: BTreeSet<TenantId>,
    pub(crate) envelopes: EnvelopeCache,
    pub(crate) subscriptions: SubscriptionCache,
    /// Notifications with unattempted deliveries in their own rows; `None` if they have to be read.
    pub(crate) inline_deliveries: Option<InlineDeliveries>,
    /// What is left to be materialized in steps; `None` if it has to be read.
    pub(crate) fan_out: Option<FanOut>,
    /// The tenant that had the latest step. Never forgotten: a turn cannot be wrong.
    pub(crate) fan_out_turn: Option<TenantId>,
    /// Rows that the open transaction has materialized.
    pub(crate) rows_materialized: usize,
    /// The latest heartbeat; `Some(None)` if there was none yet.
    pub(crate) heartbeat: Option<Option<Moment>>,
    /// The latest time that had come for certain by any heartbeat.
    pub(crate) reached_for_certain: Option<Timestamp>,
    /// After when the latest run of times began, for certain.
    pub(crate) run_after: Option<Timestamp>,
    /// Where pruning goes on.
    pub(crate) prune_cursor: Option<PruneCursor>,
}

/// Statements that many jobs of a transaction use, taken from the connection's cache once. The
/// cache finds them by their whole text.
#[derive(Default)]
pub(crate) struct HotStatements<'a>(Vec<(&'static str, CachedStatement<'a>)>);

impl Tx<'_> {
    /// Runs a change that is kept prepared. Answers how many rows it changed.
    pub(crate) fn execute(
        &self,
        sql: &'static str,
        params: impl Params,
    ) -> Result<usize, rusqlite::Error> {
        self.conn.prepare_cached(sql)?.execute(params)
    }

    /// Inserts a row. Answers its id.
    pub(crate) fn insert(
        &self,
        sql: &'static str,
        params: impl Params,
    ) -> Result<i64, rusqlite::Error> {
        self.conn.prepare_cached(sql)?.insert(params)
    }

    /// Whether so many more rows may be materialized before others have to have their turn.
    pub(crate) fn has_time_for(&self, rows: usize) -> bool {
        rows == 0 || self.cache.rows_materialized + rows <= STEP_ROWS
    }
}

impl WriterCache {
    /// Forgets everything that may be wrong or was rolled back.
    pub(crate) fn forget(&mut self) {
        let warned = std::mem::take(&mut self.warned);
        *self = Self {
            warned,
            fan_out_turn: self.fan_out_turn,
            ..Self::default()
        };
    }

    /// Changes whenever the inline deliveries do.
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
