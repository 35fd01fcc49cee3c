//! What is asked of the system about disks and files: how much room there is, who has a file open.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, fcntl_lock, statvfs};
use rustix::io::Errno;

/// How many bytes this user may still write on the disk of `path`; nothing if nobody can say.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes for people.
pub(crate) fn mib(bytes: u64) -> String {
    match bytes {
        0..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

/// Refuses if some process has the store open. This one must not: its locks would be gone.
pub(crate) fn check_unused(store: &Path) -> Result<()> {
    if !store.exists() {
        return Ok(());
    }
    let shown = store.display();
    let file = OpenOptions::new().read(true).write(true).open(store);
    let file = file.with_context(|| format!("{shown} cannot be opened"))?;
    // Whoever has a store open holds a part of this, for as long.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            bail!("{shown} is in use by another program; end that program first")
        }
        Err(error) => Err(error).with_context(|| format!("{shown} cannot be locked")),
    }
}
