//! A site over a fresh store in memory, with a clock that is set by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::transport::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use model::contract::{DueQuery, Frontend, PendingWebhook, Store};
use model::delivery::DueDelivery;
use model::id::{TenantId, WebhookId};
use model::lease::Epoch;
use model::rng::SeededRng;
use model::signing::Keyring;
use model::tenant::{DialectName, NewToken, TokenHash, TokenKind};
use model::time::{Clock, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::dialects::{self, DialectOptions, KnownEvents};
use crate::gateway::api::{Api, Route};
use crate::gateway::auth::RequiredAccess;
use crate::tests::openapi;
use crate::{FrameAncestors, Parts, Site, WebSettings};

/// Two organizers and two companies, and a token of every sort.
pub(crate) const ORGANIZERS: &str = r#"
[[organizer]]
slug = "bigevents"
name = "Big Events"
event = [
    { slug = "democon", name = "Demo Con", date_from = 2027-01-19T00:00:00Z },
    { slug = "secondcon", name = "Second Con", date_from = 2027-01-19T00:00:00Z },
    { slug = "seriescon", name = "Series Con", date_from = 2027-01-19T00:00:00Z },
]
token = [
    { name = "all", token = "tokenall", permissions = [
        "webhooks:read", "webhooks:write", "notifications:write",
    ] },
    { name = "none", token = "tokennone", permissions = [] },
    { name = "off", token = "tokenoff", permissions = ["webhooks:read"], active = false },
    { name = "rw", token = "tokenrw", permissions = ["webhooks:read", "webhooks:write"] },
    { name = "read", token = "tokenread", permissions = ["webhooks:read"] },
    { name = "intake", token = "tokenintake", permissions = ["notifications:write"] },
    { name = "scanner", token = "tokendevice", kind = "device", permissions = [
        "webhooks:read", "webhooks:write", "notifications:write",
    ] },
    { name = "lost", token = "tokenlost", permissions = [], kind = "device", active = false },
]

[[organizer]]
slug = "othercorp"
event = [{ slug = "othercon" }]
token = [
    { name = "other", token = "tokenother", permissions = [
        "webhooks:read", "webhooks:write", "notifications:write",
    ] },
    { name = "noorg", token = "tokennoorg", permissions = ["webhooks:read", "webhooks:write"] },
]

[[company]]
guid = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48"
name = "Grand Hall"
token = [
    { name = "all", token = "tokenall", permissions = [
        "webhooks:read", "webhooks:write", "triggers:write",
    ] },
    { name = "none", token = "tokennone", permissions = [] },
    { name = "off", token = "tokenoff", permissions = ["webhooks:read"], active = false },
    { name = "rw", token = "tokenrw", permissions = ["webhooks:read", "webhooks:write"] },
    { name = "read", token = "tokenread", permissions = ["webhooks:read"] },
    { name = "intake", token = "tokenintake", permissions = ["triggers:write"] },
    { name = "both", token = "tokenboth", default = true, permissions = [
        "webhooks:read", "webhooks:write", "triggers:write",
    ] },
    { name = "several", token = "tokenseveral", permissions = [
        "webhooks:read", "webhooks:write", "triggers:write",
    ] },
]

[[company]]
guid = "e1b40481-de54-22fe-8d8d-ccd00ef35b59"
name = "Small Hall"
token = [
    { name = "both", token = "tokenboth", permissions = [
        "webhooks:read", "webhooks:write", "triggers:write",
    ] },
    { name = "several", token = "tokenseveral", permissions = ["webhooks:read", "webhooks:write"] },
    { name = "small", token = "tokensmall", permissions = [
        "webhooks:read", "webhooks:write", "triggers:write",
    ] },
]
"#;

/// The administrators' tokens.
const ADMINISTRATORS: [(&str, &str); 3] = [
    ("admin", "webhooks:write notifications:write tenants:write"),
    ("adminread", "webhooks:read tenants:read"),
    // As it was made before there were permissions for tenants.
    (
        "adminold",
        "webhooks:read webhooks:write notifications:write",
    ),
];

pub(crate) const MASTER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub(crate) const COMPANY: &str = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48";
pub(crate) const SMALL: &str = "e1b40481-de54-22fe-8d8d-ccd00ef35b59";

pub(crate) const WEBHOOKS: &str = "/api/v1/organizers/bigevents/webhooks/";
pub(crate) const INTAKE: &str = "/api/v1/organizers/bigevents/notifications/";

pub(crate) const START: &str = "2026-11-20T18:00:00Z";

pub(crate) struct TestApp {
    pub(crate) site: Site,
    pub(crate) store: Arc<dyn Store>,
    /// True unless a test follows a page live: then what is followed ends at once.
    pub(crate) stopping: watch::Sender<bool>,
    /// What the app is told of its own health.
    pub(crate) health: Arc<Mutex<Result<Vec<String>, String>>>,
    /// Where the sender has what is owed.
    pub(crate) dispatch_state: Arc<Mutex<Option<model::delivery::DispatchState>>>,
    now: Arc<AtomicI64>,
    /// Goes on with `now`, and is never set.
    steady: Arc<AtomicI64>,
}

/// An answer that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A request to be made; `Host` and the token of somebody who may do everything by default.
#[derive(Debug)]
pub(crate) struct Asking {
    method: String,
    path: String,
    headers: BTreeMap<String, Vec<u8>>,
    body: Vec<u8>,
}

pub(crate) fn asking(method: &str, path: &str) -> Asking {
    let asking = Asking {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        body: Vec::new(),
    };
    asking
        .with("Host", "127.0.0.1:18544")
        .with("Authorization", "Token tokenall")
}

impl Asking {
    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    pub(crate) fn with_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(&name.to_ascii_lowercase());
        self
    }

    pub(crate) fn by(self, token: &str) -> Self {
        self.with("Authorization", &format!("Token {token}"))
    }

    pub(crate) fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.with("Content-Type", "application/json").body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn request(self) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body)).ok()
    }
}

/// Every API, that for administrators last.
pub(crate) fn every_api() -> Vec<Arc<Api>> {
    static APIS: OnceLock<Vec<Arc<Api>>> = OnceLock::new();
    let all = APIS.get_or_init(|| {
        let dialects = Arc::new(dialects::all(&DialectOptions::default()));
        let mut apis = dialects.apis();
        apis.push(crate::admin::api(&dialects));
        apis
    });
    all.clone()
}

/// Every route of every API.
pub(crate) fn every_route() -> Vec<Arc<Route>> {
    let apis = every_api();
    apis.iter().flat_map(|api| api.routes.clone()).collect()
}

/// A token that may do everything on this route.
pub(crate) fn token_for(route: &Route) -> &'static str {
    match route.write {
        RequiredAccess::Everywhere(_) => "tokenadmin",
        RequiredAccess::Known | RequiredAccess::Listed | RequiredAccess::Right(_) => "tokenall",
    }
}

/// The same with the token shown as companies' programs show it.
pub(crate) fn bearing(method: &str, path: &str) -> Asking {
    asking(method, path).with("Authorization", "Bearer tokenall")
}

/// A webhook of a company, as its creation answers it.
pub(crate) struct Hook {
    pub(crate) guid: String,
    pub(crate) nonce: String,
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(DialectOptions::default()).await
    }

    pub(crate) async fn with(options: DialectOptions) -> Self {
        Self::over(store::open_inline().unwrap(), &options).await
    }

    /// An app whose metrics can be read.
    pub(crate) async fn counting(registry: &mut Registry) -> Self {
        Self::build(
            store::open_inline().unwrap(),
            &DialectOptions::default(),
            registry,
            Keyring::parse(MASTER_KEY).unwrap(),
        )
        .await
    }

    /// An app that can keep no secret.
    pub(crate) async fn without_master_key() -> Self {
        Self::without_master_key_over(store::open_inline().unwrap()).await
    }

    /// The same over a store that may have some.
    pub(crate) async fn without_master_key_over(store: Arc<dyn Store>) -> Self {
        Self::build(
            store,
            &DialectOptions::default(),
            &mut Registry::default(),
            Keyring::default(),
        )
        .await
    }

    /// An app that has another master key than the store's secrets were sealed with.
    pub(crate) async fn with_master_key(store: Arc<dyn Store>, key: &str) -> Self {
        let keyring = Keyring::parse(key).unwrap();
        let options = DialectOptions::default();
        Self::build(store, &options, &mut Registry::default(), keyring).await
    }

    /// An app over a store that may be wrapped in faults.
    pub(crate) async fn over(store: Arc<dyn Store>, options: &DialectOptions) -> Self {
        let keyring = Keyring::parse(MASTER_KEY).unwrap();
        Self::build(store, options, &mut Registry::default(), keyring).await
    }

    /// An app that pages of this origin may show in a frame.
    pub(crate) async fn framed_by(origin: &str) -> Self {
        Self::with_settings(WebSettings {
            frames: FrameAncestors::read([origin].into_iter()).unwrap(),
            ..WebSettings::default()
        })
        .await
    }

    /// An app with these settings and the usual hosts.
    pub(crate) async fn with_settings(settings: WebSettings) -> Self {
        Self::assemble(
            store::open_inline().unwrap(),
            &DialectOptions::default(),
            &mut Registry::default(),
            Keyring::parse(MASTER_KEY).unwrap(),
            settings,
        )
        .await
    }

    async fn build(
        store: Arc<dyn Store>,
        options: &DialectOptions,
        registry: &mut Registry,
        keyring: Keyring,
    ) -> Self {
        let settings = WebSettings::default();
        Self::assemble(store, options, registry, keyring, settings).await
    }

    async fn assemble(
        store: Arc<dyn Store>,
        options: &DialectOptions,
        registry: &mut Registry,
        keyring: Keyring,
        settings: WebSettings,
    ) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let now = Arc::new(AtomicI64::new(start.as_millis()));
        let steady = Arc::new(AtomicI64::new(0));
        let parts = (Arc::clone(&now), Arc::clone(&steady));
        let clock = Clock::watched(
            move || Timestamp::from_millis(parts.0.load(Ordering::Relaxed)),
            move || parts.1.load(Ordering::Relaxed),
        );
        let dialects = dialects::all(options);
        let health = Arc::new(Mutex::new(Ok(Vec::new())));
        let told = Arc::clone(&health);
        let dispatch_state = Arc::new(Mutex::new(None));
        let mut rng = SeededRng::from_seed([7; 32]);
        let stopping = watch::Sender::new(true);
        let declared = dialects
            .declare(ORGANIZERS, &KnownEvents::new(), &mut rng)
            .unwrap();
        let applied = store.apply(declared.declarations, "test".to_owned(), start);
        applied.await.unwrap();
        for (name, permissions) in ADMINISTRATORS {
            let token = NewToken {
                tenant: None,
                name: name.to_owned(),
                hash: TokenHash::of(&format!("token{name}")),
                kind: TokenKind::Program,
                permissions: permissions.parse().unwrap(),
                active: true,
                default: false,
            };
            // A store that had an app before has them already.
            drop(store.create_token(token, "test".to_owned(), start).await);
        }
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn Frontend>,
            clock,
            rng,
            keyring: Arc::new(keyring),
            settings: WebSettings {
                hosts: vec!["hooks.example.org".to_owned()],
                public_url: "https://hooks.example.org".to_owned(),
                ..settings
            },
            policies: dialects.policies(),
            dialects,
            stopping: stopping.subscribe(),
            health: Arc::new(move || told.lock().unwrap().clone()),
            dispatch_state: {
                let at = Arc::clone(&dispatch_state);
                Arc::new(move |_| Box::pin(std::future::ready(*at.lock().unwrap())))
            },
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            backlog: Arc::new(|| 0),
        };
        let site = crate::build(parts, registry);
        Self {
            site,
            store,
            stopping,
            health,
            dispatch_state,
            now,
            steady,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn pass_ms(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
        self.steady.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock ahead, or back.
    pub(crate) fn set_clock_by(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) async fn ask(&self, asking: Asking) -> Arrived {
        self.ask_from(None, asking).await
    }

    pub(crate) async fn ask_from(&self, address: Option<IpAddr>, asking: Asking) -> Arrived {
        let site = self.site.clone();
        let site = match address {
            Some(address) => site.asked_from(address),
            None => site,
        };
        let body = asking.body.clone();
        let request = asking.request().unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let arrived = judged(site, request).await;
        openapi::judge_body(&method, &path, &body, &arrived);
        arrived
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Arrived {
        judged(self.site.clone(), request).await
    }

    pub(crate) async fn tenant(&self, slug: &str) -> TenantId {
        let name = DialectName::new("pretix");
        self.store
            .tenant(name, slug.to_owned())
            .await
            .unwrap()
            .unwrap()
            .id
    }

    pub(crate) async fn company(&self) -> TenantId {
        let name = DialectName::new("openticket");
        let tenant = self.store.tenant(name, COMPANY.to_owned()).await;
        tenant.unwrap().unwrap().id
    }

    /// Creates a webhook for everything of these types and answers its id.
    pub(crate) async fn webhook(&self, action_types: &[&str]) -> WebhookId {
        let types = serde_json::to_string(action_types).unwrap();
        let body = format!(
            "{{\"target_url\":\"https://example.org/hook\",\"limit_events\":[],\
              \"action_types\":{types}}}"
        );
        let created = self.ask(asking("POST", WEBHOOKS).json(body)).await;
        assert_eq!(created.status, 201, "{}", created.body);
        WebhookId(created.json()["id"].as_i64().unwrap())
    }

    /// Creates a webhook of the company for this resource and trigger.
    pub(crate) async fn hook(&self, resource: &str, trigger: &str) -> Hook {
        let body = serde_json::json!({
            "name": "A hook",
            "url": "https://user:pass@example.org/hook",
            "resource": resource,
            "trigger": trigger,
        });
        let created = bearing("POST", "/webhook").json(body.to_string());
        let created = self.ask(created).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let text = |key: &str| created.json()[key].as_str().unwrap().to_owned();
        Hook {
            guid: text("guid"),
            nonce: text("nonce"),
        }
    }

    /// Everything that is due, webhook by webhook, in order.
    pub(crate) async fn due(&self) -> Vec<DueDelivery> {
        let lanes = self
            .store
            .pending_webhooks(Epoch::FIRST, None, 1_000)
            .await
            .unwrap();
        let ask = |lane: PendingWebhook| DueQuery {
            webhook: lane.webhook,
            limit: 1_000,
            held: [].into(),
            recovery: None,
        };
        let lanes = lanes.into_iter().map(ask).collect();
        let reads = self
            .store
            .due(Epoch::FIRST, lanes, self.now())
            .await
            .unwrap();
        reads.into_iter().flat_map(|read| read.deliveries).collect()
    }
}

impl Arrived {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The status and the body, for comparing both at once.
    pub(crate) fn told(&self) -> (u16, &str) {
        (self.status.as_u16(), &self.body)
    }
}

/// An answer that the OpenAPI document has.
async fn judged(site: Site, request: Request<Body>) -> Arrived {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let arrived = arrived(site.answer(request).await).await;
    openapi::judge_answer(&method, &path, &arrived);
    arrived
}

pub(crate) async fn arrived(response: Response<Body>) -> Arrived {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Arrived {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
