//! Why a session did not do what it was asked to: what callers branch on.
//!
//! PostgreSQL's SQLSTATE decides, never a text, which is in the language of the server. What a
//! server says beside its message (details with values, hints) is not kept: values may be secrets.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// What came of a statement, if not what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SessionError {
    /// The server refused the statement. A transaction around it can only be rolled back, at
    /// least to its savepoint.
    #[error("the database refused: {0}")]
    Refused(Refused),
    /// The connection ended before a commit was sent: nothing was written.
    #[error("the connection to the database broke, and nothing was written: {0}")]
    Lost(Loss),
    /// The connection ended, or the limit passed, while a commit was under way.
    #[error(
        "the connection to the database broke within a commit, and it is not known whether \
         something was written: {0}"
    )]
    Unknown(Loss),
    /// No answer within the limit of the client, which is above the server's own: nothing was
    /// written. The session is broken.
    #[error("the database did not answer within {} ms, and nothing was written", .0.as_millis())]
    TimedOut(Duration),
}

/// A statement that the server refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message} (SQLSTATE {})", .code.code())]
pub(crate) struct Refused {
    pub(crate) fault: SqlFault,
    pub(crate) code: SqlState,
    /// The server's words, in its language.
    pub(crate) message: String,
    pub(crate) table: Option<String>,
    /// The constraint or unique index that was violated.
    pub(crate) constraint: Option<String>,
}

/// What ended a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Loss {
    /// The server ended it, and said why.
    #[error("{0}")]
    Ended(Refused),
    #[error("{0}")]
    Network(String),
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The commit is on this server, and perhaps not on its standby.
    #[error("the wait for the standby was cancelled")]
    NotReplicated,
    /// It was thrown away after an earlier failure.
    #[error("this session has ended")]
    Before,
}

/// What a SQLSTATE means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlFault {
    /// A key is taken.
    Unique,
    /// Any other constraint.
    Constraint,
    /// Serialization failure or deadlock: the whole transaction may be done again at once.
    Conflict,
    /// A lock was not free within the limit.
    LockTimeout,
    /// Ended by the server's limit of time, or by somebody's request.
    Cancelled,
    /// The server or the transaction is read-only, or it is a standby.
    ReadOnly,
    DiskFull,
    OutOfMemory,
    TooManyConnections,
    /// The server stops, starts or recovers from a crash.
    Shutdown,
    /// A prepared statement no longer fits the tables, or is gone. The session is broken.
    StalePlan,
    /// A statement before it failed in the same transaction.
    FailedTransaction,
    /// This user may not.
    Forbidden,
    /// A table, column, function or schema is not there.
    Missing,
    /// The server says that its data is damaged, or cannot read or write it.
    Damaged,
    Other,
}

impl SessionError {
    /// What the server said of it, if it said something.
    pub(crate) fn fault(&self) -> Option<SqlFault> {
        match self {
            Self::Refused(refused)
            | Self::Lost(Loss::Ended(refused))
            | Self::Unknown(Loss::Ended(refused)) => Some(refused.fault),
            Self::Lost(
                Loss::Network(_) | Loss::TimedOut(_) | Loss::NotReplicated | Loss::Before,
            )
            | Self::Unknown(
                Loss::Network(_) | Loss::TimedOut(_) | Loss::NotReplicated | Loss::Before,
            )
            | Self::TimedOut(_) => None,
        }
    }
}

impl Loss {
    /// Of an error that is no refusal. The library's own words say only in which step it was, and
    /// its source says what it was.
    pub(crate) fn of(error: &Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Ended(Refused::of(said));
        }
        match error.source() {
            Some(source) => Self::Network(source.to_string()),
            None => Self::Network(error.to_string()),
        }
    }
}

impl Refused {
    /// What the server would have said to a commit after a refused statement, if it said anything.
    pub(crate) fn of_failed_transaction() -> Self {
        Self::ours(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            "a statement was refused before, so the transaction was rolled back",
        )
    }

    /// What the server would have said to a transaction that does not say that it writes.
    pub(crate) fn of_read_only() -> Self {
        Self::ours(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "the server is read-only: its default_transaction_read_only is on",
        )
    }

    fn ours(code: SqlState, message: &str) -> Self {
        Self {
            fault: SqlFault::of(&code),
            code,
            message: message.to_owned(),
            table: None,
            constraint: None,
        }
    }

    pub(crate) fn of(error: &DbError) -> Self {
        Self {
            fault: SqlFault::of(error.code()),
            code: error.code().clone(),
            message: error.message().to_owned(),
            table: error.table().map(str::to_owned),
            constraint: error.constraint().map(str::to_owned),
        }
    }
}

impl SqlFault {
    pub(crate) fn of(code: &SqlState) -> Self {
        match code.code() {
            "23505" => Self::Unique,
            "40001" | "40P01" => Self::Conflict,
            "55P03" => Self::LockTimeout,
            "57014" => Self::Cancelled,
            "25006" => Self::ReadOnly,
            "53100" => Self::DiskFull,
            "53200" => Self::OutOfMemory,
            "53300" => Self::TooManyConnections,
            "57P01" | "57P02" | "57P03" | "57P05" => Self::Shutdown,
            "0A000" | "26000" => Self::StalePlan,
            "25P02" => Self::FailedTransaction,
            "42501" => Self::Forbidden,
            "42P01" | "42703" | "42883" | "3F000" => Self::Missing,
            "58000" | "58030" | "58P01" | "XX001" | "XX002" => Self::Damaged,
            code if code.starts_with("23") => Self::Constraint,
            _ => Self::Other,
        }
    }
}

/// Whether the server ends the connection with it.
pub(crate) fn ends_connection(error: &DbError) -> bool {
    match error.parsed_severity() {
        Some(Severity::Fatal | Severity::Panic) => true,
        Some(
            Severity::Error
            | Severity::Warning
            | Severity::Notice
            | Severity::Debug
            | Severity::Info
            | Severity::Log,
        )
        | None => false,
    }
}
