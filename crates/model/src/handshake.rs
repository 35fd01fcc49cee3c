//! The handshake of CloudEvents' web hooks ("HTTP 1.1 Web Hooks for Event Delivery" 1.0, section
//! 4): before the first call of a webhook its receiver is asked by `OPTIONS` whether it agrees.
//!
//! What was answered holds for one choice of the handshake, one target URL and one origin. Where
//! any of them is another, the receiver is asked again.

use sha2::{Digest, Sha256};

use crate::call_limits::CallRate;
use crate::time::Timestamp;
use crate::webhook::Headers;

/// Who asks, in the question and in each call after it.
pub const REQUEST_ORIGIN: &str = "WebHook-Request-Origin";

/// How many calls a minute are wanted.
pub const REQUEST_RATE: &str = "WebHook-Request-Rate";

const ALLOWED_ORIGIN: &str = "WebHook-Allowed-Origin";
const ALLOWED_RATE: &str = "WebHook-Allowed-Rate";

/// What is said where the server has no name to ask under.
pub const NO_ORIGIN: &str = "this server has no name to ask under: its operator adds one that \
    others reach it by to the setting allowed_hosts";

/// Letters of a receiver's value that are repeated.
const SHOWN_LETTERS: usize = 80;

/// A webhook's choice, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// When it was chosen.
    pub since: Timestamp,
    /// The latest answer.
    pub answer: Option<HandshakeAnswer>,
}

/// To what an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeQuestion {
    pub since: Timestamp,
    pub url_hash: String,
    pub origin: String,
}

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeAnswer {
    pub question: HandshakeQuestion,
    pub at: Timestamp,
    pub verdict: HandshakeVerdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeVerdict {
    /// The receiver agrees, to so many calls a minute; `None`: to any number.
    Granted { per_minute: Option<u32> },
    /// It does not, and why that is taken so.
    Refused { reason: String },
}

impl HandshakeQuestion {
    pub fn new(since: Timestamp, target_url: &str, origin: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(target_url).into();
        Self {
            since,
            url_hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            origin: origin.to_owned(),
        }
    }
}

impl Handshake {
    /// What the receiver at this URL answered to this origin, if it was asked.
    pub fn answer_to(&self, target_url: &str, origin: Option<&str>) -> Option<&HandshakeAnswer> {
        let question = HandshakeQuestion::new(self.since, target_url, origin?);
        let answer = self.answer.as_ref();
        answer.filter(|answer| answer.question == question)
    }
}

impl HandshakeVerdict {
    /// Judges an answer to this origin. `rate_asked`: the question named a rate, so that the
    /// answer has to.
    pub fn judge(origin: &str, rate_asked: bool, status: u16, headers: &Headers) -> Self {
        match judge(origin, rate_asked, status, headers) {
            Ok(per_minute) => Self::Granted { per_minute },
            Err(reason) => Self::Refused { reason },
        }
    }

    /// The bound that it sets, if it grants one that is below what is possible anyway.
    pub fn rate(&self) -> Option<CallRate> {
        match self {
            Self::Granted { per_minute } => per_minute.and_then(CallRate::of_minute),
            Self::Refused { .. } => None,
        }
    }

    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }
}

fn judge(
    origin: &str,
    rate_asked: bool,
    status: u16,
    headers: &Headers,
) -> Result<Option<u32>, String> {
    if !(200..=299).contains(&status) {
        return Err(format!("it answered OPTIONS with {status}"));
    }
    match only(headers, ALLOWED_ORIGIN)? {
        None => return Err(format!("it answered OPTIONS without {ALLOWED_ORIGIN}")),
        Some(allowed) if allowed == "*" || allowed.eq_ignore_ascii_case(origin) => {}
        Some(allowed) => {
            let allowed = shown(&allowed);
            return Err(format!(
                "its {ALLOWED_ORIGIN} is {allowed}, not \"{origin}\""
            ));
        }
    }
    let rate = match only(headers, ALLOWED_RATE)? {
        None if rate_asked => {
            return Err(format!(
                "it was asked for a rate and named no {ALLOWED_RATE}"
            ));
        }
        None => return Ok(None),
        Some(rate) if rate == "*" => return Ok(None),
        Some(rate) => rate,
    };
    let is_number = !rate.is_empty() && rate.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || rate.bytes().all(|digit| digit == b'0') {
        let rate = shown(&rate);
        return Err(format!(
            "its {ALLOWED_RATE} is {rate}, which is neither a number of calls a minute nor *"
        ));
    }
    // More than can be counted is no bound that anybody meets.
    Ok(Some(rate.parse().unwrap_or(u32::MAX)))
}

/// The value of the only line of this name, if there is one. Several would be a list, and there is
/// no list of either.
fn only(headers: &Headers, name: &str) -> Result<Option<String>, String> {
    let lines = headers.iter();
    let mut lines = lines.filter(|(line, _)| line.eq_ignore_ascii_case(name.as_bytes()));
    let first = lines.next();
    if lines.next().is_some() {
        return Err(format!("it answered OPTIONS with several lines {name}"));
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    Ok(first.map(|(_, value)| text(value)))
}

fn shown(value: &str) -> String {
    let cut: String = value.chars().take(SHOWN_LETTERS).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "tickets.example.org";

    fn judged(status: u16, rate_asked: bool, lines: &[(&str, &str)]) -> HandshakeVerdict {
        let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
        HandshakeVerdict::judge(ORIGIN, rate_asked, status, &Headers::from_pairs(lines))
    }

    fn granted(per_minute: Option<u32>) -> HandshakeVerdict {
        HandshakeVerdict::Granted { per_minute }
    }

    fn reason(verdict: HandshakeVerdict) -> String {
        match verdict {
            HandshakeVerdict::Refused { reason } => reason,
            HandshakeVerdict::Granted { .. } => panic!("it is granted"),
        }
    }

    #[test]
    fn a_receiver_agrees_with_the_origin_in_any_case_or_with_all_of_them() {
        for origin in [ORIGIN, "Tickets.EXAMPLE.org", " tickets.example.org ", "*"] {
            let lines = [("webhook-allowed-origin", origin)];
            assert_eq!(judged(200, false, &lines), granted(None), "{origin}");
            assert_eq!(judged(204, false, &lines), granted(None), "{origin}");
        }
    }

    #[test]
    fn the_rate_it_allows_is_a_number_a_minute_or_any() {
        for (rate, wanted) in [
            ("120", Some(120)),
            ("1", Some(1)),
            ("*", None),
            ("99999999999999999999", Some(u32::MAX)),
        ] {
            let lines = [
                ("WebHook-Allowed-Origin", "*"),
                ("WebHook-Allowed-Rate", rate),
            ];
            assert_eq!(judged(200, true, &lines), granted(wanted), "{rate}");
        }
    }

    #[test]
    fn whatever_is_no_agreement_is_refused_with_the_reason_in_words() {
        let origin = ("WebHook-Allowed-Origin", "*");
        let rate = |text| [origin, ("WebHook-Allowed-Rate", text)];
        for (status, lines, part) in [
            (405, vec![origin], "with 405"),
            (302, vec![origin], "with 302"),
            (200, vec![], "without WebHook-Allowed-Origin"),
            (
                200,
                vec![("Allow", "POST")],
                "without WebHook-Allowed-Origin",
            ),
            (
                200,
                vec![("WebHook-Allowed-Origin", "other.example")],
                "is \"other.example\"",
            ),
            (
                200,
                vec![("WebHook-Allowed-Origin", "a, tickets.example.org")],
                "not \"tickets",
            ),
            (
                200,
                vec![origin, origin],
                "several lines WebHook-Allowed-Origin",
            ),
            (200, rate("0").to_vec(), "is \"0\""),
            (200, rate("-5").to_vec(), "is \"-5\""),
            (200, rate("1.5").to_vec(), "is \"1.5\""),
            (200, rate("").to_vec(), "is \"\""),
            (200, rate("ten").to_vec(), "neither a number"),
            (200, vec![origin], "named no WebHook-Allowed-Rate"),
        ] {
            let said = reason(judged(status, true, &lines));
            assert!(said.contains(part), "{said} has no {part}");
        }
    }

    #[test]
    fn what_a_receiver_says_is_repeated_in_part_and_without_control_characters() {
        let long = "x".repeat(10_000);
        let said = reason(judged(200, false, &[("WebHook-Allowed-Origin", &long)]));
        assert!(said.len() < 200, "{said}");
        let said = reason(judged(
            200,
            false,
            &[("WebHook-Allowed-Origin", "a\u{1b}b")],
        ));
        assert!(said.contains("a\\u{1b}b"), "{said}");
    }

    #[test]
    fn an_answer_holds_for_one_choice_one_url_and_one_origin() {
        let since = Timestamp::from_millis(1_000);
        let url = "https://a.example/hook";
        let answer = HandshakeAnswer {
            question: HandshakeQuestion::new(since, url, ORIGIN),
            at: Timestamp::from_millis(2_000),
            verdict: granted(Some(60)),
        };
        let mut handshake = Handshake {
            since,
            answer: Some(answer),
        };
        assert!(handshake.answer_to(url, Some(ORIGIN)).is_some());
        assert!(
            handshake
                .answer_to("https://a.example/", Some(ORIGIN))
                .is_none()
        );
        assert!(handshake.answer_to(url, Some("other.example")).is_none());
        assert!(handshake.answer_to(url, None).is_none());
        handshake.since = Timestamp::from_millis(1_001);
        assert!(handshake.answer_to(url, Some(ORIGIN)).is_none());
    }
}
