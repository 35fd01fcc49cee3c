//! Refusals in the format of the vendor's framework: `message`, and `errors` by field.

use std::fmt;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use model::refusal::Refusal;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer;
use crate::gateway::api::{ApiResponse, RequestHead};
use crate::gateway::store::disk_words;

/// Seconds after which a request whose key is in use may be repeated.
const KEY_RUNNING_AFTER_S: u32 = 5;

/// What is said of a refusal; in a batch beside the status of its entry.
#[derive(Debug, Serialize)]
pub(super) struct RefusalBody {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Map<String, Value>>,
}

impl fmt::Display for RefusalBody {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (field, reasons) in self.errors.iter().flatten() {
            write!(f, " {field}: {reasons}")?;
        }
        Ok(())
    }
}

pub(super) fn refuse(_: &RequestHead, refusal: &Refusal) -> ApiResponse {
    let answer = answer::json(status(refusal), &words(refusal));
    // Text and lists of text can always be written.
    let mut answer = answer.unwrap_or_default();
    let headers = answer.headers_mut();
    if matches!(refusal, Refusal::Unauthenticated(_)) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Refusal::Busy(seconds) | Refusal::Disk(_, seconds) = refusal {
        headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    if *refusal == Refusal::KeyRunning {
        headers.insert(RETRY_AFTER, HeaderValue::from(KEY_RUNNING_AFTER_S));
    }
    answer
}

pub(super) fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::Forbidden => StatusCode::FORBIDDEN,
        Refusal::NoSuchRoute | Refusal::NoSuchObject | Refusal::NotAName | Refusal::NoSuchPage => {
            StatusCode::NOT_FOUND
        }
        Refusal::NoSuchMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Refusal::UnknownForm(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Unreadable(_) | Refusal::Parameters(_) | Refusal::BadRequest(_) => {
            StatusCode::BAD_REQUEST
        }
        Refusal::Invalid(_) | Refusal::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Contradiction(_) | Refusal::KeyRunning => StatusCode::CONFLICT,
        Refusal::Busy(_) | Refusal::Disk(..) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) fn words(refusal: &Refusal) -> RefusalBody {
    let errors = if let Refusal::Invalid(faults) | Refusal::Parameters(faults) = refusal {
        let mut errors = Map::new();
        for fault in faults {
            let reasons = errors.entry(&fault.field).or_insert_with(|| json!([]));
            if let Value::Array(reasons) = reasons {
                reasons.extend(fault.reasons.iter().cloned().map(Value::String));
            }
        }
        Some(errors)
    } else {
        None
    };
    RefusalBody {
        message: message(refusal),
        errors,
    }
}

fn message(refusal: &Refusal) -> String {
    let fixed = match refusal {
        Refusal::Unauthenticated(_) => "Unauthenticated.",
        Refusal::Forbidden => "This action is unauthorized.",
        Refusal::NoSuchRoute | Refusal::NoSuchObject | Refusal::NotAName | Refusal::NoSuchPage => {
            "Not found."
        }
        Refusal::NoSuchMethod(method) => {
            return format!("The {method} method is not supported here.");
        }
        Refusal::NotAcceptable => "Only application/json can be answered.",
        Refusal::UnknownForm(form) => {
            return format!(
                "The body has the form \"{form}\"; send application/json, multipart/form-data or \
                 application/x-www-form-urlencoded."
            );
        }
        Refusal::Unreadable(words) | Refusal::BadRequest(words) | Refusal::Contradiction(words) => {
            words
        }
        Refusal::Invalid(_) => "The given data was invalid.",
        Refusal::Parameters(_) => "The given parameters were invalid.",
        Refusal::TooLarge(most) => return format!("At most {most} bytes are taken."),
        Refusal::TooSlow => "The body did not arrive in time.",
        Refusal::KeyReused => "This idempotency key was used for a different request.",
        Refusal::KeyRunning => "A request with this idempotency key is still running.",
        Refusal::Busy(_) => "The server has too much to do. Nothing was done; ask again later.",
        Refusal::Disk(fault, _) => {
            let what = disk_words(*fault);
            return format!("{what}. Nothing was done; ask again later.");
        }
        Refusal::Internal => "Server Error",
    };
    fixed.to_owned()
}
