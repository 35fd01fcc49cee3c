//! Locks that hold until the transaction ends: which there are, and in which order they are taken.
//!
//! Whoever waits for one holds only those above it in this list, and has `CATALOG` before a second
//! tenant; so nobody waits in a circle. Who only tries may do so in any order.
//!
//! 1. `LEASES`: who sends changes. Changes take turns.
//! 2. A lease's: shared by all that is written under it; alone by whoever ends it.
//! 3. `MIGRATION`: the schema changes.
//! 4. `CATALOG`: tenants, tokens, events, webhooks or users change. Changes take turns.
//! 5. An idempotency key's: a request under it is looked for or run.
//! 6. The tenant's: its ids are handed out and its times decided, or who wants what changes.
//! 7. The tenant's fan-out: it takes a step, or who wants what changes.
//!
//! All share the numbers that a database has for such locks. Whatever else takes one of them there
//! is waited for, and no worse.

use bytes::Bytes;
use model::id::TenantId;
use model::idempotency::IdempotencyKey;
use model::lease::Epoch;
use tokio_postgres::types::ToSql;

use crate::postgres::connection::PostgresConnection;
use crate::sql::envelope_cache;
use crate::sql::executor::ChangeScope;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

/// Waits for locks, in the order given: `bigint[]`. A statement of its own, because what it waits
/// for is seen by later statements only.
pub(crate) const TAKE: &str = "
    select pg_advisory_xact_lock(key) is not null from unnest($1::bigint[]) as key";

/// Tries to get locks: `bigint[]`. Answers for each whether it did, in the order given.
pub(crate) const TRY: &str = "
    select pg_try_advisory_xact_lock(key) from unnest($1::bigint[]) as key";

/// Waits for locks likewise. Answers for each whether nobody had it.
pub(crate) const TRY_OR_WAIT: &str = "
    select case when pg_try_advisory_xact_lock(key) then true
      else pg_advisory_xact_lock(key) is null end
    from unnest($1::bigint[]) as key";

/// Waits for a lock that others may share: `bigint`. A statement of its own, likewise.
pub(crate) const SHARE: &str = "select pg_advisory_xact_lock_shared($1) is not null";

/// The number of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockKey(i64);

pub(crate) const LEASES: LockKey = LockKey::new(1, 0);
pub(crate) const MIGRATION: LockKey = LockKey::new(3, 0);
pub(crate) const CATALOG: LockKey = LockKey::new(4, 0);

/// Ids and hashes of this length have locks of their own; of longer ones some share a lock, which
/// only makes them wait for one another.
const ID_BITS: u32 = 48;

/// "W", so that few others have the same numbers.
const OURS: i64 = 0x57;

/// Whatever is written under the lease of this epoch, and its end.
pub(crate) fn lease(epoch: Epoch) -> LockKey {
    LockKey::new(2, i64::try_from(epoch.0).unwrap_or(i64::MAX))
}

/// Requests under an idempotency key. All versions of the program have to count alike.
pub(crate) fn idempotency_key(key: &IdempotencyKey) -> LockKey {
    let holder = Bytes::copy_from_slice(&key.holder.0);
    LockKey::new(5, envelope_cache::hash(&key.key, &holder))
}

/// Accepting for the tenant, and changes of who wants what.
pub(crate) const fn tenant(tenant: TenantId) -> LockKey {
    LockKey::new(6, tenant.0)
}

/// Steps of the tenant's fan-out, and changes of who wants what.
pub(crate) const fn fan_out(tenant: TenantId) -> LockKey {
    LockKey::new(7, tenant.0)
}

impl LockKey {
    const fn new(class: i64, id: i64) -> Self {
        let id = id & ((1 << ID_BITS) - 1);
        Self((OURS << (ID_BITS + 8)) | (class << ID_BITS) | id)
    }

    /// As PostgreSQL counts them.
    pub(crate) const fn number(self) -> i64 {
        self.0
    }
}

/// What a change of who gets what of a tenant needs beside `CATALOG`.
pub(crate) const fn of_change(tenant: TenantId) -> [LockKey; 2] {
    [self::tenant(tenant), fan_out(tenant)]
}

/// Waits for the turn to change the catalog, and for the tenant that the change is about. Of
/// several tenants each is locked when it comes to it.
pub(crate) fn turn(conn: &PostgresConnection, scope: ChangeScope) -> Result<(), JobError> {
    match scope {
        ChangeScope::All => take(conn, &[CATALOG]),
        ChangeScope::Tenant(tenant) => {
            let [accepting, fan_out] = of_change(tenant);
            take(conn, &[CATALOG, accepting, fan_out])
        }
    }
}

/// Waits for all of these, in the order given.
pub(crate) fn take(conn: &PostgresConnection, keys: &[LockKey]) -> Result<(), JobError> {
    ask(conn, TAKE, keys).map(drop)
}

/// Whether the lock was free and is held now. Waits for nobody.
pub(crate) fn try_take(conn: &PostgresConnection, key: LockKey) -> Result<bool, JobError> {
    Ok(ask(conn, TRY, &[key])? == [true])
}

fn ask(conn: &PostgresConnection, sql: &str, keys: &[LockKey]) -> Result<Vec<bool>, JobError> {
    let numbers: Vec<i64> = keys.iter().map(|key| key.number()).collect();
    let numbers: &(dyn ToSql + Sync) = &numbers;
    let rows = conn.session().query(sql, &[numbers])?;
    rows.iter().map(|row| row.column(0)).collect()
}

#[cfg(test)]
mod tests {
    use model::tenant::TokenHash;

    use super::*;

    #[test]
    fn each_lock_has_a_number_of_its_own() {
        let all = [
            LEASES,
            lease(Epoch(1)),
            lease(Epoch(2)),
            MIGRATION,
            CATALOG,
            idempotency_key(&IdempotencyKey {
                key: "k".to_owned(),
                holder: TokenHash([1; 32]),
                request: TokenHash([2; 32]),
            }),
            tenant(TenantId(1)),
            tenant(TenantId(2)),
            tenant(TenantId((1 << ID_BITS) - 1)),
            fan_out(TenantId(1)),
        ];
        let numbers: std::collections::BTreeSet<i64> = all.iter().map(|key| key.number()).collect();
        assert_eq!(numbers.len(), all.len());
        assert!(all.is_sorted());
    }
}
