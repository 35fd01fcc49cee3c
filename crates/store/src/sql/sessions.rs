//! Sessions, links that sign in once, and failed sign-ins.
//!
//! Secrets and names are stored as hashes only. What has expired counts for nothing, pruned or not.

use crate::sql::Connection;
use model::id::UserId;
use model::limits;
use model::tenant::TokenHash;
use model::time::Timestamp;
use model::users::{PasswordHash, SignInFailures, User};

use crate::sql::job_error::JobError;
use crate::sql::transaction::Transaction;
use crate::sql::{query, users};

shared_statements! {
    BEGIN = "
        insert into session (hash, user_id, until) values (?1, ?2, ?3)
        on conflict (hash) do nothing";
    PASSWORD = "select password from \"user\" where id = ?1";
    SIGNED_IN = "update \"user\" set signed_in_at = ?2 where id = ?1";
    FORGET = "delete from failure where name = ?1";
    SESSION = "select user_id from session where hash = ?1 and until > ?2";
    END = "delete from session where hash = ?1";
    ADD_LINK = "
        insert into link (hash, user_id, until) values (?1, ?2, ?3)
        on conflict (hash) do nothing";
    USE_LINK = "delete from link where hash = ?1 returning user_id, until";
    FAILURES = "select count, latest_at from failure where name = ?1";
    FAILED_AGAIN = "
        update failure set count = ?2, latest_at = ?3 where name = ?1";
    FAILED_FIRST = "insert into failure (name, count, latest_at) values (?1, 1, ?2)";
    FORGET_OLDEST = "delete from failure where id <= ?1";
}

/// Does nothing for a user who may not sign in.
pub(crate) fn begin(
    tx: &dyn Transaction,
    session: TokenHash,
    user: UserId,
    (verified, counted): (Option<PasswordHash>, Option<TokenHash>),
    until: Timestamp,
    at: Timestamp,
) -> Result<bool, JobError> {
    let Some(user) = users::find(tx.conn(), user)?.filter(|user| user.active) else {
        return Ok(false);
    };
    if let Some(PasswordHash(verified)) = verified {
        let kept: String = query::one(tx.conn(), PASSWORD, values![user.id.0])?;
        if kept != verified {
            return Ok(false);
        }
    }
    tx.execute(BEGIN, values![session.0, user.id.0, until.as_millis()])?;
    tx.execute(SIGNED_IN, values![user.id.0, at.as_millis()])?;
    if let Some(TokenHash(counted)) = counted {
        tx.execute(FORGET, values![counted])?;
    }
    Ok(true)
}

pub(crate) fn session(
    conn: Connection<'_>,
    session: TokenHash,
    at: Timestamp,
) -> Result<Option<User>, JobError> {
    let user: Option<i64> =
        query::first(conn, SESSION, values![session.0, at.as_millis()], |row| {
            row.get(0)
        })?;
    let Some(user) = user else {
        return Ok(None);
    };
    Ok(users::find(conn, UserId(user))?.filter(|user| user.active))
}

pub(crate) fn end(tx: &dyn Transaction, session: TokenHash) -> Result<(), JobError> {
    tx.execute(END, values![session.0])?;
    Ok(())
}

/// Does nothing for a user who may not sign in.
pub(crate) fn create_link(
    tx: &dyn Transaction,
    link: TokenHash,
    user: UserId,
    until: Timestamp,
) -> Result<(), JobError> {
    if users::find(tx.conn(), user)?.is_some_and(|user| user.active) {
        tx.execute(ADD_LINK, values![link.0, user.0, until.as_millis()])?;
    }
    Ok(())
}

pub(crate) fn use_link(
    tx: &dyn Transaction,
    link: TokenHash,
    at: Timestamp,
) -> Result<Option<User>, JobError> {
    let used: Option<(i64, i64)> = query::first(tx.conn(), USE_LINK, values![link.0], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    match used {
        Some((user, until)) if until > at.as_millis() => {
            Ok(users::find(tx.conn(), UserId(user))?.filter(|user| user.active))
        }
        Some(_) | None => Ok(None),
    }
}

pub(crate) fn failures(
    conn: Connection<'_>,
    name: TokenHash,
) -> Result<Option<SignInFailures>, JobError> {
    let found: Option<(u32, i64)> = query::first(conn, FAILURES, values![name.0], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(found.map(|(count, latest_at)| SignInFailures {
        count,
        latest_at: Timestamp::from_millis(latest_at),
    }))
}

pub(crate) fn try_sign_in(
    tx: &dyn Transaction,
    name: TokenHash,
    at: Timestamp,
) -> Result<Option<SignInFailures>, JobError> {
    let before = failures(tx.conn(), name)?;
    let Some(before) = before else {
        let id = tx.insert(FAILED_FIRST, values![name.0, at.as_millis()])?;
        let most = i64::try_from(limits::FAILURES_MAX).unwrap_or(i64::MAX);
        tx.execute(FORGET_OLDEST, values![id.saturating_sub(most)])?;
        return Ok(None);
    };
    // A failure in the future was written while the clock was ahead, and says nothing about when it
    // was.
    let was_ahead = before.latest_at.ms_since(at) >= limits::CLOCK_AHEAD_MAX_MS;
    if before.open_at() > at && !was_ahead {
        return Ok(Some(before));
    }
    let forgotten = at.ms_since(before.latest_at) >= limits::SIGN_IN_FAILURE_RETENTION_MS;
    let count = match forgotten {
        true => 1,
        false => before.count.saturating_add(1),
    };
    tx.execute(FAILED_AGAIN, values![name.0, count, at.as_millis()])?;
    Ok(None)
}
