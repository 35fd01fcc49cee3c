//! Site: all that this crate answers, as one value that is called with a request. It puts the parts
//! together, and tells apart who answers: the dashboard, an API, sets of public keys, or what an
//! operator's tools ask for. It needs no socket: tests call it as `willcall` does.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use model::address::Networks;
use model::contract::Frontend;
use model::policy::Policies;
use model::rng::SeededRng;
use model::signing::Keyring;
use model::time::Clock;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::admin;
use crate::dashboard::brand::Brand;
use crate::dashboard::{self, Dashboard, DispatchLookup, FrameAncestors, PageContext};
use crate::dialect::value::Dialects;
use crate::gateway::context::Context;
use crate::gateway::intake_warnings::IntakeWarnings;
use crate::gateway::metrics::{IntakeMetrics, RequestMetrics};
use crate::gateway::store::StoreHandle;
use crate::gateway::{self, Gateway};
use crate::key_sets::{self, KeySets};
use crate::openapi::{self, OpenApi};
use crate::rng::SharedRng;
use crate::tools::{self, HealthCheck, Tools};
use crate::transport::body::Body;
use crate::transport::well_known;
use crate::watch::{AlertSettings, BacklogCount, Watch, WatchMetrics};

/// Everything the site is given.
pub struct Parts {
    pub store: Arc<dyn Frontend>,
    pub clock: Clock,
    pub rng: SeededRng,
    /// Seals the secrets that calls are signed with.
    pub keyring: Arc<Keyring>,
    pub settings: WebSettings,
    pub dialects: Dialects,
    /// How deliveries are made: what the engine was given, for explaining it.
    pub policies: Policies,
    /// True once the server is to stop: endless responses end then.
    pub stopping: watch::Receiver<bool>,
    /// What `/readyz` asks beside the store.
    pub health: HealthCheck,
    pub dispatch_state: DispatchLookup,
    /// Renders what `/metrics` answers.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// How many deliveries are owed.
    pub backlog: BacklogCount,
}

/// What an operator may choose about the site.
#[derive(Debug, Clone, Default)]
pub struct WebSettings {
    /// Names under which this server is reached, beside addresses and names without a dot.
    pub hosts: Vec<String>,
    /// The look of the dashboard.
    pub brand: Brand,
    /// Whose pages may show the dashboard in a frame.
    pub frames: FrameAncestors,
    /// Proxies that are believed when they say who asks.
    pub proxies: Networks,
    /// Where people reach this server, for links in alerts; without a slash at the end.
    pub public_url: String,
    /// Since when what is wrong is told.
    pub alerts: AlertSettings,
}

/// Every dialect's routes, the dashboard, and what an operator's tools ask for. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    inner: Arc<SiteParts>,
    /// The address of the connection.
    peer: Option<IpAddr>,
}

struct SiteParts {
    gateway: Arc<Gateway>,
    dashboard: Arc<Dashboard>,
    key_sets: Arc<KeySets>,
    openapi: Arc<OpenApi>,
    tools: Arc<Tools>,
    watch: Arc<Watch>,
    stopping: watch::Receiver<bool>,
}

/// Puts the parts together. What is counted is registered in `registry`.
pub fn build(parts: Parts, registry: &mut Registry) -> Site {
    let store = StoreHandle::new(parts.store);
    let rng = SharedRng::new(parts.rng.split("web"));
    let metrics = Arc::new(RequestMetrics::register(registry));
    let context = Context {
        store: store.clone(),
        clock: parts.clock.clone(),
        rng: rng.clone(),
        keyring: Arc::clone(&parts.keyring),
        bounds: Arc::clone(parts.dialects.bounds()),
        export_slots: Arc::default(),
        stopping: parts.stopping.clone(),
        intake_metrics: IntakeMetrics::register(registry),
        intake_warnings: IntakeWarnings::default(),
    };
    let dialects = Arc::new(parts.dialects);
    let mut apis = dialects.apis();
    apis.push(admin::api(&dialects));
    let hosts = parts.settings.hosts.clone();
    let watch = Watch {
        store: store.clone(),
        clock: parts.clock.clone(),
        dialects: Arc::clone(&dialects),
        policies: parts.policies.clone(),
        settings: parts.settings.alerts,
        public_url: parts.settings.public_url,
        health: Arc::clone(&parts.health),
        backlog: parts.backlog,
        metrics: WatchMetrics::register(registry),
    };
    let stopping = parts.stopping.clone();
    let page_context = PageContext {
        store: store.clone(),
        clock: parts.clock.clone(),
        rng,
        keyring: parts.keyring,
        dialects,
        policies: parts.policies,
        hosts: parts.settings.hosts,
        brand: parts.settings.brand,
        frames: parts.settings.frames,
        proxies: parts.settings.proxies,
        stopping: parts.stopping,
        stream_slots: Arc::default(),
        export_slots: Arc::clone(&context.export_slots),
        dispatch_state: parts.dispatch_state,
        metrics: Arc::clone(&metrics),
    };
    let openapi = OpenApi::new(&apis, hosts.clone(), Arc::clone(&metrics));
    let key_sets = KeySets {
        store: store.clone(),
        clock: parts.clock.clone(),
        hosts: hosts.clone(),
        metrics: Arc::clone(&metrics),
    };
    let tools = Tools::new(store, parts.clock, parts.health, parts.metrics);
    Site {
        inner: Arc::new(SiteParts {
            gateway: Arc::new(Gateway::new(apis, hosts, context, metrics)),
            dashboard: Arc::new(Dashboard::new(page_context)),
            key_sets: Arc::new(key_sets),
            openapi: Arc::new(openapi),
            tools: Arc::new(tools),
            watch: Arc::new(watch),
            stopping,
        }),
        peer: None,
    }
}

impl Site {
    /// The same site, for requests from this address.
    #[must_use]
    pub fn asked_from(self, peer: IpAddr) -> Self {
        let peer = Some(peer);
        Self { peer, ..self }
    }

    /// Looks for what has gone wrong and tells those who asked to be told, until the server stops.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        let watch = Arc::clone(&self.inner.watch);
        watch.run(self.inner.stopping.clone())
    }

    /// One look of the watch; how many alerts came of it.
    #[cfg(test)]
    pub(crate) async fn look(&self) -> usize {
        self.inner.watch.round().await.unwrap()
    }

    /// Whether an operator's tools ask for this path.
    pub fn is_for_tools(path: &str) -> bool {
        tools::at(path).is_some()
    }

    /// Answers a request. It never fails: an error is a response, too.
    ///
    /// The future is moved by those who wait for it, so it is kept small.
    pub fn answer(
        self,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let is_head = request.method() == Method::HEAD;
        let answering = self.begin(request);
        async move {
            let answer = match answering {
                SiteFuture::Api(answer) => answer.await,
                SiteFuture::Other(answer) => answer.await,
            };
            finished(answer, is_head)
        }
    }

    fn begin(
        self,
        request: Request<Body>,
    ) -> SiteFuture<impl Future<Output = Response<Body>> + Send + 'static> {
        let path = request.uri().path();
        if let Some(endpoint) = tools::at(path) {
            let tools = Arc::clone(&self.inner.tools);
            SiteFuture::Other(Box::pin(tools::serve(tools, endpoint, request)))
        } else if let Some(name) = well_known::key_set_at(path) {
            let (sets, name) = (Arc::clone(&self.inner.key_sets), name.to_owned());
            SiteFuture::Other(Box::pin(key_sets::serve(sets, name, request)))
        } else if path == openapi::PATH {
            let document = Arc::clone(&self.inner.openapi);
            SiteFuture::Other(Box::pin(openapi::serve(document, request)))
        } else if dashboard::is_for_pages(request.method(), path) {
            let dashboard = Arc::clone(&self.inner.dashboard);
            let visiting = dashboard::serve(dashboard, self.peer, request);
            SiteFuture::Other(Box::pin(visiting))
        } else {
            let gateway = Arc::clone(&self.inner.gateway);
            SiteFuture::Api(gateway::serve(gateway, request))
        }
    }
}

/// An answer that is being made.
enum SiteFuture<A> {
    Api(A),
    Other(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// Says how long the answer is, unless only its end will tell, and takes the body from an answer
/// to HEAD.
fn finished(mut answer: Response<Body>, is_head: bool) -> Response<Body> {
    if !answer.headers().contains_key(CONTENT_LENGTH)
        && let Some(length) = answer.body().size_hint().exact()
    {
        let length = HeaderValue::from(length);
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    if is_head {
        *answer.body_mut() = Body::empty();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::options::DialectOptions;

    #[test]
    fn no_api_has_routes_where_pages_are_or_where_another_has_its_own() {
        let dialects = Arc::new(crate::dialects::all(&DialectOptions::default()));
        let mut apis = dialects.apis();
        apis.push(admin::api(&dialects));
        let mut roots: Vec<&str> = apis.iter().flat_map(|api| api.roots).copied().collect();
        let all = roots.len();
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), all, "{roots:?}");
        for api in apis {
            for root in api.roots {
                let path = format!("/{root}");
                assert!(!dashboard::is_for_pages(&Method::POST, &path), "{root}");
            }
        }
    }
}
