//! The data folder: the store's file, and the lock that keeps a second server away. Nothing in it
//! is created before `make`.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of the setting `data_dir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        store_file(&self.0)
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.0.join("serve.lock")
    }

    /// Creates the folder and the store's file, with rights for this user only: target URLs may
    /// hold passwords. Existing ones keep their rights.
    pub(crate) fn make(&self) -> Result<()> {
        let shown = self.0.display();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| {
                format!("the data folder {shown} (setting data_dir) cannot be created")
            })?;
        let file = self.store_file();
        // SQLite gives its other files the same rights.
        let made = std::fs::OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&file);
        match made {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("the file {} cannot be created", file.display()))
            }
        }
    }

    /// Whether a server runs on it.
    pub(crate) fn is_running(&self) -> bool {
        let file = File::open(self.lock_file());
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes its lock. Only the holder may run a server on it or replace the store.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.lock_file();
        let shown = path.display();
        let file = File::create(&path).with_context(|| format!("{shown} cannot be written"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "another willcall runs on the data folder {}; stop it, or choose another folder \
                 with --data-dir",
                self.0.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{shown} cannot be locked"))
            }
        }
    }
}

/// The store's file in the data folder `path`.
pub(crate) fn store_file(path: &Path) -> PathBuf {
    path.join("willcall.db")
}
