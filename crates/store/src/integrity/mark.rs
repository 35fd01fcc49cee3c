//! The durability mark: a small file beside the store that says how far its WAL is durable.
//!
//! It is written after each sync of the WAL and not synced itself, so it never claims too much: it
//! is exact after a kill, and may be old after a power failure. Without it nobody could tell a WAL
//! that was cut at the end of a commit from one that ends there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use crate::files::{beside, page_bytes};
use crate::integrity::wal::{self, Checksum, FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES};

const MAGIC: [u8; 8] = *b"WillMrk1";
const BODY_BYTES: usize = 48;
const BYTES: usize = BODY_BYTES + 8;

/// Up to where the WAL was durable, and how that place is recognized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DurabilityMark {
    /// Frames up to and with the latest durable commit; 0 if nobody was told of any.
    pub(crate) durable: u32,
    /// The header of the last of these frames.
    frame: [u8; FRAME_HEADER_BYTES],
    /// The checksum up to that frame.
    checksum_before: [u8; 8],
}

/// Writes the mark of an open store.
pub(crate) struct MarkWriter {
    file: File,
    log_path: std::path::PathBuf,
    log: OnceLock<File>,
    page_bytes: u64,
}

impl DurabilityMark {
    /// The mark beside the store at `path`; `None` if there is none that can be read.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(beside(path, "-mark")) {
            Ok(bytes) => Ok(Self::of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The salts of the generation that it is about.
    pub(crate) fn salts(&self) -> [u32; 2] {
        FrameHeader::of(&self.frame).map_or([0; 2], |header| header.salts)
    }

    /// Whether the file holds the page of the latest durable frame: somebody has checkpointed the
    /// WAL to its end.
    pub(crate) fn is_checkpointed_into(&self, file: &Path, header: &[u8]) -> io::Result<bool> {
        let Some(frame) = FrameHeader::of(&self.frame) else {
            return Ok(false);
        };
        let Some(at) = frame.page.checked_sub(1) else {
            return Ok(false);
        };
        let mut page = vec![0; page_bytes(header)];
        let at = u64::from(at) * u64::try_from(page.len()).unwrap_or(0);
        match File::open(file)?.read_exact_at(&mut page, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        let before: Checksum = [0, 4].map(|at| wal::word(&self.checksum_before, at).unwrap_or(0));
        let is_big_endian = cfg!(target_endian = "big");
        let numbers = self.frame.get(..8).unwrap_or_default();
        let sum = wal::add(before, numbers, is_big_endian);
        Ok(wal::add(sum, &page, is_big_endian) == frame.sum)
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(BODY_BYTES)?;
        if !body.starts_with(&MAGIC) || sum != Self::sum(body) {
            return None;
        }
        Some(Self {
            durable: wal::word(body, 8)?,
            frame: *body.get(16..)?.first_chunk()?,
            checksum_before: *body.get(40..)?.first_chunk()?,
        })
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let parts = MAGIC
            .into_iter()
            .chain(self.durable.to_be_bytes())
            // The durable commit before stood here. A program that looks for it misses every frame.
            .chain(self.durable.to_be_bytes())
            .chain(self.frame)
            .chain(self.checksum_before);
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        let sum = bytes.get(..BODY_BYTES).map(Self::sum).unwrap_or_default();
        for (byte, part) in bytes.iter_mut().skip(BODY_BYTES).zip(sum) {
            *byte = part;
        }
        bytes
    }

    fn sum(body: &[u8]) -> [u8; 8] {
        let [one, two] = wal::add([0; 2], body, true).map(u32::to_be_bytes);
        let (mut sum, both) = ([0; 8], one.into_iter().chain(two));
        for (byte, part) in sum.iter_mut().zip(both) {
            *byte = part;
        }
        sum
    }
}

impl MarkWriter {
    /// The mark beside the store at `path`, created if it is missing.
    pub(crate) fn open(path: &Path, page_bytes: u64) -> io::Result<Self> {
        let is_new = DurabilityMark::read(path)?.is_none();
        let mark_writer = Self {
            file: file(path)?,
            log_path: beside(path, "-wal"),
            log: OnceLock::new(),
            page_bytes,
        };
        if is_new {
            mark_writer
                .file
                .write_all_at(&DurabilityMark::default().bytes(), 0)?;
            mark_writer.file.sync_all()?;
        }
        Ok(mark_writer)
    }

    /// The mark for a WAL whose commit ends with frame `number`, to be noted once it is durable.
    /// Only for whoever has just written that commit: nobody has restarted the WAL yet.
    pub(crate) fn seen(&self, number: u32) -> Option<DurabilityMark> {
        let frame_bytes = self.page_bytes + u64::try_from(FRAME_HEADER_BYTES).ok()?;
        let header_bytes = u64::try_from(HEADER_BYTES).ok()?;
        let at = |number: u32| header_bytes + u64::from(number) * frame_bytes;
        let log = self.log()?;
        let index = number.checked_sub(1)?;
        let mut mark = DurabilityMark {
            durable: number,
            ..DurabilityMark::default()
        };
        log.read_exact_at(&mut mark.frame, at(index)).ok()?;
        // The checksum stands at the end of a frame's header, and of the WAL's header.
        let sum_at = match index.checked_sub(1) {
            Some(before) => at(before) + 16,
            None => header_bytes - 8,
        };
        log.read_exact_at(&mut mark.checksum_before, sum_at).ok()?;
        let header = FrameHeader::of(&mark.frame)?;
        (header.pages_after > 0).then_some(mark)
    }

    /// Notes that the WAL is durable up to `mark`. Called by one thread at a time.
    pub(crate) fn note(&self, mark: DurabilityMark) {
        // An older mark stays right.
        if let Err(error) = self.file.write_all_at(&mark.bytes(), 0) {
            tracing::debug!(%error, "the durability mark was not written");
        }
    }

    fn log(&self) -> Option<&File> {
        if let Some(log) = self.log.get() {
            return Some(log);
        }
        let log = File::open(&self.log_path).ok()?;
        Some(self.log.get_or_init(|| log))
    }
}

/// Writes the mark of a store with no WAL to expect, because nobody was told of anything in it.
pub(crate) fn begin(path: &Path) -> io::Result<()> {
    let file = file(path)?;
    file.write_all_at(&DurabilityMark::default().bytes(), 0)?;
    file.sync_all()?;
    // Its name has to be as durable as its content.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Removes the mark: the store is one file.
pub(crate) fn remove(path: &Path) {
    // One that stays behind is ignored.
    drop(std::fs::remove_file(beside(path, "-mark")));
}

fn file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::MetadataExt;
    // Whoever may read the store may read its mark.
    let mode = std::fs::metadata(path).map_or(0o600, |store| store.mode() & 0o777);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(mode);
    options.open(beside(path, "-mark"))
}
