//! What a visit comes to: a page, another place to go to, or trouble; and what every answer of
//! the dashboard carries.

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
    /// There is no such page, or nothing that the visitor may know of.
    NotFound,
    /// Somebody has to sign in first.
    SignIn,
    /// The visitor is known here, but may not do that: it takes this role.
    NeedsRole(Role),
    /// The form is not ours, or too old.
    NotOurs,
    /// A form comes from a page under another host than it was sent to: a proxy changes that.
    Elsewhere {
        origin: String,
        host: String,
    },
    Refused(Refusal),
}

/// Nothing from elsewhere, no script or style within a page, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Paths name tenants and webhooks, which is nobody else's business.
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

/// A page that is there.
///
/// # Errors
/// If the template fails, which only a value that cannot be printed does.
pub(crate) fn page(template: &impl Template) -> Result<PageResponse, PageError> {
    page_with(StatusCode::OK, template)
}

/// As `page`, with a status of its own: 422 for a form that is shown again with its faults.
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
    let mut shown = Response::new(Body::from(text));
    *shown.status_mut() = status;
    let form = HeaderValue::from_static("text/html; charset=utf-8");
    shown.headers_mut().insert(CONTENT_TYPE, form);
    Ok(shown)
}

/// Goes on at `place`, a path of our own, with GET (RFC 9110, 15.4.4).
pub(crate) fn go_to(place: &str) -> PageResponse {
    let mut shown = Response::new(Body::empty());
    *shown.status_mut() = StatusCode::SEE_OTHER;
    // What is put into a path is encoded or a number; anything else leads home.
    let place = HeaderValue::try_from(place);
    let place = place.unwrap_or_else(|_| HeaderValue::from_static("/"));
    shown.headers_mut().insert(LOCATION, place);
    shown
}

/// Adds what every answer carries.
pub(super) fn finished(mut shown: PageResponse) -> PageResponse {
    let headers = shown.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(value);
    }
    // A page is for one person at one moment: nobody else's cache may have it.
    let never = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(never);
    shown
}
