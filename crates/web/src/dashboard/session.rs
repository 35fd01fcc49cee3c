//! Sessions in browsers: the cookies, and the CSRF token of each form. `serve.rs` checks it.
//!
//! A form carries a hash of the visitor's cookie. Another site can have a browser send the form,
//! but can read neither the cookie nor the hash, so it cannot fill it in. Before anybody signs in,
//! a cookie made for that form takes the place of the session's (RFC 6265; OWASP Cross-Site Request
//! Forgery Prevention Cheat Sheet).

use http::header::{COOKIE, ORIGIN};
use http::{HeaderMap, HeaderValue};
use model::limits::SESSION_MS;
use model::tenant::TokenHash;
use model::users::PasswordHash;

/// The cookie of a session, and the one before signing in.
const SESSION: &str = "willcall_session";
const VISITOR: &str = "willcall_visitor";
/// The cookie of a browser in which a user was signed in.
const DEVICE: &str = "willcall_device";

/// The letters of a secret: 5.17 bits each, so 320 bits in all.
pub(crate) const SECRET_LETTERS: usize = 62;

/// The letters of a device's cookie: random ones, then a hash of 64 digits.
const DEVICE_CHANCE_LETTERS: usize = 30;
const DEVICE_LETTERS: usize = DEVICE_CHANCE_LETTERS + 64;

/// The field of the CSRF token in every form.
pub(crate) const CSRF_FIELD: &str = "csrf_token";

/// The cookies of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cookies {
    pub(super) session: Option<String>,
    pub(super) visitor: Option<String>,
    pub(super) device: Option<String>,
}

impl Cookies {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut cookies = Self::default();
        let lines = headers.get_all(COOKIE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        for pair in lines.flat_map(|line| line.split(';')) {
            let Some((name, value)) = pair.trim().split_once('=') else {
                continue;
            };
            // Our cookies are letters and digits; others are ignored.
            let length = if name == DEVICE {
                DEVICE_LETTERS
            } else {
                SECRET_LETTERS
            };
            let ours =
                value.len() == length && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            match name {
                DEVICE if ours => cookies.device = Some(value.to_owned()),
                SESSION if ours => cookies.session = Some(value.to_owned()),
                VISITOR if ours => cookies.visitor = Some(value.to_owned()),
                _ => {}
            }
        }
        cookies
    }

    /// The cookie that CSRF tokens are made from.
    pub(super) fn csrf_token(&self) -> Option<String> {
        let secret = self.session.as_deref().or(self.visitor.as_deref())?;
        Some(csrf_token(secret))
    }
}

/// The CSRF token for this cookie.
pub(crate) fn csrf_token(secret: &str) -> String {
    use base64::Engine as _;
    let hash = TokenHash::of_parts(&[b"form", secret.as_bytes()]);
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(hash.0)
}

/// Compares `given` with `csrf_token` in constant time.
pub(super) fn csrf_token_matches(given: &str, csrf_token: &str) -> bool {
    TokenHash::of(given) == TokenHash::of(csrf_token)
}

pub(super) fn session_cookie(secret: &str, secure: bool) -> HeaderValue {
    cookie(SESSION, secret, SESSION_MS / 1_000, secure)
}

pub(super) fn visitor_cookie(secret: &str, secure: bool) -> HeaderValue {
    const HOUR_S: i64 = 3_600;
    cookie(VISITOR, secret, HOUR_S, secure)
}

/// The cookie by which a browser shows that this user was signed in with it. It is valid until the
/// password changes: nobody else knows `kept`, so nobody else can make it.
pub(super) fn device_cookie(
    chance: &str,
    name: &str,
    kept: &PasswordHash,
    secure: bool,
) -> HeaderValue {
    const YEAR_S: i64 = 365 * 24 * 3_600;
    let value = device(chance, name, kept);
    cookie(DEVICE, &value, YEAR_S, secure)
}

fn device(chance: &str, name: &str, kept: &PasswordHash) -> String {
    let chance = chance.get(..DEVICE_CHANCE_LETTERS).unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let parts = [
        b"device",
        chance.as_bytes(),
        name.as_bytes(),
        kept.0.as_bytes(),
    ];
    let hash = TokenHash::of_parts(&parts);
    let digits = hash.0.iter().map(|byte| format!("{byte:02x}"));
    digits.fold(chance.to_owned(), |all, byte| all + &byte)
}

/// Whether a browser's cookie is one that `device_cookie` made for this user.
pub(super) fn is_device(given: &str, name: &str, kept: &PasswordHash) -> bool {
    csrf_token_matches(given, &device(given, name, kept))
}

/// The cookie of a session that works in a frame of another site, where it is kept apart for each
/// site (`Partitioned`, CHIPS). Browsers take it over an encrypted connection only.
pub(super) fn framed_session_cookie(secret: &str) -> HeaderValue {
    cookie_for(SESSION, secret, SESSION_MS / 1_000, FRAMED)
}

/// Deletes the session's cookie; also that of a frame, if there may be one.
pub(super) fn no_session_cookies(secure: bool, framed: bool) -> Vec<HeaderValue> {
    let mut all = vec![cookie(SESSION, "", 0, secure)];
    if framed {
        all.push(cookie_for(SESSION, "", 0, FRAMED));
    }
    all
}

const FRAMED: &str = "SameSite=None; Secure; Partitioned";

fn cookie(name: &str, value: &str, seconds: i64, secure: bool) -> HeaderValue {
    let whom = if secure {
        "SameSite=Lax; Secure"
    } else {
        "SameSite=Lax"
    };
    cookie_for(name, value, seconds, whom)
}

fn cookie_for(name: &str, value: &str, seconds: i64, whom: &str) -> HeaderValue {
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {whom}");
    // Names and values are letters and digits, so this is always a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The origin of a form, as far as the browser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormOrigin {
    /// A page of our own, or a program.
    Ours,
    /// A page of another site.
    Foreign,
    /// A page under another host: another site, or our own behind a proxy that does not pass the
    /// host on.
    Elsewhere { origin: String, host: String },
}

/// The most characters of a host that are shown.
const NAME_CHARS_MAX: usize = 200;

/// The origin of a form that arrived for `host`.
pub(super) fn form_origin(headers: &HeaderMap, host: &str) -> FormOrigin {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    // No script can set it, so it is what the browser knows (Fetch Metadata, section 2.3).
    match text("sec-fetch-site") {
        Some("same-origin") => return FormOrigin::Ours,
        Some("cross-site" | "same-site") => return FormOrigin::Foreign,
        Some(_) | None => {}
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return FormOrigin::Ours;
    };
    let Some((scheme, authority)) = origin.split_once("://") else {
        return FormOrigin::Foreign;
    };
    let usual = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    let authority = authority.strip_suffix(usual).unwrap_or(authority);
    // A proxy that ends TLS may name either port.
    let named = [":80", ":443"]
        .iter()
        .find_map(|port| host.strip_suffix(port));
    if authority.eq_ignore_ascii_case(host) || authority.eq_ignore_ascii_case(named.unwrap_or(host))
    {
        return FormOrigin::Ours;
    }
    let shown = |name: &str| name.chars().take(NAME_CHARS_MAX).collect();
    FormOrigin::Elsewhere {
        origin: shown(origin),
        host: shown(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_cookies_that_we_could_have_set_are_read() {
        let good = "a1".repeat(31);
        let line = format!("x=y; willcall_session={good}; willcall_visitor=short");
        let cookies = Cookies::of(&headers(&[("cookie", &line)]));
        assert_eq!(cookies.session, Some(good));
        assert_eq!(cookies.visitor, None);
    }

    #[test]
    fn a_csrf_token_holds_for_its_own_cookie_only() {
        let own = csrf_token("a");
        assert!(csrf_token_matches(&own, &csrf_token("a")));
        assert!(!csrf_token_matches(&own, &csrf_token("b")));
        assert!(!csrf_token_matches("", &own));
    }

    #[test]
    fn a_device_is_known_to_its_own_user_until_the_password_changes() {
        let kept = |text: &str| PasswordHash(text.to_owned());
        let cookie = device_cookie(&"x".repeat(62), "Anna", &kept("$a"), false);
        let line = cookie.to_str().unwrap();
        let cookies = Cookies::of(&headers(&[("cookie", line)]));
        let given = cookies.device.unwrap();
        assert!(is_device(&given, "anna", &kept("$a")));
        assert!(!is_device(&given, "ben", &kept("$a")));
        assert!(!is_device(&given, "anna", &kept("$b")));
        let other = given.replace('x', "y");
        assert!(!is_device(&other, "anna", &kept("$a")));
    }

    #[test]
    fn a_form_from_another_site_is_noticed() {
        let foreign = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "null"),
            ("origin", ""),
        ];
        for line in foreign {
            assert_eq!(
                form_origin(&headers(&[line]), "a"),
                FormOrigin::Foreign,
                "{line:?}"
            );
        }
        assert_eq!(form_origin(&headers(&[]), "a"), FormOrigin::Ours);
    }

    #[test]
    fn the_usual_ports_are_the_same_as_none() {
        for (origin, host) in [
            ("http://a:1", "a:1"),
            ("http://a", "a"),
            ("http://A", "a"),
            ("http://a", "a:80"),
            ("http://a:80", "a"),
            ("https://a", "a:443"),
            ("https://a:443", "a"),
            ("https://a:443", "a:443"),
            // TLS ends before a proxy that names its own port.
            ("https://a", "a:80"),
            ("http://[::1]", "[::1]:80"),
        ] {
            let sent = headers(&[("origin", origin)]);
            assert_eq!(
                form_origin(&sent, host),
                FormOrigin::Ours,
                "{origin} {host}"
            );
        }
    }

    #[test]
    fn another_host_is_named_unless_the_browser_knows_better() {
        for (origin, host) in [
            ("http://b", "a"),
            ("http://a:1", "a"),
            ("http://a", "a:1"),
            ("https://a:80", "a"),
            ("http://a.b", "a"),
            ("http://a:8080", "a:80"),
        ] {
            let told = FormOrigin::Elsewhere {
                origin: origin.to_owned(),
                host: host.to_owned(),
            };
            assert_eq!(form_origin(&headers(&[("origin", origin)]), host), told);
            let known = headers(&[("origin", origin), ("sec-fetch-site", "same-origin")]);
            assert_eq!(form_origin(&known, host), FormOrigin::Ours);
            let foreign = headers(&[("origin", origin), ("sec-fetch-site", "cross-site")]);
            assert_eq!(form_origin(&foreign, host), FormOrigin::Foreign);
        }
    }

    #[test]
    fn cookies_are_kept_from_scripts_other_sites_and_plain_connections() {
        let text = session_cookie("abc", true);
        let text = text.to_str().unwrap();
        for part in [
            "HttpOnly",
            "SameSite=Lax",
            "Secure",
            "Path=/",
            "Max-Age=43200",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(
            !session_cookie("abc", false)
                .to_str()
                .unwrap()
                .contains("Secure")
        );
    }

    mod fuzz;
}
