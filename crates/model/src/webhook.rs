//! Webhook: target, filter and whether it is enabled, and the header lines it carries.

use bytes::Bytes;

use crate::filter::Filter;
use crate::id::{TenantId, WebhookId};
use crate::named::texts;
use crate::time::Timestamp;

/// Header lines in wire form, `Name: value\r\n` each, so that any bytes a receiver sends survive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Headers(pub Bytes);

/// The configured target with its filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub tenant: TenantId,
    /// How its dialect names it, where a number is not enough; unique within the tenant, final.
    pub key: Option<String>,
    /// As it was typed, with its credentials: print `target::masked` of it instead.
    pub target_url: String,
    /// `None` while enabled.
    pub disabled: Option<Disablement>,
    pub filter: Filter,
    /// What the dialect keeps for itself, as JSON; nobody else reads it.
    pub settings: String,
    /// Sent with every call, beside what the notification brings. Their values may be secrets.
    pub headers: Headers,
    /// Retries of one delivery, if fewer than the schedule has.
    pub retries_max: Option<u32>,
    /// Its receiver asked not to be called before; only the store writes it.
    pub paused_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts the changes; a change is refused as stale unless it names the version it read.
    pub version: i64,
}

impl Webhook {
    pub fn enabled(&self) -> bool {
        self.disabled.is_none()
    }

    pub fn is_deleted(&self) -> bool {
        self.disabled
            .is_some_and(|disabled| disabled.cause == DisableCause::Deleted)
    }
}

/// A webhook as it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub tenant: TenantId,
    pub key: Option<String>,
    pub target_url: String,
    pub disabled: Option<Disablement>,
    pub filter: Filter,
    pub settings: String,
    pub headers: Headers,
    pub retries_max: Option<u32>,
}

/// Since when and why a webhook is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disablement {
    pub at: Timestamp,
    pub cause: DisableCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisableCause {
    /// A person or program switched it off.
    Requested,
    /// Its receiver answered 410 Gone.
    Gone,
    /// It was deleted: kept for the log, and shown to nobody.
    Deleted,
}

texts!(
    DisableCause {
        Requested = "asked",
        Gone = "gone",
        Deleted = "deleted",
    }
);

impl Headers {
    /// The lines for these names and values. Line breaks in a value become spaces, so that no
    /// value can bring a line of its own.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut block = Vec::new();
        for (name, value) in pairs {
            block.extend_from_slice(name.as_bytes());
            block.extend_from_slice(b": ");
            block.extend(value.iter().map(|byte| match byte {
                b'\r' | b'\n' => b' ',
                other => *other,
            }));
            block.extend_from_slice(b"\r\n");
        }
        Self(block.into())
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            let value = value
                .strip_prefix(b": ")
                .or_else(|| value.strip_prefix(b":"))?;
            Some((name, value))
        })
    }

    /// The value of the first line of this name, in any case.
    pub fn get(&self, wanted: &str) -> Option<&[u8]> {
        let mut lines = self.iter();
        let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names only: a value may be a secret, and this may end in a log.
        f.debug_list()
            .entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_lines_come_back_as_they_went_in() {
        let pairs: [(&str, &[u8]); 3] = [("A", b"1"), ("b", b""), ("C-d", &[0xff, b':', b' ', 0])];
        let headers = Headers::from_pairs(pairs);
        let back: Vec<_> = headers.iter().collect();
        assert_eq!(back, pairs.map(|(name, value)| (name.as_bytes(), value)));
        assert_eq!(headers.get("c-D"), Some(pairs[2].1));
        assert_eq!(headers.get("d"), None);
    }

    #[test]
    fn a_value_cannot_bring_a_line_of_its_own() {
        let headers = Headers::from_pairs([("A", b"1\r\nB: 2".as_slice())]);
        assert_eq!(headers.iter().count(), 1);
    }

    #[test]
    fn header_values_do_not_print() {
        let headers = Headers::from_pairs([("Authorization", b"Basic c2VjcmV0".as_slice())]);
        assert_eq!(format!("{headers:?}"), "[\"Authorization\"]");
    }
}
