//! Own headers: lines that somebody gives a webhook, such as `Authorization: Bearer …`. Each value
//! is a secret: sealed before it is stored, and shown to nobody after it was typed.
//!
//! A name is kept as it goes over the wire, so that names which differ in case are the same.

use bytes::Bytes;

use crate::id::{TenantId, WebhookId};
use crate::limits::{OWN_HEADER_NAME_BYTES_MAX, OWN_HEADER_VALUE_BYTES_MAX};
use crate::signing::{Keyring, SealError, Secret, SecretOf};
use crate::time::Timestamp;

/// A name that an own header may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnHeaderName(String);

/// A line of a webhook, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHeader {
    pub name: OwnHeaderName,
    pub sealed: Bytes,
    pub set_at: Timestamp,
}

/// Which line of which webhook: a webhook has each name once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnHeaderId {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub name: OwnHeaderName,
}

/// A line with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOwnHeader {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub header: OwnHeader,
}

/// What is to become of a line. Values come sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnHeaderChange {
    Add(Bytes),
    /// Another value for a line that is there.
    Replace(Bytes),
    Remove,
}

/// Why a name or a value is not taken. Says nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OwnHeaderError {
    #[error("a header's name is 1 to 100 letters, digits and any of !#$%&'*+-.^_`|~")]
    NoName,
    #[error("this header says how a call is framed, encoded or routed, which only Willcall does")]
    Framing,
    #[error("this header is for signatures")]
    OfSignatures,
    #[error("Willcall sets this header itself")]
    OfWillcall,
    #[error("this header opens services that trust whoever can set it")]
    OfTrust,
    #[error("a value is 1 to 4096 bytes")]
    Length,
    #[error("a value may not begin or end with a blank")]
    Blanks,
    #[error("a value has visible ASCII characters and blanks between them, nothing else")]
    Letters,
}

/// Why the lines of a webhook cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}", .name.as_str())]
pub struct UnopenedHeader {
    pub name: OwnHeaderName,
    pub error: SealError,
}

/// What HTTP/1.1 gives a meaning between two hops, for the body, or for the answer.
const FRAMING: [&str; 22] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

const OF_SIGNATURES: [&str; 4] = [
    "content-digest",
    "repr-digest",
    "signature",
    "signature-input",
];

/// Sent with every call, with values that a dialect fixes.
const OF_WILLCALL: [&str; 3] = ["accept", "date", "user-agent"];

/// Where a call comes from, as proxies tell it; and what cloud providers ask for so that a service
/// which calls URLs of strangers cannot be used to read a machine's credentials.
const OF_TRUST: [&str; 5] = [
    "client-ip",
    "forwarded",
    "metadata",
    "metadata-flavor",
    "true-client-ip",
];

const OF_TRUST_BEGINNINGS: [&str; 4] = [
    "x-aws-ec2-metadata-",
    "x-forwarded",
    "x-google-metadata-",
    "x-real-",
];

impl OwnHeaderName {
    /// Judges a name as somebody types it.
    pub fn parse(text: &str) -> Result<Self, OwnHeaderError> {
        let is_token =
            |letter: u8| letter.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&letter);
        let length = 1..=OWN_HEADER_NAME_BYTES_MAX;
        if !length.contains(&text.len()) || !text.bytes().all(is_token) {
            return Err(OwnHeaderError::NoName);
        }
        let name = text.to_ascii_lowercase();
        let is_in = |names: &[&str]| names.contains(&&*name);
        let begins = |beginnings: &[&str]| beginnings.iter().any(|one| name.starts_with(one));
        if is_in(&FRAMING) || begins(&["proxy-", "sec-"]) {
            return Err(OwnHeaderError::Framing);
        }
        if is_in(&OF_SIGNATURES) || begins(&["svix-", "webhook-"]) {
            return Err(OwnHeaderError::OfSignatures);
        }
        if is_in(&OF_WILLCALL) {
            return Err(OwnHeaderError::OfWillcall);
        }
        if is_in(&OF_TRUST) || begins(&OF_TRUST_BEGINNINGS) {
            return Err(OwnHeaderError::OfTrust);
        }
        Ok(Self::stored(&name))
    }

    /// As it was stored: it was judged by then.
    pub fn stored(text: &str) -> Self {
        Self(title_cased(text).map(char::from).collect())
    }

    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a OwnHeaderName> for SecretOf<'a> {
    fn from(name: &'a OwnHeaderName) -> Self {
        Self::Header(name.as_str())
    }
}

/// A name as it goes over the wire. Names mean the same in any case, but some receivers read them
/// as they are mostly written.
pub fn title_cased(name: &str) -> impl Iterator<Item = u8> {
    let mut begins = true;
    name.bytes().map(move |letter| {
        let cased = match begins {
            true => letter.to_ascii_uppercase(),
            false => letter,
        };
        begins = letter == b'-';
        cased
    })
}

/// Judges a value as somebody types it (RFC 9110, 5.5, without what receivers read differently:
/// tabs, and what is beyond ASCII).
pub fn value(text: &str) -> Result<Secret, OwnHeaderError> {
    if !(1..=OWN_HEADER_VALUE_BYTES_MAX).contains(&text.len()) {
        return Err(OwnHeaderError::Length);
    }
    if !text.bytes().all(|letter| matches!(letter, b' '..=b'~')) {
        return Err(OwnHeaderError::Letters);
    }
    match text.starts_with(' ') || text.ends_with(' ') {
        true => Err(OwnHeaderError::Blanks),
        false => Ok(Secret::of_header(text)),
    }
}

/// What an attempt sends: all lines, or none of them and the first that cannot be opened.
pub fn open(
    keyring: &Keyring,
    webhook: WebhookId,
    headers: &[OwnHeader],
) -> Result<Vec<(OwnHeaderName, Secret)>, UnopenedHeader> {
    let opened = headers.iter().map(|header| {
        let name = header.name.clone();
        match keyring.open(webhook, &header.name, &header.sealed) {
            Ok(secret) => Ok((name, secret)),
            Err(error) => Err(UnopenedHeader { name, error }),
        }
    });
    opened.collect()
}

#[cfg(test)]
mod tests;
