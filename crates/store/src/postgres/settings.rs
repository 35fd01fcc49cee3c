//! Where the database is and how to reach it, as `database_url.rs` reads it from a URL. Secrets are
//! in no error and no log.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

/// Where the database is and how to reach it.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// In the order in which they are tried: one at least.
    pub(crate) hosts: Vec<DatabaseHost>,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) password: PasswordSource,
    pub(crate) tls: TlsSettings,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) network: NetworkSettings,
    /// The first word of what sessions are called in the database's lists.
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) limits: SessionLimits,
}

/// A host, or a folder with a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseHost {
    pub(crate) address: HostAddress,
    pub(crate) port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostAddress {
    /// A name or an address, and where to connect instead of looking it up.
    Name(String, Option<IpAddr>),
    Socket(PathBuf),
}

#[derive(Clone)]
pub(crate) enum PasswordSource {
    None,
    Given(Secret),
    /// A file with nothing but the password.
    File(PathBuf),
    /// A file with a line for each database, as libpq's `.pgpass`.
    Passfile(PathBuf),
}

/// Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

/// When TLS is used: libpq's `sslmode` without what is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    /// Only if the server refuses without.
    Allow,
    /// If the server can.
    Prefer,
    Require,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) mode: TlsMode,
    /// Whose certificates are trusted. Without it, anybody's.
    pub(crate) roots: Option<RootCertificates>,
    pub(crate) verifies_name: bool,
    /// Our certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// Whether the server is told which name it is called by.
    pub(crate) sends_name: bool,
    pub(crate) oldest: TlsVersion,
    pub(crate) newest: TlsVersion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RootCertificates {
    System,
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

/// How soon a network that does not answer is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkSettings {
    /// For each address of a host.
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalives: bool,
    pub(crate) keepalives_idle: Duration,
    pub(crate) keepalives_interval: Duration,
    pub(crate) keepalives_count: u32,
    /// How long sent data may stay unconfirmed.
    pub(crate) tcp_user_timeout: Duration,
}

impl Default for NetworkSettings {
    /// A host that vanished is noticed within 15 s, by either side.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            keepalives: true,
            keepalives_idle: Duration::from_secs(5),
            keepalives_interval: Duration::from_secs(3),
            keepalives_count: 3,
            tcp_user_timeout: Duration::from_secs(15),
        }
    }
}

/// How long things may take, as the server counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionLimits {
    pub(crate) statement: Duration,
    pub(crate) lock: Duration,
    /// A transaction in which nothing is said. It ends that of a node that froze, so that its locks
    /// do not outlast its leases.
    pub(crate) idle_in_transaction: Duration,
    /// How much longer than the server the client waits for the end of a statement.
    pub(crate) grace: Duration,
    /// How often the server is asked whether it has become read-only: that takes it a millisecond.
    pub(crate) read_only_check: Duration,
    /// For how long plans of statements are kept at most.
    pub(crate) plans: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(5),
            grace: Duration::from_secs(5),
            read_only_check: Duration::from_secs(5),
            plans: Duration::from_secs(60),
        }
    }
}

/// What is wrong with a database URL, in a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseUrlError(pub(crate) String);

impl DatabaseSettings {
    /// The same settings with other limits.
    pub(crate) fn with_limits(mut self, limits: SessionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the URL itself holds the password.
    pub fn url_has_password(&self) -> bool {
        matches!(self.password, PasswordSource::Given(_))
    }

    /// What the database is called in messages: its host, port and name, without secrets.
    pub fn address(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("{}/{}", hosts.join(","), self.dbname)
    }
}

impl DatabaseHost {
    pub(crate) fn is_socket(&self) -> bool {
        match self.address {
            HostAddress::Socket(_) => true,
            HostAddress::Name(..) => false,
        }
    }
}

impl fmt::Display for DatabaseHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            HostAddress::Name(name, _) if name.contains(':') => {
                write!(f, "[{name}]:{}", self.port)
            }
            HostAddress::Name(name, _) => write!(f, "{name}:{}", self.port),
            HostAddress::Socket(folder) => {
                write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port)
            }
        }
    }
}

impl fmt::Debug for DatabaseSettings {
    /// Without what may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("address", &self.address())
            .field("user", &self.user)
            .field("password", &self.password)
            .field("tls", &self.tls)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Given(secret) => secret.fmt(f),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Passfile(path) => write!(f, "Passfile({})", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
