//! Disk fault: what is wrong with the disk or the database below the store.
//!
//! It has a file of its own because both refusals and store errors contain it.

/// What is wrong with the disk below the store, with the store's files on it, or with the database
/// that keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DiskFault {
    #[error("no room left to write: the disk is full, or its quota")]
    Full,
    #[error("nothing can be written: the file system is read-only")]
    ReadOnly,
    #[error("the disk fails with input/output errors")]
    Failing,
    /// Nobody would find what is written to the files that are still open.
    #[error("a file of the store was removed or replaced while it was open")]
    Moved,
    /// Of the rest much can still be read and written.
    #[error("a part of the store cannot be read: the disk fails there, or the file is damaged")]
    Unreadable,
    #[error("the database does not answer")]
    NoDatabase,
    #[error("the database has no connection left")]
    NoConnection,
    #[error("the database takes no changes: it is a standby, or read-only")]
    ReadOnlyDatabase,
    #[error("the disk of the database is full")]
    FullDatabase,
}

impl DiskFault {
    /// Whether nothing at all can be written.
    pub fn stops_all(self) -> bool {
        match self {
            Self::Full
            | Self::ReadOnly
            | Self::Failing
            | Self::Moved
            | Self::NoDatabase
            | Self::NoConnection
            | Self::ReadOnlyDatabase
            | Self::FullDatabase => true,
            Self::Unreadable => false,
        }
    }

    /// What the operator has to do about it: a sentence.
    pub fn to_do(self) -> &'static str {
        match self {
            Self::Full => "Make room on it; all goes on by itself then.",
            Self::ReadOnly => {
                "Look at the disk (dmesg): a file system that meets errors may make itself \
                 read-only. Mend it, mount it to be written to, and start the server again."
            }
            Self::Failing => {
                "Look at the disk (dmesg, SMART). All goes on by itself if it recovers."
            }
            Self::Moved => {
                "What was accepted is in the files that this server still has open: put them back, \
                 or save them before it ends (docs/operating.md, \"The file is gone\")."
            }
            Self::Unreadable => {
                "Look at the disk (dmesg, SMART); willcall doctor reads every page of the file."
            }
            Self::NoDatabase => {
                "Look at PostgreSQL and at the network in between; all goes on by itself once it \
                 answers."
            }
            Self::NoConnection => {
                "Raise max_connections, or end sessions that nobody needs; all goes on by itself \
                 once there are some."
            }
            Self::ReadOnlyDatabase => {
                "Promote it, or name the primary in the database URL; all goes on by itself once \
                 it takes changes."
            }
            Self::FullDatabase => "Make room on it; all goes on by itself then.",
        }
    }
}
