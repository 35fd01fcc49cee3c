//! The `Authorization` header: its schemes, the token in it, and the access that a route requires.
//! A route says which schemes it understands.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::refusal::AuthFailure;
use model::tenant::Permission;

use crate::transport::media_type::text_of;

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthScheme {
    Token,
    Bearer,
    /// A ticket scanner's token.
    Device,
    /// The token is the password; the user does not matter.
    Basic,
}

/// The access that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequiredAccess {
    /// Any token of a program.
    Known,
    /// Any token of the tenant.
    Listed,
    Right(Permission),
    /// An administrator's token with this permission, which is for tenants and users themselves.
    Everywhere(Permission),
}

/// The token that a request shows, and how.
pub(super) fn credentials<'a>(
    headers: &'a HeaderMap,
    schemes: &[AuthScheme],
) -> Result<(AuthScheme, Cow<'a, str>), AuthFailure> {
    let header = headers.get(AUTHORIZATION).ok_or(AuthFailure::Missing)?;
    match text_of(header) {
        Cow::Borrowed(header) => shown(header, schemes),
        Cow::Owned(header) => {
            let (scheme, token) = shown(&header, schemes)?;
            Ok((scheme, token.into_owned().into()))
        }
    }
}

/// The token that a header shows, and how.
fn shown<'a>(
    header: &'a str,
    schemes: &[AuthScheme],
) -> Result<(AuthScheme, Cow<'a, str>), AuthFailure> {
    let header = header.trim_ascii();
    let end = header.bytes().position(|byte| byte.is_ascii_whitespace());
    let (name, token) = header.split_at(end.unwrap_or(header.len()));
    let scheme = schemes
        .iter()
        .copied()
        .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
        .ok_or(AuthFailure::Missing)?;
    let token = token.trim_ascii_start();
    // No other white space can be in a header. All bytes are looked at, many at once.
    let spaced = token.bytes().fold(false, |spaced, byte| {
        spaced | (byte == b' ') | (byte == b'\t')
    });
    match scheme {
        AuthScheme::Bearer if token.is_empty() || spaced => Err(AuthFailure::Missing),
        _ if token.is_empty() => Err(AuthFailure::NoToken),
        _ if spaced => Err(AuthFailure::Spaces),
        AuthScheme::Basic => password(token).map(|token| (scheme, token.into())),
        AuthScheme::Token | AuthScheme::Bearer | AuthScheme::Device => Ok((scheme, token.into())),
    }
}

fn password(pair: &str) -> Result<String, AuthFailure> {
    let decoded = BASE64_STANDARD.decode(pair).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or(AuthFailure::Unknown)?;
    match decoded.split_once(':') {
        Some((_, password)) if !password.is_empty() => Ok(password.to_owned()),
        Some(_) | None => Err(AuthFailure::NoToken),
    }
}

impl AuthScheme {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::Bearer => "Bearer",
            Self::Device => "Device",
            Self::Basic => "Basic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [AuthScheme; 4] = [
        AuthScheme::Token,
        AuthScheme::Bearer,
        AuthScheme::Device,
        AuthScheme::Basic,
    ];

    fn read(header: &[u8], schemes: &[AuthScheme]) -> Result<(AuthScheme, String), AuthFailure> {
        let value = http::HeaderValue::from_bytes(header).unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let shown = credentials(&headers, schemes);
        shown.map(|(scheme, token)| (scheme, token.into_owned()))
    }

    #[test]
    fn schemes_are_read_in_any_case_and_only_where_they_are_understood() {
        let token = |scheme| Ok((scheme, "abc".to_owned()));
        assert_eq!(read(b"Token abc", &ALL), token(AuthScheme::Token));
        assert_eq!(read(b"tOKEN   abc ", &ALL), token(AuthScheme::Token));
        assert_eq!(read(b"bearer abc", &ALL), token(AuthScheme::Bearer));
        assert_eq!(read(b"Device abc", &ALL), token(AuthScheme::Device));
        assert_eq!(read(b"Basic eDphYmM=", &ALL), token(AuthScheme::Basic));
        let missing = Err(AuthFailure::Missing);
        assert_eq!(read(b"Basic eDphYmM=", &[AuthScheme::Token]), missing);
        assert_eq!(
            credentials(&HeaderMap::new(), &ALL),
            Err(AuthFailure::Missing)
        );
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told_apart() {
        for (header, why) in [
            (b"".as_slice(), AuthFailure::Missing),
            (b"abc", AuthFailure::Missing),
            (b"Token", AuthFailure::NoToken),
            (b"Device ", AuthFailure::NoToken),
            (b"Token a b", AuthFailure::Spaces),
            (b"Bearer", AuthFailure::Missing),
            (b"Bearer a b", AuthFailure::Missing),
            (b"Basic !", AuthFailure::Unknown),
            (b"Basic /w==", AuthFailure::Unknown),
            (b"Basic eA==", AuthFailure::NoToken),
            (b"Basic eDo=", AuthFailure::NoToken),
        ] {
            assert_eq!(read(header, &ALL), Err(why), "{header:?}");
        }
        assert!(read(b"Token \xff", &ALL).is_ok());
    }

    mod fuzz;
}
