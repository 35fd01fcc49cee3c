//! Whether a store is whole: its file, its WAL and its durability mark.
//!
//! A closed store is one file, and its header says so. A store whose header says WAL mode was not
//! closed, and has a WAL that reaches at least up to its mark. What is missing up to there was
//! promised, so it is an error. What is behind the mark was told to nobody, and may be torn.
//! Decisions 30 and 40 have the cases.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::OpenError;
use crate::files::{FILE_HEADER_BYTES, beside, header, page_bytes};
use crate::integrity::fault::WalFault;
use crate::integrity::mark::{self, DurabilityMark, MarkWriter};
use crate::integrity::wal::{self, WalFrames, WalState};
use crate::migrate;
use crate::sqlite::wal_preallocation::WAL_BYTES;

/// The first schema version whose stores say whether they were closed.
const CLOSED_FLAG_SINCE: u32 = 3;

/// A store in use changes while it is read: what seems wrong is read again.
const SNAPSHOTS_MAX: u32 = 50;
const SNAPSHOT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How many generations a WAL may be ahead of its mark. The WAL of another store is so near by
/// chance once in 65,000 times.
const GENERATIONS_MAX: u32 = 65_536;

/// What is right about a store's WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// Its mark is about its WAL.
    Marked,
    /// Its WAL has no mark yet: so many frames are whole.
    Unmarked(u32),
    /// It has no WAL that counts.
    Closed,
    /// Not for us to judge: no store yet, somebody else's file, or one that is being created.
    Unknown,
}

/// A file, its WAL and its mark at one moment.
#[derive(PartialEq, Eq)]
pub(crate) struct StoreSnapshot {
    header: Option<[u8; FILE_HEADER_BYTES]>,
    has_journal: bool,
    pub(crate) log: WalState,
    log_bytes: u64,
    /// The modification time of the WAL.
    log_written: (i64, i64),
    mark: Option<DurabilityMark>,
    /// The file has everything that the mark knows of.
    is_checkpointed: bool,
    file_pages: u32,
}

/// Checks the WAL of the store at `path`. Only before this process opens the store: closing the
/// file here would drop the locks of those who have it open (POSIX).
pub(crate) fn check(path: &Path) -> Result<Integrity, OpenError> {
    let path = std::fs::canonicalize(path);
    let Ok(path) = path else {
        return Ok(Integrity::Unknown);
    };
    let failed = |error: io::Error| OpenError::NoAccess(path.clone(), error.to_string());
    let mut seen = StoreSnapshot::at(&path).map_err(failed)?;
    for _ in 0..SNAPSHOTS_MAX {
        let fault = match seen.judge() {
            Ok(integrity) => return Ok(integrity),
            Err(fault) => fault,
        };
        std::thread::park_timeout(SNAPSHOT_AGAIN_AFTER);
        let again = StoreSnapshot::at(&path).map_err(failed)?;
        if again == seen {
            return Err(OpenError::Wal { path, fault });
        }
        seen = again;
    }
    // Somebody writes to it all the time, and has found it whole when opening it.
    Ok(Integrity::Marked)
}

/// Writes the mark beside a store that is about to be opened, according to `integrity`.
pub(crate) fn write_mark(path: &Path, integrity: Integrity) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let frames = match integrity {
        Integrity::Marked => return Ok(()),
        Integrity::Closed | Integrity::Unknown => 0,
        Integrity::Unmarked(frames) => frames,
    };
    mark::begin(&path)?;
    let header = header(&path)?.0;
    let bytes = header.as_ref().map_or(0, |header| page_bytes(header));
    let mark_writer = MarkWriter::open(&path, u64::try_from(bytes).unwrap_or(0))?;
    if let Some(mark) = mark_writer.seen(frames) {
        mark_writer.note(mark);
    }
    Ok(())
}

/// Checkpoints the WAL and removes it with its mark, if nobody else has the store open. Otherwise
/// the last one does.
pub(crate) fn close(conn: &Connection, path: &Path) {
    let mode = conn.pragma_update_and_check(None, "journal_mode", "delete", |row| {
        row.get::<_, String>(0)
    });
    match mode {
        Ok(mode) if mode == "delete" => {}
        Ok(_) => return,
        Err(error) => {
            let error = OpenError::of(path, error);
            if !matches!(error, OpenError::InUse(_)) {
                tracing::warn!(
                    %error,
                    "the write-ahead log stays beside the store until the next start"
                );
            }
            return;
        }
    }
    // While nobody can open it: the mark of whoever does must not be removed.
    let removed = conn.execute_batch("begin exclusive").map(|()| {
        mark::remove(path);
        conn.execute_batch("rollback")
    });
    if let Err(error) = removed.and_then(|rolled_back| rolled_back) {
        tracing::debug!(%error, "the durability mark stays beside the store");
    }
}

impl StoreSnapshot {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let log_path = beside(path, "-wal");
        // The mark before the WAL, which only grows meanwhile.
        let mark = DurabilityMark::read(path)?;
        let (header, bytes) = header(path)?;
        let page = u64::try_from(header.as_ref().map_or(0, |header| page_bytes(header)));
        let file_pages = bytes.checked_div(page.unwrap_or(0)).unwrap_or(0);
        let file_pages = u32::try_from(file_pages).unwrap_or(u32::MAX);
        let log = wal::read(&log_path, file_pages)?;
        let stat = std::fs::metadata(&log_path).ok();
        let is_checkpointed = match (&mark, &header) {
            (Some(mark), Some(header)) if matches!(log, WalState::Missing | WalState::Empty) => {
                mark.is_checkpointed_into(path, header)?
            }
            _ => false,
        };
        Ok(Self {
            header,
            has_journal: std::fs::metadata(beside(path, "-journal"))
                .is_ok_and(|journal| journal.len() > 0),
            log,
            log_bytes: stat.as_ref().map_or(0, std::fs::Metadata::len),
            log_written: stat.map_or((0, 0), |stat| (stat.mtime(), stat.mtime_nsec())),
            mark,
            is_checkpointed,
            file_pages,
        })
    }

    pub(crate) fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// How many frames of the WAL its mark knows to be durable.
    pub(crate) fn marked(&self) -> Option<u32> {
        self.mark.map(|mark| mark.durable)
    }

    pub(crate) fn judge(&self) -> Result<Integrity, WalFault> {
        let Some(header) = &self.header else {
            return Ok(Integrity::Unknown);
        };
        let number = |at| wal::word(header, at).unwrap_or(0);
        let is_foreign = i64::from(number(68)) != i64::from(migrate::APPLICATION_ID);
        // Its journal leads back to a state that is whole.
        if is_foreign || number(60) > migrate::KNOWN || self.has_journal {
            return Ok(Integrity::Unknown);
        }
        let is_closed = header.get(18..20) == Some(&[1, 1]);
        match &self.log {
            WalState::Missing | WalState::Empty if is_closed => Ok(Integrity::Closed),
            WalState::Headless | WalState::Read(_) if is_closed => Err(WalFault::Needless),
            WalState::Headless => Err(WalFault::Headless),
            WalState::Read(frames) => {
                let free = frames.free_pages;
                let free = free.unwrap_or_else(|| number(wal::FREE_PAGES_AT));
                self.judge_pages(frames, free)?;
                self.judge_frames(frames)
            }
            WalState::Missing | WalState::Empty => match &self.mark {
                None if number(60) < CLOSED_FLAG_SINCE => Ok(Integrity::Closed),
                Some(mark) if mark.durable == 0 || self.is_checkpointed => Ok(Integrity::Closed),
                _ if self.log == WalState::Missing => Err(WalFault::Missing),
                _ => Err(WalFault::Empty),
            },
        }
    }

    /// Free pages behind the end of the file need not have been written.
    fn judge_pages(&self, frames: &WalFrames, free: u32) -> Result<(), WalFault> {
        let (pages, expected) = (self.file_pages, frames.pages);
        let found = pages.saturating_add(frames.pages_beyond);
        match found.saturating_add(free) < expected {
            true => Err(WalFault::FileShort { pages, expected }),
            false => Ok(()),
        }
    }

    fn judge_frames(&self, frames: &WalFrames) -> Result<Integrity, WalFault> {
        let broken = Err(WalFault::Broken {
            bad_frame: frames.ends_at,
            good_behind: frames.behind,
        });
        let Some(mark) = &self.mark else {
            if frames.behind > 0 {
                return broken;
            }
            // The WAL is preallocated before anything is written to it.
            let is_cut = frames.fills_file && self.log_bytes < WAL_BYTES;
            return match is_cut {
                true => Err(WalFault::Cut),
                false => Ok(Integrity::Unmarked(frames.committed)),
            };
        };
        let is_same = frames.salts == mark.salts();
        let ahead = frames.salts[0].wrapping_sub(mark.salts()[0]);
        if mark.durable > 0 && !is_same && !(1..=GENERATIONS_MAX).contains(&ahead) {
            return Err(WalFault::Foreign);
        }
        if is_same && frames.committed < mark.durable {
            return match frames.behind {
                0 => Err(WalFault::Short {
                    frames: frames.committed,
                    expected: mark.durable,
                }),
                _ => broken,
            };
        }
        // A power failure may lose parts of a commit that nobody was told of, in any order. But no
        // commit is written before the one ahead of it is durable.
        match frames.commits_behind {
            0 | 1 => Ok(Integrity::Marked),
            _ => broken,
        }
    }
}
