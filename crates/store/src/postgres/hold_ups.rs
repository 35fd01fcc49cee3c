//! Who holds the database up: transactions for whose locks we wait, and those that have been open
//! for so long that nothing they may see is removed. The log is told of each once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::postgres::connection::PostgresConnection;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sync::lock;

/// From when on a transaction has been open for long, in seconds: ours end within some.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Nobody waits in between two tries, so who was not seen for less is still there.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(8);

/// Whom sessions of this user wait for since a second or longer, and who is open for $1 seconds.
/// Of others' sessions some columns are hidden from a user without `pg_read_all_stats`.
const HOLD_UPS: &str = "
    with held as (
      select w.pid as waits, unnest(pg_blocking_pids(w.pid)) as pid
      from pg_stat_activity w
      where w.datname = current_database() and w.usename = current_user
        and w.wait_event_type = 'Lock'
        and w.query_start <= clock_timestamp() - interval '1 s')
    select a.pid::bigint, h.pid is not null as blocks,
      format('process %s of user %s in database %s (%s, %s, %s)', a.pid,
        coalesce(a.usename, 'none'), coalesce(a.datname, 'none'),
        coalesce(nullif(a.application_name, ''), 'without a name'),
        coalesce(a.state, 'at what is hidden'),
        coalesce('for ' || floor(extract(epoch from clock_timestamp() - a.xact_start)) || ' s',
          'since when is hidden')) as words
    from pg_stat_activity a
    left join (select distinct pid from held) h on h.pid = a.pid
    where h.pid is not null
        and a.pid not in (select waits from held)
      or (a.datname = current_database() or a.datid is null)
        and (a.backend_xid is not null or a.backend_xmin is not null)
        and a.xact_start <= clock_timestamp() - make_interval(secs => $1)
        and a.backend_type <> 'autovacuum worker'
    order by a.xact_start
    limit 3";

#[derive(Default)]
pub(crate) struct HoldUps(Mutex<BTreeMap<i64, HoldUp>>);

#[derive(Debug, Clone)]
struct HoldUp {
    /// Whether we wait for it now.
    blocks: bool,
    words: String,
    seen_at: Instant,
}

impl HoldUps {
    /// Asks the database, and notes what it says.
    pub(crate) fn look(&self, conn: &PostgresConnection) -> Result<(), JobError> {
        let rows = conn.session().query(HOLD_UPS, &[&LONG.as_secs_f64()])?;
        let mut found = BTreeMap::new();
        for row in &rows {
            let (blocks, words) = (row.column(1)?, row.column(2)?);
            let hold_up = HoldUp {
                blocks,
                words,
                seen_at: Instant::now(),
            };
            found.insert(row.column(0)?, hold_up);
        }
        self.note(found, Instant::now());
        Ok(())
    }

    fn note(&self, mut found: BTreeMap<i64, HoldUp>, now: Instant) {
        let mut known = lock(&self.0);
        for (pid, old) in &*known {
            if now.duration_since(old.seen_at) < FORGOTTEN_AFTER {
                found.entry(*pid).or_insert_with(|| old.clone());
            }
        }
        for (pid, hold_up) in &found {
            let is_known = known
                .get(pid)
                .is_some_and(|old| old.blocks == hold_up.blocks);
            if !is_known {
                tracing::warn!("{}. See what it waits for, or end it", hold_up.sentence());
            }
        }
        if found.is_empty() && !known.is_empty() {
            tracing::info!("nobody holds up the database any more");
        }
        *known = found;
    }

    /// A sentence for each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let known = lock(&self.0);
        let sentence = |one: &HoldUp| {
            format!(
                "{}. See what it waits for, or end it (pg_terminate_backend).",
                one.sentence()
            )
        };
        known.values().map(sentence).collect()
    }
}

impl HoldUp {
    fn sentence(&self) -> String {
        let Self { blocks, words, .. } = self;
        match blocks {
            true => format!("a transaction in the database holds up this server: {words}"),
            false => format!(
                "a transaction in the database has been open for long, so that tables grow and get \
                 slow: {words}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_blocks_is_named_until_it_was_not_seen_for_a_while() {
        let (hold_ups, t) = (HoldUps::default(), Instant::now());
        let after = |seconds| t + Duration::from_secs(seconds);
        let seen = |blocks, seconds| {
            let hold_up = HoldUp {
                blocks,
                words: "process 7 of user anna".to_owned(),
                seen_at: after(seconds),
            };
            BTreeMap::from([(7, hold_up)])
        };
        hold_ups.note(seen(true, 0), t);
        let [words] = &<[String; 1]>::try_from(hold_ups.sentences()).unwrap();
        let start =
            "a transaction in the database holds up this server: process 7 of user anna. See";
        assert!(words.starts_with(start), "{words}");
        hold_ups.note(BTreeMap::new(), after(7));
        assert_eq!(hold_ups.sentences().len(), 1);
        hold_ups.note(BTreeMap::new(), after(8));
        assert!(hold_ups.sentences().is_empty());
        hold_ups.note(seen(false, 9), after(9));
        assert!(hold_ups.sentences()[0].contains("has been open for long"));
    }
}
