//! A small disk for the data folder: a tmpfs of its own where the tests run as root. Elsewhere the
//! server may write no large files, which is as good but for a start on a full disk.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Enough for the store and its log in calm.
const DISK_MIB: u32 = 80;

/// Written at once to fill it.
const PIECE: usize = 64 * 1_024;

/// Mounted until dropped.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at this folder; nothing if that is not allowed here.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let size = format!("size={DISK_MIB}m,mode=700");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(folder)
            .output();
        if !mounted
            .as_ref()
            .is_ok_and(|mounted| mounted.status.success())
        {
            println!("nothing can be mounted here, so files are limited instead: {mounted:?}");
            return None;
        }
        let folder = folder.to_owned();
        Some(Self { folder })
    }

    /// Fills it but for so many MiB: too few for the room that is made for the log of a store, so
    /// that it grows as it is written. 0 takes the last block.
    pub(crate) fn fill(&self, mib_left: u64) {
        let mut options = fs::File::options();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.filling())
            .unwrap();
        while file.write_all(&vec![1; PIECE]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full.saturating_sub(mib_left * 1_024 * 1_024))
            .unwrap();
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.filling()).unwrap();
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        drop(unmount.arg("-l").arg(&self.folder).status());
    }
}
