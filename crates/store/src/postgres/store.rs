//! Opening the store on PostgreSQL: its schema, and the executor on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::registry::Registry;

use crate::OpenError;
use crate::postgres::connection::PostgresConnection;
use crate::postgres::contract::Postgres;
use crate::postgres::executor::PostgresExecutor;
use crate::postgres::host_fault::{HostFailure, HostFault};
use crate::postgres::job_answer::store_error;
use crate::postgres::session::{Session, TransactionMode};
use crate::postgres::settings::DatabaseSettings;
use crate::postgres::shared::Shared;
use crate::postgres::{leases, migrate};
use crate::sql::job_error::{CorruptRow, JobError};
use crate::sql::query;
use crate::sync::lock;

shared_statements! {
    STATE = "
        select version, (select case when is_called then last_value else 0 end from hint_id)
        from catalog
        where id = 1";
}

/// Opens the store, and migrates its schema first.
pub(crate) fn open(
    settings: &DatabaseSettings,
    metrics: &mut Registry,
) -> Result<Postgres, OpenError> {
    migrate::migrate(&Session::open(settings, "willcall migrate")?)?;
    let shared = Arc::new(Shared::default());
    shared.metrics.register(metrics);
    let conn = PostgresConnection::new(Session::open(settings, "willcall open")?);
    begin(&conn, &shared).map_err(|error| cannot_be_read(&conn, error))?;
    drop(conn);
    let settings = Arc::new(settings.clone());
    let executor = PostgresExecutor::start(&settings, shared)
        .map_err(|error| OpenError::NoThreads(error.to_string()))?;
    Ok(Postgres {
        executor: Arc::new(executor),
    })
}

/// Reads what is known before anything is asked.
fn begin(conn: &PostgresConnection, shared: &Shared) -> Result<(), JobError> {
    conn.session().begin(TransactionMode::ReadOnly)?;
    let state = query::first(conn, STATE, values![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (version, told): (i64, i64) = state.ok_or(CorruptRow("catalog"))?;
    let version = u64::try_from(version).unwrap_or(0);
    shared.told_at_start.store(told, Ordering::Release);
    shared.version.store(version, Ordering::Release);
    *lock(&shared.last_heartbeat) = leases::last_heartbeat(conn)?;
    conn.session().rollback()?;
    Ok(())
}

fn cannot_be_read(conn: &PostgresConnection, error: JobError) -> OpenError {
    OpenError::NoHost(vec![HostFailure {
        host: conn.session().facts().host.clone(),
        fault: HostFault::Refused(store_error(error).to_string()),
    }])
}
