//! An API: the table of routes that a dialect hands in, the head of a request, and what a handler
//! gets. A route is a path, what it requires, and its handlers.
//!
//! These types refer to one another, so they share a file. The files beside it use them.

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, request};
use model::contract::{Frontend, StoreFuture};
use model::idempotency::IdempotencyKey;
use model::refusal::Refusal;
use model::tenant::{DialectName, Permission, Tenant};
use model::webhook::Webhook;

use super::auth::{AuthScheme, RequiredAccess};
use super::authenticator::Caller;
use super::context::Context;
use super::matching::{Pattern, RouteMatch, with_segments};
use crate::sync::lock;
use crate::transport::body::Body;
use crate::transport::host::{host_of, is_secure};
use crate::transport::query::Query;

/// One API, as the gateway sees it.
pub(crate) struct Api {
    pub(crate) name: DialectName,
    /// The first segments of the paths of its routes.
    pub(crate) roots: &'static [&'static str],
    pub(crate) routes: Vec<Arc<Route>>,
    /// Its part of the OpenAPI document, in JSON.
    pub(crate) openapi: &'static str,
    /// Headers that calls of its webhooks have from it.
    pub(crate) headers: &'static [&'static str],
    /// Judges a request of somebody known, before rights are judged.
    pub(crate) admit: fn(&RequestHead) -> Result<(), Refusal>,
    /// Answers OPTIONS.
    pub(crate) describe: fn(AdmittedRequest) -> ResponseFuture,
    pub(crate) refuse: fn(&RequestHead, &Refusal) -> ApiResponse,
}

pub(crate) type ApiResponse = Response<Bytes>;

/// A body that is made while it is sent. It goes along with a response to a request that changes
/// nothing, in place of its bytes.
#[derive(Clone)]
pub(crate) struct StreamedBody(Arc<Mutex<Option<Body>>>);

/// The tenants that a request is about.
pub(crate) type TenantList = Vec<Arc<Tenant>>;

/// What a handler returns.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<ApiResponse, Refusal>> + Send>>;

pub(crate) type Handler = Arc<dyn Fn(AdmittedRequest) -> ResponseFuture + Send + Sync>;

/// A path with its handlers.
#[derive(Clone)]
pub(crate) struct Route {
    /// For metrics and tests.
    pub(crate) name: &'static str,
    /// What OPTIONS calls it.
    pub(crate) title: &'static str,
    /// What is found here, for a 404 that names it.
    pub(crate) object: &'static str,
    /// A segment in braces stands for any one segment. A slash at the end is part of the path,
    /// but requests that change something may leave it out.
    pub(crate) path: &'static str,
    pub(crate) whose: TenantScope,
    /// Whether the last segment may carry the name of a form, such as `.json`.
    pub(crate) suffixed: bool,
    /// The only method for which this route exists.
    pub(crate) only: Option<Method>,
    pub(crate) schemes: &'static [AuthScheme],
    /// The access that safe methods require, and that all others require.
    pub(crate) read: RequiredAccess,
    pub(crate) write: RequiredAccess,
    pub(crate) takes: QueryRule,
    pub(crate) body_bytes_max: usize,
    pub(crate) verbs: Vec<(Method, Handler)>,
    /// Made when it is first needed.
    pub(crate) compiled: OnceLock<CompiledRoute>,
}

/// The parts of a route that every request needs: its pattern and its `Allow` header.
#[derive(Clone)]
pub(crate) struct CompiledRoute {
    pattern: Pattern,
    pub(super) allow: Option<HeaderValue>,
}

/// Whose data a route is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TenantScope {
    /// No tenant's.
    Nobodys,
    /// That of the tenant which this segment of the path names.
    Named(&'static str),
    /// That of every tenant the caller has a grant for, as far as the request narrows them.
    Listed(fn(&RequestHead, TenantList) -> TenantList),
}

/// Which parameters the query of a request may have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QueryRule {
    /// Unknown parameters are ignored, because clients of this route rely on it.
    Lenient,
    /// Each of these at most once: with methods that change nothing, and with all others.
    Only {
        read: &'static [&'static str],
        write: &'static [&'static str],
    },
}

/// The head of a request, before the caller is known.
pub(crate) struct RequestHead {
    pub(crate) api: Arc<Api>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// The form that the path asks for, such as `json`.
    pub(crate) suffix: Option<String>,
    /// Its body waits for memory: nothing has happened yet, and if the caller hangs up nothing
    /// needs to.
    pub(super) waits: AtomicBool,
    pub(super) uri: Uri,
    params: Vec<(&'static str, String)>,
}

/// A request that was admitted.
pub(crate) struct AdmittedRequest {
    pub(crate) context: Arc<Context>,
    pub(crate) head: Arc<RequestHead>,
    pub(crate) caller: Caller,
    pub(crate) body: Bytes,
    /// The tenants asked about for which the caller has the required access.
    pub(crate) tenants: TenantList,
    /// Its idempotency key; boxed because it is rare.
    pub(crate) key: Option<Box<IdempotencyKey>>,
}

/// A handler that is given what its dialect shares between requests.
pub(crate) fn handler<D, F, A>(dialect: &Arc<D>, handle: F) -> Handler
where
    D: Send + Sync + 'static,
    F: Fn(Arc<D>, AdmittedRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<ApiResponse, Refusal>> + Send + 'static,
{
    let dialect = Arc::clone(dialect);
    Arc::new(move |request| Box::pin(handle(Arc::clone(&dialect), request)))
}

impl StreamedBody {
    pub(crate) fn answer(body: Body) -> ApiResponse {
        let mut answer = ApiResponse::new(Bytes::new());
        let own = Self(Arc::new(Mutex::new(Some(body))));
        answer.extensions_mut().insert(own);
        answer
    }

    /// The response with the body that is sent.
    pub(super) fn finish(mut answer: ApiResponse) -> Response<Body> {
        let streamed = answer.extensions_mut().remove::<Self>();
        let streamed = streamed.and_then(|own| lock(&own.0).take());
        answer.map(|whole| streamed.unwrap_or_else(|| Body::from(whole)))
    }
}

impl Api {
    /// For tests: the route alone.
    #[cfg(test)]
    pub(crate) fn route_at(&self, method: &Method, path: &str) -> Option<Arc<Route>> {
        self.find(method, path).map(|(route, _)| route)
    }

    /// The route that a path leads to with this method, and how.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<(Arc<Route>, RouteMatch)> {
        with_segments(path, |segments, ends_in_slash| {
            let here = |route: &&Arc<Route>| route.only.as_ref().is_none_or(|only| only == method);
            let mut routes = self.routes.iter().filter(here);
            routes.find_map(|route| {
                let found = route.compiled().pattern.lead(segments, ends_in_slash)?;
                Some((Arc::clone(route), found))
            })
        })
    }
}

impl Route {
    pub(super) fn handler(&self, method: &Method) -> Option<Handler> {
        let found = self.verbs.iter().find(|(own, _)| own == method);
        found.map(|(_, handler)| Arc::clone(handler))
    }

    pub(super) fn compiled(&self) -> &CompiledRoute {
        self.compiled.get_or_init(|| CompiledRoute::of(self))
    }

    /// The methods of this route, as the `Allow` header lists them.
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
}

impl CompiledRoute {
    fn of(route: &Route) -> Self {
        Self {
            pattern: Pattern::of(route.path, route.suffixed),
            allow: HeaderValue::try_from(route.allow()).ok(),
        }
    }
}

impl QueryRule {
    pub(super) fn judge(self, head: &RequestHead) -> Result<(), Refusal> {
        match self {
            Self::Lenient => Ok(()),
            Self::Only { read, .. } if head.method.is_safe() => head.query.only(read),
            Self::Only { write, .. } => head.query.only(write),
        }
    }
}

impl RequestHead {
    pub(super) fn new(
        api: Arc<Api>,
        parts: request::Parts,
        query: Query,
        found: Option<(Arc<Route>, RouteMatch)>,
    ) -> Self {
        let (route, params, suffix) = match found {
            Some((route, way)) => (Some(route), way.params, way.suffix),
            None => (None, Vec::new(), None),
        };
        Self {
            api,
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
    /// Asks the store something that is safe to repeat, as `StoreHandle::ask`.
    pub(crate) fn ask<T>(
        &self,
        question: impl Fn(&dyn Frontend) -> StoreFuture<T>,
    ) -> impl Future<Output = Result<T, Refusal>> {
        self.context.store.ask(question)
    }

    /// The tenant asked about. Routes that name a tenant are only entered if there is one.
    pub(crate) fn tenant(&self) -> Result<&Tenant, Refusal> {
        let first = self.tenants.first().ok_or(Refusal::Forbidden)?;
        Ok(first)
    }

    /// The caller's name in the audit log of this webhook's tenant.
    pub(crate) fn editor_of(&self, webhook: &Webhook) -> String {
        let owner = self.tenants.iter().find(|own| own.id == webhook.tenant);
        let name = owner.map(|own| self.caller.actor(own, Permission::WebhooksWrite));
        name.unwrap_or_default()
    }

    /// The caller's name for the audit log.
    pub(crate) fn actor(&self, wanted: Permission) -> Result<String, Refusal> {
        Ok(self.caller.actor(self.tenant()?, wanted))
    }
}
