//! Serving an API: from a request to its answer. Every request takes the same steps: host, route,
//! authentication, format, rights, method, parameters, body, idempotency key, handler. The dialect
//! decides how a refusal is worded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode, request};
use model::refusal::Refusal;
use tokio::time::Instant;
use tracing::Level;

use super::admit::{self, changes};
use super::api::{Api, ApiResponse, RequestHead, Route, StreamedBody};
use super::gate::Gateway;
use crate::tasks;
use crate::transport::body::Body;
use crate::transport::host::vet_headers;
use crate::transport::query::Query;

/// Answers a request. An answer that needs no waiting is made before the future is polled.
pub(crate) fn serve(
    gateway: Arc<Gateway>,
    request: Request<Body>,
) -> impl Future<Output = Response<Body>> + Send + 'static {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let shown = || Box::new((parts.method.clone(), parts.uri.clone()));
    let logged = tracing::enabled!(Level::DEBUG).then(shown);
    let begun = match gateway.at(parts.uri.path()) {
        None => RoutingResult::Answered("none", Box::new(not_found())),
        Some(api) => begin(&gateway, api, parts, body),
    };
    async move {
        let (name, answer) = begun.end().await;
        let (status, took) = (answer.status(), began.elapsed());
        gateway.metrics.request(name, status, took);
        if let Some(logged) = logged {
            let (method, path) = (&logged.0, logged.1.path());
            tracing::debug!(%method, path, status = status.as_u16(), ?took, "answered");
        }
        StreamedBody::finish(answer)
    }
}

/// A request at its route, or its answer already, with the name of the route for metrics.
enum RoutingResult<W> {
    /// Boxed because it is rare, and all this is moved about.
    Answered(&'static str, Box<ApiResponse>),
    Entered(Arc<RequestHead>, Arc<Route>, W),
}

impl<W: Future<Output = Option<ApiResponse>>> RoutingResult<W> {
    async fn end(self) -> (&'static str, ApiResponse) {
        match self {
            Self::Answered(name, answer) => (name, *answer),
            Self::Entered(head, route, work) => {
                let answer = work.await;
                let broken = || (head.api.refuse)(&head, &Refusal::Internal);
                (route.name, finished(&route, answer.unwrap_or_else(broken)))
            }
        }
    }
}

/// No API has routes there.
fn not_found() -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::from_static(b"{\"detail\":\"Not found.\"}"));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

fn begin(
    gateway: &Arc<Gateway>,
    api: Arc<Api>,
    parts: request::Parts,
    body: Body,
) -> RoutingResult<impl Future<Output = Option<ApiResponse>> + Send + use<>> {
    let found = api.find(&parts.method, parts.uri.path());
    let lacks_slash = found.as_ref().is_some_and(|(_, way)| way.lacks_slash);
    let (query, readable) = Query::of(&parts.uri);
    let head = Arc::new(RequestHead::new(api, parts, query, found));
    let refuse = |refusal: &Refusal| (head.api.refuse)(&head, refusal);
    let vetted = vet_headers(&head.headers, &head.uri, &gateway.hosts).and(readable);
    let Some(route) = head.route.clone() else {
        let refusal = vetted.err().unwrap_or(Refusal::NoSuchRoute);
        return RoutingResult::Answered("none", Box::new(refuse(&refusal)));
    };
    if let Err(refusal) = vetted {
        let answer = finished(&route, refuse(&refusal));
        return RoutingResult::Answered(route.name, Box::new(answer));
    }
    if lacks_slash && !changes(&head.method) {
        return RoutingResult::Answered(route.name, Box::new(moved(&head)));
    }
    let work = {
        let (gateway, head, route) = (Arc::clone(gateway), Arc::clone(&head), Arc::clone(&route));
        async move {
            let come = admit::enter(&gateway, &head, &route, body).await;
            come.unwrap_or_else(|refusal| (head.api.refuse)(&head, &refusal))
        }
    };
    let waiting = Arc::clone(&head);
    let goes_on = move || !waiting.waits.load(Ordering::Relaxed);
    RoutingResult::Entered(head, route, tasks::finish(work, goes_on))
}

/// The same route with the slash that its path ends with.
fn moved(head: &RequestHead) -> ApiResponse {
    let query = head.uri.query();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = ApiResponse::new(Bytes::new());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let form = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    if let Ok(target) = HeaderValue::try_from(format!("{}/{query}", head.path())) {
        answer.headers_mut().insert(LOCATION, target);
    }
    answer
}

/// Adds what every answer of a route carries.
fn finished(route: &Route, mut answer: ApiResponse) -> ApiResponse {
    if let Some(allow) = &route.compiled().allow {
        answer.headers_mut().insert(ALLOW, allow.clone());
    }
    answer
}
