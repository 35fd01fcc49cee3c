//! Leases: who sends, as rows that nodes write in turn, by the database's clock.
//! `model::lease_table` has the rule.
//!
//! Whatever an owner writes begins with `begin`, which holds a lock of its epoch, shared, until the
//! transaction ends, and then reads its row. Whoever takes slots away has that lock for itself
//! first; so it waits for what is under way, and what comes behind finds the row gone. A lock of
//! the row itself (`for share`) would do the same, but who waits for that one is overtaken by all
//! that come later: with four writers of 20 ms a renewal was seen to wait for 5 s.
//!
//! The turn is held for a moment only. An owner that is overdue and does not end what it has begun,
//! because it is frozen, has its sessions ended.

use std::collections::BTreeSet;

use model::contract::StoreError;
use model::lease::{Epoch, Lease, Slots};
use model::lease_table::{LeaseRow, LeaseTable};
use model::limits::LEASE_MS;
use model::time::{Heartbeat, Timestamp};

use crate::postgres::clock;
use crate::postgres::connection::PostgresConnection;
use crate::postgres::locks::{self, LockKey};
use crate::postgres::pipeline::Params;
use crate::postgres::session::TransactionMode;
use crate::postgres::session_error::{SessionError, SqlFault};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::post_commit::PostCommit;
use crate::sql::row::ReadRow;
use crate::sql::rows;

statements! {
    // The time is that of the first row, and there is one without any lease.
    ROWS = "
        select floor(extract(epoch from clock_timestamp()) * 1000)::bigint,
          lease.epoch, lease.slots, lease.until, lease.leaves
        from (values (1)) as one left join lease on true
        order by lease.epoch";
    SLOTS = "select slots from lease where epoch = $1";
    NEXT_EPOCH = "select nextval('lease_epoch')";
    SAVE = "
        insert into lease (epoch, slots, until, leaves) values ($1, $2, $3, $4)
        on conflict (epoch) do update set slots = $2, until = $3, leaves = $4";
    END = "delete from lease where epoch = any($1::bigint[])";
    // Of others' sessions only those of the same user may be ended.
    END_HOLDERS = "
        select pg_terminate_backend(pid) from pg_locks
        where locktype = 'advisory' and objsubid = 1 and granted and pid <> pg_backend_pid()
          and database = (select oid from pg_database where datname = current_database())
          and (classid::bigint << 32) | objid::bigint = any($1::bigint[])
          and pid in (select pid from pg_stat_activity where usename = current_user)";
}

/// How long somebody who has the turn waits for an owner to end what it has begun. With a lease and
/// the time between two renewals it is below the 15 s after which a dead node's slots have an
/// owner.
const WAIT: &str = "set local lock_timeout = '1s'";

/// Begins a transaction that may write under this epoch until it ends. Answers its slots. `Fenced`
/// if it is over; the transaction is then open, and to be undone.
pub(crate) fn begin(conn: &PostgresConnection, epoch: Epoch) -> Result<Slots, JobError> {
    let (key, epoch) = (locks::lease(epoch).number(), number(epoch));
    let fence: [(&str, Params<'_>); 2] = [(locks::SHARE, &[&key]), (SLOTS, &[&epoch])];
    let session = conn.session();
    let answers = session.begin_with(TransactionMode::ReadWrite, &fence)?;
    slots_of(answers.last().map_or(&[], |answer| &answer.rows))
}

/// The slots of this epoch, for a question. `Fenced` if it is over.
pub(crate) fn owned(conn: &PostgresConnection, epoch: Epoch) -> Result<Slots, JobError> {
    slots_of(&conn.session().query(SLOTS, &[&number(epoch)])?)
}

fn slots_of(rows: &[tokio_postgres::Row]) -> Result<Slots, JobError> {
    let row = rows.first().ok_or(StoreError::Fenced)?;
    Ok(Slots::from_bytes(row.column(0)?))
}

/// What became of a lease, and whether other nodes have to hear of it.
pub(crate) struct LeaseChange<T> {
    answer: T,
    is_news: bool,
}

impl<T> LeaseChange<T> {
    /// The answer. Others hear once it is committed.
    pub(crate) fn tell(self, post_commit: &mut PostCommit) -> T {
        if self.is_news {
            post_commit.leases_changed();
        }
        self.answer
    }
}

/// A new lease, with what nobody has.
pub(crate) fn claim(
    conn: &PostgresConnection,
    now: Timestamp,
) -> Result<LeaseChange<Lease>, JobError> {
    let mut turn = Turn::take(conn)?;
    turn.end_overdue(conn, None)?;
    let next = conn.session().query(NEXT_EPOCH, &[])?;
    let next: i64 = next.first().ok_or(CorruptRow("answer"))?.column(0)?;
    let epoch = Epoch(u64::try_from(next).map_err(|_| CorruptRow("epoch"))?);
    let slots = turn.table.claim(epoch, turn.now);
    turn.write(conn, epoch, lease(epoch, slots, now))
}

/// Keeps a lease, or `Fenced`. The owner that is the eldest keeps the time.
pub(crate) fn renew(
    conn: &PostgresConnection,
    asked: Lease,
    beat: Heartbeat,
) -> Result<LeaseChange<Lease>, JobError> {
    keep(conn, asked, beat, LeaseTable::renew)
}

/// The same for an owner that stops.
pub(crate) fn leave(
    conn: &PostgresConnection,
    asked: Lease,
    beat: Heartbeat,
) -> Result<LeaseChange<Lease>, JobError> {
    keep(conn, asked, beat, LeaseTable::leave)
}

fn keep(
    conn: &PostgresConnection,
    asked: Lease,
    beat: Heartbeat,
    change: fn(&mut LeaseTable, Epoch, Slots, Timestamp) -> Option<Slots>,
) -> Result<LeaseChange<Lease>, JobError> {
    let epoch = asked.epoch;
    let mut turn = Turn::take(conn)?;
    let before = turn.table.slots(epoch).ok_or(StoreError::Fenced)?;
    turn.end_overdue(conn, Some(epoch))?;
    // Others may have what it no longer names as soon as nothing is under way there.
    let gives_up = !before.without(asked.slots).is_empty();
    let named = match gives_up && !wait_for(conn, &[locks::lease(epoch)])? {
        true => before,
        false => asked.slots,
    };
    let told = change(&mut turn.table, epoch, named, turn.now);
    let told = told.ok_or(StoreError::Fenced)?;
    if turn.table.is_eldest(epoch) {
        clock::record(conn, beat)?;
    }
    turn.write(conn, epoch, lease(epoch, told, beat.at.wall))
}

/// Gives a lease up, with a last heartbeat, once what is under way has ended. `Fenced` if it is
/// over.
pub(crate) fn release(
    conn: &PostgresConnection,
    asked: Lease,
    beat: Heartbeat,
) -> Result<LeaseChange<()>, JobError> {
    let epoch = asked.epoch;
    let mut turn = Turn::take(conn)?;
    turn.table.slots(epoch).ok_or(StoreError::Fenced)?;
    locks::take(conn, &[locks::lease(epoch)])?;
    if turn.table.is_eldest(epoch) {
        clock::record(conn, beat)?;
    }
    turn.table.release(epoch);
    turn.write(conn, epoch, ())
}

/// What a renewal or a release wrote down last; of a store without, the newest time in it.
pub(crate) fn last_heartbeat(conn: &PostgresConnection) -> Result<Option<Heartbeat>, JobError> {
    clock::last(conn)
}

/// The turn to change leases, until the transaction ends.
struct Turn {
    table: LeaseTable,
    /// Of the database.
    now: Timestamp,
    stored: LeaseTable,
}

impl Turn {
    fn take(conn: &PostgresConnection) -> Result<Self, JobError> {
        locks::take(conn, &[locks::LEASES])?;
        let found = conn.session().query(ROWS, &[])?;
        let now = rows::time(found.first().ok_or(CorruptRow("answer"))?, 0)?;
        let mut leases = Vec::new();
        for row in &found {
            let Some(epoch) = row.column::<Option<i64>>(1)? else {
                continue;
            };
            leases.push(LeaseRow {
                epoch: Epoch(u64::try_from(epoch).map_err(|_| CorruptRow("epoch"))?),
                slots: Slots::from_bytes(row.column(2)?),
                until: rows::time(row, 3)?,
                leaves: row.column(4)?,
            });
        }
        Ok(Self {
            table: LeaseTable::new(leases.clone()),
            now,
            stored: LeaseTable::new(leases),
        })
    }

    /// Ends what others have under way though they are overdue. Who could not be ended keeps its
    /// slots until somebody asks again.
    fn end_overdue(
        &mut self,
        conn: &PostgresConnection,
        own: Option<Epoch>,
    ) -> Result<(), JobError> {
        let overdue = |row: &LeaseRow| row.until <= self.now && Some(row.epoch) != own;
        let overdue = self.table.rows().iter().filter(|row| overdue(row));
        let keys: Vec<LockKey> = overdue.map(|row| locks::lease(row.epoch)).collect();
        if keys.is_empty() || wait_for(conn, &keys)? {
            return Ok(());
        }
        let numbers: Vec<i64> = keys.iter().map(|key| key.number()).collect();
        let ended = conn.session().query(END_HOLDERS, &[&numbers])?;
        tracing::warn!(
            sessions = ended.len(),
            "sessions of a node that did not renew its lease were ended: they hold on to what \
             others are to send"
        );
        if wait_for(conn, &keys)? {
            return Ok(());
        }
        let mut held = BTreeSet::new();
        for key in keys {
            if !locks::try_take(conn, key)? {
                held.insert(key);
            }
        }
        let rows = self.table.rows().iter().map(|row| LeaseRow {
            until: match held.contains(&locks::lease(row.epoch)) {
                true => self.now.plus_ms(1),
                false => row.until,
            },
            ..*row
        });
        self.table = LeaseTable::new(rows.collect());
        Ok(())
    }

    /// Writes down what became of the leases: others can only have ended.
    fn write<T>(
        &self,
        conn: &PostgresConnection,
        own: Epoch,
        answer: T,
    ) -> Result<LeaseChange<T>, JobError> {
        let session = conn.session();
        let left: BTreeSet<Epoch> = self.table.rows().iter().map(|row| row.epoch).collect();
        let stored = self.stored.rows().iter().map(|row| row.epoch);
        let ended: Vec<i64> = stored
            .filter(|epoch| !left.contains(epoch))
            .map(number)
            .collect();
        if !ended.is_empty() {
            session.execute(END, &[&ended])?;
        }
        let mut rows = self.table.rows().iter();
        if let Some(row) = rows.find(|row| row.epoch == own) {
            let slots = row.slots.to_bytes();
            let until = row.until.as_millis();
            let slots = slots.as_slice();
            session.execute(SAVE, &[&number(own), &slots, &until, &row.leaves])?;
        }
        Ok(LeaseChange {
            answer,
            is_news: self.table.is_news_since(&self.stored),
        })
    }
}

/// Waits for these locks for a moment. Answers whether it has all of them.
fn wait_for(conn: &PostgresConnection, keys: &[LockKey]) -> Result<bool, JobError> {
    let session = conn.session();
    session.savepoint()?;
    session.batch(WAIT)?;
    match locks::take(conn, keys) {
        Ok(()) => {
            session.release_savepoint()?;
            Ok(true)
        }
        Err(JobError::Postgres(SessionError::Refused(refused)))
            if refused.fault == SqlFault::LockTimeout =>
        {
            session.rollback_to_savepoint()?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// As the caller is told. Its end is counted from when it asked, so not later than the database has
/// it.
fn lease(epoch: Epoch, slots: Slots, asked_at: Timestamp) -> Lease {
    Lease {
        epoch,
        slots,
        until: Some(asked_at.plus_ms(LEASE_MS)),
    }
}

fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}
