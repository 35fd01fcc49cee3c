//! Which proxies calls go through, from four settings, or from the variables that other programs
//! obey. What these hold may be a secret, so no error and no warning quotes them.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use model::proxy::{NoProxy, Proxy, ProxyRules};

use super::proxy_variables::{FOR_HTTP, FOR_HTTPS, FOR_NONE, VARIABLES};
use super::{Origin, RawConfig, yes_or_no};

const PROXY: &str = "proxy";
const PASSWORD_FILE: &str = "proxy_password_file";
const NO_PROXY: &str = "no_proxy";
const FROM_ENV: &str = "proxy_from_env";

impl RawConfig {
    pub(super) fn proxies(&self) -> Result<ProxyRules> {
        let url = self.given(PROXY)?;
        let file = self.given(PASSWORD_FILE)?;
        let no_proxy = self.read(NO_PROXY, |text| {
            let read = text.parse::<NoProxy>();
            read.map_err(|error| error.to_string())
        })?;
        let is_from_env = self.read(FROM_ENV, yes_or_no)?;
        let lonely = match file {
            Some(_) => Some(PASSWORD_FILE),
            None => (!no_proxy.is_empty()).then_some(NO_PROXY),
        };
        match (url, lonely) {
            (Some(_), _) if is_from_env => bail!(
                "the settings {PROXY} (from {}) and {FROM_ENV} (from {}) both say which proxy is \
                 used; remove one",
                self.place(PROXY),
                self.place(FROM_ENV)
            ),
            (Some(_), _) => {
                let proxy = Some(self.proxy(file.is_some())?);
                Ok(ProxyRules {
                    https: proxy.clone(),
                    http: proxy,
                    no_proxy,
                })
            }
            (None, Some(lonely)) if is_from_env => bail!(
                "the setting {lonely} (from {}) is for the setting {PROXY}; with {FROM_ENV} the \
                 variables of the environment count alone: take it out",
                self.place(lonely)
            ),
            (None, Some(lonely)) => bail!(
                "the setting {lonely} (from {}) is for a proxy, and there is no {PROXY}: add that, \
                 or take this out",
                self.place(lonely)
            ),
            (None, None) if is_from_env => self.proxies_from_env(),
            (None, None) => Ok(ProxyRules::default()),
        }
    }

    /// Variables that name a proxy and are not obeyed, in a sentence.
    pub(super) fn ignored_proxies(&self) -> Option<String> {
        let is_from_env = self.read(FROM_ENV, yes_or_no).unwrap_or(false);
        let named = |name: &&str| !FOR_NONE.contains(name);
        let set: Vec<String> = VARIABLES
            .into_iter()
            .filter(named)
            .filter_map(|name| {
                let proxy = of_variable(name, self.proxy_variables.get(name)?);
                Some(proxy.map_or_else(|_| name.to_owned(), |proxy| format!("{name} ({proxy})")))
            })
            .collect();
        if is_from_env || set.is_empty() {
            return None;
        }
        let instead = match self.given(PROXY) {
            Ok(Some(_)) => "the setting proxy counts",
            Ok(None) | Err(_) => "calls to receivers go out directly",
        };
        Some(format!(
            "the environment has {}, which is not obeyed: {instead}. With {FROM_ENV} it is",
            set.join(", ")
        ))
    }

    /// A warning if the password stands where everybody on this machine can read it.
    pub(super) fn exposed_proxy_password(&self) -> Option<String> {
        let written = self
            .values
            .get(PROXY)
            .filter(|written| written.origin == Origin::Flag)?;
        let proxy = Proxy::parse(written.text.trim()).ok()?;
        proxy.has_password().then(|| {
            format!(
                "the password in {} can be read by everybody on this machine, in its list of \
                 processes: write it into a file, and name that in {PASSWORD_FILE}",
                written.place
            )
        })
    }

    fn proxy(&self, has_file: bool) -> Result<Proxy> {
        let (text, place) = (self.text(PROXY), self.place(PROXY));
        let wrong = |error| anyhow!("the setting {PROXY} (from {place}) is wrong: {error}");
        let proxy = Proxy::parse(text).map_err(wrong)?;
        if !has_file {
            return Ok(proxy);
        }
        if proxy.has_password() {
            bail!(
                "the settings {PROXY} (from {place}) and {PASSWORD_FILE} (from {}) both have a \
                 password; take it out of one",
                self.place(PASSWORD_FILE)
            );
        }
        let path = self.text(PASSWORD_FILE);
        let read = std::fs::read_to_string(Path::new(path));
        let password = read.with_context(|| {
            format!("the setting {PASSWORD_FILE} names {path}, and that file cannot be read")
        })?;
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            bail!("the setting {PASSWORD_FILE} names {path}, and that file is empty");
        }
        proxy.with_password(password).map_err(|error| {
            anyhow!("the setting {PROXY} (from {place}), with the password in {path}: {error}")
        })
    }

    fn proxies_from_env(&self) -> Result<ProxyRules> {
        let variable = |names: &[&'static str]| {
            let value = |name: &&'static str| Some((*name, self.proxy_variables.get(*name)?));
            names.iter().find_map(value)
        };
        let proxy = |names: &[&'static str]| {
            let read = variable(names).map(|(name, value)| of_variable(name, value));
            read.transpose()
        };
        let no_proxy = variable(&FOR_NONE).map(|(name, value)| {
            let read = value.parse::<NoProxy>();
            read.map_err(|error| anyhow!("the variable {name}, which {FROM_ENV} obeys: {error}"))
        });
        Ok(ProxyRules {
            https: proxy(&FOR_HTTPS)?,
            http: proxy(&FOR_HTTP)?,
            no_proxy: no_proxy.transpose()?.unwrap_or_default(),
        })
    }

    fn text(&self, key: &str) -> &str {
        let written = self.values.get(key);
        written.map_or("", |written| written.text.trim())
    }

    fn place(&self, key: &str) -> &str {
        self.values.get(key).map_or("", |written| &written.place)
    }
}

/// Other programs take it without a scheme, too.
fn of_variable(name: &str, value: &str) -> Result<Proxy> {
    let value = value.trim();
    let read = match value.contains("://") {
        true => Proxy::parse(value),
        false => Proxy::parse(&format!("http://{value}")),
    };
    read.map_err(|error| anyhow!("the variable {name}, which {FROM_ENV} obeys, is wrong: {error}"))
}
