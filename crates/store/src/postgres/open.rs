//! How a session begins: hosts are tried in order until one can be used. Nothing in the database is
//! changed by it, and nothing of the session is set before it is known to be ours alone.

use std::error::Error as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::runtime::Runtime;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, Error};

use crate::OpenError;
use crate::postgres::exchange::{Exchange, Phase};
use crate::postgres::host_fault::{HostFailure, HostFault};
use crate::postgres::link::{Link, ServerConnection};
use crate::postgres::passfile;
use crate::postgres::server::{self, ServerFacts};
use crate::postgres::session_error::SessionError;
use crate::postgres::settings::{
    DatabaseHost, DatabaseSettings, HostAddress, PasswordSource, Secret, TlsMode,
};
use crate::postgres::tls::{self, TlsConnector, TlsFault};

/// How many addresses of a host can have their full time to answer.
const ADDRESSES: u32 = 2;

/// The first host that can be used, with the session set up.
pub(crate) fn open(
    settings: &DatabaseSettings,
    role: &str,
) -> Result<(Exchange, ServerFacts), OpenError> {
    let mut failures = Vec::new();
    for host in &settings.hosts {
        match begin(settings, host, role) {
            Ok(begun) => return Ok(begun),
            Err(fault) => failures.push(HostFailure {
                host: host.to_string(),
                fault,
            }),
        }
    }
    Err(OpenError::NoHost(failures))
}

fn begin(
    settings: &DatabaseSettings,
    host: &DatabaseHost,
    role: &str,
) -> Result<(Exchange, ServerFacts), HostFault> {
    let config = config(settings, host, role)?;
    let runtime = Link::runtime().map_err(|error| HostFault::Broken(error.to_string()))?;
    match connect(settings, host, config, &runtime) {
        Ok((client, connection, tls)) => {
            let limit = settings
                .limits
                .statement
                .saturating_add(settings.limits.grace);
            let link = Link::new(runtime, connection);
            let exchange = Exchange::new(client, link, tls, limit);
            let facts = set_up(settings, host, &exchange)?;
            Ok((exchange, facts))
        }
        Err(fault) => {
            // A lookup may hang in a thread of its own.
            runtime.shutdown_background();
            Err(fault)
        }
    }
}

fn set_up(
    settings: &DatabaseSettings,
    host: &DatabaseHost,
    exchange: &Exchange,
) -> Result<ServerFacts, HostFault> {
    let client = exchange.client();
    let (limits, network) = (&settings.limits, &settings.network);
    let said = exchange.ask(Phase::Working, client.simple_query(server::QUESTION));
    let said = server::row(&said.map_err(broken)?);
    let facts = server::judge(&host.to_string(), &said, limits)?;
    let setup = server::setup(&said, limits, network);
    let set = exchange.ask(Phase::Working, client.batch_execute(&setup));
    set.map_err(broken)?;
    let again = exchange.ask(Phase::Working, client.simple_query(server::SECOND_QUESTION));
    server::judge_again(&facts, &server::row(&again.map_err(broken)?))?;
    Ok(facts)
}

pub(crate) fn broken(error: SessionError) -> HostFault {
    match error {
        SessionError::Refused(refused) => HostFault::Refused(refused.to_string()),
        SessionError::TimedOut(limit) => HostFault::Silent(limit),
        SessionError::Lost(loss) | SessionError::Unknown(loss) => {
            HostFault::Broken(loss.to_string())
        }
    }
}

type Connected = (Client, ServerConnection, TlsConnector);

/// Connects as `sslmode` says: which of with and without TLS comes first, and whether the other
/// one is tried.
fn connect(
    settings: &DatabaseSettings,
    host: &DatabaseHost,
    mut config: Config,
    runtime: &Runtime,
) -> Result<Connected, HostFault> {
    let modes: &[SslMode] = match settings.tls.mode {
        // As in libpq, sockets have no TLS, whatever is asked for.
        _ if host.is_socket() => &[SslMode::Disable],
        TlsMode::Disable => &[SslMode::Disable],
        TlsMode::Allow => &[SslMode::Disable, SslMode::Require],
        TlsMode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        TlsMode::Require => &[SslMode::Require],
    };
    let mut first: Option<HostFault> = None;
    for mode in modes {
        config.ssl_mode(*mode);
        let tls = (*mode != SslMode::Disable).then(|| tls::client_config(&settings.tls));
        let tls = tls.transpose().map_err(HostFault::TlsFile)?;
        let tls = TlsConnector::new(tls);
        match connect_once(settings, &config, &tls, runtime) {
            Ok((client, connection)) => return Ok((client, connection, tls)),
            Err(fault) if may_differ(&fault) => {
                first.get_or_insert(fault);
            }
            Err(fault) => return Err(first.unwrap_or(fault)),
        }
    }
    Err(first.unwrap_or_else(|| HostFault::Broken("it was not tried".to_owned())))
}

/// Whether it may be otherwise with TLS, or without.
fn may_differ(fault: &HostFault) -> bool {
    matches!(
        fault,
        HostFault::NotAdmitted(_) | HostFault::Tls(_) | HostFault::NoTls
    )
}

fn connect_once(
    settings: &DatabaseSettings,
    config: &Config,
    tls: &TlsConnector,
    runtime: &Runtime,
) -> Result<(Client, ServerConnection), HostFault> {
    let limit = settings.network.connect_timeout.saturating_mul(ADDRESSES);
    let connected =
        runtime.block_on(async { tokio::time::timeout(limit, config.connect(tls.clone())).await });
    match connected {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(fault(settings, config, tls, &error)),
        Err(_) => Err(HostFault::Silent(limit)),
    }
}

fn config(
    settings: &DatabaseSettings,
    host: &DatabaseHost,
    role: &str,
) -> Result<Config, HostFault> {
    let mut config = Config::new();
    match &host.address {
        HostAddress::Name(name, address) => {
            config.host(name);
            if let Some(address) = address {
                config.hostaddr(*address);
            }
        }
        HostAddress::Socket(folder) => {
            config.host_path(folder);
        }
    }
    let name = match &settings.application_name {
        None => role.to_owned(),
        Some(name) => format!("{name} {}", role.strip_prefix("willcall ").unwrap_or(role)),
    };
    let network = &settings.network;
    config
        .port(host.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(name)
        .options(server::startup_options(
            &settings.limits,
            settings.options.as_deref(),
        ))
        .channel_binding(settings.channel_binding)
        // Of a name with several addresses, the first that can be written to.
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(network.connect_timeout)
        .keepalives(network.keepalives)
        .keepalives_idle(network.keepalives_idle)
        .keepalives_interval(network.keepalives_interval)
        .keepalives_retries(network.keepalives_count)
        .tcp_user_timeout(network.tcp_user_timeout);
    if let Some(password) = password(settings, host)? {
        config.password(password);
    }
    Ok(config)
}

/// Files are read for each session, so that a new password is used without a restart.
fn password(
    settings: &DatabaseSettings,
    host: &DatabaseHost,
) -> Result<Option<Vec<u8>>, HostFault> {
    match &settings.password {
        PasswordSource::None => Ok(None),
        PasswordSource::Given(Secret(password)) => Ok(Some(password.clone().into_bytes())),
        PasswordSource::File(path) => {
            let unreadable = |error: io::Error| unreadable(path, &error);
            let mut password = std::fs::read(path).map_err(unreadable)?;
            while matches!(password.last(), Some(b'\n' | b'\r')) {
                password.pop();
            }
            Ok(Some(password))
        }
        PasswordSource::Passfile(path) => {
            let unreadable = |error: io::Error| unreadable(path, &error);
            let metadata = std::fs::metadata(path).map_err(unreadable)?;
            if metadata.mode() & 0o077 != 0 {
                return Err(HostFault::OpenPassfile(path.clone()));
            }
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            let found = passfile::find(&text, host, &settings.dbname, &settings.user);
            Ok(found.map(|Secret(password)| password.into_bytes()))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> HostFault {
    HostFault::PasswordFile(path.to_owned(), error.to_string())
}

/// What an error of connecting means.
fn fault(
    settings: &DatabaseSettings,
    config: &Config,
    tls: &TlsConnector,
    error: &Error,
) -> HostFault {
    if let Some(said) = error.as_db_error() {
        return refusal(settings, said);
    }
    let source = error.source();
    let Some(failed) = source.and_then(|source| source.downcast_ref::<io::Error>()) else {
        // What is left is said by the library: that there is no TLS, no password, or no way to log
        // in that it knows.
        let words = source.map_or_else(|| error.to_string(), ToString::to_string);
        return if error.is_closed() {
            HostFault::Broken(words)
        } else if config.get_ssl_mode() == SslMode::Require && !tls.is_begun() {
            HostFault::NoTls
        } else if config.get_password().is_none() {
            HostFault::NoPassword(settings.user.clone())
        } else {
            HostFault::Login(words)
        };
    };
    if let Some(fault) = TlsFault::of(failed) {
        return HostFault::Tls(fault);
    }
    // So says the library of a server that is read-only; the system would give its number.
    if failed.kind() == io::ErrorKind::PermissionDenied && failed.raw_os_error().is_none() {
        return HostFault::ReadOnly;
    }
    let broke = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
    ];
    match broke.contains(&failed.kind()) {
        true => HostFault::Broken(failed.to_string()),
        false => HostFault::Unreachable(failed.to_string()),
    }
}

/// What the server says when it lets nobody in.
fn refusal(settings: &DatabaseSettings, said: &DbError) -> HostFault {
    let words = || said.message().to_owned();
    let (user, dbname) = (settings.user.clone(), settings.dbname.clone());
    match said.code().code() {
        "28P01" => HostFault::Password(user),
        "28000" => HostFault::NotAdmitted(words()),
        "3D000" => HostFault::NoDatabase(dbname),
        "42501" => HostFault::NoConnectRight { user, dbname },
        "53300" => HostFault::TooManyConnections(words()),
        "57P01" | "57P02" | "57P03" => HostFault::NotReady(words()),
        // A server does not say so to this library: poolers do, of a first message that they
        // cannot keep.
        "08P01" => HostFault::Pooler(Some(words())),
        _ => HostFault::Refused(words()),
    }
}
