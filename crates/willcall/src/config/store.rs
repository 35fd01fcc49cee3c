//! Where the store is, from three settings: a folder, or the URL of a database with its password.
//! What these hold may be a secret, so no error and no warning quotes them.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use store::DatabaseSettings;

use super::{Origin, RawConfig, Written};
use crate::data_folder::DataFolder;
use crate::store_location::StoreLocation;

const URL: &str = "database_url";
const PASSWORD_FILE: &str = "database_password_file";

impl RawConfig {
    /// Also read with a database: a wrong setting is never passed over.
    pub(super) fn data_folder(&self) -> Result<DataFolder> {
        self.read("data_dir", |text| match text {
            "" => Err("it has to name a folder".to_owned()),
            text => Ok(DataFolder::new(PathBuf::from(text))),
        })
    }

    pub(super) fn store(&self) -> Result<StoreLocation> {
        let folder = self.data_folder()?;
        match self.database()? {
            Some(database) => Ok(StoreLocation::Database(Box::new(database))),
            None => Ok(StoreLocation::Folder(folder)),
        }
    }

    fn database(&self) -> Result<Option<DatabaseSettings>> {
        let url = self.given(URL)?;
        let file = self.given(PASSWORD_FILE)?;
        let Some(url) = url else {
            if let Some(file) = file {
                bail!(
                    "the setting {PASSWORD_FILE} (from {}) is for a database, and there is no \
                     {URL}: add that, or take this out",
                    file.place
                );
            }
            return Ok(None);
        };
        let file = file.map(|file| PathBuf::from(file.text.trim()));
        let settings = DatabaseSettings::parse(url.text.trim(), file.as_deref());
        settings
            .map(Some)
            .map_err(|error| anyhow!("the setting {URL} (from {}) is wrong: {error}", url.place))
    }

    /// What was written for a setting without a default, if something was. Nothing between quotes
    /// would mean a store somewhere else than where it was meant to be, or calls past a proxy.
    pub(super) fn given(&self, key: &'static str) -> Result<Option<&Written>> {
        let written = self
            .values
            .get(key)
            .filter(|written| written.origin != Origin::Default);
        match written {
            Some(written) if written.text.trim().is_empty() => bail!(
                "the setting {key} (from {}) is empty: fill it in, or take it out",
                written.place
            ),
            written => Ok(written),
        }
    }

    /// A warning if the password stands where everybody on this machine can read it.
    pub(super) fn exposed_password(&self, store: &StoreLocation) -> Option<String> {
        let is_exposed = match store {
            StoreLocation::Folder(_) => false,
            StoreLocation::Database(settings) => settings.url_has_password(),
        };
        let written = self
            .values
            .get(URL)
            .filter(|written| written.origin == Origin::Flag)?;
        is_exposed.then(|| {
            format!(
                "the password in {} can be read by everybody on this machine, in its list of \
                 processes: write it into a file, and name that in {PASSWORD_FILE}",
                written.place
            )
        })
    }
}
