//! Where the store is: in a file in the data folder, or in a database. Every command opens it here.
//!
//! A file is for one server, which locks its folder. A database is for any number: with it no
//! folder is made, and there is no lock.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use anyhow::{Result, bail};
use model::contract::Store;
use prometheus_client::registry::Registry;
use store::{DatabaseSettings, SchemaVersions};

use crate::data_folder::DataFolder;

#[derive(Debug, Clone)]
pub(crate) enum StoreLocation {
    Folder(DataFolder),
    Database(Box<DatabaseSettings>),
}

impl StoreLocation {
    /// Opens the store. Creates it if there is none, and brings its schema up to date.
    pub(crate) fn open(&self, meters: &mut Registry) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Folder(folder) => {
                folder.make()?;
                store::open(&folder.store_file(), meters)?
            }
            Self::Database(settings) => store::open_postgres(settings, meters)?,
        })
    }

    /// Opens the store.
    ///
    /// # Errors
    /// If there is none yet.
    pub(crate) fn open_existing(&self) -> Result<Arc<dyn Store>> {
        if !self.has_store()? {
            match self {
                Self::Folder(_) => bail!(
                    "there is no store {self}; name its folder with --data-dir, or create one with \
                     `willcall apply FILE` or `willcall serve`"
                ),
                Self::Database(_) => bail!(
                    "there is no store in {self}; see that it is the right one, or create one with \
                     `willcall apply FILE` or `willcall serve`"
                ),
            }
        }
        self.open(&mut Registry::default())
    }

    /// Whether there is a store already.
    pub(crate) fn has_store(&self) -> Result<bool> {
        Ok(match self {
            Self::Folder(folder) => folder.store_file().exists(),
            Self::Database(settings) => store::database_versions(settings)?.before > 0,
        })
    }

    /// Brings the schema of the store to this program's version. Creates the store if there is
    /// none.
    ///
    /// # Errors
    /// If a server runs where only one program may change the store.
    pub(crate) async fn migrate(&self) -> Result<SchemaVersions> {
        match self {
            Self::Folder(folder) => {
                folder.make()?;
                let _lock = folder.lock()?;
                let versions = store::schema_versions(&folder.store_file())?;
                let store = store::open(&folder.store_file(), &mut Registry::default())?;
                store.close().await?;
                Ok(versions)
            }
            Self::Database(settings) => Ok(store::migrate_database(settings)?),
        }
    }

    /// Makes sure that no other server runs where only one may.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        Ok(match self {
            Self::Folder(folder) => {
                folder.make()?;
                Some(folder.lock()?)
            }
            Self::Database(_) => None,
        })
    }

    /// The data folder, for a command that works on files only. `instead` says what to do with a
    /// database: a sentence.
    pub(crate) fn folder(&self, instead: &str) -> Result<&DataFolder> {
        match self {
            Self::Folder(folder) => Ok(folder),
            Self::Database(_) => bail!("the store is in {self}. {instead}"),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.store_file().display().fmt(f),
            Self::Database(settings) => write!(f, "the database {}", settings.address()),
        }
    }
}
