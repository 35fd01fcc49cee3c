//! What a page returns: HTML, a redirect, or an error; and the headers of every response of the
//! dashboard.

use super::frames::FrameAncestors;
use crate::transport::body::Body;
use askama::Template;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use model::refusal::Refusal;
use model::users::Role;

pub(crate) type PageResponse = Response<Body>;

/// Why a page is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageError {
    /// There is no such page, or the visitor may not know of it.
    NotFound,
    /// Nobody is signed in.
    SignIn,
    /// The user lacks this role.
    NeedsRole(Role),
    /// The form has no valid CSRF token.
    NotOurs,
    /// The form was sent from a page under another host: a proxy changes the host.
    Elsewhere {
        origin: String,
        host: String,
    },
    Refused(Refusal),
}

const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Paths name tenants and webhooks, which other sites need not know.
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        let is_nothing = matches!(
            refusal,
            Refusal::NoSuchRoute | Refusal::NoSuchObject | Refusal::NotAName
        );
        if is_nothing {
            Self::NotFound
        } else {
            Self::Refused(refusal)
        }
    }
}

/// A page with status 200.
///
/// # Errors
/// If the template fails, which only a value that cannot be printed does.
pub(crate) fn page(template: &impl Template) -> Result<PageResponse, PageError> {
    page_with(StatusCode::OK, template)
}

/// As `page`, with this status: 422 for a form that is shown again with its faults.
///
/// # Errors
/// As `page`.
pub(crate) fn page_with(
    status: StatusCode,
    template: &impl Template,
) -> Result<PageResponse, PageError> {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be rendered");
        PageError::Refused(Refusal::Internal)
    })?;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let form = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, form);
    Ok(response)
}

/// Redirects to `place`, a path of our own, with GET (RFC 9110, 15.4.4).
pub(crate) fn go_to(place: &str) -> PageResponse {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // Parts of a path are encoded or numbers; anything else redirects to the start page.
    let place = HeaderValue::try_from(place);
    let place = place.unwrap_or_else(|_| HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, place);
    response
}

/// Adds the headers of every response.
pub(super) fn finished(mut response: PageResponse, frames: &FrameAncestors) -> PageResponse {
    let headers = response.headers_mut();
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert_with(|| frames.policy());
    // It knows only one origin, or none.
    if !frames.is_any() {
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    // A page is for one user at one moment: no cache may keep it.
    let never = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(never);
    response
}
