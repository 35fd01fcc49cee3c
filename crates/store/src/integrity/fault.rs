//! What can be wrong with a WAL, in sentences for people.

use std::fmt;

/// What is wrong with a WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalFault {
    Missing,
    Empty,
    /// Its beginning cannot be read.
    Headless,
    /// It belongs to another store, or is an old copy.
    Foreign,
    /// It lies beside a closed file, which needs none.
    Needless,
    /// Good frames follow a bad one.
    Broken {
        bad_frame: u32,
        good_behind: u32,
    },
    /// It ends before its mark.
    Short {
        frames: u32,
        expected: u32,
    },
    /// It ends with its file, and nothing says that it should.
    Cut,
    /// The database file lacks pages that the WAL counts on.
    FileShort {
        pages: u32,
        expected: u32,
    },
}

impl fmt::Display for WalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("its write-ahead log (-wal) is missing"),
            Self::Empty => f.write_str("its write-ahead log (-wal) is empty"),
            Self::Headless => {
                f.write_str("the beginning of its write-ahead log (-wal) cannot be read")
            }
            Self::Foreign => f.write_str(
                "the write-ahead log (-wal) beside it belongs to another store, or is an old copy",
            ),
            Self::Needless => f.write_str(
                "a write-ahead log (-wal) lies beside it that is not its own: the file was closed \
                 and has none",
            ),
            Self::Broken {
                bad_frame,
                good_behind,
            } => write!(
                f,
                "its write-ahead log (-wal) is damaged: page {bad_frame} of it is bad, and \
                 {good_behind} good ones follow"
            ),
            Self::Short { frames, expected } => write!(
                f,
                "its write-ahead log (-wal) ends too soon: {frames} of {expected} pages that were \
                 written are there"
            ),
            Self::Cut => f.write_str("its write-ahead log (-wal) seems to be cut off"),
            Self::FileShort { pages, expected } => write!(
                f,
                "it ends too soon: {pages} of its {expected} pages are there, and the others are \
                 not in its write-ahead log (-wal)"
            ),
        }
    }
}
