//! Replaces a store by another. The files that were there are kept, all with the same suffix.
//!
//! Nobody may have the store open. Nothing is lost if this is interrupted and run again: either the
//! old files are still in place, or the new one is, and what lies beside it is known not to be its
//! own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::files::{beside, folder_of, header, page_bytes, sync_folder};
use crate::inspect::{self, Inspection};
use crate::integrity::wal;

/// The files of a store, apart from shared memory, which holds nothing.
const BESIDE: [&str; 3] = ["-wal", "-mark", "-journal"];
const SHARED_MEMORY: &str = "-shm";

/// A new store in one file that is not in its place yet.
pub(crate) struct StagedStore {
    at: PathBuf,
    /// Pages that were taken from the WAL.
    pub(crate) frames: u32,
    pub(crate) inspection: Inspection,
}

/// Makes a store for `path` of the file `from` and, if `with_log`, of what can be read of its WAL.
/// Reads every page of the result.
pub(crate) fn stage(from: &Path, with_log: bool, path: &Path) -> Result<StagedStore, OpenError> {
    let staged = TempFile(beside(path, ".new"));
    let failed = |error: io::Error| OpenError::of_io(path, &error);
    let frames = copy(from, with_log, &staged.0, path).map_err(failed)?;
    let inspection = inspect::inspect(&staged.0).map_err(|error| error.about(from))?;
    let at = staged.0.clone();
    staged.finish();
    Ok(StagedStore {
        at,
        frames,
        inspection,
    })
}

/// A file that is removed unless it is finished.
struct TempFile(PathBuf);

impl TempFile {
    fn finish(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            drop(fs::remove_file(&self.0));
            for suffix in BESIDE.into_iter().chain([SHARED_MEMORY]) {
                drop(fs::remove_file(beside(&self.0, suffix)));
            }
        }
    }
}

fn copy(from: &Path, with_log: bool, to: &Path, path: &Path) -> io::Result<u32> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let mut file = options.mode(0o600).open(to)?;
    own_as(&file, path)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    let header = header(to)?.0;
    let mut frames = 0;
    if let (true, Some(header)) = (with_log, &header) {
        frames = wal::apply(&beside(from, "-wal"), &file, page_bytes(header))?;
    }
    if header.is_some() {
        seal(&file)?;
    }
    file.sync_all()?;
    Ok(frames)
}

/// Sets the header to "closed": what its WAL had is in the file.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    // The write and read version of the file format: the legacy journal, no WAL.
    file.write_all_at(&[1, 1], 18)
}

/// Gives a file the owner and mode of the store at `path`, or else the owner of its folder.
fn own_as(file: &File, path: &Path) -> io::Result<()> {
    let known = fs::metadata(path).or_else(|_| fs::metadata(folder_of(path)))?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (known.uid(), known.gid()) {
        std::os::unix::fs::fchown(file, Some(known.uid()), Some(known.gid()))?;
    }
    if known.is_file() {
        let mode = known.permissions().mode() & 0o777;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

impl StagedStore {
    /// Puts it in its place. Returns the files that were there, under their new names.
    pub(crate) fn install(self, path: &Path, aside: &str) -> Result<Vec<PathBuf>, OpenError> {
        let staged = TempFile(self.at);
        let failed = |error: io::Error| OpenError::of_io(path, &error);
        let kept = install(&staged.0, path, aside).map_err(failed)?;
        staged.finish();
        Ok(kept)
    }
}

fn install(new: &Path, path: &Path, aside: &str) -> io::Result<Vec<PathBuf>> {
    let aside = beside(path, aside);
    let mut kept = Vec::new();
    if fs::metadata(path).is_ok_and(|old| old.len() > 0) {
        // The old name leads to the old file until the new one is there.
        match fs::hard_link(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {
                fs::copy(path, &aside)?;
                File::open(&aside)?.sync_all()?;
            }
            Ok(()) => {}
        }
        kept.push(aside.clone());
    }
    fs::rename(new, path)?;
    for suffix in BESIDE {
        let (from, to) = (beside(path, suffix), beside(&aside, suffix));
        match fs::rename(from, &to) {
            Ok(()) => kept.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    drop(fs::remove_file(beside(path, SHARED_MEMORY)));
    sync_folder(path)?;
    Ok(kept)
}
