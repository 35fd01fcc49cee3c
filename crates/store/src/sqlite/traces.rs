//! Removing what signing in and errands leave behind, once it is past its time.

use model::limits;
use model::time::Timestamp;

use crate::sqlite::fault::Fault;
use crate::sqlite::prune::{Budget, drop_some};
use crate::sqlite::writer::Tx;

const SESSIONS: &str = "
    delete from session where hash in (
      select hash from session indexed by session_age
      where until < ?1
      limit ?2)";
const LINKS: &str = "
    delete from link where hash in (
      select hash from link indexed by link_age
      where until < ?1
      limit ?2)";
const FAILURES: &str = "
    delete from failure where id in (
      select id from failure indexed by failure_age
      where latest_at < ?1
      limit ?2)";
const ERRANDS: &str = "
    delete from errand where id in (
      select id from errand indexed by errand_age
      where ended_at < ?1
      limit ?2)";

pub(crate) const STATEMENTS: &[&str] = &[SESSIONS, LINKS, FAILURES, ERRANDS];

pub(crate) fn prune(tx: &Tx<'_>, now: Timestamp, budget: &mut Budget) -> Result<(), Fault> {
    let kept = |ms: i64| now.plus_ms(-ms).as_millis();
    drop_some(tx, SESSIONS, now.as_millis(), budget)?;
    drop_some(tx, LINKS, now.as_millis(), budget)?;
    drop_some(tx, FAILURES, kept(limits::FAILURE_KEPT_MS), budget)?;
    drop_some(tx, ERRANDS, kept(limits::ERRAND_KEPT_MS), budget)
}
