//! Why a host of the database cannot be used, each with what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::postgres::tls::{TlsFault, TlsFileError};

/// The oldest PostgreSQL whose features are used: its number, and what it is called.
pub(crate) const OLDEST: (u32, &str) = (150_000, "15");

/// A host that cannot be used.
#[derive(Debug, Clone)]
pub struct HostFailure {
    /// The host and port, or the socket.
    pub host: String,
    pub fault: HostFault,
}

/// Why a host cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostFault {
    #[error(
        "it cannot be reached ({0}): see that PostgreSQL runs there, and that the name, the port \
         and every firewall between are right"
    )]
    Unreachable(String),
    #[error(
        "it did not answer within {} s: see that PostgreSQL runs there, and that every firewall \
         between is right",
        .0.as_secs()
    )]
    Silent(Duration),
    #[error("it is starting, stopping or recovering ({0}): wait, or see its log")]
    NotReady(String),
    #[error("it has no connection left for us ({0}): raise max_connections, or end others")]
    TooManyConnections(String),
    #[error("it does not accept this password for user {0}: correct one of them")]
    Password(String),
    #[error(
        "it asks user {0} for a password, and there is none: write it into a file and name that, \
         or into the URL"
    )]
    NoPassword(String),
    #[error("its pg_hba.conf does not let us in ({0}): have a line for us added there")]
    NotAdmitted(String),
    #[error("the login failed: {0}")]
    Login(String),
    #[error("it has no database {0}: create it, such as with `createdb --owner=USER {0}`")]
    NoDatabase(String),
    #[error("user {user} may not use database {dbname}: grant CONNECT on it")]
    NoConnectRight { user: String, dbname: String },
    #[error(
        "it is a standby, or read-only: name the primary as well, or turn \
         default_transaction_read_only off there"
    )]
    ReadOnly,
    #[error("it is PostgreSQL {found}, which is too old: Willcall needs {} or newer", OLDEST.1)]
    TooOld { found: String },
    #[error(
        "database {dbname} has the encoding {encoding}: create one with `createdb --encoding=UTF8 \
         --template=template0`"
    )]
    Encoding { dbname: String, encoding: String },
    #[error(
        "a connection pooler is in between{}, which cannot keep what a session needs: name the \
         host and port of PostgreSQL itself, and leave the pooler to others",
        .0.as_ref().map(|words| format!(" ({words})")).unwrap_or_default()
    )]
    Pooler(Option<String>),
    #[error(
        "no schema in search_path ({0}) exists in the database: create one, or set search_path for \
         this user"
    )]
    NoSchema(String),
    #[error("user {user} may not create tables in schema {schema}: grant CREATE on it")]
    NoCreateRight { user: String, schema: String },
    #[error(
        "it has no TLS, which sslmode asks for: turn ssl on there, or write sslmode=prefer if the \
         network between is yours alone"
    )]
    NoTls,
    #[error("there is no TLS with it: {0}")]
    Tls(TlsFault),
    #[error("{0}")]
    TlsFile(TlsFileError),
    #[error("the file with the password, {}, cannot be read: {}", .0.display(), .1)]
    PasswordFile(PathBuf, String),
    #[error(
        "the passfile {} can be read by others: let only its owner read it (chmod 600)",
        .0.display()
    )]
    OpenPassfile(PathBuf),
    #[error("the connection broke before it could be used: {0}")]
    Broken(String),
    #[error("it refused to begin a session: {0}")]
    Refused(String),
}

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.fault)
    }
}

/// Why none of the hosts can be used, for a message.
pub(crate) fn sentence(failures: &[HostFailure]) -> String {
    match failures {
        [one] => format!("the database at {} cannot be used: {}", one.host, one.fault),
        all => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!(
                "none of the database's hosts can be used. {}",
                all.join(". ")
            )
        }
    }
}
