//! Which responses are meant: a status, a class of them, or none at all.

use std::fmt;
use std::str::FromStr;

/// What the latest attempt of a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponseFilter {
    /// A response with this status.
    Status(u16),
    /// A response whose status begins with this digit.
    Class(u8),
    /// No response: a failure before there was one.
    Missing,
}

impl ResponseFilter {
    /// Whether it is of a delivery whose latest attempt, if there was any, had this response.
    pub fn is_of(self, response: Option<u16>, attempted: bool) -> bool {
        match self {
            Self::Status(status) => response == Some(status),
            Self::Class(class) => response.is_some_and(|got| got / 100 == class.into()),
            Self::Missing => attempted && response.is_none(),
        }
    }
}

impl fmt::Display for ResponseFilter {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(to, "{status}"),
            Self::Class(class) => write!(to, "{class}xx"),
            Self::Missing => to.write_str("none"),
        }
    }
}

impl FromStr for ResponseFilter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_suffix("xx") {
            _ if text == "none" => Ok(Self::Missing),
            Some(class) if digits(class) => match class.parse() {
                Ok(class @ 1..=5) => Ok(Self::Class(class)),
                Ok(_) | Err(_) => Err(()),
            },
            None if digits(text) => match text.parse() {
                Ok(status @ 100..=599) => Ok(Self::Status(status)),
                Ok(_) | Err(_) => Err(()),
            },
            Some(_) | None => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_as_they_are_shown() {
        for text in ["100", "503", "599", "1xx", "5xx", "none"] {
            let read: ResponseFilter = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "", "xx", "0xx", "6xx", "99", "600", "5x", "+503", "503 ", "None",
        ] {
            assert_eq!(text.parse::<ResponseFilter>(), Err(()), "{text}");
        }
    }
}
