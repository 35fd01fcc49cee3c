//! Questions to the operating system about disks and files: free space, and who has a file open.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, fcntl_lock, statvfs};
use rustix::io::Errno;

/// Bytes that this user may still write to the disk of `path`; nothing if the system does not say.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A number of bytes as text: KiB below 10 MiB, MiB from there on.
pub(crate) fn mib(bytes: u64) -> String {
    match bytes {
        0..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

/// Fails if a process has the store open.
///
/// This process must not: closing any descriptor of a file drops all POSIX locks on it.
pub(crate) fn check_unused(store: &Path) -> Result<()> {
    if !store.exists() {
        return Ok(());
    }
    let shown = store.display();
    let file = OpenOptions::new().read(true).write(true).open(store);
    let file = file.with_context(|| format!("{shown} cannot be opened"))?;
    // Every process with an open store holds a lock on a part of the file.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            bail!("{shown} is in use by another program; stop that program first")
        }
        Err(error) => Err(error).with_context(|| format!("{shown} cannot be locked")),
    }
}
