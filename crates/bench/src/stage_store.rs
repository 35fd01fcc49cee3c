//! Where the servers of one stage have their store: a folder of its own, or a database. Commands of
//! the program are told by the same two ways as an operator has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use model::contract::Store;
use prometheus_client::registry::Registry;
use store::DatabaseSettings;

use crate::database::{DatabaseSource, StageDatabase};
use crate::process;

/// The variable that names the database, as the program reads it.
const DATABASE_URL: &str = "WILLCALL_DATABASE_URL";

/// What keeps the stores of all stages.
pub(crate) enum StoreKind {
    /// A file in each data folder: where it is there.
    Sqlite(fn(&Path) -> PathBuf),
    Postgres(Box<DatabaseSource>),
}

/// The store of one stage.
pub(crate) struct StageStore<'a> {
    kind: &'a StoreKind,
    /// The data folder, which does not exist if there is a database. Files of the stage have names
    /// that begin with it.
    path: PathBuf,
    database: Option<StageDatabase>,
}

impl StoreKind {
    /// An unused store; `path` is an unused path.
    pub(crate) async fn fresh(&self, path: PathBuf) -> Result<StageStore<'_>> {
        let database = match self {
            Self::Sqlite(_) => None,
            Self::Postgres(source) => Some(source.create().await?),
        };
        Ok(StageStore {
            kind: self,
            path,
            database,
        })
    }

    /// Removes what stages that broke off have left.
    pub(crate) async fn end(&self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(source) => source.end().await,
        }
    }

    pub(crate) fn source(&self) -> Option<&DatabaseSource> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(source) => Some(source),
        }
    }
}

impl StageStore<'_> {
    /// Adds to a command of the program where the store is.
    pub(crate) fn tell(&self, command: &mut Command) {
        match &self.database {
            // A password in an argument could be seen in lists of processes.
            Some(database) => command.env(DATABASE_URL, &database.url),
            None => command.arg("--data-dir").arg(&self.path),
        };
    }

    /// The path of a file that is beside the store.
    pub(crate) fn beside(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }

    /// Opens it in this process.
    pub(crate) fn open(&self) -> Result<Arc<dyn Store>> {
        let metrics = &mut Registry::default();
        Ok(match (&self.database, self.kind) {
            (Some(database), _) => {
                let settings = DatabaseSettings::parse(&database.url, None)?;
                store::open_postgres(&settings, metrics)?
            }
            (None, StoreKind::Sqlite(file)) => store::open(&file(&self.path), metrics)?,
            (None, StoreKind::Postgres(_)) => unreachable!("a stage has its database"),
        })
    }

    /// Runs statements in its database.
    ///
    /// # Errors
    /// If it has none.
    pub(crate) async fn sql(&self, sql: &str) -> Result<String> {
        let (source, database) = self.postgres().context("the store is no database")?;
        source.sql(database, sql).await
    }

    fn postgres(&self) -> Option<(&DatabaseSource, &StageDatabase)> {
        self.kind.source().zip(self.database.as_ref())
    }

    /// How large it is.
    pub(crate) async fn bytes(&self) -> Result<u64> {
        match self.kind {
            StoreKind::Sqlite(file) => process::bytes_of(&file(&self.path)),
            StoreKind::Postgres(source) => {
                let database = self.database.as_ref();
                source
                    .bytes(database.context("a stage has its database")?)
                    .await
            }
        }
    }

    /// Removes it.
    pub(crate) async fn discard(self) -> Result<()> {
        match self.postgres() {
            Some((source, database)) => source.remove(database).await,
            None => remove_folder(&self.path),
        }
    }
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder)
        .with_context(|| format!("the folder {} cannot be removed", folder.display()))
}
