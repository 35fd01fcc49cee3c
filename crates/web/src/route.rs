//! Route: from tables of places to answers. A place is a path, what it needs, and its handlers.
//!
//! Every request goes the same way: host, place, who asks, what may be answered, rights, method,
//! parameters, body, idempotency key, handler. Words and shapes of what is refused are the
//! dialect's.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use model::idempotency::IdempotencyKey;
use model::refusal::Refusal;
use model::tenant::{Permission, Tenant, TokenHash};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use tracing::Level;

use crate::auth::{self, AuthScheme, Caller, RequiredAccess};
use crate::dialects::Dialect;
use crate::idempotency;
use crate::state::Shared;
use crate::tasks;
use crate::transport::body::{self, Body, BodyAdmission};
use crate::transport::body_budget::BudgetOwner;
use crate::transport::host::{host_of, is_secure, vet_headers};
use crate::transport::query::Query;

pub(crate) type ApiResponse = Response<Bytes>;

/// Those whose things a request is about.
pub(crate) type TenantList = Vec<Arc<Tenant>>;

/// What a handler comes to.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<ApiResponse, Refusal>> + Send>>;

pub(crate) type Handler = Arc<dyn Fn(AdmittedRequest) -> ResponseFuture + Send + Sync>;

/// A place that can be asked for.
#[derive(Clone)]
pub(crate) struct Route {
    /// For metrics and tests.
    pub(crate) name: &'static str,
    /// For people who ask what this place is.
    pub(crate) title: &'static str,
    /// What is found here, for saying that it is not.
    pub(crate) object: &'static str,
    /// A segment in braces stands for any one segment. A slash at the end is part of the path,
    /// but requests that change something may leave it out.
    pub(crate) path: &'static str,
    pub(crate) whose: TenantScope,
    /// Whether the last segment may carry the name of a form, such as `.json`.
    pub(crate) suffixed: bool,
    /// The only method for which this place is there at all.
    pub(crate) only: Option<Method>,
    pub(crate) schemes: &'static [AuthScheme],
    /// What methods that change nothing need, and all others.
    pub(crate) read: RequiredAccess,
    pub(crate) write: RequiredAccess,
    pub(crate) takes: QueryRule,
    pub(crate) body_bytes_max: usize,
    pub(crate) verbs: Vec<(Method, Handler)>,
    /// What is made of all this when it is first needed.
    pub(crate) made: OnceLock<CompiledRoute>,
}

/// What every request needs of a place: its path taken apart, its `Allow` header.
#[derive(Clone)]
pub(crate) struct CompiledRoute {
    parts: Vec<PathSegment>,
    ends_in_slash: bool,
    allow: Option<HeaderValue>,
}

#[derive(Clone, Copy)]
enum PathSegment {
    Word(&'static str),
    /// Any one segment.
    Param(&'static str),
}

/// Whose things a place is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TenantScope {
    /// Nobody's in particular.
    Nobodys,
    /// Those of the tenant that this segment of the path names.
    Named(&'static str),
    /// Those of every tenant whoever asks is listed for, as far as the request narrows them.
    Listed(fn(&RequestHead, TenantList) -> TenantList),
}

/// Which parameters the query of a request may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QueryRule {
    /// What is not known is ignored: for places where clients are used to that.
    Lenient,
    /// Each of these at most once: with methods that change nothing, and with all others.
    Only {
        read: &'static [&'static str],
        write: &'static [&'static str],
    },
}

/// A request before anybody knows who is asking.
pub(crate) struct RequestHead {
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// The form that the path asks for, such as `json`.
    pub(crate) suffix: Option<String>,
    /// Its body waits for room: nothing has happened yet, and without a caller nothing needs to.
    waits: AtomicBool,
    uri: Uri,
    params: Vec<(&'static str, String)>,
}

/// A request that was let in.
pub(crate) struct AdmittedRequest {
    pub(crate) shared: Arc<Shared>,
    pub(crate) head: Arc<RequestHead>,
    pub(crate) caller: Caller,
    pub(crate) body: Bytes,
    /// Those whose things are asked for, and at whom whoever asks may do that.
    pub(crate) tenants: TenantList,
    /// Under which the request is to have its effect once; boxed because it is rare.
    pub(crate) key: Option<Box<IdempotencyKey>>,
}

/// How a path leads to a place.
#[derive(Default)]
struct RouteMatch {
    params: Vec<(&'static str, String)>,
    suffix: Option<String>,
    lacks_slash: bool,
}

/// Answers a request. What can be said at once is made before anybody waits.
pub(crate) fn serve(
    shared: Arc<Shared>,
    request: Request<Body>,
) -> impl Future<Output = Response<Body>> + Send + 'static {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let shown = || Box::new((parts.method.clone(), parts.uri.clone()));
    let head = tracing::enabled!(Level::DEBUG).then(shown);
    let begun = match shared.dialects.at(parts.uri.path()) {
        None => RoutingResult::Answered("none", Box::new(nowhere())),
        Some(dialect) => begin(&shared, dialect, parts, body),
    };
    async move {
        let (name, answer) = begun.end().await;
        let (status, took) = (answer.status(), began.elapsed());
        shared.meters.request(name, status, took);
        if let Some(head) = head {
            let (method, path) = (&head.0, head.1.path());
            tracing::debug!(%method, path, status = status.as_u16(), ?took, "answered");
        }
        answer.map(Body::from)
    }
}

/// A request at its place, or its answer already with the name of the place, for metrics.
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
                let broken = || (head.dialect.refuse)(&head, &Refusal::Internal);
                (route.name, finished(&route, answer.unwrap_or_else(broken)))
            }
        }
    }
}

/// No dialect has places there.
fn nowhere() -> ApiResponse {
    let mut answer = ApiResponse::new(Bytes::from_static(b"{\"detail\":\"Not found.\"}"));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    let form = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

fn begin(
    shared: &Arc<Shared>,
    dialect: Arc<Dialect>,
    parts: request::Parts,
    body: Body,
) -> RoutingResult<impl Future<Output = Option<ApiResponse>> + Send + use<>> {
    let found = dialect.find(&parts.method, parts.uri.path());
    let lacks_slash = found.as_ref().is_some_and(|(_, way)| way.lacks_slash);
    let (query, readable) = Query::of(&parts.uri);
    let head = Arc::new(RequestHead::new(dialect, parts, query, found));
    let refuse = |refusal: &Refusal| (head.dialect.refuse)(&head, refusal);
    let vetted = vet_headers(&head.headers, &head.uri, &shared.settings.hosts).and(readable);
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
        let (shared, head, route) = (Arc::clone(shared), Arc::clone(&head), Arc::clone(&route));
        async move {
            let come = enter(shared, &head, &route, body).await;
            come.unwrap_or_else(|refusal| (head.dialect.refuse)(&head, &refusal))
        }
    };
    let waiting = Arc::clone(&head);
    let goes_on = move || !waiting.waits.load(Ordering::Relaxed);
    RoutingResult::Entered(head, route, tasks::finish(work, goes_on))
}

/// From a place that was found to what its handler answers.
async fn enter(
    shared: Arc<Shared>,
    head: &Arc<RequestHead>,
    route: &Route,
    body: Body,
) -> Result<ApiResponse, Refusal> {
    let caller = auth::identify(&shared, &head.headers, route.schemes).await?;
    let key = if changes(&head.method) {
        idempotency::key_of(&head.headers)?
    } else {
        None
    };
    let admitted = admit(&shared, head, route, &caller).await;
    // Without a key nobody will ask for this answer again, so a body that will not be looked at
    // need not be read.
    if let (Err(refusal), None) = (&admitted, &key) {
        return Err(refusal.clone());
    }
    // The room is taken until there is an answer.
    let (body, _taken) = if changes(&head.method) {
        let most = route.body_bytes_max;
        let owner = match admitted.as_ref().map(|(tenants, _)| tenants.as_slice()) {
            Ok([tenant]) => BudgetOwner::Tenant(tenant.id),
            Ok(_) | Err(_) => match caller.only_tenant() {
                Some(tenant) => BudgetOwner::Tenant(tenant),
                None => BudgetOwner::Token(caller.hash),
            },
        };
        let space = BodyAdmission {
            room: &shared.room,
            owner,
            waits: &head.waits,
        };
        body::read(&head.headers, body, most, space).await?
    } else {
        (Bytes::new(), None)
    };
    let key = key.map(|key| {
        Box::new(IdempotencyKey {
            key,
            holder: caller.hash,
            request: fingerprint(head, &body),
        })
    });
    let kept_as = key.clone();
    let handled = async {
        let (tenants, handler) = admitted?;
        let (shared, head) = (Arc::clone(&shared), Arc::clone(head));
        handler(AdmittedRequest {
            shared,
            head,
            caller,
            body,
            tenants,
            key,
        })
        .await
    };
    let Some(key) = kept_as else {
        return handled.await;
    };
    let rendered = async {
        let come = handled.await;
        come.unwrap_or_else(|refusal| (head.dialect.refuse)(head, &refusal))
    };
    // Keys are rare, and what keeping an answer takes would be moved about with every request.
    Box::pin(idempotency::respond_once(&shared, &key, rendered)).await
}

/// Whose things are asked for, and who handles it; or why not.
async fn admit(
    shared: &Shared,
    head: &RequestHead,
    route: &Route,
    caller: &Caller,
) -> Result<(TenantList, Handler), Refusal> {
    (head.dialect.admit)(head)?;
    let dialect = &head.dialect.name;
    let mut tenants = match route.whose {
        TenantScope::Nobodys => Vec::new(),
        TenantScope::Named(param) => {
            let found = shared.callers.tenant(shared, dialect, head.param(param));
            found.await?.into_iter().collect()
        }
        TenantScope::Listed(narrow) => {
            let all = shared.callers.tenants_of(shared, dialect, caller);
            narrow(head, all.await?)
        }
    };
    let need = if head.method.is_safe() {
        route.read
    } else {
        route.write
    };
    tenants.retain(|tenant| caller.may(need, Some(tenant)));
    if tenants.is_empty() && !caller.may(need, None) {
        return Err(Refusal::Forbidden);
    }
    let handler = match &head.method {
        &Method::OPTIONS => {
            let describe: Handler = Arc::new(head.dialect.describe);
            Some(describe)
        }
        &Method::HEAD => route.handler(&Method::GET),
        method => route.handler(method),
    };
    let handler = handler.ok_or_else(|| Refusal::NoSuchMethod(head.method.to_string()))?;
    route.takes.judge(head)?;
    Ok((tenants, handler))
}

/// What tells one request from another under the same idempotency key.
fn fingerprint(head: &RequestHead, body: &Bytes) -> TokenHash {
    let path = head.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let query = head.uri.query().unwrap_or_default();
    let method = head.method.as_str();
    TokenHash::of_parts(&[method.as_bytes(), path.as_bytes(), query.as_bytes(), body])
}

fn changes(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// The same place with the slash that its path ends with.
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

/// Adds what every answer of a place carries.
fn finished(route: &Route, mut answer: ApiResponse) -> ApiResponse {
    if let Some(allow) = &route.made().allow {
        answer.headers_mut().insert(ALLOW, allow.clone());
    }
    answer
}

impl Route {
    fn handler(&self, method: &Method) -> Option<Handler> {
        let found = self.verbs.iter().find(|(own, _)| own == method);
        found.map(|(_, handler)| Arc::clone(handler))
    }

    fn made(&self) -> &CompiledRoute {
        self.made.get_or_init(|| CompiledRoute::of(self))
    }

    /// The methods of this place, as the `Allow` header lists them.
    pub(crate) fn allow(&self) -> String {
        const ORDER: [Method; 5] = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        let has = |method: &&Method| self.verbs.iter().any(|(own, _)| own == *method);
        let mut names: Vec<&str> = ORDER.iter().filter(has).map(Method::as_str).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.join(", ")
    }

    /// Whether `segments` lead here, and what stands for the segments in braces.
    fn way(&self, segments: &[&str], ends_in_slash: bool) -> Option<RouteMatch> {
        let pattern = self.made();
        let wants_slash = pattern.ends_in_slash;
        if pattern.parts.len() != segments.len() || (ends_in_slash && !wants_slash) {
            return None;
        }
        let Some((last, before)) = segments.split_last() else {
            // The root is nothing but its slash.
            return Some(RouteMatch::default());
        };
        let dot = self.suffixed.then(|| last.rsplit_once('.')).flatten();
        let (stem, suffix) = match dot {
            Some((stem, form)) => (stem, Some(is_form(form).then_some(form)?)),
            None => (*last, None),
        };
        // Most places are not meant, and most of those differ at their end.
        let texts = || before.iter().copied().chain([stem]);
        let (last_part, parts) = pattern.parts.split_last()?;
        if !last_part.fits(stem) || !parts.iter().zip(before).all(|(part, text)| part.fits(text)) {
            return None;
        }
        let param = |(part, text): (&PathSegment, &str)| match part {
            PathSegment::Word(_) => None,
            PathSegment::Param(name) => Some((*name, text.to_owned())),
        };
        Some(RouteMatch {
            params: pattern
                .parts
                .iter()
                .zip(texts())
                .filter_map(param)
                .collect(),
            suffix: suffix.map(str::to_owned),
            lacks_slash: wants_slash && !ends_in_slash && suffix.is_none(),
        })
    }
}

impl QueryRule {
    fn judge(self, head: &RequestHead) -> Result<(), Refusal> {
        match self {
            Self::Lenient => Ok(()),
            Self::Only { read, .. } if head.method.is_safe() => head.query.only(read),
            Self::Only { write, .. } => head.query.only(write),
        }
    }
}

impl PathSegment {
    fn fits(self, text: &str) -> bool {
        match self {
            Self::Word(word) => text == word,
            Self::Param(_) => !text.is_empty(),
        }
    }
}

/// No place lies deeper.
const SEGMENTS_MAX: usize = 12;

impl CompiledRoute {
    fn of(route: &Route) -> Self {
        let (path, ends_in_slash) = match route.path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (route.path, false),
        };
        let part = |part: &'static str| {
            let param = part
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            param.map_or(PathSegment::Word(part), PathSegment::Param)
        };
        let parts: Vec<PathSegment> = path.split('/').skip(1).map(part).collect();
        assert!(parts.len() <= SEGMENTS_MAX, "{path} is found");
        Self {
            parts,
            ends_in_slash,
            allow: HeaderValue::try_from(route.allow()).ok(),
        }
    }
}

fn is_form(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty() && text.bytes().all(letter)
}

impl Dialect {
    fn find(&self, method: &Method, path: &str) -> Option<(Arc<Route>, RouteMatch)> {
        let path = path.strip_prefix('/')?;
        let (path, ends_in_slash) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        // Escapes are rare, and what has none is compared where it stands.
        let decoded: Vec<Cow<'_, str>> = match path.contains('%') {
            true => {
                let decoded = |raw| percent_decode_str(raw).decode_utf8_lossy();
                path.split('/').map(decoded).collect()
            }
            false => Vec::new(),
        };
        let mut room = [""; SEGMENTS_MAX];
        let length = match decoded.is_empty() {
            true => split(path, &mut room)?,
            false => {
                for (index, segment) in decoded.iter().enumerate() {
                    *room.get_mut(index)? = segment;
                }
                decoded.len()
            }
        };
        let segments = room.get(..length)?;
        let here = |route: &&Arc<Route>| route.only.as_ref().is_none_or(|only| only == method);
        let mut routes = self.routes.iter().filter(here);
        routes.find_map(|route| Some((Arc::clone(route), route.way(segments, ends_in_slash)?)))
    }
}

/// The segments of a path, and how many they are; nothing if there are more than any place has.
/// They are short, and the library's way to look for a character is made for long texts.
fn split<'a>(mut path: &'a str, room: &mut [&'a str; SEGMENTS_MAX]) -> Option<usize> {
    if path.is_empty() {
        return Some(0);
    }
    for (index, route) in room.iter_mut().enumerate() {
        let Some(end) = path.bytes().position(|byte| byte == b'/') else {
            *route = path;
            return Some(index + 1);
        };
        (*route, path) = (path.get(..end)?, path.get(end + 1..)?);
    }
    None
}

impl RequestHead {
    fn new(
        dialect: Arc<Dialect>,
        parts: request::Parts,
        query: Query,
        found: Option<(Arc<Route>, RouteMatch)>,
    ) -> Self {
        let (route, params, suffix) = match found {
            Some((route, way)) => (Some(route), way.params, way.suffix),
            None => (None, Vec::new(), None),
        };
        Self {
            dialect,
            route,
            method: parts.method,
            query,
            headers: parts.headers,
            suffix,
            waits: AtomicBool::new(false),
            uri: parts.uri,
            params,
        }
    }

    /// As it was sent.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// What links to this server begin with.
    pub(crate) fn origin(&self) -> String {
        let scheme = if is_secure(&self.headers) {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.host().unwrap_or("localhost"))
    }

    fn host(&self) -> Option<&str> {
        host_of(&self.headers, &self.uri)
    }

    /// What stands in the path for the segment in braces.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

impl AdmittedRequest {
    /// Whose things are asked for. Places that name a tenant are only entered if there is one.
    pub(crate) fn tenant(&self) -> Result<&Tenant, Refusal> {
        let first = self.tenants.first().ok_or(Refusal::Forbidden)?;
        Ok(first)
    }

    /// Who is asking, for the audit log.
    pub(crate) fn actor(&self, wanted: Permission) -> Result<String, Refusal> {
        Ok(self.caller.actor(self.tenant()?, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_they_are_everywhere() {
        for path in [
            "",
            "a",
            "a/b",
            "/",
            "//a/",
            "ä/ö",
            "1/2/3/4/5/6/7/8/9/10/11/12",
        ] {
            let mut room = [""; SEGMENTS_MAX];
            let length = split(path, &mut room).unwrap();
            let all: Vec<&str> = path.split('/').filter(|_| !path.is_empty()).collect();
            assert_eq!(room[..length], all, "{path}");
        }
        let mut room = [""; SEGMENTS_MAX];
        assert_eq!(split("1/2/3/4/5/6/7/8/9/10/11/12/", &mut room), None);
    }
}
