//! Target: a target URL taken apart into what a call needs, and the same URL without secrets.
//!
//! A dialect decides which URLs it accepts; this decides what they mean on the wire: host in lower
//! case and punycode, dot segments resolved, other than ASCII percent-encoded, no fragment
//! (RFC 3986), user and password as Basic credentials (RFC 7617).

use std::net::Ipv6Addr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::Host;

use crate::url_marks::{self, AUTHORITY_ENDS};

/// Below this a text is no secret that could be told from the rest of an answer.
pub const SECRET_BYTES_MIN: usize = 5;

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
pub struct InvalidTarget(pub String);

impl Target {
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let bad = |why: &str| InvalidTarget(why.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            other => return Err(InvalidTarget(format!("{other} is not http or https"))),
        };
        let authority_end = rest.find(AUTHORITY_ENDS).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        let host_and_port = authority
            .rsplit_once('@')
            .map_or(authority, |(_, after)| after);
        let (host, port) = split_port(host_and_port).ok_or_else(|| bad("the port is none"))?;
        let name = host_name(host)?;
        let default_port = if tls { 443 } else { 80 };
        let port = match port {
            "" => default_port,
            digits => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| InvalidTarget(format!("there is no port {digits}")))?,
        };
        let authority = if port == default_port {
            name.clone()
        } else {
            format!("{name}:{port}")
        };
        let host = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let path_and_query = path_and_query(rest);
        Ok(Self {
            tls,
            host,
            port,
            authority,
            path_and_query,
            authorization: authorization(text),
        })
    }
}

/// The name in lower case and, beyond ASCII, in punycode (UTS 46); an IPv6 address in brackets.
pub(crate) fn host_name(host: &str) -> Result<String, InvalidTarget> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or(address);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(host.to_ascii_lowercase()),
            Err(_) => Err(InvalidTarget(format!("{host} is not an IPv6 address"))),
        };
    }
    if host.is_empty() {
        return Err(InvalidTarget("no host".to_owned()));
    }
    let name = if host.is_ascii() {
        host.to_ascii_lowercase()
    } else {
        let name = Host::parse(host).map_err(|error| InvalidTarget(error.to_string()))?;
        name.to_string()
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.bytes().all(plain) {
        Ok(name)
    } else {
        Err(InvalidTarget(format!("{host} is not the name of a host")))
    }
}

/// Host and port; an empty port if there is none.
pub(crate) fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = match text.rfind(']') {
        Some(at) => text.split_at_checked(at + 1)?,
        None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let plain = port.is_empty() || port.starts_with(':');
    (plain && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some((host, digits))
}

/// What stands after the authority, as the HTTP library that receivers know writes it: dot
/// segments resolved, escapes in upper case and only where they are needed, what is not allowed
/// escaped (RFC 3986, 3.3 and 6.2.2), an empty query dropped.
fn path_and_query(rest: &str) -> String {
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    let path = escaped(&without_dots(path), b"/");
    // A backslash ends the host, too, and begins no path that could stand in a request.
    let path = if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    };
    match query {
        "" => path,
        query => format!("{path}?{}", escaped(query, b"/?")),
    }
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if path.starts_with('/') && kept.first().is_none_or(|first| !first.is_empty()) {
        kept.insert(0, "");
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    kept.join("/")
}

/// Escapes what is not allowed, and undoes escapes that are not needed. One percent sign that
/// begins no escape makes every one of them mean itself.
fn escaped(text: &str, more: &[u8]) -> String {
    let bytes = text.as_bytes();
    let escape_at = |at: usize| -> Option<u8> {
        let digits = bytes.get(at + 1..at + 3)?;
        let digits = std::str::from_utf8(digits).ok()?;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then_some(())?;
        u8::from_str_radix(digits, 16).ok()
    };
    let percent = |(at, byte): (usize, &u8)| (*byte == b'%').then_some(at);
    let escapes = bytes
        .iter()
        .enumerate()
        .filter_map(percent)
        .all(|at| escape_at(at).is_some());
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let meant = if escapes && *byte == b'%' {
            escape_at(at)
        } else {
            None
        };
        match meant {
            Some(meant) if is_unreserved(meant) => out.push(char::from(meant)),
            Some(meant) => out.push_str(&escape(meant)),
            None if is_allowed(*byte) || more.contains(byte) => out.push(char::from(*byte)),
            None => out.push_str(&escape(*byte)),
        }
        at += if meant.is_some() { 3 } else { 1 };
    }
    out
}

fn escape(byte: u8) -> String {
    format!("%{byte:02X}")
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_allowed(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.authority)
    }
}

/// The URL with three stars for its user and password, and for each part that is marked as secret:
/// what may be shown and logged.
pub fn masked(text: &str) -> String {
    let text = url_marks::masked(text);
    match split_user_info(&text) {
        Some((before, _, after)) => format!("{before}***@{after}"),
        None => text,
    }
}

/// What is called, whoever calls: the same for URLs that differ only in user, password, the case of
/// the host, a port that is usual, or a fragment.
pub fn called(text: &str) -> String {
    match Target::parse(text) {
        Ok(target) => {
            let scheme = if target.tls { "https" } else { "http" };
            format!("{scheme}://{}{}", target.authority, target.path_and_query)
        }
        Err(_) => masked(text),
    }
}

/// The user that a URL names; empty if it names none.
pub fn user(text: &str) -> &str {
    let user_info = user_info(text);
    user_info
        .split_once(':')
        .map_or(user_info, |(user, _)| user)
}

/// User and password as they are written; empty without any.
pub fn user_info(text: &str) -> &str {
    split_user_info(text).map_or("", |(_, user_info, _)| user_info)
}

/// What is wrong with a masked URL as a target.
pub const MASKED: &str = "*** stands for a user and password that are not shown. Write them, or take \
                          ***@ out.";

/// The same of a part that is marked.
pub const PART_MASKED: &str = "*** stands for a part of the URL that is not shown. Write it: its stars \
                               keep it only for the same host, and only while it is marked.";

/// Whether this is a URL as it is shown, here or elsewhere: taken for the target its stars would be
/// sent in place of the password. A user or password of stars alone can be written as `%2A`.
pub fn is_masked(text: &str) -> bool {
    has_masked_credentials(text) || url_marks::is_masked(text)
}

/// The same of user and password alone.
pub fn has_masked_credentials(text: &str) -> bool {
    let stars = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte == b'*');
    split_user_info(text).is_some_and(|(_, user_info, _)| {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        stars(user) || stars(password)
    })
}

/// What a receiver may echo and nobody else may see: user and password as typed and as sent, and
/// what is marked.
pub fn secrets(text: &str) -> Vec<String> {
    let mut secrets = credentials(text);
    let marked = url_marks::secrets(text).into_iter();
    let sent = |secret: String| [escaped(&secret, b""), secret];
    secrets.extend(marked.flat_map(sent));
    // Shorter ones stand in every other answer by chance.
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    secrets.sort();
    secrets.dedup();
    secrets
}

fn credentials(text: &str) -> Vec<String> {
    let Some((_, user_info, _)) = split_user_info(text) else {
        return Vec::new();
    };
    let sent = authorization(text);
    let sent = sent.as_deref().and_then(|sent| sent.strip_prefix("Basic "));
    let decoded = percent_decode_str(user_info)
        .decode_utf8_lossy()
        .into_owned();
    let all = [Some(user_info), sent, Some(&*decoded)].into_iter();
    all.flatten().map(str::to_owned).collect()
}

/// User and password of a Basic credential.
pub fn decoded_basic(credential: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credential).ok()?;
    String::from_utf8(decoded).ok()
}

/// The `Authorization` header that user and password of a URL come to.
pub fn authorization(text: &str) -> Option<String> {
    let (_, user_info, _) = split_user_info(text)?;
    let (user, password) = user_info.split_once(':')?;
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let mut credentials = latin1_or_utf8(user);
    credentials.push(b':');
    credentials.extend(latin1_or_utf8(password));
    Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
}

/// Beyond ASCII RFC 7617 leaves the encoding open. Receivers know Latin-1 from the calls that
/// these replace; what does not fit into it goes out as UTF-8.
fn latin1_or_utf8(text: &str) -> Vec<u8> {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    let latin1: Option<Vec<u8>> = decoded
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).ok())
        .collect();
    latin1.unwrap_or_else(|| decoded.as_bytes().to_vec())
}

/// What stands before, in and after the user information. Read from the text as typed, because
/// a parsed URL no longer tells an empty password from none.
fn split_user_info(text: &str) -> Option<(&str, &str, &str)> {
    let authority_at = text.find("://")? + 3;
    let (before, rest) = text.split_at_checked(authority_at)?;
    let authority_end = rest.find(AUTHORITY_ENDS).unwrap_or(rest.len());
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
    fn paths_and_queries_are_escaped_as_recorded_calls_were() {
        for (typed, sent) in [
            ("/a\\b\\..\\c", "/a%5Cb%5C..%5Cc"),
            ("/w/%2e%2e/x", "/w/../x"),
            ("/w/%c3%a4%7e%41", "/w/%C3%A4~A"),
            ("/a%2fb", "/a%2Fb"),
            ("/100%/x", "/100%25/x"),
            ("/a%zz%", "/a%25zz%25"),
            ("/a?a=b%20c&x=%c3%a4%zz", "/a?a=b%2520c&x=%25c3%25a4%25zz"),
            ("/a|b^c", "/a%7Cb%5Ec"),
            ("/?x=|^`{}'", "/?x=%7C%5E%60%7B%7D'"),
            ("/[x]?[y]", "/%5Bx%5D?%5By%5D"),
            ("/w?", "/w"),
            ("/w\u{7f}\u{1}", "/w%7F%01"),
            ("/a/./b/../c/", "/a/c/"),
            ("/a/b/..", "/a/"),
            ("/../x", "/x"),
            // It ends the host, and a request's path begins with a slash.
            ("\\a", "/%5Ca"),
            ("\\..\\?a", "/%5C..%5C?a"),
            ("", "/"),
            ("?", "/"),
        ] {
            assert_eq!(
                call(&format!("http://example.org{typed}")).1,
                sent,
                "{typed}"
            );
        }
    }

    #[test]
    fn credentials_are_latin_1_where_they_fit() {
        let sent = |url: &str| call(url).2.unwrap();
        assert_eq!(sent("http://%C3%BC:p@example.org/"), "Basic /Dpw");
        assert_eq!(sent("http://ü:ö@example.org/"), "Basic /Dr2");
        assert_eq!(sent("http://€:p@example.org/"), "Basic 4oKsOnA=");
        assert_eq!(sent("http://u:@example.org/"), "Basic dTo=");
    }

    #[test]
    fn secrets_are_the_credentials_in_every_form_they_are_sent_or_typed() {
        let mut expected = ["user:p%40ss", "user:p@ss", "dXNlcjpwQHNz"].map(str::to_owned);
        expected.sort();
        assert_eq!(secrets("http://user:p%40ss@example.org/"), expected);
        assert!(secrets("http://example.org/").is_empty());
        let marked = "http://example.org/a b%20c?key=abcd&token=efghi#secret:/1,key,token";
        assert_eq!(secrets(marked), ["a b c", "a b%20c", "a%20b%20c", "efghi"]);
        assert!(
            secrets("http://u:p@example.org/x:y")
                .iter()
                .all(|secret| secret != "u:p")
        );
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
            "http://a{b.example/",
            "http://ü{b.example/",
            "http://ü\"b.example/",
            "http://ü;b,c.example/",
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
            (
                "https://u:p@example.org/a@b?c=d#secret:c",
                "https://***@example.org/a@b?c=***#secret:c",
            ),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn urls_that_call_the_same_are_known_by_it() {
        let called_one = called("https://u:p@Example.org:443/x?y#z");
        assert_eq!(called_one, "https://example.org/x?y");
        assert_eq!(called("https://example.org/x?y"), called_one);
        for other in [
            "http://example.org/x?y",
            "https://example.org:8443/x?y",
            "https://example.org/x",
            "https://example.net/x?y",
        ] {
            assert_ne!(called(other), called_one);
        }
        assert_eq!(called("http://u:p@[x/"), "http://***@[x/");
        assert_eq!(user("https://anna:p@example.org/b:c@d"), "anna");
        assert_eq!(
            (user("https://anna@a"), user("https://a/b@c")),
            ("anna", "")
        );
    }

    #[test]
    fn a_url_with_stars_for_a_secret_is_known_as_masked() {
        for text in [
            "http://***@host/",
            "https://***@example.org:8443/x?y",
            "https://user:***@example.org",
            "https://user:*****@example.org",
            "https://***:***@example.org",
            "https://***:secret@example.org",
            &masked("https://user:secret@example.org/x"),
            &masked("https://example.org/x?y=secret#secret:y"),
            "https://example.org/hooks/***?x=y",
            "https://example.org/hooks?x=***",
        ] {
            assert!(is_masked(text), "{text}");
        }
        for text in [
            "https://example.org/***@x",
            "https://user:a***b@example.org",
            "https://user:**@example.org",
            "https://user:%2A%2A%2A@example.org",
            "https://example.org/%2A%2A%2A?x=%2A%2A%2A",
            "https://example.org/a***?x=**",
            "https://user:@example.org",
            "https://example.org",
            "***@example.org",
        ] {
            assert!(!is_masked(text), "{text}");
        }
    }

    #[test]
    fn a_target_does_not_print_its_credentials() {
        let target = Target::parse("https://user:secret@example.org/x").unwrap();
        assert_eq!(format!("{target:?}"), "Target(example.org)");
    }

    mod fuzz;
}
