//! The WAL as bytes: which of its frames are whole, and what lies behind them.
//!
//! SQLite reads the WAL up to its first bad frame and takes that for the end. Here the rest is read
//! as well. The format is in the chapter "The Write-Ahead Log" of SQLite's "Database File Format".
//! Nobody locks this file, so it may be opened beside SQLite.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

/// The lowest bit is the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;

/// The offset in a file's first page of the number of free pages.
pub(crate) const FREE_PAGES_AT: usize = 36;

const READ_AT_ONCE: usize = 1024 * 1024;

/// A checksum that goes on from frame to frame.
pub(crate) type Checksum = [u32; 2];

/// A WAL, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalState {
    Missing,
    /// Nothing was ever written to it, but it may be preallocated.
    Empty,
    /// It holds something, but its beginning is unreadable.
    Headless,
    Read(WalFrames),
}

/// What a WAL holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WalFrames {
    /// They name a generation: when the WAL is restarted the first one grows by 1.
    pub(crate) salts: [u32; 2],
    /// Frames up to and with the last whole commit.
    pub(crate) committed: u32,
    /// Of these, commits.
    pub(crate) commits: u32,
    /// The frame behind the last whole one; the first frame is 1. It is bad if frames of this
    /// generation follow, else the WAL ends there.
    pub(crate) ends_at: u32,
    /// Whole frames of the same generation behind a bad one.
    pub(crate) behind: u32,
    /// Of these, commits.
    pub(crate) commits_behind: u32,
    /// The file ends with the frames of this generation.
    pub(crate) fills_file: bool,
    /// How many pages the database has after the last commit; 0 without any.
    pub(crate) pages: u32,
    /// Pages behind the end of the database file that committed frames bring.
    pub(crate) pages_beyond: u32,
    /// How many pages are free, if the committed frames say so: free pages need not be anywhere.
    pub(crate) free_pages: Option<u32>,
}

/// How a generation is written.
struct WalFormat {
    salts: [u32; 2],
    page_bytes: usize,
    is_big_endian: bool,
    sum: Checksum,
}

/// The header of a frame.
pub(crate) struct FrameHeader {
    pub(crate) page: u32,
    /// How many pages the database has after this commit; 0 if it is none.
    pub(crate) pages_after: u32,
    pub(crate) salts: [u32; 2],
    pub(crate) sum: Checksum,
}

/// Reads a WAL once from its beginning to its end. `file_pages` is the size of the database file in
/// pages.
pub(crate) fn read(path: &Path, file_pages: u32) -> io::Result<WalState> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(WalState::Missing),
        Err(error) => return Err(error),
    };
    let mut input = BufReader::with_capacity(READ_AT_ONCE, file);
    let mut header = [0; HEADER_BYTES];
    let has_header = fill(&mut input, &mut header)?;
    if header == [0; HEADER_BYTES] {
        return Ok(WalState::Empty);
    }
    match WalFormat::of(&header) {
        Some(format) if has_header => frames(&mut input, &format, file_pages).map(WalState::Read),
        _ => Ok(WalState::Headless),
    }
}

/// Writes what the WAL at `path` has committed, as far as it can be read, into the database file.
/// Returns how many frames that were. If the header of the WAL is bad, the frames may tell what it
/// was.
pub(crate) fn apply(path: &Path, file: &File, page_bytes: usize) -> io::Result<u32> {
    let mut header = [0; HEADER_BYTES];
    let mut first = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut input = File::open(path)?;
    if !fill(&mut input, &mut header)? || !fill(&mut input, &mut first)? {
        return Ok(0);
    }
    let formats = [WalFormat::of(&header)]
        .into_iter()
        .chain(WalFormat::likely(&header, &first, page_bytes));
    let mut formats = formats
        .flatten()
        .filter(|format| format.page_bytes == page_bytes);
    let begins = |format: &WalFormat| {
        let header = FrameHeader::of(&first);
        header.is_some_and(|header| {
            header.salts == format.salts && header.sum == format.sum_of(format.sum, &first)
        })
    };
    let Some(format) = formats.find(begins) else {
        return Ok(0);
    };
    let mut input = BufReader::with_capacity(READ_AT_ONCE, File::open(path)?);
    fill(&mut input, &mut header)?;
    let committed = frames(&mut input, &format, 0)?.committed;
    let mut input = BufReader::with_capacity(READ_AT_ONCE, File::open(path)?);
    fill(&mut input, &mut header)?;
    let page_size = u64::try_from(page_bytes).unwrap_or(0);
    for _ in 0..committed {
        fill(&mut input, &mut first)?;
        let (Some(header), Some(page)) = (FrameHeader::of(&first), first.get(FRAME_HEADER_BYTES..))
        else {
            break;
        };
        file.write_all_at(page, u64::from(header.page.saturating_sub(1)) * page_size)?;
        if header.pages_after > 0 {
            file.set_len(u64::from(header.pages_after) * page_size)?;
        }
    }
    Ok(committed)
}

fn frames(input: &mut impl Read, format: &WalFormat, file_pages: u32) -> io::Result<WalFrames> {
    let mut found = WalFrames {
        salts: format.salts,
        ends_at: 1,
        fills_file: true,
        ..WalFrames::default()
    };
    let (mut number, mut commits) = (0_u32, 0_u32);
    let mut sum = format.sum;
    let (mut is_whole, mut beyond) = (true, BTreeSet::new());
    let mut free_pages = None;
    let mut frame = vec![0; FRAME_HEADER_BYTES + format.page_bytes];
    while fill(input, &mut frame)? {
        number = number.saturating_add(1);
        let Some(header) = FrameHeader::of(&frame) else {
            break;
        };
        if header.salts != format.salts || header.page == 0 {
            found.fills_file = false;
            // Of an earlier generation, or never written: nothing of this generation follows,
            // unless this is what was damaged.
            is_whole = false;
            sum = header.sum;
            continue;
        }
        found.fills_file = true;
        let is_linked = format.sum_of(sum, &frame) == header.sum;
        // The checksum in a bad frame tells whether the next one belongs behind it.
        sum = header.sum;
        is_whole &= is_linked;
        let is_commit = header.pages_after > 0;
        if is_whole {
            found.ends_at = number.saturating_add(1);
            if header.page > file_pages {
                beyond.insert(header.page);
            }
            if header.page == 1 {
                free_pages = word(&frame, FRAME_HEADER_BYTES + FREE_PAGES_AT);
            }
            commits += u32::from(is_commit);
            if is_commit {
                found.committed = number;
                found.commits = commits;
                found.pages = header.pages_after;
                found.free_pages = free_pages;
                let pages = beyond.iter().filter(|page| **page <= header.pages_after);
                found.pages_beyond = u32::try_from(pages.count()).unwrap_or(u32::MAX);
            }
        } else if is_linked {
            found.behind += 1;
            found.commits_behind += u32::from(is_commit);
        }
    }
    Ok(found)
}

/// Fills `buffer`. Answers false if there was not enough; the rest of it is unchanged then.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match input.read(rest) {
            Ok(0) => return Ok(false),
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

impl WalFormat {
    fn of(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at| word(header, at);
        let magic = word(0)?;
        let is_big_endian = magic & 1 == 1;
        let page_bytes = usize::try_from(word(8)?).ok()?;
        let is_ours = magic & !1 == MAGIC
            && page_bytes.is_power_of_two()
            && (512..=65_536).contains(&page_bytes);
        let sum = add([0; 2], header.get(..24)?, is_big_endian);
        let format = Self {
            salts: [word(16)?, word(20)?],
            page_bytes,
            is_big_endian,
            sum,
        };
        (is_ours && sum == [word(24)?, word(28)?]).then_some(format)
    }

    /// What a bad header may have said: one of the two checksums is right, the one that it holds or
    /// the one of what it holds.
    fn likely(header: &[u8; HEADER_BYTES], first: &[u8], page_bytes: usize) -> [Option<Self>; 2] {
        let held = [24, 28].map(|at| word(header, at).unwrap_or(0));
        let is_big_endian = cfg!(target_endian = "big");
        let made = add([0; 2], header.get(..24).unwrap_or_default(), is_big_endian);
        [held, made].map(|sum| {
            FrameHeader::of(first).map(|frame| Self {
                salts: frame.salts,
                page_bytes,
                is_big_endian,
                sum,
            })
        })
    }

    fn sum_of(&self, before: Checksum, frame: &[u8]) -> Checksum {
        let (numbers, page) = (frame.get(..8), frame.get(FRAME_HEADER_BYTES..));
        let sum = add(before, numbers.unwrap_or_default(), self.is_big_endian);
        add(sum, page.unwrap_or_default(), self.is_big_endian)
    }
}

impl FrameHeader {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let word = |at| word(bytes, at);
        Some(Self {
            page: word(0)?,
            pages_after: word(4)?,
            salts: [word(8)?, word(12)?],
            sum: [word(16)?, word(20)?],
        })
    }
}

/// Adds bytes to a checksum. Those behind the last full eight do not count.
pub(crate) fn add(before: Checksum, bytes: &[u8], is_big_endian: bool) -> Checksum {
    let [mut one, mut two] = before;
    for pair in bytes.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        let (first, second) = match is_big_endian {
            true => ([a, b, c, d], [e, f, g, h]),
            false => ([d, c, b, a], [h, g, f, e]),
        };
        one = one
            .wrapping_add(u32::from_be_bytes(first))
            .wrapping_add(two);
        two = two
            .wrapping_add(u32::from_be_bytes(second))
            .wrapping_add(one);
    }
    [one, two]
}

/// The big-endian number at offset `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*found))
}
