//! Attempt: one HTTP exchange for a delivery, and its outcome.
//!
//! A receiver that misbehaves is not an error of ours: whatever it does is a value here, is
//! written down, and decides what happens next.

use std::sync::Arc;

use bytes::Bytes;

use crate::named::named;
use crate::time::Timestamp;
use crate::webhook::Headers;

/// One exchange, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub began_at: Timestamp,
    /// From the look-up of the name to the end of the answer.
    pub duration_ms: u32,
    /// What was called, without credentials.
    pub url: Arc<str>,
    /// What was sent, credentials masked.
    pub request_headers: Headers,
    pub outcome: Outcome,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A status line arrived.
    Answered(HttpResponse),
    /// None did.
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Headers,
    /// At most `limits::RESPONSE_BODY_BYTES_MAX`.
    pub body: Bytes,
    pub body_end: BodyEnd,
    /// What was wrong behind the status line, if anything was.
    pub note: Option<Box<str>>,
}

/// How the reading of an answer's body ended. It never turns success into failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    Whole,
    /// Longer than what is kept.
    Cut,
    /// The connection broke off.
    Broken,
    /// The time limit of the exchange came first.
    TimeUp,
}

named!(
    BodyEnd {
        Whole = "whole",
        Cut = "cut",
        Broken = "broken",
        TimeUp = "time_up",
    }
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The cause in the words of whoever noticed it, without credentials.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The target URL cannot be called at all.
    BadTarget,
    /// Willcall itself lacked what a call takes. Such an attempt counts as not made, and is not
    /// written down.
    Short,
    /// The name could not be looked up.
    LookUp,
    /// The name leads only to addresses that may not be called.
    Forbidden,
    /// No connection came about.
    Connect,
    /// TLS could not be agreed on, or the certificate is not valid.
    Tls,
    /// The exchange took longer than its limit.
    TimeLimit,
    /// The connection ended before a status line came.
    Closed,
    /// What came was not HTTP, or too much of it.
    Garbled,
    /// A connection kept from an earlier call ended before anything of an answer came. That says
    /// nothing of the receiver but that it had closed it, so it is called again on a new one.
    Stale,
    /// Nothing was sent, because it could not be signed as the webhook has it.
    Unsigned,
    /// Nothing was sent, because an own header of the webhook could not be opened.
    SealedHeader,
    /// Nothing was sent, because what the webhook has of its own for TLS cannot be used.
    TlsSettings,
    /// Only a question was sent: the receiver did not agree to be called.
    Handshake,
}

named!(
    FailureKind {
        BadTarget = "bad_target",
        Short = "short",
        LookUp = "look_up",
        Forbidden = "forbidden_address",
        Connect = "connect",
        Tls = "tls",
        TimeLimit = "time_limit",
        Closed = "closed",
        Garbled = "garbled",
        Stale = "stale_connection",
        Unsigned = "unsigned",
        SealedHeader = "sealed_header",
        TlsSettings = "tls_settings",
        Handshake = "handshake",
    }
);

impl Attempt {
    /// The header lines that were sent, and what came back.
    pub fn bytes(&self) -> usize {
        self.request_headers.0.len() + self.outcome.bytes()
    }
}

impl Outcome {
    /// What came back, or the words for why nothing did.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Answered(answer) => {
                let note = answer.note.as_ref().map_or(0, |note| note.len());
                answer.headers.0.len() + answer.body.len() + note
            }
            Self::Failed(failure) => failure.detail.len(),
        }
    }

    /// 2xx and nothing else: receivers were promised that redirects do not count.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered(answer) if (200..=299).contains(&answer.status))
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            Self::Failed(_) => None,
        }
    }

    /// One sentence for people: what happened, and what it means.
    pub fn words(&self) -> String {
        match self {
            Self::Answered(answer) => answer.words(),
            Self::Failed(failure) => failure.words(),
        }
    }
}

impl HttpResponse {
    fn words(&self) -> String {
        let verdict = match self.status {
            200..=299 => "delivered",
            300..=399 => "failed: redirects are not followed",
            401 | 403 => "failed: the receiver wants other credentials",
            429 => "failed: the receiver asks to be called less often",
            410 => "the receiver says that it is gone for good",
            _ => "failed: only 200 to 299 count as received",
        };
        let end = match (&self.note, self.body_end) {
            (Some(note), _) => note,
            (None, BodyEnd::Whole) => return format!("Answered {}, {verdict}.", self.status),
            (None, BodyEnd::Cut) => "of the answer the first 64 KiB are kept",
            (None, BodyEnd::Broken) => "the connection broke off within the answer",
            (None, BodyEnd::TimeUp) => "the answer did not end within the time limit",
        };
        format!("Answered {}, {verdict}; {end}.", self.status)
    }
}

impl Failure {
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    pub fn words(&self) -> String {
        let what = match self.kind {
            FailureKind::BadTarget => "The target URL cannot be called",
            FailureKind::Short => "Willcall itself was short of what a call takes",
            FailureKind::LookUp => "The name of the receiver could not be looked up",
            FailureKind::Forbidden => "The receiver is at an address that may not be called",
            FailureKind::Connect => "No connection to the receiver came about",
            FailureKind::Tls => "TLS with the receiver failed",
            FailureKind::TimeLimit => "The receiver did not answer within the time limit",
            FailureKind::Closed => "The receiver closed the connection without an answer",
            FailureKind::Garbled => "The receiver's answer is not valid HTTP",
            FailureKind::Stale => return self.stale_words(),
            FailureKind::Unsigned => "The call cannot be signed, so nothing was sent",
            FailureKind::SealedHeader => {
                "An own header of the webhook cannot be sent, so nothing was sent"
            }
            FailureKind::TlsSettings => {
                "What the webhook has of its own for TLS cannot be used, so nothing was sent"
            }
            FailureKind::Handshake => {
                "The receiver did not agree to be called, so nothing but that question was sent"
            }
        };
        if self.detail.is_empty() {
            format!("{what}.")
        } else {
            format!("{what}: {}.", self.detail)
        }
    }
}

impl Failure {
    fn stale_words(&self) -> String {
        let cause = match &*self.detail {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        format!(
            "No answer came on a connection kept from an earlier call{cause}, so the receiver was \
             called again at once on a new one."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body_end: BodyEnd) -> Outcome {
        let (headers, body) = (Headers::default(), Bytes::new());
        Outcome::Answered(HttpResponse {
            status,
            headers,
            body,
            body_end,
            note: None,
        })
    }

    #[test]
    fn only_2xx_is_success_however_the_body_ends() {
        for status in [100, 199, 300, 304, 400, 410, 500, 600, 999] {
            assert!(!answered(status, BodyEnd::Whole).is_success(), "{status}");
        }
        for end in BodyEnd::ALL {
            assert!(answered(200, end).is_success());
            assert!(answered(299, end).is_success());
        }
        assert!(!Outcome::Failed(Failure::new(FailureKind::Closed, "")).is_success());
    }

    #[test]
    fn words_are_one_sentence() {
        assert_eq!(
            answered(302, BodyEnd::Whole).words(),
            "Answered 302, failed: redirects are not followed."
        );
        assert_eq!(
            answered(500, BodyEnd::Whole).words(),
            "Answered 500, failed: only 200 to 299 count as received."
        );
        let Outcome::Answered(answer) = answered(200, BodyEnd::Broken) else {
            unreachable!()
        };
        let note = "line 3 of its head has no colon";
        assert_eq!(
            Outcome::Answered(HttpResponse {
                note: Some(note.into()),
                ..answer
            })
            .words(),
            "Answered 200, delivered; line 3 of its head has no colon."
        );
        let failure = Failure::new(FailureKind::Connect, "connection refused");
        assert_eq!(
            Outcome::Failed(failure).words(),
            "No connection to the receiver came about: connection refused."
        );
    }

    #[test]
    fn names_come_back_as_they_went_in() {
        for kind in FailureKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for end in BodyEnd::ALL {
            assert_eq!(end.as_str().parse(), Ok(end));
        }
    }
}
