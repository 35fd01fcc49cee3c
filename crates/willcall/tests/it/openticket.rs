//! How receivers of OpenTicket's calls behave in the wild, each with a receiver that does so:
//! the whole of Willcall on paused time, with streams in memory instead of sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine::{Deadline, Dial, DialFuture, Endpoint, Engine, LookupContext, Stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::contract::{Backend, Store};
use model::lease::Lease;
use model::rng::SeededRng;
use model::time::{Clock, Timestamp};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::Instant;
use web::dialects::{DialectOptions, KnownEvents};

const COMPANY: &str = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48";
const ORDER: &str = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";
const EVENT: &str = "5f0f6b1e-2c1d-4d0e-9a51-7a8c0e6f1b20";

/// Before this, no retry may come; after this plus a tenth, it must have.
const FIRST_GAP_MS: i64 = 60_000;

struct World {
    site: web::Site,
    net: Arc<Net>,
    _engine: Engine,
}

/// A call that a receiver got.
#[derive(Debug, Clone)]
struct Call {
    at: Timestamp,
    headers: HeaderMap,
    body: Value,
}

type Character = Box<dyn FnMut(&Call) -> Response<Full<Bytes>> + Send>;

/// Receivers by host name.
struct Net {
    clock: Clock,
    characters: Mutex<BTreeMap<String, Character>>,
    calls: Mutex<Vec<(String, Call)>>,
}

/// A webhook that was made.
struct Hook {
    guid: String,
    nonce: String,
}

impl World {
    async fn new() -> Self {
        let began = Instant::now();
        let clock = Clock::new(move || {
            let millis = i64::try_from(began.elapsed().as_millis()).unwrap();
            Timestamp::from_millis(1_800_000_000_000 + millis)
        });
        let store: Arc<dyn Store> = store::open_inline().unwrap();
        let dialects = web::dialects::all(&DialectOptions::default());
        let mut rng = SeededRng::from_seed([7; 32]);
        let file = format!(
            "[[company]]\nguid = \"{COMPANY}\"\ntoken = [{{ name = \"t\", token = \"t\", \
             permissions = [\"webhooks:write\", \"triggers:write\"] }}]"
        );
        let declared = dialects.declare(&file, &KnownEvents::new(), &mut rng);
        let declarations = declared.unwrap().declarations;
        let applied = store.apply(declarations, "test".to_owned(), clock.now());
        applied.await.unwrap();
        let net = Arc::new(Net {
            clock: clock.clone(),
            characters: Mutex::default(),
            calls: Mutex::default(),
        });
        let mut meters = Registry::default();
        let parts = engine::Parts {
            store: Arc::clone(&store) as Arc<dyn Backend>,
            lease: Lease::SOLE,
            dial: Arc::new(Line(Arc::clone(&net))),
            clock: clock.clone(),
            rng: rng.split("engine"),
            policies: dialects.policies(),
            settings: engine::Settings {
                max_in_flight: 64,
                max_concurrency_per_webhook: 4,
                max_idle_connections: 8,
                idle_connection_ms: 20_000,
                idle_connection_max_ms: 20_000,
            },
            gate: model::gate::Gate::default(),
            keyring: Arc::default(),
        };
        let engine = Engine::start(parts, &mut meters);
        let parts = web::Parts {
            store,
            clock,
            rng,
            keyring: Arc::default(),
            settings: web::WebSettings::default(),
            policies: dialects.policies(),
            dialects,
            stopping: tokio::sync::watch::channel(false).1,
            health: Arc::new(|| Ok(Vec::new())),
            dispatch_state: Arc::new(|_| Box::pin(std::future::ready(None))),
            metrics: Arc::new(String::new),
            backlog: Arc::new(|| 0),
        };
        Self {
            site: web::build(parts, &mut meters),
            net,
            _engine: engine,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "localhost")
            .header("Authorization", "Bearer t")
            .header("Content-Type", "application/json")
            .body(web::Body::from(body.to_string()))
            .unwrap();
        let answer = self.site.clone().answer(request).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A webhook for paid orders at this host.
    async fn hook(&self, host: &str, retries: u32) -> Hook {
        let body = json!({
            "name": host,
            "url": format!("http://{host}/hook"),
            "resource": "order",
            "trigger": "paid",
            "retries": retries,
        });
        let (status, made) = self.ask(Method::POST, "/webhook", body).await;
        assert_eq!(status, 201, "{made}");
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        Hook {
            guid: text("guid"),
            nonce: text("nonce"),
        }
    }

    /// Reports that an order is paid.
    async fn paid(&self, number: u32) {
        let body = json!({
            "id": number.to_string(),
            "resource": "order",
            "trigger": "paid",
            "guid": ORDER,
            "related": [{"resource": "event", "guid": EVENT}],
            "data": {"guid": ORDER, "number": number},
        });
        let (status, answer) = self.ask(Method::POST, "/trigger", body).await;
        assert_eq!(status, 201, "{answer}");
    }

    async fn invocations(&self, hook: &Hook, query: &str) -> Vec<Value> {
        let path = format!("/webhook/{}/invocations{query}", hook.guid);
        let (status, answer) = self.ask(Method::GET, &path, Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer.as_array().unwrap().clone()
    }

    fn at(&self, host: &str, mut character: impl FnMut(&Call) -> u16 + Send + 'static) {
        self.answering(host, move |call| answer(character(call)));
    }

    fn answering(
        &self,
        host: &str,
        character: impl FnMut(&Call) -> Response<Full<Bytes>> + Send + 'static,
    ) {
        let mut characters = self.net.characters.lock().unwrap();
        characters.insert(host.to_owned(), Box::new(character));
    }

    fn calls(&self, host: &str) -> Vec<Call> {
        let calls = self.net.calls.lock().unwrap();
        let own = calls.iter().filter(|(own, _)| own == host);
        own.map(|(_, call)| call.clone()).collect()
    }

    /// The waits between the calls at this host.
    fn waits_ms(&self, host: &str) -> Vec<i64> {
        let calls = self.calls(host);
        let pairs = calls.iter().zip(calls.iter().skip(1));
        pairs.map(|(one, two)| two.at.ms_since(one.at)).collect()
    }
}

/// Streams in memory to the receivers of `Net`.
struct Line(Arc<Net>);

impl Dial for Line {
    fn dial<'a>(&'a self, place: &'a Endpoint, _: LookupContext, _: Deadline) -> DialFuture<'a> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (net, host) = (Arc::clone(&self.0), place.host.clone());
            #[expect(
                clippy::disallowed_methods,
                reason = "a receiver ends with its connection, and a panic fails the test"
            )]
            tokio::spawn(async move {
                let service = service_fn(|request| net.serve(&host, request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(theirs), service);
                connection.await.ok();
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl Net {
    async fn serve(
        &self,
        host: &str,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let call = Call {
            at: self.clock.now(),
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap(),
        };
        let mut characters = self.characters.lock().unwrap();
        let character = characters.get_mut(host);
        let answer = character.map_or_else(|| answer(200), |character| character(&call));
        self.calls.lock().unwrap().push((host.to_owned(), call));
        Ok(answer)
    }
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn minutes(minutes: u64) {
    tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_compares_the_nonce_gets_the_webhooks_own() {
    let world = World::new().await;
    let hook = world.hook("a.test", 3).await;
    let stranger = world.hook("b.test", 1).await;
    for host in ["a.test", "b.test"] {
        let nonce = hook.nonce.clone();
        world.at(host, move |call| {
            if call.header("OpenTicket-Identifier") == nonce {
                200
            } else {
                401
            }
        });
    }
    world.paid(1).await;
    minutes(10).await;
    let calls = world.calls("a.test");
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(call.header("OpenTicket-Trigger"), "order.paid");
    assert_eq!(call.header("User-Agent"), "OpenTicket/Webhook");
    assert_eq!(call.header("Content-Type"), "application/json");
    assert_eq!(world.invocations(&hook, "").await[0]["status"], "delivered");
    // A wrong nonce looks like a receiver that fails.
    assert_eq!(world.calls("b.test").len(), 2);
    let log = world.invocations(&stranger, "?status=failed").await;
    assert_eq!(
        (&log[0]["response_status"], &log[0]["attempts"]),
        (&json!(401), &json!(2))
    );
    assert!(!log[0].to_string().contains(&stranger.nonce));
}

#[tokio::test(start_paused = true)]
async fn whatever_a_receiver_answers_for_its_own_outage_it_is_called_again() {
    let world = World::new().await;
    let statuses = [400, 401, 404, 500, 503, 302, 410, 199 + 101];
    for (index, status) in statuses.into_iter().enumerate() {
        let host = format!("h{index}.test");
        world.hook(&host, 3).await;
        let mut first = true;
        world.at(&host, move |_| {
            let answered = if first { status } else { 204 };
            first = false;
            answered
        });
    }
    world.paid(1).await;
    minutes(5).await;
    for index in 0..statuses.len() {
        let waits = world.waits_ms(&format!("h{index}.test"));
        assert_eq!(waits.len(), 1, "{index}");
        let wait_ms = waits[0];
        assert!(
            (FIRST_GAP_MS..=FIRST_GAP_MS * 11 / 10).contains(&wait_ms),
            "{wait_ms}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_keeps_dedupe_keys_takes_each_delivery_once() {
    let world = World::new().await;
    world.hook("a.test", 5).await;
    world.hook("b.test", 5).await;
    let table = Arc::new(Mutex::new(BTreeSet::new()));
    let taken = Arc::new(Mutex::new(Vec::new()));
    for host in ["a.test", "b.test"] {
        let (table, taken) = (Arc::clone(&table), Arc::clone(&taken));
        world.at(host, move |call| {
            let key = call.header("OpenTicket-Dedupe-Key").to_owned();
            assert!(key.len() == 32 && key.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            // It takes it, and fails before it answers.
            if table.lock().unwrap().insert(key) {
                taken.lock().unwrap().push(call.body.clone());
                return 500;
            }
            200
        });
    }
    for number in 1..=3 {
        world.paid(number).await;
    }
    minutes(30).await;
    // Both receivers share one table, and neither swallows what is the other's.
    assert_eq!(taken.lock().unwrap().len(), 6);
    assert_eq!(world.calls("a.test").len(), 6);
    assert_eq!(world.calls("b.test").len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_splits_the_trigger_finds_resource_and_what_happened() {
    let world = World::new().await;
    world.hook("a.test", 0).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    world.at("a.test", move |call| {
        let mut parts = call
            .header("OpenTicket-Trigger")
            .split('.')
            .map(str::to_owned);
        into.lock()
            .unwrap()
            .push((parts.next().unwrap(), parts.next().unwrap()));
        // It would fetch the object by this.
        if call.body["guid"] == ORDER { 200 } else { 400 }
    });
    world.paid(1).await;
    minutes(1).await;
    let expected = [("order".to_owned(), "paid".to_owned())];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(world.calls("a.test").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_waits_double_up_to_six_hours_and_end_after_the_retries() {
    let world = World::new().await;
    let hook = world.hook("a.test", 12).await;
    let none = world.hook("b.test", 0).await;
    world.at("a.test", |_| 500);
    world.at("b.test", |_| 500);
    world.paid(1).await;
    minutes(5 * 24 * 60).await;
    let waits = world.waits_ms("a.test");
    assert_eq!(waits.len(), 12);
    for (retry, wait_ms) in waits.iter().enumerate() {
        let expected = (FIRST_GAP_MS << retry).min(6 * 60 * FIRST_GAP_MS);
        let bound = expected + expected / 10;
        assert!((expected..=bound).contains(wait_ms), "{retry}: {wait_ms}");
    }
    assert_eq!(world.invocations(&hook, "?status=failed").await.len(), 1);
    assert_eq!(world.calls("b.test").len(), 1);
    assert_eq!(world.invocations(&none, "?status=failed").await.len(), 1);
    // What was tried out stays, and the webhook is as it was.
    let (status, shown) = world
        .ask(Method::GET, &format!("/webhook/{}", hook.guid), Value::Null)
        .await;
    assert_eq!((status.as_u16(), &shown["deleted_at"]), (200, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn retry_all_gives_each_failed_one_a_fresh_budget_at_the_url_of_now() {
    let world = World::new().await;
    let hook = world.hook("a.test", 1).await;
    world.at("a.test", |_| 500);
    for number in 1..=20 {
        world.paid(number).await;
    }
    minutes(60).await;
    assert_eq!(world.calls("a.test").len(), 40);
    let path = format!("/webhook/{}", hook.guid);
    let moved = json!({"url": "http://b.test/hook"});
    assert_eq!(world.ask(Method::PATCH, &path, moved).await.0, 200);
    let mut first_calls = 0;
    world.at("b.test", move |_| {
        first_calls += 1;
        if first_calls <= 20 { 503 } else { 200 }
    });
    let retry = format!("{path}/invocations/retry");
    let (status, answer) = world.ask(Method::POST, &retry, Value::Null).await;
    assert_eq!((status.as_u16(), answer), (202, json!({"retried": 20})));
    let (_, answer) = world.ask(Method::POST, &retry, Value::Null).await;
    assert_eq!(answer, json!({"retried": 0}));
    minutes(60).await;
    let keys = |host| {
        let calls = world.calls(host);
        let keys = calls
            .iter()
            .map(|call| call.header("OpenTicket-Dedupe-Key").to_owned());
        keys.collect::<BTreeSet<_>>()
    };
    assert_eq!(world.calls("b.test").len(), 40);
    assert_eq!(keys("a.test"), keys("b.test"));
    assert_eq!(
        world.invocations(&hook, "?status=delivered").await.len(),
        20
    );
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let world = World::new().await;
    let hook = world.hook("a.test", 3).await;
    let mut first = true;
    world.answering("a.test", move |_| {
        let mut busy = answer(if first { 429 } else { 200 });
        first = false;
        let after = http::HeaderValue::from_static("900");
        busy.headers_mut().insert("Retry-After", after);
        busy
    });
    world.paid(1).await;
    minutes(1).await;
    world.paid(2).await;
    minutes(13).await;
    assert_eq!(world.calls("a.test").len(), 1);
    for row in world.invocations(&hook, "?status=pending").await {
        // 2027-01-15T08:00:00Z and 900 s.
        assert_eq!(row["next_attempt_at"], "2027-01-15T08:15:00Z", "{row}");
    }
    minutes(2).await;
    assert_eq!(world.calls("a.test").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_that_a_receiver_sends_back_is_in_no_log() {
    let world = World::new().await;
    let hook = world.hook("a.test", 0).await;
    world.answering("a.test", |call| {
        let nonce = call.header("OpenTicket-Identifier");
        Response::new(Full::from(format!("you sent {nonce}")))
    });
    world.paid(1).await;
    minutes(1).await;
    let guid = world.invocations(&hook, "").await[0]["guid"].clone();
    let path = format!(
        "/webhook/{}/invocations/{}",
        hook.guid,
        guid.as_str().unwrap()
    );
    let (_, told) = world.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(told["attempt_log"][0]["response_body"], "you sent ***");
    assert!(!told.to_string().contains(&hook.nonce), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_webhook_is_called_no_more() {
    let world = World::new().await;
    let hook = world.hook("a.test", 5).await;
    world.at("a.test", |_| 500);
    world.paid(1).await;
    minutes(2).await;
    let before = world.calls("a.test").len();
    let path = format!("/webhook/{}", hook.guid);
    assert_eq!(world.ask(Method::DELETE, &path, Value::Null).await.0, 204);
    world.paid(2).await;
    minutes(600).await;
    assert_eq!(world.calls("a.test").len(), before);
}
