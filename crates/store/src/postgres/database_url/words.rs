//! Settings from libpq's words: what each of those that are obeyed means, and which contradict one
//! another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use super::known_words::{self, OF_TLS};
use super::options;
use super::split::Words;
use crate::postgres::settings::{
    DatabaseHost, DatabaseSettings, HostAddress, NetworkSettings, PasswordSource, RootCertificates,
    Secret, SessionLimits, TlsMode, TlsSettings, TlsVersion,
};

const PORT: u16 = 5432;

/// The longest that any wait of the network may be set to.
const SECONDS_MAX: u64 = 600;

/// Words by name, each once.
struct Draft {
    words: BTreeMap<String, String>,
}

pub(super) fn settings(
    words: Words,
    password_file: Option<&Path>,
) -> Result<DatabaseSettings, String> {
    let draft = Draft::new(words)?;
    let hosts = draft.hosts()?;
    let user = draft.name("user", "postgres://willcall@db.example.com/willcall")?;
    let dbname = draft.name("dbname", "postgres://willcall@db.example.com/willcall")?;
    let tls = draft.tls(&hosts)?;
    Ok(DatabaseSettings {
        user,
        dbname,
        password: draft.password(password_file)?,
        channel_binding: draft.channel_binding(tls.mode)?,
        network: draft.network()?,
        application_name: draft
            .text("application_name")
            .or_else(|| draft.text("fallback_application_name"))
            .map(str::to_owned),
        options: draft.text("options").map(options::check).transpose()?,
        limits: SessionLimits::default(),
        hosts,
        tls,
    })
}

impl Draft {
    fn new(words: Words) -> Result<Self, String> {
        let has_password = words.iter().any(|(word, _)| word.contains("password"));
        let mut draft = Self {
            words: BTreeMap::new(),
        };
        for (word, value) in words {
            known_words::check(&word, &value, has_password)?;
            if draft.words.contains_key(&word) {
                return Err(format!(
                    "{word} is in the database URL twice: take one of them out"
                ));
            }
            draft.words.insert(word, value);
        }
        Ok(draft)
    }

    /// The value of a word, if it has one. An empty value stands for the default, as in libpq.
    fn text(&self, word: &str) -> Option<&str> {
        let value = self.words.get(word).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    fn name(&self, word: &str, example: &str) -> Result<String, String> {
        let missing = || format!("the database URL names no {word}: write it as in {example}");
        self.text(word).map(str::to_owned).ok_or_else(missing)
    }

    fn choice<T: Copy>(&self, word: &str, default: T, choices: &[(&str, T)]) -> Result<T, String> {
        let Some(value) = self.text(word) else {
            return Ok(default);
        };
        let found = choices.iter().find(|(known, _)| *known == value);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            format!(
                "{word} in the database URL has an unknown value: write one of {}",
                known.join(", ")
            )
        })
    }

    fn number(&self, word: &str, default: u64, max: u64) -> Result<u64, String> {
        let Some(value) = self.text(word) else {
            return Ok(default);
        };
        let number = value
            .parse()
            .ok()
            .filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| {
            format!("{word} in the database URL must be a whole number from 1 to {max}")
        })
    }

    /// `host` has names, or folders of sockets, and `hostaddr` where to connect instead of looking
    /// the names up. One port stands for all.
    fn hosts(&self) -> Result<Vec<DatabaseHost>, String> {
        let names = self.list("host");
        let addresses = self.list("hostaddr");
        let ports = self.list("port");
        let count = names.len().max(addresses.len());
        if count == 0 {
            return Err("the database URL names no host: write it as in \
                 postgres://willcall@db.example.com/willcall, or the folder of a socket as in \
                 postgres://willcall@/willcall?host=/run/postgresql"
                .to_owned());
        }
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return Err(
                "host and hostaddr in the database URL must name equally many, in the same order"
                    .to_owned(),
            );
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(
                "the database URL must name one port for all hosts, or one for each".to_owned(),
            );
        }
        let hosts = (0..count).map(|index| {
            let port = ports.get(index).or_else(|| ports.first()).copied();
            let at = |list: &[&str]| list.get(index).map(|text| (*text).to_owned());
            host(at(&names), at(&addresses), port.unwrap_or(""))
        });
        hosts.collect()
    }

    fn list(&self, word: &str) -> Vec<&str> {
        self.text(word)
            .map(|list| list.split(',').map(str::trim).collect())
            .unwrap_or_default()
    }

    fn password(&self, password_file: Option<&Path>) -> Result<PasswordSource, String> {
        let given = self.text("password");
        let passfile = self.text("passfile");
        match (given, passfile, password_file) {
            (None, None, None) => Ok(PasswordSource::None),
            (Some(password), None, None) => Ok(PasswordSource::Given(Secret(password.to_owned()))),
            (None, Some(passfile), None) => Ok(PasswordSource::Passfile(PathBuf::from(passfile))),
            (None, None, Some(file)) => Ok(PasswordSource::File(file.to_owned())),
            _ => Err(
                "the database's password comes from more than one place: keep one of the URL, \
                 passfile in it, and the setting for a file of its own"
                    .to_owned(),
            ),
        }
    }

    fn channel_binding(&self, mode: TlsMode) -> Result<ChannelBinding, String> {
        let choices = [
            ("disable", ChannelBinding::Disable),
            ("prefer", ChannelBinding::Prefer),
            ("require", ChannelBinding::Require),
        ];
        let chosen = self.choice("channel_binding", ChannelBinding::Prefer, &choices)?;
        if chosen == ChannelBinding::Require && mode == TlsMode::Disable {
            return Err(
                "channel_binding=require in the database URL needs TLS: write \
                 sslmode=verify-full, or at least require"
                    .to_owned(),
            );
        }
        Ok(chosen)
    }

    fn network(&self) -> Result<NetworkSettings, String> {
        let default = NetworkSettings::default();
        let seconds = |word, default: Duration| {
            let number = self.number(word, default.as_secs(), SECONDS_MAX)?;
            Ok::<_, String>(Duration::from_secs(number))
        };
        let user_timeout = u64::try_from(default.tcp_user_timeout.as_millis()).unwrap_or(u64::MAX);
        let user_timeout = self.number(
            "tcp_user_timeout",
            user_timeout,
            SECONDS_MAX.saturating_mul(1000),
        )?;
        let count = self.number("keepalives_count", default.keepalives_count.into(), 100)?;
        Ok(NetworkSettings {
            connect_timeout: seconds("connect_timeout", default.connect_timeout)?,
            keepalives: self.choice("keepalives", true, &[("0", false), ("1", true)])?,
            keepalives_idle: seconds("keepalives_idle", default.keepalives_idle)?,
            keepalives_interval: seconds("keepalives_interval", default.keepalives_interval)?,
            keepalives_count: u32::try_from(count).unwrap_or(u32::MAX),
            tcp_user_timeout: Duration::from_millis(user_timeout),
        })
    }

    fn tls(&self, hosts: &[DatabaseHost]) -> Result<TlsSettings, String> {
        let is_system = self.text("sslrootcert") == Some("system");
        let (mode, verification) = self.tls_mode(is_system)?;
        let of_tls = OF_TLS.iter().find(|word| self.text(word).is_some());
        if let Some(word) = of_tls.filter(|_| mode == TlsMode::Disable) {
            return Err(format!(
                "{word} in the database URL is about TLS, which sslmode=disable turns off: take \
                 one of them out"
            ));
        }
        let roots = match self.text("sslrootcert") {
            Some("system") => Some(RootCertificates::System),
            Some(file) => Some(RootCertificates::File(PathBuf::from(file))),
            None if verification == Verification::None => None,
            None => {
                return Err(
                    "sslmode=verify-ca and verify-full in the database URL need sslrootcert: a \
                     file with the certificates of authorities, or system for those that this \
                     machine trusts"
                        .to_owned(),
                );
            }
        };
        let has_no_name = |host: &DatabaseHost| match &host.address {
            HostAddress::Name(name, address) => {
                address.is_some_and(|address| *name == address.to_string())
            }
            HostAddress::Socket(_) => false,
        };
        if verification == Verification::IssuerAndName && hosts.iter().any(has_no_name) {
            return Err(
                "sslmode=verify-full in the database URL needs the name of each host: write host \
                 beside hostaddr"
                    .to_owned(),
            );
        }
        let versions = [
            ("TLSv1.2", TlsVersion::Tls12),
            ("TLSv1.3", TlsVersion::Tls13),
        ];
        // Older ones as the oldest allow what is spoken here.
        let older = [("TLSv1", TlsVersion::Tls12), ("TLSv1.1", TlsVersion::Tls12)];
        let oldest = [&versions[..], &older].concat();
        let oldest = self.choice("ssl_min_protocol_version", TlsVersion::Tls12, &oldest)?;
        let newest = self.choice("ssl_max_protocol_version", TlsVersion::Tls13, &versions)?;
        if newest < oldest {
            return Err(
                "ssl_max_protocol_version in the database URL is below ssl_min_protocol_version"
                    .to_owned(),
            );
        }
        Ok(TlsSettings {
            mode,
            roots,
            verifies_name: verification == Verification::IssuerAndName,
            client: self.client_certificate()?,
            sends_name: self.choice("sslsni", true, &[("0", false), ("1", true)])?,
            oldest,
            newest,
        })
    }

    fn tls_mode(&self, is_system: bool) -> Result<(TlsMode, Verification), String> {
        let choices = [
            ("disable", (TlsMode::Disable, Verification::None)),
            ("allow", (TlsMode::Allow, Verification::None)),
            ("prefer", (TlsMode::Prefer, Verification::None)),
            ("require", (TlsMode::Require, Verification::None)),
            ("verify-ca", (TlsMode::Require, Verification::Issuer)),
            (
                "verify-full",
                (TlsMode::Require, Verification::IssuerAndName),
            ),
        ];
        let is_required = self.choice("ssl", false, &[("true", true)])?;
        if is_required && self.text("sslmode").is_some() {
            return Err(
                "ssl and sslmode in the database URL say the same: take ssl out".to_owned(),
            );
        }
        let default = match (is_system, is_required) {
            (true, _) => (TlsMode::Require, Verification::IssuerAndName),
            (false, true) => (TlsMode::Require, Verification::None),
            (false, false) => (TlsMode::Prefer, Verification::None),
        };
        let chosen = self.choice("sslmode", default, &choices)?;
        if is_system && chosen.1 != Verification::IssuerAndName {
            return Err(
                "sslrootcert=system in the database URL is for sslmode=verify-full only: anybody \
                 can have a certificate of such an authority, for another name"
                    .to_owned(),
            );
        }
        Ok(chosen)
    }

    fn client_certificate(&self) -> Result<Option<(PathBuf, PathBuf)>, String> {
        let modes = [("disable", false), ("allow", true)];
        let shows = self.choice("sslcertmode", true, &modes)?;
        match (self.text("sslcert"), self.text("sslkey")) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) if !shows => Err(
                "sslcertmode=disable in the database URL contradicts sslcert: take one of them out"
                    .to_owned(),
            ),
            (Some(certificate), Some(key)) => {
                Ok(Some((PathBuf::from(certificate), PathBuf::from(key))))
            }
            _ => Err(
                "sslcert and sslkey in the database URL belong together: name both, or neither"
                    .to_owned(),
            ),
        }
    }
}

/// How much about a server's certificate has to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    None,
    Issuer,
    IssuerAndName,
}

fn host(name: Option<String>, address: Option<String>, port: &str) -> Result<DatabaseHost, String> {
    let address = address.filter(|address| !address.is_empty());
    let address: Option<IpAddr> = match address {
        None => None,
        Some(address) => Some(address.parse().map_err(|_| {
            "hostaddr in the database URL must be IP addresses; names belong into host".to_owned()
        })?),
    };
    let port = match port {
        "" => PORT,
        port => {
            let number = port.parse().ok().filter(|number| *number != 0);
            let wrong = "a port in the database URL is no number from 1 to 65535";
            number.ok_or_else(|| wrong.to_owned())?
        }
    };
    let name = name.filter(|name| !name.is_empty());
    let address = match (name, address) {
        (Some(folder), None) if folder.starts_with('/') => {
            HostAddress::Socket(PathBuf::from(folder))
        }
        (Some(folder), Some(_)) if folder.starts_with('/') => {
            return Err(
                "host in the database URL is the folder of a socket, which needs no hostaddr"
                    .to_owned(),
            );
        }
        (Some(name), _) if name.starts_with('@') => {
            return Err(
                "host in the database URL is an abstract socket, which is not supported: name \
                 the folder of one that is a file"
                    .to_owned(),
            );
        }
        (Some(name), address) => HostAddress::Name(name, address),
        (None, Some(address)) => HostAddress::Name(address.to_string(), Some(address)),
        (None, None) => return Err("a host in the database URL has no name".to_owned()),
    };
    Ok(DatabaseHost { address, port })
}
