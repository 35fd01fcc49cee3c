//! Answers in JSON, and refusals: `detail` in words, and `errors` by field.

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use model::refusal::{AuthFailure, Refusal};
use serde_json::{Map, Value, json};

use crate::dialect::own_block;
use crate::gateway::api::{ApiResponse, RequestHead};
use crate::gateway::auth::RequiredAccess;
use crate::gateway::store::disk_words;

/// Seconds after which a request whose key is in use may be repeated.
const KEY_RUNNING_AFTER_S: u32 = 5;

/// What is wrong with the body as a whole is found under this name.
const WHOLE: &str = "body";

pub(super) fn ok(value: &Value) -> ApiResponse {
    own_block::answer(StatusCode::OK, value)
}

/// 201 if it was created, else 200.
pub(super) fn put(is_created: bool, value: &Value) -> ApiResponse {
    let status = match is_created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    own_block::answer(status, value)
}

pub(super) fn empty() -> ApiResponse {
    own_block::no_content()
}

pub(super) fn refuse(head: &RequestHead, refusal: &Refusal) -> ApiResponse {
    let mut body = json!({ "detail": words(head, refusal) });
    if let Refusal::Invalid(faults) | Refusal::Parameters(faults) = refusal {
        let mut errors: Map<String, Value> = Map::new();
        for fault in faults {
            let field = match fault.field.as_str() {
                "" => WHOLE,
                field => field,
            };
            let reasons = errors.entry(field).or_insert_with(|| json!([]));
            if let Value::Array(reasons) = reasons {
                reasons.extend(fault.reasons.iter().map(|reason| json!(reason)));
            }
        }
        body = json!({ "detail": words(head, refusal), "errors": errors });
    }
    let mut answer = own_block::answer(status(refusal), &body);
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

fn status(refusal: &Refusal) -> StatusCode {
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

fn words(head: &RequestHead, refusal: &Refusal) -> String {
    let fixed = match refusal {
        Refusal::Unauthenticated(why) => unauthenticated(*why),
        Refusal::Forbidden => return forbidden(head),
        Refusal::NoSuchRoute | Refusal::NotAName | Refusal::NoSuchPage => "There is nothing here.",
        Refusal::NoSuchObject => {
            let object = head.route.as_ref().map_or("thing", |route| route.object);
            return format!("There is no such {object}, or no such tenant.");
        }
        Refusal::NoSuchMethod(method) => return format!("{method} is not possible here."),
        Refusal::NotAcceptable => "Only JSON can be answered.",
        Refusal::UnknownForm(form) => return format!("{form} cannot be read. Send JSON."),
        Refusal::Unreadable(words) | Refusal::BadRequest(words) | Refusal::Contradiction(words) => {
            words
        }
        Refusal::Invalid(_) => "Some fields are wrong; nothing was changed.",
        Refusal::Parameters(_) => "Some parameters are wrong; nothing was changed.",
        Refusal::TooLarge(most) => return format!("The body may have at most {most} bytes."),
        Refusal::TooSlow => "The body did not arrive in time.",
        Refusal::KeyReused => "This idempotency key was used for a different request.",
        Refusal::KeyRunning => "The first request with this idempotency key is still running.",
        Refusal::Busy(_) => "The server cannot take this on now. Ask again later.",
        Refusal::Disk(fault, _) => {
            let what = disk_words(*fault);
            return format!("{what}, so nothing was changed. Ask again later.");
        }
        Refusal::Internal => "This is the server's fault. Its log has the cause.",
    };
    fixed.to_owned()
}

/// Which token it takes, and how to make one.
fn forbidden(head: &RequestHead) -> String {
    let needed = head
        .route
        .as_ref()
        .map(|route| match head.method.is_safe() {
            true => route.read,
            false => route.write,
        });
    let Some(RequiredAccess::Everywhere(permission)) = needed else {
        return "This token may not do that.".to_owned();
    };
    format!(
        "That takes an administrator's token with the permission {permission}. `willcall token \
         create --administrator` makes one."
    )
}

fn unauthenticated(why: AuthFailure) -> &'static str {
    match why {
        AuthFailure::Missing | AuthFailure::NoToken => {
            "Send an administrator's token: Authorization: Bearer \u{2026}"
        }
        AuthFailure::Spaces => "A token has no spaces.",
        AuthFailure::Unknown => "There is no such token.",
        AuthFailure::Inactive => "This token is revoked.",
        AuthFailure::Revoked => "This device has no access any more.",
    }
}
