//! Refusals in pretix's words and statuses.
//!
//! Faults of fields are an object of lists, everything else is `detail`. Where pretix answers with
//! a page of HTML, the response has `detail` with the same status.

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use model::refusal::{AuthFailure, Refusal};

use super::answer;
use super::json::{JsonObject, JsonText, JsonValue};
use crate::gateway::api::{ApiResponse, RequestHead};
use crate::gateway::store::disk_words;

/// `Retry-After` in seconds for a request whose key is in use.
const KEY_RUNNING_AFTER_S: u32 = 5;

pub(super) fn refuse(head: &RequestHead, refusal: &Refusal) -> ApiResponse {
    let object = head.route.as_ref().map_or("", |route| route.object);
    let body = if matches!(refusal, Refusal::Invalid(_) | Refusal::Parameters(_)) {
        faults(refusal)
    } else {
        JsonValue::object([("detail", JsonValue::text(words(refusal, object)))])
    };
    let mut answer = answer::json(head, status(refusal), &body);
    if matches!(refusal, Refusal::Unauthenticated(_)) {
        let scheme = HeaderValue::from_static("Token");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    if let Some(seconds) = again_after(refusal) {
        let seconds = HeaderValue::from(seconds);
        answer.headers_mut().insert(RETRY_AFTER, seconds);
    }
    answer
}

/// `Retry-After` in seconds, if the refusal has one.
fn again_after(refusal: &Refusal) -> Option<u32> {
    if let Refusal::Busy(seconds) | Refusal::Disk(_, seconds) = refusal {
        Some(*seconds)
    } else {
        matches!(refusal, Refusal::KeyRunning).then_some(KEY_RUNNING_AFTER_S)
    }
}

/// The fields at fault, each with its reasons.
pub(super) fn faults(refusal: &Refusal) -> JsonValue<'_> {
    let (Refusal::Invalid(faults) | Refusal::Parameters(faults)) = refusal else {
        return JsonValue::Null;
    };
    let pairs = faults.iter().map(|fault| {
        let reasons = fault.reasons.iter().map(JsonValue::text);
        let field = JsonText::whole(fault.field.as_str());
        (field, JsonValue::List(reasons.collect()))
    });
    JsonValue::Object(JsonObject::from_pairs(pairs.collect()))
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
        Refusal::Unreadable(_)
        | Refusal::Invalid(_)
        | Refusal::Parameters(_)
        | Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Contradiction(_) | Refusal::KeyRunning => StatusCode::CONFLICT,
        Refusal::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Busy(_) | Refusal::Disk(..) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The refusal in one sentence; `object` is what the route is about.
pub(super) fn words(refusal: &Refusal, object: &str) -> String {
    let fixed = match refusal {
        Refusal::Unauthenticated(why) => unauthenticated(*why),
        Refusal::Forbidden => "You do not have permission to perform this action.",
        Refusal::NoSuchRoute | Refusal::NotAName => "Not found.",
        Refusal::NoSuchObject => return format!("No {object} matches the given query."),
        Refusal::NoSuchPage => "Invalid page.",
        Refusal::NoSuchMethod(method) => return format!("Method \"{method}\" not allowed."),
        Refusal::NotAcceptable => "Could not satisfy the request Accept header.",
        Refusal::UnknownForm(form) => {
            return format!("Unsupported media type \"{form}\" in request.");
        }
        Refusal::Unreadable(words) | Refusal::BadRequest(words) | Refusal::Contradiction(words) => {
            words
        }
        Refusal::Invalid(_) | Refusal::Parameters(_) => "Invalid data.",
        Refusal::TooLarge(most) => return format!("The body may have at most {most} bytes."),
        Refusal::TooSlow => "The body did not arrive in time.",
        Refusal::KeyReused => "This idempotency key was used for a different request.",
        Refusal::KeyRunning => "Concurrent request with idempotency key.",
        Refusal::Busy(_) => "The server cannot take this on now. Ask again later.",
        Refusal::Disk(fault, _) => {
            let what = disk_words(*fault);
            return format!("{what}, so nothing was taken on. Ask again later.");
        }
        Refusal::Internal => "Internal server error.",
    };
    fixed.to_owned()
}

fn unauthenticated(why: AuthFailure) -> &'static str {
    match why {
        AuthFailure::Missing => "Authentication credentials were not provided.",
        AuthFailure::NoToken => "Invalid token header. No credentials provided.",
        AuthFailure::Spaces => "Invalid token header. Token string should not contain spaces.",
        AuthFailure::Unknown => "Invalid token.",
        AuthFailure::Inactive => "Token inactive or deleted.",
        AuthFailure::Revoked => "Device access has been revoked.",
    }
}
