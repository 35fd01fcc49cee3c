//! The ids and times of new notifications. Ids always rise. Times rise, except where the clock was
//! set back.

use model::id::TenantId;
use model::limits::CLOCK_STEP_MS;
use model::time::Timestamp;

use crate::sql::id_range;
use crate::sql::job_error::JobError;
use crate::sqlite::tx::Tx;

statements! {
    LATEST_ACCEPTED = "select accepted_at from notification order by id desc limit 1";
    LATEST_ID = "
        select coalesce(max(id), 0) from (
          select max(id) as id from notification
          union all
          select latest from counted where what = 'notification')";
    // Before anything is removed, so that no id is used twice.
    KEEP_LATEST_ID = "
        insert into counted (what, latest)
        select 'notification', id from notification order by id desc limit 1
        on conflict (what) do update set latest = max(latest, excluded.latest)";
    FALL = "
        insert into clock_fall (notification_id, reached_at, after_at) values (?1, ?2, ?3)";
}

/// Ids and times rise over all tenants here, so it says nothing.
const ALL_TENANTS: TenantId = TenantId(0);

impl Tx<'_> {
    /// The `accepted_at` to write for a notification that came at `at`, and whether a run of times
    /// begins with it because the clock was set back: times fall, or what it says now is over for
    /// certain. If it was set back by less than `CLOCK_STEP_MS`, the time stands still until the
    /// clock has caught up.
    pub(crate) fn accepted_at(&mut self, at: Timestamp) -> Result<(Timestamp, bool), JobError> {
        let latest = self.latest_accepted_at()?;
        let falls = latest.ms_since(at) >= CLOCK_STEP_MS || self.is_over(at)?;
        let falls = falls && id_range::may_fall(self.conn.into(), ALL_TENANTS)?;
        let written = match falls {
            true => at,
            false => latest.max(at),
        };
        // The highest time has to be known before it falls.
        let highest = self.highest_accepted_at()?.max(written);
        self.cache.highest_accepted_at = Some(highest);
        self.cache.accepted_at = Some(written);
        Ok((written, falls))
    }

    /// Whether this time is over for certain, and the latest run does not say so yet.
    fn is_over(&mut self, at: Timestamp) -> Result<bool, JobError> {
        let reached = self.reached_for_certain()?;
        if reached.ms_since(at) < CLOCK_STEP_MS {
            return Ok(false);
        }
        let run_after = match self.cache.run_after {
            Some(run_after) => run_after,
            None => id_range::latest_run_after(self.conn.into(), ALL_TENANTS)?,
        };
        self.cache.run_after = Some(run_after);
        Ok(reached.ms_since(run_after) >= CLOCK_STEP_MS)
    }

    /// The highest `accepted_at` of any notification. It is not that of the latest one if the clock
    /// was set back.
    pub(crate) fn highest_accepted_at(&mut self) -> Result<Timestamp, JobError> {
        if let Some(highest) = self.cache.highest_accepted_at {
            return Ok(highest);
        }
        let highest = self
            .latest_accepted_at()?
            .max(id_range::reached(self.conn.into(), ALL_TENANTS)?);
        self.cache.highest_accepted_at = Some(highest);
        Ok(highest)
    }

    /// The id for a new notification. Some ids may stay unused.
    pub(crate) fn next_id(&mut self) -> Result<i64, JobError> {
        let next = self.latest_id()?.saturating_add(1);
        self.cache.latest_id = Some(next);
        Ok(next)
    }

    /// What is given next stays above the latest id, whatever is removed.
    pub(crate) fn keep_latest_id(&mut self) -> Result<(), JobError> {
        self.execute(KEEP_LATEST_ID, [])?;
        Ok(())
    }

    /// The id that was last given to a notification.
    pub(crate) fn latest_id(&mut self) -> Result<i64, JobError> {
        if let Some(latest) = self.cache.latest_id {
            return Ok(latest);
        }
        let latest = self
            .conn
            .prepare_cached(LATEST_ID)?
            .query_row([], |row| row.get(0))?;
        self.cache.latest_id = Some(latest);
        Ok(latest)
    }

    /// `accepted_at` of the latest notification; the epoch if there is none.
    pub(crate) fn latest_accepted_at(&mut self) -> Result<Timestamp, JobError> {
        if let Some(latest) = self.cache.accepted_at {
            return Ok(latest);
        }
        let mut statement = self.conn.prepare_cached(LATEST_ACCEPTED)?;
        let mut rows = statement.query([])?;
        let latest = match rows.next()? {
            Some(row) => Timestamp::from_millis(row.get(0)?),
            None => Timestamp::EPOCH,
        };
        self.cache.accepted_at = Some(latest);
        Ok(latest)
    }
}

/// From this notification on times begin again.
pub(crate) fn note_fall(tx: &mut Tx<'_>, id: i64) -> Result<(), JobError> {
    let (reached_at, after) = (tx.highest_accepted_at()?, tx.reached_for_certain()?);
    tx.execute(FALL, [id, reached_at.as_millis(), after.as_millis()])?;
    tx.cache.run_after = Some(after);
    Ok(())
}
