//! Every refusal in this dialect's words: status, body, and headers that go with it.

use model::refusal::{AuthFailure, Fault, Refusal};

use super::super::json::JsonValue;
use super::super::refuse;

type Told = (Refusal, u16, &'static str);

fn of_callers() -> [Told; 6] {
    [
        (
            Refusal::Unauthenticated(AuthFailure::Missing),
            401,
            "Authentication credentials were not provided.",
        ),
        (
            Refusal::Unauthenticated(AuthFailure::NoToken),
            401,
            "Invalid token header. No credentials provided.",
        ),
        (
            Refusal::Unauthenticated(AuthFailure::Spaces),
            401,
            "Invalid token header. Token string should not contain spaces.",
        ),
        (
            Refusal::Unauthenticated(AuthFailure::Unknown),
            401,
            "Invalid token.",
        ),
        (
            Refusal::Unauthenticated(AuthFailure::Inactive),
            401,
            "Token inactive or deleted.",
        ),
        (
            Refusal::Unauthenticated(AuthFailure::Revoked),
            401,
            "Device access has been revoked.",
        ),
    ]
}

fn of_requests() -> Vec<Told> {
    let two = vec![Fault::new("a", "x"), Fault::new("b", "y")];
    let text = || "words".to_owned();
    vec![
        (
            Refusal::Forbidden,
            403,
            "You do not have permission to perform this action.",
        ),
        (Refusal::NoSuchRoute, 404, "Not found."),
        (
            Refusal::NoSuchObject,
            404,
            "No WebHook matches the given query.",
        ),
        (Refusal::NotAName, 404, "Not found."),
        (Refusal::NoSuchPage, 404, "Invalid page."),
        (
            Refusal::NoSuchMethod("FOO".to_owned()),
            405,
            "Method \"FOO\" not allowed.",
        ),
        (
            Refusal::NotAcceptable,
            406,
            "Could not satisfy the request Accept header.",
        ),
        (
            Refusal::UnknownForm("a/b".to_owned()),
            415,
            "Unsupported media type \"a/b\" in request.",
        ),
        (Refusal::Unreadable(text()), 400, "words"),
        (Refusal::Invalid(two), 400, "Invalid data."),
        (Refusal::BadRequest(text()), 400, "words"),
        (
            Refusal::TooLarge(5),
            413,
            "The body may have at most 5 bytes.",
        ),
        (Refusal::TooSlow, 408, "The body did not arrive in time."),
        (Refusal::Contradiction(text()), 409, "words"),
        (
            Refusal::KeyReused,
            422,
            "This idempotency key was used for a different request.",
        ),
        (
            Refusal::KeyRunning,
            409,
            "Concurrent request with idempotency key.",
        ),
        (
            Refusal::Busy(3),
            503,
            "The server cannot take this on now. Ask again later.",
        ),
        (Refusal::Internal, 500, "Internal server error."),
    ]
}

#[test]
fn every_refusal_has_its_status_and_words() {
    for (refusal, status, words) in of_requests().into_iter().chain(of_callers()) {
        assert_eq!(refuse::status(&refusal).as_u16(), status, "{refusal:?}");
        assert_eq!(refuse::words(&refusal, "WebHook"), words);
    }
}

#[test]
fn faults_come_field_by_field() {
    let refusal = Refusal::Invalid(vec![Fault::new("a", "x"), Fault::new("b", "y")]);
    assert_eq!(
        refuse::faults(&refusal).answered(0),
        r#"{"a":["x"],"b":["y"]}"#
    );
    assert_eq!(refuse::faults(&Refusal::Forbidden), JsonValue::Null);
}
