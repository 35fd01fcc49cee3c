//! Every setting: name, default, meaning and bounds. This is the only reader of the environment.
//!
//! One table defines the flags, the `WILLCALL_…` variables and the keys of the file. A flag wins
//! over a variable, a variable over the file, the file over the default. A wrong value stops the
//! start with an error that names the setting and where its value came from. Former names are still
//! read, each with a warning (`former.rs`).

mod brand;
mod changed;
mod former;
mod mail;
mod master_key;
mod proxy;
mod proxy_variables;
mod schedules;
mod settings;
mod store;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Arg, ArgMatches};
use engine::MailServer;
use model::address::{InvalidNetwork, Networks, PrivateTargets};
use model::proxy::ProxyRules;
use model::schedule::Schedule;
use model::signing::Keyring;
use model::tenant::DialectName;
use web::dialects::{LogRetention, Trigger};

use self::former::FORMER;
pub(crate) use self::settings::SETTINGS;
use self::settings::{FLAG, Setting};
use crate::data_folder::DataFolder;
use crate::listen_address::{ListenAddress, SOCKET_NAME, SOCKET_PEER};
use crate::store_location::StoreLocation;

/// Most places to listen on.
const LISTENERS_MAX: usize = 8;

/// All settings, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// At least one.
    pub(crate) listen: Vec<ListenAddress>,
    /// The mode of the files of sockets.
    pub(crate) socket_mode: u32,
    pub(crate) store: StoreLocation,
    /// The folder of the setting `data_dir`, also if the store is in a database.
    pub(crate) data_folder: DataFolder,
    pub(crate) allowed_hosts: Vec<String>,
    /// Where people reach this server, without a slash at the end.
    pub(crate) public_url: Option<String>,
    /// The mail server for alerts.
    pub(crate) mail: Option<MailServer>,
    pub(crate) alert_failing_minutes: i64,
    pub(crate) alert_backlog: u64,
    pub(crate) private_targets: PrivateTargets,
    /// Which calls go through which proxy.
    pub(crate) proxies: ProxyRules,
    /// A sentence about variables that name a proxy and are not obeyed.
    pub(crate) ignored_proxies: Option<String>,
    pub(crate) ca_files: Vec<PathBuf>,
    /// The master keys.
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) user_agent: String,
    /// Code and label.
    pub(crate) action_types: Vec<(String, String)>,
    pub(crate) retention: LogRetention,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) strict_triggers: bool,
    pub(crate) strict_action_types: bool,
    pub(crate) max_concurrency_per_webhook: usize,
    /// The longest time limit of a webhook's own, in seconds.
    pub(crate) max_call_seconds: u32,
    pub(crate) schedules: BTreeMap<String, Schedule>,
    pub(crate) max_in_flight: usize,
    pub(crate) max_connections: usize,
    pub(crate) trusted_proxies: Networks,
    pub(crate) brand: web::brand::Brand,
    pub(crate) frame_ancestors: web::FrameAncestors,
    pub(crate) log_level: tracing::Level,
    pub(crate) log_format: LogFormat,
    /// One warning for each former name that was read.
    pub(crate) warnings: Vec<String>,
    /// The settings that differ from their defaults, for the log.
    pub(crate) changed: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
    Journald,
}

/// The environment variable of a setting.
pub(crate) fn variable(key: &str) -> String {
    format!("WILLCALL_{}", key.to_ascii_uppercase())
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

/// Flags for the settings named in `keys`, hidden ones for their former names, and `--config`.
pub(crate) fn arguments(keys: &[&str]) -> Vec<Arg> {
    let named = SETTINGS
        .iter()
        .filter(|setting| keys.contains(&setting.key));
    let flag = |setting: &Setting| {
        let default = match setting.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        empty_flag(setting.key, setting.value).help(format!(
            "{}{default} [variable: {}]",
            setting.meaning,
            variable(setting.key)
        ))
    };
    let former = FORMER.iter().filter_map(|former| {
        let value = match former.now {
            Some(now) if keys.contains(&now) => "VALUE",
            Some(_) => return None,
            None => FLAG,
        };
        Some(empty_flag(former.name, value).hide(true))
    });
    let config = Arg::new("config").long("config").value_name("FILE").help(
        "A TOML file with settings, e.g. listen = \"127.0.0.1:8080\" [variable: WILLCALL_CONFIG]",
    );
    std::iter::once(config)
        .chain(named.map(flag))
        .chain(former)
        .collect()
}

fn empty_flag(name: &'static str, value: &'static str) -> Arg {
    let arg = Arg::new(name).long(dashed(name)).value_name(value);
    match value {
        // A bare flag means true; a value has to come after an equals sign.
        FLAG => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

/// The keys of all settings.
pub(crate) fn all_keys() -> Vec<&'static str> {
    SETTINGS.iter().map(|setting| setting.key).collect()
}

/// Every name that a setting has or had.
fn names() -> impl Iterator<Item = &'static str> {
    let former = FORMER.iter().map(|former| former.name);
    all_keys().into_iter().chain(former)
}

impl Config {
    /// Reads flags, environment and file, in this order of precedence.
    ///
    /// # Errors
    /// If a setting is unknown, has a wrong value, or is given under two names in one place.
    pub(crate) fn load(matches: &ArgMatches) -> Result<Self> {
        Self::gather(matches, &environment())?.check()
    }

    /// The name under which others know this server: the first that is no wildcard and not its own
    /// machine's.
    pub(crate) fn public_name(&self) -> Option<&str> {
        let host = self.public_host()?;
        Some(host.split_once(':').map_or(host, |(name, _)| name))
    }

    /// The same with the port, if it is named with one.
    pub(crate) fn public_host(&self) -> Option<&str> {
        let is_here = |name: &str| {
            let address = name.parse().is_ok_and(|own: IpAddr| own.is_loopback());
            address || name == "localhost" || name.ends_with(".localhost")
        };
        self.named_hosts()
            .find(|host| !is_here(host.split_once(':').map_or(*host, |(name, _)| name)))
    }

    /// How URLs of this machine to the server begin; nothing if it has sockets only.
    pub(crate) fn own_url(&self) -> Option<String> {
        self.listen.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) if address.ip().is_unspecified() => {
                Some(format!("http://localhost:{}", address.port()))
            }
            ListenAddress::Tcp(address) => Some(format!("http://{address}")),
            ListenAddress::Socket(_) => None,
        })
    }

    /// The hosts that are allowed by their names.
    pub(crate) fn named_hosts(&self) -> impl Iterator<Item = &str> {
        let names = self.allowed_hosts.iter().map(String::as_str);
        names.filter(|name| !name.is_empty() && !name.starts_with('*'))
    }

    /// The defaults, with the store in the folder `data_dir`, and with receivers on this machine
    /// allowed.
    pub(crate) fn for_demo(data_dir: PathBuf) -> Result<Self> {
        let defaults = Self::gather(
            &clap::Command::new("demo").get_matches_from(["demo"]),
            &BTreeMap::new(),
        )?;
        let private_targets = "127.0.0.0/8".parse()?;
        Ok(Self {
            store: StoreLocation::Folder(DataFolder::new(data_dir.clone())),
            data_folder: DataFolder::new(data_dir),
            private_targets,
            ..defaults.check()?
        })
    }

    fn gather(matches: &ArgMatches, variables: &BTreeMap<String, String>) -> Result<RawConfig> {
        let flag = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
        let file = flag("config").or_else(|| variables.get("WILLCALL_CONFIG").cloned());
        let (file, keys) = match file {
            Some(path) => (
                format!("the file {path}"),
                read_file(Path::new(&path)).with_context(|| format!("the settings file {path}"))?,
            ),
            None => (String::new(), BTreeMap::new()),
        };
        for name in variables.keys() {
            if name != "WILLCALL_CONFIG"
                && !proxy_variables::is_one(name)
                && !names().any(|known| variable(known) == *name)
            {
                bail!("the variable {name} is no setting; `willcall serve --help` lists them");
            }
        }
        let written = |name: &'static str, text: String, origin, place| Written {
            name,
            text,
            origin,
            place,
        };
        // Each wins over the next.
        let levels: [&Level<'_>; 3] = [
            &|name| {
                Some(written(
                    name,
                    flag(name)?,
                    Origin::Flag,
                    format!("the flag --{}", dashed(name)),
                ))
            },
            &|name| {
                let variable = variable(name);
                let text = variables.get(&variable)?.clone();
                let place = format!("the variable {variable}");
                Some(written(name, text, Origin::Variable, place))
            },
            &|name| {
                let text = keys.get(name)?.clone();
                Some(written(name, text, Origin::File, file.clone()))
            },
        ];
        let mut raw = RawConfig {
            proxy_variables: proxy_variables::set(variables),
            ..RawConfig::default()
        };
        for setting in SETTINGS {
            let mut found = None;
            for level in levels {
                found = found.or(raw.choose(setting.key, level)?);
            }
            let value = found.unwrap_or_else(|| {
                let (text, place) = (setting.default.to_owned(), "the default".to_owned());
                written(setting.key, text, Origin::Default, place)
            });
            raw.values.insert(setting.key, value);
        }
        for gone in FORMER.iter().filter(|former| former.now.is_none()) {
            let written = levels.iter().filter_map(|level| level(gone.name));
            raw.warnings
                .extend(written.map(|written| gone.warning(&written.place)));
        }
        Ok(raw)
    }
}

/// A value as it was written, under which name, and where.
struct Written {
    name: &'static str,
    text: String,
    origin: Origin,
    /// The origin in words.
    place: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Flag,
    Variable,
    File,
    Default,
}

/// Looks a name up among the flags, the variables or the keys of the file.
type Level<'a> = dyn Fn(&'static str) -> Option<Written> + 'a;

/// Every setting as text, and the warnings about former names.
#[derive(Default)]
struct RawConfig {
    values: BTreeMap<&'static str, Written>,
    /// What other programs know proxies by.
    proxy_variables: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl RawConfig {
    /// Looks a setting up at one level, under its name or a former one. Both at once are an error,
    /// because nobody can know which value is meant.
    fn choose(&mut self, key: &'static str, level: &Level<'_>) -> Result<Option<Written>> {
        let mut found = level(key);
        for former in FORMER.iter().filter(|former| former.now == Some(key)) {
            let Some(old) = level(former.name) else {
                continue;
            };
            if let Some(new) = &found {
                bail!(
                    "{} (from {}) and {} (from {}) are two names of one setting; remove {}",
                    new.name,
                    new.place,
                    old.name,
                    old.place,
                    old.name
                );
            }
            self.warnings.push(former.warning(&old.place));
            found = Some(old);
        }
        Ok(found)
    }

    fn check(&self) -> Result<Config> {
        let store = self.store()?;
        let proxies = self.proxies()?;
        let exposed = self.exposed_password(&store).into_iter();
        let exposed = exposed.chain(self.exposed_proxy_password());
        Ok(Config {
            ignored_proxies: self.ignored_proxies(),
            proxies,
            data_folder: self.data_folder()?,
            listen: self.read("listen", listen)?,
            socket_mode: self.read("socket_mode", socket_mode)?,
            store,
            allowed_hosts: self
                .read("allowed_hosts", |text| list(text).map(host_name).collect())?,
            public_url: self.read("public_url", public_url)?,
            mail: self.mail()?,
            alert_failing_minutes: self.number("alert_failing_minutes", 1, 1_440)?,
            alert_backlog: u64::try_from(self.number("alert_backlog", 1, 1_000_000_000)?)?,
            private_targets: self.read("allow_private_targets", |text| {
                text.parse()
                    .map_err(|error: model::address::InvalidNetwork| error.to_string())
            })?,
            ca_files: self.read("ca_files", |text| {
                Ok(list(text).map(PathBuf::from).collect())
            })?,
            keyring: Arc::new(self.keyring()?),
            user_agent: self.read("user_agent", header_text)?,
            action_types: self
                .read("action_types", |text| list(text).map(action_type).collect())?,
            retention: self.read("retention_days", retention)?,
            triggers: self.read("triggers", |text| list(text).map(trigger).collect())?,
            strict_triggers: self.read("strict_triggers", yes_or_no)?,
            strict_action_types: self.read("strict_action_types", yes_or_no)?,
            max_concurrency_per_webhook: self.count("max_concurrency_per_webhook", 1_024)?,
            max_call_seconds: u32::try_from(self.number("max_call_time", 1, 300)?)?,
            schedules: self.read("schedules", |text| schedules::schedules(list(text)))?,
            max_in_flight: self.count("max_in_flight", 16_384)?,
            max_connections: self.count("max_connections", 65_536)?,
            trusted_proxies: self.read("trusted_proxies", trusted_proxies)?,
            brand: web::brand::Brand {
                name: self.read("brand_name", web::brand::name)?,
                style: self.read("brand_color", web::brand::style)?,
                logo: self.read("brand_logo_file", brand::logo)?,
            },
            frame_ancestors: self.read("frame_ancestors", |text| {
                web::FrameAncestors::read(list(text))
            })?,
            log_level: self.read("log_level", |text| match text {
                "error" => Ok(tracing::Level::ERROR),
                "warn" => Ok(tracing::Level::WARN),
                "info" => Ok(tracing::Level::INFO),
                "debug" => Ok(tracing::Level::DEBUG),
                _ => Err("it has to be error, warn, info or debug".to_owned()),
            })?,
            log_format: self.read("log_format", |text| match text {
                "auto" => Ok(LogFormat::Auto),
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                "journald" => Ok(LogFormat::Journald),
                _ => Err("it has to be auto, text, json or journald".to_owned()),
            })?,
            warnings: self.warnings.iter().cloned().chain(exposed).collect(),
            changed: self.changed(),
        })
    }

    fn read<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        let Written {
            name, text, place, ..
        } = self
            .values
            .get(key)
            .ok_or_else(|| anyhow!("the setting {key} is not in the table"))?;
        parse(text.trim())
            .map_err(|why| anyhow!("the setting {name} is \"{text}\" (from {place}), but {why}"))
    }

    fn number(&self, key: &str, least: i64, most: i64) -> Result<i64> {
        self.read(key, |text| match text.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "it has to be a whole number from {least} to {most}"
            )),
        })
    }

    fn count(&self, key: &str, most: i64) -> Result<usize> {
        Ok(usize::try_from(self.number(key, 1, most)?)?)
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "it has to be true or false".to_owned())
}

/// Where to listen, each place once.
fn listen(text: &str) -> Result<Vec<ListenAddress>, String> {
    let mut addresses: Vec<ListenAddress> = Vec::new();
    for item in list(text) {
        let address = item.parse()?;
        if addresses.contains(&address) {
            return Err(format!("{address} is there twice"));
        }
        addresses.push(address);
    }
    match addresses.len() {
        0 => Err("it has to name an address with a port, or a socket".to_owned()),
        count if count > LISTENERS_MAX => Err(format!("there may be {LISTENERS_MAX} at most")),
        _ => Ok(addresses),
    }
}

/// Read and write for owner, group and others, in octal.
fn socket_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    let own = |mode: &u32| mode & !0o666 == 0 && mode & 0o600 == 0o600;
    mode.filter(own).ok_or_else(|| {
        "it has to be 600 (this user), 660 (also its group) or 666 (everybody on this machine)"
            .to_owned()
    })
}

fn trusted_proxies(text: &str) -> Result<Networks, String> {
    let own = SOCKET_PEER.to_string();
    let items = list(text).map(|item| match item {
        SOCKET_NAME => &own,
        item => item,
    });
    let items: Vec<&str> = items.collect();
    items.join(",").parse().map_err(|error: InvalidNetwork| {
        format!(
            "\"{}\" is not an address, a network or {SOCKET_NAME}",
            error.0
        )
    })
}

/// A name, or a wildcard for all below one; either with a port, for that one only.
fn host_name(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "\"{text}\" is not a host name such as tickets.example.org or tickets.example.org:8443, \
             nor *.example.org for all names below one (without scheme and path)"
        )
    };
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse::<u16>().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let plain = |name: &str| {
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        !name.starts_with('.') && name.bytes().all(sound)
    };
    let name = name.trim_end_matches('.');
    let is_name = match name.strip_prefix("*.") {
        Some(parent) => plain(parent) && !parent.is_empty(),
        None => plain(name),
    };
    if !is_name || port.is_some_and(|port| port == 0 || name.is_empty()) {
        return Err(wrong());
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(name.to_ascii_lowercase() + &port)
}

fn public_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['?', '#', '@']);
    match model::target::Target::parse(text) {
        Ok(_) if is_plain => Ok(Some(text.trim_end_matches('/').to_owned())),
        Ok(_) | Err(_) => Err("it has to be a URL such as https://tickets.example.org".to_owned()),
    }
}

fn header_text(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
    if printable && !text.is_empty() && text.len() <= 200 {
        Ok(text.to_owned())
    } else {
        Err("it has to be 1 to 200 printable ASCII characters".to_owned())
    }
}

fn action_type(text: &str) -> Result<(String, String), String> {
    let (code, label) = text
        .split_once('=')
        .map_or((text, text), |(c, l)| (c.trim(), l.trim()));
    let plain = code
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*'));
    if plain && code.contains('.') && !label.is_empty() {
        Ok((code.to_owned(), label.to_owned()))
    } else {
        Err(format!(
            "\"{text}\" is not an action type such as my.plugin.thing.happened=A thing happened"
        ))
    }
}

/// Days for all platforms, or for one by its name.
fn retention(text: &str) -> Result<LogRetention, String> {
    let mut kept = LogRetention::default();
    let known = web::dialects::all(&web::dialects::DialectOptions::default()).names();
    for item in list(text) {
        let (name, days) = match item.split_once('=') {
            Some((name, days)) => (Some(name.trim()), days.trim()),
            None => (None, item),
        };
        let days = days.parse::<i64>().ok();
        let days = days
            .filter(|days| (1..=3_650).contains(days))
            .ok_or_else(|| {
                format!(
                    "\"{item}\" is not a whole number of days from 1 to 3650, alone or as in name=7"
                )
            })?;
        let ms = days * 24 * 3_600_000;
        if let Some(name) = name
            && !known.iter().any(|known| known.as_str() == name)
        {
            let known: Vec<&str> = known.iter().map(DialectName::as_str).collect();
            return Err(format!(
                "\"{name}\" is no platform; there are {}",
                known.join(", ")
            ));
        }
        let twice = match name {
            Some(name) => kept.own_ms.insert(name.to_owned(), ms),
            None => kept.all_ms.replace(ms),
        };
        if twice.is_some() {
            return Err(format!("\"{item}\" sets the same days a second time"));
        }
    }
    Ok(kept)
}

fn trigger(text: &str) -> Result<Trigger, String> {
    let wrong = || {
        format!(
            "\"{text}\" is not a trigger such as order.placed, order.placed>event or \
             ticket_type.update=ticket_type.updated"
        )
    };
    let word = |word: &str| {
        let word = word.trim();
        let plain = word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        (plain && (1..=50).contains(&word.len())).then(|| word.to_owned())
    };
    let (what, name) = match text.split_once('=') {
        Some((what, name)) => (what, Some(name.trim())),
        None => (text, None),
    };
    let (pair, reaches) = match what.split_once('>') {
        Some((pair, reaches)) => (pair, Some(word(reaches).ok_or_else(wrong)?)),
        None => (what, None),
    };
    let (resource, trigger) = pair.split_once('.').ok_or_else(wrong)?;
    let named = |name: &str| {
        let plain = name.split('.').all(|part| word(part).is_some());
        (plain && name.len() <= 200).then(|| name.to_owned())
    };
    Ok(Trigger {
        resource: word(resource).ok_or_else(wrong)?,
        trigger: word(trigger).ok_or_else(wrong)?,
        name: name.map(|name| named(name).ok_or_else(wrong)).transpose()?,
        reaches,
    })
}

/// The values in a file, by the name of the setting.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).context("cannot be read")?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| not_toml(&text, &error))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if !names().any(|name| name == key) {
            bail!(
                "\"{key}\" is no setting; there are: {}",
                all_keys().join(", ")
            );
        }
        let table = value.as_table().filter(|_| key == "schedules");
        let text = table
            .map_or_else(|| as_text(&value), named_texts)
            .ok_or_else(|| {
                anyhow!("the setting {key} has to be a text, a number, or a list of texts")
            })?;
        values.insert(key, text);
    }
    Ok(values)
}

/// What is wrong with a file that is not TOML. The line itself is not quoted: it may hold a
/// password.
fn not_toml(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    anyhow!("not valid TOML, in line {line}: {}", error.message())
}

/// The schedules of a file, each name with a text or with a list of texts.
fn named_texts(table: &toml::Table) -> Option<String> {
    let one = |(name, waits): (&String, &toml::Value)| {
        let waits = as_text(waits)?.replace(',', " ");
        Some(format!("{name}={waits}"))
    };
    let all: Option<Vec<String>> = table.iter().map(one).collect();
    all.map(|all| all.join(","))
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts
                .filter(|texts| texts.iter().all(|text| !text.contains(',')))
                .map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// A variable that an operator's file names.
pub(crate) fn named_variable(name: &str) -> Option<OsString> {
    let mut all = std::env::vars_os();
    all.find(|(own, _)| own == name).map(|(_, value)| value)
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| name.starts_with("WILLCALL_") || proxy_variables::is_one(name))?;
            // A value that is not UTF-8 is wrong for every setting; the check rejects it.
            Some((name, value.to_string_lossy().into_owned()))
        })
        // Variables of the tests, such as WILLCALL_TEST_POSTGRES, are no settings.
        .filter(|(name, _)| !name.starts_with("WILLCALL_TEST_"))
        .collect()
}

#[cfg(test)]
mod tests;
