//! Tallies in sets: many rows written by one statement, many periods read by one.

use bytes::Bytes;
use tokio_postgres::types::ToSql;

use crate::postgres::connection::PostgresConnection;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;

statements! {
    INSERT_ALL = "
        insert into statistic (minutes, starts_at, owner_id, part, tally)
        select $1::bigint::smallint, r.starts_at, r.owner_id, r.part, r.tally
        from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
          as r (starts_at, owner_id, part, tally)
        on conflict do nothing";
    READ_ALL = "
        select asked.starts_at, found.tally
        from unnest($3::bigint[]) as asked (starts_at)
        cross join lateral (
          select tally from statistic
          where minutes = $1::bigint::smallint and starts_at = asked.starts_at
            and owner_id = $2::bigint
          limit $4::bigint) as found";
}

/// When a period begins, whose it is, and the part.
pub(crate) type TallyPlace = (i64, i64, i64);

pub(crate) fn insert(
    conn: &PostgresConnection,
    minutes: i64,
    rows: &[(TallyPlace, Vec<u8>)],
) -> Result<(), JobError> {
    let column = |place: fn(&TallyPlace) -> i64| -> Vec<i64> {
        rows.iter().map(|(own, _)| place(own)).collect()
    };
    let (starts, owners) = (column(|own| own.0), column(|own| own.1));
    let parts = column(|own| own.2);
    let tallies: Vec<&[u8]> = rows.iter().map(|(_, tally)| tally.as_slice()).collect();
    let values: &[&(dyn ToSql + Sync)] = &[&minutes, &starts, &owners, &parts, &tallies];
    conn.session().execute(INSERT_ALL, values)?;
    Ok(())
}

/// Hands each tally of the owner in these periods to `each`, with the time of its period.
pub(crate) fn read(
    conn: &PostgresConnection,
    (minutes, owner): (i64, i64),
    periods: &[i64],
    limit: i64,
    mut each: impl FnMut(i64, &[u8]),
) -> Result<(), JobError> {
    let values: &[&(dyn ToSql + Sync)] = &[&minutes, &owner, &periods, &limit];
    for row in &conn.session().query(READ_ALL, values)? {
        let tally: Bytes = row.column(1)?;
        each(row.column(0)?, &tally);
    }
    Ok(())
}
