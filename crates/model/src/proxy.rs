//! Proxies that calls to receivers go through: what a proxy's URL means, and which calls go past
//! it.
//!
//! Only values and rules; `engine/src/proxy.rs` speaks with them. Nothing here shows a password,
//! nor does an error quote what was written: it may hold one.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;

use crate::target::{host_name, split_port};
use crate::url_marks::AUTHORITY_ENDS;

pub use self::exceptions::{InvalidException, NoProxy};

mod exceptions;

/// SOCKS5 has one byte for the length of each (RFC 1929); no HTTP proxy needs more.
pub const CREDENTIAL_BYTES_MAX: usize = 255;

/// A proxy, from a URL such as `http://user:password@proxy.example.org:3128`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyKind,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub credentials: Option<ProxyCredentials>,
}

/// How a proxy is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP with the method CONNECT (RFC 9110, 9.3.6).
    Http,
    /// The same within TLS.
    Https,
    /// SOCKS5 (RFC 1928). It is given addresses that were looked up here.
    Socks5,
    /// SOCKS5 that is given names.
    Socks5h,
}

/// What the proxy knows Willcall by.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    pub user: String,
    pub password: String,
}

/// The URL names no proxy, and why: the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProxy(String);

/// Which calls go through which proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyRules {
    /// For targets with TLS.
    pub https: Option<Proxy>,
    /// For those without.
    pub http: Option<Proxy>,
    pub no_proxy: NoProxy,
}

impl ProxyRules {
    /// The proxy for calls to this target; none if they go out directly.
    pub fn choose(&self, tls: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = match tls {
            true => self.https.as_ref(),
            false => self.http.as_ref(),
        };
        proxy.filter(|_| !self.no_proxy.has(host, port))
    }
}

impl ProxyKind {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn of(scheme: &str) -> Option<Self> {
        let all = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];
        all.into_iter()
            .find(|kind| scheme.eq_ignore_ascii_case(kind.scheme()))
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    fn is_socks(self) -> bool {
        match self {
            Self::Http | Self::Https => false,
            Self::Socks5 | Self::Socks5h => true,
        }
    }
}

impl Proxy {
    /// Reads the URL of a proxy. User and password are percent-decoded.
    pub fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let bad = |why: &str| InvalidProxy(why.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            bad(
                "it has no scheme: write it as http://proxy.example.org:3128, or with https://, \
                 socks5:// or socks5h://",
            )
        })?;
        let kind = ProxyKind::of(scheme)
            .ok_or_else(|| bad("its scheme has to be http, https, socks5 or socks5h"))?;
        let (authority, rest) = rest.split_at(rest.find(AUTHORITY_ENDS).unwrap_or(rest.len()));
        if rest.contains('@') {
            return Err(bad(
                "a /, ?, # or \\ in its user or password has to be written as %2F, %3F, %23 or %5C",
            ));
        }
        if !matches!(rest, "" | "/") {
            return Err(bad("nothing may follow its host and port"));
        }
        let (user_info, place) = match authority.rsplit_once('@') {
            Some((user_info, place)) => (Some(user_info), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place)
            .ok_or_else(|| bad("what follows the colon after its host is no port"))?;
        let host = host_name(host).map_err(|_| bad("its host is neither a name nor an address"))?;
        let port = match port {
            "" => Some(kind.default_port()),
            digits => digits.parse().ok().filter(|port| *port != 0),
        };
        let proxy = Self {
            kind,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.ok_or_else(|| bad("its port has to be from 1 to 65535"))?,
            credentials: user_info.map(credentials).transpose()?,
        };
        proxy.checked()
    }

    /// The same with a password that was written elsewhere.
    pub fn with_password(mut self, password: &str) -> Result<Self, InvalidProxy> {
        let credentials = self.credentials.as_mut();
        let credentials = credentials.ok_or_else(|| {
            let why = "it names no user whose password that is: http://user@proxy.example.org:3128";
            InvalidProxy(why.to_owned())
        })?;
        password.clone_into(&mut credentials.password);
        self.checked()
    }

    pub fn has_password(&self) -> bool {
        let credentials = self.credentials.as_ref();
        credentials.is_some_and(|credentials| !credentials.password.is_empty())
    }

    /// Host and port as in a URL.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    fn checked(self) -> Result<Self, InvalidProxy> {
        let Some(ProxyCredentials { user, password }) = &self.credentials else {
            return Ok(self);
        };
        let why = if user.is_empty() {
            "its user is empty"
        } else if user.len().max(password.len()) > CREDENTIAL_BYTES_MAX {
            "its user and its password may have 255 bytes each"
        } else if user.chars().chain(password.chars()).any(char::is_control) {
            "its user and its password may hold no control characters, such as the end of a line"
        } else if !self.kind.is_socks() && user.contains(':') {
            "its user may hold no colon, which ends it (RFC 7617)"
        } else {
            return Ok(self);
        };
        Err(InvalidProxy(why.to_owned()))
    }
}

impl ProxyCredentials {
    /// The value of the header `Proxy-Authorization` (RFC 7617).
    pub fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// Host and port as in a URL or a request line.
pub fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn credentials(user_info: &str) -> Result<ProxyCredentials, InvalidProxy> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| {
            InvalidProxy(
                "what its user or password is percent-encoded from is not UTF-8".to_owned(),
            )
        })
    };
    Ok(ProxyCredentials {
        user: decoded(user)?,
        password: decoded(password)?,
    })
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (ProxyKind, String, u16, Option<(String, String)>) {
        let proxy = Proxy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let credentials = proxy.credentials.map(|known| (known.user, known.password));
        (proxy.kind, proxy.host, proxy.port, credentials)
    }

    #[test]
    fn a_url_says_how_where_and_as_whom() {
        use ProxyKind::{Http, Https, Socks5, Socks5h};
        let known = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (text, kind, host, port, credentials) in [
            ("http://proxy.test:3128", Http, "proxy.test", 3128, None),
            ("HTTP://Proxy.Test", Http, "proxy.test", 80, None),
            ("https://proxy.test/", Https, "proxy.test", 443, None),
            ("socks5://10.0.0.1", Socks5, "10.0.0.1", 1080, None),
            ("socks5h://[2001:db8::1]:9", Socks5h, "2001:db8::1", 9, None),
            ("http://bücher.test", Http, "xn--bcher-kva.test", 80, None),
            (
                "http://me:p%40%3A%2f@h:1",
                Http,
                "h",
                1,
                known("me", "p@:/"),
            ),
            ("http://me@h:1", Http, "h", 1, known("me", "")),
            (
                "socks5://a%3Ab:c:d@h",
                Socks5,
                "h",
                1080,
                known("a:b", "c:d"),
            ),
            // As browsers read it: the last @ ends user and password.
            ("http://me:a@b@h:1", Http, "h", 1, known("me", "a@b")),
        ] {
            let expected = (kind, host.to_owned(), port, credentials);
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_refused_and_never_quoted() {
        let long = format!("http://me:{}@h", "x".repeat(256));
        for (text, why) in [
            ("", "no scheme"),
            ("me:secret@h:3128", "no scheme"),
            ("socks4://me:secret@h", "scheme has to be"),
            ("http://", "neither a name nor an address"),
            ("http://me:secret@", "neither a name nor an address"),
            ("http://me:secret@h_!", "neither a name nor an address"),
            ("http://[::g]", "neither a name nor an address"),
            ("http://me:secret@h:port", "is no port"),
            ("http://me:sec/ret@h:3128", "%2F"),
            ("http://me:sec#ret@h:3128", "%23"),
            ("http://h:0", "from 1 to 65535"),
            ("http://h:65536", "from 1 to 65535"),
            ("http://h/path", "nothing may follow"),
            ("http://h?secret", "nothing may follow"),
            ("http://:secret@h", "user is empty"),
            ("http://a%3Ab:secret@h", "no colon"),
            ("http://me:secret%0A@h", "control characters"),
            ("http://me:secret%ff@h", "not UTF-8"),
            (&long, "255 bytes"),
        ] {
            let words = Proxy::parse(text).expect_err(text).to_string();
            assert!(words.contains(why), "{text}: {words}");
            assert!(!words.contains("sec"), "{text}: {words}");
        }
    }

    #[test]
    fn a_password_from_elsewhere_needs_a_user() {
        let proxy = Proxy::parse("http://me@h").unwrap();
        assert!(!proxy.has_password());
        let proxy = proxy.with_password("s3cret").unwrap();
        assert!(proxy.has_password());
        assert!(
            Proxy::parse("http://h")
                .unwrap()
                .with_password("s")
                .is_err()
        );
        let two_lines = Proxy::parse("http://me@h").unwrap().with_password("a\nb");
        assert!(two_lines.is_err());
    }

    #[test]
    fn a_proxy_prints_without_its_credentials() {
        let proxy = Proxy::parse("http://ursula:secret@[::1]:3128").unwrap();
        assert_eq!(proxy.to_string(), "http://[::1]:3128");
        let shown = format!("{proxy:?} {:?}", proxy.credentials);
        assert!(
            !shown.contains("ursula") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn the_scheme_of_the_target_chooses_the_proxy_and_exceptions_choose_none() {
        let rules = ProxyRules {
            https: Some(Proxy::parse("http://secure").unwrap()),
            http: None,
            no_proxy: "near.test".parse().unwrap(),
        };
        let chosen = |tls, host| rules.choose(tls, host, 443).map(ToString::to_string);
        assert_eq!(chosen(true, "far.test").unwrap(), "http://secure:80");
        assert_eq!(chosen(false, "far.test"), None);
        assert_eq!(chosen(true, "near.test"), None);
        assert_eq!(ProxyRules::default().choose(true, "far.test", 443), None);
    }
}
