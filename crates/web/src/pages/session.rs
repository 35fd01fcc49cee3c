//! Sessions as browsers hold them: the cookies, and the proof that a form is our own.
//!
//! A form carries a hash of the visitor's cookie. Another site can have a browser send the form,
//! but can read neither the cookie nor the hash, so it cannot fill it in. Before somebody signs
//! in, a cookie made for that form alone takes the place of the session's (RFC 6265; OWASP
//! Cross-Site Request Forgery Prevention Cheat Sheet).

use http::header::{COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use model::limits::SESSION_MS;
use model::tenant::TokenHash;

/// The cookie of somebody who is signed in, and of somebody who is about to be.
const SESSION: &str = "willcall_session";
const VISITOR: &str = "willcall_visitor";

/// Letters of a secret: 5.17 bits each, so 320 bits of chance.
pub(crate) const SECRET_LETTERS: usize = 62;

/// The field of every form that shows it to be our own.
pub(crate) const PROOF_FIELD: &str = "proof";

/// What the cookies of a request say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cookies {
    pub(super) session: Option<String>,
    pub(super) visitor: Option<String>,
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
            // What we set is letters and digits; anything else is not ours.
            let ours = value.len() == SECRET_LETTERS
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            match name {
                SESSION if ours => cookies.session = Some(value.to_owned()),
                VISITOR if ours => cookies.visitor = Some(value.to_owned()),
                _ => {}
            }
        }
        cookies
    }

    /// What forms are proved by.
    pub(super) fn proof(&self) -> Option<String> {
        let secret = self.session.as_deref().or(self.visitor.as_deref())?;
        Some(proof(secret))
    }
}

/// What a form must carry that is sent with this cookie.
pub(crate) fn proof(secret: &str) -> String {
    use base64::Engine as _;
    let hash = TokenHash::of_parts(&[b"form", secret.as_bytes()]);
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(hash.0)
}

/// Whether `given` is `proof`, in a time that does not tell how much of it is.
pub(super) fn is_proof(given: &str, proof: &str) -> bool {
    TokenHash::of(given) == TokenHash::of(proof)
}

pub(super) fn session_cookie(secret: &str, secure: bool) -> HeaderValue {
    cookie(SESSION, secret, SESSION_MS / 1_000, secure)
}

pub(super) fn visitor_cookie(secret: &str, secure: bool) -> HeaderValue {
    const HOUR_S: i64 = 3_600;
    cookie(VISITOR, secret, HOUR_S, secure)
}

/// Takes the session's cookie from the browser.
pub(super) fn no_session_cookie(secure: bool) -> HeaderValue {
    cookie(SESSION, "", 0, secure)
}

fn cookie(name: &str, value: &str, seconds: i64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // Names and values are letters and digits, so this is always a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether a browser says that the request comes from a page of another site.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) {
        return true;
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return false;
    };
    let host = text(HOST.as_str()).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host))
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
    fn a_proof_holds_for_its_own_cookie_only() {
        let own = proof("a");
        assert!(is_proof(&own, &proof("a")));
        assert!(!is_proof(&own, &proof("b")));
        assert!(!is_proof("", &own));
    }

    #[test]
    fn a_request_from_another_site_is_noticed() {
        assert!(!is_foreign(&headers(&[("host", "a")])));
        assert!(!is_foreign(&headers(&[
            ("host", "a:1"),
            ("origin", "http://a:1")
        ])));
        assert!(is_foreign(&headers(&[
            ("host", "a:1"),
            ("origin", "http://b")
        ])));
        assert!(is_foreign(&headers(&[("host", "a"), ("origin", "null")])));
        assert!(is_foreign(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(!is_foreign(&headers(&[("sec-fetch-site", "same-origin")])));
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
}
