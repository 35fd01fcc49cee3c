//! The store: the contract of `model::contract` on a SQLite file.
//!
//! Nothing is answered before it is durable. The store knows no dialect, computes no next state,
//! and takes no time of its own.

mod backup;
mod copy;
mod error;
mod files;
mod inspect;
mod integrity;
mod migrate;
mod recover;
mod replace;
mod sealed;
mod seldom;
#[macro_use]
mod sql;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the statements on it are being written")
)]
mod postgres;
mod sqlite;
mod sync;

use std::path::Path;
use std::sync::Arc;

use model::contract::Store;
use prometheus_client::registry::Registry;

pub use crate::backup::{BackupError, BackupProgress, backup};
pub use crate::copy::{CopyError, CopyOrder, CopyReport, CopyStep, TableProgress};
pub use crate::error::OpenError;
pub use crate::inspect::{Inspection, Moved, inspect, schema_versions};
pub use crate::integrity::fault::WalFault;
use crate::postgres::apart::apart;
use crate::postgres::session::Session;
pub use crate::postgres::{
    CertificateCheck, ConnectionCount, DatabaseInspection, DatabaseSettings, DatabaseUrlError,
    Durability, Encryption, HostFailure, HostFault, SchemaVersions, StoreContents, TableFaults,
    TlsFault, TlsFileError, VacuumState, inspect_database,
};
pub use crate::recover::{RecoveryReport, RestoreReport, inspect_copy, recover, restore};
pub use crate::sealed::{each_sealed, each_sealed_in_database};
use crate::sqlite::open;
use crate::sqlite::shared::Shared;

/// Opens the store with its threads. Creates the file if it is missing and migrates it under a
/// lock. The folder has to exist.
pub fn open(path: &Path, metrics: &mut Registry) -> Result<Arc<dyn Store>, OpenError> {
    let shared = Shared::default();
    shared.metrics.register(metrics);
    Ok(Arc::new(open::threads(path, shared, None, None)?))
}

/// Opens the store in a database, with its threads, and migrates its schema under a lock. Any
/// number of processes may have it open.
pub fn open_postgres(
    settings: &DatabaseSettings,
    metrics: &mut Registry,
) -> Result<Arc<dyn Store>, OpenError> {
    let opened = apart(|| postgres::store::open(settings, metrics))?;
    Ok(Arc::new(opened))
}

/// The version that the schema of a database has, 0 if there is none yet, and the one that it has
/// after a start; or why it would not start with it.
pub fn database_versions(settings: &DatabaseSettings) -> Result<SchemaVersions, OpenError> {
    apart(|| postgres::migrate::preview(&Session::open(settings, "willcall migrate")?))
}

/// The version of the server of a database, such as 15.18.
pub fn database_server(settings: &DatabaseSettings) -> Result<String, OpenError> {
    apart(|| {
        let number = Session::open(settings, "willcall start")?.facts().version;
        Ok(format!("{}.{}", number / 10_000, number % 10_000))
    })
}

/// Migrates the schema of a database, as opening the store does, and says what was done.
pub fn migrate_database(settings: &DatabaseSettings) -> Result<SchemaVersions, OpenError> {
    apart(|| postgres::migrate::migrate(&Session::open(settings, "willcall migrate")?))
}

/// What this program stores with.
#[derive(Debug, Clone, Copy)]
pub struct StoreVersions {
    /// Of SQLite.
    pub sqlite: &'static str,
    /// Of the schema of a file.
    pub file_schema: u32,
    /// Of the schema of a database.
    pub database_schema: u32,
}

/// The versions of what this program stores with: it reads schemas up to these and writes these.
pub fn store_versions() -> StoreVersions {
    StoreVersions {
        sqlite: rusqlite::version(),
        file_schema: migrate::KNOWN,
        database_schema: postgres::migrate::known(),
    }
}

/// Copies the store in the file at `path` into a database, or goes on with a copy of it, and checks
/// that all is there. After that the file is not used any more. Nobody may have either open.
/// `watch` is told each step, and may give the copy up with a reason.
pub fn copy(
    path: &Path,
    settings: &DatabaseSettings,
    order: &CopyOrder,
    watch: &mut (dyn FnMut(CopyStep) -> Result<(), String> + Send),
) -> Result<CopyReport, CopyError> {
    apart(|| copy::run::run(path, settings, order, copy::run::BATCH_ROWS, watch))
}

/// Lets a store that was moved to a database be used again as it was then. Answers where it was
/// moved to; nothing if it was not.
pub fn undo_copy(path: &Path) -> Result<Option<Moved>, OpenError> {
    copy::run::undo(path)
}

/// A store in memory, for tests on paused time and for simulation. Each operation runs on the
/// calling thread when it is called (or, if it shows deliveries, when it is first polled), and its
/// reply is ready at once.
pub fn open_inline() -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(open::inline()?))
}

/// The same on a file.
pub fn open_inline_at(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(open::inline_at(path, false)?))
}

/// The same, faster, on a file that nobody else opens meanwhile: who tries finds it in use.
pub fn open_inline_exclusively(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(open::inline_at(path, true)?))
}

/// What the tests of this crate cannot see from outside.
#[doc(hidden)]
pub mod probe {
    use std::path::Path;
    use std::sync::Arc;

    use model::contract::Store;
    use prometheus_client::registry::Registry;

    pub use crate::sqlite::wal_sync::SyncTarget;
    use crate::{
        BackupError, BackupProgress, CopyError, CopyOrder, CopyReport, CopyStep, DatabaseSettings,
        Inspection, OpenError, Shared, apart, backup, open,
    };

    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: u32 = crate::migrate::KNOWN;

    /// Every statement the store runs.
    pub fn statements() -> Vec<&'static str> {
        crate::sqlite::statements::statements()
    }

    /// Registers the metrics of a store on PostgreSQL.
    pub fn postgres_metrics(metrics: &mut Registry) {
        crate::postgres::metrics::Metrics::default().register(metrics);
    }

    /// Every statement the store runs on PostgreSQL.
    pub fn postgres_statements() -> Vec<String> {
        crate::postgres::statements::statements()
    }

    /// `backup` of a store whose WAL may grow by so many bytes.
    pub fn backup_within(
        path: &Path,
        to: &Path,
        log_bytes_max: u64,
        watch: &mut dyn FnMut(BackupProgress) -> Result<(), String>,
    ) -> Result<Inspection, BackupError> {
        backup::within(path, to, log_bytes_max, watch)
    }

    /// `copy` with so many rows in a batch.
    pub fn copy_by(
        path: &Path,
        settings: &DatabaseSettings,
        order: &CopyOrder,
        batch_rows: usize,
        watch: &mut (dyn FnMut(CopyStep) -> Result<(), String> + Send),
    ) -> Result<CopyReport, CopyError> {
        apart(|| crate::copy::run::run(path, settings, order, batch_rows, watch))
    }

    /// The tables that a copy copies, and their columns.
    pub fn copied_columns() -> Vec<(&'static str, &'static str)> {
        let tables = crate::copy::tables::TABLES.iter();
        let columns = tables.flat_map(|table| {
            let columns = table.columns.iter();
            columns.map(|(column, _)| (table.name, *column))
        });
        columns.collect()
    }

    /// Of each table that a copy copies what it asks SQLite for, and what PostgreSQL.
    pub fn copy_statements() -> Vec<(&'static str, String, String)> {
        let tables = crate::copy::tables::TABLES.iter();
        let statements = tables.map(|table| (table.name, table.read(false), table.hashes(true)));
        statements.collect()
    }

    /// A store with threads whose file may have so many pages, as if its disk were full then.
    pub fn open_with_room(path: &Path, pages: u32) -> Result<Arc<dyn Store>, OpenError> {
        Ok(Arc::new(open::threads(
            path,
            Shared::default(),
            Some(pages),
            None,
        )?))
    }

    /// A store with threads that is as durable as `disk` says.
    pub fn open_on_disk(
        path: &Path,
        metrics: &mut Registry,
        disk: impl SyncTarget + 'static,
    ) -> Result<Arc<dyn Store>, OpenError> {
        let shared = Shared::default();
        shared.metrics.register(metrics);
        let disk: Box<dyn SyncTarget> = Box::new(disk);
        Ok(Arc::new(open::threads(path, shared, None, Some(disk))?))
    }
}
