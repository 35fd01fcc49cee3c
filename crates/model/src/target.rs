//! Target: a target URL taken apart into what a call needs, and the same URL without secrets.
//!
//! A dialect decides which URLs it accepts; this decides what they mean on the wire: host in lower
//! case and punycode, dot segments resolved, other than ASCII percent-encoded, no fragment
//! (RFC 3986 as browsers read it), user and password as Basic credentials (RFC 7617).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// Where to connect and what to ask for.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// The `Host` header: brackets and a port that is not the scheme's own included.
    pub authority: String,
    pub path_and_query: String,
    /// The `Authorization` header, if the URL has a user and a password.
    pub authorization: Option<String>,
}

/// The URL cannot be called, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTarget(pub String);

impl Target {
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        let url = Url::parse(text).map_err(|error| BadTarget(error.to_string()))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(BadTarget(format!("{other} is not http or https"))),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(BadTarget("no host".to_owned())),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or_else(|| BadTarget("port 0 cannot be called".to_owned()))?;
        let name = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self {
            tls,
            host,
            port,
            authority,
            path_and_query,
            authorization: basic(text),
        })
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}{})", self.authority, self.path_and_query)
    }
}

/// The URL with its user and password replaced by three stars: what may be shown and logged.
pub fn masked(text: &str) -> String {
    match split_user_info(text) {
        Some((before, _, after)) => format!("{before}***@{after}"),
        None => text.to_owned(),
    }
}

fn basic(text: &str) -> Option<String> {
    let (_, user_info, _) = split_user_info(text)?;
    let (user, password) = user_info.split_once(':')?;
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
}

/// What stands before, in and after the user information. Read from the text as typed, because
/// a parsed URL no longer tells an empty password from none.
fn split_user_info(text: &str) -> Option<(&str, &str, &str)> {
    let authority_at = text.find("://")? + 3;
    let (before, rest) = text.split_at_checked(authority_at)?;
    let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let at = rest.get(..authority_end)?.rfind('@')?;
    Some((before, rest.get(..at)?, rest.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> (String, String, Option<String>) {
        let target = Target::parse(text).unwrap();
        (
            target.authority,
            target.path_and_query,
            target.authorization,
        )
    }

    #[test]
    fn what_is_called_is_what_recorded_calls_had() {
        let plain = |authority: &str, path: &str| (authority.to_owned(), path.to_owned(), None);
        assert_eq!(
            call("http://user:p%40ss@127.0.0.1:19544/variant/basic?x=1&y=%C3%A4#frag"),
            (
                "127.0.0.1:19544".to_owned(),
                "/variant/basic?x=1&y=%C3%A4".to_owned(),
                Some("Basic dXNlcjpwQHNz".to_owned())
            )
        );
        assert_eq!(
            call("http://tok@127.0.0.1:19544/u"),
            plain("127.0.0.1:19544", "/u")
        );
        assert_eq!(
            call("http://127.0.0.1:1/umläut"),
            plain("127.0.0.1:1", "/uml%C3%A4ut")
        );
        assert_eq!(
            call("HTTP://LOCALHOST:1/Upper"),
            plain("localhost:1", "/Upper")
        );
        assert_eq!(
            call("http://127.0.0.1:1?v=n"),
            plain("127.0.0.1:1", "/?v=n")
        );
        assert_eq!(
            call("http://127.0.0.1:1/v/../a//b"),
            plain("127.0.0.1:1", "/a//b")
        );
        assert_eq!(
            call("https://münchen.example/"),
            plain("xn--mnchen-3ya.example", "/")
        );
        assert_eq!(call("http://[::1]:80/x"), plain("[::1]", "/x"));
    }

    #[test]
    fn host_and_port_are_what_to_connect_to() {
        let target = Target::parse("https://[::1]/x").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.tls),
            ("::1", 443, true)
        );
        let target = Target::parse("http://example.org:8080").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.tls),
            ("example.org", 8080, false)
        );
    }

    #[test]
    fn what_cannot_be_called_says_why() {
        for text in [
            "",
            "x",
            "ftp://example.org/",
            "http://",
            "http://example.org:0/",
            "http://example.org:99999/",
            "mailto:a@b",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_masked_wherever_they_stand() {
        for (text, shown) in [
            ("https://u:p@example.org/x", "https://***@example.org/x"),
            ("https://tok@example.org", "https://***@example.org"),
            (
                "https://u:p@x@example.org?a@b",
                "https://***@example.org?a@b",
            ),
            ("https://example.org/a@b", "https://example.org/a@b"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn a_target_does_not_print_its_credentials() {
        let target = Target::parse("https://user:secret@example.org/x").unwrap();
        assert_eq!(format!("{target:?}"), "Target(example.org/x)");
    }
}
