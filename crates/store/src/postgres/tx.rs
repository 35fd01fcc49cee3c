//! The transaction that a job runs in, on PostgreSQL, and what a session's thread keeps from one to
//! the next.

use model::id::TenantId;
use model::lease::Slots;

use crate::postgres::connection::PostgresConnection;
use crate::postgres::session_caches::{AcceptCache, SettleCache};
use crate::sql::post_commit::PostCommit;
use crate::sql::transaction::PruneCursor;

/// A transaction that whoever lends it begins and ends.
pub(crate) struct PostgresTx<'a> {
    pub(crate) conn: &'a PostgresConnection,
    pub(crate) cache: &'a mut SessionCache,
    pub(crate) post_commit: &'a mut PostCommit,
    /// The slots of the lease that it was begun under, if it was.
    pub(crate) slots: Option<Slots>,
}

/// What the thread of a session keeps between transactions. Nothing of it has to be right: other
/// nodes write as well.
#[derive(Default)]
pub(crate) struct SessionCache {
    /// Where pruning goes on.
    pub(crate) prune_cursor: Option<PruneCursor>,
    /// The tenant that had the latest step of the fan-out.
    pub(crate) fan_out_turn: Option<TenantId>,
    pub(crate) accept: AcceptCache,
    pub(crate) settle: SettleCache,
}
