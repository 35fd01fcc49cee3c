//! Mail addresses, and targets that are one: `mailto:` URLs of RFC 6068 with an address alone.

use std::fmt;
use std::str::FromStr;

use crate::target;

/// The scheme of a target that is a mail address.
const SCHEME: &str = "mailto:";

/// RFC 5321, 4.5.3.1, less the angle brackets.
const ADDRESS_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

/// A mail address such as `ops@example.org`. What stands before the `@` is a dot-string of RFC
/// 5321; quoted ones are not taken. The name of the host is in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress {
    local: String,
    host: String,
}

/// Why a text is no mail address: a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidMailAddress(pub String);

impl MailAddress {
    /// The address that a target URL is; `None` if it is a URL to be called.
    pub fn of_target(target_url: &str) -> Option<Result<Self, InvalidMailAddress>> {
        target_url.strip_prefix(SCHEME).map(str::parse)
    }

    /// As a target URL.
    pub fn url(&self) -> String {
        format!("{SCHEME}{self}")
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

impl FromStr for MailAddress {
    type Err = InvalidMailAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMailAddress> {
        let wrong = |why: &str| {
            InvalidMailAddress(format!(
                "Write one mail address such as ops@example.org: {why}."
            ))
        };
        let Some((local, host)) = text.rsplit_once('@') else {
            return Err(wrong("there is no @"));
        };
        let is_atom =
            |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter);
        let atoms = local.split('.');
        if local.len() > LOCAL_BYTES_MAX {
            return Err(wrong("what stands before the @ is too long"));
        }
        if !atoms
            .into_iter()
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
        {
            return Err(wrong(
                "before the @ may stand letters, digits, single dots and some signs, no blanks",
            ));
        }
        let host = target::host_name(host).map_err(|error| wrong(&error.0))?;
        if host.starts_with(['[', '.']) || host.ends_with('.') || host.contains("..") {
            return Err(wrong("behind the @ stands the name of a host"));
        }
        let address = Self {
            local: local.to_owned(),
            host,
        };
        match address.to_string().len() {
            0..=ADDRESS_BYTES_MAX => Ok(address),
            _ => Err(wrong("it is too long")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_dot_string_at_one_host() {
        for (text, url) in [
            ("ops@example.org", "mailto:ops@example.org"),
            (
                "first.last+tag@Mail.Example.org",
                "mailto:first.last+tag@mail.example.org",
            ),
            ("ops@localhost", "mailto:ops@localhost"),
            (
                "ops@b\u{fc}cher.example",
                "mailto:ops@xn--bcher-kva.example",
            ),
        ] {
            let address: MailAddress = text.parse().unwrap();
            assert_eq!(address.url(), url);
            assert_eq!(MailAddress::of_target(url), Some(Ok(address)));
        }
    }

    #[test]
    fn what_could_name_somebody_else_or_bring_a_header_is_refused() {
        for text in [
            "",
            "ops",
            "@example.org",
            "ops@",
            "a..b@example.org",
            ".a@example.org",
            "a b@example.org",
            "a@b@example.org",
            "a@example.org, b@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "<a@example.org>",
            "a@[127.0.0.1]",
            "a@example..org",
            "a@example.org?cc=b@example.org",
        ] {
            assert!(text.parse::<MailAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_that_is_called_is_no_address() {
        assert_eq!(MailAddress::of_target("https://example.org/"), None);
    }
}
