//! The names of a store's files, and what is read of the header without SQLite.
//!
//! Only for files that this process does not have open through SQLite: closing a second handle
//! drops the locks that this process holds on the file (POSIX).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(crate) const FILE_HEADER_BYTES: usize = 100;

/// The header of the file at `path`, if it is a SQLite file, and the file's size in bytes.
pub(crate) fn header(path: &Path) -> io::Result<(Option<[u8; FILE_HEADER_BYTES]>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, 0)),
        Err(error) => return Err(error),
    };
    let stat = file.metadata()?;
    let mut header = [0; FILE_HEADER_BYTES];
    if !stat.is_file() || stat.len() < 512 {
        return Ok((None, 0));
    }
    file.read_exact(&mut header)?;
    let is_sqlite = header.starts_with(b"SQLite format 3\0");
    Ok((is_sqlite.then_some(header), stat.len()))
}

/// The page size in bytes, from the header of a file.
pub(crate) fn page_bytes(header: &[u8]) -> usize {
    match header.get(16..18) {
        Some(&[0, 1]) => 65_536,
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    }
}

/// The file with `suffix` beside a store.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// The WAL of the store at `path`.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Syncs the folder of `path`, so that names in it are durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
